"""One task on one timeframe: order, state, completeness, memory, and errors that say where they come from."""

import gc
import pickle
import weakref

import numpy as np
import pytest
import tblib.pickling_support
from hypothesis import given, settings
from toy_specs import REF, Power, power, random_workflows, source, spec, total, toy_workflow

from o2dask.columns import Column, Schema
from o2dask.context import WorkerState
from o2dask.errors import ConfigError, DataError, O2DaskError, ProcessorError, ShapeError, SpecError
from o2dask.specs import CompletionPolicy, DataRef, Option, Task, WorkflowSpec, parse_inputs
from o2dask.workflow import compile_workflow, plan, run_task

SUMS = DataRef("AOD", "SUMS")


def run(processors, options=None, kept=("*",), state=None, min_ms=1e9):
    topology = compile_workflow(WorkflowSpec("w", tuple(processors)), options)
    tasks = plan(topology, kept, min_ms)
    assert len(tasks) == 1
    return run_task(topology, tasks[0], REF, {}, state or WorkerState())


def failing(error):
    def fail(ctx):
        raise error

    return fail


def test_the_processors_of_a_task_run_in_order_on_what_they_need():
    result = run([total(), power(), source()], {"power": {"exponent": "3"}}, ["AOD/*"])
    assert result.outputs[SUMS]["total"].tolist() == [sum(x**3 for x in range(3, 8))]
    assert list(result.outputs) == [SUMS]
    assert result.counters == {"numbers.rows": 5}
    assert list(result.seconds) == ["numbers", "power", "total"]
    assert all(s >= 0 for s in result.seconds.values())
    assert result.nbytes == 8


def test_one_task_or_one_per_processor_gives_the_same_bytes():
    topology = compile_workflow(toy_workflow())
    data = {}
    for task in plan(topology, ["AOD/*"], 0):
        data |= run_task(topology, task, REF, {r: data[r] for r in task.inputs}, WorkerState()).outputs
    together = run([source(), power(), total()], kept=["AOD/*"]).outputs[SUMS]
    assert data[SUMS].equals(together)


def test_a_task_class_is_initialised_once_per_worker_and_again_with_other_options():
    Power.inits = 0
    state = WorkerState()
    for _ in range(3):
        run([source(), power()], state=state)
    assert Power.inits == 1
    run([source(), power()], {"power": {"exponent": 4}}, state=state)
    assert Power.inits == 2
    run([source(), power()], state=WorkerState())
    assert Power.inits == 3


def test_a_task_sees_its_options_as_attributes_but_no_data_in_init():
    seen = {}

    class Curious(Task):
        limit = Option(2.5, "")

        def init(self, ctx):
            seen.update(limit=self.limit, inputs=dict(ctx.inputs), made=ctx.outputs.made)

        def run(self, ctx):
            ctx.outputs.make("x", {"v": np.array([self.limit])})

    result = run([spec("curious", "", "x:TST/X", Curious)], {"curious": {"limit": "4"}})
    assert seen == {"limit": 4.0, "inputs": {}, "made": {}}
    assert result.outputs[DataRef("TST", "X")]["v"].tolist() == [4.0]


def test_an_init_that_fails_is_tried_again():
    class Shy(Task):
        calls = 0

        def init(self, ctx):
            Shy.calls += 1
            if Shy.calls == 1:
                raise ConfigError("not yet")

        def run(self, ctx):
            ctx.outputs.make("x", {"v": np.zeros(1)})

    state = WorkerState()
    with pytest.raises(ConfigError, match="not yet"):
        run([spec("shy", "", "x:TST/X", Shy)], state=state)
    assert run([spec("shy", "", "x:TST/X", Shy)], state=state).outputs


def test_an_output_that_was_not_made_is_an_error_that_names_it_and_its_processor():
    with pytest.raises(ProcessorError, match="not made: x:TST/X/0") as error:
        run([spec("lazy", "", "x:TST/X")])
    assert any("'lazy'" in note and str(REF.id) in note for note in error.value.__notes__)


def test_an_optional_output_that_was_not_made_is_absent_for_its_consumers():
    seen = []
    late = spec(
        "late",
        "r:TST/RARE?lifetime=optional;all:TST/*",
        "x:AOD/X",
        lambda ctx: (seen.append((ctx.inputs["r"], ctx.inputs["all"])), ctx.outputs.make("x", {"v": np.zeros(1)})),
    )
    result = run([spec("rare", "", "r:TST/RARE?lifetime=optional"), late])
    assert seen == [(None, {})]
    assert list(result.outputs) == [DataRef("AOD", "X")]


def test_a_processor_that_takes_any_input_is_left_out_when_none_came():
    any_ = CompletionPolicy.ANY
    rare = spec("rare", "", "r:TST/RARE?lifetime=optional")
    result = run(
        [rare, spec("late", "r:TST/RARE", "x:AOD/X?lifetime=optional", failing(AssertionError()), policy=any_)]
    )
    assert "late" not in result.seconds


def test_an_input_that_did_not_arrive_is_named():
    topology = compile_workflow(toy_workflow())
    task = plan(topology, (), 0)[1]
    with pytest.raises(ProcessorError, match="numbers:TST/NUMBERS/0 did not arrive"):
        run_task(topology, task, REF, {}, WorkerState())


def test_what_a_producer_without_schema_makes_is_checked_by_its_consumer():
    wanted = Schema("TST/X", (Column(name="v", dtype="float32"),))
    made = spec("a", "", "x:TST/X", lambda ctx: ctx.outputs.make("x", {"v": np.zeros(2)}))
    with pytest.raises(ShapeError, match="column 'v': want float32, got float64"):
        run([made, spec("b", parse_inputs("x:TST/X", {"TST/X": wanted}), "")])


def sent_by_dask(error):
    """Return the error as it arrives from a worker: distributed.core has tblib pickle its causes with it."""
    causes = [e for e in (error, error.__cause__) if e is not None]
    tblib.pickling_support.install(*causes)
    return pickle.loads(pickle.dumps(error))


class AwkwardError(Exception):
    """Cannot be unpickled: its constructor wants two arguments."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


class AwkwardDataError(DataError):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ZeroDivisionError("nought"), ProcessorError),
        (AwkwardError(1, 2), ProcessorError),
        (DataError("block 3 of tf.ctf is damaged"), DataError),
        (SpecError("undeclared"), SpecError),
    ],
    ids=lambda x: getattr(x, "__name__", type(x).__name__),
)
def test_errors_name_processor_and_timeframe_also_after_a_trip_through_pickle(error, kind):
    with pytest.raises(kind) as caught:
        run([source(), spec("bad", "n:TST/NUMBERS", "", failing(error))])
    shipped = sent_by_dask(caught.value)
    assert type(shipped) is kind
    assert str(error) in str(shipped)
    text = str(shipped) + "".join(shipped.__notes__)
    assert "'bad'" in text
    assert "run 7 TF 3" in text


def test_an_error_of_ours_that_pickle_cannot_revive_still_arrives():
    with pytest.raises(O2DaskError) as caught:
        run([spec("bad", "", "x:TST/X", failing(AwkwardDataError(1, 2)))])
    assert "1 and 2" in str(sent_by_dask(caught.value))


def test_an_error_keeps_its_own_traceback():
    with pytest.raises(ProcessorError) as caught:
        run([spec("bad", "", "x:TST/X", failing(ZeroDivisionError("nought")))])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(DataError) as caught:
        run([spec("bad", "", "x:TST/X", failing(DataError("damaged")))])
    assert caught.value.__cause__ is None


def test_an_intermediate_is_freed_when_its_last_user_is_done():
    alive = []

    def big(ctx):
        array = np.zeros(1000)
        alive.append(weakref.ref(array))
        ctx.outputs.make("big", {"v": array})

    def check(ctx):
        gc.collect()
        ctx.outputs.make("n", {"v": np.array([alive[0]() is not None])})

    result = run(
        [
            spec("big", "", "big:TST/BIG", big),
            spec("use", "b:TST/BIG", "n:AOD/BEFORE", check),
            spec("after", "n:AOD/BEFORE", "n:AOD/AFTER", check),
        ],
        kept=["AOD/*"],
    )
    assert result.outputs[DataRef("AOD", "BEFORE")]["v"].tolist() == [True]
    assert result.outputs[DataRef("AOD", "AFTER")]["v"].tolist() == [False]


def test_what_is_sent_is_read_only():
    result = run([source()])
    with pytest.raises(ValueError, match="read-only"):
        result.outputs[DataRef("TST", "NUMBERS")]["x"][0] = 1


def mix(ctx):
    """Return a number that depends on all inputs, their order included."""
    value = sum(i * int(c["v"][0]) for i, c in enumerate(ctx.inputs.values(), 2))
    ctx.outputs.make("out", {"v": np.array([value + len(ctx.spec.name), ctx.rng.integers(1000)])})


@settings(max_examples=25)
@given(random_workflows())
def test_any_plan_gives_the_same_bytes(workflow):
    from dataclasses import replace

    topology = compile_workflow(WorkflowSpec("w", tuple(replace(p, algorithm=mix) for p in workflow.processors)))
    found = []
    for min_ms in (0, 50, 1e9):
        data = {}
        for task in plan(topology, ["RND/*"], min_ms):
            data |= run_task(topology, task, REF, {r: data[r] for r in task.inputs}, WorkerState()).outputs
        found.append(data)
    for data in found[1:]:
        assert data.keys() == found[0].keys()
        assert all(data[ref].equals(found[0][ref]) for ref in data)


def test_an_error_says_at_which_line_of_the_user_it_was():
    def divides(ctx):
        return 1 / 0

    def undeclared(ctx):
        ctx.outputs.make("nothing", {})

    for run, told in ((divides, "at test_workflow_execute.py:"), (undeclared, "")):
        topology = compile_workflow(WorkflowSpec("w", (spec("p", "", "", run),)))
        with pytest.raises(O2DaskError) as caught:
            run_task(topology, plan(topology)[0], REF, {}, WorkerState())
        line = run.__code__.co_firstlineno + 1
        assert told in str(caught.value)
        assert f"processor 'p' at test_workflow_execute.py:{line}, " in caught.value.__notes__[0]
