"""The state of a queue under lease: what waits, who holds what, who announced how far, what there is room for.

Plain Python without clocks, loops or Dask, so that its laws can be tested one by one; `plugin` serves it. An item is a
descriptor's tuple: its first four values name the timeframe, then its size and that expected of the whole timeframe.

Laws
----
1. An item that was accepted is ready, leased to one client, or done; it is never lost and never in two hands.
2. The items of a client that is gone, or whose lease ended, are ready again, before all others and in their order.
3. Of a producer's numbered items each is accepted or refused once; a number seen before is passed over.
4. The first item of a timeframe needs room, the others come in with it: so whatever is dropped is dropped whole.
5. What is forwarded leaves one queue and enters the other in one step, in the room that it has; a timeframe that was
   forwarded or dropped is closed: more of it is refused.
"""

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from o2dask.stream.descriptor import Key, Wire
from o2dask.stream.errors import StreamError
from o2dask.stream.ids import IdSet

__all__ = ["DROP", "WHEN_FULL", "Group", "QueueState", "Room"]

WHEN_FULL = ("block", "drop", "spill")
"""What becomes of a timeframe that finds no room: its producer waits, it is dropped, or its producer spills it."""
DROP = "drop"
Group = tuple[tuple[int, ...], Wire | None, str]
"""Tokens of one timeframe's items, what they become (None: nothing), and the name that this is counted under."""


class Room:
    """What queues may hold together: timeframes and bytes, for each at least what was expected of it when it came."""

    def __init__(self, max_timeframes: int, max_bytes: int) -> None:
        self.max_timeframes, self.max_bytes = max_timeframes, max_bytes
        self.n_bytes = self.peak_bytes = self.peak_timeframes = self._here = 0
        self._inside: dict[Key, list[int]] = {}  # items, their bytes, bytes expected

    def __len__(self) -> int:
        return len(self._inside)

    def __contains__(self, key: Key) -> bool:
        return key in self._inside

    def __iter__(self) -> Iterator[Key]:
        return iter(self._inside)

    @property
    def free_bytes(self) -> int:
        """What is free [bytes]; 0 as well when there is no place for another timeframe."""
        return max(0, self.max_bytes - self.n_bytes) if len(self._inside) < self.max_timeframes else 0

    @property
    def to_come(self) -> int:
        """What is expected of the timeframes inside and has not come [bytes]."""
        return self.n_bytes - self._here

    def admits(self, expected: int) -> bool:
        """Return whether one more timeframe may come in; one that is larger than all the room may, alone."""
        if not self._inside:
            return True
        return len(self._inside) < self.max_timeframes and self.n_bytes + expected <= self.max_bytes

    def enter(self, wire: Wire) -> None:
        """Take an item in, into the place of its timeframe if it has one."""
        n_bytes, expected = wire[4], wire[5]
        entry = self._inside.get(wire[:4])
        if entry is None:
            entry = self._inside[wire[:4]] = [0, 0, 0]
            self.peak_timeframes = max(self.peak_timeframes, len(self._inside))
        before = max(entry[1], entry[2])
        entry[0] += 1
        entry[1] += n_bytes
        entry[2] = max(entry[2], expected)
        self._here += n_bytes
        self._change(max(entry[1], entry[2]) - before)

    def leave(self, wire: Wire) -> None:
        """Let an item out; with the last of its timeframe the place is free."""
        entry = self._inside[wire[:4]]
        before = max(entry[1], entry[2])
        entry[0] -= 1
        entry[1] -= wire[4]
        self._here -= wire[4]
        if entry[0]:
            self._change(max(entry[1], entry[2]) - before)
        else:
            self._change(-before)
            del self._inside[wire[:4]]

    def exchange(self, old: Iterable[Wire], new: Wire) -> None:
        """Let items of a timeframe out and take in what they became, which is all that will come of it."""
        entry = self._inside[new[:4]]
        before = max(entry[1], entry[2])
        here = entry[1]
        for wire in old:
            entry[0] -= 1
            entry[1] -= wire[4]
        entry[0] += 1
        entry[1] += new[4]
        entry[2] = new[5]
        self._here += entry[1] - here
        self._change(max(entry[1], entry[2]) - before)

    def _change(self, n_bytes: int) -> None:
        self.n_bytes += n_bytes
        self.peak_bytes = max(self.peak_bytes, self.n_bytes)


class _Item:
    """An item that is not done: what, since when, delivered how often, who holds it ("" for nobody)."""

    __slots__ = ("born", "holder", "n_deliveries", "wire")

    def __init__(self, wire: Wire, born: float) -> None:
        self.wire, self.born = wire, born
        self.holder = ""
        self.n_deliveries = 0


class QueueState:
    """One queue; `room` and the end of the stream may be shared with the queue `after` which it comes."""

    def __init__(
        self,
        name: str,
        room: Room,
        *,
        when_full: str = "block",
        n_producers: int = 1,
        after: "QueueState | None" = None,
    ) -> None:
        self.name, self.room, self.when_full, self.after = name, room, when_full, after
        self.n_producers = n_producers
        self.counts: Counter[str] = Counter()
        self.closed = IdSet()
        self._items: dict[int, _Item] = {}
        self._fresh: deque[int] = deque()
        self._again: list[int] = []
        self._leases: dict[str, set[int]] = {}
        self._last: dict[str, int] = {}
        self._ended: set[str] = set()
        self._proposed: dict[str, int] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self._next = 0

    # -- producers

    def last_seq(self, producer: str) -> int:
        """Return the last number that was taken from a producer, -1 if none."""
        return self._last.get(producer, -1)

    def put(self, producer: str, first_seq: int, items: Sequence[Wire], now: float) -> tuple[int, list[int]]:
        """Take items in as far as there is room; return the last number dealt with, and the numbers refused.

        Raises
        ------
        StreamError
            If numbers between the last one and `first_seq` were never announced.
        """
        last = self.last_seq(producer)
        if first_seq > last + 1:
            raise StreamError(
                f"queue {self.name}: producer {producer} announced {first_seq} after {last}; want {last + 1}: "
                "ask last_seq where to go on"
            )
        refused, room, closed = [], self.room, self.closed
        for wire in items[last + 1 - first_seq :]:
            key: Key = wire[:4]
            if key in closed:
                self.counts["refused"] += 1
                refused.append(last + 1)
            elif key in room or room.admits(wire[5]):
                room.enter(wire)
                self._add(wire, now)
            elif self.when_full == DROP:
                closed.add(key)
                self.counts["dropped_full"] += 1
                refused.append(last + 1)
            else:
                break
            last += 1
        if last >= 0:
            self._last[producer] = last
        return last, refused

    def close_producer(self, producer: str) -> None:
        """Note that nothing more comes from a producer."""
        self._ended.add(producer)

    def propose_end(self, producer: str, seq: int) -> int:
        """Note that a producer has got to `seq` and is to end; return `agreed_end`."""
        self._proposed[producer] = max(seq, self._proposed.get(producer, 0))  # one that is started again may be behind
        return self.agreed_end

    @property
    def agreed_end(self) -> int:
        """The number before which all producers end, so that no timeframe lacks a part; -1 until all have said."""
        said = self._proposed.keys() | self._ended
        return max(self._proposed.values(), default=0) if len(said) >= self.n_producers else -1

    def _add(self, wire: Wire, born: float) -> None:
        self._items[self._next] = _Item(wire, born)
        self._fresh.append(self._next)
        self._next += 1
        self.counts["in"] += 1

    # -- consumers

    def get(self, client: str, n: int) -> list[tuple[int, _Item]]:
        """Lease up to `n` items to a client, oldest first."""
        taken: list[tuple[int, _Item]] = []
        while len(taken) < n and (self._again or self._fresh):
            token = heapq.heappop(self._again) if self._again else self._fresh.popleft()
            item = self._items.get(token)
            if item is None or item.holder:  # acknowledged after its lease had ended
                continue
            if item.wire[:4] in self.closed:  # came in while the rest of its timeframe was given up
                self.ack((token,))
                self.counts["refused"] += 1
                continue
            item.holder = client
            item.n_deliveries += 1
            self.counts["redelivered"] += item.n_deliveries > 1
            taken.append((token, item))
        if taken:
            self._leases.setdefault(client, set()).update(token for token, _ in taken)
        return taken

    def ack(self, tokens: Iterable[int]) -> int:
        """Note that items are done, whoever holds them now; return how many were not done before."""
        n = 0
        for token in tokens:
            item = self._items.pop(token, None)
            if item is not None:
                self._forget(token, item)
                self.room.leave(item.wire)
                n += 1
        self.counts["done"] += n
        return n

    def forward(self, client: str, groups: Sequence[Group], to: "QueueState") -> list[int]:
        """Replace items by what they become in the next queue; return which groups were not: not the client's any more,
        or of a timeframe that is closed."""
        refused = []
        for i, (tokens, wire, outcome) in enumerate(groups):
            items = [self._items.get(token) for token in tokens]
            if not items or any(item is None or item.holder != client for item in items):
                refused.append(i)
                continue
            found = [item for item in items if item is not None]
            if not self.closed.add(found[0].wire[:4]):
                self.ack(tokens)
                refused.append(i)
                continue
            self.counts[outcome] += 1
            if wire is None:
                self.ack(tokens)
            else:
                self.room.exchange([item.wire for item in found], wire)
                to._add(wire, min(item.born for item in found))
                for token, item in zip(tokens, found, strict=True):
                    del self._items[token]
                    self._forget(token, item)
                self.counts["done"] += len(tokens)
        return refused

    def give_back(self, client: str, tokens: Iterable[int] | None = None) -> int:
        """Make items of a client ready again, all of them by default; return how many."""
        held = self._leases.get(client, set())
        back = sorted(held if tokens is None else held.intersection(tokens))
        for token in back:
            self._items[token].holder = ""
            held.discard(token)
            heapq.heappush(self._again, token)
        if not held:
            self._leases.pop(client, None)
        return len(back)

    def _forget(self, token: int, item: _Item) -> None:
        held = self._leases.get(item.holder)
        if held is not None:
            held.discard(token)
            if not held:
                del self._leases[item.holder]

    # -- what there is

    @property
    def n_ready(self) -> int:
        """Number of items that wait for a client."""
        return len(self._items) - self.n_leased

    @property
    def n_leased(self) -> int:
        """Number of items that clients hold."""
        return sum(map(len, self._leases.values()))

    def n_held_by(self, client: str) -> int:
        """Return how many items a client holds."""
        return len(self._leases.get(client, ()))

    @property
    def highest_seq(self) -> int:
        """The highest number of any producer, -1 if there is none: how far the foremost is."""
        return max(self._last.values(), default=-1)

    @property
    def is_ended(self) -> bool:
        """Whether nothing will come, whatever is here."""
        return len(self._ended) >= self.n_producers and (self.after is None or self.after.is_over)

    @property
    def is_over(self) -> bool:
        """Whether nothing is here and nothing will come."""
        return not self._items and self.is_ended

    def status(self, now: float) -> dict[str, Any]:
        """Return what there is to tell: lengths, bytes, ages [s], counters, how far the producers are."""
        oldest = next(iter(self._items.values()), None)
        return {
            "ready": self.n_ready,
            "leased": self.n_leased,
            "timeframes": len(self.room),
            "bytes": self.room.n_bytes,
            "max_timeframes": self.room.max_timeframes,
            "max_bytes": self.room.max_bytes,
            "peak_timeframes": self.room.peak_timeframes,
            "peak_bytes": self.room.peak_bytes,
            "oldest_s": now - oldest.born if oldest else 0.0,
            "when_full": self.when_full,
            "is_over": self.is_over,
            "closed_producers": len(self._ended),
            "counts": dict(self.counts),
            "last_seq": dict(self._last),
            "reports": dict(self.reports),
        }
