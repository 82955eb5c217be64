"""The Dask graph of one timeframe: a task per physical task, and a last one that commits and returns a receipt.

What is in the graph is names and where timeframes are; columns pass from task to task on the workers, out of band.
These travel as bytes: Dask looks into every argument for more tasks, which would take longer than a small timeframe.
"""

import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dask.base import annotate
from dask.delayed import Delayed, delayed

from o2dask.columns import Columns
from o2dask.errors import CommitError
from o2dask.runners.beside import leave
from o2dask.runners.deadline import deadline
from o2dask.runners.late import gather, leave_rest
from o2dask.runners.plugin import RunPlugin, find_run, trim_memory
from o2dask.runners.quarantine import stops_the_run
from o2dask.runners.step import Account, PeakWatch, account_of, commit, run_step
from o2dask.sink import Receipt
from o2dask.specs import DataRef
from o2dask.stream.descriptor import key_of
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["Committed", "Errand", "GroupDone", "Outcome", "Parcel", "group_graph", "late_graph", "timeframe_graph"]


@dataclass(slots=True)
class Parcel:
    """What one task hands to those after it: its outputs, and the accounts of all tasks up to it by their names."""

    outputs: dict[DataRef, Columns]
    accounts: dict[str, Account] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Committed:
    """What comes back to the driver; no receipt if the commit has to wait for what runs beside the graph."""

    receipt: Receipt | None
    account: Account


class Outcome(NamedTuple):
    """What became of one timeframe of a group: what its receipt says and the time in its processors [s], or its error.

    A plain tuple of plain values: pickled in a tenth of the time of dataclasses, which is felt with small timeframes.
    """

    files: tuple[str, ...] = ()
    n_bytes: int = 0
    rows: dict[str, int] = {}  # noqa: RUF012 - of a tuple, never changed
    seconds: float = 0.0
    error: Exception | None = None

    def receipt(self, ref: TimeframeRef) -> Receipt:
        """Return the receipt of the timeframe that this is the outcome of."""
        return Receipt(timeframe=ref.id, files=self.files, n_bytes=self.n_bytes, rows=self.rows)


@dataclass(slots=True)
class GroupDone:
    """What comes back of a group: an outcome for each timeframe in order, and what those committed took together.

    There are fewer outcomes than timeframes if the last one is an error that all others would have met.
    """

    outcomes: list[Outcome]
    account: Account


@dataclass(frozen=True, slots=True)
class Errand:
    """A timeframe as it is sent: where it is, the files of what is fed back, and the units that want data of it."""

    ref: TimeframeRef
    feedback: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def _packed(errands: Sequence[Errand]) -> bytes:
    """Return errands as bytes, by way of plain values."""
    refs = [(*key_of(e.ref.id), e.ref.url, e.ref.index, e.ref.n_bytes, e.ref.missing, e.beside) for e in errands]
    return pickle.dumps((errands[0].feedback, refs))


def _unpacked(packed: bytes) -> list[Errand]:
    """Return the errands that `_packed` packed."""
    feedback, refs = pickle.loads(packed)
    found = []
    for run, counter, orbit, n_orbits, url, index, n_bytes, missing, beside in refs:
        id_ = TimeframeId(run=run, tf_counter=counter, first_orbit=orbit, n_orbits=n_orbits)
        ref = TimeframeRef(id=id_, url=url, index=index, n_bytes=n_bytes, missing=missing)
        found.append(Errand(ref, feedback, beside))
    return found


def group_graph(
    run: RunPlugin, errands: Sequence[Errand], attempt: str, without: frozenset[str] = frozenset()
) -> tuple[Delayed, str]:
    """Return the graph of several small timeframes, one task in all, and the tail of its key.

    Each timeframe goes through all processors, and is committed, before the next is begun: so they need no more memory
    than one, and the results are those of each alone.
    """
    first = errands[0].ref.id
    tail = f"{first.run}-{first.tf_counter}-{first.first_orbit}-x{len(errands)}-{attempt}"
    (task,) = run.fused
    with annotate(**_needs(dict(task.resources), without)):
        return _group(run.name, _packed(errands), tail, dask_key_name=f"commit-{tail}"), tail


def timeframe_graph(
    run: RunPlugin, errand: Errand, attempt: str, without: frozenset[str] = frozenset(), *, joined: bool = False
) -> tuple[Delayed, str]:
    """Return the graph of one timeframe and the common tail of its keys.

    Keys are ``<task>-<run>-<tf counter>-<first orbit>-<attempt>``, the task first: so Dask groups and times tasks by
    what they do. `attempt` is unique, so that no key of a dead driver or an earlier try is met again. `without` names
    resources that the cluster has not got and tasks must not wait for. If `joined`, a commit that waits for one task
    only is done by that: a task less, and nothing to send between them.
    """
    ref = errand.ref
    tail = f"{ref.id.run}-{ref.id.tf_counter}-{ref.id.first_orbit}-{attempt}"
    producer = {out: task.name for task in run.tasks for out in task.outputs}
    before = {task.name: dict.fromkeys(producer[r] for r in task.inputs) for task in run.tasks}
    # The commit waits for what it writes, and for the ends: tasks that no other task follows.
    followed = {name for names in before.values() for name in names}
    last = [t.name for t in run.tasks if t.name not in followed or not run.leaving.isdisjoint(t.outputs)]
    packed = _packed([errand])
    made: dict[str, Delayed] = {}
    for task in run.tasks:
        is_whole = joined and last == [task.name]
        step, key = (_last, f"commit-{tail}") if is_whole else (_step, f"{task.name}-{tail}")
        needed = [made[name] for name in before[task.name]]
        with annotate(**_needs(dict(task.resources), without)):
            made[task.name] = step(run.name, task.name, packed, tail, *needed, dask_key_name=key)
        if is_whole:
            return made[task.name], tail
    return _commit(run.name, packed, *(made[name] for name in last), dask_key_name=f"commit-{tail}"), tail


def late_graph(run: RunPlugin, ref: TimeframeRef, attempt: str) -> tuple[Delayed, str]:
    """Return the graph of a commit that waited for what runs beside the graph, and the tail of its key."""
    tail = f"{ref.id.run}-{ref.id.tf_counter}-{ref.id.first_orbit}-late-{attempt}"
    return _late(run.name, _packed([Errand(ref)]), dask_key_name=f"commit-{tail}"), tail


def _needs(resources: dict[str, float], without: frozenset[str]) -> dict[str, dict[str, float]]:
    left = {name: amount for name, amount in resources.items() if name not in without}
    return {"resources": left} if left else {}


def _run_step(run_name: str, task_name: str, packed: bytes, tail: str, *before: Parcel) -> Parcel:
    """Run one physical task on this worker."""
    run, (errand,) = find_run(run_name), _unpacked(packed)
    ref, task = errand.ref, run.task(task_name)
    run.feed_back(errand.feedback)
    inputs = {r: columns for parcel in before for r, columns in parcel.outputs.items()}
    accounts = {name: account for parcel in before for name, account in parcel.accounts.items()}
    left_s = None if run.deadline_s is None else run.deadline_s - sum(a.busy_s for a in accounts.values())
    isolation = run.isolation
    if isolation is not None:
        isolation.expires_at = None if left_s is None else time.monotonic() + left_s
    with deadline(left_s, ref, tail, task_name):
        step = run_step(run.topology, task, ref, inputs, run.state, isolation, measure=run.looks(task_name, ref))
    return Parcel(step.outputs, accounts | {task_name: step.account})


def _run_last(run_name: str, task_name: str, packed: bytes, tail: str, *before: Parcel) -> Committed:
    """Run the task that the commit waits for, and commit."""
    return _run_commit(run_name, packed, _run_step(run_name, task_name, packed, tail, *before))


def _run_commit(run_name: str, packed: bytes, *before: Parcel) -> Committed:
    """Commit the timeframe on this worker and return what is small."""
    run, (errand,) = find_run(run_name), _unpacked(packed)
    outputs = {r: columns for parcel in before for r, columns in parcel.outputs.items() if r.is_in(run.leaving)}
    accounts = {name: a for parcel in before for name, a in parcel.accounts.items()}
    account = account_of(run.tasks, accounts, run.leaving)
    receipt = _hand_on(run, errand, outputs, account)
    trim_memory()
    return Committed(receipt, account)


def _hand_on(run: RunPlugin, errand: Errand, outputs: dict[DataRef, Columns], account: Account) -> Receipt | None:
    """Leave what is needed beside the graph, then commit: what is committed was left, whoever dies in between.

    What the sink keeps is left as well if it also keeps something that is made beside the graph.
    """
    for name in errand.beside:
        try:
            leave(run.folder, run.units[name], errand.ref, outputs)
        except OSError as error:
            raise CommitError(f"{run.folder}/{name}: cannot write: {error.strerror or error}") from error
    kept = {r: columns for r, columns in outputs.items() if r.is_in(run.kept)}
    if run.late:
        leave_rest(run.folder, run.late, errand.ref, kept)
        return None
    return commit(run.sink, errand.ref, dict(sorted(kept.items())), account)


def _run_late(run_name: str, packed: bytes) -> Committed:
    """Commit a timeframe that waited for what runs beside the graph, on this worker."""
    run, (errand,), account = find_run(run_name), _unpacked(packed), Account()
    receipt = commit(run.sink, errand.ref, gather(run.folder, run.late, errand.ref), account)
    return Committed(receipt, account)


def _run_group(run_name: str, packed: bytes, tail: str) -> GroupDone:
    """Run and commit timeframes one after the other on this worker; an exception costs its own timeframe."""
    run, errands = find_run(run_name), _unpacked(packed)
    (task,) = run.fused
    state, isolation = run.state, run.isolation
    total, outcomes = Account(), []
    peaks = PeakWatch() if run.looks("group", errands[0].ref) else None
    start = time.perf_counter()
    run.feed_back(errands[0].feedback)
    for errand in errands:
        ref, left_s = errand.ref, run.deadline_s
        if isolation is not None:
            isolation.expires_at = None if left_s is None else time.monotonic() + left_s
        try:
            with deadline(left_s, ref, tail, task.name):
                step = run_step(run.topology, task, ref, {}, state, isolation, measure=False)
            receipt = _hand_on(run, errand, step.outputs, Account())
            assert receipt is not None, "no groups where commits have to wait"
        except Exception as error:  # noqa: BLE001 - whatever a processor raises costs its own timeframe only
            outcomes.append(Outcome(error=error))
            if stops_the_run(error):
                break
            continue
        seconds = sum(step.account.seconds.values())
        outcomes.append(Outcome(receipt.files, receipt.n_bytes, receipt.rows, seconds))
        total.add_one(step.account)
    total.busy_s, now = time.perf_counter() - start, time.time()
    total.spans = [(now - total.busy_s, now)]
    if peaks is not None:
        total.peak_bytes, total.is_measured = max(total.peak_bytes, peaks.growth()), True
    trim_memory()
    return GroupDone(outcomes, total)


_group = delayed(_run_group, pure=False, traverse=False)
_step = delayed(_run_step, pure=False, traverse=False)
_last = delayed(_run_last, pure=False, traverse=False)
_commit = delayed(_run_commit, pure=False, traverse=False)
_late = delayed(_run_late, pure=False, traverse=False)
