"""Readouts, builder and feed together, as processes: what comes out is what went in, whatever is killed or full."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from stream_tools import check_bytes, drain, payloads, small_device, timeframe, write_ctf

from o2dask.ctf import read_timeframe
from o2dask.errors import ConfigError
from o2dask.stream.session import open_stream
from o2dask.stream.settings import StreamSettings
from o2dask.stream.supervisor import State
from o2dask.timeframe import enumerated

SOURCES = f"{Path(__file__).parent / 'user_sources.py'}"


@pytest.fixture(scope="module")
def ctf(tmp_path_factory):
    return write_ctf(tmp_path_factory.mktemp("ctf") / "tf.ctf", 40)


@pytest.fixture
def opened(stream_client, tmp_path):
    base = tmp_path / "shm"
    base.mkdir()

    def stream(source, **options):
        return open_stream(stream_client, StreamSettings(source=source, **{"base": str(base), **options}))

    yield stream
    assert not list(base.iterdir())


def started(stream):
    stream.supervisor.start()
    return stream


def eventually(condition, limit_s=20.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("n_readouts", [1, 3])
def test_what_is_replayed_comes_out_byte_for_byte(opened, ctf, n_readouts):
    with opened(f"replay:{ctf}", n_readouts=n_readouts) as stream:
        assert stream.supervisor.state is State.CONFIGURED
        ids = drain(started(stream), each=check_bytes)
        eventually(lambda: stream.supervisor.state is State.STOPPED)
        assert stream.spool.leftovers() == {}
        assert list(stream.supervisor.notices) == []
        counts = stream.parts.status()["counts"]
    assert sorted(ids) == [timeframe(i) for i in range(40)]
    assert (counts["built"], counts["done"]) == (40, 40 * n_readouts)


def test_a_users_source_comes_out_as_it_was_given(opened):
    with opened(f"{SOURCES}:whole", n_readouts=2) as stream:
        ids = drain(started(stream), each=lambda ref: set(read_timeframe(ref)))
    assert sorted(ids) == [timeframe(i) for i in range(30)]


def test_nothing_is_lost_and_nothing_comes_twice_when_processes_are_killed(opened, ctf):
    """300 timeframes, 40 kills at random of readouts, builder and the process that starts them."""
    rng = random.Random(3)
    kills, killed = Counter(), set()
    with opened(f"replay:{ctf}", n_readouts=2, loop=True, max_timeframes=12, rate=20) as stream:
        supervisor = started(stream).supervisor
        last = time.monotonic()

        def disturb(ids):
            nonlocal last
            if sum(kills.values()) < 40 and time.monotonic() - last > 0.15:
                last = time.monotonic()
                name = rng.choice(["readout-0", "readout-1", "builder"])
                if name in supervisor.ready:
                    pid = supervisor.pids.get(name, 0)
                    if pid and pid not in killed:
                        os.kill(pid, signal.SIGKILL)
                        killed.add(pid)
                        kills[name] += 1
                    if sum(kills.values()) == 20:
                        os.kill(supervisor._starter._process.pid, signal.SIGKILL)
            elif sum(kills.values()) == 40:
                supervisor.set_rate(0)
                if len(ids) >= 300:
                    stream.feed.stop()
            return False

        ids = drain(stream, each=lambda ref: read_timeframe(ref), until=disturb, limit_s=60)
        assert stream.spool.leftovers() == {}
        counts = stream.parts.status()["counts"]
        assert len(stream.parts.status()["last_seq"]) == 2
    assert sum(kills.values()) == 40
    assert min(kills.values()) > 5
    assert len(ids) >= 300
    assert sorted(ids) == [timeframe(i) for i in range(len(ids))]
    assert counts["built"] == len(ids)
    assert supervisor.n_restarts >= 40


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
        eventually(lambda: stream.parts.status()["timeframes"] == 10)
        time.sleep(0.3)
        assert set(stream.parts.status()["last_seq"].values()) == {9}
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


@pytest.mark.parametrize("incomplete", ["drop", "pass"])
def test_incomplete_timeframes_are_dropped_or_passed_on_marked_and_counted(opened, incomplete):
    refs = []
    with opened(f"{SOURCES}:gaps", n_readouts=2, incomplete=incomplete, timeout_s=0.4) as stream:
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
    with opened(f"{SOURCES}:waits", n_readouts=2, timeout_s=0.5) as stream:
        started(stream)
        assert drain(stream, until=lambda ids: len(ids) == 1) == [timeframe(0)]
        os.kill(stream.supervisor.pids["readout-1"], signal.SIGSTOP)
        try:
            (tmp_path / "go").touch()
            begin = time.monotonic()
            eventually(lambda: stream.parts.status()["counts"].get("incomplete_dropped") == 1)
            assert time.monotonic() - begin > 0.4
        finally:
            os.kill(stream.supervisor.pids["readout-1"], signal.SIGCONT)
        assert drain(stream) == []
        assert stream.parts.status()["counts"]["refused"] == 1
        assert stream.spool.leftovers() == {}


def test_the_rate_is_kept_over_all_readouts_and_can_be_changed(opened):
    with opened("enumerate:100000", n_readouts=2, rate=50) as stream:
        started(stream)
        drain(stream, until=lambda ids: len(ids) >= 5)
        begin = time.monotonic()
        n = len(drain(stream, until=lambda ids: time.monotonic() - begin > 1.0))
        assert 35 <= n <= 65
        stream.supervisor.set_rate(1000)
        begin = time.monotonic()
        assert len(drain(stream, until=lambda ids: time.monotonic() - begin > 1.0)) > 300
        stream.feed.stop()
        drain(stream)


def test_a_pause_holds_everything_and_makes_nobody_late(opened):
    with opened("enumerate:100000", n_readouts=2, rate=200, timeout_s=0.3) as stream:
        started(stream)
        drain(stream, until=lambda ids: len(ids) >= 10)
        stream.supervisor.pause()
        assert stream.supervisor.state is State.PAUSED
        time.sleep(0.1)
        n = stream.parts.status()["last_seq"]
        time.sleep(0.6)
        assert stream.parts.status()["last_seq"] == n
        stream.supervisor.resume()
        drain(stream, until=lambda ids: len(ids) >= 10)
        stream.feed.stop()
        drain(stream)
        counts = stream.parts.status()["counts"]
    assert "incomplete_dropped" not in counts
    assert "lost" not in counts


def test_a_stop_ends_all_readouts_after_the_same_timeframe(opened, ctf):
    with opened(f"replay:{ctf}", n_readouts=3, loop=True) as stream:
        started(stream)
        ids = drain(stream, until=lambda ids: len(ids) >= 50)
        stream.feed.stop()
        ids += drain(stream)
        status = stream.parts.status()
    assert len(set(status["last_seq"].values())) == 1
    assert sorted(ids) == [timeframe(i) for i in range(status["last_seq"]["readout-0"] + 1)]
    assert status["counts"]["built"] == len(ids)


def test_a_stop_does_not_wait_for_a_device_that_gives_nothing(opened):
    with opened(f"{SOURCES}:hangs", n_readouts=2) as stream:
        started(stream)
        assert drain(stream, until=lambda ids: len(ids) == 1) == [timeframe(0)]
        stream.feed.stop()
        assert drain(stream, limit_s=10) == []
        reports = stream.parts.status()["reports"]
    assert [reports[f"readout-{k}"]["asked"] for k in range(2)] == [1, 1]


def test_a_stop_ends_the_readouts_of_a_users_source_after_the_same_timeframe(opened):
    with opened(f"{SOURCES}:endless", n_readouts=3) as stream:
        started(stream)
        ids = drain(stream, until=lambda ids: len(ids) >= 20)
        stream.feed.stop()
        ids += drain(stream)
        assert stream.parts.status()["counts"]["built"] == len(ids)
    assert sorted(ids) == [timeframe(i) for i in range(len(ids))]


def test_readouts_draw_different_random_numbers(opened):
    drawn = []
    with opened(f"{SOURCES}:draws", n_readouts=3) as stream:
        drain(started(stream), each=lambda ref: drawn.extend(c["x"][0] for c in read_timeframe(ref).values()))
    assert len(set(drawn)) == 3


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


def test_a_frame_that_cannot_be_read_costs_its_timeframe_and_is_told(opened, tmp_path, ctf):
    from o2dask.ctf.reader import CtfReader

    data = bytearray(Path(ctf).read_bytes())
    message = CtfReader(ctf)._entries[5].message
    data[message.offset + message.n_metadata : message.offset + message.n_metadata + 64] = b"\xff" * 64
    (tmp_path / "broken.ctf").write_bytes(data)
    with opened(f"replay:{tmp_path / 'broken.ctf'}", n_readouts=2) as stream:
        ids = drain(started(stream))
        assert stream.parts.status()["counts"]["lost"] == 1
        (told,) = stream.supervisor.notices
    assert sorted(ids) == [timeframe(i) for i in range(40) if i != 5]
    assert f"lost timeframe {timeframe(5)}" in told


def test_a_source_that_breaks_every_time_ends_the_stream_with_its_words(opened, monkeypatch):
    monkeypatch.setattr("o2dask.stream.supervisor.GIVE_UP_AFTER", 2)
    monkeypatch.setattr("o2dask.stream.supervisor.MAX_DELAY_S", 0.05)
    with opened(f"{SOURCES}:breaks") as stream:
        started(stream)
        eventually(lambda: stream.supervisor.check())
        assert "the device is on fire" in stream.supervisor.check()
        assert "\n" not in stream.supervisor.check()


def test_what_cannot_work_is_told_before_anything_starts(opened, stream_client):
    with pytest.raises(ConfigError, match="no such file"), opened("replay:/nowhere.ctf"):
        pass
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
        pytest.raises(ConfigError, match="protocol='tcp://'"),
        open_stream(client, StreamSettings(source="enumerate:1")),
    ):
        pass


def test_processes_end_with_one_line_when_the_scheduler_is_gone(tmp_path, ctf):
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        client = Client(cluster, set_as_default=False)
        settings = StreamSettings(source=f"replay:{ctf}", n_readouts=2, loop=True, base=str(tmp_path))
        context = open_stream(client, settings)
        stream = context.__enter__()
        started(stream)
        drain(stream, until=lambda ids: len(ids) > 5)
    try:
        eventually(lambda: stream.supervisor.state is State.STOPPED)
        assert "scheduler" in stream.supervisor.check(), list(stream.supervisor.notices)
        eventually(lambda: stream.feed.failure)
        assert len(stream.supervisor.notices) <= 3
        assert not any("Traceback" in notice for notice in stream.supervisor.notices)
    finally:
        context.__exit__(None, None, None)
        client.close()
    assert not list(tmp_path.iterdir())


def test_what_was_committed_before_is_not_given_again(stream_client, tmp_path):
    done = {ref.id for ref in enumerated(100)[::2]}
    settings = StreamSettings(source="enumerate:100", base=str(tmp_path))
    with open_stream(stream_client, settings, is_done=lambda ref: ref.id in done) as stream:
        ids = drain(started(stream))
        assert stream.feed.status()["done_before"] == 50
    assert sorted(ids) == [ref.id for ref in enumerated(100)[1::2]]


def left_behind(base, n):
    """Leave parts of n timeframes as a driver that was killed does; the last misses that of the second readout."""
    code = (
        "import sys; from o2dask.stream.spool import Spool; from stream_tools import *; from o2dask.ctf.parts import *;"
        "from o2dask.ctf import encode_timeframe; from user_sources import _share;"
        f"spool = Spool.create('again', base={str(base)!r});"
        "encode = lambda i, k: encode_timeframe(_share(i, k, 2), raw=True);"
        "[spool.write(timeframe(i), k, lambda p: write_part(p, timeframe(i), encode(i, k)))"
        f" for i in range(100, 100 + {n}) for k in range(2 - (i == 99 + {n}))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


def test_what_a_killed_driver_left_of_a_device_is_taken_over(stream_client, tmp_path, monkeypatch):
    monkeypatch.setenv("STREAM_TEST_FILE", str(tmp_path / "go"))
    (tmp_path / "shm").mkdir()
    (tmp_path / "go").touch()
    left_behind(tmp_path / "shm", 3)
    options = {"n_readouts": 2, "session": "again", "take_over": True, "timeout_s": 0.5, "base": str(tmp_path / "shm")}
    with open_stream(stream_client, StreamSettings(source=f"{SOURCES}:device", **options)) as stream:
        got = {}
        drain(started(stream), each=lambda ref: got.update({ref.id: set(read_timeframe(ref))}))
        assert stream.supervisor.notices[0] == "3 timeframes of the last run are taken over"
        assert stream.parts.status()["counts"]["incomplete_dropped"] == 1
    assert got == {timeframe(i): set(payloads(i)) for i in (0, 1, 100, 101)}


def test_a_stream_that_is_kept_leaves_its_parts_for_the_next(stream_client, tmp_path, monkeypatch):
    monkeypatch.setenv("STREAM_TEST_FILE", str(tmp_path / "go"))
    (tmp_path / "shm").mkdir()
    options = {"session": "again", "base": str(tmp_path / "shm")}
    with open_stream(stream_client, StreamSettings(source=f"{SOURCES}:device", **options)) as stream:
        started(stream)
        eventually(lambda: stream.feed.status()["ready"] == 1)
        stream.keep()
    (tmp_path / "go").touch()
    with open_stream(stream_client, StreamSettings(source=f"{SOURCES}:nothing", take_over=True, **options)) as stream:
        assert drain(started(stream), each=check_bytes) == [timeframe(0)]
    assert not list((tmp_path / "shm").iterdir())


def test_what_a_killed_driver_left_of_a_replay_is_read_again(stream_client, tmp_path, ctf):
    (tmp_path / "shm").mkdir()
    left_behind(tmp_path / "shm", 3)
    options = {"session": "again", "take_over": True, "base": str(tmp_path / "shm")}
    with open_stream(stream_client, StreamSettings(source=f"replay:{ctf}", **options)) as stream:
        assert stream.spool.leftovers() == {}
        assert len(drain(started(stream), each=check_bytes)) == 40


@pytest.mark.parametrize(
    "options",
    [
        {"n_readouts": 0},
        {"rate": -1.0},
        {"when_full": "burn"},
        {"when_full": "spill"},
        {"incomplete": "mend"},
        {"timeout_s": 0.0},
        {"max_timeframes": 0},
        {"session": "a/b"},
        {"base": "/nowhere"},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(options):
    with pytest.raises(ConfigError, match=r"want|needs"):
        StreamSettings(source="enumerate:1", **options)
