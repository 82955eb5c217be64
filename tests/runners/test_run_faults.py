"""Kills with real processes: a timeframe that crashes its worker, dead workers, scheduler and driver; then resume."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from distributed import Client
from runner_flows import PATTERNS, CountingSink, eventually, flow, timeframes

from o2dask.errors import ConfigError
from o2dask.monitoring.events import TimeframeCommitted
from o2dask.runners.batch import run_batch
from o2dask.runners.cluster import open_backend
from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.journal import Journal
from o2dask.runners.settings import BatchSettings
from o2dask.runners.testing import contents

HERE = Path(__file__).parent
PYTHONPATH = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
ENV = os.environ | {"PYTHONPATH": PYTHONPATH, "NUMBA_NUM_THREADS": "1"}


def sink_at(path: Path) -> CountingSink:
    return CountingSink(str(path / "out"), PATTERNS)


def inline_bytes(path: Path, refs) -> dict[str, bytes]:
    """Return what the reference runner makes of the same timeframes."""
    assert run_inline(flow(), refs, FolderSink(str(path / "inline"), PATTERNS)).ok
    return contents(path / "inline")


def test_a_timeframe_that_crashes_its_worker_is_set_aside_and_the_others_finish_on_new_workers(
    tmp_path, scheduler_address
) -> None:
    refs = timeframes(6, "sleep=0.05", special={2: "segfault"})
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log")
    report = run_batch(flow({"TAPE": 1}), refs, sink_at(tmp_path), settings=settings)
    assert [q.ref for q in report.quarantined] == [refs[2]]
    reason = report.quarantined[0].reason
    assert "workers die in task reader: it crashes or needs more than its" in reason
    text = Path(report.quarantined[0].file).read_text()
    assert "run 526641 TF 2" in text and "task: reader" in text
    assert not report.abandoned and not report.failure
    # A worker that dies between its commit and its receipt has the commit repeated: to the same bytes.
    assert set(sink_at(tmp_path).commits) == {0, 1, 3, 4, 5}
    assert contents(tmp_path / "out") == inline_bytes(tmp_path, [*refs[:2], *refs[3:]])


def test_killed_workers_are_replaced_and_nothing_is_lost_or_done_twice(tmp_path, cluster, scheduler_address) -> None:
    with Client(cluster, set_as_default=False) as client:
        pids = list(client.run(os.getpid).values())

    def kill(event) -> None:
        if isinstance(event, TimeframeCommitted) and pids and event.timeframe.tf_counter >= 2:
            os.kill(pids.pop(), signal.SIGKILL)

    refs = timeframes(10, "sleep=0.1")
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log")
    report = run_batch(flow(), refs, sink_at(tmp_path), settings=settings, progress=kill)
    assert not pids, "both were killed"
    assert report.ok, report
    assert set(sink_at(tmp_path).commits) == set(range(10))
    assert contents(tmp_path / "out") == inline_bytes(tmp_path, refs)
    assert (tmp_path / "log/journal.jsonl").read_text().count('"committed"') == 10


def test_a_nanny_that_gave_up_is_replaced(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("o2dask.runners.cluster.GIVEN_UP_AFTER_S", 0.5)
    batch = BatchSettings(workers=2, memory="4GiB", resources={"TAPE": 1})
    with open_backend(batch, frozenset({"TAPE"})) as backend:
        backend.supervise(now_please=True)
        nanny = backend.cluster.workers[0]
        backend.cluster.sync(nanny.close)

        def is_well(condition) -> bool:
            assert backend.supervise() == ""
            return condition()

        eventually(lambda: is_well(lambda: any("starting another" in n for n in backend.notices)))
        eventually(lambda: is_well(lambda: len(backend.client.nthreads()) == len(backend.cluster.workers) == 2))
        assert nanny not in backend.cluster.workers.values()
        assert "worker 0 died and is replaced" in backend.notices
        offered = [w["resources"] for w in backend.client.scheduler_info(n_workers=-1)["workers"].values()]
        assert sorted(offered, key=len) == [{}, {"TAPE": 1.0}], "the one that is new has the share of the one before"


def test_a_timeframe_over_its_deadline_is_set_aside_with_the_place_where_it_was(tmp_path, scheduler_address) -> None:
    refs = timeframes(5, special={1: "sleep=120"})
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log", deadline_s=3.0)
    start = time.monotonic()
    report = run_batch(flow(), refs, sink_at(tmp_path), settings=settings)
    assert time.monotonic() - start < 100
    assert [q.ref for q in report.quarantined] == [refs[1]]
    assert "deadline: over 3 s" in report.quarantined[0].reason
    text = Path(report.quarantined[0].file).read_text()
    assert "time.sleep(float(value))" in text and "task: reader" in text
    assert set(sink_at(tmp_path).commits) == {0, 2, 3, 4}


@contextmanager
def scheduler_process(path: Path, n_workers: int = 1):
    """Give the address and the process of a `dask scheduler` with workers, all of them processes of their own."""
    file = path / "scheduler.json"
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ENV}
    processes = [subprocess.Popen([*command, "--scheduler-file", str(file)], **quiet)]
    worker = [sys.executable, "-m", "dask", "worker", "--scheduler-file", str(file), "--host", "127.0.0.1"]
    worker += ["--nthreads", "1", "--death-timeout", "60", "--no-dashboard", "--local-directory", str(path)]
    try:
        processes += [subprocess.Popen(worker, **quiet) for _ in range(n_workers)]
        eventually(file.exists)
        yield file, processes[0]
    finally:
        for process in processes:
            for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
                child.kill()
            process.kill()
            process.wait()


def address_of(file: Path) -> str:
    import json

    return json.loads(file.read_text())["address"]


def test_after_the_scheduler_is_killed_the_run_stops_at_once_and_is_resumed(tmp_path) -> None:
    refs, killed = timeframes(8, "sleep=0.1"), []
    with scheduler_process(tmp_path) as (file, process):

        def kill(event) -> None:
            if isinstance(event, TimeframeCommitted) and event.timeframe.tf_counter == 2:
                process.kill()
                killed.append(time.monotonic())

        settings = BatchSettings(scheduler=address_of(file), connect_timeout_s=120, journal=tmp_path / "log")
        report = run_batch(flow(), refs, sink_at(tmp_path), settings=settings, progress=kill)
        assert killed and time.monotonic() - killed[0] < 60, "it does not wait for the connection time-out"
    assert "lost the scheduler at tcp://127.0.0.1" in report.failure and "--resume" in report.failure
    assert not report.ok and not report.quarantined
    assert 3 <= len(report.committed) < 8
    assert len(report.committed) + len(report.abandoned) == 8
    report = run_inline(flow(), refs, sink_at(tmp_path), journal=tmp_path / "log", resume=True)
    assert report.ok
    assert sorted(sink_at(tmp_path).commits) == list(range(8)), "nothing committed was done again"
    assert contents(tmp_path / "out") == inline_bytes(tmp_path, refs)


def test_a_scheduler_without_workers_is_a_config_error(tmp_path) -> None:
    with scheduler_process(tmp_path, n_workers=0) as (file, _):
        settings = BatchSettings(scheduler=address_of(file), connect_timeout_s=2)
        with pytest.raises(ConfigError, match="has no workers; start some: dask worker tcp://"):
            run_batch(flow(), timeframes(1), sink_at(tmp_path), settings=settings)


def kill_driver(path: Path, command: list[str], n_committed: int, wait_s: float) -> set[str]:
    """Start a run, kill it when so many timeframes are committed, and return these once its workers are gone."""
    process = subprocess.Popen(command, env=ENV)
    out = path / "out"
    eventually(lambda: len(list(out.glob("run*"))) >= n_committed)
    time.sleep(wait_s)
    assert process.poll() is None, "killed before its end"
    process.kill()
    process.wait()
    workers = {int(line.split()[1]) for line in (path / "runs.txt").read_text().splitlines()}
    psutil.wait_procs([psutil.Process(pid) for pid in workers if psutil.pid_exists(pid)], timeout=60)
    assert not any(psutil.pid_exists(pid) for pid in workers), "workers go with their driver"
    return {name.partition("/")[0] for name in contents(out) if not name.startswith(".aside")}


def test_after_the_driver_is_killed_a_resumed_run_ends_with_the_same_bytes(tmp_path) -> None:
    n, rng = 8, random.Random()
    command = [sys.executable, str(HERE / "runner_driver.py"), str(tmp_path), str(n)]
    committed = kill_driver(tmp_path, [*command, "0.5"], 2, rng.uniform(0, 0.6))  # the rest would take 1.5 s
    assert 1 < len(committed) < n
    begun = (tmp_path / "runs.txt").read_text().count("\n")

    done = subprocess.run([*command, "0"], env=ENV, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert f"{len(committed)} already done" in done.stdout
    again = [int(line.split()[0]) for line in (tmp_path / "runs.txt").read_text().splitlines()[begun:]]
    assert len(again) == n - len(committed), "nothing committed is even begun again"
    assert contents(tmp_path / "out") == inline_bytes(tmp_path, timeframes(n))
    with Journal(tmp_path / "log", _configuration(tmp_path), resume=True) as journal:
        assert len(journal.entries) == n and all(entry.is_committed for entry in journal.entries.values())


def _configuration(path: Path) -> dict[str, str]:
    from o2dask.runners.ledger import configuration

    return configuration(flow(), sink_at(path))
