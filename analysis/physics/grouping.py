"""Grouping: the rows of one table by the rows of another that any index column points to. O2's sliceBy and Preslice.

Knows tables and row numbers. Sorted columns give slices (columns stay views), unsorted ones are sorted once and kept.
"""

from typing import Any

import numpy as np

from o2dask.analysis import indices
from o2dask.analysis.indices import ListLevel
from o2dask.analysis.physics.sources import column
from o2dask.analysis.table import Row, Table
from o2dask.errors import DataError, ShapeError

__all__ = ["Preslice", "group_by", "per_event_sum", "slice_by"]


def slice_by(table: Table, index: str, row: int | Row) -> Table:
    """Return the rows of `table` whose index column (``"collisionId"``) is `row`: a number, or a row of the parent.

    For one or two slices; a `Preslice` is faster for many.
    """
    wanted = row.globalIndex() if isinstance(row, Row) else int(row)
    chosen: Table = table[column(table, index) == wanted]
    return chosen


class Preslice:
    """Slices of a table by an index column, found once: ``preslice[collision]`` is a table.

    Parameters
    ----------
    table : Table
        Plain rows, all or selected.
    index : str
        Getter of the index column: "collisionId", "mcCollisionId", "posTrackId", ...
    """

    def __init__(self, table: Table, index: str) -> None:
        self.table = table
        self.index = index
        ids = column(table, index)
        if ids.dtype.kind not in "iu" or ids.ndim != 1:
            raise ShapeError(f"Preslice by {index!r}: want an index column, got {ids.dtype} of shape {ids.shape}")
        self._n_parents = int(ids.max(initial=-1)) + 1
        self._grouping = indices.group(ids, self._n_parents)

    @property
    def is_sorted(self) -> bool:
        """Whether rows of one parent are neighbours in the table, so that slices copy nothing."""
        return self._grouping.order is None

    def __getitem__(self, row: "int | np.integer[Any] | Row") -> Table:
        """Return the rows that point to a parent row; an empty table if none does."""
        parent = int(row.globalIndex()) if isinstance(row, Row) else int(row)
        if not 0 <= parent < self._n_parents:
            return Table(self.table._group, indices.pick(self.table._rows, slice(0, 0)))
        start, count = int(self._grouping.starts[parent]), int(self._grouping.counts[parent])
        order = self._grouping.order
        item = slice(start, start + count) if order is None else order[start : start + count]
        return Table(self.table._group, indices.pick(self.table._rows, item))

    def by(self, parents: Table) -> Table:
        """Return the rows as one list per row of `parents`, which may be selected: ``preslice.by(collisions).pt()``."""
        numbers = column(parents, "globalIndex")
        counts, starts = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64)
        known = numbers < self._n_parents
        counts[known] = self._grouping.counts[numbers[known]]
        starts[known] = self._grouping.starts[numbers[known]]
        offsets, rows = indices.expand(starts, counts)
        if self._grouping.order is not None:
            rows = self._grouping.order[rows]
        return Table(self.table._group, indices.pick(self.table._rows, rows), (ListLevel(offsets),))


def group_by(table: Table, index: str, parents: Table) -> Table:
    """Return the rows of `table`, which may be selected, as one list per row of `parents`."""
    return Preslice(table, index).by(parents)


def per_event_sum(ids: np.ndarray, n_events: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the sum of weights (or the number) of rows per event, (n_events,) float64; rows with -1 count nowhere."""
    kept = ids >= 0
    if ids.max(initial=-1) >= n_events:
        raise DataError(f"per_event_sum: want events below {n_events}, got {ids.max()}")
    sums: np.ndarray = np.bincount(
        ids[kept], weights=None if weights is None else weights[kept], minlength=n_events
    ).astype(np.float64)
    return sums
