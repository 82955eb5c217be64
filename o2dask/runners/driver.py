"""The driver of a batch run: feeds the window, enters what comes back, looks after workers and deadlines.

Knows Dask and the ledger; how workers are had is `cluster`'s, what a timeframe is made of is `graph`'s.
"""

import itertools
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Any

from distributed import Future, KilledWorker, as_completed

from o2dask.errors import CommitError, ConfigError
from o2dask.runners import quarantine
from o2dask.runners.cluster import Backend
from o2dask.runners.deadline import DEADLINE_TOPIC
from o2dask.runners.graph import Committed, timeframe_graph
from o2dask.runners.ledger import Ledger, StopToken, advice
from o2dask.runners.plugin import RunPlugin
from o2dask.runners.quarantine import Failure
from o2dask.runners.report import RunReport
from o2dask.runners.settings import MIB, BatchSettings
from o2dask.runners.timeline import MemoryWatch
from o2dask.runners.window import MemoryModel, Pacer, Window
from o2dask.sink import Receipt
from o2dask.timeframe import TimeframeRef

__all__ = ["Driver"]

IDLE_S = 0.05
"""Longest sleep of the driver [s]; whatever comes back wakes it at once. Shorter costs CPU, longer delays deadlines."""
SAMPLE_S = 0.05
"""How often the state of the window is noted for the report [s]."""


@dataclass(slots=True)
class _Flight:
    """A timeframe in flight; `is_alone` if nothing else is, because it was near when workers died."""

    ref: TimeframeRef
    future: Future[Committed]
    is_alone: bool = False
    late: dict[str, str] | None = None


class Driver:
    """Feeds the window and enters what comes out of it; lives for one run, in one thread."""

    def __init__(
        self, ledger: Ledger, backend: Backend, run: RunPlugin, settings: BatchSettings, stop: StopToken | None
    ) -> None:
        n = backend.n_workers
        self._ledger, self._backend, self._run, self._stop = ledger, backend, run, stop
        self._deadline_s = settings.deadline_s
        self._todo = deque(ledger.todo)
        self._suspects: deque[TimeframeRef] = deque()
        self._flights: dict[str, _Flight] = {}
        self._late: deque[dict[str, str]] = deque()
        self._window = Window(settings.window or max(4, 2 * n), backend.budget, n, MemoryModel(settings.expansion))
        self._pacer = Pacer(n)
        self._session, self._count = uuid.uuid4().hex[:8], itertools.count()
        self._worker_s = self._sampled = 0.0
        self._completed = as_completed(loop=backend.client.loop, with_results=True, raise_errors=False)

    def run(self) -> RunReport:
        """Run to the end, a stop, or a failure."""
        client = self._backend.client
        try:
            client.register_plugin(self._run)
        except ImportError as error:
            raise ConfigError(
                f"workers at {self._backend.address} cannot import the workflow: {error}; install the same o2dask there"
            ) from error
        client.subscribe_topic(DEADLINE_TOPIC, lambda event: self._late.append(event[1]))
        self._ledger.begin(self._backend.n_workers, self._backend.name)
        try:
            with MemoryWatch(self._backend.measure) as memory:
                while self._goes_on():
                    if not (self._feed() or self._collect()):
                        self._wait()
                    self._watch(memory)
                self._watch(memory, now_please=True)
        except CommitError as error:  # of the journal or the quarantine
            self._ledger.fail(advice(error))
        finally:
            self._withdraw()
        return self._ledger.finish(
            peak_in_flight=self._window.peak_count,
            peak_bytes=self._window.peak_bytes,
            budget_bytes=self._backend.budget,
            memory_bytes=self._backend.memory,
            worker_s=self._worker_s,
        )

    def _wait(self) -> None:
        """Sleep until a timeframe comes back, or a while."""
        completed = self._completed
        with completed.thread_condition:
            if completed.queue.empty():
                completed.thread_condition.wait(IDLE_S)

    def _goes_on(self) -> bool:
        if self._ledger.failure:
            return False
        if self._flights:
            return True
        if self._stop is not None and self._stop.is_set():
            self._ledger.interrupted = bool(self._todo or self._suspects)
            return False
        return bool(self._todo or self._suspects) and not self._ledger.is_over

    def _feed(self) -> bool:
        """Send the next timeframe if it may go; return whether it went."""
        if self._ledger.is_over or (self._stop is not None and self._stop.is_set()):
            return False
        now = time.monotonic()
        if self._todo:
            if self._pacer.holds(now, len(self._window)) or not self._window.admits(self._todo[0]):
                return False
            self._send(self._todo.popleft())
        elif self._suspects and not self._flights:
            self._send(self._suspects.popleft(), is_alone=True)
        else:
            return False
        self._pacer.started(now)
        return True

    def _send(self, ref: TimeframeRef, is_alone: bool = False) -> None:
        number = next(self._count)
        graph, tail = timeframe_graph(self._run, ref, f"{self._session}-{number}", self._backend.without)
        future = self._backend.client.compute(graph, priority=-number, optimize_graph=False)
        self._flights[tail] = _Flight(ref, future, is_alone)
        self._window.enter(tail, ref)
        self._completed.add(future)
        if not is_alone:
            self._ledger.started(ref, len(self._window))

    def _collect(self) -> bool:
        """Enter what came back; return whether anything did."""
        batch = self._completed.next_batch(block=False)
        for future, result in batch:
            tail = future.key.partition("commit-")[2]
            if (flight := self._flights.get(tail)) is not None:
                self._enter(tail, flight, future.status, result)
            future.release()
        return bool(batch)

    def _enter(self, tail: str, flight: _Flight, status: str, result: Any) -> None:
        del self._flights[tail]
        if status == "finished" and isinstance(result, Committed):
            account = result.account
            self._window.leave(tail, account.footprint)
            self._pacer.done(account.busy_s)
            self._worker_s += account.busy_s
            self._ledger.committed(result.receipt, account.counters, account.seconds, account.spans)
            self._ledger.heard(account.metrics, account.requests)
            return
        self._window.leave(tail)
        error = result[1] if isinstance(result, tuple) else result
        if flight.late is not None:
            self._set_aside(flight.ref, self._too_late(flight.late))
        elif isinstance(error, KilledWorker):
            self._killed(flight, error)
        elif status == "error":
            if quarantine.stops_the_run(error):
                self._ledger.fail(advice(error))
            else:
                self._set_aside(flight.ref, quarantine.describe(error))
        else:  # cancelled, and not by us
            self._ledger.fail(self._backend.loss)

    def _killed(self, flight: _Flight, error: KilledWorker) -> None:
        """Try a timeframe again alone: whoever waits on a worker that dies looks guilty to Dask."""
        if not flight.is_alone:
            self._suspects.append(flight.ref)
            return
        limit = self._backend.worker_limit
        memory = f" or needs more than its {limit / MIB:.0f} MiB" if limit else ""
        task = str(error.task).removesuffix(str(flight.future.key).removeprefix("commit"))
        reason = f"KilledWorker: workers die in task {task}: it crashes{memory} (last on {error.last_worker.address})"
        story = quarantine.describe(error).text
        self._set_aside(flight.ref, Failure(reason, f"timeframe: {flight.ref}\ntask: {task}\n{story}"))

    def _too_late(self, message: dict[str, str]) -> Failure:
        reason = f"deadline: over {self._deadline_s:g} s in its processors, the last in task {message['task']}"
        text = f"timeframe: {message['timeframe']}\ntask: {message['task']}\nwhere it was:\n{message['text']}"
        return Failure(reason, text)

    def _set_aside(self, ref: TimeframeRef, failure: Failure) -> None:
        # Its worker may have died, or its time run out, after the commit: then it is committed.
        if self._ledger.sink.is_committed(ref):
            self._ledger.committed(Receipt(timeframe=ref.id), {}, {})
        else:
            self._ledger.quarantined(ref, failure)

    def _watch(self, memory: MemoryWatch, *, now_please: bool = False) -> None:
        """Look after workers and deadlines, note how things are, and pass on what the user should know."""
        if (now := time.time()) - self._sampled >= SAMPLE_S or now_please:
            self._sampled = now
            self._ledger.timeline.sample(now, len(self._window), self._window.n_bytes, memory.n_bytes)
        while self._late:
            message = self._late.popleft()
            if (flight := self._flights.get(message["key"])) is not None and flight.late is None:
                flight.late = message
                self._backend.client.cancel([flight.future], force=True)
        if reason := self._backend.supervise(now_please=now_please):
            self._ledger.fail(reason)
        while self._backend.notices:
            self._ledger.notice(self._backend.notices.pop(0))

    def _withdraw(self) -> None:
        """Take back what is in flight, and the plugin; without a scheduler there is nothing to take back."""
        client = self._backend.client
        futures = [flight.future for flight in self._flights.values()]
        self._flights.clear()
        self._completed.clear()
        if not self._backend.is_connected:
            return
        try:
            if futures:
                client.cancel(futures, force=True)
            client.unsubscribe_topic(DEADLINE_TOPIC)
            client.unregister_worker_plugin(self._run.name)
        except OSError as error:
            self._ledger.notice(f"the scheduler left before the run was withdrawn from it: {error}")
