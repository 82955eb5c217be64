"""Stored columns as arrays: what a frame makes of what storage gives, and whether its type is that of the data model.

Knows numpy, awkward and declared columns; knows no frame and no file.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from o2dask.analysis.indices import Rows
from o2dask.aod.model import tables
from o2dask.columns import Column, Jagged
from o2dask.errors import DataError

__all__ = ["as_array", "check_types", "chosen", "end_to_end", "joined_lists", "shifted"]


def check_types(tree: str, names: Iterable[str], stored: Mapping[str, Column], where: str) -> None:
    """Raise unless columns are stored as the model declares them: integers, floats, lists, arrays of one shape.

    Other widths pass, float64 for float32; trees that the model does not know pass as they are.

    Raises
    ------
    DataError
        Naming table, column and `where`, what was wanted and what is there.
    """
    model = tables().get(tree)
    want = {c.name: c.column for c in model.columns} if model else {}
    for name in names:
        if name in want and name in stored and _kind(want[name]) != _kind(stored[name]):
            told = f"{tree}.{name} in {where}: want {_type(want[name])}, got {_type(stored[name])}"
            raise DataError(f"{told}; as it is stored: table[{name!r}]")


def _kind(column: Column) -> tuple[str, tuple[int, ...], bool]:
    return np.dtype(column.dtype).kind.translate(str.maketrans("bu", "ii")), column.shape, column.is_jagged


def _type(column: Column) -> str:
    shape = "".join(f"[{n}]" for n in column.shape)
    return f"{'lists of ' if column.is_jagged else ''}{column.dtype}{shape}"


def as_array(column: Any) -> Any:
    """Return a stored column as numpy, or as an awkward array of lists."""
    if not isinstance(column, Jagged):
        return column
    import awkward as ak

    offsets = ak.index.Index64(column.offsets.astype(np.int64))
    return ak.Array(ak.contents.ListOffsetArray(offsets, ak.contents.NumpyArray(column.content)))


def chosen(column: Any, rows: Rows) -> Any:
    """Return some rows; all of them uncopied."""
    is_all = isinstance(rows, slice) and rows == slice(0, len(column))
    return column if is_all else column[rows]


def end_to_end(parts: list[Any]) -> Any:
    """Return columns one after the other."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    import awkward as ak

    return ak.concatenate(parts)


def shifted(ids: Any, shift: int) -> Any:
    """Return row numbers moved up; -1 stays."""
    if isinstance(ids, Jagged):
        return ids._replace(content=shifted(ids.content, shift))
    return np.where(ids >= 0, ids + ids.dtype.type(shift), ids)


def joined_lists(parts: list[Jagged]) -> Jagged:
    """Return columns of lists one after the other."""
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return Jagged(offsets, np.concatenate([part.content for part in parts]))
