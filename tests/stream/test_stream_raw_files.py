"""Raw timeframe files, as DataDistribution writes them: what is replayed is what they hold; what is lost is told."""

import struct
from pathlib import Path

import numpy as np
import pytest
from stream_tools import assert_same, payloads, timeframe

from o2dask.ctf.batch import decode_timeframe
from o2dask.dataspecs import DataRef
from o2dask.errors import ConfigError
from o2dask.stream.arrow_payload import bytes_to_columns
from o2dask.stream.headers import DataHeader, pack_stack
from o2dask.stream.messages import timeframe_message
from o2dask.stream.sources import open_source
from o2dask.timeframe import TimeframeId

LINK = DataRef("TPC", "RAWDATA", 7)


def blocks(i, data=None, split_bytes=None, id_=None):
    """Return headers and payloads of a timeframe, end to end."""
    parts = timeframe_message(id_ or timeframe(i), payloads(i) if data is None else data, split_bytes=split_bytes)
    return b"".join(bytes(part) for part in parts)


def own(origin, description, payload):
    """Return one of DataDistribution's own blocks; DataRef would not take its origin '***'."""
    header = bytearray(pack_stack(DataHeader(ref=DataRef("FLP", description, 0), payload_size=len(payload))))
    header[48:52] = origin
    return bytes(header) + payload


def with_meta(data, n_index=3):
    """Return a timeframe as SubTimeFrameFileWriter has it: meta, index, blocks."""
    index = own(b"***\0", "FILE_STF_INDEX", bytes(48 * n_index))
    size = 96 + 24 + len(index) + len(data)
    return own(b"FLP\0", "FILE_STF_META", struct.pack("<QQQ", 1, size, 1700000000000)) + index + data


def written(path: Path, *chunks: bytes) -> str:
    path.write_bytes(b"".join(chunks))
    return f"raw:{path}"


def read(text, n=1, **options):
    """Return what readouts give together, timeframe by timeframe; errors stay errors."""
    given = [list(open_source(text, k, n, **options).readings(0)) for k in range(n)]
    assert len({tuple(r.timeframe for r in one) for one in given}) == 1
    found = []
    for readings in zip(*given, strict=True):
        data = {}
        for reading in readings:
            data |= {} if reading.error else decode_timeframe(reading.batch, None, "here")
        found.append((readings[0].timeframe, readings[0].error or data))
    return found


@pytest.mark.parametrize("has_meta", [True, False])
@pytest.mark.parametrize("n_readouts", [1, 3])
def test_what_is_replayed_is_what_the_file_holds(tmp_path, has_meta, n_readouts):
    wrap = with_meta if has_meta else bytes
    text = written(tmp_path / "a.tf", *(wrap(blocks(i)) for i in range(3)))
    found = read(text, n_readouts)
    assert [id_ for id_, _ in found] == [timeframe(i) for i in range(3)]
    for i, (_, data) in enumerate(found):
        assert_same(data, payloads(i))


def test_shares_of_a_payload_and_blocks_of_a_link_become_one(tmp_path):
    pages = np.arange(1000, dtype=np.uint8)
    raw = {LINK: bytes_to_columns(pages.tobytes())}
    text = written(tmp_path / "a.tf", with_meta(blocks(0, raw, split_bytes=300)), with_meta(2 * blocks(1, raw)))
    (_, first), (_, second) = read(text)
    assert first[LINK]["bytes"].tolist() == pages.tolist()
    assert second[LINK]["bytes"].tolist() == 2 * pages.tolist(), "heartbeat frames that come without being counted"
    one_header = bytearray(blocks(0, raw, split_bytes=500))
    for at in (0, len(one_header) // 2):
        one_header[at + 68 : at + 72] = struct.pack("<I", 2)  # index = parts: a sequence
    (_, third) = read(written(tmp_path / "b.tf", bytes(one_header)))[0]
    assert third[LINK]["bytes"].tolist() == pages.tolist()


def test_files_of_several_flps_are_put_together(tmp_path):
    halves = lambda i, k: {ref: c for j, (ref, c) in enumerate(payloads(i).items()) if j % 2 == k}  # noqa: E731
    for k in range(2):
        written(tmp_path / f"flp{k}.tf", *(with_meta(blocks(i, halves(i, k))) for i in range(3)))
    found = read(f"raw:{tmp_path}/flp*.tf", 2)
    for i, (id_, data) in enumerate(found):
        assert id_ == timeframe(i)
        assert_same(dict(sorted(data.items(), key=lambda item: str(item[0]))), payloads(i))
    written(tmp_path / "flp2.tf", with_meta(blocks(1, halves(1, 0))))
    with pytest.raises(ConfigError, match=r"is in .*flp0\.tf and in .*flp2\.tf; leave one"):
        open_source(f"raw:{tmp_path}/flp*.tf")


@pytest.mark.parametrize("cut", [10, 100, 400], ids="{} bytes short".format)
@pytest.mark.parametrize("has_meta", [True, False])
def test_a_file_that_is_cut_short_costs_its_last_timeframe(tmp_path, cut, has_meta):
    wrap = with_meta if has_meta else bytes
    text = written(tmp_path / "a.tf", b"".join(wrap(blocks(i)) for i in range(3))[:-cut])
    found = read(text, 2)
    assert [id_ for id_, _ in found] == [timeframe(i) for i in range(3)]
    assert_same(found[1][1], payloads(1))
    assert "what comes after is lost" in found[2][1]
    assert "ends behind the end of the file" in open_source(text).notices[0]


def test_rubbish_after_a_whole_timeframe_costs_none(tmp_path):
    text = written(tmp_path / "a.tf", with_meta(blocks(0)), b"\0" * 500)
    assert_same(read(text)[0][1], payloads(0))
    assert "want magic 'O2O2'" in open_source(text).notices[0]


def test_a_datum_that_is_damaged_or_lacks_a_share_costs_its_timeframe(tmp_path):
    damaged = bytearray(blocks(0))
    at = damaged.index(b"TST", 48)
    damaged[at + 60 : at + 300] = b"\xff" * 240
    whole = blocks(1, {LINK: bytes_to_columns(bytes(900))}, split_bytes=300)
    text = written(tmp_path / "a.tf", with_meta(bytes(damaged)), with_meta(whole[: len(whole) * 2 // 3]))
    (_, first), (_, second) = read(text)
    assert "no Arrow stream" in first and "a.tf" in first
    assert "TPC/RAWDATA/7 is in 3 shares, of which 2 are there" in second


def test_timeframes_that_cannot_be_told_apart_are_not_mixed(tmp_path):
    same = TimeframeId(run=0, tf_counter=0, first_orbit=0)
    text = written(tmp_path / "a.tf", *(with_meta(blocks(i, id_=same)) for i in range(2)))
    assert_same(read(text)[0][1], payloads(0))
    assert "comes a second time" in open_source(text).notices[0]


def test_the_length_of_timeframes_is_that_from_one_to_the_next(tmp_path):
    ids = [TimeframeId(run=5, tf_counter=3 + i, first_orbit=1000 + 128 * i) for i in range(3)]
    text = written(tmp_path / "a.tf", *(with_meta(blocks(i, id_=id_)) for i, id_ in enumerate(ids)))
    readings = open_source(text, loop=True).readings(0)
    given = [next(readings).timeframe for _ in range(4)]
    assert [(t.tf_counter, t.first_orbit, t.n_orbits) for t in given] == [
        *((3 + i, 1000 + 128 * i, 128) for i in range(4))
    ], "the second round goes on where the first ended"
    assert open_source(text, loop=True).number_of(given[3]) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not O2's at all, of whatever length it is ...................", "want magic"),
        (b"", "cannot mmap an empty file"),
        (with_meta(b""), "they hold no timeframe"),
        (pack_stack(DataHeader(ref=LINK, payload_size=1 << 50)), "ends behind the end"),
    ],
    ids=["alien", "empty", "no data", "huge"],
)
def test_a_file_that_holds_nothing_to_replay_is_refused(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message):
        open_source(written(tmp_path / "a.tf", content))
    with pytest.raises(ConfigError, match=r"missing\.tf: No such file"):
        open_source(f"raw:{tmp_path}/missing.tf")
