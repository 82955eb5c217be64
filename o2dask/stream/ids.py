"""A set of timeframes that stays small: runs of consecutive ones are stored as intervals. Knows no queue."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from o2dask.stream.descriptor import Key

__all__ = ["IdSet"]

MAX_INTERVALS = 1 << 14
"""Gaps that one sequence of timeframes may have before the oldest are closed: ids only grow within a stream, so what
is that far behind does not come any more."""
MAX_SEQUENCES = 1 << 12
"""Sequences (run, offset of the orbits) that are remembered; the one that grew longest ago is forgotten first."""


class IdSet:
    """Which timeframes were seen; of bounded size, so that of very old ones it may be wrong.

    >>> seen = IdSet()
    >>> seen.add((7, 0, 0, 32)), seen.add((7, 1, 32, 32)), seen.add((7, 1, 32, 32))
    (True, True, False)
    >>> (7, 1, 32, 32) in seen, (7, 2, 64, 32) in seen, seen.n_intervals
    (True, False, 1)
    """

    def __init__(self, max_intervals: int = MAX_INTERVALS, max_sequences: int = MAX_SEQUENCES) -> None:
        self._max_intervals, self._max_sequences = max_intervals, max_sequences
        self._sequences: OrderedDict[tuple[int, int, int], tuple[list[int], list[int]]] = OrderedDict()

    @property
    def n_intervals(self) -> int:
        """Number of intervals stored, the measure of its size."""
        return sum(len(starts) for starts, _ in self._sequences.values())

    def __contains__(self, key: Key) -> bool:
        run, counter, orbit, n_orbits = key
        found = self._sequences.get((run, n_orbits, orbit - counter * n_orbits))
        if found is None:
            return False
        starts, ends = found
        i = bisect_right(starts, counter) - 1
        return i >= 0 and counter < ends[i]

    def rows(self) -> list[tuple[int, int, int, int, int]]:
        """Return the set as rows of run, n_orbits, offset of the orbits, first counter, one past the last counter."""
        found = self._sequences.items()
        return [(*name, a, b) for name, (starts, ends) in found for a, b in zip(starts, ends, strict=True)]

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[int]]) -> "IdSet":
        """Return the set that `rows` were of."""
        made = cls()
        for run, n_orbits, offset, first, end in rows:
            starts, ends = made._sequences.setdefault((run, n_orbits, offset), ([], []))
            starts.append(first)
            ends.append(end)
        return made

    def add(self, key: Key) -> bool:
        """Add one; return whether it was new."""
        run, counter, orbit, n_orbits = key
        name = run, n_orbits, orbit - counter * n_orbits
        found = self._sequences.get(name)
        if found is None:
            self._sequences[name] = [counter], [counter + 1]
            if len(self._sequences) > self._max_sequences:
                self._sequences.popitem(last=False)
            return True
        starts, ends = found
        i = bisect_right(starts, counter) - 1
        if i >= 0 and counter < ends[i]:
            return False
        joins_left = i >= 0 and ends[i] == counter
        joins_right = i + 1 < len(starts) and starts[i + 1] == counter + 1
        if joins_left and joins_right:
            ends[i] = ends.pop(i + 1)
            del starts[i + 1]
        elif joins_left:
            ends[i] = counter + 1
        elif joins_right:
            starts[i + 1] = counter
        else:
            starts.insert(i + 1, counter)
            ends.insert(i + 1, counter + 1)
            self._sequences.move_to_end(name)
            if len(starts) > self._max_intervals:
                del starts[1], ends[0]
        return True
