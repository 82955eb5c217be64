"""Sources that know all their timeframes beforehand: numbers, rounds of a loop, who has which share. Knows no file."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from o2dask.stream.numbers import Numbers
from o2dask.timeframe import TimeframeId

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["N_ORBITS", "UNKNOWN", "ListedSource", "Reading", "Rounds", "split_evenly"]

UNKNOWN = -1
"""Number of a timeframe that a source does not give, or not under a number of which it knows beforehand."""
N_ORBITS = 1 << 32
"""Orbits of a run; what is replayed for longer goes on as the next run."""


class Reading(NamedTuple):
    """One readout's share of one timeframe.

    Attributes
    ----------
    timeframe : TimeframeId
        Which timeframe.
    batch : RecordBatch, optional
        Its blocks, as a CTF file holds them; None where there is no bulk.
    total_bytes : int
        Size of the whole timeframe, all readouts together [bytes]; 0: not known.
    error : str
        Why it is lost; "" if it is not.
    """

    timeframe: TimeframeId
    batch: "pa.RecordBatch | None" = None
    total_bytes: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Rounds:
    """How the ids of a list of timeframes go on when it is gone through again and again.

    Every round is shifted by the length of all; when the orbits of a run are used up, runs are.
    """

    counters: int
    orbits: int
    runs: int
    per_run: int
    first_orbit: int
    first_run: int

    @classmethod
    def of(cls, ids: list[TimeframeId]) -> "Rounds":
        """Return the rounds of these timeframes."""
        counters = max(i.tf_counter for i in ids) - min(i.tf_counter for i in ids) + 1
        first_orbit, first_run = min(i.first_orbit for i in ids), min(i.run for i in ids)
        highest = max(i.first_orbit + i.n_orbits for i in ids)
        orbits = highest - first_orbit
        runs = max(i.run for i in ids) - first_run + 1
        return cls(counters, orbits, runs, max(1, 1 + (N_ORBITS - highest) // orbits), first_orbit, first_run)

    def shift(self, timeframe: TimeframeId, n: int) -> TimeframeId:
        """Return the id that a timeframe has in round `n`."""
        if n == 0:
            return timeframe
        runs, n = divmod(n, self.per_run)
        return replace(
            timeframe,
            run=timeframe.run + runs * self.runs,
            tf_counter=timeframe.tf_counter + n * self.counters,
            first_orbit=timeframe.first_orbit + n * self.orbits,
        )

    def place(self, timeframe: TimeframeId, n: int) -> tuple[int, int]:
        """Return run and orbit that a timeframe of round `n` has in the first one, whether it comes or not."""
        runs, n = divmod(n, self.per_run)
        return timeframe.run - runs * self.runs, timeframe.first_orbit - n * self.orbits

    def round_of(self, timeframe: TimeframeId) -> int:
        """Return the round in which a timeframe comes, if it comes at all."""
        runs = (timeframe.run - self.first_run) // self.runs
        return runs * self.per_run + (timeframe.first_orbit - self.first_orbit) // self.orbits


class ListedSource(ABC):
    """Gives a list of timeframes, once or again and again; who derives from it says how one is read.

    Parameters
    ----------
    ids : list of TimeframeId
        All of them, in order.
    loop : bool
        Go through them again and again; the ids of later rounds go on where the round before ended.
    done : sequence of pairs
        Ranges [first, end) of numbers to leave out.
    notices : list of str
        What the user should know before it begins.
    """

    blocks = live = False

    def __init__(
        self, ids: list[TimeframeId], *, loop: bool, done: Sequence[Sequence[int]], notices: list[str]
    ) -> None:
        self.notices, self.counts = notices, dict[str, int]()
        self._ids, self._loop, self._numbers = ids, loop, Numbers(done)
        self._rounds = Rounds.of(ids)
        self._where = {self._rounds.place(id_, 0): k for k, id_ in enumerate(ids)}

    def __len__(self) -> int:
        return len(self._ids)

    @abstractmethod
    def _reading(self, k: int, timeframe: TimeframeId) -> Reading:
        """Return the `k`-th of the list, under the id that it has in this round."""

    def readings(self, first: int) -> Iterator[Reading | None]:
        """Give them from number `first` on."""
        for i in self._numbers.since(first):
            n, k = divmod(i, len(self._ids))
            if n and not self._loop:
                return
            yield self._reading(k, self._rounds.shift(self._ids[k], n))

    def number_of(self, timeframe: TimeframeId) -> int:
        """Return its number, of whatever round."""
        n = self._rounds.round_of(timeframe)
        if n < 0 or (n and not self._loop):
            return UNKNOWN
        k = self._where.get(self._rounds.place(timeframe, n), UNKNOWN)
        is_same = k != UNKNOWN and self._rounds.shift(self._ids[k], n) == timeframe
        return n * len(self._ids) + k if is_same else UNKNOWN


def split_evenly(sizes: Sequence[int], n: int) -> list[int]:
    """Return where each of `n` shares of some things begins, and the end: in order, of sizes as equal as may be.

    >>> split_evenly([4, 4, 4, 4], 2), split_evenly([9, 1, 1], 3)
    ([0, 2, 4], [0, 0, 1, 3])
    """
    import numpy as np

    ends = np.cumsum(sizes, dtype=float)
    middles = 0.5 * (ends + np.concatenate([[0.0], ends[:-1]]))
    owner = np.minimum((n * middles / max(ends[-1], 1.0)).astype(int), n - 1) if len(ends) else np.zeros(0, int)
    starts: list[int] = np.searchsorted(owner, np.arange(n + 1)).tolist()  # owners never decrease
    return starts
