"""Rows of tables: selecting, following and grouping them, as arithmetic on arrays of row numbers.

Knows numpy and awkward layouts; knows no table. Rows are a slice where they are neighbours, so that columns are views,
and an int64 array elsewhere. Structure above the rows is a tuple of levels from the outside in: `ListLevel` for one
list per element, `OptionLevel` for elements that may be missing.
"""

from typing import Any, NamedTuple

import numpy as np

from o2dask.analysis.errors import RowError

__all__ = [
    "Grouping",
    "ListLevel",
    "OptionLevel",
    "Rows",
    "expand",
    "group",
    "groups_of",
    "mask_of_lists",
    "moved",
    "n_of",
    "part_of",
    "pick",
    "runs",
    "split",
    "to_array",
    "within",
    "wrap",
]

Rows = slice | np.ndarray


class ListLevel(NamedTuple):
    """Element i is the list of the next level's elements ``offsets[i]:offsets[i + 1]``; (n + 1,) int64 from 0."""

    offsets: np.ndarray


class OptionLevel(NamedTuple):
    """Element i is the next level's element ``where[i]``, or nothing where that is -1; (n,) int64."""

    where: np.ndarray


Level = ListLevel | OptionLevel


def n_of(rows: Rows) -> int:
    """Return how many rows there are."""
    return rows.stop - rows.start if isinstance(rows, slice) else len(rows)


def to_array(rows: Rows) -> np.ndarray:
    """Return the rows as an array of int64."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def pick(rows: Rows, item: Any) -> Rows:
    """Return the rows chosen by a slice, a mask of one bool per row, or an array of positions (negative from the end).

    Raises
    ------
    RowError
        If the mask has another length, a position is out of range, or the item is none of these.
    """
    n = n_of(rows)
    if isinstance(item, slice):
        steps = range(n)[item]
        if isinstance(rows, slice) and steps.step == 1:
            return slice(rows.start + steps.start, rows.start + max(steps.start, steps.stop))
        positions = np.arange(steps.start, steps.stop, steps.step)
    else:
        positions = _positions(item, n)
    return positions + rows.start if isinstance(rows, slice) else rows[positions]


def _positions(item: Any, n: int) -> np.ndarray:
    item = np.asarray(item)
    if item.size == 0 and item.ndim == 1 and item.dtype != bool:
        return np.zeros(0, np.int64)
    if item.ndim != 1 or item.dtype.kind not in "biu":
        raise RowError(f"selection: want a mask or row numbers, got {item.dtype} of shape {item.shape}")
    if item.dtype.kind == "b":
        if len(item) != n:
            raise RowError(f"mask: want one bool per row, {n}, got {len(item)}")
        return np.flatnonzero(item)
    item = item.astype(np.int64)
    if item.min() < -n or item.max() >= n:
        raise RowError(f"row numbers {item.min()} to {item.max()}: the table has {n} rows")
    positions: np.ndarray = np.where(item < 0, item + n, item)
    return positions


def part_of(rows: Rows, first: int, last: int) -> Rows:
    """Return the rows within [first, last), counted from `first`."""
    if isinstance(rows, slice):
        start, stop = max(rows.start, first), min(rows.stop, last)
        return slice(start - first, max(start, stop) - first)
    inside = rows[(rows >= first) & (rows < last)]
    return inside - first


def moved(rows: Rows, by: int) -> Rows:
    """Return rows further on."""
    return slice(rows.start + by, rows.stop + by) if isinstance(rows, slice) else rows + by


def expand(starts: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, Rows]:
    """Return offsets and rows of the lists ``starts[i]:starts[i] + counts[i]``; a slice where they are neighbours."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    filled = counts > 0
    first = starts[filled]
    if not len(first):
        return offsets, slice(0, 0)
    if np.array_equal(first[1:], (first + counts[filled])[:-1]):
        return offsets, slice(int(first[0]), int(first[0] + offsets[-1]))
    return offsets, np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)


class Grouping(NamedTuple):
    """The rows of a child table by parent: parent i has ``order[starts[i]:starts[i] + counts[i]]``.

    Without `order` the rows lie as stored, ``starts[i]:starts[i] + counts[i]``.
    """

    starts: np.ndarray
    counts: np.ndarray
    order: np.ndarray | None

    def of(self, parents: Rows) -> tuple[np.ndarray, Rows]:
        """Return offsets and child rows of the given parents."""
        offsets, rows = expand(self.starts[parents], self.counts[parents])
        return offsets, rows if self.order is None else self.order[rows]


def group(ids: np.ndarray, n_parents: int) -> Grouping:
    """Return the rows of `ids` by parent; -1 belongs to none. Stored order is kept within a parent.

    O2 stores them sorted, with the rows without a parent in one block; then nothing is reordered.
    """
    rows = np.flatnonzero(ids >= 0)
    given = ids[rows]
    counts = np.bincount(given, minlength=n_parents).astype(np.int64)
    ends = np.cumsum(counts)
    is_sorted = bool(np.all(given[1:] >= given[:-1]))
    if not is_sorted:
        rows = rows[np.argsort(given, kind="stable")]
    if is_sorted and (len(rows) == 0 or rows[-1] - rows[0] + 1 == len(rows)):
        return Grouping(ends - counts + (rows[0] if len(rows) else 0), counts, None)
    return Grouping(ends - counts, counts, rows)


def groups_of(rows: Rows, bounds: np.ndarray) -> np.ndarray:
    """Return which row groups some rows lie in, ascending; group i holds rows ``bounds[i]`` to ``bounds[i + 1]``."""
    if n_of(rows) == 0:
        return np.zeros(0, np.int64)
    if isinstance(rows, slice):
        first, last = np.searchsorted(bounds, [rows.start, rows.stop - 1], "right") - 1
        return np.arange(first, last + 1)
    if _is_sorted(rows):
        return np.flatnonzero(np.diff(np.searchsorted(rows, bounds)))
    is_needed = np.zeros(len(bounds), bool)
    is_needed[np.searchsorted(bounds, rows, "right") - 1] = True
    return np.flatnonzero(is_needed)


def within(rows: Rows, bounds: np.ndarray, needed: np.ndarray) -> Rows:
    """Return where rows lie in the needed row groups put end to end."""
    if n_of(rows) == 0:
        return slice(0, 0)
    if isinstance(rows, slice):
        shift = int(bounds[needed[0]])
        return slice(rows.start - shift, rows.stop - shift)
    counts = np.diff(bounds)[needed]
    shifts = np.zeros(len(bounds), np.int64)
    shifts[needed] = bounds[needed] - (np.cumsum(counts) - counts)
    if _is_sorted(rows):
        in_order: np.ndarray = rows - np.repeat(shifts[:-1], np.diff(np.searchsorted(rows, bounds)))
        return in_order
    shifted: np.ndarray = rows - shifts[np.searchsorted(bounds, rows, "right") - 1]
    return shifted


def _is_sorted(rows: np.ndarray) -> bool:
    return bool(np.all(rows[1:] >= rows[:-1]))


def runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Return ascending numbers as half-open ranges of neighbours.

    >>> runs([0, 1, 2, 5])
    [(0, 3), (5, 6)]
    """
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found


def wrap(values: Any, levels: tuple[Level, ...]) -> Any:
    """Return flat values under their levels: themselves without, an awkward array with."""
    if not levels:
        return values
    import awkward as ak

    layout = ak.to_layout(values)
    for level in reversed(levels):
        if isinstance(level, ListLevel):
            layout = ak.contents.ListOffsetArray(ak.index.Index64(level.offsets), layout)
        else:
            layout = ak.contents.IndexedOptionArray.simplified(ak.index.Index64(level.where), layout)
    return ak.Array(layout)


def mask_of_lists(mask: Any, levels: tuple[Level, ...]) -> tuple[np.ndarray, ListLevel] | None:
    """Return the positions and the lists that a mask with these very lists leaves; None for any other selection."""
    import awkward as ak

    if len(levels) != 1 or not isinstance(levels[0], ListLevel) or not isinstance(mask, ak.Array):
        return None
    layout, offsets = mask.layout, levels[0].offsets
    is_list = isinstance(layout, ak.contents.ListOffsetArray) and isinstance(layout.content, ak.contents.NumpyArray)
    if not is_list or layout.content.dtype != bool or not np.array_equal(layout.offsets.data, offsets):
        return None
    is_kept = np.asarray(layout.content.data)[: offsets[-1]]
    before = np.zeros(len(is_kept) + 1, np.int64)
    np.cumsum(is_kept, out=before[1:])
    return np.flatnonzero(is_kept), ListLevel(before[offsets])


def split(array: Any) -> tuple[np.ndarray, tuple[Level, ...]]:
    """Return the flat values of an awkward array of numbers, and its levels; the reverse of `wrap`."""
    import awkward as ak

    levels: list[Level] = []
    layout = ak.to_layout(ak.to_packed(array))
    while not layout.is_numpy or layout.purelist_depth > 1:
        if layout.is_unknown:
            break
        if layout.is_option:
            layout = layout.to_IndexedOptionArray64()
            is_there = np.asarray(layout.index.data) >= 0
            levels.append(OptionLevel(np.where(is_there, np.cumsum(is_there) - 1, -1)))
            layout = layout.project()
        elif layout.is_indexed:
            layout = layout.project()
        else:
            layout = layout.to_RegularArray() if layout.is_numpy else layout
            layout = layout.to_ListOffsetArray64(True)
            offsets = np.asarray(layout.offsets.data)
            levels.append(ListLevel(offsets))
            layout = layout.content[: offsets[-1]]
    values = np.zeros(0, np.int64) if layout.is_unknown else np.asarray(layout.data)
    return values, tuple(levels)
