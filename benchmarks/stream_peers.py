"""What the streaming benchmark is measured against, and the sources that it reads: two processes and no framework."""

import mmap
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from o2dask.columns import Columns, Schema
from o2dask.ctf.batch import encode_timeframe
from o2dask.ctf.writer import CtfWriter
from o2dask.dataspecs import DataRef
from o2dask.timeframe import TimeframeId

IN_FLIGHT = 16
"""Timeframes between the two processes at most, in all three ways to carry them."""
BULK = DataRef("TST", "BULK")
_SPAWN = get_context("spawn")


def write_bulk(path: Path, n: int, n_bytes: int) -> None:
    """Write a CTF file of `n` timeframes of so many bytes, uncompressed, all different."""
    rng = np.random.default_rng(20261122)
    schema = Schema.infer(str(BULK), {"value": np.zeros(0, np.uint64)})
    with CtfWriter(path) as writer:
        for i in range(n):
            columns = Columns(schema, {"value": rng.integers(0, 1 << 63, n_bytes // 8, dtype=np.uint64)})
            timeframe = TimeframeId(run=1, tf_counter=i, first_orbit=32 * i)
            writer.write_batch(timeframe, encode_timeframe({BULK: columns}, raw=True))


def read_all(path: str) -> int:
    """Return the sum of the numbers in a file, mapped as whoever reads a timeframe maps it."""
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return _sum(mapped)


def _sum(buffer: Any) -> int:
    return int(np.frombuffer(buffer, np.uint64, len(buffer) // 8).sum())


def raw_copy(source: Path, n: int, n_bytes: int, folder: Path) -> float:
    """Return GB/s from a file in the page cache through files in `folder` to a reader, which unlinks them."""

    def take(receive: Callable[[], Any]) -> None:
        path = receive()
        read_all(path)
        os.unlink(path)  # noqa: PTH108

    return _between(_copy, (str(source), n, n_bytes, str(folder)), n, n_bytes, take)


def _copy(pipe: Any, room: Any, source: str, n: int, n_bytes: int, folder: str) -> None:
    with Path(source).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        n_there = len(mapped) // n_bytes
        pipe.send("ready")
        for i in range(n):
            room.acquire()
            path = f"{folder}/raw_{i}"
            start = (i % n_there) * n_bytes
            with Path(path).open("wb", buffering=0) as out:
                out.write(view[start : start + n_bytes])
            pipe.send(path)
        view.release()
        pipe.recv()


def raw_zmq(source: Path, n: int, n_bytes: int) -> float:
    """Return GB/s from a file in the page cache through a ZeroMQ PUSH and PULL over loopback to a reader."""
    import zmq

    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.set_hwm(IN_FLIGHT)
        port = pull.bind_to_random_port("tcp://127.0.0.1")

        def take(receive: Callable[[], Any]) -> None:
            _sum(pull.recv(copy=False).buffer)

        return _between(_push, (str(source), n, n_bytes, port), n, n_bytes, take)


def _push(pipe: Any, room: Any, source: str, n: int, n_bytes: int, port: int) -> None:
    import zmq

    with (
        zmq.Context() as context,
        context.socket(zmq.PUSH) as push,
        Path(source).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        push.set_hwm(IN_FLIGHT)
        push.connect(f"tcp://127.0.0.1:{port}")
        view, n_there = memoryview(mapped), len(mapped) // n_bytes
        pipe.send("ready")
        for i in range(n):
            room.acquire()
            start = (i % n_there) * n_bytes
            push.send(view[start : start + n_bytes], copy=False)
        pipe.recv()
        push.close(linger=0)
        view.release()


def _between(
    produce: Callable[..., None], args: tuple[Any, ...], n: int, n_bytes: int, take: Callable[..., None]
) -> float:
    """Return GB/s of `n` timeframes made by another process and taken by this one."""
    here, there = _SPAWN.Pipe()
    room = _SPAWN.BoundedSemaphore(IN_FLIGHT)
    process = _SPAWN.Process(target=produce, args=(there, room, *args), daemon=True)
    process.start()
    try:
        assert here.recv() == "ready"
        start, n_before = 0.0, n // 5
        for i in range(n):
            if i == n_before:
                start = time.perf_counter()
            take(here.recv)
            room.release()
        seconds = time.perf_counter() - start
        here.send("done")
        process.join(10)
    finally:
        process.kill()
    return (n - n_before) * n_bytes / seconds / 1e9


def stamped(readout: int, n_readouts: int) -> Iterator[tuple[TimeframeId, dict[DataRef, Columns]]]:
    """Give small timeframes whose number is the time at which they were made [us]: a source of the stream."""
    period, n = (float(os.environ[name]) for name in ("O2DASK_BENCH_PERIOD", "O2DASK_BENCH_N"))
    value = Columns(Schema.infer(str(BULK), {"value": np.arange(10)}), {"value": np.arange(10)})
    due = time.monotonic()
    for i in range(int(n)):
        due += period
        time.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic_ns() // 1000
        yield TimeframeId(run=1, tf_counter=now, first_orbit=32 * i), {BULK: value}
