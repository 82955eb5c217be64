"""One physical task, or the commit, of one timeframe, with its account: what inline and batch both do. No Dask."""

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from o2dask.columns import Columns, Jagged
from o2dask.context import WorkerState
from o2dask.errors import CommitError
from o2dask.heap import give_back
from o2dask.monitoring.events import Event
from o2dask.runners import quarantine
from o2dask.runners.footprint import held_at_once, memory_of
from o2dask.sink import Receipt, Sink
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeRef
from o2dask.workflow.execute import run_task
from o2dask.workflow.planner import PhysicalTask
from o2dask.workflow.topology import Topology

if TYPE_CHECKING:
    from o2dask.runners.isolation import Isolation

__all__ = ["Account", "PeakWatch", "StepResult", "account_of", "commit", "packed", "run_step"]


@dataclass(slots=True)
class Account:
    """What tasks of one timeframe took.

    Attributes
    ----------
    counters : dict of str to int
        What processors counted.
    seconds : dict of str to float
        Time inside each processor [s].
    busy_s : float
        Time of whole tasks, on the clock of the worker [s].
    spans : list of (float, float)
        When each task began and ended [s since 1970].
    payload_bytes : int
        Memory that everything keeps which left a task [bytes].
    peak_bytes : int
        Most that the process grew by within one task, and the size of its children [bytes]; 0 where the system does
        not tell.
    is_measured : bool
        Whether the growth of the process was looked at, at least in one task.
    held_bytes : int
        Most that the whole timeframe held at once [bytes], see `footprint.held_at_once`; 0 if it had one task only.
    metrics, requests : list of Event, set of str
        What processors sent to monitoring or lost, and asked of the run.
    """

    counters: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    busy_s: float = 0.0
    payload_bytes: int = 0
    peak_bytes: int = 0
    held_bytes: int = 0
    spans: list[tuple[float, float]] = field(default_factory=list)
    metrics: list[Event] = field(default_factory=list)
    requests: set[str] = field(default_factory=set)
    is_measured: bool = False

    def add(self, other: "Account") -> None:
        """Add what other tasks of the timeframe took."""
        for name, count in other.counters.items():
            self.counters[name] = self.counters.get(name, 0) + count
        for name, seconds in other.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.busy_s += other.busy_s
        self.payload_bytes += other.payload_bytes
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        self.spans += other.spans
        self.metrics += other.metrics
        self.requests |= other.requests
        self.is_measured |= other.is_measured

    def add_one(self, other: "Account") -> None:
        """Add what a whole timeframe took after those before it: they are not in memory at one time."""
        payload_bytes = max(self.payload_bytes, other.payload_bytes)
        self.add(other)
        self.payload_bytes = payload_bytes

    @property
    def footprint(self) -> int:
        """Most memory the timeframe can have held at once, as far as measured [bytes]; 0 if it was not."""
        return self.held_bytes or max(self.payload_bytes, self.peak_bytes) if self.is_measured else 0


def account_of(tasks: Sequence[PhysicalTask], accounts: Mapping[str, Account], leaving: Set[DataRef]) -> Account:
    """Return the account of a timeframe out of those of its tasks by name.

    Its memory is known if that of each task was looked at, which is for each worker to decide.
    """
    total = Account()
    for account in accounts.values():
        total.add(account)
    total.held_bytes = held_at_once(tasks, accounts, leaving)
    total.is_measured = all(account.is_measured for account in accounts.values())
    return total


@dataclass(slots=True)
class StepResult:
    """What one task hands to the next: its outputs, and its own account."""

    outputs: dict[DataRef, Columns]
    account: Account


def run_step(
    topology: Topology,
    task: PhysicalTask,
    ref: TimeframeRef,
    inputs: Mapping[DataRef, Columns],
    state: WorkerState,
    isolation: "Isolation | None" = None,
    *,
    measure: bool = True,
) -> StepResult:
    """Return what `task` makes of the timeframe; an exception carries timeframe, task and traceback with it.

    Without `measure` the memory of this process is not looked at: that takes longer than a small timeframe, and has
    what was kept free faulted in again.
    """
    start, peaks = time.perf_counter(), PeakWatch() if measure else None
    try:
        result = run_task(topology, task, ref, inputs, state, isolation)
    except Exception as error:
        quarantine.tell(error, ref, task.name)
        raise
    outputs = {r: packed(columns) for r, columns in result.outputs.items()}
    busy_s, now = time.perf_counter() - start, time.time()
    account = Account(
        counters=dict(result.counters),
        seconds=dict(result.seconds),
        busy_s=busy_s,
        spans=[(now - busy_s, now)],
        payload_bytes=memory_of(outputs.values()),
        peak_bytes=(peaks.growth() if peaks else 0) + (isolation.take_peak() if isolation else 0),
        metrics=result.metrics,
        requests=result.requests,
        is_measured=measure,
    )
    return StepResult(outputs, account)


def commit(sink: Sink, ref: TimeframeRef, outputs: Mapping[DataRef, Columns], account: Account) -> Receipt:
    """Commit the timeframe through the sink and return its receipt; any OSError comes out as CommitError."""
    start = time.perf_counter()
    try:
        try:
            receipt = sink.commit(ref, outputs)
        except CommitError:
            raise
        except OSError as error:
            raise CommitError(f"commit of {ref.id}: {error}") from error
    except Exception as error:
        quarantine.tell(error, ref, "commit")
        raise
    busy_s, now = time.perf_counter() - start, time.time()
    account.busy_s += busy_s
    account.spans.append((now - busy_s, now))
    return receipt


def packed(columns: Columns) -> Columns:
    """Return columns whose arrays lie in one piece: pickle-5 sends such out of band, others it copies in band."""
    if all(part.flags.forc for value in columns.values() for part in _parts(value)):
        return columns
    arrays: dict[str, np.ndarray | Jagged] = {}
    for name, value in columns.items():
        parts = [np.ascontiguousarray(part) for part in _parts(value)]
        arrays[name] = Jagged(*parts) if isinstance(value, Jagged) else parts[0]
    return Columns(columns.schema, arrays).freeze()


def _parts(value: "np.ndarray | Jagged") -> tuple[np.ndarray, ...]:
    return tuple(value) if isinstance(value, Jagged) else (value,)


_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class PeakWatch:
    """Measures the most that the resident size of this process grows by from here on.

    What it keeps free it gives back first, or what it takes again would not be seen.
    """

    def __init__(self) -> None:
        give_back()
        try:
            _CLEAR_REFS.write_text("5")  # proc(5): "reset the peak resident set size"
            self._before = _status("VmRSS")
        except OSError:
            self._before = 0

    def growth(self) -> int:
        """Return the growth up to now [bytes]; 0 off Linux."""
        return max(0, _status("VmHWM") - self._before) if self._before else 0


def _status(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0
