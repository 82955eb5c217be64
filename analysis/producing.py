"""Tables that tasks make: `Produces` (filled by the task), `Spawns` (computed columns), `Builds` (index tables).

Knows declared columns and arrays; where tables come from and go to is the frame's business.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from o2dask.analysis import naming
from o2dask.analysis.declarations import IndexTable, SpawnedTable, TableSpec
from o2dask.analysis.errors import close_to
from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.errors import DataError, SpecError

__all__ = ["Builds", "Produces", "Spawns", "TableCursor", "index_columns", "schema_for"]


class Produces:
    """A table that the task fills: ``dca = Produces[TracksDca]``, then ``self.dca(xy, z)`` or ``self.dca(dcaXY=xy)``.

    A call appends rows: arrays of one length, or single values, in the order of the table's columns or by their names.
    """

    def __class_getitem__(cls, spec: Any) -> "Produces":
        return cls(spec)

    def __init__(self, spec: TableSpec) -> None:
        schema_for(spec, "Produces")
        self.spec = spec

    def __call__(self, *values: Any, **by_name: Any) -> None:
        """Append rows; a task has a `TableCursor` under this name that does it."""
        raise SpecError(f"Produces[{self.spec}]: belongs to a class; call it on a task")


class Spawns:
    """A table of computed columns, made for every dataframe: ``more = Spawns[extend_table(...)]``."""

    def __class_getitem__(cls, spec: Any) -> "Spawns":
        return cls(spec)

    def __init__(self, spec: TableSpec) -> None:
        if not isinstance(spec, SpawnedTable):
            raise SpecError(f"Spawns[{spec}]: want a table made by o2.extend_table(name, base, fX=o2.col.x ...)")
        self.spec = spec


class Builds:
    """An index table, made for every dataframe: ``matched = Builds[declare_index_table(...)]``."""

    def __class_getitem__(cls, spec: Any) -> "Builds":
        return cls(spec)

    def __init__(self, spec: TableSpec) -> None:
        if not isinstance(spec, IndexTable):
            raise SpecError(f"Builds[{spec}]: want a table made by o2.declare_index_table(name, key, others ...)")
        self.spec = spec


def schema_for(spec: Any, where: str) -> Schema:
    """Return the columns of a table that is to be produced: one's own, or the newest version in the data model."""
    if not isinstance(spec, TableSpec) or len(spec.names) != 1 or spec.is_row or spec.is_filtered:
        raise SpecError(f"{where}[{spec}]: want one table, of o2.declare_table or of the data model")
    if spec.schema is not None:
        return spec.schema
    from o2dask.aod.model import tables

    versions = [m for m in tables().values() if naming.stem(m.tree) == spec.stems[0][0]]
    newest = max(versions, key=lambda m: m.version)
    return newest.schema


class TableCursor:
    """Collects the rows of a table that a task produces for one dataframe."""

    def __init__(self, spec: TableSpec, where: str) -> None:
        self.spec, self.where = spec, where
        self.schema = schema_for(spec, "Produces")
        self._by_name = {naming.fold(naming.getter_of(n)): n for n in self.schema.names}
        self._by_name |= {naming.fold(index.getter): n for n in self.schema.names if (index := naming.index_name(n))}
        self._by_name |= {naming.fold(n): n for n in self.schema.names}
        self._parts: list[dict[str, Any]] = []

    def __call__(self, *values: Any, **by_name: Any) -> None:
        """Append rows.

        Raises
        ------
        DataError
            If columns are missing, unknown, of different lengths, or of a type that does not fit.
        """
        given = dict(zip(self.schema.names, values, strict=False)) | {self._name(n): v for n, v in by_name.items()}
        missing = [name for name in self.schema.names if name not in given]
        if missing or len(values) > len(self.schema.names):
            want = ", ".join(self.schema.names)
            got = f"{len(values)} values" + (f" and {', '.join(by_name)}" if by_name else "")
            raise DataError(f"table {self.spec} of {self.where}: want a value for each of {want}; got {got}")
        made = {c.name: _converted(c, given[c.name], f"table {self.spec} of {self.where}") for c in self.schema.columns}
        lengths = {
            name: len(part.offsets) - 1 if isinstance(part, Jagged) else len(part) for name, part in made.items()
        }
        if len(set(lengths.values())) > 1:
            raise DataError(f"table {self.spec} of {self.where}: want columns of one length, got {lengths}")
        self._parts.append(made)

    @property
    def n_rows(self) -> int:
        """Rows so far: O2's lastIndex() + 1."""
        return sum(_n_rows(part[self.schema.names[0]]) for part in self._parts)

    def take(self) -> Columns:
        """Return what was collected, and begin anew."""
        parts, self._parts = self._parts, []
        if not parts:
            return self.schema.empty()
        return Columns(self.schema, {c.name: _joined([part[c.name] for part in parts]) for c in self.schema.columns})

    def _name(self, given: str) -> str:
        found = self._by_name.get(naming.fold(given))
        if found is None:
            hint = close_to(given, self.schema.names)
            raise DataError(f"table {self.spec} of {self.where}: no column {given!r}; {hint}")
        return found


def _n_rows(part: Any) -> int:
    return len(part.offsets) - 1 if isinstance(part, Jagged) else len(part)


def _joined(parts: list[Any]) -> Any:
    if not isinstance(parts[0], Jagged):
        return np.ascontiguousarray(np.concatenate(parts))
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return Jagged(offsets, np.concatenate([part.content for part in parts]))


def _converted(column: Column, values: Any, where: str) -> Any:
    """Return values as the declared type; floats may lose digits, nothing may lose its meaning."""
    if column.is_jagged:
        return _lists(column, values, where)
    array = np.asarray(values)
    if array.ndim == len(column.shape):
        array = array[None]
    if array.shape[1:] != column.shape:
        want = f"(n, {', '.join(map(str, column.shape))})" if column.shape else "(n,)"
        raise DataError(f"{where}: column {column.name}: want shape {want}, got {array.shape}")
    return _cast(column, array, where)


def _cast(column: Column, array: np.ndarray, where: str) -> np.ndarray:
    want = np.dtype(column.dtype)
    if array.dtype == want:
        return array.copy()
    is_safe = array.dtype.kind in "biu" or (array.dtype.kind == "f" and want.kind == "f") or array.size == 0
    if is_safe and array.size and want.kind in "iu":
        limits = np.iinfo(want)
        is_safe = bool(array.min() >= limits.min and array.max() <= limits.max)
    if not is_safe:
        raise DataError(
            f"{where}: column {column.name}: want {column.dtype}, got {array.dtype} that does not fit in it"
        )
    return array.astype(want)


def _lists(column: Column, values: Any, where: str) -> Jagged:
    import awkward as ak

    if isinstance(values, Jagged):
        return Jagged(values.offsets, _cast(column, values.content, where))
    array = ak.Array(values)
    if array.ndim != 2:
        raise DataError(f"{where}: column {column.name}: want a list per row, got {array.type}")
    content = np.asarray(ak.to_numpy(ak.flatten(array)))
    offsets = np.concatenate([[0], np.cumsum(ak.to_numpy(ak.num(array)))]).astype(np.int32)
    return Jagged(offsets, _cast(column, content, where))


def index_columns(spec: IndexTable, n_keys: int, ids: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns of an index table.

    Parameters
    ----------
    spec : IndexTable
        What it is.
    n_keys : int
        Rows of the key table.
    ids : mapping of str to ndarray, (n,), int32
        For each other table, by name: the row of the key table that each of its rows points to, -1 none.
    """
    found = {spec.key.names[0]: np.arange(n_keys, dtype=np.int32)}
    for name, keys in ids.items():
        rows = np.full(n_keys, -1, np.int32)
        given = np.flatnonzero(keys >= 0)[::-1]  # the first of several is written last
        rows[keys[given]] = given
        found[name] = rows
    if spec.is_exclusive:
        is_full = np.logical_and.reduce([rows >= 0 for rows in found.values()])
        found = {name: rows[is_full] for name, rows in found.items()}
    return {f"fIndex{name.split('_')[0]}": rows for name, rows in found.items()}
