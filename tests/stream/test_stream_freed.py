"""Files of settled parts are written again: large ones, few, and only when nobody has them any more."""

import errno
import fcntl
import mmap
from pathlib import Path

import numpy as np
import pytest
from stream_tools import timeframe

from o2dask.columns import Columns, Schema
from o2dask.ctf import encode_timeframe, read_timeframe
from o2dask.ctf.parts import write_part
from o2dask.dataspecs import DataRef
from o2dask.stream import freed
from o2dask.stream.spool import Spool
from o2dask.timeframe import TimeframeRef

REF = DataRef("TST", "BULK")
MB = 1 << 20


@pytest.fixture
def spool(tmp_path):
    spool = Spool.create("s", base=str(tmp_path))
    yield spool
    spool.remove()
    assert not list(tmp_path.iterdir())


def bulk(n_bytes, seed):
    values = np.random.default_rng(seed).integers(0, 1 << 63, n_bytes // 8, dtype=np.uint64)
    return {REF: Columns(Schema.infer(str(REF), {"value": values}), {"value": values})}


def put(spool, number, n_bytes, readout=0):
    """Put a part in place; return the number of its file, and how to read it."""
    id_, batch = timeframe(number), encode_timeframe(bulk(n_bytes, number), raw=True)
    size = spool.write(id_, readout, lambda path: write_part(path, id_, batch), expected=batch.nbytes)
    part = Path(spool.part(id_, readout))
    assert part.stat().st_size == size
    return part.stat().st_ino, TimeframeRef(id=id_, url=spool.folder(id_), index=0, n_bytes=size)


def read(ref, number, n_bytes):
    np.testing.assert_array_equal(read_timeframe(ref)[REF]["value"], bulk(n_bytes, number)[REF]["value"])


def test_the_file_of_a_settled_part_is_written_again_and_holds_the_new_one_only(spool):
    sizes = [2 * MB, 2 * MB, 3 * MB, MB + 8, 2 * MB]  # the same, longer, shorter
    numbers = set()
    for i, size in enumerate(sizes):
        number, ref = put(spool, i, size)
        numbers.add(number)
        read(ref, i, size)
        spool.settle(timeframe(i))
        assert spool.leftovers() == {}
        assert spool.n_bytes == 0
    assert len(numbers) == 1


def test_a_file_that_somebody_has_mapped_is_let_be(spool):
    number, _ = put(spool, 0, 2 * MB)
    with Path(spool.part(timeframe(0), 0)).open("rb") as file:
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    before = held[:]
    spool.settle(timeframe(0))
    other, _ = put(spool, 1, 2 * MB)
    assert other != number
    assert held[:] == before
    held.close()
    spool.settle(timeframe(1))
    assert {put(spool, i, 2 * MB)[0] for i in (2, 3)} == {number, other}


def test_what_was_read_of_a_part_outlives_its_file(spool):
    _, ref = put(spool, 0, 2 * MB)
    payloads = read_timeframe(ref)
    spool.settle(timeframe(0))
    put(spool, 1, 2 * MB)
    np.testing.assert_array_equal(payloads[REF]["value"], bulk(2 * MB, 0)[REF]["value"])


def test_small_ones_and_more_than_a_few_are_removed(spool):
    for i in range(40):
        put(spool, i, 4 * MB)
    put(spool, 40, MB // 2)
    for i in range(41):
        spool.settle(timeframe(i))
    assert 0 < freed.free_bytes(spool.root) <= freed.KEPT_BYTES
    assert spool.n_bytes == 0


def test_what_is_kept_makes_room_when_the_device_is_full(spool):
    put(spool, 0, 2 * MB)
    spool.settle(timeframe(0))
    assert freed.free_bytes(spool.root) > 2 * MB
    tried = []

    def fills(path):
        tried.append(freed.free_bytes(spool.root))
        if tried[-1]:
            raise OSError(errno.ENOSPC, "full")
        Path(path).write_bytes(b"x")

    assert spool.write(timeframe(1), 0, fills) == 1
    assert tried[0] > 2 * MB
    assert tried[1:] == [0]


def test_where_the_system_gives_no_leases_nothing_is_kept(spool, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    put(spool, 0, 2 * MB)
    spool.settle(timeframe(0))
    assert freed.free_bytes(spool.root) == 0
    assert not list(Path(f"{spool.root}/{freed.FOLDER}").iterdir())
