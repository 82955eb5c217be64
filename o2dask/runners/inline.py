"""The reference runner: in this process, one timeframe after the other, in order. No Dask.

For debugging (a debugger stops in a processor) and for tests: the bytes of every other runner must equal these.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from o2dask.columns import Columns
from o2dask.context import WorkerState
from o2dask.errors import CommitError
from o2dask.monitoring.events import Progress
from o2dask.runners import quarantine
from o2dask.runners.child import own_memory
from o2dask.runners.footprint import memory_of
from o2dask.runners.isolation import Isolation, isolation_of, needs_isolation
from o2dask.runners.ledger import Ledger, StopToken, advice
from o2dask.runners.memory import held_by_children
from o2dask.runners.report import RunReport
from o2dask.runners.step import Account, commit, run_step
from o2dask.sink import Receipt, Sink
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeRef
from o2dask.workflow.lifecycle import finish
from o2dask.workflow.planner import PhysicalTask, plan
from o2dask.workflow.topology import Topology

__all__ = ["run_inline"]


def run_inline(
    topology: Topology,
    refs: Sequence[TimeframeRef],
    sink: Sink,
    *,
    journal: "Path | str | None" = None,
    progress: Progress | None = None,
    resume: bool = False,
    stop: StopToken | None = None,
    isolate: bool = True,
) -> RunReport:
    """Return the report of a run of `topology` over all timeframes, in this process.

    Parameters
    ----------
    topology : Topology
        From `compile_workflow`.
    refs : sequence of TimeframeRef
        Where the timeframes are; each id once.
    sink : Sink
        Where the results go.
    journal : path, optional
        Folder of the journal and the quarantine; needed to resume safely.
    progress : callable, optional
        Is told of every event.
    resume : bool
        Go on after an earlier run of the same workflow into the same output.
    stop : StopToken, optional
        When set, the timeframe at hand is finished and no other begun.
    isolate : bool
        Whether expendable processors run in processes of their own; False for a debugger that is to stop in one.

    Raises
    ------
    ConfigError
        Before the first timeframe, if the run cannot work.
    """
    tasks = plan(topology, sink.patterns)
    state = WorkerState()
    isolation = isolation_of(topology, state) if isolate and needs_isolation(topology) else None
    with Ledger(topology, refs, sink, journal=journal, resume=resume, progress=progress) as ledger:
        ledger.begin()
        total = Account()
        for ref in ledger.todo:
            if stop is not None and stop.is_set():
                ledger.interrupted = True
                break
            ledger.started(ref)
            try:
                _run_one(topology, tasks, ref, sink, state, isolation, ledger, total)
            except CommitError as error:
                ledger.fail(advice(error))
            if ledger.failure or ledger.is_over:
                break
        finish(topology, state)
        return ledger.finish(peak_in_flight=min(1, len(ledger.todo)), worker_s=total.busy_s)


def _run_one(
    topology: Topology,
    tasks: tuple[PhysicalTask, ...],
    ref: TimeframeRef,
    sink: Sink,
    state: WorkerState,
    isolation: Isolation | None,
    ledger: Ledger,
    total: Account,
) -> None:
    account = Account()
    try:
        receipt = _process(topology, tasks, ref, sink, state, isolation, account)
    except Exception as error:  # noqa: BLE001 - whatever a processor raises costs its own timeframe only
        if quarantine.stops_the_run(error):
            ledger.fail(advice(error))
        else:
            ledger.quarantined(ref, quarantine.describe(error))
    else:
        ledger.committed(receipt, account.counters, account.seconds, account.spans)
        _sample(ledger, account)
        ledger.heard(account.metrics, account.requests)
    finally:
        total.busy_s += account.busy_s


def _sample(ledger: Ledger, account: Account) -> None:
    """Note the memory for the report, now and then: to look takes as long as a small timeframe."""
    if ledger.timeline.is_due(now := time.time()):
        ledger.timeline.sample(now, 1, account.footprint, own_memory(os.getpid()) + held_by_children())


def _process(
    topology: Topology,
    tasks: tuple[PhysicalTask, ...],
    ref: TimeframeRef,
    sink: Sink,
    state: WorkerState,
    isolation: Isolation | None,
    account: Account,
) -> Receipt:
    kept = set(topology.select(sink.patterns))
    last_use = {r: task.name for task in tasks for r in task.inputs}
    at_hand: dict[DataRef, Columns] = {}
    for task in tasks:
        before = memory_of(at_hand.values())
        step = run_step(topology, task, ref, at_hand, state, isolation)
        account.held_bytes = max(account.held_bytes, before + step.account.footprint)
        account.add(step.account)
        at_hand.update(step.outputs)
        for r in [
            r for r in at_hand if not r.is_in(kept) and last_use.get(r, last_use.get(r.family)) in (task.name, None)
        ]:
            del at_hand[r]
    return commit(sink, ref, {r: at_hand[r] for r in sorted(at_hand) if r.is_in(kept)}, account)
