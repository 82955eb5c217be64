"""The CTF container: what is written is read with its schema, files appear whole or not at all, and are listed."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from ctf_payloads import HITS, PARTICLES, assert_same, hits, particles, timeframe, write

from o2dask.columns import Columns, Schema
from o2dask.ctf import (
    CtfError,
    CtfReader,
    CtfWriter,
    decode_timeframe,
    encode_timeframe,
    list_timeframes,
    read_timeframe,
    writer,
)
from o2dask.ctf.batch import BLOCK_BYTES
from o2dask.errors import CommitError, ConfigError, SpecError

# ---- there and back


def test_what_is_written_is_read_with_its_schema(tmp_path):
    made = write(tmp_path / "tf.ctf")
    reader = CtfReader(tmp_path / "tf.ctf")
    assert len(reader) == 3 and not reader.damages
    for i, payloads in enumerate(made):
        assert reader.timeframe_id(i) == timeframe(i)
        assert_same(reader.read(i), payloads)


def test_a_timeframe_without_payloads_and_a_file_without_timeframes_are_valid(tmp_path):
    with CtfWriter(tmp_path / "tf.ctf") as ctf:
        ctf.write(timeframe(0), {})
    assert CtfReader(tmp_path / "tf.ctf").read(0) == {}
    with CtfWriter(tmp_path / "none.ctf"):
        pass
    reader = CtfReader(tmp_path / "none.ctf")
    assert len(reader) == 0 and not reader.damages
    assert list_timeframes([str(tmp_path / "none.ctf")]) == []


def test_long_columns_are_several_blocks_and_read_as_one():
    n = BLOCK_BYTES + 5
    columns = {"a": np.arange(n, dtype=np.uint8), "b": np.zeros((n, 1), np.int16)}
    payload = {HITS: Columns(Schema.infer("TST/HITS", columns), columns)}
    batch = encode_timeframe(payload)
    assert batch.column("count").to_pylist() == [n, BLOCK_BYTES, 5, BLOCK_BYTES // 2, BLOCK_BYTES // 2, 5]
    assert_same(decode_timeframe(batch), payload)


def test_only_selected_payloads_are_decoded():
    batch = encode_timeframe({HITS: hits(20), PARTICLES: particles(10)})
    data = batch.column("data").to_pylist()
    data[1] = b"garbage"  # a block of HITS
    broken = batch.set_column(7, "data", pa.array(data, pa.large_binary()))
    broken = broken.cast(batch.schema)
    assert list(decode_timeframe(broken, ["MC/*"])) == [PARTICLES]
    with pytest.raises(CtfError, match="here, block TST/HITS/3/time: damaged"):
        decode_timeframe(broken, ["*"], where="here")


def test_the_same_timeframe_is_the_same_bytes(tmp_path):
    write(tmp_path / "a.ctf")
    write(tmp_path / "b.ctf")
    assert (tmp_path / "a.ctf").read_bytes() == (tmp_path / "b.ctf").read_bytes()


def test_arrow_reads_the_file_as_documented(tmp_path):
    write(tmp_path / "tf.ctf")
    with pa.ipc.open_file(pa.OSFile(str(tmp_path / "tf.ctf"))) as file:
        assert file.num_record_batches == 3
        batch, metadata = file.get_batch_with_custom_metadata(2)
    assert json.loads(dict(metadata)[b"o2dask.ctf"])["tf_counter"] == 2
    assert json.loads(file.schema.metadata[b"o2dask.ctf"])["run"] == 529399
    assert batch.schema.names == ["detector", "field", "dtype", "count", "codec", "parameters", "checksum", "data"]


# ---- writing


def test_nothing_appears_under_the_name_before_the_end_nor_after_a_failure(tmp_path):
    with CtfWriter(tmp_path / "tf.ctf") as ctf:
        ctf.write(timeframe(0), {})
        assert [p.name for p in tmp_path.iterdir()] == ["tf.ctf.part"]
    assert [p.name for p in tmp_path.iterdir()] == ["tf.ctf"]
    before = (tmp_path / "tf.ctf").read_bytes()
    with pytest.raises(RuntimeError, match="stop"), CtfWriter(tmp_path / "tf.ctf") as ctf:
        ctf.write(timeframe(0), {HITS: hits(10)})
        raise RuntimeError("stop")
    assert [p.name for p in tmp_path.iterdir()] == ["tf.ctf"]
    assert (tmp_path / "tf.ctf").read_bytes() == before


def test_a_timeframe_cannot_be_written_twice(tmp_path):
    with pytest.raises(SpecError, match="TF 0 orbit 0 is written twice"), CtfWriter(tmp_path / "tf.ctf") as ctf:
        ctf.write(timeframe(0), {})
        ctf.write(timeframe(0), {})


def test_a_place_that_cannot_be_written_is_a_commit_error(tmp_path):
    with (
        pytest.raises(CommitError, match=r"cannot write .*tf\.ctf: .*choose another place"),
        CtfWriter(tmp_path / "no" / "tf.ctf"),
    ):
        pass


def test_a_full_disk_is_a_commit_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer, "_sync", full)
    with pytest.raises(CommitError, match="No space left on device; free space"), CtfWriter(tmp_path / "tf.ctf") as ctf:
        ctf.write(timeframe(0), {})
    assert list(tmp_path.iterdir()) == []


# ---- listing


def test_files_globs_lists_and_urls_are_listed_once_each(tmp_path):
    import fsspec

    write(tmp_path / "a.ctf", (0, 10))
    os.rename(tmp_path / "a.ctf", tmp_path / "x.ctf")  # noqa: PTH104
    with CtfWriter(tmp_path / "y.ctf") as ctf:
        ctf.write(timeframe(9), {HITS: hits(4)})
    (tmp_path / "list.txt").write_text("# two files\nx.ctf\n\ny.ctf # again\n")
    refs = list_timeframes([str(tmp_path / "*.ctf"), f"@{tmp_path / 'list.txt'}", str(tmp_path / "x.ctf")])
    assert [ref.id.tf_counter for ref in refs] == [0, 1, 9]
    assert all(ref.n_bytes > 0 and Path(ref.url).is_absolute() for ref in refs)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/ctf/y.ctf", (tmp_path / "y.ctf").read_bytes())
    for url in ("memory://ctf/y.ctf", "memory://ctf/*.ctf"):
        (ref,) = list_timeframes([url])
        assert_same(read_timeframe(ref), {HITS: hits(4)})


@pytest.mark.parametrize(
    "name, error, text",
    [
        ("missing.ctf", ConfigError, "no such file; check the path"),
        ("empty.ctf", ConfigError, "is empty; its writing never finished"),
        ("folder", ConfigError, "is a folder; name the CTF files in it"),
        ("text.ctf", CtfError, "not a compressed timeframe file"),
        ("alien.arrow", CtfError, "not a compressed timeframe file"),
        ("other.ctf", CtfError, "CTF version 99, this o2dask reads 1"),
        ("*.nothing", ConfigError, "no file matches; check the pattern"),
        ("@nolist.txt", ConfigError, "no such list of files"),
        ("@empty.ctf", ConfigError, "lists no file"),
        ("@circle.txt", ConfigError, "lists name each other"),
        ("nosuchprotocol://x/y.ctf", ConfigError, "cannot be opened"),
        ("memory://absent.ctf", ConfigError, "no such file"),
    ],
)
def test_what_cannot_be_read_says_so_in_one_line_with_the_remedy(tmp_path, name, error, text, monkeypatch):
    (tmp_path / "empty.ctf").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.ctf").write_text("a text, longer than the magic of Arrow")
    (tmp_path / "circle.txt").write_text("@circle.txt")
    with pa.OSFile(str(tmp_path / "alien.arrow"), "wb") as sink, pa.ipc.new_file(sink, pa.schema([])) as alien:
        alien.write_batch(pa.RecordBatch.from_arrays([], names=[]))
    monkeypatch.setattr(writer, "CTF_VERSION", 99)
    write(tmp_path / "other.ctf", (5,))
    monkeypatch.undo()
    path = name if "://" in name else "@" + str(tmp_path / name[1:]) if name[0] == "@" else str(tmp_path / name)
    with pytest.raises(error, match=text) as caught:
        list_timeframes([path])
    assert "\n" not in str(caught.value) and name.strip("@*").split("/")[-1] in str(caught.value)


def test_one_timeframe_in_two_files_is_refused(tmp_path):
    write(tmp_path / "a.ctf", (1,))
    write(tmp_path / "b.ctf", (1,))
    with pytest.raises(ConfigError, match=r"orbit 0 is in .*a\.ctf and in .*b\.ctf"):
        list_timeframes([str(tmp_path / "*.ctf")])


def test_a_file_replaced_after_listing_is_noticed(tmp_path):
    write(tmp_path / "tf.ctf", (1, 2))
    refs = list_timeframes([str(tmp_path / "tf.ctf")])
    read_timeframe(refs[1])
    with CtfWriter(tmp_path / "tf.ctf") as ctf:
        ctf.write(timeframe(7), {})
    with pytest.raises(CtfError, match="the file has changed, list it again"):
        read_timeframe(refs[1])
    (tmp_path / "tf.ctf").unlink()
    with pytest.raises(CtfError, match="cannot be read any more"):
        read_timeframe(refs[1])
