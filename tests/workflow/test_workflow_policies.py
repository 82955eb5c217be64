"""When processors run and what their failures cost: lifetimes, completion, timers, families, errors, feedback."""

import numpy as np
import pytest
from toy_specs import source, spec

from o2dask.columns import Column, Schema
from o2dask.context import DataAllocator, InputRecord, WorkerState
from o2dask.errors import FatalError, ProcessorError, ShapeError, SpecError, WorkflowError
from o2dask.options import ConfigParamSpec, parse_option_text
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.specs import (
    AlgorithmSpec,
    CompletionOp,
    DataRef,
    Option,
    Task,
    WorkflowSpec,
    parse_inputs,
    parse_outputs,
)
from o2dask.timeframe import BC_NS, TimeframeId, enumerated
from o2dask.workflow import Topology, compile_workflow, plan, run_task
from o2dask.workflow.completion import ticks
from o2dask.workflow.faults import cost_of

REFS = enumerated(12)


def compiled(*processors, **more):
    return compile_workflow(WorkflowSpec("w", processors, **more))


def play(*processors, refs=REFS, state=None, **more):
    """Return the results of the timeframes, one after the other on one worker, all processors in one task."""
    topology = compiled(*processors, **more)
    kept = ["*"] if topology.outputs() else []
    state = state or WorkerState()
    return [run_task(topology, plan(topology, kept, 1e9)[0], ref, {}, state) for ref in refs]


def maker(binding, value=1.0):
    def make(ctx):
        ctx.outputs.make(binding, {"v": np.array([value])})

    return make


def sometimes(ctx):
    if ctx.timeframe.tf_counter % 3 == 0:
        ctx.outputs.make("rare", {"v": np.zeros(1)})


def rare():
    return spec("rare", "", "rare:TST/RARE?lifetime=sporadic", sometimes)


def counter(name, inputs, outputs="", **more):
    def count(ctx):
        ctx.counters["runs"] = 1
        ctx.counters["valid"] = sum(ctx.inputs.is_valid(i) for i in range(len(ctx.inputs)))
        for o in ctx.spec.outputs:
            ctx.outputs.make(o.binding, {"v": np.zeros(1)})

    return spec(name, inputs, outputs, count, **more)


def runs(results, name):
    return [i for i, r in enumerate(results) if r.counters.get(f"{name}.runs")]


def test_with_policy_all_what_is_sporadic_may_lack_unless_there_is_nothing_else():
    both = counter("both", "n:TST/NUMBERS;r:TST/RARE?lifetime=sporadic")
    alone = counter("alone", "r:TST/RARE?lifetime=sporadic")
    results = play(source(), rare(), both, alone)
    assert runs(results, "both") == list(range(12))
    assert [r.counters["both.valid"] for r in results[:4]] == [2, 1, 1, 2]
    assert runs(results, "alone") == [0, 3, 6, 9]


def test_what_follows_a_sporadic_processor_is_sporadic_itself():
    alone = counter("alone", "r:TST/RARE?lifetime=sporadic", "a:TST/AFTER")
    with pytest.raises(WorkflowError, match="'alone' runs only in some timeframes"):
        compiled(rare(), alone, counter("late", "a:TST/AFTER"))
    results = play(rare(), alone, counter("late", "a:TST/AFTER?lifetime=sporadic"))
    assert runs(results, "late") == [0, 3, 6, 9]


@pytest.mark.parametrize("policy", ["any", "consume-existing"])
def test_any_runs_on_what_is_there(policy):
    one = counter("one", "r:TST/RARE;m:TST/MORE", policy=policy)
    more = spec("more", "", "m:TST/MORE?lifetime=sporadic", lambda ctx: None)
    assert runs(play(rare(), more, one), "one") == [0, 3, 6, 9]


def test_discard_never_runs_and_a_function_decides_for_itself():
    def odd(inputs):
        return CompletionOp.CONSUME if inputs["n"]["x"][0] % 2 else CompletionOp.WAIT

    results = play(
        source(), counter("never", "n:TST/NUMBERS", policy="discard"), counter("odd", "n:TST/NUMBERS", policy=odd)
    )
    assert runs(results, "never") == []
    assert runs(results, "odd") == [1, 3, 5, 7, 9, 11]


def test_ordered_wants_timeframes_in_order():
    last = counter("last", "n:TST/NUMBERS", policy="ordered")
    assert runs(play(source(), last), "last") == list(range(12))
    with pytest.raises(ProcessorError, match="want timeframes in order"):
        play(source(), last, refs=[REFS[3], REFS[2]])


def test_a_timer_ticks_every_so_many_timeframes_or_after_so_much_time():
    every = counter("every", "t:TST/T1?lifetime=timer&every=5")
    timed = counter("timed", "t:TST/T2?lifetime=timer&period=10ms")
    results = play(every, timed)
    assert runs(results, "every") == [0, 5, 10]
    length_ms = 32 * 3564 * BC_NS / 1e6
    want = [i for i in range(12) if int(np.ceil(i * length_ms / 10)) < int(np.ceil((i + 1) * length_ms / 10))]
    assert runs(results, "timed") == want
    assert 2 < len(want) < 6


def test_every_tick_lies_in_exactly_one_timeframe():
    (clock,) = parse_inputs("t:TST/T?lifetime=timer&period=700us")
    found = [ticks(clock, ref.id) for ref in REFS]
    times = np.concatenate([columns["time_ns"] for columns in found])
    np.testing.assert_array_equal(times, np.arange(len(times)) * 700_000)
    assert len(times) == int(np.ceil(12 * 32 * 3564 * BC_NS / 700e3))


@pytest.mark.parametrize("wrong", ["every=0", "every=x", "period=5", "period=0s", "period=-1s"])
def test_a_clock_that_cannot_tick_is_refused(wrong):
    with pytest.raises(SpecError, match=r"want (every=N|period=)"):
        parse_inputs(f"t:TST/T?lifetime=timer&{wrong}")
    with pytest.raises(WorkflowError, match="a clock says when it ticks"):
        compiled(counter("a", "t:TST/T?lifetime=timer"))


def test_a_family_of_outputs_is_any_number_of_data():
    def split(ctx):
        for i in range(ctx.timeframe.tf_counter):
            ctx.outputs.make(f"TST/PART/{i}", {"v": np.full(1, i)})

    def join(ctx):
        ctx.counters["parts"] = len(ctx.inputs["all"])
        ctx.counters["sum"] = sum(int(c["v"][0]) for _, c in ctx.inputs.parts("all"))
        assert [ref.subspec for ref in ctx.inputs["all"]] == sorted(ref.subspec for ref in ctx.inputs["all"])

    processors = (
        spec("splitter", "", "part:TST/PART/*", split),
        spec("joiner", "all:TST/PART/*", "", join),
        spec("one", "p:TST/PART/1", "", lambda ctx: ctx.counters.update(v=int(ctx.inputs[0]["v"][0]))),
    )
    result = play(*processors, refs=REFS[3:4])[0]
    assert (result.counters["joiner.parts"], result.counters["joiner.sum"], result.counters["one.v"]) == (3, 3, 1)
    assert sorted(map(str, result.outputs)) == ["TST/PART/0", "TST/PART/1", "TST/PART/2"]
    with pytest.raises(ProcessorError, match="p:TST/PART/1 did not arrive"):
        play(*processors, refs=REFS[1:2])
    topology = compiled(*processors)
    data = {}
    for task in plan(topology, (), 0):  # also when data travel between tasks
        data |= run_task(topology, task, REFS[3], data, WorkerState()).outputs
    assert len(data) == 3
    with pytest.raises(WorkflowError, match="made by both"):
        compiled(processors[0], spec("other", "", "p:TST/PART/7"))


def test_an_exception_of_an_expendable_processor_costs_its_outputs_only(logged):
    def fail(ctx):
        ctx.counters["tried"] = 1
        raise ZeroDivisionError("nought")

    bad = spec("bad", "n:TST/NUMBERS", "b:TST/BAD", fail, expendable=True)
    late = counter("late", "n:TST/NUMBERS;b:TST/BAD?lifetime=optional")
    result = play(source(), bad, late, refs=REFS[:1])[0]
    assert result.counters == {"numbers.rows": 5, "bad.failed": 1, "late.runs": 1, "late.valid": 1}
    assert "ZeroDivisionError: nought" in logged.text


def test_nobody_may_depend_on_what_is_expendable_unless_resilient():
    bad = spec("bad", "n:TST/NUMBERS", "b:TST/BAD", lambda ctx: 1 / 0, expendable=True)
    with pytest.raises(WorkflowError, match="'bad' is expendable; mark the input"):
        compiled(source(), bad, counter("late", "b:TST/BAD"))
    for more in ({"labels": ("resilient",)}, {"expendable": True}):
        assert runs(play(source(), bad, counter("late", "b:TST/BAD", **more)), "late") == []


def test_on_error_may_save_the_timeframe():
    def fail(ctx):
        raise ValueError("no fit")

    def fallback(ctx):
        assert str(ctx.error) == "no fit"
        ctx.counters["saved"] = 1
        ctx.outputs.make("fit", {"v": np.zeros(1)})

    result = play(spec("fit", "", "fit:TST/FIT", fail, on_error=fallback), refs=REFS[:1])[0]
    assert result.counters == {"fit.saved": 1}
    assert DataRef("TST", "FIT") in result.outputs


@pytest.mark.parametrize("of_workflow", ["fail", "quarantine", "skip"])
@pytest.mark.parametrize("of_processor", [None, "fail", "quarantine", "skip"])
def test_the_policy_of_the_processor_goes_before_that_of_the_workflow(of_workflow, of_processor):
    bad = spec("bad", "", "", lambda ctx: 1 / 0, on_error=of_processor)
    with pytest.raises(ProcessorError) as error:
        play(bad, refs=REFS[:1], on_error=of_workflow)
    assert cost_of(error.value) == (of_processor or of_workflow)


def third(error):
    def run(ctx):
        if ctx.timeframe.tf_counter == 2:
            raise error

    return run


@pytest.mark.parametrize(
    ("policy", "error", "done", "ok"),
    [
        ("skip", ValueError("x"), 11, True),
        ("quarantine", ValueError("x"), 11, False),
        ("fail", ValueError("x"), 2, False),
        ("skip", FatalError("x"), 2, False),
    ],
)
def test_errors_cost_what_the_policy_says_and_fatal_ones_the_run(policy, error, done, ok):
    topology = compiled(spec("bad", "", "", third(error)), on_error=policy)
    report = run_inline(topology, REFS, NoSink())
    assert (len(report.committed), report.ok) == (done, ok)
    assert bool(report.failure) == (done == 2)
    assert [q.is_skipped for q in report.quarantined] == ([policy == "skip"] if done == 11 else [])


def test_declared_feedback_is_no_loop_and_never_arrives_in_batch():
    seen = []

    def track(ctx):
        seen.append(ctx.inputs["drift"])
        ctx.outputs.make("tracks", {"v": np.zeros(1)})

    loop = (
        spec("tracker", "drift:TPC/DRIFT?lifetime=optional&feedback=true", "tracks:TPC/TRACKS", track),
        spec("calibrator", "t:TPC/TRACKS", "drift:TPC/DRIFT", maker("drift")),
    )
    topology = compiled(*loop)
    assert topology.names == ("tracker", "calibrator")
    assert [str(r) for r in topology.feedback] == ["calibrator -[TPC/DRIFT/0]-> tracker.drift"]
    assert Topology.from_json(compiled(source()).to_json()).feedback == ()
    play(*loop, refs=REFS[:2])
    assert seen == [None, None]
    with pytest.raises(WorkflowError, match="feedback=true"):
        compiled(spec("tracker", "drift:TPC/DRIFT", "tracks:TPC/TRACKS", track), loop[1])


def test_what_is_transient_is_writable_and_never_leaves():
    schema = Schema("TST/WORK", (Column(name="v", dtype="float32"),))

    def run(ctx):
        work = ctx.outputs.make("work", 5)
        work["v"][:] = 2
        ctx.outputs.make("out", {"v": work["v"].sum(keepdims=True)})

    outputs = parse_outputs("work:TST/WORK?lifetime=transient;out:TST/OUT", {"TST/WORK": schema})
    result = play(spec("a", "", outputs, run), refs=REFS[:1])[0]
    assert {str(r): c["v"].tolist() for r, c in result.outputs.items()} == {"TST/OUT/0": [10.0]}


def closure(ctx):
    factor = ctx.options["factor"]
    seen = []

    def process(ctx):
        seen.append(ctx.timeframe.tf_counter)
        ctx.outputs.make("x", {"v": np.array([factor * len(seen)])})

    return process


def test_init_returns_the_function_that_processes_once_per_worker():
    option = ConfigParamSpec(name="factor", default=10, minimum=1, maximum=100)
    closed = spec("c", "", "x:TST/X", AlgorithmSpec(init=closure), options=(option,))
    results = play(closed, refs=REFS[:3])
    assert [next(iter(r.outputs.values()))["v"][0] for r in results] == [10, 20, 30]
    topology = compiled(closed)
    assert Topology.from_json(topology.to_json()) == topology
    with pytest.raises(SpecError, match="'factor': want 1 to 100, got 101"):
        compile_workflow(WorkflowSpec("w", (closed,)), {"c": {"factor": 101}})
    with pytest.raises(SpecError, match="init returned None"):
        play(spec("c", "", "", AlgorithmSpec(init=lambda ctx: None)))


def on_cpu(ctx):
    ctx.outputs.make("x", {"v": np.array([0])})


class OnGpu(Task):
    blocks = Option(8, "of threads", choices=(8, 16))

    def run(self, ctx):
        ctx.outputs.make("x", {"v": np.array([self.blocks])})


@pytest.mark.parametrize(("kinds", "want"), [({"CPU"}, 0), ({"CPU", "GPU"}, 8)])
def test_the_worker_takes_the_algorithm_for_the_device_that_it_has(monkeypatch, kinds, want):
    from o2dask.services import DeviceContext

    monkeypatch.setattr(DeviceContext, "__init__", lambda self: setattr(self, "kinds", frozenset(kinds)))
    both = spec("a", "", "x:TST/X", {"CPU": on_cpu, "GPU": OnGpu})
    assert [o.name for o in both.options] == ["blocks"]
    assert next(iter(play(both, refs=REFS[:1])[0].outputs.values()))["v"][0] == want
    topology = compiled(both)
    assert Topology.from_json(topology.to_json()) == topology


def test_a_function_may_return_its_outputs():
    result = play(spec("a", "", "x:TST/X", lambda ctx: {"x": {"v": np.ones(2)}}), refs=REFS[:1])[0]
    assert result.outputs[DataRef("TST", "X")].n_rows == 2


def test_the_allocator_adopts_copies_and_checks():
    schema = Schema("TST/A", (Column(name="v", dtype="float64"),))
    (a, b) = parse_outputs("a:TST/A;b:TST/B/*", {"TST/A": schema})
    made = DataAllocator((a, b))
    array = np.arange(3.0)
    made.make("b", {"v": array.copy()}, subspec=4)
    made.snapshot(DataRef("TST", "B", 5), {"v": array})
    array[0] = 9
    assert made.made[DataRef("TST", "B", 5)]["v"][0] == 0
    made.adopt("a", {"v": array})
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    for wrong, match in (("a", "made twice"), ("b", "is a family; say which"), ("TST/C/0", "is not declared")):
        with pytest.raises(SpecError, match=match):
            made.make(wrong, {"v": array})
    with pytest.raises(ShapeError, match="want float64"):
        DataAllocator((a,)).make("a", {"v": np.zeros(1, np.float32)})
    with pytest.raises(SpecError, match="has no schema"):
        DataAllocator((b,)).make("TST/B/0", 5)


def test_inputs_are_found_by_name_and_by_position():
    record = InputRecord({"a": 1, "b": {}, "c": None})
    assert (record[0], record["a"], record[-1]) == (1, 1, None)
    assert [record.is_valid(k) for k in ("a", "b", "c")] == [True, False, False]
    for wrong in (3, "d"):
        with pytest.raises(KeyError, match="declared are a, b, c"):
            record[wrong]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("--a 1 --b=x --c", {"a": "1", "b": "x", "c": "true"}),
        ("--a -5", {"a": "-5"}),
        ("--a 'two words'", {"a": "two words"}),
        ("", {}),
    ],
)
def test_option_text_is_read_as_a_shell_would(text, want):
    assert parse_option_text(text) == want


@pytest.mark.parametrize("value", [float("nan"), 11, -1, "1e9"])
def test_a_value_outside_its_range_is_refused(value):
    option = ConfigParamSpec(name="x", default=1.0, minimum=0, maximum=10)
    with pytest.raises(SpecError, match="want 0 to 10"):
        option.convert(value)
    assert (option.convert("0"), option.convert(10)) == (0.0, 10.0)


@pytest.mark.parametrize(
    "text", ["grp:GLO/GRPECS/0?lifetime=condition&path=GLO/Config/GRPECS", "x:TST/A1/0?lifetime=sporadic&key3=value3"]
)
def test_settings_of_an_input_are_kept_and_printed(text):
    (made,) = parse_inputs(text)
    assert str(made) == text
    assert parse_inputs("x:TST/A1/0xccdb")[0].subspec == 0xCCDB


def test_timeframe_ids_are_ordered_in_time():
    assert TimeframeId(run=1, tf_counter=2, first_orbit=64) > REFS[1].id
