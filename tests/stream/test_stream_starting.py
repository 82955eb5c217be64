"""How processes of a stream are started, told what to do, and end; also when their driver is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stream_tools import LIMIT_S, eventually

from o2dask.errors import ConfigError
from o2dask.stream.spool import remove_stale
from o2dask.stream.starter import Starter
from o2dask.stream.supervisor import ProcessSpec, State, Supervisor

HERE = "stream_child"


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def supervised(**settings):
    return Supervisor([ProcessSpec("child", HERE, settings)])


def test_a_process_is_where_its_starter_is_and_speaks_through_its_pipes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAM_TEST_WORD", "früh")
    with supervised(say=["ready", "a", "b"], end=0) as supervisor:
        supervisor.configure()
        eventually(lambda: supervisor.state is State.STOPPED)
        told = json.loads(supervisor.notices[0].removeprefix("child: "))
        assert list(supervisor.notices)[1:] == ["child: a", "child: b"]
    assert told == {"folder": str(tmp_path), "word": "früh", "threads": 1, "own_group": True}
    assert supervisor.check() == ""


def test_a_process_is_told_what_the_stream_does_also_when_it_comes_late():
    with supervised(say=["ready"], echo=True) as supervisor:
        supervisor.configure()
        assert supervisor.state is State.CONFIGURED
        supervisor.set_rate(7)
        supervisor.start()
        eventually(lambda: list(supervisor.notices)[-2:] == ["child: got rate 7.0", "child: got run"])
        os.kill(supervisor.pids["child"], signal.SIGKILL)
        eventually(lambda: "child: was killed by SIGKILL and is started again" in supervisor.notices)
        eventually(lambda: list(supervisor.notices)[-2:] == ["child: got rate 7.0", "child: got run"])
        supervisor.pause()
        eventually(lambda: supervisor.notices[-1] == "child: got pause")
        supervisor.resume()
        supervisor.stop()
        eventually(lambda: list(supervisor.notices)[-2:] == ["child: got run", "child: got stop"])


def test_settings_that_cannot_work_end_it_with_the_words_of_the_process():
    supervisor = supervised(say=[], fail="no such thing; want another", end=2)
    with supervisor, pytest.raises(ConfigError, match="no such thing; want another"):
        supervisor.configure()


def test_who_dies_in_vain_is_started_later_and_later_and_then_given_up(monkeypatch):
    monkeypatch.setattr("o2dask.stream.supervisor.GIVE_UP_AFTER", 4)
    monkeypatch.setattr("o2dask.stream.supervisor.FIRST_DELAY_S", 0.05)
    with supervised(say=["ready"], fail="out of luck", end=1) as supervisor:
        begin = time.monotonic()
        supervisor.configure()
        eventually(supervisor.check)
        assert time.monotonic() - begin > 0.05 * (1 + 2 + 4 + 8) * 0.9
        assert "ended with status 1, 5 times in a row" in supervisor.check()
        assert "out of luck" in supervisor.check()
        assert supervisor.state is State.STOPPED


def test_who_gets_somewhere_is_started_at_once(monkeypatch):
    monkeypatch.setattr("o2dask.stream.supervisor.GIVE_UP_AFTER", 2)
    progress = iter(range(8))
    specs = [ProcessSpec("child", HERE, {"say": ["ready"], "fail": "x", "end": 1})]
    with Supervisor(specs, lambda name: next(progress, 8)) as supervisor:
        supervisor.configure()
        eventually(supervisor.check)
        assert supervisor.n_restarts == 9 + 2


def test_a_process_that_hangs_is_killed_in_the_end(monkeypatch):
    monkeypatch.setattr("o2dask.stream.supervisor.END_S", 0.2)
    with supervised(say=["ready"], hang=True) as supervisor:
        supervisor.configure()
        pid = supervisor.pids["child"]
    eventually(lambda: not is_there(pid))


def test_the_starter_starts_again_when_it_was_killed():
    starter = Starter(preload=("stream_child",))
    try:
        first = starter.start(HERE, {"say": ["ready"], "end": 7})
        assert starter.status(first.pid, LIMIT_S) == 7
        first.close()
        os.kill(starter._process.pid, signal.SIGKILL)
        second = starter.start(HERE, {"say": ["ready"], "end": 8})
        assert starter.status(second.pid, LIMIT_S) == 8
        second.close()
        assert starter.status(first.pid, 0.0) is None
    finally:
        starter.close()


DRIVER = """
import sys, time
from distributed import Client, LocalCluster
from o2dask.stream.session import open_stream
from o2dask.stream.settings import StreamSettings

if __name__ == "__main__":
    options = dict(n_workers=0, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0")
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        settings = StreamSettings(source="enumerate:9", n_readouts=2, loop=True, rate=20, base=sys.argv[1])
        with open_stream(client, settings) as stream:
            stream.supervisor.start()
            print(stream.spool.root, *stream.supervisor.pids.values(), flush=True)
            time.sleep(60)
"""


def test_when_the_driver_is_killed_all_go_and_what_it_left_goes_at_the_next_start(tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    (tmp_path / "shm").mkdir()
    words = [sys.executable, tmp_path / "driver.py", tmp_path / "shm"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as driver:
        root, *pids = driver.stdout.readline().split()
        assert len(pids) == 3
        assert all(map(is_there, pids))
        driver.kill()
        driver.wait()
        eventually(lambda: not any(map(is_there, pids)))
    assert Path(root).exists()
    assert remove_stale(str(tmp_path / "shm")) == [root]


@pytest.mark.parametrize(("module", "settings"), [("readout", '{"control": "none"}'), ("builder", "{")])
def test_a_process_started_by_hand_with_wrong_settings_says_so_in_one_line(module, settings):
    words = [sys.executable, "-m", f"o2dask.stream.{module}", settings]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "settings" in line
