"""A folder of parts is a timeframe; parts of a source make up the file; raw blocks are views of the mapped file."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from stream_tools import N_DATA, assert_same, payloads, timeframe, write_ctf

from o2dask.ctf import CtfError, decode_timeframe, encode_timeframe, read_timeframe
from o2dask.ctf.parts import write_part
from o2dask.errors import ConfigError
from o2dask.stream.sources import open_source
from o2dask.timeframe import TimeframeRef


@pytest.fixture(scope="module")
def ctf(tmp_path_factory):
    return write_ctf(tmp_path_factory.mktemp("ctf") / "tf.ctf", 6)


def write_parts(folder, source, n_readouts, number=0, **options):
    """Write the parts of one timeframe as readouts do; return where it is."""
    folder.mkdir()
    n_bytes = 0
    for k in range(n_readouts):
        reading = next(open_source(source, k, n_readouts, **options).readings(number))
        write_part(str(folder / f"{k}.ctf"), reading.timeframe, reading.batch)
        n_bytes += (folder / f"{k}.ctf").stat().st_size
    return TimeframeRef(id=reading.timeframe, url=str(folder), index=0, n_bytes=n_bytes)


@pytest.mark.parametrize("kind", ["replay", "replay-raw"])
@pytest.mark.parametrize("n_readouts", [1, 2, 3, N_DATA + 4])
def test_the_parts_of_all_readouts_are_the_timeframe(tmp_path, ctf, n_readouts, kind):
    ref = write_parts(tmp_path / "tf", f"{kind}:{ctf}", n_readouts, number=4)
    assert ref.id == timeframe(4)
    assert_same(read_timeframe(ref), payloads(4))
    assert list(map(str, read_timeframe(ref, ["TST/D1/0"]))) == ["TST/D1/0"]


def test_shares_are_as_equal_as_whole_data_allow(ctf):
    sizes = [next(open_source(f"replay:{ctf}", k, 3).readings(0)).batch.nbytes for k in range(3)]
    whole = next(open_source(f"replay:{ctf}").readings(0)).batch.nbytes
    assert max(sizes) < 0.5 * whole
    assert sum(sizes) == pytest.approx(whole, rel=0.1)


def test_a_readout_that_goes_on_gives_what_the_one_before_would_have_given(ctf):
    everything = list(open_source(f"replay:{ctf}", 1, 2).readings(0))
    for first in range(7):
        rest = list(open_source(f"replay:{ctf}", 1, 2).readings(first))
        assert [r.timeframe for r in rest] == [r.timeframe for r in everything[first:]]
        assert all(a.batch.equals(b.batch) for a, b in zip(rest, everything[first:], strict=True))


def test_a_loop_goes_on_where_the_round_before_ended(ctf):
    readings = open_source(f"replay:{ctf}", loop=True).readings(4)
    assert [next(readings).timeframe for _ in range(10)] == [timeframe(i) for i in range(4, 14)]


def test_a_loop_that_uses_up_the_orbits_of_a_run_goes_on_with_the_next(ctf):
    per_run = (1 << 32) // (6 * 32) * 6
    readings = open_source(f"replay:{ctf}", loop=True).readings(per_run - 1)
    assert [next(readings).timeframe for _ in range(2)] == [timeframe(per_run - 1), timeframe(0, run=8)]
    readings = open_source("enumerate:5", loop=True).readings((1 << 27) - 1)
    last, first = (next(readings).timeframe for _ in range(2))
    assert (last.run, first.run, first.first_orbit) == (0, 1, 0)


def test_a_timeframe_that_cannot_be_read_is_lost_and_the_others_are_not(tmp_path, ctf):
    refs = [r.timeframe for r in open_source(f"replay:{ctf}").readings(0)]
    data = bytearray(Path(ctf).read_bytes())
    from o2dask.ctf.reader import CtfReader

    message = CtfReader(ctf)._entries[2].message
    begin = message.offset + message.n_metadata  # offsets of the first string column
    data[begin : begin + 64] = b"\xff" * 64
    broken = tmp_path / "broken.ctf"
    broken.write_bytes(data)
    for k in range(2):
        readings = list(open_source(f"replay:{broken}", k, 2).readings(0))
        assert [r.timeframe for r in readings] == refs
        assert [bool(r.error) for r in readings] == [i == 2 for i in range(6)]
        assert readings[2].batch is None


def test_a_damaged_block_goes_through_as_it_is(tmp_path, ctf):
    from o2dask.ctf.reader import CtfReader

    data = bytearray(Path(ctf).read_bytes())
    message = CtfReader(ctf)._entries[1].message
    data[message.offset + message.n_bytes - 200] ^= 0x40
    broken = tmp_path / "broken.ctf"
    broken.write_bytes(data)
    ref = write_parts(tmp_path / "tf", f"replay:{broken}", 2, number=1)
    with pytest.raises(CtfError, match="checksum differs"):
        read_timeframe(ref)


def test_an_empty_timeframe_is_a_timeframe(tmp_path):
    from o2dask.ctf import CtfWriter

    with CtfWriter(tmp_path / "empty.ctf") as writer:
        writer.write(timeframe(0), {})
    assert read_timeframe(write_parts(tmp_path / "tf", f"replay:{tmp_path / 'empty.ctf'}", 2)) == {}


def test_parts_of_readouts_that_were_missing_are_left_alone(tmp_path, ctf):
    ref = write_parts(tmp_path / "tf", f"replay:{ctf}", 2)
    size = (tmp_path / "tf" / "0.ctf").stat().st_size
    late = TimeframeRef(id=ref.id, url=ref.url, index=0, n_bytes=size, missing=(1,))
    assert set(read_timeframe(late)) < set(payloads(0))


def test_a_part_that_is_gone_damaged_or_alien_is_told(tmp_path, ctf):
    ref = write_parts(tmp_path / "tf", f"replay:{ctf}", 2)
    part = tmp_path / "tf" / "1.ctf"
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CtfError, match=r"1\.ctf"):
        read_timeframe(ref)
    write_part(str(part), timeframe(3), encode_timeframe({}))
    with pytest.raises(CtfError, match="want timeframe"):
        read_timeframe(ref)
    part.write_bytes((tmp_path / "tf" / "0.ctf").read_bytes())
    with pytest.raises(CtfError, match="is in another part"):
        read_timeframe(ref)
    part.unlink()
    with pytest.raises(CtfError, match="a part is gone"):
        read_timeframe(ref)
    (tmp_path / "tf" / "0.ctf").unlink()
    with pytest.raises(CtfError, match="no part of timeframe"):
        read_timeframe(ref)


def test_raw_blocks_are_read_without_a_copy(tmp_path):
    expected = payloads(1, n=100_000)
    write_part(str(tmp_path / "0.ctf"), timeframe(1), encode_timeframe(expected, raw=True))
    before = pa.total_allocated_bytes()
    ref = TimeframeRef(id=timeframe(1), url=str(tmp_path), index=0)
    got = read_timeframe(ref)
    assert pa.total_allocated_bytes() - before < 1 << 20
    assert_same(got, expected)
    for columns in got.values():
        for name in ("x", "cov", "is_edge"):
            array = columns[name]
            assert array.flags.aligned
            assert not array.flags.owndata
            assert not array.flags.writeable
            with pytest.raises(ValueError, match="read-only"):
                array[:1] = 0


@pytest.mark.parametrize("n", [0, 1, 3, 7, 8])
def test_raw_blocks_of_any_length_come_back(n):
    batch = encode_timeframe(payloads(n, n), raw=True)
    assert_same(decode_timeframe(batch), payloads(n, n))


def test_a_raw_block_of_the_wrong_length_is_damaged():
    from o2dask.ctf.blocks import Block, decode_block, raw_block

    block = raw_block(np.arange(5, dtype=np.int32))
    for count in (3, 7, 1 << 40):
        with pytest.raises(CtfError, match="codec raw"):
            decode_block(Block("raw", count, block.data), np.dtype(np.int32))


def give(readout, n_readouts):
    """A user's source that is read from its beginning each time."""
    for i in range(4):
        yield timeframe(i), {ref: c for k, (ref, c) in enumerate(payloads(i).items()) if k % n_readouts == readout}


def give_from(readout, n_readouts, first):
    for i in range(first, 4):
        yield timeframe(i), {}
    yield None


def give_wrong(readout, n_readouts):
    yield "timeframe", {}


@pytest.mark.parametrize("name", ["give", "give_from"])
def test_a_users_source_goes_on_at_a_number(name):
    source = open_source(f"{__file__}:{name}", 0, 2)
    assert [r.timeframe for r in source.readings(2) if r] == [timeframe(2), timeframe(3)]


def test_a_users_parts_are_the_timeframe(tmp_path):
    assert set(read_timeframe(write_parts(tmp_path / "tf", f"{__file__}:give", 2))) == set(payloads(0))


def test_a_users_source_that_gives_something_else_is_told():
    with pytest.raises(ConfigError, match=r"want .TimeframeId"):
        next(open_source(f"{__file__}:give_wrong").readings(0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("replay:/nowhere/tf.ctf", "no such file"),
        ("enumerate:many", "want a number"),
        ("tf.ctf", "want replay:"),
        ("no.such.module:give", "no.such.module"),
        (f"{__file__}:N_DATA", "function or class"),
    ],
)
def test_a_source_that_is_not_there_is_told(text, message):
    with pytest.raises(ConfigError, match=message):
        open_source(text)


def test_what_cannot_be_read_again_cannot_loop():
    with pytest.raises(ConfigError, match="leave out --loop"):
        open_source(f"{__file__}:give", loop=True)
