"""Announces what a readout has made: in order, many at a time, waiting for room, spilling when told to.

While one announcement is on its way the next ones gather, so the busier the stream the fewer the messages. Knows the
queue and the spool; where timeframes come from is the readout's.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from itertools import islice

from o2dask.stream.descriptor import Wire
from o2dask.stream.errors import SpoolFullError
from o2dask.stream.queue import AsyncLeaseQueue, RoomNow
from o2dask.stream.spool import Spool
from o2dask.timeframe import TimeframeId

__all__ = ["Announcer", "Made"]

MAX_ITEMS = 4096
"""Most items in a message, 0.4 MB of it."""
MAX_WAITING = 4 * MAX_ITEMS
"""Most items that wait to be announced, but for spilled ones."""
MAX_SPILLED = 1 << 20
"""Most items that wait to be announced when parts may be spilled, 300 bytes of memory each."""
SMALL_BYTES = 1 << 20
"""Parts that may be written and not yet announced; but one may always be [bytes]."""
PLENTY = 4
"""There is plenty of room if so many more parts of every readout find place in it."""
SPILL_AFTER_S = 0.1
"""How long parts wait for room before they are spilled [s]."""


@dataclass(slots=True)
class Made:
    """One item to announce; its timeframe if it has a part in the spool, and the bytes that this takes there."""

    wire: Wire
    timeframe: TimeframeId | None = None
    here: int = 0


class Announcer:
    """Announces the items of one producer; `run` is a task beside the one that makes them.

    Parameters
    ----------
    queue : AsyncLeaseQueue
        Where to.
    spool : Spool
        Where the parts are; those that the queue refuses are removed.
    readout, n_readouts : int
        Whose they are, of how many.
    first_seq : int
        Number of the first item.
    spills : bool
        Whether parts that find no room are to be spilled.
    """

    def __init__(
        self, queue: AsyncLeaseQueue, spool: Spool, *, readout: int, n_readouts: int, first_seq: int, spills: bool
    ) -> None:
        self._queue, self._spool, self._readout, self._n_readouts = queue, spool, readout, n_readouts
        self._spills = spills
        self._waiting: deque[Made] = deque()
        self._first_seq = first_seq
        self._here = self._n_here = 0
        self._room = RoomNow()
        self.is_full = False
        """Whether the queue has had no room since a while, so that parts are better spilled at once."""
        self.counts: Counter[str] = Counter()
        self._some, self._less = asyncio.Event(), asyncio.Event()
        self._is_ending = False

    @property
    def producer(self) -> str:
        """Its name in the queue."""
        return producer_name(self._readout)

    @property
    def next_seq(self) -> int:
        """Number of the next item."""
        return self._first_seq + len(self._waiting)

    @property
    def n_inside(self) -> int:
        """Timeframes in the room, when it was last told."""
        return self._room.n_timeframes

    def may_write(self, n_bytes: int) -> bool:
        """Return whether a part of so many bytes may be written now."""
        if len(self._waiting) >= (MAX_SPILLED if self._spills else MAX_WAITING):
            return False
        if not self._here or not n_bytes or self._here + n_bytes <= SMALL_BYTES:
            return True
        # Large parts are written while one is announced, unless the room may be full before they are: then what waits
        # for room is one part of each readout, which is what the device must hold beside the room.
        return self._n_here < 2 and self._room.free_bytes > PLENTY * self._n_readouts * n_bytes

    def fits(self, total_bytes: int) -> bool:
        """Return whether the device holds the next timeframe, of so many bytes in all, as far as this readout knows.

        Who begins a timeframe leaves space for what is to come of those begun, or readouts that are ahead would take
        the space that those behind need to complete what all wait for.
        """
        room = self._room
        if self.next_seq <= room.foremost or not (room.n_timeframes or self._waiting):
            return True
        to_come = room.to_come + self._here * (self._n_readouts - 1)  # also of what the queue has not heard of yet
        return self._spool.free_bytes >= to_come + (1 + self._n_readouts) * total_bytes

    async def wait_room(self, timeout_s: float) -> None:
        """Return when a timeframe has left the room, or after `timeout_s`."""
        self._room = await self._queue.wait_room(timeout_s)

    async def wait_for(self, n_bytes: int) -> None:
        """Return when a part of so many bytes may be written."""
        while not self.may_write(n_bytes):
            self._less.clear()
            await self._less.wait()

    def add(self, made: Made) -> None:
        """Take the next item."""
        self._waiting.append(made)
        self._count(made.here)
        self._some.set()

    def _count(self, n_bytes: int) -> None:
        self._here += n_bytes
        self._n_here += (n_bytes > 0) - (n_bytes < 0)

    async def run(self) -> None:
        """Announce until `end`."""
        while True:
            await self._some.wait()
            if self._waiting:
                await self._announce(list(islice(self._waiting, MAX_ITEMS)))
            elif self._is_ending:
                return
            else:
                self._some.clear()

    def end(self) -> None:
        """Let `run` return when all is announced."""
        self._is_ending = True
        self._some.set()

    async def _announce(self, batch: list[Made]) -> None:
        wait_s = SPILL_AFTER_S if self._spills and not self.is_full else None
        wires = [made.wire for made in batch]
        answer = await self._queue.put(self.producer, self._first_seq, wires, wait_s, until_all=False)
        n = answer.accepted_until + 1 - self._first_seq
        self._room = answer.room
        for seq in answer.refused:
            if (timeframe := batch[seq - self._first_seq].timeframe) is not None:
                self._spool.discard(timeframe, self._readout)
        self.counts["announced"] += n
        self.counts["refused"] += len(answer.refused)
        for _ in range(n):
            self._count(-self._waiting.popleft().here)
        self._first_seq += n
        if self._spills and n == 0:
            self.is_full = True
            await self._spill()
        elif not self._waiting:
            self.is_full = False
        self._less.set()

    async def _spill(self) -> None:
        """Move what waits to the spill folder, as far as there is room."""
        for made in list(self._waiting):
            if made.timeframe is None or not made.here:
                continue
            try:
                await asyncio.to_thread(self._spool.spill, made.timeframe, self._readout)
            except SpoolFullError:
                return
            self._count(-made.here)
            made.here = 0
            self.counts["spilled"] += 1


def producer_name(readout: int) -> str:
    """Return the name of a readout in the queue."""
    return f"readout-{readout}"
