"""What a timeframe is thought to take is what it held at once, not the sum of all it ever made."""

from dataclasses import replace

import numpy as np
import pytest

from o2dask.columns import Columns, Jagged, Schema
from o2dask.context import WorkerState
from o2dask.runners.batch import run_batch
from o2dask.runners.footprint import held_at_once, memory_of
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.runners.settings import BatchSettings
from o2dask.runners.step import Account, account_of, run_step
from o2dask.specs import DataProcessorSpec, WorkflowSpec
from o2dask.timeframe import enumerated
from o2dask.workflow.compiler import compile_workflow
from o2dask.workflow.planner import plan

MB = 1_000_000
OUT_MB = {"a": 40, "b": 40, "c": 40, "d": 40, "e": 1}
SCRATCH_MB = {"c": 50}
TRUTH_MB = 40 + 50 + 40
"""While c runs: what b left, its scratch, and what it makes; a's is free by then."""


def make(ctx) -> None:
    """Make so many MB, with some more in between."""
    scratch = np.ones(SCRATCH_MB.get(ctx.spec.name, 0) * MB // 8)
    ctx.outputs.make("out", {"x": np.ones(OUT_MB[ctx.spec.name] * MB // 8)})
    del scratch


def chain():
    """Return five processors, each a task of its own."""
    processors, before = [], ""
    for name in OUT_MB:
        spec = {"inputs": before, "outputs": f"out:TST/{name.upper()}", "algorithm": make, "cost_ms": 100.0}
        processors.append(DataProcessorSpec(name, **spec))
        before = f"x:TST/{name.upper()}"
    return compile_workflow(WorkflowSpec("chain", tuple(processors)))


def test_what_tasks_hold_one_after_the_other_is_not_added_up() -> None:
    topology, state, at_hand, accounts = chain(), WorkerState(), {}, {}
    tasks = plan(topology, ("TST/E",))
    assert len(tasks) == 5
    for task in tasks:
        step = run_step(topology, task, enumerated(1)[0], at_hand, state)
        at_hand, accounts[task.name] = step.outputs, step.account
    held = held_at_once(tasks, accounts, frozenset(topology.select(("TST/E",))))
    assert held * 1.02 >= TRUTH_MB * MB and held < 1.15 * TRUTH_MB * MB
    kept = held_at_once(tasks, accounts, frozenset(topology.select(("TST/A", "TST/E"))))
    assert kept - held == pytest.approx(40 * MB, rel=0.1), "what the sink keeps is held to the end"


@pytest.mark.parametrize("runner", ["inline", "batch"])
def test_a_run_promises_what_its_timeframes_hold(request, runner) -> None:
    refs = [replace(ref, n_bytes=10 * MB) for ref in enumerated(6)]
    if runner == "inline":
        promised = max(run_inline(chain(), refs, NoSink()).history.promised)
    else:
        settings = BatchSettings(scheduler=request.getfixturevalue("scheduler_address"), window=1, expansion=1.0)
        promised = run_batch(chain(), refs, NoSink(), settings=settings).peak_bytes
    assert 0.98 * TRUTH_MB * MB < promised < 1.25 * TRUTH_MB * MB


def test_a_timeframe_of_which_a_task_was_not_looked_at_teaches_nothing() -> None:
    """To learn from some of its tasks would promise too little."""
    tasks, names = plan(chain(), ("TST/E",)), list(OUT_MB)
    seen = {name: Account(payload_bytes=3 * MB, peak_bytes=7 * MB, is_measured=True) for name in names}
    assert account_of(tasks, seen, frozenset()).footprint == 10 * MB
    seen["c"].is_measured = False
    assert account_of(tasks, seen, frozenset()).footprint == 0


def columns(**arrays) -> Columns:
    return Columns(Schema.infer("some", arrays), arrays)


def test_memory_is_that_of_the_arrays_behind_views_each_once() -> None:
    block = np.ones(1000)
    assert memory_of([columns(x=block[:10], y=block[500:510]), columns(z=block[:1])]) == 8000
    jagged = Jagged(np.array([0, 2], np.int32), np.ones(2))
    assert memory_of([columns(parts=jagged)]) == 8 + 16
    assert memory_of([]) == 0
