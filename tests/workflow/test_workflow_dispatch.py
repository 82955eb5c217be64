"""Dispatch: consumers run when their data are ready, with the same results, and what is used up is freed."""

import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_specs import NUMBERS, REF, spec

from o2dask.context import WorkerState
from o2dask.errors import DataError, SpecError
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.specs import DataRef, WorkflowSpec, parse_outputs
from o2dask.timeframe import enumerated
from o2dask.workflow import compile_workflow, plan, run_task
from o2dask.workflow.builders import parallel
from o2dask.workflow.serialise import workflow_from_json, workflow_to_json

N = 6


def split(ctx):
    ctx.counters["most"] = 0
    for i in range(N):
        values = np.full(10, i)
        LIVE.append(weakref.ref(values))
        ctx.outputs.make("part", {"v": values}, subspec=i)
        calls.append(f"split {i}")
        del values
        ctx.counters["most"] = max(ctx.counters["most"], sum(r() is not None for r in LIVE))


def double(ctx):
    for ref, columns in ctx.inputs["part"].items():
        calls.append(f"double {ref.subspec}")
        ctx.outputs.make("twice", {"v": 2 * columns["v"]}, subspec=ref.subspec)


def add(ctx):
    total = sum(int(c["v"].sum()) for c in ctx.inputs["all"].values())
    ctx.outputs.make("sum", {"v": np.array([total])})


calls: list[str] = []
LIVE: list[weakref.ref] = []


def even(ref):
    return ref.subspec % 2 == 1


def flow(dispatch, n_copies=N):
    copies = parallel(spec("double", "part:TST/PART/*", "twice:TST/TWICE/*", double), n_copies, subspecs=range(N))
    splitter = spec("split", "", "part:TST/PART/*", split, dispatch=dispatch)
    return compile_workflow(WorkflowSpec("w", (splitter, *copies, spec("add", "all:TST/TWICE/*", "sum:TST/SUM", add))))


def ran(topology, kept=("TST/SUM",)):
    calls.clear()
    LIVE.clear()
    (task,) = plan(topology, kept, 1e9)
    return run_task(topology, task, REF, {}, WorkerState())


def test_consumers_run_between_the_parts_and_what_is_used_up_is_freed():
    late = ran(flow("after-computation"))
    assert calls == [*(f"split {i}" for i in range(N)), *(f"double {i}" for i in range(N))]
    assert late.counters["split.most"] == N
    early = ran(flow("when-ready"))
    assert calls == [word for i in range(N) for word in (f"double {i}", f"split {i}")]
    assert early.counters["split.most"] == 0, "no part is held when the next is made"
    assert {r: c["v"].tolist() for r, c in early.outputs.items()} == {
        r: c["v"].tolist() for r, c in late.outputs.items()
    }
    assert early.seconds.keys() == late.seconds.keys() and all(s >= 0 for s in early.seconds.values())


def test_a_trigger_says_when_what_was_made_is_sent():
    result = ran(flow(even))
    assert calls[:5] == ["split 0", "double 0", "double 1", "split 1", "split 2"]
    assert result.counters["split.most"] == 1


def test_a_copy_waits_for_its_whole_share():
    ran(flow("when-ready", n_copies=2))
    first = ["split 0", "split 1", "double 0", "double 1", "double 2", "split 2"]
    assert calls == [*first, "split 3", "split 4", "double 3", "double 4", "double 5", "split 5"]


def test_what_leaves_the_task_is_kept_and_sent():
    both = [ran(flow(policy), ("TST/*",)) for policy in ("when-ready", "after-computation")]
    assert both[0].outputs.keys() == both[1].outputs.keys() and len(both[0].outputs) == 2 * N + 1


def head(ctx):
    ctx.outputs.make("a", {"v": np.arange(3)})
    rows = ctx.outputs.make("b", 3)
    ctx.outputs.make("c", {"v": np.arange(3)})
    rows["x"][:] = 7


def test_columns_to_be_filled_are_ready_when_the_producer_returns():
    outputs = parse_outputs("a:TST/A;b:TST/NUMBERS;c:TST/C", {"TST/NUMBERS": NUMBERS})
    seen = []

    def use(ctx):
        seen.append(ctx.spec.name)
        if ctx.spec.name == "use-b":
            assert ctx.inputs["b"]["x"].tolist() == [7, 7, 7]

    users = [spec(f"use-{x}", f"{x}:TST/{y}", "", use) for x, y in (("a", "A"), ("b", "NUMBERS"), ("c", "C"))]
    both = spec("use-ac", "a:TST/A;c:TST/C;n:TST/NONE?lifetime=optional", "", use)
    topology = compile_workflow(
        WorkflowSpec("w", (spec("head", "", outputs, head, dispatch="when-ready"), *users, both))
    )
    ran(topology, ())
    assert seen == ["use-a", "use-c", "use-ac", "use-b"]


def test_an_error_of_a_consumer_is_its_own_even_if_the_producer_catches():
    def careless(ctx):
        for i in range(3):
            try:
                ctx.outputs.make("part", {"v": np.zeros(1)}, subspec=i)
            except Exception:  # noqa: BLE001 - what is tested
                calls.append("caught")
        ctx.outputs.make("end", {"v": np.zeros(1)})

    def bad(ctx):
        raise DataError("this part is odd")

    flow = (
        spec("careless", "", "part:TST/PART/*;end:TST/END", careless, dispatch="when-ready"),
        spec("bad", "part:TST/PART/1", "", bad),
    )
    calls.clear()
    report = run_inline(compile_workflow(WorkflowSpec("w", flow)), enumerated(1), NoSink())
    (failed,) = report.quarantined
    assert "this part is odd (processor 'bad' at test_workflow_dispatch.py:" in failed.reason
    assert calls == []


def test_it_is_refused_where_outputs_are_taken_back_and_kept_in_json():
    for more in ({"expendable": True}, {"on_error": print}):
        with pytest.raises(SpecError, match="outputs are taken back when it fails"):
            spec("p", "", "x:TST/X", dispatch="when-ready", **more)
    with pytest.raises(SpecError, match="want a dispatch of after-computation, when-ready"):
        spec("p", "", "x:TST/X", dispatch="now")
    workflow = WorkflowSpec("w", (spec("p", "", "x:TST/X", split, dispatch=even), spec("q", "", "y:TST/Y", split)))
    assert workflow_from_json(workflow_to_json(workflow)) == workflow


@settings(max_examples=25)
@given(st.permutations(range(N)), st.sampled_from(["when-ready", "after-computation"]), st.integers(1, N))
def test_the_result_does_not_depend_on_order_and_policy(order, policy, n_copies):
    def shuffled(ctx):
        for i in order:
            ctx.outputs.make("part", {"v": np.full(3, i)}, subspec=i)

    copies = parallel(spec("double", "part:TST/PART/*", "twice:TST/TWICE/*", double), n_copies, subspecs=range(N))
    splitter = spec("split", "", "part:TST/PART/*", shuffled, dispatch=policy)
    topology = compile_workflow(
        WorkflowSpec("w", (splitter, *copies, spec("add", "all:TST/TWICE/*", "sum:TST/S", add)))
    )
    assert ran(topology, ("TST/S",)).outputs[DataRef("TST", "S")]["v"][0] == 2 * 3 * sum(range(N))
