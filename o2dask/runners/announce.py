"""A run as others see it: counts what it tells, and announces it on a board while it lasts.

Stands between a ledger and a face as the progress callback of both; a thread of its own announces, so that the driver
is not held up by whoever watches. Knows events and a board; no driver, no queue.
"""

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from o2dask.monitoring.board import STATE_EVERY_S, Board
from o2dask.monitoring.events import (
    Event,
    Progress,
    RunFinished,
    RunStarted,
    TimeframeCommitted,
    TimeframeQuarantined,
    TimeframeStarted,
)
from o2dask.monitoring.histograms import HistogramFilled

__all__ = ["Announced"]

BUSY_OVER_S = 5.0
"""Time over which the share of busy workers is taken [s]."""


class Announced:
    """The progress of a run, passed on, counted, and shown on a board as long as `on` lasts.

    Parameters
    ----------
    workflow : str
        Name of what runs.
    progress : callable, optional
        Is told of every event, as if nobody stood between.

    Attributes
    ----------
    run : str
        What tells this run from others at the same scheduler.
    """

    def __init__(self, workflow: str, progress: Progress | None = None) -> None:
        self.run = uuid.uuid4().hex[:12]
        self._workflow, self._progress = workflow, progress
        self._lock = threading.Lock()
        self._filled: list[Event] = []
        self._counts = {"committed": 0, "quarantined": 0}
        self._n_started = self._n_workers = 0
        self._seconds = 0.0
        self._since = 0.0
        self._is_over = False
        self._samples: deque[tuple[float, float]] = deque([(time.monotonic(), 0.0)])

    def __call__(self, event: Event) -> None:
        """Count an event and pass it on."""
        with self._lock:
            self._count(event)
        if self._progress is not None:
            self._progress(event)

    def _count(self, event: Event) -> None:
        if isinstance(event, TimeframeStarted):
            self._n_started += 1
        elif isinstance(event, TimeframeCommitted):
            self._counts["committed"] += 1
            self._seconds += event.seconds
        elif isinstance(event, TimeframeQuarantined):
            self._counts["quarantined"] += 1
        elif isinstance(event, HistogramFilled):
            self._filled.append(event)
        elif isinstance(event, RunStarted):
            self._n_workers, self._since = event.n_workers, event.at
        elif isinstance(event, RunFinished):
            self._is_over = True

    @property
    def state(self) -> dict[str, Any]:
        """What is announced, as far as events tell it."""
        with self._lock:
            done = sum(self._counts.values())
            return {
                "state": "STOPPED" if self._is_over else "RUNNING" if self._since else "CONFIGURED",
                "since": self._since,
                **self._counts,
                "in_flight": max(0, self._n_started - done),
                "n_workers": self._n_workers,
                "busy_fraction": self._busy(time.monotonic()),
            }

    def _busy(self, now: float) -> float:
        """Return the share of the workers' time within processors, over the last seconds."""
        self._samples.append((now, self._seconds))
        while len(self._samples) > 2 and now - self._samples[0][0] > BUSY_OVER_S:
            self._samples.popleft()
        (then, before), n = self._samples[0], max(1, self._n_workers)
        return min(1.0, (self._seconds - before) / (n * (now - then))) if now > then else 0.0

    @contextmanager
    def on(self, client: Any, describe: Callable[[], Mapping[str, Any]] = dict) -> Iterator[None]:
        """Announce through a Dask client until the block ends.

        Parameters
        ----------
        client : distributed.Client
            Of the scheduler of the run.
        describe : callable
            Returns what events do not tell (window, queues, a state of the whole), or other values of what they do;
            called in a thread of its own every half second. What it raises is passed over, for the run goes on.
        """
        board, end = Board(client, run=self.run, workflow=self._workflow), threading.Event()
        thread = threading.Thread(target=self._announce, args=(board, end, describe), name="announce", daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join(STATE_EVERY_S + 5.0)

    def _announce(self, board: Board, end: threading.Event, describe: Callable[[], Mapping[str, Any]]) -> None:
        while True:
            is_last = end.wait(0.5 * STATE_EVERY_S)
            with self._lock:
                filled, self._filled = self._filled, []
            board.heard(filled)
            if is_last:
                board.close(self._told(describe) | {"state": "STOPPED"})
                return
            board.tick(time.time(), lambda: self._told(describe))

    def _told(self, describe: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        try:
            more = dict(describe())
        except Exception as error:  # noqa: BLE001 - a look must not end what is looked at
            more = {"fault": f"{type(error).__name__}: {error}"}
        return self.state | more
