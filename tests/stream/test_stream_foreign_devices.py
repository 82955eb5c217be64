"""Foreign devices feed a stream and read from a workflow; the peers are plain pyzmq and bytes written by hand."""

import socket
import struct
import threading
import time
from contextlib import ExitStack

import numpy as np
import pyarrow as pa
import pytest
import zmq

from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.dataspecs import DataRef
from o2dask.errors import ConfigError, DataError
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.specs import DataProcessorSpec, WorkflowSpec
from o2dask.stream.arrow_payload import RAW_SCHEMA, bytes_to_columns, columns_to_ipc, ipc_to_columns
from o2dask.stream.assembly import Assembly
from o2dask.stream.channel import Channel, as_text
from o2dask.stream.messages import end_message, read_message, timeframe_message
from o2dask.stream.zmq_in import ZmqSource
from o2dask.stream.zmq_out import Sender, SendTimeoutError, zmq_output
from o2dask.timeframe import TimeframeId, enumerated
from o2dask.workflow.compiler import compile_workflow

CLUSTERS, RAW = DataRef("TPC", "CLUSTERS", 3), DataRef("ITS", "RAWDATA", 0x10)
SCHEMA = Schema(
    "CLUSTERS",
    (
        Column(name="time", dtype="float32", unit="us", text="when"),
        Column(name="row", dtype="uint8"),
        Column(name="is_edge", dtype="bool"),
        Column(name="cov", dtype="float64", shape=(2, 3)),
        Column(name="pads", dtype="int16", is_jagged=True),
    ),
    version=4,
)


def clusters(n=5):
    return Columns(
        SCHEMA,
        {
            "time": np.arange(n, dtype=np.float32) / 4,
            "row": np.arange(n, dtype=np.uint8),
            "is_edge": np.arange(n) % 2 == 0,
            "cov": np.arange(6.0 * n).reshape(n, 2, 3),
            "pads": Jagged(np.arange(n + 1, dtype=np.int32) * 2, np.arange(2 * n, dtype=np.int16)),
        },
    )


def timeframe(i=0, **more):
    return TimeframeId(run=505673, tf_counter=i, first_orbit=32 * i, **more)


def by_hand(payload, *, counter=0, orbit=0, index=0, parts=1, size=None, how=b"NONE", name=b"RAWDATA", origin=b"ITS"):
    """Return what a C++ device would put on the wire: DataHeader and DataProcessingHeader, packed field by field."""
    size = len(payload) if size is None else size
    data = struct.pack(
        "<4sIII8s8s16s4sI8sIIQIII4x",
        *(b"O2O2", 96, 1, 3, b"DataHead", b"NONE", name, origin, parts, how, 0x10, index, size, orbit, counter, 505673),
    )
    return data + struct.pack("<4sIII8s8sQQQ", b"O2O2", 56, 0, 1, b"DataFlow", b"NONE", counter, 1, 0)


class Peer:
    """A plain pyzmq device, and a source that listens to it on a free port."""

    def __init__(self, stack, kind=zmq.PUSH, **settings):
        self.context = stack.enter_context(zmq.Context())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        self.socket = stack.enter_context(self.context.socket(kind))
        self.socket.linger = 5000
        query = "?type=sub" if kind == zmq.PUB else ""
        self.source = ZmqSource(address=self.address + query, **settings)
        self.socket.connect(self.address)

    def collect(self, n=None, within=120.0):
        """Return what the source gives until its end, or until `n` timeframes are there."""
        found, until, stream = [], time.monotonic() + within, self.source()
        for item in stream:
            assert time.monotonic() < until, f"got {len(found)} timeframes, {dict(self.source.counters)}"
            found += [] if item is None else [item]
            if len(found) == n:
                break
        stream.close()
        return found


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


def test_columns_go_there_and_back_with_shapes_units_and_version():
    back = ipc_to_columns(columns_to_ipc(clusters()), CLUSTERS)
    assert back.equals(clusters())
    assert back.schema["time"].unit == "us" and back.schema.version == 4
    assert ipc_to_columns(columns_to_ipc(clusters(0)), CLUSTERS).equals(clusters(0))


def test_a_table_of_o2_without_our_metadata_reads_as_plain_columns():
    table = pa.table({"fX": pa.array([1.5, 2.5], pa.float32()), "fIndex": pa.array([[1, 2], []], pa.list_(pa.int32()))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    columns = ipc_to_columns(sink.getvalue(), DataRef("AOD", "TRACK"))
    assert columns["fX"].tolist() == [1.5, 2.5] and columns["fIndex"].offsets.tolist() == [0, 2, 2]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        pytest.param(pa.array([1, None]), "1 values are null", id="null"),
        pytest.param(pa.array(["a"]), "want numbers", id="text"),
        pytest.param(pa.array([{"a": 1}]), "want numbers", id="struct"),
        pytest.param(pa.array([[[1]]]), "want numbers", id="list of lists"),
    ],
)
def test_what_columns_cannot_hold_is_refused_by_name(array, message):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("bad", array.type)])) as writer:
        writer.write_table(pa.table({"bad": array}))
    with pytest.raises(DataError, match=f"AOD/TRACK/0: column 'bad'.*{message}"):
        ipc_to_columns(sink.getvalue(), DataRef("AOD", "TRACK"))


def test_no_damaged_arrow_payload_raises_anything_but_a_data_error():
    good = columns_to_ipc(clusters()).to_pybytes()
    rng = np.random.default_rng(1)
    n_refused = 0
    for _ in range(300):
        damaged = bytearray(good)
        at = int(rng.integers(0, len(good)))
        damaged[at] ^= int(rng.integers(1, 256))
        try:
            ipc_to_columns(bytes(damaged[: int(rng.integers(at, len(good) + 1))]), CLUSTERS)
        except DataError:
            n_refused += 1
    assert n_refused > 100


@pytest.mark.parametrize("split_bytes", [None, 100])
@pytest.mark.parametrize("n_orbits", [32, 128])
def test_a_message_there_and_back_is_the_timeframe(split_bytes, n_orbits):
    tf = timeframe(7, n_orbits=n_orbits)
    data = {CLUSTERS: clusters(), RAW: bytes_to_columns(b"0123456789" * 30)}
    parts = timeframe_message(tf, data, split_bytes=split_bytes)
    assert (len(parts) == 4) == (split_bytes is None)
    ((back, found),) = Assembly().take([bytes(memoryview(p)) for p in parts], 0.0)
    assert back == tf and list(found) == list(data)
    assert all(found[ref].equals(data[ref]) for ref in data)


def test_a_c_plus_plus_device_feeds_raw_data_in_all_three_ways_to_split(stack):
    peer = Peer(stack, outputs=("ITS/RAWDATA/16",))
    pairs = [by_hand(b"ab", index=0, parts=2), b"ab", by_hand(b"cd", index=1, parts=2), b"cd"]
    sequence = [by_hand(b"", counter=1, orbit=32, index=3, parts=3), b"x", b"yy", b"zzz"]
    whole = [by_hand(b"whole", counter=2, orbit=64, parts=0), b"whole"]
    for message in (pairs, sequence, whole, end_message()):
        peer.socket.send_multipart(message)
    found = peer.collect()
    assert [tf for tf, _ in found] == [timeframe(0), timeframe(1), timeframe(2)]
    assert [data[RAW]["bytes"].tobytes() for _, data in found] == [b"abcd", b"xyyzzz", b"whole"]
    assert found[0][1][RAW].schema == RAW_SCHEMA


def test_data_of_one_timeframe_come_from_several_devices_in_any_order(stack):
    peer = Peer(stack, outputs=("ITS/RAWDATA/16", "TPC/CLUSTERS/3"), n_senders=2)
    other = stack.enter_context(peer.context.socket(zmq.PUSH))
    other.connect(peer.address)
    for i in (1, 0):
        peer.socket.send_multipart([by_hand(b"its", counter=i, orbit=32 * i), b"its"])
    for i in (0, 1):
        other.send_multipart(timeframe_message(timeframe(i), {CLUSTERS: clusters(i)}))
    for sender in (peer.socket, other):
        sender.send_multipart(end_message())
    found = dict(peer.collect())
    assert set(found) == {timeframe(0), timeframe(1)}
    assert all(found[timeframe(i)][CLUSTERS].equals(clusters(i)) for i in (0, 1))
    assert all(data[RAW]["bytes"].tobytes() == b"its" for data in found.values())


def test_rubbish_is_counted_and_told_and_the_next_timeframe_comes_through(stack, caplog):
    peer = Peer(stack, outputs=("ITS/RAWDATA/16",))
    good = by_hand(b"good", counter=9, orbit=288)
    for rubbish in (
        [b""],
        [b"hello"],
        [good],  # no payload
        [good[:96], b"good"],  # says that another header follows
        [by_hand(b"good", size=5), b"good"],
        [by_hand(b"good", index=4, parts=3), b"good"],
        [by_hand(b"", parts=2**31, index=2**31), b"good"],
        [by_hand(b"good", how=b"ARROW", counter=8), b"good"],
        [by_hand(b"good", name=b"../etc/passwd"), b"good"],
        [by_hand(b"good"), b"good", b"O2O2"],
        [good[32 + 64 :], b"good"],  # no DataHeader
    ):
        peer.socket.send_multipart(rubbish)
    peer.socket.send_multipart([good, b"good"])
    with caplog.at_level("WARNING"):
        ((tf, data),) = peer.collect(1)
    assert tf == timeframe(9) and data[RAW]["bytes"].tobytes() == b"good"
    assert peer.source.counters["malformed"] == 11
    told = [record.getMessage() for record in caplog.records if "malformed" in record.getMessage()]
    assert len(told) == 1 and peer.address in told[0] and "the last:" in told[0]


@pytest.mark.parametrize("incomplete", ["drop", "pass"])
def test_what_never_becomes_whole_is_dropped_or_passed_on_and_counted(stack, incomplete):
    outputs = ("ITS/RAWDATA/16", "TPC/CLUSTERS/3")
    peer = Peer(stack, outputs=outputs, complete_s=1.0, incomplete=incomplete)
    peer.socket.send_multipart([by_hand(b"alone"), b"alone"])
    whole = {RAW: bytes_to_columns(b"its"), CLUSTERS: clusters()}
    time.sleep(0.05)
    peer.socket.send_multipart(timeframe_message(timeframe(1), whole))
    stream = peer.source()
    found = []
    while peer.source.counters["incomplete"] < 1 or peer.source.counters["timeframes"] < 1:
        found.append(next(stream))
    peer.socket.send_multipart([by_hand(b"alone"), b"alone"])
    peer.socket.send_multipart(end_message())
    found = [item for item in [*found, *stream] if item is not None]
    assert [tf for tf, _ in found] == ([timeframe(1)] if incomplete == "drop" else [timeframe(1), timeframe(0)])
    counters = peer.source.counters
    assert (counters["incomplete"], counters["dropped"], counters["late"]) == (1, int(incomplete == "drop"), 1)


def test_waiting_timeframes_are_bounded_by_number():
    assembly = Assembly([RAW, CLUSTERS], max_open=3)
    for i in range(10):
        assert not list(assembly.take([by_hand(b"x", counter=i, orbit=32 * i), b"x"], 0.0))
    assert assembly.counters["dropped"] == 7
    assert not list(assembly.flush()) and assembly.counters["dropped"] == 10


def test_repeats_and_what_nobody_asked_for_are_counted_and_left_out():
    assembly = Assembly([RAW, CLUSTERS])
    twice = [by_hand(b"1st"), b"1st"]
    other = [by_hand(b"noise", origin=b"ZDC"), b"noise"]
    assert not [whole for parts in (twice, other, twice) for whole in assembly.take(parts, 0.0)]
    ((_, data),) = assembly.take(timeframe_message(timeframe(), {CLUSTERS: clusters()}), 0.0)
    assert data[RAW]["bytes"].tobytes() == b"1st" and set(data) == {RAW, CLUSTERS}
    assert (assembly.counters["repeated"], assembly.counters["unasked"]) == (1, 1)


def test_a_publisher_feeds_too(stack):
    peer = Peer(stack, zmq.PUB, outputs=("ITS/RAWDATA/*",))
    stop = threading.Event()

    def publish():
        for i in range(10_000):
            peer.socket.send_multipart([by_hand(b"pub", counter=i, orbit=32 * i), b"pub"])
            if stop.wait(0.01):
                return

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        found = peer.collect(3)
    finally:
        stop.set()
        thread.join()
    assert len({tf for tf, _ in found}) == 3 and all(d[RAW]["bytes"].tobytes() == b"pub" for _, d in found)


def numbers(ctx):
    n = ctx.timeframe.tf_counter
    ctx.outputs.make("one", {"x": np.arange(n, dtype=np.int32)})
    for i in range(2):
        ctx.outputs.make("family", {"y": np.full(3, n + i)}, subspec=i)


def flow(to, inputs="x:TST/ONE;all:TST/FAMILY/*", **settings):
    source = DataProcessorSpec("numbers", inputs="", outputs="one:TST/ONE;family:TST/FAMILY/*", algorithm=numbers)
    return compile_workflow(WorkflowSpec("flow", (source, zmq_output("to-device", inputs, to, **settings))))


def test_any_workflow_feeds_a_plain_receiver(stack):
    context = stack.enter_context(zmq.Context())
    receiver = stack.enter_context(context.socket(zmq.PULL))
    port = receiver.bind_to_random_port("tcp://127.0.0.1")
    report = run_inline(flow(f"tcp://127.0.0.1:{port}"), enumerated(3, first=4, run=9), NoSink())
    assert report.ok and report.counters["to-device.sent"] == 3
    received = []
    while receiver.poll(60_000):
        received.append(receiver.recv_multipart())
        if len(received) == 4:
            break
    heads = [struct.unpack_from("<16s4sI8sIIQIII", parts[0], 32) for parts in received[:3]]
    assert [(head[0].rstrip(b"\0"), head[1], head[3]) for head in heads] == [(b"ONE", b"TST\0", b"ARROW\0\0\0")] * 3
    assert [(head[7], head[8], head[9]) for head in heads] == [(128, 4, 9), (160, 5, 9), (192, 6, 9)]
    tables = [pa.ipc.open_stream(parts[1]).read_all() for parts in received[:3]]
    assert [table["x"].to_pylist() for table in tables] == [list(range(n)) for n in (4, 5, 6)]
    assert [len(parts) for parts in received] == [6, 6, 6, 2]
    assert read_message(received[3]) == ([], True)


def test_a_receiver_that_is_not_there_costs_the_timeframe_or_is_counted():
    nobody = "tcp://127.0.0.1:9?timeout=0.05"
    report = run_inline(flow(nobody), enumerated(2), NoSink())
    assert len(report.quarantined) == 2
    assert "nobody took a message within 0.05 s" in report.quarantined[0].reason
    report = run_inline(flow(nobody, when_full="drop"), enumerated(2), NoSink())
    assert report.ok and report.counters == {"to-device.dropped": 2}


def test_an_output_without_address_says_how_to_give_one():
    report = run_inline(flow(""), enumerated(1), NoSink())
    assert "where to? -o to-device.to=tcp://" in report.failure


def test_a_sender_is_held_back_by_a_slow_receiver_and_loses_nothing(stack):
    peer = Peer(stack, outputs=("ITS/RAWDATA/16",))
    stream = peer.source()
    assert next(stream) is None  # listens
    payload = bytes_to_columns(bytes(1_000_000))
    with Sender(peer.address + "?hwm=2&timeout=0.3") as sender:
        n_sent = 0
        with pytest.raises(SendTimeoutError):
            for n_sent in range(1000):
                sender.send(timeframe(n_sent), {RAW: payload})
        assert 0 < n_sent < 100
        found = [item for _, item in zip(range(n_sent), filter(None, stream), strict=False)]
        assert [tf.tf_counter for tf, _ in found] == list(range(n_sent))
    stream.close()


def test_a_source_travels_as_json():
    source = ZmqSource(address="tcp://127.0.0.1:5555?hwm=3", outputs=("TPC/CLUSTERS",), n_senders=2, incomplete="pass")
    assert source.outputs == ("TPC/CLUSTERS/0",)
    assert ZmqSource.from_json(source.to_json()) == source


def test_the_settings_of_a_source_may_stand_in_its_address():
    text = "tcp://127.0.0.1:5555?outputs=TPC/CLUSTERS,ITS/*&senders=2&hwm=3&complete=0.5&open=7&incomplete=pass"
    with pytest.raises(ConfigError, match="data address"):
        ZmqSource(address=text)
    source = ZmqSource(address=text.replace("ITS/*", "ITS/RAWDATA/*"))
    same = {"n_senders": 2, "complete_s": 0.5, "max_open": 7, "incomplete": "pass"}
    assert source == ZmqSource(address="tcp://127.0.0.1:5555?hwm=3", outputs=("TPC/CLUSTERS", "ITS/RAWDATA/*"), **same)
    assert source.channel.hwm == 3
    with pytest.raises(ConfigError, match="want senders=NUMBER"):
        ZmqSource(address="tcp://127.0.0.1:5555?senders=two")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("tcp://127.0.0.1", "want a port", id="no port"),
        pytest.param("udp://127.0.0.1:1", "want tcp://HOST:PORT", id="scheme"),
        pytest.param("tcp://0.0.0.0:5555", r"\?remote=true", id="everyone"),
        pytest.param("tcp://*:5555", r"\?remote=true", id="star"),
        pytest.param("tcp://127.0.0.1:5555?hvm=1", "no setting 'hvm'", id="typo"),
        pytest.param("tcp://127.0.0.1:5555?hwm=many", "want hwm=int", id="no number"),
        pytest.param("tcp://127.0.0.1:5555?hwm=0", "want hwm over 0", id="zero"),
        pytest.param("tcp://127.0.0.1:5555?type=push", r"want type=pull\|sub here", id="wrong way"),
    ],
)
def test_an_address_that_cannot_work_is_refused_before_anything_runs(text, message):
    with pytest.raises(ConfigError, match=message):
        ZmqSource(address=text)


def test_an_address_may_listen_to_the_network_when_told_so():
    assert Channel.parse("tcp://*:5555?remote=true").remote
    channel = Channel.parse("tcp://[::1]:5555?type=sub&method=connect&timeout=0.5")
    assert Channel.parse(as_text(channel)) == channel
    assert channel.shifted(2).address == "tcp://[::1]:5557"


def test_a_port_that_is_taken_says_so(stack):
    peer = Peer(stack)
    taken = stack.enter_context(peer.context.socket(zmq.PULL))
    taken.bind(peer.address)
    with pytest.raises(ConfigError, match="another process listens there"):
        next(peer.source())


def test_a_missing_pyzmq_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zmq", None)
    with pytest.raises(ConfigError, match=r"pip install 'o2dask\[stream\]'"):
        next(ZmqSource(address="tcp://127.0.0.1:5555")())
