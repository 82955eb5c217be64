"""The spool: parts are whole or not there, what is settled is gone, what dead owners left goes at the next start."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stream_tools import small_files, timeframe

from o2dask.errors import CommitError, ConfigError
from o2dask.stream.errors import SpoolFullError
from o2dask.stream.spool import Spool, remove_stale


def content(text):
    return lambda path: Path(path).write_text(text)


@pytest.fixture
def spool(tmp_path):
    (tmp_path / "shm").mkdir()
    (tmp_path / "disk").mkdir()
    spool = Spool.create("s", base=str(tmp_path / "shm"), spill=str(tmp_path / "disk"))
    yield spool
    spool.remove()
    assert not list((tmp_path / "shm").iterdir())
    assert not list((tmp_path / "disk").iterdir())


def files(root):
    return sorted(p.name for p in Path(root).rglob("*") if not p.is_dir() and p.name != "session.json")


def test_a_part_is_in_its_place_and_goes_when_its_timeframe_is_settled(spool):
    assert spool.write(timeframe(1), 0, content("abc")) == 3
    assert spool.write(timeframe(1), 1, content("de")) == 2
    assert spool.write(timeframe(2), 0, content("f")) == 1
    assert Path(spool.part(timeframe(1), 1)).read_text() == "de"
    assert spool.n_bytes == 6
    assert spool.leftovers() == {timeframe(1): (0, 1), timeframe(2): (0,)}
    spool.settle(timeframe(1))
    spool.settle(timeframe(1))
    assert spool.leftovers() == {timeframe(2): (0,)}


def test_a_part_that_is_written_again_replaces_the_first(spool):
    spool.write(timeframe(1), 0, content("abc"))
    spool.write(timeframe(1), 0, content("xy"))
    assert Path(spool.part(timeframe(1), 0)).read_text() == "xy"
    assert files(spool.root) == ["0.ctf"]


def test_a_part_that_fails_leaves_nothing_behind(spool):
    def fail(path):
        Path(path).write_text("half")
        raise PermissionError(13, "Permission denied")

    with pytest.raises(CommitError, match="Permission denied"):
        spool.write(timeframe(1), 0, fail)
    assert files(spool.root) == []


def test_a_full_device_is_told_and_leaves_nothing_behind(spool):
    with small_files(100), pytest.raises(SpoolFullError, match="no room"):
        spool.write(timeframe(1), 0, lambda path: Path(path).write_bytes(bytes(1000)))
    assert files(spool.root) == []


def test_a_spilled_part_is_read_through_a_link_and_goes_with_it(spool):
    spool.write(timeframe(1), 0, content("abc"))
    spool.spill(timeframe(1), 0)
    spool.spill(timeframe(1), 0)
    assert spool.write(timeframe(1), 1, content("defg"), spilled=True) == 4
    assert Path(spool.part(timeframe(1), 0)).read_text() == "abc"
    assert Path(spool.part(timeframe(1), 1)).read_text() == "defg"
    assert len(files(spool.spill_root)) == 2
    spool.discard(timeframe(1), 0)
    assert len(files(spool.spill_root)) == 1
    spool.settle(timeframe(1))
    assert files(spool.spill_root) == files(spool.root) == []


def test_discard_takes_one_part_and_the_folder_with_the_last(spool):
    spool.write(timeframe(1), 0, content("abc"))
    spool.write(timeframe(1), 1, content("abc"))
    spool.discard(timeframe(1), 0)
    assert Path(spool.part(timeframe(1), 1)).exists()
    spool.discard(timeframe(1), 1)
    spool.discard(timeframe(1), 1)
    assert not Path(spool.folder(timeframe(1))).exists()


def dead_session(base, name, more=""):
    code = f"from o2dask.stream.spool import Spool; s = Spool.create({name!r}, base={str(base)!r}{more}); print(s.root)"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Path(made.stdout.strip())


def test_what_a_dead_owner_left_goes_at_the_next_start_and_what_is_not_ours_stays(tmp_path):
    dead = dead_session(tmp_path, "dead")
    (dead / "TF_1_2_3_32").mkdir()
    (tmp_path / "o2dask-no-owner").mkdir()
    (tmp_path / "other").mkdir()
    alive = Spool.create("alive", base=str(tmp_path))
    assert not dead.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"o2dask-alive", "o2dask-no-owner", "other"}
    assert remove_stale(str(tmp_path)) == []
    alive.remove()


def test_the_parts_of_a_dead_owner_can_be_taken_over(tmp_path):
    dead = dead_session(tmp_path, "run")
    (dead / "TF_7_2_64_32").mkdir()
    (dead / "TF_7_2_64_32" / "1.ctf").write_text("x")
    spool = Spool.create("run", base=str(tmp_path), take_over=True)
    assert spool.leftovers() == {timeframe(2): (1,)}


def test_what_cannot_be_had_again_is_kept_for_a_day(tmp_path):
    dead = dead_session(tmp_path, "dead", ", keep=True")
    assert remove_stale(str(tmp_path)) == []
    os.utime(dead, (time.time(), time.time() - 25 * 3600))
    assert remove_stale(str(tmp_path)) == [str(dead)]


def test_a_session_of_a_living_process_is_not_taken_over(tmp_path):
    code = f"from o2dask.stream.spool import Spool; Spool.create('run', base={str(tmp_path)!r}); print(flush=True); "
    owner = subprocess.Popen([sys.executable, "-c", code + "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        owner.stdout.readline()
        with pytest.raises(ConfigError, match=f"running \\(process {owner.pid}\\)"):
            Spool.create("run", base=str(tmp_path), take_over=True)
        assert remove_stale(str(tmp_path)) == []
    finally:
        owner.communicate(b"\n")
    assert remove_stale(str(tmp_path)) == [str(tmp_path / "o2dask-run")]


@pytest.mark.parametrize("session", ["", "a/b", "..//x", "x" * 65])
def test_a_session_is_a_plain_name(tmp_path, session):
    with pytest.raises(ConfigError, match="session"):
        Spool.create(session, base=str(tmp_path))


def test_only_its_user_can_look_into_a_spool(spool):
    assert os.stat(spool.root).st_mode & 0o077 == 0  # noqa: PTH116
