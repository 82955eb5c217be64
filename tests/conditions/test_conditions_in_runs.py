"""Conditions of timeframes: the clock of a run, the cache of a worker, and inputs of processors."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from root_objects import root_vector

from o2dask.columns import Column, Columns, Schema
from o2dask.conditions import (
    FOREVER_MS,
    CachedStore,
    ConditionError,
    ConditionFetcher,
    ConditionNotFoundError,
    RunInfo,
    SnapshotStore,
    load_run_info,
    open_store,
    put_run_info,
    snapshot,
)
from o2dask.context import WorkerState
from o2dask.errors import ConfigError, ShapeError, WorkflowError
from o2dask.specs import DataProcessorSpec, DataRef, WorkflowSpec, parse_inputs
from o2dask.timeframe import BC_NS, BCS_PER_ORBIT, TimeframeId, TimeframeRef
from o2dask.workflow import Topology, compile_workflow, show
from o2dask.workflow.execute import run_task
from o2dask.workflow.planner import plan

RUN = RunInfo(run=505673, start_ms=1_000_000, end_ms=2_000_000, orbit_reset_us=999_000_000)
FIELD = DataRef("GLO", "FIELD")


def timeframe(first_orbit=0, run=505673):
    return TimeframeId(run=run, tf_counter=0, first_orbit=first_orbit)


@given(st.integers(0, (1 << 32) - 1), st.integers(0, 2_000_000_000_000_000))
def test_the_time_of_a_timeframe_is_that_of_its_first_orbit_rounded_up(orbit, reset_us):
    info = RunInfo(run=1, start_ms=0, end_ms=1, orbit_reset_us=reset_us)
    exact = (reset_us + Fraction(orbit) * BCS_PER_ORBIT * Fraction(BC_NS) / 1000) / 1000
    assert 0 <= info.timestamp(timeframe(orbit, run=1)) - exact < 1 + Fraction(1, 1000)


def test_a_run_is_found_under_its_number_and_no_other_timeframe_is_taken(store):
    put_run_info(store, RUN)
    assert load_run_info(store, RUN.run) == RUN
    with pytest.raises(ConditionNotFoundError):
        load_run_info(store, RUN.run + 1)
    with pytest.raises(ConfigError, match="of that run"):
        RUN.timestamp(timeframe(run=7))


def test_a_run_as_ccdb_describes_it_is_read(store):
    metadata = {"SOR": "1000000", "EOR": "2000000"}
    store.put("RCT/Info/RunInformation", b"", 505673, 505674, metadata=metadata)
    store.put("CTP/Calib/OrbitReset", root_vector([999_000_000]), 900_000, FOREVER_MS)
    assert load_run_info(store, 505673) == RUN
    store.put("CTP/Calib/OrbitReset", root_vector([]), 900_000, FOREVER_MS)
    with pytest.raises(ConditionError, match="want a vector with the time of orbit 0"):
        load_run_info(store, 505673)
    store.put("RCT/Info/RunInformation", b"", 505673, 505674, metadata={"SOR": "soon"})
    with pytest.raises(ConditionError, match="want metadata SOR and EOR"):
        load_run_info(store, 505673)
    store.put("RCT/Info/RunInformation", {"run": 505673}, 505673, 505674)
    with pytest.raises(ConditionError, match="not the description of a run"):
        load_run_info(store, 505673)


class Counting:
    """A store that counts what it is asked and can be slow."""

    url = "counting://"

    def __init__(self, store):
        self.store, self.n, self.gate = store, 0, None

    def get(self, *args, **more):
        self.n += 1
        if self.gate:
            self.gate.wait(60)
        return self.store.get(*args, **more)


def test_a_cache_asks_once_per_interval_and_limit(store):
    store.put("A/B", {"x": np.ones(4)}, 0, 100, created=1)
    store.put("A/B", {"x": np.zeros(4)}, 50, 60, created=2)
    counting = Counting(store)
    cached = CachedStore(counting)
    for t in (0, 49, 50, 59, 60, 99, 10, 55):
        cached.get("A/B", t)
    assert (counting.n, cached.counters.misses, cached.counters.hits) == (3, 3, 5)
    cached.get("A/B", 55, created_not_after=1)
    assert counting.n == 4
    assert cached.get("A/B", 1).content is cached.get("A/B", 2).content


def test_a_cache_keeps_no_more_than_its_bound_and_lets_the_oldest_go(store):
    for name in "abc":
        store.put(f"A/{name}", bytes(1000), 0, 10)
    counting = Counting(store)
    cached = CachedStore(counting, max_bytes=2500)
    for name in ("a", "b", "a", "c", "a", "b"):
        cached.get(f"A/{name}", 5)
        assert cached.n_bytes <= 2500
    assert (counting.n, cached.counters.evictions) == (4, 2)
    tiny = CachedStore(counting, max_bytes=0)
    assert tiny.get("A/a", 5).header == tiny.get("A/a", 6).header
    assert (tiny.counters.hits, tiny.n_bytes) == (1, 1000)


def test_threads_that_want_the_same_wait_for_one_answer(store):
    store.put("A/B", 1, 0, 10)
    counting = Counting(store)
    counting.gate = threading.Event()
    cached = CachedStore(counting)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(cached.get, "A/B", 5) for _ in range(4)]
        counting.gate.set()
        assert {w.result().content for w in waiting} == {1}
    assert counting.n == 1


def test_a_cache_travels_empty(store):
    store.put("A/B", 1, 0, 10)
    cached = CachedStore(store)
    cached.get("A/B", 5)
    again = pickle.loads(pickle.dumps(cached))
    assert (again.n_bytes, again.get("A/B", 5).content) == (0, 1)


def test_a_snapshot_of_a_run_brings_the_clock_along_and_the_same_objects_make_the_same_bytes(store, tmp_path):
    store.put("GLO/FIELD", {"kG": 5}, 0, FOREVER_MS, created=1)
    one = snapshot(store, ["GLO/*"], RUN, tmp_path / "one.zip")
    snapshot(store, ["GLO/FIELD"], RUN, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert load_run_info(one, RUN.run) == RUN
    assert ConditionFetcher(one).fetch(FIELD, timeframe(20_000), WorkerState()) == {"kG": 5}
    assert ConditionFetcher(one).identity == ConditionFetcher(SnapshotStore(tmp_path / "two.zip")).identity
    with pytest.raises(ConditionNotFoundError, match=r"run 505673.*speaks for \[1000000, 2000000\)"):
        ConditionFetcher(one).fetch(FIELD, timeframe(0), WorkerState())
    with pytest.raises(ConditionNotFoundError, match=r"TPC/X is not in this snapshot, which has GLO/FIELD, RCT"):
        one.get("TPC/X", 1_500_000)
    with pytest.raises(ConditionNotFoundError, match="others were left out"):
        one.get("GLO/FIELD", 1_500_000, created_not_after=0)
    with pytest.raises(ConditionNotFoundError, match="no TPC/\\* is valid"):
        snapshot(store, ["GLO/FIELD", "TPC/*"], RUN, tmp_path / "three.zip")
    assert not (tmp_path / "three.zip").exists()


@pytest.mark.parametrize("cut", [10, 200, -30])
def test_a_damaged_snapshot_is_named(store, tmp_path, cut):
    store.put("GLO/FIELD", {"x": np.arange(100)}, 0, 10)
    file = tmp_path / "s.zip"
    snapshot(store, ["GLO/*"], 5, file)
    content = bytearray(file.read_bytes())
    content[cut : cut + 20] = bytes(20)
    file.write_bytes(content)
    with pytest.raises(ConditionError, match=r"s\.zip"):
        _ = SnapshotStore(file).get("GLO/FIELD", 5).content


def test_every_store_is_opened_by_its_url_and_travels(store, tmp_path):
    store.put("A/B", 1, 0, 10)
    file = tmp_path / "s.zip"
    snapshot(store, ["A/B"], 5, file)
    for opened in (open_store(store.folder), open_store(f"file://{store.folder}"), open_store(file)):
        assert pickle.loads(pickle.dumps(opened)).get("A/B", 5).content == 1
        assert open_store(opened.url).get("A/B", 5).content == 1
    assert open_store("http://localhost:1/").url == "http://localhost:1"
    (tmp_path / "text").write_text("no zip")
    (tmp_path / "bad.zip").write_text("no zip")
    for url, error, message in (
        ("s3://bucket", ConfigError, "s3:// is not read"),
        (tmp_path / "none", ConfigError, "no such folder or file"),
        (tmp_path / "none.zip", ConfigError, "no such snapshot"),
        (tmp_path / "text", ConfigError, "some other file"),
        (tmp_path / "bad.zip", ConditionError, "not a snapshot"),
    ):
        with pytest.raises(error, match=message):
            open_store(url)


def test_a_datum_is_found_by_the_path_of_its_input_then_of_the_mapping_then_its_own_name(store):
    for path in ("GLO/FIELD", "GLO/Config/Field", "X/Y"):
        store.put(path, {"path": path}, 0, FOREVER_MS)
    plain, mapped = ConditionFetcher(store), ConditionFetcher(store, {FIELD: "GLO/Config/Field"})
    state = WorkerState()
    assert plain.fetch(FIELD, timeframe(), state) == {"path": "GLO/FIELD"}
    assert mapped.fetch(FIELD, timeframe(), state) == {"path": "GLO/Config/Field"}
    assert mapped.fetch(FIELD, timeframe(), state, path="X/Y") == {"path": "X/Y"}
    assert plain.identity != mapped.identity
    again = ConditionFetcher.from_json(pickle.loads(pickle.dumps(mapped)).to_json())
    assert again.identity == mapped.identity


def test_a_job_may_ignore_what_was_created_later_and_decode_what_it_knows(store):
    store.put("GLO/FIELD", b"old", 0, FOREVER_MS, created=1)
    store.put("GLO/FIELD", b"new", 0, FOREVER_MS, created=2)
    decoded = ConditionFetcher(store, created_not_after=1, decoders={"GLO/FIELD": len_of})
    assert decoded.fetch(FIELD, timeframe(), WorkerState()) == (3, b"old")
    with pytest.raises(ConfigError, match="functions, which JSON cannot hold"):
        decoded.to_json()


def len_of(condition):
    return len(condition.payload), condition.payload


GAIN = Schema("TPC/GAIN", (Column(name="gain", dtype="float32"),))


def scale(ctx):
    field = ctx.inputs["field"]
    ctx.outputs.make("scaled", {"y": ctx.inputs["numbers"]["x"] * field["factor"]})


def numbers(ctx):
    ctx.outputs.make("numbers", {"x": np.arange(3)})


def workflow(inputs="field:GLO/FIELD?lifetime=condition;numbers:TST/NUMBERS", algorithm=scale):
    wanted = inputs if isinstance(inputs, tuple) else parse_inputs(inputs)
    source = DataProcessorSpec(name="numbers", inputs="", outputs="TST/NUMBERS", algorithm=numbers)
    user = DataProcessorSpec(name="scale", inputs=wanted, outputs="TST/SCALED", algorithm=algorithm)
    return WorkflowSpec("scaling", (source, user))


def made_by(topology, state=None, **where):
    ref = TimeframeRef(id=timeframe(**where), url="", index=0)
    (task,) = plan(topology, ("TST/SCALED",))
    return run_task(topology, task, ref, {}, state or WorkerState()).outputs[DataRef("TST", "SCALED")]["y"].tolist()


def test_a_processor_gets_the_condition_of_its_timeframe(store):
    put_run_info(store, RUN)
    half = (RUN.orbit_reset_us // 1000) + 5000
    store.put("GLO/FIELD", {"factor": 2}, 0, half)
    store.put("GLO/FIELD", {"factor": 3}, half, FOREVER_MS)
    fetcher = ConditionFetcher(store)
    topology, state = compile_workflow(workflow(), conditions=fetcher), WorkerState()
    orbit = 5_000_000_000 // 88_924
    assert made_by(topology, state, first_orbit=0) == [0, 2, 4]
    assert made_by(topology, state, first_orbit=orbit - 20) == [0, 2, 4]
    assert made_by(topology, state, first_orbit=orbit + 20) == [0, 3, 6]
    assert (fetcher.cache(state).counters.hits, fetcher.cache(state).counters.misses) == (1, 3)


def test_the_store_travels_with_the_topology_by_pickle_and_by_json(store):
    store.put("GLO/Config/Field", {"factor": 4}, 0, FOREVER_MS)
    inputs = "field:GLO/FIELD/0?lifetime=condition&path=GLO/Config/Field;numbers:TST/NUMBERS"
    topology = compile_workflow(workflow(inputs), conditions=ConditionFetcher(store))
    for again in (pickle.loads(pickle.dumps(topology)), Topology.from_json(topology.to_json())):
        assert made_by(again) == [0, 4, 8]
        assert again.fingerprint == topology.fingerprint
    other = compile_workflow(workflow(inputs), conditions=ConditionFetcher(store, created_not_after=FOREVER_MS))
    assert other.fingerprint != topology.fingerprint
    assert "from the conditions" in show(topology)


def test_a_condition_without_a_store_or_with_a_wildcard_is_refused_before_the_run(store):
    with pytest.raises(WorkflowError, match=r"'scale' is a condition, but there is no store.*--conditions"):
        compile_workflow(workflow())
    with pytest.raises(WorkflowError, match="wildcard"):
        compile_workflow(workflow("field:GLO/*?lifetime=condition"), conditions=ConditionFetcher(store))


def test_a_condition_that_is_missing_names_input_timeframe_and_store(store):
    store.put("GLO/OTHER", 1, 0, 10)
    with pytest.raises(
        ConditionNotFoundError, match=r"GLO/FIELD/0 of run 505673 TF 0 orbit 0: .*no GLO/FIELD is valid"
    ):
        made_by(compile_workflow(workflow(), conditions=ConditionFetcher(store)))


def test_a_condition_is_held_against_the_schema_of_the_input(store):
    inputs = parse_inputs("field:GLO/FIELD?lifetime=condition;numbers:TST/NUMBERS", {"GLO/FIELD": GAIN})
    topology = compile_workflow(workflow(inputs, take_gain), conditions=ConditionFetcher(store))
    store.put("GLO/FIELD", Columns(GAIN, {"gain": np.ones(2, np.float32)}), 0, FOREVER_MS)
    assert made_by(topology) == [2.0]
    store.put("GLO/FIELD", {"gain": np.ones(2)}, 0, FOREVER_MS)
    with pytest.raises(ShapeError, match="no columns"):
        made_by(topology)
    store.put("GLO/FIELD", Columns(Schema.infer("X", {"a": np.ones(2)}), {"a": np.ones(2)}), 0, FOREVER_MS)
    with pytest.raises(ShapeError, match="want column 'gain', got a"):
        made_by(topology)


def take_gain(ctx):
    ctx.outputs.make("scaled", {"y": np.array([ctx.inputs["field"]["gain"].sum()])})


def test_the_path_of_a_condition_is_part_of_the_query_syntax():
    text = "grp:GLO/GRPECS/0?lifetime=condition&path=GLO/Config/GRPECS"
    (made,) = parse_inputs(text)
    assert (made.path, str(made)) == ("GLO/Config/GRPECS", text)
    (same,) = parse_inputs(text.replace("path", "ccdb-path"))  # as O2 writes it
    assert (same.path, same.lifetime) == (made.path, "condition")
    assert parse_inputs("grp:GLO/GRPECS?lifetime=condition")[0].path == ""
