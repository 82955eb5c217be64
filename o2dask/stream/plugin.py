"""Serves queues under lease from the scheduler's own loop, as Dask serves its own queues.

A bare `distributed.Queue` loses what a dead consumer held. Handlers touch plain Python values only and wait on bells,
so an item costs a few microseconds. Registered once by whoever starts the stream, before its processes connect.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from distributed import Scheduler, SchedulerPlugin

from o2dask.stream.descriptor import Key, Wire
from o2dask.stream.errors import SchedulerGoneError, StreamError
from o2dask.stream.leases import Group, QueueState, Room

__all__ = ["PREFIX", "LeasePlugin"]

PREFIX = "o2dask_queue_"
"""Of the names of the scheduler's handlers."""
HANDLERS = (
    *("create", "destroy", "status", "standing"),
    *("open_producer", "put", "last_seq", "wait_room", "report", "agree_end", "close_producer"),
    *("get", "renew", "ack", "forward", "give_back", "leave"),
)
MAX_WAIT_S = 5.0
"""Longest that one call waits [s]; its client calls again. So nobody waits for long on behalf of the dead."""


class _Bell:
    """Wakes all who wait."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def wait(self, timeout_s: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(future, timeout_s)
        finally:
            self._waiting.discard(future)


class _Served:
    """A queue with those who wait for it: `items` rings when something is to be had, `room` when something went."""

    def __init__(self, state: QueueState, owner: str, room: _Bell) -> None:
        self.state, self.owner, self.room = state, owner, room
        self.items = _Bell()
        self.ends = _Bell()
        self.until: dict[str, float] = {}
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.left: dict[str, int] = {}
        self.producers: dict[str, str] = {}

    @property
    def room_now(self) -> tuple[int, int, int, int]:
        """Bytes free, bytes still to come, timeframes inside, the highest number of any producer."""
        room = self.state.room
        return room.free_bytes, room.to_come, len(room), self.state.highest_seq


class LeasePlugin(SchedulerPlugin):
    """The queues of all streams on a scheduler; each belongs to the client that created it and goes with it."""

    name = "o2dask-queues"
    idempotent = True

    def __init__(self) -> None:
        self._queues: dict[str, _Served] = {}
        self._scheduler: Scheduler | None = None

    async def start(self, scheduler: Scheduler) -> None:
        """Add the handlers."""
        self._scheduler = scheduler
        for name in HANDLERS:
            scheduler.handlers[PREFIX + name] = self._told(getattr(self, name))

    def _told(self, handler: Any) -> Any:
        """Return `handler` with its own errors as an answer: the scheduler would log them with a traceback."""

        async def told(**arguments: Any) -> Any:
            try:
                answer = handler(**arguments)
                return await answer if asyncio.iscoroutine(answer) else answer
            except SchedulerGoneError as error:
                return {"gone": str(error)}
            except StreamError as error:
                return {"error": str(error)}

        return told

    def _served(self, name: str) -> _Served:
        try:
            return self._queues[name]
        except KeyError:
            raise SchedulerGoneError(f"no queue {name} at the scheduler: its stream has ended") from None

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Return what a client held, and end the queues that it owned."""
        for name, served in list(self._queues.items()):
            if served.owner == client:
                self.destroy(name=name)
            else:
                self._release(served, client)
                served.left.pop(client, None)

    def _release(self, served: _Served, client: str) -> None:
        served.until.pop(client, None)
        if (timer := served.timers.pop(client, None)) is not None:
            timer.cancel()
        if served.state.give_back(client):
            served.items.ring()

    # -- handlers; every one is called with the `client` that calls

    def create(
        self,
        *,
        name: str,
        client: str,
        max_timeframes: int,
        max_bytes: int,
        when_full: str,
        n_producers: int,
        after: str,
    ) -> None:
        """Make a queue, with room of its own or in the room of the queue `after` which it comes."""
        if name in self._queues:
            raise StreamError(f"queue {name} is there already; give the stream another session")
        if after:
            before = self._served(after)
            state = QueueState(name, before.state.room, n_producers=n_producers, after=before.state)
            self._queues[name] = _Served(state, client, before.room)
        else:
            room = Room(max_timeframes, max_bytes)
            self._queues[name] = _Served(
                QueueState(name, room, when_full=when_full, n_producers=n_producers), client, _Bell()
            )

    def destroy(self, *, name: str, client: str = "") -> None:
        """Forget a queue; who waits for it learns that it is gone."""
        served = self._queues.pop(name, None)
        if served is not None:
            for timer in served.timers.values():
                timer.cancel()
            for bell in (served.items, served.room, served.ends):
                bell.ring()

    async def put(
        self, *, name: str, client: str, producer: str, first_seq: int, items: Sequence[Wire], timeout_s: float
    ) -> tuple[int, list[int], tuple[int, int, int, int]]:
        """Take items in, waiting for room for the first; return how far it came, the numbers refused, and the room:
        bytes free, bytes still to come, timeframes inside, the highest number of any producer."""
        end = time.monotonic() + min(timeout_s, MAX_WAIT_S)
        while True:
            served = self._served(name)
            if served.producers.get(producer, client) != client:
                raise StreamError(f"queue {name}: another process is producer {producer} now")
            before = served.state.last_seq(producer)
            last, refused = served.state.put(producer, first_seq, items, time.monotonic())
            if last - before > len(refused):
                served.items.ring()
            left_s = end - time.monotonic()
            if last >= first_seq or not items or left_s <= 0 or not self._is_alive(client):
                return last, refused, served.room_now
            await served.room.wait(left_s)

    def open_producer(self, *, name: str, client: str, producer: str) -> tuple[int, int]:
        """Be this producer from now on; return its last number, and the highest of all producers.

        A `put` of the process before, which died, may still be under way or wait for room here: taken in later, it
        would announce what its successor has cleared away.
        """
        served = self._served(name)
        served.producers[producer] = client
        return served.state.last_seq(producer), served.state.highest_seq

    def last_seq(self, *, name: str, client: str, producer: str) -> int:
        """Return the last number of a producer."""
        return self._served(name).state.last_seq(producer)

    def close_producer(self, *, name: str, client: str, producer: str) -> None:
        """Note that a producer has ended."""
        served = self._served(name)
        served.state.close_producer(producer)
        served.ends.ring()
        if served.state.is_ended:
            served.items.ring()
        self._ring_if_over(name)

    async def get(
        self, *, name: str, client: str, n: int, lease_s: float, timeout_s: float, until_ended: bool
    ) -> tuple[list[tuple[int, Wire, float, int]], str]:
        """Lease items to the client, waiting for the first; return them, and whether the queue is "open", "ended" or
        "over". With `until_ended` the wait is over too when no producer is left."""
        end = time.monotonic() + min(timeout_s, MAX_WAIT_S)
        left = self._served(name).left.get(client, 0)
        while True:
            served = self._served(name)
            if not self._is_alive(client) or served.left.get(client, 0) != left:
                return [], "open"
            now = time.monotonic()
            if taken := served.state.get(client, n):
                self._lease(served, client, now + lease_s)
                return [(token, i.wire, now - i.born, i.n_deliveries) for token, i in taken], "open"
            if served.state.is_over:
                return [], "over"
            if served.state.is_ended and until_ended:
                return [], "ended"
            if now >= end:
                return [], "open"
            await served.items.wait(end - now)

    def renew(self, *, name: str, client: str, lease_s: float) -> int:
        """Lengthen the lease of all that a client holds; return how many items that is."""
        served = self._served(name)
        if client in served.until:
            self._lease(served, client, time.monotonic() + lease_s)
        return served.state.n_held_by(client)

    def ack(self, *, name: str, client: str, tokens: Sequence[int]) -> int:
        """Note that items are done; return how many of them were not yet."""
        served = self._served(name)
        n = served.state.ack(tokens)
        if n:
            served.room.ring()
            self._ring_if_over(name)
        return n

    def forward(self, *, name: str, client: str, to: str, groups: Sequence[Group]) -> list[int]:
        """Replace items by what they become in the queue `to`; return which groups were the client's no more."""
        served, next_ = self._served(name), self._served(to)
        refused = served.state.forward(client, groups, next_.state)
        next_.items.ring()
        if any(wire is None for _, wire, _ in groups):
            served.room.ring()
        self._ring_if_over(name)
        return refused

    def give_back(self, *, name: str, client: str, tokens: Sequence[int]) -> int:
        """Make items ready again that a client holds; return how many."""
        served = self._served(name)
        n = served.state.give_back(client, tokens)
        if n:
            served.items.ring()
        return n

    def leave(self, *, name: str, client: str) -> None:
        """Make ready again all that a client holds, and end its calls that wait: it may have given them up."""
        served = self._served(name)
        served.left[client] = served.left.get(client, 0) + 1
        served.items.ring()
        self._release(served, client)

    def standing(self, *, name: str, client: str, keys: Sequence[Key]) -> list[str]:
        """Return how timeframes stand: ``inside`` the room, ``closed`` (forwarded or dropped before), ``unknown``."""
        state = self._served(name).state
        return ["inside" if key in state.room else "closed" if key in state.closed else "unknown" for key in keys]

    async def wait_room(self, *, name: str, client: str, timeout_s: float) -> tuple[int, int, int, int]:
        """Return what the room is like when a timeframe has left it, or after a while; see `put`."""
        await self._served(name).room.wait(min(timeout_s, MAX_WAIT_S))
        return self._served(name).room_now

    async def agree_end(self, *, name: str, client: str, producer: str, seq: int, timeout_s: float) -> int:
        """Return the number before which all producers end, -1 while some have not said how far they are."""
        served = self._served(name)
        if served.state.propose_end(producer, seq) < 0:
            await served.ends.wait(min(timeout_s, MAX_WAIT_S))
        else:
            served.ends.ring()
        return self._served(name).state.agreed_end

    def report(self, *, name: str, client: str, producer: str, values: dict[str, Any]) -> None:
        """Take in what a producer has to tell of itself, for the status."""
        self._served(name).state.reports[producer] = values

    def status(self, *, name: str, client: str) -> dict[str, Any]:
        """Return what there is to tell of a queue."""
        return self._served(name).state.status(time.monotonic())

    # -- leases

    def _is_alive(self, client: str) -> bool:
        return self._scheduler is not None and client in self._scheduler.clients

    def _lease(self, served: _Served, client: str, until: float) -> None:
        """Set the end of a client's lease; one timer per client, which looks again when the lease was renewed."""
        served.until[client] = until
        if client not in served.timers:
            self._set_timer(served, client)

    def _set_timer(self, served: _Served, client: str) -> None:
        loop, wait_s = asyncio.get_running_loop(), served.until[client] - time.monotonic()
        served.timers[client] = loop.call_later(max(0.0, wait_s), self._expire, served, client)

    def _expire(self, served: _Served, client: str) -> None:
        del served.timers[client]
        if client not in served.until:
            return
        if not served.state.n_held_by(client):
            del served.until[client]
        elif served.until[client] > time.monotonic():
            self._set_timer(served, client)
        else:
            served.state.counts["expired"] += 1
            self._release(served, client)

    def _ring_if_over(self, name: str) -> None:
        """Wake who waits for items of a queue that is over, and of those after it."""
        for served in self._queues.values():
            if (served.state.name == name or served.state.after is not None) and served.state.is_over:
                served.items.ring()
