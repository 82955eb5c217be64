"""What an earlier run committed, or left behind, and what a stream makes of it."""

import subprocess
import sys
from pathlib import Path

from stream_tools import SOURCES, check_bytes, drain, eventually, payloads, started, timeframe

from o2dask.ctf import read_timeframe
from o2dask.stream.session import open_stream
from o2dask.stream.settings import StreamSettings
from o2dask.timeframe import enumerated


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
    options = {"n_readouts": 2, "session": "again", "take_over": True, "timeout_s": 2.0, "base": str(tmp_path / "shm")}
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
