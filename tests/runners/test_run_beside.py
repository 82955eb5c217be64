"""Processors beside the graph: every timeframe once and in order, or the newest only; snapshots; feedback."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from beside_flows import BACK, DIGITS, count, flow, peer, pipeline, result, timeframes, watch
from runner_flows import CountingSink, StopAfter

from o2dask.columns import Columns, Schema
from o2dask.errors import ConfigError
from o2dask.runners.batch import run_batch
from o2dask.runners.beside import Beside, leave
from o2dask.runners.beside_plan import split
from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.runners.settings import BatchSettings
from o2dask.runners.testing import contents
from o2dask.specs import DataProcessorSpec

PATTERNS = ("TST/NUMBER",)


def batch(tmp_path: Path, address: str, topology, refs, resume=False, **more):
    settings = BatchSettings(scheduler=address, journal=tmp_path / "log", resume=resume)
    return run_batch(topology, refs, FolderSink(str(tmp_path / "out"), PATTERNS), settings=settings, **more)


def total(*counters: int) -> int:
    return 100 * sum(counters)


def test_an_ordered_processor_sees_every_timeframe_once_and_in_order(tmp_path, scheduler_address) -> None:
    refs = timeframes(60)
    report = batch(tmp_path, scheduler_address, flow(str(tmp_path)), refs[::-1])
    assert report.ok and report.counters["sum.seen"] == 60
    assert result(tmp_path) == (total(*range(60)), list(range(60)))
    assert not list((tmp_path / "log/beside/sum").glob("TF_*")), "nothing is left of what was handed on"


def test_what_runs_beside_the_graph_gives_what_inline_gives(tmp_path, scheduler_address) -> None:
    refs = timeframes(20)
    (tmp_path / "inline").mkdir()
    assert run_inline(flow(str(tmp_path / "inline")), refs, FolderSink(str(tmp_path / "in"), PATTERNS)).ok
    assert batch(tmp_path, scheduler_address, flow(str(tmp_path)), refs).ok
    assert result(tmp_path) == result(tmp_path / "inline")
    assert contents(tmp_path / "out") == contents(tmp_path / "in")


def test_its_results_reach_feedback_inputs_of_later_timeframes(tmp_path, scheduler_address) -> None:
    report = batch(tmp_path, scheduler_address, flow(str(tmp_path)), timeframes(80))
    assert report.ok and 0 < report.counters["make.fed_back"] <= 79, "the first cannot have any"
    left = list((tmp_path / "log/beside/sum/feedback").glob("*.ctf"))
    assert len(left) < 20, "old feedback is removed"


def test_feedback_reaches_expendable_processors_in_processes_of_their_own(tmp_path, scheduler_address) -> None:
    """Also those that were started again, and with the newest value there is in the worker."""
    seen = DataProcessorSpec(
        "watch", inputs=f"{DIGITS};{BACK}", outputs="seen:TST/SEEN?lifetime=sporadic", algorithm=watch, expendable=True
    )
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log", group=1)
    sink = FolderSink(str(tmp_path / "out"), ("TST/SEEN", "TST/NUMBER"))
    report = run_batch(flow("", seen), timeframes(120), sink, settings=settings)
    assert report.ok and report.losses["watch"].n_restarts >= 2
    n_lost, n_made = report.losses["watch"].n_outputs, report.counters["make.fed_back"]
    assert not set(report.losses["watch"].causes) - {"crash", "back-off"}
    assert n_lost >= 3 and 0 < n_made - n_lost <= report.counters["watch.fed_back"] <= n_made
    sums = {r.timeframe.tf_counter: r for r in report.committed if "TST/SEEN/0" in r.rows}
    assert len(sums) == report.counters["watch.fed_back"]


def test_feedback_reaches_ordered_processors_in_another_process(tmp_path, scheduler_address) -> None:
    seen = DataProcessorSpec("later", inputs=f"{DIGITS};{BACK}", outputs="", algorithm=peer, policy="ordered")
    topology = flow("", seen)
    assert [unit.has_feedback for unit in split(topology, PATTERNS)[1]] == [False, True]
    report = batch(tmp_path, scheduler_address, topology, timeframes(80))
    assert report.ok and 0 < report.counters["later.fed_back"] <= 80


def test_a_timeframe_that_was_set_aside_is_not_waited_for(tmp_path, scheduler_address) -> None:
    report = batch(tmp_path, scheduler_address, flow(str(tmp_path)), timeframes(20, {5: "bad"}))
    assert [q.ref.id.tf_counter for q in report.quarantined] == [5]
    assert result(tmp_path)[1] == [i for i in range(20) if i != 5]


def test_killing_its_process_neither_loses_nor_doubles_a_contribution(tmp_path, scheduler_address) -> None:
    special = dict.fromkeys((3, 40, 41, 70, 99), f"kill={tmp_path}")
    report = batch(tmp_path, scheduler_address, flow(str(tmp_path)), timeframes(100, special))
    assert report.ok and report.counters["sum.seen"] == 100
    assert report.losses["sum"].n_restarts >= 5 and not report.losses["sum"].causes
    assert result(tmp_path) == (total(*range(100)), list(range(100)))


def test_a_process_that_is_killed_when_it_is_to_end_is_ended_all_the_same(tmp_path, scheduler_address) -> None:
    report = batch(tmp_path, scheduler_address, flow(str(tmp_path), fragile=True), timeframes(10))
    assert report.ok and (tmp_path / "killed-at-the-end").exists()
    assert result(tmp_path) == (total(*range(10)), list(range(10)))


def test_a_timeframe_that_always_kills_it_is_left_out_and_told(tmp_path, scheduler_address) -> None:
    report = batch(tmp_path, scheduler_address, flow(str(tmp_path)), timeframes(20, {7: "die", 9: "raise"}))
    assert len(report.committed) == 20, "the timeframes are committed all the same"
    assert report.losses["sum"].causes == {"crash": 1, "exception": 1}
    rest = [i for i in range(20) if i not in (7, 9)]
    assert result(tmp_path) == (total(*rest), rest)


def test_a_stopped_run_goes_on_with_its_snapshot(tmp_path, scheduler_address) -> None:
    refs, stop = timeframes(60), StopAfter(20)
    first = batch(tmp_path, scheduler_address, flow(str(tmp_path)), refs, stop=stop, progress=stop.see)
    assert first.interrupted and first.abandoned
    second = batch(tmp_path, scheduler_address, flow(str(tmp_path)), refs, resume=True)
    assert second.ok, second
    assert result(tmp_path) == (total(*range(60)), list(range(60)))
    third = batch(tmp_path, scheduler_address, flow(str(tmp_path)), refs, resume=True)
    assert third.ok and not third.committed


def test_an_asynchronous_processor_never_holds_the_run_up(tmp_path, scheduler_address) -> None:
    report = batch(tmp_path, scheduler_address, flow(slow=True), timeframes(60))
    assert report.ok
    seen, skipped = report.counters["peek.peeked"], report.counters["peek.skipped"]
    assert seen >= 1 and skipped >= 30 and seen + skipped >= 59
    assert not list((tmp_path / "log/beside/peek").glob("TF_*"))


def test_nothing_stays_behind_of_timeframes_that_fail_after_they_were_left_for_it(tmp_path, scheduler_address) -> None:
    bad = tuple(range(0, 30, 2))
    sink = CountingSink(str(tmp_path / "out"), PATTERNS, refused=bad)
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log")
    report = run_batch(flow(slow=True), timeframes(30), sink, settings=settings)
    assert [q.ref.id.tf_counter for q in report.quarantined] == list(bad)
    assert not list((tmp_path / "log/beside").rglob("TF_*"))


@pytest.mark.parametrize(
    ("inputs", "more"),
    [("sum:TST/SUM", {}), ("sum:TST/SUM", {"labels": ("asynchronous",)})],
    ids=["graph", "asynchronous"],
)
def test_who_needs_its_result_for_the_same_timeframe_is_refused(tmp_path, inputs, more) -> None:
    late = DataProcessorSpec("late", inputs=inputs, outputs="", algorithm=count, **more)
    with pytest.raises(ConfigError, match=r"'late' needs TST/SUM/0 of 'sum' .*feedback=true.*inline runner"):
        split(flow("", late), PATTERNS)


def test_ordered_processors_that_feed_each_other_share_a_process(tmp_path) -> None:
    second = DataProcessorSpec("more", inputs="sum:TST/SUM", outputs="", algorithm=count, policy="ordered")
    graph, units = split(flow("", second, slow=True), PATTERNS)
    assert graph.names == ("make", "count")
    assert [(u.name, u.processors, u.is_ordered) for u in units] == [
        ("sum", ("sum", "more"), True),
        ("peek", ("peek",), False),
    ]
    assert [str(ref) for ref in units[0].inputs] == [DIGITS.partition(":")[2] + "/0"]


def test_an_instance_of_a_time_pipeline_takes_its_timeframes_one_after_the_other(tmp_path, scheduler_address) -> None:
    """Instance 0 is busy with the first timeframe for long: the third waits for it, the second does not."""
    refs = [replace(ref, url=str(tmp_path)) for ref in timeframes(12)]
    assert run_batch(pipeline(2), refs, NoSink(), settings=BatchSettings(scheduler=scheduler_address)).ok
    lines = (tmp_path / "stamps.txt").read_text().splitlines()
    stamps = {int(i): (float(begin), float(end)) for i, begin, end in map(str.split, lines)}
    assert sorted(stamps) == list(range(12))
    for i in range(10):
        assert stamps[i][1] <= stamps[i + 2][0], f"timeframe {i + 2} did not wait for {i}"
    assert stamps[1][0] < stamps[0][1]


def test_what_a_worker_committed_after_its_driver_died_is_taken_up_when_the_stream_gets_there(tmp_path) -> None:
    """The contribution lies in its file, and nobody but the stream, which finds it committed, tells of it."""
    topology, refs = flow(str(tmp_path)), timeframes(4)
    _, units = split(topology, PATTERNS)
    digits = {units[0].inputs[0]: Columns(Schema.infer("TST/DIGITS", {"x": np.arange(3)}), {"x": np.arange(3)})}
    with Beside(topology, units, tmp_path / "beside", resume=True) as beside:
        beside.begin(None, lambda ref: True)
        for ref in refs:
            leave(beside.folder, units[0], ref, digits)
            beside.seen_done(ref)
            beside.seen_done(ref)
        beside.over()
        beside.close()
        assert sum(told.counters.get("sum.seen", 0) for told in beside.take_told()) == 4
    assert result(tmp_path)[1] == [0, 1, 2, 3]
