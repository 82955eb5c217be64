"""Timeframes put together from messages of foreign devices: by id, with a time-out, bounded, everything odd counted.

Knows shares and columns; no socket, no clock of its own. A foreign device may send a timeframe in one message or datum
by datum, in any order, from several senders; it may repeat, forget and send rubbish, and none of it stops the stream.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from o2dask.columns import Columns
from o2dask.dataspecs import DataRef
from o2dask.errors import DataError
from o2dask.stream.messages import Buffer, Share, joined, read_message
from o2dask.timeframe import TimeframeId

__all__ = ["Assembly", "Whole"]

REMEMBERED = 4096
"""Timeframes given out that are remembered, so that what comes late or twice is known as such. Too low, and a repeat
from long ago makes a second timeframe (of the same id, which the queue refuses); each costs 200 bytes."""

Whole = tuple[TimeframeId, dict[DataRef, Columns]]


@dataclass(slots=True)
class _Datum:
    """Shares of one datum that have come."""

    serialization: bytes
    of: int
    payloads: dict[int, Buffer] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return len(self.payloads) == self.of

    def columns(self, ref: DataRef) -> Columns:
        return joined(ref, self.serialization, [self.payloads[i] for i in range(self.of)])


@dataclass(slots=True)
class _Open:
    """A timeframe that is not yet whole, since when [s]."""

    since: float
    data: dict[DataRef, _Datum] = field(default_factory=dict)


class Assembly:
    """Takes messages, gives timeframes.

    Parameters
    ----------
    outputs : sequence of DataRef
        What a timeframe has; others are counted and left out. A family (``TPC/RAWDATA/*``) takes what comes; without
        any datum that must come, a timeframe is what one message holds.
    complete_s : float
        How long a timeframe may wait for the rest of it [s]. Too low, and a slow sender's timeframes are incomplete;
        too high, and memory is held for what never comes.
    max_open : int
        Most timeframes that wait; of more, the oldest is given up.
    passes : bool
        Whether an incomplete timeframe is passed on with what has come, or dropped; both are counted.

    Attributes
    ----------
    counters : Counter
        messages, malformed, timeframes, incomplete, dropped, repeated, late, unasked, ends.
    last_fault : str
        What was wrong with the last malformed message.
    """

    def __init__(
        self, outputs: Sequence[DataRef] = (), *, complete_s: float = 5.0, max_open: int = 64, passes: bool = False
    ) -> None:
        self._wanted = frozenset(outputs)
        self._needed = frozenset(ref for ref in outputs if not ref.is_family)
        self._complete_s, self._max_open, self._passes = complete_s, max_open, passes
        self._open: OrderedDict[TimeframeId, _Open] = OrderedDict()
        self._given: OrderedDict[TimeframeId, None] = OrderedDict()
        self.counters: Counter[str] = Counter()
        self.last_fault = ""

    def take(self, parts: Sequence[Buffer], now: float) -> Iterator[Whole]:
        """Enter a message that came at `now` [s]; give the timeframes that it completes."""
        self.counters["messages"] += 1
        try:
            shares, is_end = read_message(parts)
        except DataError as error:
            self._malformed(error)
            return
        self.counters["ends"] += is_end
        touched = dict.fromkeys(share.timeframe for share in shares if self._enter(share, now))
        for timeframe in touched:
            if self._is_whole(timeframe):
                yield from self._give(timeframe, is_whole=True)
        while len(self._open) > self._max_open:
            yield from self._give(next(iter(self._open)), is_whole=False)

    def overdue(self, now: float) -> Iterator[Whole]:
        """Give up what has waited for too long; give what is passed on of it."""
        while self._open and now - next(iter(self._open.values())).since > self._complete_s:
            yield from self._give(next(iter(self._open)), is_whole=False)

    def flush(self) -> Iterator[Whole]:
        """Give up all that is not whole, at the end of the stream."""
        while self._open:
            yield from self._give(next(iter(self._open)), is_whole=False)

    def _enter(self, share: Share, now: float) -> bool:
        if share.timeframe in self._given:
            self.counters["late"] += 1
            return False
        if self._wanted and not share.ref.is_in(self._wanted):
            self.counters["unasked"] += 1
            return False
        waiting = self._open.get(share.timeframe)
        if waiting is None:
            waiting = self._open[share.timeframe] = _Open(now)
        datum = waiting.data.setdefault(share.ref, _Datum(share.serialization, share.of))
        if share.index in datum.payloads:
            self.counters["repeated"] += 1
        elif (share.of, share.serialization) != (datum.of, datum.serialization):
            self._malformed(DataError(f"{share.timeframe}: shares of {share.ref} contradict each other"))
        else:
            datum.payloads[share.index] = share.payload
        return True

    def _is_whole(self, timeframe: TimeframeId) -> bool:
        data = self._open[timeframe].data
        return all(datum.is_whole for datum in data.values()) and self._needed <= set(data)

    def _give(self, timeframe: TimeframeId, *, is_whole: bool) -> Iterator[Whole]:
        data: dict[DataRef, Columns] = {}
        for ref, datum in self._open.pop(timeframe).data.items():
            try:
                if datum.is_whole:
                    data[ref] = datum.columns(ref)
            except DataError as error:
                is_whole = False
                self._malformed(error)
        self._given[timeframe] = None
        if len(self._given) > REMEMBERED:
            self._given.popitem(last=False)
        self.counters["incomplete"] += not is_whole
        if is_whole or (self._passes and data):
            self.counters["timeframes"] += 1
            yield timeframe, data
        else:
            self.counters["dropped"] += 1

    def _malformed(self, error: DataError) -> None:
        self.counters["malformed"] += 1
        self.last_fault = str(error)
