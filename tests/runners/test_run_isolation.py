"""Expendable processors in processes of their own: real crashes, leaks and loops, on both runners."""

import os
import socket
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from isolation_flows import PATTERNS, flow
from runner_flows import eventually, timeframes

from o2dask.errors import ConfigError, SpecError
from o2dask.monitoring.events import OutputLost, ProcessorRestarted
from o2dask.runners import isolation, process
from o2dask.runners.batch import run_batch
from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.isolation import back_off
from o2dask.runners.payload import receive, send
from o2dask.runners.settings import BatchSettings
from o2dask.runners.testing import RunnerContract, contents
from o2dask.specs import DataProcessorSpec, WorkflowSpec
from o2dask.workflow.compiler import compile_workflow


def children(of_workers: bool = False) -> set[int]:
    """Return the processes that isolation has started, here or on workers, and that still run."""
    found = psutil.Process().children(recursive=of_workers)
    return {p.pid for p in found if any("o2dask.runners.child" in word for word in p.cmdline())}


def lost_in(folder: Path) -> set[int]:
    """Return the timeframes without histogram, by what is on disk."""
    return {int(d.name.split("_")[1][2:]) for d in folder.glob("run*") if not (d / "TST_HISTOGRAM_0.arrow").exists()}


class TestIsolatedWorkflow(RunnerContract):
    def topology(self):
        return flow()

    def timeframes(self, folder: Path):
        return timeframes(4)


def test_what_is_isolated_makes_the_same_bytes_as_what_is_not(tmp_path: Path) -> None:
    refs = timeframes(3)
    apart = run_inline(flow(), refs, FolderSink(str(tmp_path / "apart"), PATTERNS))
    here = run_inline(flow(), refs, FolderSink(str(tmp_path / "here"), PATTERNS), isolate=False)
    assert apart.ok and here.ok and apart.counters == here.counters
    assert set(apart.seconds) == set(here.seconds) and not apart.losses
    assert contents(tmp_path / "apart") == contents(tmp_path / "here")
    assert len(contents(tmp_path / "apart")) == 9


DEEDS = {1: "segv", 3: "hang", 5: "spin", 7: "hog", 9: "fork", 11: "exit", 13: "raise"}
CAUSES = {"segv": "crash", "hang": "deadline", "spin": "deadline", "hog": "memory", "fork": "crash", "exit": "crash"}


def test_whatever_goes_wrong_costs_its_own_output_only(tmp_path: Path) -> None:
    refs, seen = timeframes(15, special=DEEDS), []
    sink = FolderSink(str(tmp_path / "out"), PATTERNS)
    report = run_inline(flow(deadline_s=2.0), refs, sink, progress=seen.append)
    assert report.ok, report
    assert lost_in(tmp_path / "out") == set(DEEDS)
    events = {e.timeframe.tf_counter: e for e in seen if isinstance(e, OutputLost)}
    assert {i: e.cause for i, e in events.items()} == {i: CAUSES.get(d, "exception") for i, d in DEEDS.items()}
    assert "killed by SIGSEGV" in events[1].text and "in _segv" in events[1].text, "the place is told"
    assert "not done after 2 s" in events[3].text and "in _hang" in events[3].text
    assert "in _spin" in events[5].text, "also of one that does not let go of the interpreter"
    assert "over its limit of 200 MiB" in events[7].text
    assert "ended with status 3" in events[11].text
    assert events[13].text.startswith("DataError: no pedestal\nTraceback") and "in _raise" in events[13].text
    restarts = [e.cause for e in seen if isinstance(e, ProcessorRestarted)]
    assert sorted(restarts) == ["crash", "crash", "crash", "deadline", "deadline", "memory"]
    losses = report.losses["check"]
    assert losses.causes == {"crash": 3, "deadline": 2, "memory": 1, "exception": 1} and losses.n_restarts == 6
    assert "check: 7 lost (crash 3, deadline 2, exception 1, memory 1); 6 restarts" in str(report)
    assert report.counters["check.failed"] == 7
    assert report.counters["check.entries"] == sum(50_000 + i for i in range(15) if i not in DEEDS)
    good = [ref for ref in refs if ref.index not in DEEDS]
    run_inline(flow(), good, FolderSink(str(tmp_path / "good"), PATTERNS))
    got = contents(tmp_path / "out")
    want = contents(tmp_path / "good")
    assert {name: got[name] for name in want} == want, "the other timeframes have the bytes of a run without trouble"
    assert not children()


def test_on_workers_it_costs_no_more_and_the_workers_live_on(tmp_path: Path, cluster, scheduler_address) -> None:
    deeds = {2: "segv", 5: "hang", 8: "hog", 11: "kill"}
    refs, seen = timeframes(16, special=deeds), []
    nannies = {name: nanny.pid for name, nanny in cluster.workers.items()}
    settings = BatchSettings(scheduler=scheduler_address, deadline_s=30)
    sink = FolderSink(str(tmp_path / "out"), PATTERNS)
    report = run_batch(flow(deadline_s=2.0), refs, sink, settings=settings, progress=seen.append)
    assert report.ok, report
    assert lost_in(tmp_path / "out") == set(deeds)
    causes = {e.timeframe.tf_counter: e.cause for e in seen if isinstance(e, OutputLost)}
    assert causes == {2: "crash", 5: "deadline", 8: "memory", 11: "crash"}
    assert report.losses["check"].n_outputs == 4 and 2 <= report.losses["check"].n_restarts <= 4
    assert {name: nanny.pid for name, nanny in cluster.workers.items()} == nannies, "no worker died"
    inline = FolderSink(str(tmp_path / "inline"), PATTERNS)
    run_inline(flow(deadline_s=2.0), refs, inline)
    assert contents(tmp_path / "out") == contents(tmp_path / "inline")
    eventually(lambda: not children(of_workers=True))  # they go with the run


def test_without_isolation_a_crash_costs_the_timeframe(tmp_path: Path, scheduler_address) -> None:
    settings = BatchSettings(scheduler=scheduler_address, isolate=False)
    sink = FolderSink(str(tmp_path / "out"), PATTERNS)
    report = run_batch(flow(), timeframes(4, special={1: "kill"}), sink, settings=settings)
    assert [q.ref.index for q in report.quarantined] == [1] and len(report.committed) == 3, report


def test_the_deadline_of_the_timeframe_leaves_time_for_the_rest_of_it(tmp_path: Path, scheduler_address) -> None:
    settings = BatchSettings(scheduler=scheduler_address, deadline_s=8.0)
    sink = FolderSink(str(tmp_path / "out"), PATTERNS)
    report = run_batch(flow(deadline_s=60.0), timeframes(2, special={1: "hang"}), sink, settings=settings)
    assert report.ok and report.losses["check"].causes == {"deadline": 1}


def test_a_leak_ends_the_process_between_timeframes_and_loses_nothing(tmp_path: Path) -> None:
    seen, sink = [], FolderSink(str(tmp_path / "out"), PATTERNS)
    report = run_inline(flow(memory_mib=220.0), timeframes(9, "leak=60"), sink, progress=seen.append)
    assert report.ok
    restarts = [e.cause for e in seen if isinstance(e, ProcessorRestarted)]
    assert 1 <= len(restarts) <= 4 and set(restarts) == {"memory"}
    losses = report.losses["check"]
    assert losses.n_outputs <= len(restarts) and set(losses.causes) <= {"memory"}
    assert len(lost_in(tmp_path / "out")) == losses.n_outputs < 5


def test_one_that_always_fails_is_tried_ever_less_often(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(isolation, "PATIENCE_S", 0.3)
    seen, sink = [], FolderSink(str(tmp_path / "out"), PATTERNS)
    start = time.monotonic()
    report = run_inline(flow(), timeframes(40, "exit"), sink, progress=seen.append)
    took_s = time.monotonic() - start
    assert report.ok
    causes = [e.cause for e in seen if isinstance(e, OutputLost)]
    assert len(causes) == 40 and causes[:3] == ["crash"] * 3
    n_starts = causes.count("crash")
    assert set(causes) == {"crash", "back-off"} and n_starts < 20
    assert sum(back_off(n) for n in range(1, n_starts)) <= took_s, "between starts it waited, ever longer"
    assert report.losses["check"].n_restarts == n_starts - 1


def test_waits_double_up_to_a_minute_and_the_first_failure_is_forgiven() -> None:
    waits = [back_off(n) for n in range(1, 40)]
    assert waits[0] == 0 and waits[1] == 0.25 and waits[-1] == isolation.LONGEST_WAIT_S
    assert all(b == min(2 * a, isolation.LONGEST_WAIT_S) for a, b in pairwise(waits[1:]))


def test_its_process_has_none_of_our_files_and_sockets(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, (tmp_path / "secret").open("w") as file:
        for fd in (server.fileno(), file.fileno()):
            os.set_inheritable(fd, True)
        sink = FolderSink(str(tmp_path / "out"), PATTERNS)
        assert not run_inline(flow(), timeframes(1, f"fds={tmp_path / 'fds'}"), sink).losses
    links = (tmp_path / "fds").read_text().split("\n")
    assert len([link for link in links if link.startswith("socket:")]) == 1, links
    assert not any("secret" in link for link in links)


def test_its_end_of_stream_is_called_there(tmp_path: Path) -> None:
    assert run_inline(flow(folder=str(tmp_path)), timeframes(3), FolderSink(str(tmp_path / "out"), PATTERNS)).ok
    (end,) = tmp_path.glob("ended-*")
    assert end.read_text() == f"{os.getpid()} 3"
    assert int(end.name.partition("-")[2]) != os.getpid()
    assert not children()


OPEN_FILES = """
import gc, sys
from pathlib import Path
from isolation_flows import PATTERNS, flow
from runner_flows import timeframes
from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline

for run in range(3):
    assert run_inline(flow(), timeframes(2), FolderSink(f"{sys.argv[1]}/{run}", PATTERNS)).ok
    gc.collect()
    print(len(list(Path("/proc/self/fd").iterdir())))
"""


def test_nothing_is_left_open_by_a_run(tmp_path: Path) -> None:
    """In a process of its own: here, the threads of a cluster of another test open and close files as they like."""
    words = [sys.executable, "-c", OPEN_FILES, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    first, *others = done.stdout.split()
    assert others == [first, first], "what the first run imported stays open, and no more"


def test_one_that_hangs_when_it_starts_costs_its_outputs(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(process, "START_S", 5.0)
    report = run_inline(flow(init="hang"), timeframes(1), FolderSink(str(tmp_path / "out"), PATTERNS))
    assert report.ok and report.losses["check"].causes == {"start": 1}
    assert "was not initialised after 5 s" in report.losses["check"].text
    assert "in init" in report.losses["check"].text


def test_fatal_errors_and_wrong_settings_end_the_run_from_there_too(tmp_path: Path) -> None:
    report = run_inline(flow(), timeframes(3, special={1: "fatal"}), FolderSink(str(tmp_path / "a"), PATTERNS))
    assert (
        "the detector is not there (processor 'check' at isolation_flows.py:" in report.failure
        and len(report.committed) == 1
    )
    report = run_inline(flow(init="config"), timeframes(3), FolderSink(str(tmp_path / "b"), PATTERNS))
    assert "binning is upside down (processor 'check' at isolation_flows.py:" in report.failure and not report.committed


def test_one_that_has_quit_stays_away(tmp_path: Path) -> None:
    report = run_inline(flow(), timeframes(5, special={1: "quit"}), FolderSink(str(tmp_path / "out"), PATTERNS))
    assert report.ok and not report.losses
    assert lost_in(tmp_path / "out") == {2, 3, 4}


def test_a_workflow_that_cannot_be_sent_there_is_refused_before_the_first_timeframe(tmp_path: Path) -> None:
    lock = threading.Lock()

    def locked(ctx) -> None:
        with lock:
            ctx.outputs.make("x", {"x": np.zeros(1)})

    spec = DataProcessorSpec("locked", inputs="", outputs="x:TST/X", algorithm=locked, expendable=True)
    topology, sink = compile_workflow(WorkflowSpec("w", (spec,))), FolderSink(str(tmp_path / "out"), PATTERNS)
    with pytest.raises(ConfigError, match=r"cannot be sent there: .*--no-isolation"):
        run_inline(topology, timeframes(1), sink)
    assert run_inline(topology, timeframes(1), sink, isolate=False).ok


@pytest.mark.parametrize("limit", [{"deadline_s": 0}, {"memory_mib": -1.0}, {"deadline_s": 5.0, "expendable": False}])
def test_limits_that_cannot_work_are_refused(limit) -> None:
    with pytest.raises(SpecError, match="over 0, for an expendable processor only"):
        DataProcessorSpec("p", inputs="", outputs="x:TST/X", algorithm=print, **{"expendable": True, **limit})


@settings(max_examples=30, deadline=None)
@given(
    arrays=st.lists(
        npst.arrays(st.sampled_from(["f4", "i2", "u1", "f8"]), npst.array_shapes(min_dims=1, max_dims=2, min_side=0)),
        max_size=4,
    )
)
def test_arrays_arrive_as_they_were_sent_and_read_only(arrays) -> None:
    here, there = socket.socketpair()
    with here, there:
        send(here, {"arrays": arrays, "n": len(arrays)})
        got = receive(there)
        assert got["n"] == len(arrays)
        for a, b in zip(arrays, got["arrays"], strict=True):
            assert a.dtype == b.dtype and a.tobytes() == b.tobytes() and a.shape == b.shape
            assert not b.flags.writeable or not b.size
        here.close()
        with pytest.raises(EOFError):
            receive(there)
