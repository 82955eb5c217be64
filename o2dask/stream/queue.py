"""A client's handle of a queue under lease: announce, lease, acknowledge. What holds is said in `leases`.

`AsyncLeaseQueue` is for code that runs on the client's loop, `LeaseQueue` for all other. Both are values: a client and
a name. `install` is called once by whoever starts the stream.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from distributed import Client
from distributed.comm.core import CommClosedError

from o2dask.errors import ConfigError
from o2dask.stream.descriptor import Key, Wire
from o2dask.stream.errors import SchedulerGoneError, StreamError
from o2dask.stream.leases import WHEN_FULL, Group
from o2dask.stream.plugin import MAX_WAIT_S, PREFIX, LeasePlugin

__all__ = ["LEASE_S", "AsyncLeaseQueue", "LeaseQueue", "Leased", "PutAnswer", "RoomNow", "install"]

LEASE_S = 30.0
"""How long a client may be silent before what it holds is given to others [s]; shorter, and a pause of the machine
delivers twice; longer, and what a hung client holds waits. A client that dies loses its leases at once."""
_T = TypeVar("_T")


class Leased(NamedTuple):
    """An item in the hands of this client: acknowledge by `token`. `age_s` counts from its first announcement."""

    token: int
    item: Wire
    age_s: float
    n_deliveries: int


class RoomNow(NamedTuple):
    """What the room of a queue is like.

    Attributes
    ----------
    free_bytes, to_come : int
        Room that is free, and what is expected of the timeframes in it and has not come [bytes].
    n_timeframes : int
        Timeframes in the room.
    foremost : int
        The highest number of any producer.
    """

    free_bytes: int = 0
    to_come: int = 0
    n_timeframes: int = 0
    foremost: int = -1


class PutAnswer(NamedTuple):
    """How far an announcement came: the last number dealt with, the numbers refused, and what the room was like."""

    accepted_until: int
    refused: tuple[int, ...]
    room: RoomNow


def install(client: Client) -> None:
    """Have the scheduler serve queues under lease; a second time does nothing.

    Raises
    ------
    ConfigError
        If the scheduler cannot import o2dask.
    """
    try:
        client.register_plugin(LeasePlugin())
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the scheduler cannot serve queues: {error}; install the same o2dask there") from error


class AsyncLeaseQueue:
    """A queue, for code on the loop of `client`; each method is one message to the scheduler.

    Raises
    ------
    SchedulerGoneError
        By every method, if the scheduler does not answer, or has no queue of that name: its owner is gone.
    """

    def __init__(self, client: Client, name: str) -> None:
        self.client, self.name = client, name

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the client runs on."""
        return self.client.loop.asyncio_loop  # type: ignore[union-attr]

    async def _call(self, op: str, **arguments: Any) -> Any:
        scheduler: Any = self.client.scheduler
        try:
            if scheduler is None or self.client.status != "running":
                raise CommClosedError(f"client is {self.client.status}")
            answer = await getattr(scheduler, PREFIX + op)(name=self.name, client=self.client.id, **arguments)
        except (OSError, AssertionError, asyncio.CancelledError) as error:  # a client that closes cancels and asserts
            if isinstance(error, asyncio.CancelledError) and self.client.status == "running":
                raise
            raise SchedulerGoneError(f"lost the scheduler while a stream ran: {error}") from error
        if isinstance(answer, dict) and "gone" in answer:
            raise SchedulerGoneError(answer["gone"])
        if isinstance(answer, dict) and "error" in answer:
            raise StreamError(answer["error"])
        return answer

    async def create(
        self,
        *,
        max_timeframes: int = 64,
        max_bytes: int = 1 << 30,
        when_full: str = "block",
        n_producers: int = 1,
        after: str = "",
    ) -> None:
        """Make the queue; it goes with this client.

        Parameters
        ----------
        max_timeframes, max_bytes : int
            Room: timeframes that may be announced and not done, and the bytes of their parts.
        when_full : str
            block, drop or spill: what becomes of a timeframe that finds no room.
        n_producers : int
            How many must have ended before the queue is over.
        after : str
            Name of the queue whose items are forwarded to this one; they share its room and its end.

        Raises
        ------
        ConfigError
            If a value cannot work.
        StreamError
            If there is a queue of that name.
        """
        if when_full not in WHEN_FULL:
            raise ConfigError(f"when full: want one of {', '.join(WHEN_FULL)}, got {when_full!r}")
        if max_timeframes < 1 or max_bytes < 1 or n_producers < 0:
            raise ConfigError(f"queue {self.name}: want room for 1 or more, got {max_timeframes}, {max_bytes}")
        await self._call(
            "create",
            max_timeframes=max_timeframes,
            max_bytes=max_bytes,
            when_full=when_full,
            n_producers=n_producers,
            after=after,
        )

    async def put(
        self,
        producer: str,
        first_seq: int,
        items: Sequence[Wire],
        timeout_s: float | None = None,
        *,
        until_all: bool = True,
    ) -> PutAnswer:
        """Announce items numbered from `first_seq`; wait for room until `timeout_s`, for ever by default.

        Numbers that the queue has seen are passed over, so an announcement may be repeated. What was not accepted is
        to be announced again, from ``accepted_until + 1``. Without `until_all` the wait is over when some are accepted.
        """
        refused: list[int] = []
        last, room = first_seq - 1, (0, 0, 0, -1)
        for left_s in _rounds(timeout_s):
            last, more, room = await self._call(
                "put", producer=producer, first_seq=first_seq, items=tuple(items), timeout_s=left_s
            )
            refused += more
            n = last + 1 - first_seq
            if n >= len(items) or (n > 0 and not until_all):
                break
            items, first_seq = items[n:], first_seq + n
        return PutAnswer(last, tuple(refused), RoomNow(*room))

    async def last_seq(self, producer: str) -> int:
        """Return the last number that the queue has of a producer, -1 if none."""
        return await self._call("last_seq", producer=producer)

    async def open_producer(self, producer: str) -> tuple[int, int]:
        """Be this producer from now on, others of its name being refused; return its last number and the foremost's."""
        mine, highest = await self._call("open_producer", producer=producer)
        return mine, highest

    async def close_producer(self, producer: str) -> None:
        """Note that nothing more comes from a producer."""
        await self._call("close_producer", producer=producer)

    async def get(
        self, n: int = 1, lease_s: float = LEASE_S, timeout_s: float | None = None, *, until_ended: bool = False
    ) -> tuple[list[Leased], str]:
        """Lease up to `n` items, oldest first; return them and whether the queue is "open", "ended" or "over".

        Waits for the first item until `timeout_s`, for ever by default, and no longer than until the queue is over:
        all producers have ended and all items are done. With `until_ended`, no longer than until all have ended.
        All that this client holds of the queue is leased for `lease_s` from now.
        """
        items, state = [], "open"
        for left_s in _rounds(timeout_s):
            items, state = await self._call("get", n=n, lease_s=lease_s, timeout_s=left_s, until_ended=until_ended)
            if items or state != "open":
                break
        return [Leased(*item) for item in items], state

    async def renew(self, lease_s: float = LEASE_S) -> int:
        """Lease all that this client holds for `lease_s` from now; return how many items that is."""
        return await self._call("renew", lease_s=lease_s)

    async def ack(self, tokens: Iterable[int]) -> int:
        """Note that items are done; return how many were not done before."""
        return await self._call("ack", tokens=tuple(tokens))

    async def give_back(self, tokens: Iterable[int]) -> int:
        """Give items back for others, or for later; return how many were this client's."""
        return await self._call("give_back", tokens=tuple(tokens))

    async def leave(self) -> None:
        """Give back all that this client holds, and be given no more by a `get` that was cancelled."""
        await self._call("leave")

    async def forward(self, to: str, groups: Sequence[Group]) -> list[int]:
        """Replace items of this client by what they become in the queue `to`, each group in one step.

        A group is the tokens of one timeframe, what they become (None: nothing), and the name it is counted under.
        Return which groups were not done because an item of them was not this client's any more.
        """
        return list(await self._call("forward", to=to, groups=tuple(groups)))

    async def standing(self, keys: Sequence[Key]) -> list[str]:
        """Return how timeframes stand: ``inside`` the room, ``closed`` (forwarded or dropped before), ``unknown``."""
        return list(await self._call("standing", keys=tuple(keys)))

    async def wait_room(self, timeout_s: float) -> RoomNow:
        """Return what the room is like when a timeframe has left it, or after `timeout_s`."""
        return RoomNow(*await self._call("wait_room", timeout_s=timeout_s))

    async def agree_end(self, producer: str, seq: int) -> int:
        """Say that this producer has got to `seq` and is to end; return the number before which all end."""
        while (end := await self._call("agree_end", producer=producer, seq=seq, timeout_s=MAX_WAIT_S)) < 0:
            pass
        return end

    async def report(self, producer: str, values: Mapping[str, Any]) -> None:
        """Tell of this producer what is to stand in the status."""
        await self._call("report", producer=producer, values=dict(values))

    async def status(self) -> dict[str, Any]:
        """Return lengths, bytes, ages [s], counters, and how far each producer is."""
        return await self._call("status")

    async def destroy(self) -> None:
        """Forget the queue and what is in it."""
        await self._call("destroy")


class LeaseQueue:
    """A queue, for code in any thread but that of the client's loop; `aio` is the same one for code on it.

    Methods, their arguments and errors are those of `AsyncLeaseQueue`.
    """

    def __init__(self, client: Client, name: str) -> None:
        self.aio = AsyncLeaseQueue(client, name)

    @property
    def name(self) -> str:
        """Name of the queue."""
        return self.aio.name

    def _sync(self, method: Callable[..., Coroutine[Any, Any, _T]], *args: Any, **kwargs: Any) -> _T:
        try:
            return self.aio.client.sync(method, *args, asynchronous=False, **kwargs)
        except (RuntimeError, asyncio.CancelledError) as error:
            if isinstance(error, StreamError):
                raise
            raise SchedulerGoneError(f"lost the scheduler while a stream ran: {error}") from error

    def create(self, **options: Any) -> None:
        """Make the queue; see `AsyncLeaseQueue.create`."""
        self._sync(self.aio.create, **options)

    def put(self, producer: str, first_seq: int, items: Sequence[Wire], timeout_s: float | None = None) -> PutAnswer:
        """Announce items; see `AsyncLeaseQueue.put`."""
        return self._sync(self.aio.put, producer, first_seq, items, timeout_s)

    def open_producer(self, producer: str) -> tuple[int, int]:
        """Be this producer from now on; see `AsyncLeaseQueue.open_producer`."""
        return self._sync(self.aio.open_producer, producer)

    def last_seq(self, producer: str) -> int:
        """Return the last number that the queue has of a producer, -1 if none."""
        return self._sync(self.aio.last_seq, producer)

    def close_producer(self, producer: str) -> None:
        """Note that nothing more comes from a producer."""
        self._sync(self.aio.close_producer, producer)

    def get(self, n: int = 1, lease_s: float = LEASE_S, timeout_s: float | None = None) -> list[Leased]:
        """Lease items; none when the queue is over or the time is."""
        return self._sync(self.aio.get, n, lease_s, timeout_s)[0]

    def renew(self, lease_s: float = LEASE_S) -> int:
        """Lease all that this client holds for `lease_s` from now."""
        return self._sync(self.aio.renew, lease_s)

    def ack(self, tokens: Iterable[int]) -> int:
        """Note that items are done."""
        return self._sync(self.aio.ack, tokens)

    def give_back(self, tokens: Iterable[int]) -> int:
        """Give items back."""
        return self._sync(self.aio.give_back, tokens)

    def forward(self, to: str, groups: Sequence[Group]) -> list[int]:
        """Replace items by what they become in another queue; see `AsyncLeaseQueue.forward`."""
        return self._sync(self.aio.forward, to, groups)

    def status(self) -> dict[str, Any]:
        """Return lengths, bytes, ages [s], counters."""
        return self._sync(self.aio.status)

    @property
    def is_over(self) -> bool:
        """Whether all producers have ended and nothing is queued or leased."""
        return bool(self.status()["is_over"])

    def destroy(self) -> None:
        """Forget the queue and what is in it."""
        self._sync(self.aio.destroy)


def _rounds(timeout_s: float | None) -> Iterable[float]:
    """Yield how long each call may wait [s] until the time is over; one call at least."""
    end = math.inf if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left_s = end - time.monotonic()
        yield max(0.0, min(left_s, MAX_WAIT_S))
        if end - time.monotonic() <= 0:
            return
