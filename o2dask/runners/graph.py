"""The Dask graph of one timeframe: a task per physical task, and a last one that commits and returns a receipt.

What is in the graph is names and a `TimeframeRef`; columns pass from task to task on the workers, out of band.
"""

import time
from dataclasses import dataclass, field

from dask.base import annotate
from dask.delayed import Delayed, delayed

from o2dask.columns import Columns
from o2dask.runners.deadline import deadline
from o2dask.runners.plugin import RunPlugin, find_run, trim_memory
from o2dask.runners.step import Account, commit, run_step
from o2dask.sink import Receipt
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeRef

__all__ = ["Committed", "Parcel", "timeframe_graph"]


@dataclass(slots=True)
class Parcel:
    """What one task hands to those after it: its outputs, and the accounts of all tasks up to it by their names."""

    outputs: dict[DataRef, Columns]
    accounts: dict[str, Account] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Committed:
    """What comes back to the driver."""

    receipt: Receipt
    account: Account


def timeframe_graph(
    run: RunPlugin, ref: TimeframeRef, attempt: str, without: frozenset[str] = frozenset()
) -> tuple[Delayed, str]:
    """Return the graph of one timeframe and the common tail of its keys.

    Keys are ``<task>-<run>-<tf counter>-<first orbit>-<attempt>``, the task first: so Dask groups and times tasks by
    what they do. `attempt` is unique, so that no key of a dead driver or an earlier try is met again. `without` names
    resources that the cluster has not got and tasks must not wait for.
    """
    tail = f"{ref.id.run}-{ref.id.tf_counter}-{ref.id.first_orbit}-{attempt}"
    producer = {out: task.name for task in run.tasks for out in task.outputs}
    made: dict[str, Delayed] = {}
    ends: dict[str, None] = {}
    for task in run.tasks:
        before = dict.fromkeys(producer[r] for r in task.inputs)
        key = f"{task.name}-{tail}"
        with annotate(**_needs(dict(task.resources), without)):
            made[task.name] = _step(run.name, task.name, ref, tail, *(made[name] for name in before), dask_key_name=key)
        if run.kept.isdisjoint(task.outputs):
            ends[task.name] = None
        for name in before:
            ends.pop(name, None)
    # The commit waits for what it writes, and for the ends: tasks that no other task follows.
    last = dict.fromkeys([t.name for t in run.tasks if not run.kept.isdisjoint(t.outputs)]) | ends
    return _commit(run.name, ref, *(made[name] for name in last), dask_key_name=f"commit-{tail}"), tail


def _needs(resources: dict[str, float], without: frozenset[str]) -> dict[str, dict[str, float]]:
    left = {name: amount for name, amount in resources.items() if name not in without}
    return {"resources": left} if left else {}


def _run_step(run_name: str, task_name: str, ref: TimeframeRef, tail: str, *before: Parcel) -> Parcel:
    """Run one physical task on this worker."""
    run = find_run(run_name)
    task = run.task(task_name)
    inputs = {r: columns for parcel in before for r, columns in parcel.outputs.items()}
    accounts = {name: account for parcel in before for name, account in parcel.accounts.items()}
    left_s = None if run.deadline_s is None else run.deadline_s - sum(a.busy_s for a in accounts.values())
    isolation = run.isolation
    if isolation is not None:
        isolation.expires_at = None if left_s is None else time.monotonic() + left_s
    with deadline(left_s, ref, tail, task_name):
        step = run_step(run.topology, task, ref, inputs, run.state, isolation)
    return Parcel(step.outputs, accounts | {task_name: step.account})


def _run_commit(run_name: str, ref: TimeframeRef, *before: Parcel) -> Committed:
    """Commit the timeframe on this worker and return what is small."""
    run = find_run(run_name)
    outputs = {r: columns for parcel in before for r, columns in parcel.outputs.items() if r.is_in(run.kept)}
    account = Account()
    for task_account in {name: a for parcel in before for name, a in parcel.accounts.items()}.values():
        account.add(task_account)
    receipt = commit(run.sink, ref, dict(sorted(outputs.items())), account)
    trim_memory()
    return Committed(receipt, account)


_step = delayed(_run_step, pure=False, traverse=False)
_commit = delayed(_run_commit, pure=False, traverse=False)
