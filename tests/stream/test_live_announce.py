"""What a run announces of itself while it goes on, on Dask workers, and that a look costs it nothing."""

import threading
import time

import numpy as np
from distributed import Client
from stream_tools import eventually

import o2dask as o2
from o2dask.monitoring.events import RunStarted, TimeframeCommitted, TimeframeQuarantined, TimeframeStarted
from o2dask.runners.announce import Announced
from o2dask.runners.batch import run_batch
from o2dask.runners.nothing import NoSink
from o2dask.runners.settings import BatchSettings
from o2dask.services import Axis, Histograms
from o2dask.specs import DataProcessorSpec, WorkflowSpec
from o2dask.timeframe import TimeframeId, enumerated
from o2dask.workflow.compiler import compile_workflow

VALUES = Axis("x", 8, 0.0, 8.0)


def fill(ctx):
    ctx.services[Histograms].fill("x", VALUES, np.arange(8))
    time.sleep(0.02)
    if ctx.timeframe.tf_counter == 3:
        raise ValueError("poison")


def topology():
    spec = DataProcessorSpec("qc", inputs="", outputs="", algorithm=fill, services=(Histograms,))
    return compile_workflow(WorkflowSpec("watched", (spec,)))


def test_a_run_on_workers_is_seen_as_it_is(cluster):
    told = []
    announced = Announced("watched", told.append)
    seen = []
    with (
        Client(cluster, set_as_default=False) as client,
        o2.connect(cluster.scheduler_address) as view,
        announced.on(client, lambda: {"window": 4, "queues": {}}),
    ):
        run = threading.Thread(
            target=run_batch,
            args=(topology(), enumerated(60), NoSink()),
            kwargs={"settings": BatchSettings(scheduler=cluster.scheduler_address), "progress": announced},
        )
        run.start()
        while run.is_alive():
            seen.append(view.state)
            time.sleep(0.1)
        run.join()
        announced_last = announced.state
        eventually(lambda: view.status == "STOPPED" and view.state["committed"] == 59)
        state = view.state
    assert (announced_last["committed"], announced_last["quarantined"], announced_last["in_flight"]) == (59, 1, 0)
    assert (state["committed"], state["quarantined"], state["window"]) == (59, 1, 4)
    committed = [one["committed"] for one in seen if one]
    assert committed == sorted(committed)
    assert any(0 < one.get("busy_fraction", 0) <= 1 for one in seen)
    counts = [event.histogram.counts.sum() for event in told if event.kind == "histogram"]
    assert counts == [8] * 59  # once per committed timeframe, and not for the one that is set aside


def test_histograms_of_a_run_are_there_when_it_is_over(cluster):
    announced = Announced("watched")
    with Client(cluster, set_as_default=False) as client, o2.connect(cluster.scheduler_address) as view:
        with announced.on(client):
            settings = BatchSettings(scheduler=cluster.scheduler_address)
            assert (
                len(run_batch(topology(), enumerated(3), NoSink(), settings=settings, progress=announced).committed)
                == 3
            )
        eventually(lambda: view.status == "STOPPED" and view.histograms)
        eventually(lambda: view.histogram("x").values().tolist() == [3.0] * 8)  # no more those of the run before


def test_a_description_that_fails_is_told_and_ends_nothing(cluster):
    def describe():
        raise KeyError("queue is gone")

    tf = TimeframeId(run=1, tf_counter=1, first_orbit=32)
    with Client(cluster, set_as_default=False) as client, o2.connect(cluster.scheduler_address) as view:
        announced = Announced("hurt")
        with announced.on(client, describe):
            announced(RunStarted(n_timeframes=3, n_workers=2))
            for _ in range(3):
                announced(TimeframeStarted(timeframe=tf))
            announced(TimeframeCommitted(timeframe=tf))
            announced(TimeframeQuarantined(timeframe=tf, reason=""))
            eventually(lambda: view.state.get("workflow") == "hurt")
            assert view.state["fault"] == "KeyError: 'queue is gone'"
            assert view.state["in_flight"] == 1 and view.status == "RUNNING"
