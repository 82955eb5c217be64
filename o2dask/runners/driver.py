"""The driver of a run on Dask workers: feeds the window, enters what comes back, looks after workers and deadlines.

Knows Dask, a feed and the ledger; how workers are had is `cluster`'s, what a timeframe is made of is `graph`'s, where
timeframes come from the feed's.
"""

import itertools
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from distributed import Future, KilledWorker, as_completed

from o2dask.errors import CommitError, ConfigError
from o2dask.runners import quarantine
from o2dask.runners.beside import Beside
from o2dask.runners.cluster import Backend
from o2dask.runners.deadline import DEADLINE_TOPIC
from o2dask.runners.feed import Feed
from o2dask.runners.graph import Committed, Errand, GroupDone, group_graph, timeframe_graph
from o2dask.runners.late_commits import Ended, LateCommits
from o2dask.runners.ledger import Ledger, StopToken, advice
from o2dask.runners.plugin import RunPlugin
from o2dask.runners.quarantine import Failure
from o2dask.runners.report import RunReport
from o2dask.runners.settings import BatchSettings
from o2dask.runners.step import Account
from o2dask.runners.timeline import MemoryWatch
from o2dask.runners.window import Grouping, MemoryModel, Pacer, Window, is_instance_busy
from o2dask.sink import Receipt
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["Driver"]

IDLE_S = 0.25
"""Longest sleep of the driver, and how often the window is noted for the report [s]; results wake it at once."""


@dataclass(slots=True)
class _Flight:
    """One or several timeframes in flight; `is_alone` if nothing else is, because it was near when workers died."""

    refs: tuple[TimeframeRef, ...]
    future: Future[Any]
    is_alone: bool = False
    feedback: tuple[str, ...] = ()
    late: dict[str, str] | None = None


class Driver:
    """Feeds the window and enters what comes out of it; lives for one run, in one thread.

    Parameters
    ----------
    feed : Feed
        Gives the timeframes, and is told of those that are settled.
    ledger, backend, run, settings
        The book of the run, the workers, what they run, how.
    stop : StopToken, optional
        When set, the feed is stopped; one that also has ``is_paused()`` holds timeframes back as long as that is true.
    beside : Beside, optional
        What runs beside the graphs.
    """

    def __init__(
        self,
        feed: Feed,
        ledger: Ledger,
        backend: Backend,
        run: RunPlugin,
        settings: BatchSettings,
        stop: StopToken | None = None,
        beside: Beside | None = None,
    ) -> None:
        n = backend.n_workers
        self._beside = beside or Beside(run.topology, ())
        self._pipelines = sorted({p.pipeline for p in run.topology.processors if p.pipeline > 1})
        self._feed, self._ledger, self._backend, self._run, self._stop = feed, ledger, backend, run, stop
        self._is_paused: Callable[[], bool] = getattr(stop, "is_paused", lambda: False)
        self._is_halted, self._deadline_s = False, settings.deadline_s
        self._ready: deque[TimeframeRef] = deque()
        self._suspects: deque[TimeframeRef] = deque()
        self._inside: dict[TimeframeId, TimeframeRef] = {}
        self._flights: dict[str, _Flight] = {}
        self._late: deque[dict[str, str]] = deque()
        self._window = Window(settings.window or max(4, 2 * n), backend.budget, n, MemoryModel(settings.expansion))
        self._pacer, self._most_ready = Pacer(n), 2 * n
        may_group = len(run.fused) == 1 and not self._pipelines and not run.late
        self._grouping = Grouping(settings.group if may_group else 1, n)
        self._session, self._count = uuid.uuid4().hex[:8], itertools.count()
        self._worker_s = self._sampled = 0.0
        self._completed = as_completed(loop=backend.client.loop, with_results=True, raise_errors=False)
        self._called = threading.Event()
        self._commits = LateCommits(backend.client, self._completed, run, self._beside.late, self._session)
        self._beside.late.wake = self.wake

    def wake(self) -> None:
        """Wake the driver because there is something to take; may be called from any thread."""
        self._called.set()
        with self._completed.thread_condition:
            self._completed.thread_condition.notify_all()

    @property
    def window(self) -> dict[str, int]:
        """Timeframes in flight and ready to be sent, places taken (by one, or a group) of how many: read by others."""
        return {
            "in_flight": len(self._inside) - len(self._ready),
            "waiting": len(self._ready),
            "places": len(self._window),
            "window": self._window.max_count,
        }

    def run(self, figures: Callable[[], Mapping[str, Any]] = dict) -> RunReport:
        """Run to the end, a stop, or a failure; `figures` returns at the end what else the report says."""
        client = self._backend.client
        try:
            client.register_plugin(self._run)
        except ImportError as error:
            raise ConfigError(
                f"workers at {self._backend.address} cannot import the workflow: {error}; install the same o2dask there"
            ) from error
        client.subscribe_topic(DEADLINE_TOPIC, lambda event: self._late.append(event[1]))
        self._beside.wait_ready()
        self._ledger.begin(self._backend.n_workers, self._backend.name)
        try:
            with MemoryWatch(self._backend.measure) as memory:
                while self._goes_on():
                    if not (self._send_commits() or self._send_next() or self._collect()):
                        self._wait()
                    self._watch(memory)
                self._watch(memory, now_please=True)
                if self._feed.is_over and not self._is_stopped:
                    self._beside.over()
                self._beside.close(drain=not self._ledger.failure)
                self._hear_beside()
        except CommitError as error:  # of the journal or the quarantine
            self._ledger.fail(advice(error))
        finally:
            self._beside.close(drain=False)
            self._withdraw()
        return self._ledger.finish(
            **figures(),
            left=tuple(self._inside.values()),
            peak_in_flight=self._window.peak_count,
            peak_bytes=self._window.peak_bytes,
            budget_bytes=self._backend.budget,
            memory_bytes=self._backend.memory,
            worker_s=self._worker_s,
        )

    def _wait(self) -> None:
        """Sleep until a timeframe comes, or comes back, or a while."""
        completed = self._completed
        with completed.thread_condition:
            if completed.queue.empty() and not self._called.is_set():
                held_s = self._pacer.held_s(time.monotonic()) if self._ready else 0.0
                completed.thread_condition.wait(min(held_s, IDLE_S) or IDLE_S)
        self._called.clear()

    def _goes_on(self) -> bool:
        if self._ledger.failure:
            return False
        self._heed_stop()
        if self._flights or self._commits.are_coming:
            return True
        if self._is_halted:
            return False
        return bool(self._ready or self._suspects) or not self._feed.is_over

    def _heed_stop(self) -> None:
        """Stop the feed if a processor or the user wants an end; one that drains has all it took in done first."""
        if self._ledger.is_over:
            self._feed.stop()
            self._is_halted = True
        elif self._is_stopped and not self._is_halted:
            self._feed.stop()
            if not self._ledger.is_stream:
                self._is_halted = True
                self._ledger.interrupted = self._ledger.n_left > len(self._flying() | self._commits.ids)

    @property
    def _is_stopped(self) -> bool:
        return self._stop is not None and self._stop.is_set()

    def _flying(self) -> set[TimeframeId]:
        return {ref.id for flight in self._flights.values() for ref in flight.refs}

    def _send_next(self) -> bool:
        """Send the next timeframe, or group of small ones, if it may go; return whether one went."""
        if self._is_halted or self._is_paused() or self._beside.is_behind:
            return False
        if len(self._ready) < self._most_ready:
            self._take()
        now = time.monotonic()
        if self._ready:
            if self._pacer.holds(now, len(self._window)) or not self._window.admits(self._ready[0]):
                return False
            if self._pipelines and is_instance_busy(self._ready[0], self._flying(), self._pipelines):
                return False
            self._send(self._grouping.take(self._ready))
        elif self._suspects and not self._flights:
            self._send((self._suspects.popleft(),), is_alone=True)
        else:
            return False
        self._pacer.started(now)
        return True

    def _take(self) -> None:
        """Take what the feed has ready; what is in flight is let be, what is done is settled at once."""
        n = self._backend.n_workers
        self._most_ready = 4 * n * self._grouping.most if self._grouping.are_small else 2 * n
        done = []
        for ref in self._feed.take(self._most_ready - len(self._ready)):
            if ref.id in self._inside:
                continue
            if self._ledger.is_stream and not self._ledger.admit(ref):
                done.append(ref)
                self._beside.seen_done(ref)
                continue
            self._inside[ref.id] = ref
            self._ready.append(ref)
            if self._ledger.is_stream:
                self._beside.taken(ref)
        if done:
            self._feed.settle(done)

    def _send(self, refs: tuple[TimeframeRef, ...], is_alone: bool = False) -> None:
        number, ref = next(self._count), max(refs, key=lambda r: r.n_bytes)
        attempt = f"{self._session}-{number}"
        feedback = self._beside.feedback
        errands = [Errand(one, feedback, self._beside.wanted(one)) for one in refs]
        if len(refs) > 1 or (not is_alone and self._grouping.are_small and self._grouping.fits(ref)):
            graph, tail = group_graph(self._run, errands, attempt, self._backend.without)
        else:
            without = self._backend.without  # alone, every task is one of Dask: if its worker dies, it is told which
            graph, tail = timeframe_graph(self._run, errands[0], attempt, without, joined=not is_alone)
        future = self._backend.client.compute(graph, priority=-number, optimize_graph=False)
        self._flights[tail] = _Flight(refs, future, is_alone, feedback)
        self._window.enter(tail, ref)
        self._completed.add(future)
        if not is_alone:
            for one in refs:
                self._ledger.started(one, len(self._window))

    def _collect(self) -> bool:
        """Enter what came back; return whether anything did."""
        batch = self._completed.next_batch(block=False)
        for future, result in batch:
            tail = future.key.partition("commit-")[2]
            if (flight := self._flights.get(tail)) is not None:
                self._enter(tail, flight, future.status, result)
            elif (ended := self._commits.come_back(tail, future.status, result)) is not None:
                self._enter_commit(ended)
            future.release()
        return bool(batch)

    def _enter(self, tail: str, flight: _Flight, status: str, result: Any) -> None:
        del self._flights[tail]
        if status == "finished" and isinstance(result, Committed):
            account = result.account
            self._left(tail, flight, account.footprint, account.busy_s)
            if result.receipt is None:
                self._commits.expect(flight.refs[0], account)
                self._beside.settled(flight.refs[0], is_committed=True)
            else:
                self._committed(flight.refs[0], result.receipt, account)
            return
        if status == "finished" and isinstance(result, GroupDone):
            self._enter_group(tail, flight, result)
            return
        self._window.leave(tail)
        error = result[1] if isinstance(result, tuple) else result
        if flight.late is not None:
            self._ran_out(flight, flight.late)
        elif isinstance(error, KilledWorker):
            self._killed(flight, error)
        elif status == "error":
            self._failed(flight.refs[0], error)
        else:  # cancelled, and not by us
            self._ledger.fail(self._backend.loss)

    def _committed(self, ref: TimeframeRef, receipt: Receipt, account: Account) -> None:
        self._ledger.committed(receipt, account.counters, account.seconds, account.spans)
        self._ledger.heard(account.metrics, account.requests)
        self._settle(ref)

    def _send_commits(self) -> bool:
        """Have committed what only waited for ordered processors; return whether one of them has failed."""
        failed = self._commits.send_ready()
        for ref, error in failed:
            self._failed(ref, error)
        return bool(failed)

    def _enter_commit(self, ended: Ended) -> None:
        self._worker_s += ended.busy_s
        if ended.done is not None and ended.done.receipt is not None:
            self._committed(ended.ref, ended.done.receipt, ended.done.account)
        elif ended.error is not None:
            self._failed(ended.ref, ended.error)
        else:  # cancelled, and not by us
            self._ledger.fail(self._backend.loss)

    def _left(self, tail: str, flight: _Flight, footprint: int, busy_s: float) -> None:
        self._window.leave(tail, footprint)
        self._pacer.done(busy_s)
        self._grouping.done(busy_s, len(flight.refs), max(ref.n_bytes for ref in flight.refs))
        self._worker_s += busy_s

    def _enter_group(self, tail: str, flight: _Flight, result: GroupDone) -> None:
        account = result.account
        self._left(tail, flight, account.footprint, account.busy_s)
        pairs = list(zip(flight.refs, result.outcomes, strict=False))
        receipts = [(o.receipt(ref), o.seconds) for ref, o in pairs if o.error is None]
        self._ledger.committed(receipts, account.counters, account.seconds, account.spans)
        self._ledger.heard(account.metrics, account.requests)
        self._settle(*(ref for ref, outcome in pairs if outcome.error is None))
        for ref, outcome in pairs:
            if outcome.error is not None:
                self._failed(ref, outcome.error)

    def _settle(self, *refs: TimeframeRef, is_committed: bool = True) -> None:
        for ref in refs:
            self._inside.pop(ref.id, None)
            if not self._commits.conclude(ref):
                self._beside.settled(ref, is_committed=is_committed)
        self._feed.settle(refs)

    def _failed(self, ref: TimeframeRef, error: Any) -> None:
        """Set a timeframe aside after an exception, or end the run if all others would meet it."""
        if quarantine.stops_the_run(error):
            self._ledger.fail(advice(error))
        else:
            self._set_aside(ref, quarantine.describe(error))

    def _killed(self, flight: _Flight, error: KilledWorker) -> None:
        """Try timeframes again alone: whoever waits on a worker that dies looks guilty to Dask."""
        if not flight.is_alone:
            self._suspects.extend(flight.refs)
            return
        task = str(error.task).removesuffix(str(flight.future.key).removeprefix("commit"))
        limit, where = self._backend.worker_limit, error.last_worker.address
        self._set_aside(flight.refs[0], quarantine.killed(error, flight.refs[0], task, where, limit))

    def _ran_out(self, flight: _Flight, message: dict[str, str]) -> None:
        """Set aside the timeframe that took too long; the others of its group are innocent and sent again."""
        failure = quarantine.ran_out(message, self._deadline_s or 0.0)
        for ref in flight.refs:
            if len(flight.refs) == 1 or str(ref) == message["timeframe"]:
                self._set_aside(ref, failure)
            else:
                self._ready.appendleft(ref)

    def _set_aside(self, ref: TimeframeRef, failure: Failure) -> None:
        # Its worker may have died, or its time run out, after the commit: then it is committed.
        if self._ledger.sink.is_committed(ref):
            self._ledger.committed(Receipt(timeframe=ref.id), {}, {})
            self._settle(ref)
        else:
            self._ledger.quarantined(ref, failure)
            self._settle(ref, is_committed=False)

    def _watch(self, memory: MemoryWatch, *, now_please: bool = False) -> None:
        """Look after workers and deadlines, note how things are, and pass on what the user should know."""
        if (now := time.time()) - self._sampled >= IDLE_S or now_please:
            self._sampled = now
            self._ledger.timeline.sample(now, len(self._window), self._window.n_bytes, memory.n_bytes)
            self._hear_beside()
        while self._late:
            message = self._late.popleft()
            if (flight := self._flights.get(message["key"])) is not None and flight.late is None:
                flight.late = message
                self._backend.client.cancel([flight.future], force=True)
        if reason := self._feed.failure or self._beside.failure:
            self._ledger.fail(f"{reason}; what is committed is safe: go on with --resume")
        if reason := self._backend.supervise(now_please=now_please):
            self._ledger.fail(reason)
        while self._backend.notices:
            self._ledger.notice(self._backend.notices.pop(0))

    def _hear_beside(self) -> None:
        """Enter what runs beside the graphs has to tell; remove feedback that nobody uses any more."""
        if self._beside.units:
            for told in self._beside.take_told():
                self._ledger.told(told.counters, told.seconds)
                self._ledger.heard(told.events, told.requests)
            self._beside.prune({path for flight in self._flights.values() for path in flight.feedback})

    def _withdraw(self) -> None:
        """Take back what is in flight, and the plugin."""
        futures = [*(flight.future for flight in self._flights.values()), *self._commits.futures]
        self._flights.clear()
        self._commits.clear()
        self._completed.clear()
        if notice := self._backend.withdraw(futures, DEADLINE_TOPIC, self._run.name):
            self._ledger.notice(notice)
