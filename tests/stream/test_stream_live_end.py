"""What lives and cannot be asked again: it ends after a timeframe that all readouts have, and its silence is told."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from stream_tools import drain

from o2dask.stream import zmq_out
from o2dask.stream.zmq_out import Sender, SendTimeoutError

SOURCES = Path(__file__).with_name("live_sources.py")


def wait_until(is_so, limit_s=40.0):
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_readouts_of_a_live_source_end_after_the_same_timeframe(opened):
    with opened(f"{SOURCES}:lagging", n_readouts=2) as stream:
        stream.supervisor.start()
        ids = drain(stream, until=lambda ids: len(ids) > 20)
        stream.supervisor.stop()
        ids += drain(stream)
        counts = stream.parts.status()["counts"]
    assert [id_.tf_counter for id_ in ids] == list(range(len(ids)))
    assert counts["built"] == len(ids) > 60, "all that the foremost had given, half a second more than the other"
    assert not counts.get("incomplete_dropped") and not counts.get("lost")


def test_a_device_that_is_silent_does_not_hold_up_the_end_and_what_lacks_its_part_is_counted(opened):
    with opened(f"{SOURCES}:dumb", n_readouts=2) as stream:
        stream.supervisor.start()
        ids = drain(stream, until=lambda ids: len(ids) == 3)
        wait_until(lambda: stream.parts.status()["counts"].get("in") == 8)
        begun = time.monotonic()
        stream.supervisor.stop()
        ids += drain(stream)
        counts = stream.parts.status()["counts"]
    assert time.monotonic() - begun < 20
    assert len(ids) == 3 and counts["incomplete_dropped"] == 2


def test_the_silence_of_a_device_is_told_once(opened, tmp_path):
    told = []
    with opened(f"ipc://{tmp_path}/feed") as stream:
        stream.supervisor.listen(told.append)
        stream.supervisor.start()
        wait_until(lambda: told)
        time.sleep(0.3)
    (text,) = told
    assert "nothing has come for 5 s yet: is a device there" in text and text.startswith("readout-0: ipc:")


@pytest.fixture
def pulling(tmp_path):
    """An address, and how to listen there from now on."""
    zmq = pytest.importorskip("zmq")
    context = zmq.Context()
    socket = context.socket(zmq.PULL)
    address = f"ipc://{tmp_path}/feed"
    yield address, lambda: socket.bind(address)
    socket.close(0)
    context.term()


def test_a_sender_says_that_it_waits_and_sends_when_somebody_listens(pulling, monkeypatch):
    address, listen = pulling
    monkeypatch.setattr(zmq_out, "TELL_AFTER_S", 0.2)
    told = []
    threading.Timer(0.8, listen).start()
    with Sender(f"{address}?timeout=20") as sender:
        assert sender.wait(20.0, told.append)
        sender.end()
    assert told == [f"{address}: no receiver is there yet; waiting up to 20 s"]


def test_a_sender_waits_no_longer_than_it_may_and_not_at_all_when_stopped(pulling):
    address, _ = pulling
    with Sender(f"{address}?timeout=0.1") as sender:
        with pytest.raises(SendTimeoutError, match=r"nobody took a message within 0\.3 s"):
            sender.wait(0.3, lambda text: None)
        begun = time.monotonic()
        assert not sender.wait(60.0, lambda text: None, lambda: time.monotonic() > begun + 0.2)


def test_ctrl_c_ends_a_readout_that_waits_for_a_receiver(ctf, tmp_path):
    code = "from o2dask.cli.main import main; main()"
    command = [sys.executable, "-c", code, "readout", ctf, "--to", f"ipc://{tmp_path}/nobody"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stderr.readline()
            assert "no receiver is there yet; waiting up to 60 s" in line
            process.send_signal(signal.SIGINT)
            begun = time.monotonic()
            assert process.wait(20) == 130
            assert time.monotonic() - begun < 10
            assert "0 timeframes sent" in process.stdout.read()
        finally:
            process.kill()
