"""Grouping: rows as one list per row of another table, by any index column, and sums per event.

Knows tables and row numbers. Single slices (O2's sliceBy and Preslice) are `o2dask.analysis.slicing`'s, whose grouping,
made once per table, is used here as well. Sorted columns give slices, whose columns are views; others are sorted once.
"""

import numpy as np

from o2dask.analysis import indices
from o2dask.analysis.errors import UnknownNameError, close_to
from o2dask.analysis.indices import ListLevel
from o2dask.analysis.physics.sources import column
from o2dask.analysis.slicing import grouped_by, slice_by
from o2dask.analysis.table import Table
from o2dask.errors import DataError

__all__ = ["group_by", "per_event_sum", "slice_by"]


def group_by(table: Table, index: str, parents: Table) -> Table:
    """Return the rows of `table` as one list per row of `parents`; both may be selected.

    ``group_by(tracks[good], "collisionId", collisions).pt()`` is an awkward array, a list per collision. Of all tracks
    ``collisions.tracks`` gives the same.

    Parameters
    ----------
    table : Table
        Plain rows.
    index : str
        Getter of the index column: "collisionId", "mcCollisionId", "posTrackId", ...
    parents : Table
        What the index points to.
    """
    getter = table.getters.get(index)
    if getter is None or getter.kind != "stored":
        known = [name for name, each in table.getters.items() if each.kind == "stored" and name.endswith("Id")]
        raise UnknownNameError(f"{table!r} has no index {index!r}; {close_to(index, known)}")
    numbers = column(parents, "globalIndex")
    grouping = grouped_by(table, getter, int(numbers.max(initial=-1)) + 1)
    offsets, rows = indices.expand(grouping.starts[numbers], grouping.counts[numbers])
    rows = rows if grouping.order is None else grouping.order[rows]
    return Table(table._group, indices.pick(table._rows, rows), (ListLevel(offsets),))


def per_event_sum(ids: np.ndarray, n_events: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the sum of weights (or the number) of rows per event, (n_events,) float64; rows with -1 count nowhere."""
    kept = ids >= 0
    if ids.max(initial=-1) >= n_events:
        raise DataError(f"per_event_sum: want events below {n_events}, got {ids.max()}")
    chosen = None if weights is None else weights[kept]
    sums: np.ndarray = np.bincount(ids[kept], weights=chosen, minlength=n_events).astype(np.float64)
    return sums
