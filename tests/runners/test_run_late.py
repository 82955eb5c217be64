"""The sink keeps what an ordered processor makes: the same bytes as inline, whoever is killed, stopped or resumed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from beside_flows import result
from late_flows import FatalOnce, late_flow, timeframes
from runner_flows import StopAfter

from o2dask.columns import Columns, Schema
from o2dask.errors import ConfigError
from o2dask.runners.batch import run_batch
from o2dask.runners.beside import Beside, leave
from o2dask.runners.beside_plan import split
from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.settings import BatchSettings
from o2dask.runners.stream import run_stream
from o2dask.runners.testing import contents
from o2dask.specs import DataProcessorSpec, WorkflowSpec
from o2dask.stream.settings import StreamSettings
from o2dask.timeframe import TimeframeRef, enumerated
from o2dask.workflow.compiler import compile_workflow

HERE = Path(__file__).parent


def batch(tmp_path: Path, address: str, refs, *, sink=FolderSink, resume=False, patterns=("*",), topology=None, **more):
    settings = BatchSettings(scheduler=address, journal=tmp_path / "log", resume=resume)
    topology = topology or late_flow(str(tmp_path))
    out = sink(str(tmp_path / "out"), patterns) if isinstance(sink, type) else sink
    return run_batch(topology, refs, out, settings=settings, **more)


def inline(tmp_path: Path, refs, patterns=("*",), **more):
    report = run_inline(late_flow(**more), refs, FolderSink(str(tmp_path / "in"), patterns))
    return report, contents(tmp_path / "in")


def left(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "log/beside").rglob("TF_*"))


@pytest.mark.parametrize("patterns", [("*",), ("TST/MEAN", "TST/ROW"), ("TST/MAP", "TST/SUM")], ids=" ".join)
def test_batch_commits_the_bytes_of_inline(tmp_path, scheduler_address, patterns) -> None:
    refs = timeframes(30, {7: "bad"})
    first, want = inline(tmp_path, refs, patterns)
    second = batch(tmp_path, scheduler_address, refs[::-1], patterns=patterns)
    assert len(want) >= 29 and contents(tmp_path / "out") == want
    assert first.counters == second.counters and len(second.committed) == 29
    assert {r.timeframe: r for r in first.committed} == {r.timeframe: r for r in second.committed}
    assert [q.ref.id for q in second.quarantined] == [refs[7].id] == [q.ref.id for q in first.quarantined]
    assert set(second.seconds) == {"digits", "mean"} and not left(tmp_path)


def test_what_fails_in_an_ordered_processor_is_set_aside_as_it_is_inline(tmp_path, scheduler_address) -> None:
    refs = timeframes(12, {3: "raise", 8: "raise"})
    first, want = inline(tmp_path, refs)
    second = batch(tmp_path, scheduler_address, refs)
    assert contents(tmp_path / "out") == want
    assert sorted(q.reason for q in second.quarantined) == sorted(q.reason for q in first.quarantined)
    assert "processor 'mean' failed" in second.quarantined[0].reason and "no sum today" in second.quarantined[0].reason
    assert "in run" in Path(second.quarantined[0].file).read_text(), "the traceback"
    assert not second.losses and not left(tmp_path)


def test_a_timeframe_that_kills_its_process_each_time_is_set_aside(tmp_path, scheduler_address) -> None:
    refs = timeframes(12, {5: "die"})
    report = batch(tmp_path, scheduler_address, refs)
    assert [q.ref for q in report.quarantined] == [refs[5]] and len(report.committed) == 11
    assert "killed by SIGKILL" in report.quarantined[0].reason and "'mean'" in report.quarantined[0].reason
    _, want = inline(tmp_path, [ref for ref in refs if ref is not refs[5]])
    assert contents(tmp_path / "out") == want


def test_an_expendable_one_costs_its_output_only(tmp_path, scheduler_address) -> None:
    topology = late_flow(str(tmp_path), expendable=True)
    refs = timeframes(12, {5: "die", 7: "raise"})
    report = batch(tmp_path, scheduler_address, refs, topology=topology)
    assert report.ok and len(report.committed) == 12
    assert report.losses["mean"].causes == {"crash": 1, "exception": 1}
    rows = {r.timeframe.tf_counter: set(r.rows) for r in report.committed}
    assert "TST/SUM/0" in rows[4] and rows[5] == rows[7] == {"TST/DIGITS/0", "TST/MAP/0", "TST/PARTS/0"}


def test_killing_the_process_of_the_ordered_one_changes_no_byte(tmp_path, scheduler_address) -> None:
    refs = timeframes(80)
    _, want = inline(tmp_path, refs)
    special = dict.fromkeys((3, 70, 79), f"kill={tmp_path}")
    report = batch(tmp_path, scheduler_address, timeframes(80, special))
    assert report.ok and report.losses["mean"].n_restarts >= 3
    assert contents(tmp_path / "out") == want
    assert result(tmp_path)[1] == list(range(80))


def test_a_worker_that_dies_of_the_commit_changes_no_byte(tmp_path, scheduler_address) -> None:
    refs = timeframes(10)
    _, want = inline(tmp_path, refs)
    sink = FatalOnce(str(tmp_path / "out"), ("*",), before=(2,), after=(6,))
    report = batch(tmp_path, scheduler_address, refs, sink=sink)
    assert report.ok, report
    assert contents(tmp_path / "out") == want
    assert result(tmp_path)[1] == list(range(10))


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path, scheduler_address) -> None:
    refs, stop = timeframes(60), StopAfter(20)
    _, want = inline(tmp_path, refs)
    first = batch(tmp_path, scheduler_address, refs, stop=stop, progress=stop.see)
    assert first.interrupted and first.abandoned
    second = batch(tmp_path, scheduler_address, refs, resume=True)
    assert second.ok, second
    assert contents(tmp_path / "out") == want
    assert result(tmp_path)[1] == list(range(60)) and not left(tmp_path)


def test_a_driver_that_is_killed_leaves_what_a_resumed_run_makes_the_same_bytes_of(tmp_path) -> None:
    """Killed at any moment, twice: what is committed and not in a snapshot is added up again, and only that."""
    _, want = inline(tmp_path, timeframes(100))
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(HERE / "late_flows.py"), str(tmp_path), "100"]
    for n in (10, 70):
        with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
            while driver.poll() is None and len(list((tmp_path / "out").glob("run*"))) < n:
                time.sleep(0.01)
            driver.send_signal(signal.SIGKILL)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(tmp_path / "out") == want
    assert result(tmp_path)[1] == list(range(100)) and not left(tmp_path)


def test_a_stream_commits_the_bytes_of_inline(tmp_path, scheduler_address) -> None:
    refs = [TimeframeRef(id=one.id, url="ok", index=0) for one in enumerated(25)]
    _, want = inline(tmp_path, refs)
    (tmp_path / "spool").mkdir()
    source = StreamSettings(source="enumerate:25", n_readouts=1, base=str(tmp_path / "spool"), timeout_s=120.0)
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log")
    report = run_stream(late_flow(str(tmp_path)), source, FolderSink(str(tmp_path / "out")), settings=settings)
    assert report.ok and report.n_committed == 25, report
    assert contents(tmp_path / "out") == want


def test_what_was_committed_after_the_last_snapshot_is_taken_up_though_nothing_is_left_to_do(tmp_path) -> None:
    topology, refs = late_flow(str(tmp_path)), timeframes(5)
    _, (unit,) = split(topology, ("*",))
    digits = {unit.inputs[0]: Columns(Schema.infer("TST/DIGITS", {"x": np.arange(3)}), {"x": np.arange(3)})}
    (tmp_path / "beside/mean").mkdir(parents=True)
    for ref in refs:
        leave(str(tmp_path / "beside"), unit, ref, digits)
    with Beside(topology, (unit,), tmp_path / "beside", resume=True) as beside:
        beside.begin((), lambda ref: True)
        beside.close()
        assert sum(told.counters.get("mean.seen", 0) for told in beside.take_told()) == 5
    assert result(tmp_path)[1] == [0, 1, 2, 3, 4]
    assert (tmp_path / "beside/mean/snapshot.npz").exists() and not list((tmp_path / "beside").rglob("TF_*"))


def test_an_ordered_processor_can_end_the_run(tmp_path, scheduler_address) -> None:
    report = batch(tmp_path, scheduler_address, timeframes(400, {10: "quit"}))
    assert report.ended and 11 <= len(report.committed) < 400
    assert {r.timeframe.tf_counter for r in report.committed} == set(range(len(report.committed)))


def test_a_sink_that_keeps_what_an_asynchronous_processor_makes_is_refused(tmp_path) -> None:
    fit = DataProcessorSpec("fit", inputs="", outputs="TST/FIT", algorithm=print, labels=("asynchronous",))
    digits = DataProcessorSpec("digits", inputs="", outputs="TST/DIGITS", algorithm=print)
    topology = compile_workflow(WorkflowSpec("fits", (digits, fit)))
    with pytest.raises(ConfigError, match=r"TST/FIT/0 of processor 'fit' cannot go to the output.*--keep"):
        split(topology, ("*",))
