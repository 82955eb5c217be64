"""What processors ask of a run, and what errors cost, on workers as in this process."""

import os
from pathlib import Path

import numpy as np
import pytest

from o2dask.errors import ConfigError, FatalError
from o2dask.monitoring.events import Metric
from o2dask.runners.batch import run_batch
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.runners.settings import BatchSettings
from o2dask.services import ControlService, Monitoring, ScratchFiles, service
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, Task, WorkflowSpec
from o2dask.timeframe import enumerated
from o2dask.workflow import compile_workflow

OPTIONS = (
    ConfigParamSpec(name="folder", default=""),
    ConfigParamSpec(name="quit-at", default=-1),
    ConfigParamSpec(name="fail-at", default=-1),
    ConfigParamSpec(name="fatal", default=False),
)


@service
class Diary:
    """Notes on disk what happens to a worker."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / f"{os.getpid()}.txt"
        self.path.write_text("")

    @classmethod
    def create(cls, ctx):
        return cls(ctx.options["folder"])

    def note(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text + "\n")

    def close(self) -> None:
        self.note("closed")


class Sampler(Task):
    def init(self, ctx):
        self.n = 0
        ctx.services[Diary].note("init")

    def run(self, ctx):
        self.n += 1
        tf, options = ctx.timeframe.tf_counter, ctx.options
        ctx.services[Monitoring].send("tf", np.int64(tf), kind="test")
        ctx.services[ScratchFiles].path("x").write_text("x")
        if tf == options["quit-at"]:
            ctx.services[ControlService].quit_me()
        if tf == options["fail-at"]:
            raise FatalError("all is lost") if options["fatal"] else ValueError("this one is lost")
        ctx.outputs.make("x", {"v": np.array([tf])})

    def end_of_stream(self, ctx):
        ctx.services[Diary].note(f"end after {self.n}")


def use(ctx):
    ctx.counters["used"] = int(ctx.inputs["x"]["v"][0])


def topology(folder, *, on_error="quarantine", policy="all", resources=None, **options):
    processors = (
        DataProcessorSpec("sampler", inputs="", outputs="x:TST/X", algorithm=Sampler, options=OPTIONS, cost_ms=100),
        DataProcessorSpec(
            "user", inputs="x:TST/X", outputs="", algorithm=use, cost_ms=100, policy=policy, resources=resources or {}
        ),
    )
    chosen = {name.replace("_", "-"): value for name, value in options.items()} | {"folder": str(folder)}
    return compile_workflow(WorkflowSpec("w", processors, on_error), {"sampler": chosen})


@pytest.fixture(params=["inline", "batch"])
def run(request, tmp_path):
    """Run a topology one way or the other, and give the report with the events."""

    def run(n, **more):
        seen = []
        made, refs = topology(tmp_path, **more), enumerated(n)
        if request.param == "inline":
            return run_inline(made, refs, NoSink(), progress=seen.append), seen
        settings = BatchSettings(scheduler=request.getfixturevalue("scheduler_address"))
        return run_batch(made, refs, NoSink(), settings=settings, progress=seen.append), seen

    return run


def test_processors_and_services_are_ended_on_every_worker_that_had_them(run, tmp_path):
    report, _ = run(6)
    assert report.ok
    assert report.counters == {"user.used": sum(range(6))}
    diaries = [path.read_text().split("\n")[:-1] for path in tmp_path.glob("*.txt")]
    assert 1 <= len(diaries) <= 2
    assert all(lines[0] == "init" and lines[-1] == "closed" and len(lines) == 3 for lines in diaries)
    assert sum(int(lines[1].removeprefix("end after ")) for lines in diaries) == 6


def test_metrics_reach_the_driver(run):
    _, seen = run(4)
    metrics = [event for event in seen if isinstance(event, Metric)]
    assert sorted((m.value, m.timeframe.tf_counter) for m in metrics) == [(i, i) for i in range(4)]
    assert {(m.processor, m.name, m.tags["kind"]) for m in metrics} == {("sampler", "tf", "test")}


def test_a_sampler_that_quits_ends_the_run_and_the_run_is_good(run):
    report, seen = run(60, quit_at=3)
    assert report.ok and report.ended and not report.interrupted
    assert 4 <= len(report.committed) < 60
    assert any("a processor has ended the run" in getattr(event, "text", "") for event in seen)


@pytest.mark.parametrize("on_error", ["skip", "quarantine"])
def test_one_lost_timeframe_costs_what_the_policy_says(run, on_error):
    report, _ = run(5, fail_at=2, on_error=on_error)
    assert len(report.committed) == 4
    assert [(q.ref.id.tf_counter, q.is_skipped) for q in report.quarantined] == [(2, on_error == "skip")]
    assert report.ok == (on_error == "skip")


@pytest.mark.parametrize("more", [{"fatal": True, "on_error": "skip"}, {"on_error": "fail"}], ids=str)
def test_what_is_fatal_ends_the_run(run, more):
    report, _ = run(60, fail_at=1, **more)
    assert "lost" in report.failure and not report.ok
    assert len(report.committed) < 60


def test_what_workers_cannot_promise_is_refused_before_the_run(tmp_path):
    with pytest.raises(ConfigError, match=r"'user' asks for 1 of the resource TAPE, .*--resources"):
        run_batch(topology(tmp_path, resources={"TAPE": 1}), enumerated(2), NoSink(), settings=BatchSettings(workers=1))
    assert run_inline(topology(tmp_path, policy="ordered"), enumerated(2), NoSink()).ok
