"""Rows of a table that belong to one row of another: O2's Preslice and sliceBy.

Knows tables and their index columns. The grouping of a table is made once and kept with it.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from o2dask.analysis import indices
from o2dask.analysis.declarations import TableSpec
from o2dask.analysis.errors import UnknownNameError, close_to
from o2dask.analysis.indices import Grouping
from o2dask.analysis.table import Row, Table
from o2dask.errors import DataError, SpecError

if TYPE_CHECKING:
    from o2dask.analysis.getters import Getter

__all__ = ["Preslice", "grouped_by", "slice_by"]


class Preslice:
    """``by_collision = Preslice(Tracks, "collisionId")``; then ``self.by_collision(tracks, collision)`` is a table."""

    def __init__(self, spec: TableSpec, getter: str) -> None:
        if not isinstance(spec, TableSpec) or not isinstance(getter, str):
            raise SpecError(f"Preslice: want a table and the name of its index, got {spec!r} and {getter!r}")
        self.spec, self.getter = spec, getter

    def __call__(self, table: Table, row: "Row | int") -> Table:
        """Return the rows of the table whose index is that row."""
        return slice_by(table, self.getter, row)


def slice_by(table: Table, getter: str, row: "Row | int") -> Table:
    """Return the rows of `table` whose index `getter` (``collisionId``) points to a row, or a row number.

    Raises
    ------
    UnknownNameError
        If the table has no such index.
    """
    number = int(row.globalIndex()) if isinstance(row, Row) else int(row)
    found = table._group.getters.get(getter)
    if found is None or found.kind != "stored":
        known = [name for name, each in table._group.getters.items() if each.kind == "stored" and name.endswith("Id")]
        raise UnknownNameError(f"{table!r} has no index {getter!r}; {close_to(getter, known)}")
    grouping = grouped_by(table, found)
    if not 0 <= number < len(grouping.counts):
        return table[0:0]
    return _rows_of(table, grouping, number)


def grouped_by(table: Table, getter: "Getter", n_parents: int = -1) -> Grouping:
    """Return the positions in `table` by the row that an index column points to; kept with the table."""
    key = ("grouped by", getter.name)
    if key not in table._taken or len(table._taken[key].counts) < n_parents:
        table._group.check_types(getter)
        ids = np.asarray(table._column(getter.tree, getter.column))
        if ids.dtype.kind not in "iu" or ids.ndim != 1:
            where = f"{getter.tree}.{getter.column} in {table._group.frame.label}"
            raise DataError(f"{where}: want row numbers (int32), got {ids.dtype} of shape {ids.shape}")
        least = int(ids.max()) + 1 if len(ids) else 0
        table._taken[key] = indices.group(ids, max(least, n_parents))
    grouping: Grouping = table._taken[key]
    return grouping


def _rows_of(table: Table, grouping: Grouping, number: int) -> Table:
    start = int(grouping.starts[number])
    stop = start + int(grouping.counts[number])
    item: Any = slice(start, stop) if grouping.order is None else grouping.order[start:stop]
    return Table(table._group, indices.pick(table._rows, item))
