"""``o2dask readout``: CTF files to a receiver, at a pace, whole or in shares, and what is told of it."""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from o2dask.cli.main import app
from o2dask.columns import Columns, Jagged, Schema
from o2dask.ctf import CtfWriter
from o2dask.ctf.reader import CtfReader
from o2dask.dataspecs import DataRef
from o2dask.stream.zmq_in import ZmqSource
from o2dask.timeframe import TimeframeId

DIGITS, HITS = DataRef("TST", "DIGITS"), DataRef("MC", "HITS", 2)


@pytest.fixture
def ctf(tmp_path):
    """Four timeframes, one of them empty."""
    path = tmp_path / "tf.ctf"
    with CtfWriter(path) as writer:
        for i in range(4):
            n = 100 * i
            offsets = np.arange(n + 1, dtype=np.int32)
            arrays = {"value": np.arange(n) * 3, "cov": np.ones((n, 3), np.float32), "x": Jagged(offsets, np.arange(n))}
            data = {DIGITS: Columns(Schema.infer("DIGITS", arrays), arrays)}
            data[HITS] = Columns(Schema.infer("HITS", {"e": arrays["value"]}), {"e": arrays["value"]})
            writer.write(TimeframeId(run=7, tf_counter=i, first_orbit=128 * i, n_orbits=128), data)
    return path


class Receiver:
    """A source that collects in a thread until the stream ends."""

    def __init__(self, **settings):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        self.source = ZmqSource(address=self.address, **settings)
        self.found, self._stop = [], threading.Event()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self):
        for item in self.source():
            if item is not None:
                self.found.append(item)
            if self._stop.is_set():
                return

    def result(self):
        self._thread.join(120.0)
        assert not self._thread.is_alive(), f"no end after {dict(self.source.counters)}"
        return self.found

    def stop(self):
        self._stop.set()
        return self.result()


def readout(*args):
    result = CliRunner().invoke(app, ["readout", *map(str, args)])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("split", [(), ("--split", "300")], ids=["whole", "in shares"])
def test_a_receiver_gets_every_timeframe_of_the_file_and_its_end(ctf, split):
    receiver = Receiver()
    status, out, err = readout(ctf, "--to", receiver.address, *split)
    assert (status, err) == (0, "") and "4 timeframes sent" in out and receiver.address in out
    found, reader = receiver.result(), CtfReader(ctf)
    assert [tf for tf, _ in found] == [ref.id for ref in reader.refs()]
    for i, (_, data) in enumerate(found):
        stored = reader.read(i)
        assert list(data) == list(stored)
        assert all(data[ref].equals(stored[ref]) for ref in stored)


def test_only_some_data_at_a_pace_and_no_more_than_asked_for(ctf):
    receiver = Receiver(outputs=("TST/DIGITS",))
    start = time.monotonic()
    status, out, _ = readout(ctf, "--to", receiver.address, "--only", "TST/*", "--timeframes", 3, "--rate", 10)
    assert status == 0 and "3 timeframes sent" in out
    assert time.monotonic() - start >= 0.2
    assert [list(data) for _, data in receiver.result()] == [[DIGITS]] * 3


def test_rounds_of_a_loop_have_ids_of_their_own(ctf):
    receiver = Receiver()
    assert readout(ctf, "--to", receiver.address, "--loop", "--timeframes", 10)[0] == 0
    ids = [tf for tf, _ in receiver.result()]
    assert len(set(ids)) == 10 and sorted(ids) == ids
    assert [tf.first_orbit for tf in ids] == [128 * i for i in range(10)]


def test_two_readouts_feed_one_source_which_ends_with_the_second(ctf):
    receiver = Receiver(outputs=("TST/DIGITS", "MC/HITS/2"), n_senders=2)
    assert readout(ctf, "--to", receiver.address, "--only", "TST/DIGITS")[0] == 0
    assert readout(ctf, "--to", receiver.address, "--only", "MC/*")[0] == 0
    assert [sorted(map(str, data)) for _, data in receiver.result()] == [["MC/HITS/2", "TST/DIGITS/0"]] * 4


def test_a_damaged_timeframe_is_told_and_costs_the_status_and_the_others_are_sent(ctf):
    (message,) = [m for i, m in enumerate(CtfReader(ctf)._entries) if i == 2]
    raw = bytearray(ctf.read_bytes())
    raw[message.message.offset + message.message.n_bytes - 200] ^= 0xFF
    ctf.write_bytes(raw)
    receiver = Receiver()
    status, out, err = readout(ctf, "--to", receiver.address)
    assert status == 1 and "3 timeframes sent" in out and "1 could not be read" in out
    assert "checksum" in err and len(err.splitlines()) == 1
    assert [tf.tf_counter for tf, _ in receiver.result()] == [0, 1, 3]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        pytest.param(("--to", "tcp://127.0.0.1:9?timeout=0.1"), "nobody took a message within 0.1 s", id="nobody"),
        pytest.param(("--to", "tcp://127.0.0.1"), "want a port", id="no port"),
        pytest.param(("--to", "tcp://127.0.0.1:9?type=sub"), "want type=push|pub", id="wrong way"),
        pytest.param(("--to", "tcp://127.0.0.1:9", "--split", "x"), "want a size", id="size"),
    ],
)
def test_what_cannot_work_is_one_line(ctf, args, words):
    status, _, err = readout(ctf, *args)
    assert status in (1, 2) and words in err and len(err.splitlines()) == 1


def test_ctrl_c_ends_a_loop_in_good_order(ctf):
    receiver = Receiver()
    code = "from o2dask.cli.main import main; main()"
    command = [sys.executable, "-c", code, "readout", ctf, "--to", receiver.address, "--loop", "--rate", "50"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 120
        while len(receiver.found) < 3:
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    found = receiver.result()
    assert (process.returncode, err) == (0, "")
    assert f"{len(found)} timeframes sent" in out


def test_what_is_on_the_wire_is_o2s(ctf):
    import zmq

    with zmq.Context() as context, context.socket(zmq.PULL) as plain:
        port = plain.bind_to_random_port("tcp://127.0.0.1")
        thread = threading.Thread(target=readout, args=(ctf, "--to", f"tcp://127.0.0.1:{port}", "--timeframes", 2))
        thread.start()
        first, second, end = (plain.recv_multipart() for _ in range(3))
        thread.join(120)
    assert len(first) == len(second) == 4
    magic, size, flags, version, kind = struct.unpack_from("<4sIII8s", second[0])
    assert (magic, size, flags & 1, version, kind) == (b"O2O2", 96, 1, 3, b"DataHead")
    assert struct.unpack_from("<16s4s", second[0], 32) == (b"DIGITS".ljust(16, b"\0"), b"TST\0")
    assert struct.unpack_from("<Q", second[0], 72)[0] == len(second[1])
    assert struct.unpack_from("<III", second[0], 80) == (128, 1, 7)
    assert second[0][96:100] == b"O2O2" and second[0][112:120] == b"DataFlow"
    assert end[1] == b"" and b"SrcInfo" in end[0]
