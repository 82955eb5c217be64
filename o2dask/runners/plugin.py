"""What lives on a worker: the topology and the sink of a run, sent once, and the state built from them, kept.

Tasks of the graph hold names only and look these up here, so that nothing large is in a graph. A worker that was
restarted gets the plugin before its first task and builds its state anew.
"""

import hashlib
import os
import pickle
import threading
from collections import Counter

import cloudpickle
from distributed import Worker, WorkerPlugin, get_worker

from o2dask.columns import Columns
from o2dask.context import WorkerState
from o2dask.dataspecs import DataRef
from o2dask.errors import ConfigError
from o2dask.heap import give_back, keep_freed_arrays
from o2dask.runners.beside import read_feedback
from o2dask.runners.beside_plan import BesideUnit
from o2dask.runners.child import own_memory
from o2dask.runners.isolation import Isolation, isolation_of, needs_isolation
from o2dask.sink import Sink
from o2dask.timeframe import TimeframeRef
from o2dask.workflow.lifecycle import finish
from o2dask.workflow.planner import MIN_TASK_MS, PhysicalTask, plan
from o2dask.workflow.topology import Topology

__all__ = ["RunPlugin", "find_run", "plan_run", "trim_memory"]

_states: dict[str, threading.local] = {}
"""State by fingerprint of the topology, apart for each thread: scratch in it serves one timeframe at a time."""
_of_threads: dict[str, list[WorkerState]] = {}
"""The same states, for whoever ends them."""
FIRST_LOOKS, LOOK_EVERY = 8, 16
"""How often the memory of a task is measured."""
FULL = 0.4
"""Share of its limit from which on a worker gives freed memory back; Dask begins to spill at 0.6."""


class RunPlugin(WorkerPlugin):
    """One run on one worker.

    Attributes
    ----------
    name : str
        The same for the same topology and sink, so that a resumed run finds its plugin and state again.
    topology, tasks, sink
        What to run, and where results go.
    fused : tuple of PhysicalTask
        The same in as few tasks as resources allow, for timeframes that are small.
    deadline_s : float, optional
        Longest time in the processors of one timeframe [s].
    isolate : bool
        Whether there are expendable processors, to be run in processes of their own.
    units, folder : dict of str to BesideUnit, str
        What runs beside the graph, and where timeframes leave data for it.
    leaving : frozenset of DataRef
        What comes out of the tasks: what the sink keeps, and what `units` need.
    late : tuple of BesideUnit
        Those of `units` that a commit has to wait for, because the sink keeps something of theirs.
    """

    idempotent = True

    def __init__(
        self,
        topology: Topology,
        tasks: tuple[PhysicalTask, ...],
        sink: Sink,
        deadline_s: float | None = None,
        isolate: bool = True,
        units: tuple[BesideUnit, ...] = (),
        folder: str = "",
    ) -> None:
        self.isolate = isolate and needs_isolation(topology)
        self.topology, self.tasks, self.sink, self.deadline_s = topology, tasks, sink, deadline_s
        self.units, self.folder = {unit.name: unit for unit in units}, folder
        self.fused = plan_run(topology, sink, units, float("inf"))
        self.kept = frozenset(topology.select(sink.patterns))
        self.late = tuple(unit for unit in units if unit.kept)
        self.leaving = self.kept | {ref for unit in units for ref in unit.inputs}
        digest = hashlib.sha256(_pickled(topology, sink, deadline_s, isolate, units, folder)).hexdigest()[:12]
        self.name = f"o2dask-{topology.fingerprint}-{digest}"

    def setup(self, worker: Worker) -> None:
        """Make room for the state; it is built when first asked for."""
        keep_freed_arrays()
        _states.setdefault(self.topology.fingerprint, threading.local())

    def teardown(self, worker: Worker) -> None:
        """End the processors and forget their state, unless another run of this topology uses it."""
        others = (p for name, p in worker.plugins.items() if isinstance(p, RunPlugin) and name != self.name)
        if self.topology.fingerprint not in {p.topology.fingerprint for p in others}:
            _states.pop(self.topology.fingerprint, None)
            for state in _of_threads.pop(self.topology.fingerprint, []):
                finish(self.topology, state)
        give_back()

    @property
    def state(self) -> WorkerState:
        """What this thread of this worker keeps between timeframes."""
        local = _states.setdefault(self.topology.fingerprint, threading.local())
        if not hasattr(local, "state"):
            local.state = WorkerState()
            _of_threads.setdefault(self.topology.fingerprint, []).append(local.state)
        state: WorkerState = local.state
        return state

    @property
    def isolation(self) -> Isolation | None:
        """What runs expendable processors apart, for this thread; None if nothing does."""
        return isolation_of(self.topology, self.state) if self.isolate else None

    def feed_back(self, paths: tuple[str, ...]) -> None:
        """Have feedback inputs see what was published in these files; each is read once."""
        state, fingerprint = self.state, self.topology.fingerprint
        seen = state.get(("feedback-files", fingerprint), list[tuple[str, ...]])
        if seen != [paths]:
            slot = state.get(("feedback", fingerprint), dict[DataRef, Columns])
            slot.clear()
            slot.update(read_feedback(paths))
            seen[:] = [paths]

    def looks(self, task: str, ref: TimeframeRef) -> bool:
        """Return whether to look at the memory of a task: the first times it runs in this thread, then now and then.

        Which timeframes those are is the same for all tasks, so that the sum over them is that of a timeframe.
        """
        n_looks = self.state.get(("looks", self.topology.fingerprint), Counter[str])
        n_looks[task] += 1
        return n_looks[task] <= FIRST_LOOKS or ref.id.tf_counter % LOOK_EVERY == 0

    def task(self, name: str) -> PhysicalTask:
        """Return the physical task of this name."""
        return next(task for task in self.tasks if task.name == name)


def plan_run(
    topology: Topology, sink: Sink, units: tuple[BesideUnit, ...] = (), min_ms: float = MIN_TASK_MS
) -> tuple[PhysicalTask, ...]:
    """Return the physical tasks of a run, out of which comes what the sink keeps and what runs beside them needs."""
    is_late = any(unit.kept for unit in units)
    kept = sink.patterns if topology.select(sink.patterns) or not is_late else ()
    tasks = plan(topology, kept, min_ms)  # first, for it checks that the sink gets anything
    beside = [str(ref) for unit in units for ref in unit.inputs]
    return plan(topology, (*kept, *beside), min_ms) if beside else tasks


def find_run(name: str) -> RunPlugin:
    """Return the run called `name` on the worker that this is called on."""
    worker = get_worker()
    run = worker.plugins.get(name)
    if not isinstance(run, RunPlugin):
        raise ConfigError(f"worker {worker.address} was not told of run {name}; start the run again")
    return run


def _pickled(*values: object) -> bytes:
    try:
        return bytes(cloudpickle.dumps(values))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"the workflow or its sink cannot be sent to workers: {error}; keep open files, locks and "
            "lambdas with such out of algorithms and sinks, or use the inline runner"
        ) from None


def trim_memory() -> None:
    """Give freed memory back to the system if this worker seems full: Dask pauses it for what the heap merely keeps."""
    limit = getattr(get_worker().memory_manager, "memory_limit", None)
    if limit and own_memory(os.getpid()) > FULL * limit:
        give_back()
