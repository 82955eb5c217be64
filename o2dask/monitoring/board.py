"""What a run shows to whoever connects: its state now and then on a topic, its histograms as they stand.

Knows a Dask client by what it can be asked for, and imports none. Only the last word waits to be sent: a driver that
announces is never held up, and a scheduler that is gone is no error here.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any

from o2dask.monitoring.events import Event
from o2dask.monitoring.histograms import HistogramSet

__all__ = ["CONTROL_TOPIC", "HISTOGRAM_KEY", "STATE_TOPIC", "Board"]

log = logging.getLogger(__name__)

STATE_TOPIC = "o2dask-stream-state"
"""Topic of Dask's event log for the state of a run; it keeps the last 100 in a cluster of ours, which is 50 s."""
CONTROL_TOPIC = "o2dask-stream-control"
"""Topic for what viewers ask of a run."""
HISTOGRAM_KEY = "o2dask-histograms"
"""Key in the scheduler's metadata for the histograms of the last run, as they stand: no history, so bounded."""
STATE_EVERY_S, HISTOGRAMS_EVERY_S = 0.5, 1.0
LAST_S = 2.0
"""Longest wait for the last announcement to leave [s]."""


class Board:
    """Announces one run through a client.

    Parameters
    ----------
    client : distributed.Client
        Connected; its loop does the sending.
    run : str
        Unique for each start.
    workflow : str
        What is shown as its name.
    """

    def __init__(self, client: Any, *, run: str, workflow: str) -> None:
        self._client, self._head = client, {"run": run, "workflow": workflow}
        self._histograms = HistogramSet()
        self._n_filled = self._n_sent = 0
        self._state_at = self._histograms_at = 0.0

    def heard(self, events: Iterable[Event]) -> None:
        """Enter histograms among what a committed timeframe sent."""
        self._n_filled += len(self._histograms.update(events))

    def tick(self, now: float, state: Callable[[], Mapping[str, Any]]) -> None:
        """Announce, if it is time; `state` is asked only then. `now` [s since 1970]."""
        if now - self._state_at >= STATE_EVERY_S:
            self._state_at = now
            self.announce(state())
        if self._n_filled != self._n_sent and now - self._histograms_at >= HISTOGRAMS_EVERY_S:
            self._histograms_at = now
            self._show()

    def announce(self, state: Mapping[str, Any]) -> None:
        """Announce a state now, such as a change of it."""
        self._send("log_event", topic=STATE_TOPIC, msg=self._head | {"at": time.time()} | dict(state))

    def close(self, state: Mapping[str, Any]) -> None:
        """Announce the last state and the histograms as they are at the end, and see them off."""
        self.announce(state)
        last = self._show()
        if last is not None:
            with suppress(TimeoutError, CancelledError):
                last.result(LAST_S)

    def _show(self) -> "Future[None] | None":
        self._n_sent = self._n_filled
        wire = {h.key: h.to_wire() for h in self._histograms.values()}
        value = self._head | {"histograms": wire, "faults": dict(self._histograms.faults)}
        return self._send("set_metadata", keys=[HISTOGRAM_KEY], value=value)

    def _send(self, handler: str, **message: Any) -> "Future[None] | None":
        client = self._client

        async def send() -> None:
            try:
                await getattr(client.scheduler, handler)(**message)
            except (OSError, AttributeError, RuntimeError) as error:  # the scheduler is gone, which others notice
                log.debug("not announced: %s", error)

        if client.status != "running":
            return None
        return asyncio.run_coroutine_threadsafe(send(), client.loop.asyncio_loop)
