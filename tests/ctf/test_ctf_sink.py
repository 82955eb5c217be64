"""CTF files at the ends of a workflow: the source that reads, the sink that commits, and what a file tells."""

import multiprocessing

import pytest
from ctf_payloads import HITS, assert_same, hits, timeframe, write

from o2dask.context import DataAllocator, InputRecord, ProcessingContext, WorkerState
from o2dask.ctf import (
    CtfError,
    CtfReader,
    CtfSink,
    CtfWriter,
    ctf_info,
    ctf_reader,
    list_timeframes,
)
from o2dask.errors import CommitError, ConfigError
from o2dask.sink import Sink
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeRef


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


def test_the_source_reads_all_of_a_family_that_there_is(tmp_path):
    data = {DataRef("TPC", "RAWDATA", k): hits(k) for k in (3, 11)}
    with CtfWriter(tmp_path / "raw.ctf") as ctf:
        ctf.write(timeframe(0), {**data, HITS: hits(1)})
    (ref,) = list_timeframes([str(tmp_path / "raw.ctf")])
    spec = ctf_reader("raw:TPC/RAWDATA/*;none:TPC/NONE/*?lifetime=optional")
    ctx = context(spec, ref)
    spec.algorithm(ctx)
    assert_same(ctx.outputs.made, data)
    assert ctx.counters["raw"] == sum(columns.n_rows for columns in data.values())
    spec = ctf_reader("TPC/NONE/*")
    with pytest.raises(CtfError, match=r"has no TPC/NONE/\*"):
        spec.algorithm(context(spec, ref))


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
