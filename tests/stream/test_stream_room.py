"""What a stream does when there is no room, or when parts do not come: it waits, drops, spills or passes on."""

import os
import signal
import time
from pathlib import Path

import pytest
from stream_tools import SOURCES, check_bytes, drain, eventually, small_device, started, timeframe, write_ctf

from o2dask.ctf import read_timeframe
from o2dask.stream.session import open_stream
from o2dask.stream.settings import StreamSettings


def test_the_room_on_the_device_is_kept(opened, tmp_path):
    ctf = write_ctf(tmp_path / "big.ctf", 4, rows=8_000)
    part = 0.6 * Path(ctf).stat().st_size / 4  # the larger of two
    with opened(f"replay:{ctf}", n_readouts=2, max_bytes=int(6 * part), loop=True) as stream:
        most = 0

        def look(ref):
            nonlocal most
            most = max(most, stream.spool.n_bytes)

        drain(started(stream), each=look, until=lambda ids: len(ids) > 60, slow_s=0.002)
        status = stream.parts.status()
    assert status["peak_bytes"] <= status["max_bytes"]
    assert status["peak_timeframes"] >= 2
    assert most <= status["max_bytes"] + 2 * part


def test_a_slow_driver_holds_the_source_back(opened):
    with opened("enumerate:1000", n_readouts=2, max_timeframes=10) as stream:
        started(stream)
        eventually(lambda: list(stream.parts.status()["last_seq"].values()) == [9, 9])
        time.sleep(0.3)
        assert set(stream.parts.status()["last_seq"].values()) == {9}, "and no more than that"
        assert stream.parts.status()["timeframes"] == 10
        assert len(drain(stream)) == 1000
        assert stream.parts.status()["peak_timeframes"] == 10


def test_a_stream_that_may_not_wait_drops_whole_timeframes_and_counts_them(opened, ctf):
    with opened(f"replay:{ctf}", n_readouts=3, max_timeframes=4, when_full="drop") as stream:
        started(stream)
        eventually(lambda: len(stream.parts.status()["last_seq"]) == 3)
        eventually(lambda: min(stream.parts.status()["last_seq"].values()) == 39)
        ids = drain(stream, each=check_bytes)
        counts = stream.parts.status()["counts"]
        assert stream.spool.leftovers() == {}
    assert 4 <= len(ids) < 40
    assert counts["dropped_full"] == 40 - len(ids)
    assert counts["built"] == len(set(ids)) == len(ids)


def test_a_stream_that_spills_loses_nothing_and_keeps_its_room(opened, ctf, tmp_path):
    (tmp_path / "disk").mkdir()
    options = {"n_readouts": 2, "max_timeframes": 4, "when_full": "spill", "spill": str(tmp_path / "disk")}
    with opened(f"replay:{ctf}", **options) as stream:
        started(stream)
        spilled = Path(stream.spool.spill_root)
        eventually(lambda: sum(1 for _ in spilled.glob("*.ctf")) >= 2 * 36)
        ids = drain(stream, each=check_bytes)
        assert not list(spilled.glob("*.ctf"))
        assert stream.parts.status()["peak_timeframes"] == 4
    assert sorted(ids) == [timeframe(i) for i in range(40)]
    assert not list((tmp_path / "disk").iterdir())


@pytest.mark.parametrize("when_full", ["block", "drop", "spill"])
def test_a_device_that_is_full_is_a_queue_that_is_full(stream_client, tmp_path, ctf, when_full):
    """The device holds three timeframes, the queue thinks it holds many."""
    (tmp_path / "disk").mkdir()
    with small_device(tmp_path / "shm", "96k") as more:
        if more is None:
            return  # no tmpfs may be mounted here; test_stream_spool has it with a limit on files
        options = {"n_readouts": 2, "when_full": when_full, "max_bytes": 1 << 30, "base": str(tmp_path / "shm")}
        options |= {"spill": str(tmp_path / "disk")} if when_full == "spill" else {}
        with open_stream(stream_client, StreamSettings(source=f"replay:{ctf}", **options)) as stream:
            ids = drain(started(stream), each=check_bytes, slow_s=0.01)
            reports = stream.parts.status()["reports"].values()
            counts = stream.parts.status()["counts"]
            assert stream.spool.leftovers() == {}
            assert not stream.supervisor.n_restarts
    if when_full == "drop":
        assert sum(r.get("no_room", 0) for r in reports) >= counts["lost"] > 0
        assert len(ids) + counts["lost"] == 40
    else:
        assert sorted(ids) == [timeframe(i) for i in range(40)]
        met = "waited_for_device" if when_full == "block" else "spilled"
        assert sum(r.get(met, 0) for r in reports) > 0


@pytest.mark.parametrize("incomplete", ["drop", "pass"])
def test_incomplete_timeframes_are_dropped_or_passed_on_marked_and_counted(opened, incomplete):
    refs = []
    with opened(f"{SOURCES}:gaps", n_readouts=2, incomplete=incomplete, timeout_s=2.0) as stream:
        drain(started(stream), each=lambda ref: refs.append((ref, set(read_timeframe(ref)))))
        counts = stream.parts.status()["counts"]
        eventually(lambda: not stream.spool.leftovers())
    whole = [i for i in range(12) if i % 3]
    if incomplete == "drop":
        assert sorted(ref.id for ref, _ in refs) == [timeframe(i) for i in whole]
        assert counts["incomplete_dropped"] == 4
    else:
        assert sorted(ref.id for ref, _ in refs) == [timeframe(i) for i in range(12)]
        assert {ref.id.tf_counter: ref.missing for ref, _ in refs if ref.missing} == dict.fromkeys((0, 3, 6, 9), (1,))
        assert {len(data) for ref, data in refs if ref.missing} == {3}
        assert counts["incomplete_passed"] == 4
    assert counts["built"] == 8


def test_a_time_out_is_a_time_out(opened, tmp_path, monkeypatch):
    """While the device waits, its second readout is stopped: what the first announced is given up after the time."""
    monkeypatch.setenv("STREAM_TEST_FILE", str(tmp_path / "go"))
    with opened(f"{SOURCES}:waits", n_readouts=2, timeout_s=2.0) as stream:
        started(stream)
        assert drain(stream, until=lambda ids: len(ids) == 1) == [timeframe(0)]
        os.kill(stream.supervisor.pids["readout-1"], signal.SIGSTOP)
        try:
            (tmp_path / "go").touch()
            begin = time.monotonic()
            eventually(lambda: stream.parts.status()["counts"].get("incomplete_dropped") == 1)
            assert time.monotonic() - begin > 1.9
        finally:
            os.kill(stream.supervisor.pids["readout-1"], signal.SIGCONT)
        assert drain(stream) == []
        assert stream.parts.status()["counts"]["refused"] == 1
        assert stream.spool.leftovers() == {}
