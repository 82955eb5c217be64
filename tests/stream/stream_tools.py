"""What the tests of the stream share: files to replay, a driver that checks, folders that can be full."""

import resource
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from o2dask.columns import Columns, Jagged, Schema
from o2dask.ctf import CtfWriter, read_timeframe
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId

N_DATA = 5
SOURCES = str(Path(__file__).with_name("user_sources.py"))
LIMIT_S = 120.0
"""When a test gives up [s]: costs nothing where things work, however slow the machine."""


def timeframe(i, run=7):
    return TimeframeId(run=run, tf_counter=i, first_orbit=32 * i)


def payloads(i, n=20):
    """Return some data of timeframe i, of different sizes, that can be told from those of any other."""
    rng = np.random.default_rng(i)
    made = {}
    for k in range(N_DATA):
        rows = n * (k + 1)
        offsets = np.arange(rows + 1, dtype=np.int32)
        arrays = {
            "x": rng.integers(0, 1 << 30, rows).astype(np.uint32),
            "cov": rng.normal(size=(rows, 3)).astype(np.float32),
            "ids": Jagged(offsets, rng.integers(0, 99, rows).astype(np.int16)),
            "is_edge": rng.random(rows) < 0.5,
        }
        made[DataRef("TST", f"D{k}")] = Columns(Schema.infer(f"TST/D{k}", arrays), arrays)
    return made


def write_ctf(path, n, first=0, rows=20):
    with CtfWriter(path) as ctf:
        for i in range(first, first + n):
            ctf.write(timeframe(i), payloads(i, rows))
    return str(path)


def assert_same(got, expected):
    assert list(got) == list(expected)
    for ref, columns in expected.items():
        assert got[ref].equals(columns), ref


def eventually(condition, limit_s=LIMIT_S):
    """Wait for a condition."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not within {limit_s} s"
        time.sleep(0.005)


def started(stream):
    """Return the stream, which begins."""
    stream.supervisor.start()
    return stream


def drain(stream, *, each=None, until=None, limit_s=LIMIT_S, slow_s=0.0):
    """Be the driver: take, read, settle, until the stream is over; return the ids in their order."""
    ids, end = [], time.monotonic() + limit_s
    while not stream.feed.is_over and not (until and until(ids)):
        assert not stream.supervisor.check(), stream.supervisor.check()
        assert not stream.feed.failure, stream.feed.failure
        assert time.monotonic() < end, (len(ids), stream.parts.status(), stream.timeframes.status())
        refs = stream.feed.take(16)
        for ref in refs:
            if each is not None:
                each(ref)
            ids.append(ref.id)
            time.sleep(slow_s)
        stream.feed.settle(refs)
        if not refs:
            time.sleep(0.005)
    return ids


def check_bytes(ref):
    """Hold that a built timeframe has the bytes that were made for it."""
    assert_same(read_timeframe(ref), payloads(ref.id.tf_counter))


@contextmanager
def small_device(path, size):
    """Give a folder of `size` bytes, and how to make room; None where no tmpfs may be mounted."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield lambda more: subprocess.run(["mount", "-o", f"remount,size={more}", path], check=True)
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@contextmanager
def small_files(size):
    """Let this process write files of `size` bytes only, which looks like a full device to who writes."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
