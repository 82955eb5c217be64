"""Expendable processors in processes of their own: what crashes, leaks or hangs there costs its output and no more.

One child per processor and worker, kept from timeframe to timeframe; `child` is what runs in it. Knows processes and
policies, no Dask. Off (``isolate=False``) it costs one comparison per processor, and a debugger reaches the processor.
"""

import pickle
import time
from collections.abc import Mapping

import cloudpickle

from o2dask.columns import Columns
from o2dask.context import WorkerState
from o2dask.errors import ConfigError, O2DaskError
from o2dask.monitoring.events import OutputLost, ProcessorRestarted
from o2dask.runners.process import ChildProcess, LostError
from o2dask.specs import DataProcessorSpec, DataRef
from o2dask.timeframe import TimeframeRef
from o2dask.workflow.execute import TaskResult
from o2dask.workflow.topology import Topology

__all__ = ["DEADLINE_S", "Isolation", "back_off", "isolation_of", "needs_isolation"]

DEADLINE_S = 120.0
"""Time that an expendable processor has per timeframe unless it says so itself [s]. Too short, and slow ones lose good
output; too long, and an endless loop keeps a worker that long, once per back-off."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 60.0
"""Waits before a processor that failed twice in a row, and ever more often, is started again [s]."""
PATIENCE_S = 1.0
"""A timeframe waits for a processor for as long [s]; longer, and it goes on without. A worker that idles a second costs
less than the outputs of all timeframes that it does in that time; more than that the rest would notice."""


def needs_isolation(topology: Topology) -> bool:
    """Return whether there is anything to isolate."""
    return any(processor.expendable for processor in topology.processors)


def isolation_of(topology: Topology, state: WorkerState) -> "Isolation":
    """Return the isolation of a worker, which ends with its state."""
    return state.get(("service", Isolation), lambda: Isolation(topology))


def back_off(n_failures: int) -> float:
    """Return how long a processor waits after that many failures in a row [s]: the first one is forgiven.

    >>> [back_off(n) for n in (1, 2, 3, 4, 12)]
    [0.0, 0.25, 0.5, 1.0, 60.0]
    """
    return 0.0 if n_failures < 2 else float(min(FIRST_WAIT_S * 2.0 ** (n_failures - 2), LONGEST_WAIT_S))


class Isolation:
    """The expendable processors of one worker thread; takes the place of `run_task`'s own step for these.

    Parameters
    ----------
    topology : Topology
        Is sent to each child once.

    Attributes
    ----------
    expires_at : float, optional
        When the timeframe at hand runs out of time, on the clock of `time.monotonic` [s].

    Raises
    ------
    ConfigError
        If the topology cannot be sent to another process.
    """

    def __init__(self, topology: Topology) -> None:
        self.expires_at: float | None = None
        self._topology = _portable(topology)
        self._keepers: dict[str, _Keeper] = {}
        self._peak = 0

    def __call__(
        self,
        topology: Topology,
        spec: DataProcessorSpec,
        source: TimeframeRef,
        at_hand: Mapping[DataRef, Columns],
        state: WorkerState,
        result: TaskResult,
    ) -> Mapping[DataRef, Columns]:
        """Return what one processor makes; nothing if its process did not come back with it."""
        keeper = self._keepers.get(spec.name)
        if keeper is None:
            keeper = self._keepers[spec.name] = _Keeper(self._topology, spec)
        if keeper.has_quit:
            return {}
        needed = {r.ref for i in spec.inputs for r in topology.routes_to(spec.name, i.binding)}
        inputs = {ref: columns for ref, columns in at_hand.items() if ref.is_in(needed)}
        try:
            made = keeper.run(source, inputs, self._limit_s(spec), _feedback_of(topology, spec, state))
        except LostError as lost:
            key = f"{spec.name}.failed"
            result.counters[key] = result.counters.get(key, 0) + 1
            told = OutputLost(timeframe=source.id, processor=spec.name, cause=lost.cause, text=f"{lost}\n{lost.story}")
            result.metrics.append(told)
            return {}
        finally:
            self._peak = max(self._peak, keeper.peak_bytes)
            result.metrics += [ProcessorRestarted(processor=spec.name, cause=cause) for cause in keeper.take_restarts()]
        for counter, count in made.counters.items():
            result.counters[counter] = result.counters.get(counter, 0) + count
        result.seconds |= made.seconds
        result.metrics += made.metrics
        result.requests |= made.requests
        return made.outputs

    def take_peak(self) -> int:
        """Return the most memory that a child had since this was last asked [bytes]."""
        peak, self._peak = self._peak, 0
        return peak

    def close(self) -> None:
        """End the processors and their processes."""
        for keeper in self._keepers.values():
            keeper.close()
        self._keepers.clear()

    def _limit_s(self, spec: DataProcessorSpec) -> float:
        """Return the deadline of the processor, and no more than half of what the rest of the timeframe has left."""
        limit = spec.deadline_s or DEADLINE_S
        return limit if self.expires_at is None else max(0.01, min(limit, 0.5 * (self.expires_at - time.monotonic())))


class _Keeper:
    """Keeps the process of one processor alive, with patience."""

    def __init__(self, topology: bytes, spec: DataProcessorSpec) -> None:
        self._topology, self._spec = topology, spec
        self._child: ChildProcess | None = None
        self._n_failures, self._not_before = 0, 0.0
        self._starts: list[str] = []
        self._cause = ""
        self.has_quit = False
        self.peak_bytes = 0

    def run(
        self,
        source: TimeframeRef,
        inputs: Mapping[DataRef, Columns],
        limit_s: float,
        feedback: Mapping[DataRef, Columns],
    ) -> TaskResult:
        """Return what the processor makes of the timeframe; LostError if it does not."""
        wait_s = self._not_before - time.monotonic()
        if 0 < wait_s <= min(PATIENCE_S, limit_s):
            time.sleep(wait_s)
        elif wait_s > 0:
            raise LostError("back-off", f"waits for another {wait_s:.1f} s, after {self._n_failures} failures in a row")
        child = self._child or self._start()
        try:
            made = child.run(source, inputs, limit_s, feedback)
        except LostError as lost:
            self._failed(lost.cause)
            raise
        finally:
            self.peak_bytes = child.peak_bytes
        if isinstance(made, O2DaskError):
            raise made
        assert isinstance(made, TaskResult)
        self._n_failures = 0
        self.has_quit = f"quit:{self._spec.name}" in made.requests
        if child.is_over_memory:  # what it made is good, what it keeps is too much
            self._end()
            self._cause = "memory"
        return made

    def take_restarts(self) -> list[str]:
        """Return why the process was started anew, for each time since this was last asked."""
        starts, self._starts = self._starts, []
        return starts

    def close(self) -> None:
        """Let the processor end, then its process."""
        if self._child is not None:
            self._child.finish()
        self._end()

    def _start(self) -> ChildProcess:
        if self._cause:
            self._starts.append(self._cause)
        self._child = ChildProcess(self._topology, self._spec)
        return self._child

    def _failed(self, cause: str) -> None:
        self._end()
        self._n_failures += 1
        self._cause = cause
        wait_s = back_off(self._n_failures)
        self._not_before = time.monotonic() + wait_s
        if not wait_s:
            self._start()  # it gets ready while the rest of this timeframe is done

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None


def _feedback_of(topology: Topology, spec: DataProcessorSpec, state: WorkerState) -> dict[DataRef, Columns]:
    """Return what was fed back to the inputs of a processor, as the runner has it for this worker."""
    wanted = {route.ref for route in topology.feedback if route.consumer == spec.name}
    if not wanted:
        return {}
    known = state.get(("feedback", topology.fingerprint), dict[DataRef, Columns])
    return {ref: columns for ref, columns in known.items() if ref.is_in(wanted)}


def _portable(topology: Topology) -> bytes:
    try:
        return bytes(cloudpickle.dumps(topology))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"expendable processors run in processes of their own, and the workflow cannot be sent there: {error}; "
            "keep open files and locks out of algorithms, or switch isolation off (isolate=False, --no-isolation)"
        ) from None
