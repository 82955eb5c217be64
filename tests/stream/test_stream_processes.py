"""Readouts, builder and feed together, as processes: what comes out is what went in, whatever is killed or breaks."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from stream_tools import SOURCES, check_bytes, drain, eventually, started, timeframe

from o2dask.ctf import read_timeframe
from o2dask.errors import ConfigError
from o2dask.stream.session import open_stream
from o2dask.stream.settings import StreamSettings
from o2dask.stream.supervisor import State


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
    """Readouts and builder killed in random order, 21 times, and once the process that starts them."""
    order = ["readout-0", "readout-1", "builder"] * 7
    random.Random(3).shuffle(order)
    n_kills, killed, last = len(order), set(), time.monotonic()
    with opened(f"replay:{ctf}", n_readouts=2, loop=True, max_timeframes=12, rate=20) as stream:
        supervisor = started(stream).supervisor

        def disturb(ids):
            nonlocal last
            if not order:
                supervisor.set_rate(0)
                if len(ids) >= 200:
                    stream.feed.stop()
            elif time.monotonic() - last > 0.15 and order[-1] in supervisor.ready:
                pid = supervisor.pids.get(order[-1], 0)
                if pid and pid not in killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                    order.pop()
                    last = time.monotonic()
                    if len(order) == n_kills // 2:
                        os.kill(supervisor._starter._process.pid, signal.SIGKILL)
            return False

        ids = drain(stream, each=lambda ref: read_timeframe(ref), until=disturb, limit_s=180)
        assert stream.spool.leftovers() == {}
        counts = stream.parts.status()["counts"]
        assert len(stream.parts.status()["last_seq"]) == 2
    assert not order and len(killed) == n_kills
    assert len(ids) >= 200
    assert sorted(ids) == [timeframe(i) for i in range(len(ids))]
    assert counts["built"] == len(ids)
    assert supervisor.n_restarts >= n_kills


def test_readouts_draw_different_random_numbers(opened):
    drawn = []
    with opened(f"{SOURCES}:draws", n_readouts=3) as stream:
        drain(started(stream), each=lambda ref: drawn.extend(c["x"][0] for c in read_timeframe(ref).values()))
    assert len(set(drawn)) == 3


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
