"""A foreign device feeds a whole stream: readout process, spool, builder, queue, up to the driver's door."""

import os
import signal
import socket
import threading
import time

import numpy as np
import pytest
import zmq

from o2dask.columns import Columns, Schema
from o2dask.ctf import read_timeframe
from o2dask.dataspecs import DataRef
from o2dask.stream.messages import end_message, timeframe_message
from o2dask.stream.session import open_stream
from o2dask.stream.settings import StreamSettings
from o2dask.timeframe import TimeframeId

DIGITS, HITS = DataRef("TST", "DIGITS"), DataRef("MC", "HITS", 2)


def timeframe(i):
    return TimeframeId(run=7, tf_counter=i, first_orbit=32 * i)


def data(i):
    digits, hits = {"value": np.arange(i + 1)}, {"e": np.full(3, i, np.float32)}
    return {
        DIGITS: Columns(Schema.infer("DIGITS", digits), digits),
        HITS: Columns(Schema.infer("HITS", hits), hits),
    }


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def device(port):
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.IMMEDIATE, 1)
        push.setsockopt(zmq.SNDTIMEO, 120_000)
        push.linger = 1000
        push.connect(f"tcp://127.0.0.1:{port}")
        yield push


def settings(port, query="", **more):
    return StreamSettings(source=f"tcp://127.0.0.1:{port}{query}", timeout_s=60.0, **more)


def collect(stream, ready, n=None, within=120.0):
    """Return timeframes and their data until the stream is over, or `n` are there."""
    found, until = {}, time.monotonic() + within
    while not stream.feed.is_over and len(found) != n:
        assert time.monotonic() < until, f"got {len(found)}: {stream.parts.status()}"
        assert not stream.supervisor.check()
        refs = stream.feed.take(10)
        found |= {ref.id: read_timeframe(ref) for ref in refs}
        stream.feed.settle(refs)
        if not refs:
            ready.wait(0.1)
            ready.clear()
    return found


def test_what_a_device_sends_is_what_a_driver_reads_and_its_end_is_the_streams(stream_client, port, device):
    ready = threading.Event()
    with open_stream(stream_client, settings(port), on_ready=ready.set) as stream:
        stream.supervisor.start()
        for i in range(20):
            device.send_multipart(timeframe_message(timeframe(i), data(i)))
        device.send_multipart([b"rubbish"])
        device.send_multipart(end_message())
        found = collect(stream, ready)
    assert set(found) == {timeframe(i) for i in range(20)}
    for i in range(20):
        assert found[timeframe(i)].keys() == data(i).keys()
        assert all(found[timeframe(i)][ref].equals(columns) for ref, columns in data(i).items())


def test_a_readout_that_is_killed_listens_again_and_the_device_goes_on(stream_client, port, device):
    ready = threading.Event()
    with open_stream(stream_client, settings(port), on_ready=ready.set) as stream:
        stream.supervisor.start()
        device.send_multipart(timeframe_message(timeframe(0), data(0)))
        assert set(collect(stream, ready, n=1)) == {timeframe(0)}
        os.kill(stream.supervisor.pids["readout-0"], signal.SIGKILL)
        sent = 0
        until, found = time.monotonic() + 120, {}
        while len(found) < 5:
            assert time.monotonic() < until, f"sent {sent}, {stream.parts.status()}"
            sent += 1
            device.send_multipart(timeframe_message(timeframe(sent), data(sent)))
            refs = stream.feed.take(10)
            found |= {ref.id: read_timeframe(ref) for ref in refs}
            stream.feed.settle(refs)
            time.sleep(0.05)
        assert stream.supervisor.n_restarts == 1
        device.send_multipart(end_message())
        found |= collect(stream, ready)
    # What lay in the dead process's socket is lost, and no more; what came is whole and came once.
    assert found.keys() <= {timeframe(i) for i in range(1, sent + 1)} and timeframe(sent) in found
    assert all(found[tf][DIGITS].equals(data(tf.tf_counter)[DIGITS]) for tf in found)


def test_two_readouts_take_from_two_devices_and_the_builder_joins_their_halves(stream_client, port):
    ready = threading.Event()
    with zmq.Context() as context, context.socket(zmq.PUSH) as one, context.socket(zmq.PUSH) as two:
        one.connect(f"tcp://127.0.0.1:{port}")
        two.connect(f"tcp://127.0.0.1:{port + 1}")
        with open_stream(stream_client, settings(port, n_readouts=2), on_ready=ready.set) as stream:
            stream.supervisor.start()
            for i in range(5):
                one.send_multipart(timeframe_message(timeframe(i), {DIGITS: data(i)[DIGITS]}))
            for i in (3, 1, 4, 0, 2):
                two.send_multipart(timeframe_message(timeframe(i), {HITS: data(i)[HITS]}))
            for device in (one, two):
                device.send_multipart(end_message())
            found = collect(stream, ready)
    assert len(found) == 5 and all(found[timeframe(i)].keys() == data(i).keys() for i in range(5))
