"""Histograms of committed timeframes, and a live view of a run by whoever connects."""

import json
import time
from contextlib import ExitStack

import matplotlib
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

import o2dask as o2
from o2dask.errors import ConfigError, DataError, ShapeError, SpecError
from o2dask.monitoring.board import HISTOGRAM_KEY, STATE_TOPIC, Board
from o2dask.monitoring.histograms import Axis, Histogram, HistogramFilled, HistogramSet
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.services import Histograms
from o2dask.specs import DataProcessorSpec, WorkflowSpec
from o2dask.timeframe import TimeframeId, enumerated
from o2dask.workflow.compiler import compile_workflow

matplotlib.use("agg")
PT = Axis("pt", 10, 0.0, 5.0, "GeV/c")
TF = TimeframeId(run=1, tf_counter=2, first_orbit=64)


def filled(*values, name="pt", axis=PT, processor="qc"):
    return HistogramFilled(timeframe=TF, histogram=Histogram.filled(name, axis, np.array(values), processor=processor))


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50))
@settings(max_examples=100, deadline=None)
def test_filling_counts_as_hist_does(values):
    import hist

    array = np.array(values)
    mine = Histogram.filled("x", PT, array)
    other = hist.Hist(hist.axis.Regular(10, 0.0, 5.0), storage=hist.storage.Int64()).fill(array)
    assert mine.counts.tolist() == other.view(flow=True).tolist()
    assert mine.to_hist().view(flow=True).tolist() == other.view(flow=True).tolist()


def test_two_axes_and_weights_count_as_hist_does():
    import hist

    rng = np.random.default_rng(3)
    x, y, w = rng.normal(2, 2, 1000), rng.uniform(-2, 2, 1000), rng.uniform(size=1000)
    axes = (PT, Axis("eta", 4, -1.0, 1.0))
    mine = Histogram.filled("xy", axes, x, y, weight=w)
    other = hist.Hist(hist.axis.Regular(10, 0, 5), hist.axis.Regular(4, -1, 1)).fill(x, y, weight=w)
    np.testing.assert_allclose(mine.to_hist().view(flow=True), other.view(flow=True), rtol=1e-12)


def test_sums_do_not_depend_on_the_order_in_which_timeframes_commit():
    events = [filled(*np.random.default_rng(i).uniform(0, 6, 50)) for i in range(10)]
    forward, backward = HistogramSet(), HistogramSet()
    assert forward.update(events) == backward.update(reversed(events)) == {"qc/pt"}
    assert forward["qc/pt"].counts.tolist() == backward["qc/pt"].counts.tolist()
    assert forward["qc/pt"].counts.sum() == 500


def test_a_histogram_with_other_axes_is_left_out_and_told():
    some = HistogramSet()
    some.update([filled(1.0), filled(1.0, axis=Axis("pt", 20, 0.0, 5.0))])
    assert some["qc/pt"].counts.sum() == 1
    assert "axes differ" in some.faults["qc/pt"]


def test_the_wire_holds_no_objects_and_gives_the_same_back():
    one = filled(0.1, 7.0).histogram
    wire = one.to_wire()
    assert {type(value) for value in wire.values()} == {str, list, bytes}
    back = Histogram.from_wire(wire)
    assert (back.axes, back.counts.tolist(), back.key) == (one.axes, one.counts.tolist(), one.key)
    assert json.loads(json.dumps(filled(0.1, 7.0).as_json()))["sum"] == 2


@pytest.mark.parametrize(
    "damage", [{"dtype": "object"}, {"counts": b"12"}, {"axes": [["x", 0, 0, 1, ""]]}, {"axes": 3}, {"name": ""}]
)
def test_a_wire_that_was_never_sent_is_a_data_error(damage):
    with pytest.raises(DataError, match="not one that was sent"):
        Histogram.from_wire(filled(1.0).histogram.to_wire() | damage)


def test_what_cannot_be_a_histogram_is_refused():
    with pytest.raises(SpecError, match="want start < stop"):
        Axis("x", 10, 1.0, 1.0)
    with pytest.raises(SpecError, match="bins at most"):
        Histogram.filled("x", (Axis("a", 2000, 0, 1), Axis("b", 2000, 0, 1)), np.zeros(1), np.zeros(1))
    with pytest.raises(ShapeError, match="want 2 arrays of one length"):
        Histogram.filled("x", (PT, PT), np.zeros(3))


def momenta(ctx):
    pt = ctx.rng.exponential(1.0, 100 + ctx.timeframe.tf_counter)
    ctx.services[Histograms].fill("pt", PT, pt)
    if ctx.timeframe.tf_counter == 2:
        raise ValueError("poison, after it has filled")


def test_what_a_processor_filled_counts_with_its_timeframe_and_not_if_that_is_set_aside():
    spec = DataProcessorSpec("qc", inputs="", outputs="", algorithm=momenta)
    events = []
    topology = compile_workflow(WorkflowSpec("flow", (spec,)))
    report = run_inline(topology, enumerated(5), NoSink(), progress=events.append)
    assert len(report.quarantined) == 1
    some = HistogramSet()
    some.update(events)
    assert some["qc/pt"].counts.sum() == 100 + 101 + 103 + 104


@pytest.fixture(scope="module")
def cluster():
    """A scheduler of this process's own, without workers."""
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0", protocol="tcp") as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster, set_as_default=False) as client:
        yield client


def until(check, seconds=60.0):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


def state(**more):
    room = {"timeframes": 5, "max_timeframes": 64, "bytes": 7_000_000, "max_bytes": 10**9}
    parts = {"ready": 3, "leased": 1, **room, "counts": {"in": 9, "redelivered": 4}}
    queues = {"s/parts": parts, "s/timeframes": {"ready": 2, "leased": 0}}
    base = {"state": "RUNNING", "committed": 0, "in_flight": 2, "window": 8, "n_workers": 2, "busy_fraction": 0.5}
    return base | {"queues": queues} | more


def test_a_view_shows_what_a_run_announces(client, cluster):
    with ExitStack() as stack:
        view = stack.enter_context(o2.connect(cluster.scheduler_address))
        assert view.status == "WAITING" and "no run has announced itself" in str(view)
        assert "no run yet" in view._repr_html_()
        board = Board(client, run="r1", workflow="<async>")
        start = time.time()
        for i in range(5):
            board.announce(state(committed=10 * i) | {"at": start - 4 + i})
        until(lambda: view.state.get("committed") == 40)
        assert view.status == "RUNNING" and view.rate == pytest.approx(10.0)
        text = str(view)
        assert "40 committed, 10.0 TF/s, 2 in flight, 5 queued, 2 workers" in text
        html = view._repr_html_()
        assert "&lt;async&gt;" in html and "queue parts" in html and "<polyline" in html
        assert "3 ready, 1 leased, 5 of 64 timeframes in its room, 7 of 1,000 MB, 4 redelivered" in html
        board.heard([filled(1.0, 2.0), filled(3.0)])
        board.tick(time.time(), state)
        until(lambda: "qc/pt" in view.histograms)
        assert view.histogram("pt").sum() == 3
        assert "qc/pt (3)" in view._repr_html_()
        board.heard([filled(4.0)])
        board.close(state(state="STOPPED", committed=50))
        until(lambda: view.status == "STOPPED" and view.histogram("qc/pt").sum() == 4)


def test_plots_have_labels_with_units_and_two_axes_work_too(client, cluster):
    board = Board(client, run="r2", workflow="plots")
    axes = (PT, Axis("eta", 4, -1.0, 1.0))
    two = Histogram.filled("both", axes, np.ones(3), np.zeros(3), processor="qc")
    board.heard([filled(1.0, 9.0), HistogramFilled(timeframe=TF, histogram=two)])
    board.close(state(state="STOPPED"))
    with o2.connect(cluster.scheduler_address) as view:
        until(lambda: "qc/both" in view.histograms)
        ax = view.plot("pt")
        assert ax.get_xlabel() == "pt [GeV/c]" and "2 entries" in ax.get_title()
        assert view.plot("both").get_ylabel() == "eta"
        matplotlib.pyplot.close("all")
        with pytest.raises(KeyError, match="did you mean"):
            view.plot("qc/botj")


def test_the_view_of_a_run_whose_driver_died_says_lost(client, cluster):
    board = Board(client, run="r3", workflow="dead")
    board.announce(state() | {"at": time.time() - 60})
    with o2.connect(cluster.scheduler_address) as view:
        until(lambda: view.state.get("run") == "r3")
        assert view.status == "LOST"


def test_a_view_remembers_more_than_the_scheduler_and_begins_anew_with_another_run(client, cluster):
    with o2.connect(cluster.scheduler_address) as view:
        for run, n in (("old", 3), ("new", 5)):
            board = Board(client, run=run, workflow="long")
            for i in range(n):
                board.announce(state(committed=i))
                until(lambda run=run, i=i: view.state.get("run") == run and view.state["committed"] == i)
                client.run_on_scheduler(lambda dask_scheduler: dask_scheduler._broker.truncate(STATE_TOPIC))
        assert [one["committed"] for one in view.history] == [0, 1, 2, 3, 4]


def test_watching_prints_lines_where_there_is_no_notebook(client, cluster, capsys):
    Board(client, run="r4", workflow="watched").announce(state(state="STOPPED", committed=7, dropped=2))
    with o2.connect(cluster.scheduler_address) as view:
        until(lambda: view.state.get("run") == "r4")
        view.watch(5.0)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("watched STOPPED, 7 committed") and line.endswith("2 dropped")


def test_a_board_asks_for_the_state_no_more_than_twice_a_second_and_keeps_no_histograms_but_the_last(client):
    board, asked = Board(client, run="r5", workflow="often"), []
    start = time.time()
    for i in range(1000):
        board.heard([filled(1.0)])
        board.tick(start + 0.001 * i, lambda: asked.append(1) or state())
    assert 1 <= len(asked) <= 3
    board.close(state(state="STOPPED"))
    until(lambda: (client.get_metadata([HISTOGRAM_KEY], default={}) or {}).get("run") == "r5")
    until(lambda: client.get_events(STATE_TOPIC)[-1][1]["run"] == "r5")
    wire = client.get_metadata([HISTOGRAM_KEY])["histograms"]["qc/pt"]
    assert Histogram.from_wire(wire).counts.sum() == 1000


def test_nobody_at_the_address_is_one_line_with_a_hint():
    with pytest.raises(ConfigError, match="o2dask stream prints the address"):
        o2.connect("tcp://127.0.0.1:9", timeout_s=0.3)


def test_a_board_outlives_its_scheduler():
    with LocalCluster(n_workers=0, processes=False, dashboard_address=":0", protocol="tcp") as cluster:
        client = Client(cluster, set_as_default=False)
        board = Board(client, run="r6", workflow="gone")
        view = o2.connect(cluster.scheduler_address)
        board.announce(state(committed=5))
        until(lambda: view.state.get("committed") == 5)
        client.close()
    board.close(state(state="STOPPED"))
    until(lambda: not view.is_connected)
    assert view.status == "LOST" and view.state["committed"] == 5
    view.close()


def test_what_a_run_says_last_is_heard_without_asking(client, cluster, monkeypatch):
    monkeypatch.setattr("distributed.Client.get_events", lambda *_: ())
    with o2.connect(cluster.scheduler_address) as view:
        last = {"run": "r", "at": 1.0, "state": "STOPPED", "committed": 7}
        until(lambda: client.log_event(STATE_TOPIC, last) or view.status == "STOPPED")  # once it is subscribed
        assert view.state["committed"] == 7
