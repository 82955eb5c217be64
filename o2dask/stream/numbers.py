"""Which numbers of a source are still to be given, when a run goes on that has done some. Knows integers only."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, count

__all__ = ["MOST", "Numbers", "ranges_of"]

MOST = 1 << 14
"""Most ranges that are handed on: what lies behind them is given again, and passed over one by one."""


class Numbers:
    """All numbers from 0 on but those in `done`, ranges [first, end) in order that do not touch each other.

    >>> numbers = Numbers([(0, 3), (5, 6)])
    >>> [numbers.at(i) for i in range(4)]
    [3, 4, 6, 7]
    """

    def __init__(self, done: Sequence[Sequence[int]] = ()) -> None:
        self._ends = [end for _, end in done]
        n_before = [0, *accumulate(end - first for first, end in done)]
        self._n_left = [
            first - n for (first, _), n in zip(done, n_before, strict=False)
        ]  # those left before each range

    def at(self, i: int) -> int:
        """Return the number that is left as the `i`-th, from 0 on."""
        k = bisect_right(self._n_left, i)
        return i if k == 0 else self._ends[k - 1] + i - self._n_left[k - 1]

    def since(self, i: int) -> Iterator[int]:
        """Give the numbers that are left, from the `i`-th on, without end."""
        return map(self.at, count(i)) if self._ends else iter(count(i))


def ranges_of(numbers: Iterable[int], most: int = MOST) -> list[tuple[int, int]]:
    """Return numbers in any order as ranges [first, end) in order, the first `most` of them.

    >>> ranges_of([5, 1, 0, 2, 9])
    [(0, 3), (5, 6), (9, 10)]
    """
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number:
            found[-1] = found[-1][0], number + 1
        elif len(found) < most:
            found.append((number, number + 1))
        else:
            break
    return found
