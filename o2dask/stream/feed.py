"""The end of the stream that a driver sees: timeframes from a queue under lease, settled once each.

Fulfils `o2dask.runners.feed.Feed`. It leases ahead on the client's loop, so that `take` never waits, renews what it
holds, and acknowledges in the background: first the parts are unlinked, then the queue is told, so that the room of
the queue is never wider than that on the device.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from o2dask.stream.descriptor import Built, Key, key_of
from o2dask.stream.errors import StreamError
from o2dask.stream.ids import IdSet
from o2dask.stream.queue import LEASE_S, Leased, LeaseQueue
from o2dask.stream.spool import Spool
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["QueueFeed"]


class QueueFeed:
    """Timeframes of a queue, for one driver.

    Parameters
    ----------
    queue : LeaseQueue
        Of built timeframes.
    spool : Spool, optional
        Whose parts go when a timeframe is settled.
    is_done : callable, optional
        Says whether a timeframe was committed or set aside before; it is then settled at once. Called in another
        thread.
    on_ready, on_stop : callable, optional
        Called when something is ready or the stream is over (from the loop: wake the driver, do no more), and once by
        `stop` (stop the source).
    ahead : int
        Most timeframes to lease ahead of `take`.
    lease_s : float
        See `o2dask.stream.queue.LEASE_S`.
    """

    def __init__(
        self,
        queue: LeaseQueue,
        spool: Spool | None = None,
        *,
        is_done: Callable[[TimeframeRef], bool] | None = None,
        on_ready: Callable[[], None] | None = None,
        on_stop: Callable[[], None] | None = None,
        ahead: int = 64,
        lease_s: float = LEASE_S,
    ) -> None:
        self._queue, self._spool, self._is_done = queue, spool, is_done
        self._on_ready, self._on_stop = on_ready, on_stop
        self._ahead, self._lease_s = ahead, lease_s
        self._lock = threading.Lock()
        self._ready: deque[TimeframeRef] = deque()
        self._tokens: dict[Key, list[int]] = {}
        self._settled: list[tuple[list[int], TimeframeId]] = []
        self._seen = IdSet()
        self._counts: Counter[str] = Counter()
        self._is_over = self._is_stopped = self._is_closed = False
        self.failure = ""
        """Why nothing comes any more, in one line; "" while all is well."""
        self._loop: asyncio.AbstractEventLoop = queue.aio.loop
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    # -- what a driver calls

    @property
    def is_over(self) -> bool:
        """Whether no timeframe will come any more and all that came are settled."""
        return self._is_over

    def take(self, limit: int) -> Sequence[TimeframeRef]:
        """Return up to `limit` timeframes that are ready now, oldest first."""
        with self._lock:
            taken = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
        if taken:
            self._counts["taken"] += len(taken)
            self._wake(self._wanted)
        return taken

    def settle(self, refs: Sequence[TimeframeRef]) -> None:
        """Note that these are committed or set aside: their parts go, and the queue forgets them."""
        with self._lock:
            for ref in refs:
                key = key_of(ref.id)
                self._seen.add(key)
                self._settled.append((self._tokens.pop(key, []), ref.id))
        self._counts["settled"] += len(refs)
        self._wake(self._unsettled)

    def stop(self) -> None:
        """Stop the source; what is on its way still comes."""
        if not self._is_stopped:
            self._is_stopped = True
            if self._on_stop is not None:
                self._on_stop()

    def status(self) -> Mapping[str, int]:
        """Return how many are ready, out, taken, settled, came twice (again) or were done before."""
        with self._lock:
            ready, held = len(self._ready), len(self._tokens)
        names = ("taken", "settled", "again", "done_before")
        return {"ready": ready, "out": held - ready} | {name: self._counts[name] for name in names}

    def close(self) -> None:
        """Acknowledge what is settled and give back what is not."""
        if not self._is_closed:
            self._is_closed = True
            with suppress(StreamError, RuntimeError, TimeoutError):
                asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10.0)

    def __enter__(self) -> "QueueFeed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- on the loop

    async def _start(self) -> None:
        self._wanted, self._unsettled = asyncio.Event(), asyncio.Event()
        self._tasks = [asyncio.create_task(self._told(work)) for work in (self._fill(), self._acknowledge())]

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._flush()
        if not self.failure:
            await self._queue.aio.leave()

    def _wake(self, event: asyncio.Event) -> None:
        if not event.is_set():
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(event.set)

    async def _told(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something; what ends it is for the driver to say."""
        try:
            await work
        except StreamError as error:
            self.failure = self.failure or str(error).splitlines()[0]
            self._call_driver()

    def _call_driver(self) -> None:
        if self._on_ready is not None:
            self._on_ready()

    async def _fill(self) -> None:
        """Lease ahead, and renew."""
        queue = self._queue.aio
        while not self._is_over:
            self._wanted.clear()
            n = self._ahead - len(self._ready)
            if n <= 0:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), self._lease_s / 3)
                leased: list[Leased] = []
            else:
                leased, state = await queue.get(n, self._lease_s, self._lease_s / 3)
                self._is_over = state == "over"
            if leased:
                await self._receive(leased)
            elif self._tokens:
                await queue.renew(self._lease_s)
            if leased or self._is_over:
                self._call_driver()

    async def _receive(self, leased: Sequence[Leased]) -> None:
        refs = [Built.from_wire(item.item).ref for item in leased]
        done = await asyncio.to_thread(self._judge, refs)
        with self._lock:
            for item, ref, is_done in zip(leased, refs, done, strict=True):
                key = key_of(ref.id)
                if key in self._tokens:  # in the driver's hands: announced twice, or leased again to us
                    self._counts["again"] += 1
                    if item.token not in self._tokens[key]:
                        self._tokens[key].append(item.token)
                elif is_done or key in self._seen:
                    self._counts["again" if key in self._seen else "done_before"] += 1
                    self._seen.add(key)
                    self._settled.append(([item.token], ref.id))
                    self._unsettled.set()
                else:
                    self._tokens[key] = [item.token]
                    self._ready.append(ref)

    def _judge(self, refs: Sequence[TimeframeRef]) -> list[bool]:
        return [self._is_done(ref) for ref in refs] if self._is_done else [False] * len(refs)

    async def _acknowledge(self) -> None:
        while True:
            await self._unsettled.wait()
            self._unsettled.clear()
            await self._flush()

    async def _flush(self) -> None:
        with self._lock:
            settled, self._settled = self._settled, []
        if not settled:
            return
        try:
            if self._spool is not None:
                await asyncio.to_thread(self._unlink, [timeframe for _, timeframe in settled])
            await self._queue.aio.ack([token for tokens, _ in settled for token in tokens])
        except BaseException:  # cancelled, or the scheduler is gone: not done, so to be done again
            with self._lock:
                self._settled = settled + self._settled
            raise

    def _unlink(self, timeframes: Sequence[TimeframeId]) -> None:
        assert self._spool is not None
        for timeframe in timeframes:
            self._spool.settle(timeframe)
