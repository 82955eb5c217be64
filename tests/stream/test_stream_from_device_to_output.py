"""From a foreign device to the output: the same bytes as inline on the file that it sent."""

import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from o2dask.columns import Columns, Schema
from o2dask.ctf import CtfWriter, ctf_reader, list_timeframes, read_timeframe
from o2dask.dataspecs import DataRef
from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.settings import BatchSettings
from o2dask.runners.stream import run_stream
from o2dask.specs import DataProcessorSpec, WorkflowSpec
from o2dask.stream.settings import StreamSettings
from o2dask.stream.zmq_out import Sender
from o2dask.timeframe import TimeframeId
from o2dask.workflow.compiler import compile_workflow

DIGITS, HITS = DataRef("TST", "DIGITS"), DataRef("TST", "HITS", 1)


def columns(name, **arrays):
    return Columns(Schema.infer(name, arrays), arrays)


@pytest.fixture
def ctf(tmp_path):
    path = tmp_path / "tf.ctf"
    with CtfWriter(path) as writer:
        for i in range(6):
            rng = np.random.default_rng(i)
            data = {
                DIGITS: columns("DIGITS", adc=rng.integers(0, 1000, 50 * i).astype(np.uint16)),
                HITS: columns("HITS", e=rng.exponential(1.0, 10).astype(np.float32)),
            }
            writer.write(TimeframeId(run=7, tf_counter=i, first_orbit=32 * i), data)
    return path


def total(ctx):
    """Sum up the charges and double the energies."""
    ctx.outputs.make("sum", {"adc": ctx.inputs["digits"]["adc"].sum(keepdims=True), "n": np.array([1])})
    ctx.outputs.make("twice", {"e": ctx.inputs["hits"]["e"] * 2})


def topology():
    inputs = "digits:TST/DIGITS;hits:TST/HITS/1"
    step = DataProcessorSpec("total", inputs=inputs, outputs="sum:TST/SUM;twice:TST/TWICE", algorithm=total)
    return compile_workflow(WorkflowSpec("device", (ctf_reader("TST/DIGITS;TST/HITS/1"), step)))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.arrow"))}


def test_a_device_to_the_output_gives_the_bytes_of_the_file(ctf, tmp_path):
    refs = list_timeframes([str(ctf)])
    assert run_inline(topology(), refs, FolderSink(str(tmp_path / "inline"), ("TST/SUM", "TST/TWICE"))).ok
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    failures = []

    def device():
        try:
            with Sender(address + "?timeout=60", split_bytes=200) as sender:
                for ref in refs:
                    sender.send(ref.id, read_timeframe(ref))
                sender.end()
        except Exception as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    thread = threading.Thread(target=device)
    thread.start()
    source = StreamSettings(source=f"{address}?outputs={DIGITS},{HITS}")
    sink = FolderSink(str(tmp_path / "stream"), ("TST/SUM", "TST/TWICE"))
    report = run_stream(topology(), source, sink, settings=BatchSettings(workers=1))
    thread.join(30)
    assert not failures and report.ok, report
    assert files(tmp_path / "stream") == files(tmp_path / "inline")
    assert len(files(tmp_path / "stream")) == 12
