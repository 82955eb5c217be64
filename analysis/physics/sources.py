"""Where physics functions get their columns: from a table by its getters, or from a mapping of arrays.

Knows tables' shape (rows and levels) so that nested tables, a list per collision, can be taken flat with offsets.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from o2dask.analysis import indices
from o2dask.analysis.errors import UnknownNameError, close_to
from o2dask.analysis.table import Table
from o2dask.errors import ShapeError

if TYPE_CHECKING:
    from o2dask.analysis.frames import Frame

__all__ = ["column", "flat", "frame_of", "offsets_of"]


def column(source: Any, name: str, **arguments: Any) -> np.ndarray:
    """Return a column as a numpy array: ``source.name()`` of a table, ``source[name]`` of a mapping.

    Raises
    ------
    ShapeError
        If the table is nested: `flat` gives its rows.
    """
    if isinstance(source, Mapping):
        if name not in source:
            raise UnknownNameError(f"columns given have no {name!r}; {close_to(name, source)}")
        return np.asarray(source[name])
    if isinstance(source, Table) and source._levels:
        raise ShapeError(f"{source!r}: want plain rows here, got lists; take flat(table)")
    return np.asarray(getattr(source, name)(**arguments))


def frame_of(source: "Frame | Table") -> "Frame":
    """Return the dataframe of a table, or the dataframe itself: a task has tables, a notebook dataframes."""
    return source._group.frame if isinstance(source, Table) else source


def flat(table: Table) -> Table:
    """Return the rows of a nested table without its lists, in order."""
    return Table(table._group, table._rows)


def offsets_of(table: Table) -> np.ndarray:
    """Return the offsets (n_lists + 1,) int64 of the lists of a table in its flat rows; one list for a plain table.

    Raises
    ------
    ShapeError
        If the table is nested in another way (``tracks.collision()``, or lists of lists).
    """
    if not table._levels:
        return np.array([0, len(table)], np.int64)
    (level, *rest) = table._levels
    if rest or not isinstance(level, indices.ListLevel):
        raise ShapeError(f"{table!r}: want plain rows or one list per row, as collisions.tracks")
    return level.offsets
