"""Runs through the command line: status, summary, resume, JSON, interruption."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import numpy as np
import pyarrow as pa
import pytest
from cli_tools import write_ctf

from o2dask.cli.faces import BarFace, JsonFace, LineFace, choose_face, rate_text
from o2dask.monitoring.events import Notice, RunFinished, RunStarted, TimeframeCommitted, TimeframeQuarantined
from o2dask.timeframe import TimeframeId


def values(folder):
    """Return what the toy reconstruction wrote, by timeframe counter."""
    found = {}
    for path in folder.glob("run7_*/TST_SCALED_0.arrow"):
        with pa.memory_map(str(path)) as source:
            found[int(path.parent.name.split("tf")[1].split("_")[0])] = pa.ipc.open_file(source).read_all()["value"]
    return {i: np.asarray(v) for i, v in sorted(found.items())}


def test_every_timeframe_is_reconstructed_and_told(reco, ctf, tmp_path):
    result = reco(ctf)
    assert result.status == 0
    assert "4 of 4 timeframes committed to out" in result.out
    assert "time: " in result.out
    assert "scaler" in result.out
    for i, v in values(tmp_path / "out").items():
        np.testing.assert_array_equal(v, 2 * np.arange(100) * (i + 1))
    assert len(values(tmp_path / "out")) == 4


def test_globs_lists_and_options(reco, tmp_path, run):
    for i in range(3):
        write_ctf(tmp_path / f"part{i}.ctf", n=1, first=i)
    (tmp_path / "list.txt").write_text("part0.ctf # the first\npart[12].ctf\n")
    assert reco("@list.txt", "-o", "scaler.factor=10").status == 0
    assert {i: v[1] for i, v in values(tmp_path / "out").items()} == {0: 10, 1: 20, 2: 30}


def test_failed_timeframes_are_listed_with_the_reason_and_their_file(reco, ctf, tmp_path):
    result = reco(ctf, "-o", "scaler.fail=1,2")
    assert result.status == 1
    assert "2 of 4 timeframes committed" in result.out
    assert "2 failed and were set aside:" in result.out
    assert "timeframe 1 is rotten" in result.out
    story = next((tmp_path / "out" / "quarantine").glob("*tf1_*")).read_text()
    assert "toy_flow.py" in story
    assert "'scaler'" in story
    assert str(list(values(tmp_path / "out"))) == "[0, 3]"


def test_many_failures_of_one_kind_do_not_flood_the_summary(reco, tmp_path):
    write_ctf(tmp_path / "many.ctf", n=12)
    result = reco("many.ctf", "-o", "scaler.fail=all")
    assert result.status == 1
    assert "0 of 12" in result.out
    assert result.err.count("failed run") == 5


def test_what_failed_is_tried_again_by_resume_and_what_is_done_is_not(reco, ctf, tmp_path, toy):
    assert reco(ctf, "-o", "scaler.fail=1").status == 1
    stamp = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("run7_*")}
    again = reco(ctf, "-o", "scaler.fail=1", "--resume")
    assert again.status == 1
    assert "3 were committed by an earlier run" in again.out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("run7_*")} == stamp


def test_json_tells_everything_line_by_line_and_nothing_else(reco, ctf):
    result = reco(ctf, "-o", "scaler.fail=2", "--log-json")
    assert result.status == 1
    assert result.out == ""
    events = [json.loads(line) for line in result.err.splitlines()]
    kinds = [e["event"] for e in events]
    assert kinds[0] == "started"
    assert kinds[-2:] == ["finished", "summary"]
    assert kinds.count("timeframe_committed") == 3
    assert kinds.count("timeframe_quarantined") == 1
    summary = events[-1]
    assert summary["status"] == 1
    assert summary["n_committed"] == 3
    assert summary["counters"]["scaler.digits"] == 300
    assert "rotten" in summary["quarantined"][0]["reason"]
    assert summary["quarantined"][0]["source"].endswith("tf.ctf#2")


def test_an_error_is_json_too_where_json_was_asked_for(reco):
    result = reco("nowhere.ctf", "--log-json")
    (event,) = [json.loads(line) for line in result.err.splitlines()]
    assert result.status == event["status"] == 2
    assert event["event"] == "error"
    assert "nowhere.ctf" in event["text"]


def test_a_simulation_with_the_toy_workflow_is_reproducible_and_needs_overwrite(run, tmp_path):
    words = ["simulate", "--workflow", "toy_flow.py:sim", "--collisions", "3", "--timeframes", "3", "--seed", "5"]
    assert run(*words, "--out", "a.ctf").status == 0
    assert run(*words, "--out", "b.ctf").status == 0
    assert (tmp_path / "a.ctf").read_bytes() == (tmp_path / "b.ctf").read_bytes()
    assert sorted(p.name for p in tmp_path.glob("a.ctf*")) == ["a.ctf"]
    refused = run(*words, "--out", "a.ctf")
    assert refused.status == 2
    assert "--overwrite" in refused.err
    assert run(*words, "--out", "a.ctf", "--overwrite", "-o", "event-generator.seed=6").status == 0
    assert (tmp_path / "a.ctf").read_bytes() != (tmp_path / "b.ctf").read_bytes()


def test_ranges_of_one_run_are_parts_of_the_whole(run, tmp_path):
    words = ["simulate", "--workflow", "toy_flow.py:sim", "--collisions", "2"]
    assert run(*words, "--timeframes", "3", "--out", "all.ctf").status == 0
    assert run(*words, "--timeframes", "1", "--first", "2", "--out", "last.ctf").status == 0
    from o2dask.ctf import list_timeframes, read_timeframe

    whole, last = list_timeframes(["all.ctf"])[2], list_timeframes(["last.ctf"])[0]
    assert whole.id == last.id
    a, b = read_timeframe(whole), read_timeframe(last)
    assert all(a[ref].equals(b[ref]) for ref in a)


@pytest.mark.parametrize("rate", ["50kHz", "50 kHz", "50000"])
def test_rates_as_people_write_them(run, rate):
    words = ["simulate", "--workflow", "toy_flow.py:sim", "--rate", rate, "--out", "r.ctf"]
    assert run(*words).status == 0


def test_info_of_a_ctf_file(run, ctf, tmp_path):
    shown = run("ctf", "info", "tf.ctf")
    assert shown.status == 0
    assert "4 timeframes" in shown.out
    assert "TST/DIGITS" in shown.out
    (info,) = json.loads(run("ctf", "info", "tf.ctf", "--json").out)
    assert len(info["timeframes"]) == 4
    assert info["fields"][0]["n_values"] == 400
    data = ctf.read_bytes()
    (tmp_path / "cut.ctf").write_bytes(data[: len(data) // 2])
    assert run("ctf", "info", "cut.ctf").status == 1


def test_workflows_are_listed_shown_and_merged(run, tmp_path):
    assert "async" in run("workflow", "list").out
    text = run("workflow", "show", "toy_flow.py:flow", "-o", "scaler.factor=9")
    assert "scaler.factor=9" in text.out
    assert run("workflow", "show", "toy_flow.py:flow", "--format", "html", "--out", "f.html").status == 0
    assert "<svg" in (tmp_path / "f.html").read_text()
    head = run("workflow", "show", "toy_flow.py:head", "--format", "json")
    merged = run("workflow", "show", "toy_flow.py:tail", "-", "--format", "dot", input=head.out)
    assert '"ctf-reader" -> "scaler"' in merged.out


@pytest.mark.parametrize("args", [[], ["reco"], ["aod"], ["aod", "info"], ["aod", "convert"], ["ctf"], ["ctf", "info"],
                                  ["workflow"], ["workflow", "show"], ["workflow", "list"], ["simulate"], ["demo"]],
                         ids=" ".join)  # fmt: skip
def test_help_teaches(run, args):
    result = run(*args, "--help")
    assert result.status == 0
    words = ["o2dask", *args]
    assert " ".join(words) in result.out
    if args and args[-1] in ("reco", "info", "convert", "show", "simulate"):
        assert "Examples" in result.out
        assert result.out.count(" ".join(words)) >= 3


def test_help_is_quick():
    words = [sys.executable, "-X", "importtime", "-c", "from o2dask.cli.main import main; main()", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"numpy", "numba", "dask", "distributed", "pyarrow", "uproot", "awkward", "matplotlib"}


@contextmanager
def start(*args, cwd, sleep=0.0):
    """Give a process of o2dask in a process group of its own, as a shell makes it; nothing of it outlives the block."""
    words = [sys.executable, "-u", "-c", "from o2dask.cli.main import main; main()", *map(str, args)]
    environ = os.environ | {"TOY_SLEEP": str(sleep)}
    with subprocess.Popen(
        words,
        env=environ,
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(process, kind, n=1):
    """Read JSON lines until `n` of a kind have come."""
    for line in process.stderr:
        if json.loads(line)["event"] == kind and (n := n - 1) == 0:
            return
    raise AssertionError(f"ended without {kind}")


@pytest.mark.parametrize(
    ("runner", "number"), [("inline", signal.SIGTERM), ("batch", signal.SIGINT)], ids=["inline-TERM", "batch-INT"]
)
def test_an_interrupt_drains_and_leaves_what_resume_takes_up(tmp_path, toy, runner, number):
    write_ctf(tmp_path / "tf.ctf", n=8)
    words = ["reco", "tf.ctf", "--out", "out", "--workflow", "toy_flow.py:flow", "--keep", "TST/*", "--log-json"]
    words += ["--runner", runner] + (["--workers", "1"] if runner == "batch" else [])
    with start(*words, cwd=tmp_path, sleep=0.4) as process:
        wait_for(process, "timeframe_committed")
        if number == signal.SIGINT:  # a terminal sends it to the whole group, workers too
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        rest = [json.loads(line) for line in process.stderr]
        assert process.wait(120) == 128 + number
    summary = rest[-1]
    assert summary["event"] == "summary"
    assert summary["interrupted"]
    assert summary["quarantined"] == []
    n = summary["n_committed"]
    assert 1 <= n < 8
    assert n + summary["n_left"] == 8
    assert len(list((tmp_path / "out").glob("run7_*"))) == n
    with start(*words, "--resume", cwd=tmp_path) as again:
        _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert json.loads(err.splitlines()[-1])["n_already_done"] == n
    assert len(list((tmp_path / "out").glob("run7_*"))) == 8


def test_a_second_interrupt_kills_and_resume_still_goes_on(tmp_path, toy):
    write_ctf(tmp_path / "tf.ctf", n=4)
    words = ["reco", "tf.ctf", "--out", "out", "--workflow", "toy_flow.py:flow", "--keep", "TST/*", "--log-json"]
    words += ["--runner", "inline"]
    with start(*words, cwd=tmp_path, sleep=200) as slow:
        wait_for(slow, "timeframe_started")
        os.killpg(slow.pid, signal.SIGINT)
        wait_for(slow, "notice")
        os.killpg(slow.pid, signal.SIGINT)
        assert slow.wait(100) == 130
    with start(*words, "--resume", cwd=tmp_path) as again:
        _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err


def happenings():
    ids = [TimeframeId(run=7, tf_counter=i, first_orbit=32 * i) for i in range(8)]
    yield RunStarted(n_timeframes=8, n_already_done=1, n_workers=2, backend="LocalCluster")
    yield Notice(text="worker 1 died and was replaced")
    for i in ids[1:3]:
        yield TimeframeCommitted(timeframe=i)
    for i in ids[3:]:
        yield TimeframeQuarantined(timeframe=i, reason="DataError: [rotten]")
    yield RunFinished(ok=False, n_committed=3, n_quarantined=5, n_abandoned=0, wall_s=1.0)


def test_the_bar_shows_counts_rate_and_failures():
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), force_terminal=True, width=110, color_system=None)
    with BarFace("async", console) as face:
        for event in happenings():
            face(event)
    text = console.file.getvalue()
    assert "async on 2 workers" in text
    assert "8/8" in text
    assert "TF/s" in text
    assert "5 failed" in text
    assert "failed run 7 TF 3 orbit 96: DataError: [rotten]" in text
    assert "note: worker 1 died" in text


def test_lines_come_now_and_then(capsys):
    face = LineFace("async")
    with face:
        for event in happenings():
            face(event)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "async: 8 timeframes, 1 already done, 2 workers (LocalCluster)"
    assert not any("left" in line for line in lines)
    face.every_s = 0.0
    face.advanced()
    assert "8/8 timeframes, 5 failed" in capsys.readouterr().err


def test_warnings_come_out_through_the_face(capsys):
    import logging

    with JsonFace("x"):
        logging.getLogger("o2dask.somewhere").warning("%d torn lines", 3)
    event = json.loads(capsys.readouterr().err)
    assert event["text"] == "warning: 3 torn lines"


def test_the_face_fits_the_place(monkeypatch):
    assert isinstance(choose_face("x", True), JsonFace)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert isinstance(choose_face("x", False), LineFace)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(choose_face("x", False), BarFace)


def test_rates_are_told_as_people_read_them():
    assert rate_text(3.21) == "3.2 TF/s"
    assert rate_text(0.25) == "4.0 s/TF"
    assert rate_text(0) == ""
