"""The CTF container: what is written is read, files appear whole or not at all, damage is named."""

import errno
import json
import logging
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.context import DataAllocator, InputRecord, ProcessingContext, WorkerState
from o2dask.ctf import (
    CtfError,
    CtfReader,
    CtfSink,
    CtfWriter,
    ctf_info,
    ctf_reader,
    decode_timeframe,
    encode_timeframe,
    list_timeframes,
    read_timeframe,
    writer,
)
from o2dask.ctf.batch import BLOCK_BYTES
from o2dask.errors import CommitError, ConfigError, O2DaskError, SpecError
from o2dask.runners.sink import Sink
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId, TimeframeRef

HITS, PARTICLES = DataRef("TST", "HITS", 3), DataRef("MC", "PARTICLES")

HIT_SCHEMA = Schema(
    "TST/HITS",
    (
        Column(name="time", dtype="uint32", unit="ns", text="sorted"),
        Column(name="adc", dtype="uint16"),
        Column(name="label", dtype="int32", text="-1 noise"),
        Column(name="cov", dtype="float32", unit="cm", shape=(2, 3)),
        Column(name="is_edge", dtype="bool"),
        Column(name="ids", dtype="int16", is_jagged=True),
        Column(name="wide", dtype="int64"),
    ),
    version=3,
)


def hits(n, seed=0):
    rng = np.random.default_rng([seed, n])
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 4, n))]).astype(np.int32)
    return Columns(
        HIT_SCHEMA,
        {
            "time": np.sort(rng.integers(0, 1 << 31, n)).astype(np.uint32),
            "adc": rng.exponential(40, n).astype(np.uint16),
            "label": rng.integers(-1, 500, n).astype(np.int32),
            "cov": rng.normal(size=(n, 2, 3)).astype(np.float32),
            "is_edge": rng.random(n) < 0.1,
            "ids": Jagged(offsets, rng.integers(-300, 300, offsets[-1]).astype(np.int16)),
            "wide": rng.integers(-(1 << 63), (1 << 63) - 1, n, dtype=np.int64),
        },
    )


def particles(n):
    columns = {"pdg": np.repeat(np.int32(211), n), "px": np.linspace(0, 1, n, dtype=np.float32)}
    return Columns(Schema.infer("MC/PARTICLES", columns), columns)


def timeframe(i):
    return TimeframeId(run=529399, tf_counter=i, first_orbit=32 * i)


def write(path, sizes=(0, 50, 700)):
    made = [{HITS: hits(n), PARTICLES: particles(n // 2)} for n in sizes]
    with CtfWriter(path) as ctf:
        for i, payloads in enumerate(made):
            ctf.write(timeframe(i), payloads)
    return made


def assert_same(got, expected):
    assert list(got) == list(expected)
    for ref, columns in expected.items():
        assert got[ref].equals(columns), ref


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


# ---- damage


def test_a_flipped_bit_in_any_block_is_named_and_costs_its_timeframe_only(tmp_path):
    made = write(tmp_path / "tf.ctf")
    whole = (tmp_path / "tf.ctf").read_bytes()
    batch = CtfReader(tmp_path / "tf.ctf").batch(1)
    for i in range(1, batch.num_rows):
        data = batch.column("data")[i].as_py()
        if len(data) < 8:
            continue
        broken = bytearray(whole)
        broken[whole.index(data) + len(data) // 2] ^= 4
        (tmp_path / "broken.ctf").write_bytes(broken)
        reader = CtfReader(tmp_path / "broken.ctf")
        name = f"{batch.column('detector')[i]}/{batch.column('field')[i]}"
        with pytest.raises(CtfError, match=rf"broken\.ctf, timeframe run 529399 TF 1 orbit 32, block {name}: damaged"):
            reader.read(1)
        assert_same(reader.read(0), made[0])
        assert_same(reader.read(2), made[2])


def test_a_truncated_file_yields_its_complete_timeframes_and_reports_the_rest(tmp_path, caplog):
    made = write(tmp_path / "tf.ctf")
    whole = (tmp_path / "tf.ctf").read_bytes()
    third = CtfReader(tmp_path / "tf.ctf").batch(2)
    block = third.column("data")[4].as_py()  # 0 is the schema, then time, adc, label, cov
    (tmp_path / "cut.ctf").write_bytes(whole[: whole.index(block) + 10])
    reader = CtfReader(tmp_path / "cut.ctf")
    assert_same(reader.read(1), made[1])
    cut_off = (
        r"cut\.ctf, timeframe run 529399 TF 2 orbit 64: cut off, \d+ bytes are missing, from block TST/HITS/3/cov on"
    )
    with pytest.raises(CtfError, match=cut_off):
        reader.read(2)
    assert [d.timeframe for d in reader.damages] == [timeframe(2), None]
    with caplog.at_level(logging.WARNING):
        refs = list_timeframes([str(tmp_path / "cut.ctf")])
    assert [ref.id.tf_counter for ref in refs] == [0, 1, 2]
    assert "from block TST/HITS/3/cov on" in caplog.text and "the file has no end" in caplog.text
    damages = []
    list_timeframes([str(tmp_path / "cut.ctf")], damages)
    assert len(damages) == 2
    info = ctf_info(str(tmp_path / "cut.ctf"))
    assert [bool(t.error) for t in info.timeframes] == [False, False, True] and len(info.damages) == 2


def test_losing_the_footer_alone_loses_no_timeframe(tmp_path):
    made = write(tmp_path / "tf.ctf")
    (tmp_path / "cut.ctf").write_bytes((tmp_path / "tf.ctf").read_bytes()[:-20])
    reader = CtfReader(tmp_path / "cut.ctf")
    assert len(reader) == 3 and "the file has no end" in str(reader.damages[0])
    assert_same(reader.read(2), made[2])


def test_a_damaged_identity_hides_no_other_timeframe(tmp_path):
    made = write(tmp_path / "tf.ctf")
    whole = bytearray((tmp_path / "tf.ctf").read_bytes())
    at = whole.index(b'"tf_counter": 1')
    whole[at + 14] = ord("2")
    (tmp_path / "tf.ctf").write_bytes(whole)
    reader = CtfReader(tmp_path / "tf.ctf")
    assert [reader.timeframe_id(i).tf_counter for i in range(len(reader))] == [0, 2]
    assert "timeframe #1: the identity of the timeframe is damaged" in str(reader.damages[0])
    assert_same(reader.read(1), made[2])


def test_random_damage_never_crashes_and_never_passes(tmp_path):
    made = write(tmp_path / "tf.ctf", (0, 40, 60))
    whole = (tmp_path / "tf.ctf").read_bytes()
    rng = np.random.default_rng(7)
    n_refused = 0
    for attempt in range(400):
        broken = bytearray(whole)
        if attempt % 4 == 0:
            del broken[int(rng.integers(0, len(broken))) :]
        else:  # metadata is small: half of the flips go there
            end = len(broken) if attempt % 2 else 1500
            for at in rng.integers(0, end, rng.integers(1, 9)):
                broken[at] ^= 1 << int(rng.integers(0, 8))
        path = tmp_path / "broken.ctf"
        path.write_bytes(broken)
        try:
            reader = CtfReader(path)
            ctf_info(str(path))
        except O2DaskError:
            n_refused += 1
            continue
        for i in range(len(reader)):
            try:
                assert_same(reader.read(i), made[reader.timeframe_id(i).tf_counter])
            except CtfError as error:
                assert "broken.ctf, timeframe run" in str(error)
                n_refused += 1
    assert n_refused > 200


# ---- info, source, sink


def test_info_tells_sizes_ratios_and_codecs_per_field(tmp_path):
    write(tmp_path / "tf.ctf")
    info = ctf_info(str(tmp_path / "tf.ctf"))
    assert [t.timeframe for t in info.timeframes] == [timeframe(i) for i in range(3)]
    assert info.n_bytes == sum(ref.n_bytes for ref in CtfReader(tmp_path / "tf.ctf").refs())
    pdg = next(f for f in info.fields if f.name == "MC/PARTICLES/0/pdg")
    assert (pdg.dtype, pdg.n_values, pdg.native_bytes, pdg.codecs) == ("int32", 375, 1500, ("constant",))
    adc = next(f for f in info.fields if f.name == "TST/HITS/3/adc")
    assert 1 < adc.ratio == adc.native_bytes / adc.n_bytes


def context(spec, ref):
    return ProcessingContext(
        spec=spec,
        source=ref,
        inputs=InputRecord({}),
        outputs=DataAllocator(spec.outputs),
        options={},
        state=WorkerState(),
    )


def test_the_source_makes_its_declared_outputs_and_counts_them(tmp_path):
    made = write(tmp_path / "tf.ctf")
    ref = list_timeframes([str(tmp_path / "tf.ctf")])[2]
    spec = ctf_reader("hits:TST/HITS/3;absent:TST/ABSENT/0?lifetime=optional")
    ctx = context(spec, ref)
    spec.algorithm(ctx)
    ctx.outputs.check_complete()
    assert_same(ctx.outputs.made, {HITS: made[2][HITS]})
    assert ctx.counters == {"ctf_bytes": ref.n_bytes, "hits": 700}


def test_a_datum_that_is_not_in_the_file_is_named(tmp_path):
    write(tmp_path / "tf.ctf")
    spec = ctf_reader("TST/ABSENT/0")
    with pytest.raises(CtfError, match=r"tf\.ctf, timeframe run 529399 TF 0 orbit 0: has no TST/ABSENT/0"):
        spec.algorithm(context(spec, list_timeframes([str(tmp_path / "tf.ctf")])[0]))


def refs_of(n):
    return [TimeframeRef(id=timeframe(i), url="", index=i) for i in range(n)]


def test_the_sink_joins_its_parts_in_the_order_asked_for(tmp_path):
    sink = CtfSink(str(tmp_path / "out.ctf"), ("TST/*",))
    assert isinstance(sink, Sink)
    sink.prepare()
    refs = refs_of(3)
    for ref in reversed(refs):
        assert not sink.is_committed(ref)
        receipt = sink.commit(ref, {HITS: hits(ref.index + 1)})
        assert sink.is_committed(ref)
        (name,) = receipt.files
        assert (tmp_path / name).stat().st_size == receipt.n_bytes and receipt.rows == {"TST/HITS/3": ref.index + 1}
    again = (tmp_path / name).read_bytes()
    assert sink.commit(refs[0], {HITS: hits(1)}) == receipt
    assert (tmp_path / name).read_bytes() == again
    sink.finalize(refs)
    assert [p.name for p in tmp_path.iterdir()] == ["out.ctf"]
    reader = CtfReader(tmp_path / "out.ctf")
    assert [reader.timeframe_id(i) for i in range(3)] == [ref.id for ref in refs]
    assert_same(reader.read(2), {HITS: hits(3)})
    assert all(map(sink.is_committed, refs))


def test_a_resumed_run_adds_to_the_joined_file(tmp_path):
    sink = CtfSink(str(tmp_path / "out.ctf"))
    refs = refs_of(3)
    for batch in ([0, 2], [1]):
        sink.prepare()
        for i in batch:
            sink.commit(refs[i], {HITS: hits(i)})
        sink.finalize([refs[i] for i in sorted({0, 2} | set(batch))])
    sink.finalize(refs)
    reader = CtfReader(tmp_path / "out.ctf")
    assert [reader.timeframe_id(i) for i in range(3)] == [ref.id for ref in refs]
    assert [p.name for p in tmp_path.iterdir()] == ["out.ctf"]


def test_a_part_that_is_not_whole_is_not_committed_and_a_missing_one_is_no_file(tmp_path):
    sink = CtfSink(str(tmp_path / "out.ctf"))
    sink.prepare()
    (ref,) = refs_of(1)
    part = tmp_path / sink.commit(ref, {HITS: hits(9)}).files[0]
    part.write_bytes(part.read_bytes()[:-30])
    assert not sink.is_committed(ref)
    with pytest.raises(CommitError, match="orbit 0 was never committed"):
        sink.finalize([ref])
    assert not (tmp_path / "out.ctf").exists()


def test_a_sink_that_cannot_work_says_so_before_the_first_timeframe(tmp_path):
    with pytest.raises(ConfigError, match=r"is a folder; name a file"):
        CtfSink(str(tmp_path)).prepare()
    with pytest.raises(ConfigError, match=r"there is no folder .*; make it first"):
        CtfSink(str(tmp_path / "no" / "x.ctf")).prepare()


def _commit(path):
    sink = CtfSink(path)
    for _ in range(5):
        sink.commit(refs_of(1)[0], {HITS: hits(100)})


def test_two_processes_may_commit_one_timeframe_at_a_time(tmp_path):
    sink = CtfSink(str(tmp_path / "out.ctf"))
    sink.prepare()
    context = multiprocessing.get_context("forkserver")
    workers = [context.Process(target=_commit, args=(sink.path,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert sink.is_committed(refs_of(1)[0])
    sink.finalize(refs_of(1))
    assert_same(CtfReader(tmp_path / "out.ctf").read(0), {HITS: hits(100)})
