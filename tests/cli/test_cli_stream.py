"""``o2dask stream`` as a user runs it: to its end, stopped, wrong, and what it then says."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_tools import one_line
from distributed import LocalCluster

from o2dask.stream.supervisor import Supervisor

STREAM = Path(__file__).parents[1] / "stream"
FLOWS = STREAM / "stream_flows.py"
O2DASK = [sys.executable, "-c", "from o2dask.cli.main import main; main()", "stream"]


def command(*words: object) -> list[str]:
    return [*O2DASK, *map(str, words)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{STREAM}:{os.environ.get('PYTHONPATH', '')}"}


def run_apart(*words: object, limit_s: float = 240.0) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*words), capture_output=True, text=True, env=environment(), timeout=limit_s, check=False
    )


def test_a_users_source_and_workflow_end_with_a_summary_and_status_0(tmp_path) -> None:
    """The reader is put in front of the workflow: the source says what it gives."""
    done = run_apart(
        "--workflow", f"{FLOWS}:unread", "--source", f"{FLOWS}:device", "--readout", 2, "--workers", 1,
        "--out", tmp_path / "out", "--keep", "TST/SUM", "-o", f"order.out={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"40 of 40 timeframes committed to {tmp_path / 'out'} in")
    assert "stream of 2 readouts on the scheduler at tcp://" in done.stderr
    assert len(list((tmp_path / "out").glob("run7_tf*"))) == 40
    assert (tmp_path / "order.txt").read_text().split() == [str(i) for i in range(40)]


def test_ctrl_c_drains_an_endless_stream_and_its_counts_are_live(tmp_path) -> None:
    """The stream is over when all that was read out is committed: that is no failure."""
    words = ("--workflow", f"{FLOWS}:nothing_to_do", "--source", "enumerate:10", "--loop", "--rate", 50, "--workers", 1)
    process = subprocess.Popen(
        command(*words, "--log-json"), stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    )
    events, n_committed, stopped = [], 0, False
    try:
        for line in process.stderr:
            events.append(json.loads(line))
            n_committed += events[-1]["event"] == "timeframe_committed"
            if n_committed == 20 and not stopped:
                stopped = True  # a second one would kill it
                os.kill(process.pid, signal.SIGINT)
            if events[-1]["event"] == "summary":
                break
        assert process.wait(120) == 0, events[-3:]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    summary = events[-1]
    assert summary["n_committed"] >= 20 and summary["source"]["built"] == summary["n_committed"]
    assert next(e for e in events if e["event"] == "started")["is_stream"]


@pytest.fixture(scope="module")
def scheduler():
    """Address of a cluster in threads of this process: nothing is to run on it."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--source", "replay:nowhere.ctf"), "nowhere.ctf"),
        (("--source", "enumerate:x"), "want a number"),
        (("--source", "enumerate:1", "--when-full", "spill"), "--spill FOLDER"),
        (("--source", "enumerate:1", "--when-full", "burst"), "when full: want one of"),
        (("--source", "enumerate:1", "--keep", "TST/X"), "--keep: of which output?"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, tuple) else "",
)
def test_what_is_wrong_is_told_in_one_line_before_anything_is_read(run, scheduler, monkeypatch, words, told) -> None:
    begun = []
    monkeypatch.setattr(Supervisor, "configure", lambda self, *args: begun.append(args))
    monkeypatch.syspath_prepend(STREAM)
    one_line(run("stream", "--scheduler", scheduler, "--workflow", f"{FLOWS}:nothing_to_do", *words), 2, told)
    assert not begun
