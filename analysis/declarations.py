"""Tables by name, as a task declares them: ``o2.Tracks``, ``o2.Join[o2.Tracks, o2.TracksExtra]``, ``o2.Collision``.

Knows the data model's names and those that a user declares; reads nothing. A name without a version means the newest
version that a dataframe stores; ``o2.TracksExtra_000`` means that one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from o2dask.analysis import naming
from o2dask.analysis.errors import UnknownNameError, close_to
from o2dask.analysis.expressions import Expression, as_expression
from o2dask.aod.dataframe import schema_of
from o2dask.aod.model import TableModel, tables
from o2dask.columns import Column, Schema
from o2dask.errors import SpecError

__all__ = [
    "Filtered",
    "IndexTable",
    "Join",
    "SmallGroups",
    "SpawnedTable",
    "TableSpec",
    "declare_index_table",
    "declare_table",
    "extend_table",
    "table_named",
    "table_names",
]


@dataclass(frozen=True, kw_only=True, repr=False)
class TableSpec:
    """What an annotation says of an argument: which stored tables side by side, their rows filtered, or one by one.

    Attributes
    ----------
    names : tuple of str
        Names of tables that share the row number, the head first.
    stems : tuple of tuple of str
        For each, the names of trees without version that may hold it: ("track", "track_iu") for Tracks.
    versions : tuple of int or None
        For each, the version that is meant; None the newest.
    is_filtered : bool
        Whether filters of the task apply.
    is_row : bool
        One row at a time: the process function is called per row.
    schema : Schema, optional
        The columns of a table that a task produces or a user declares.
    """

    names: tuple[str, ...]
    stems: tuple[tuple[str, ...], ...]
    versions: tuple[int | None, ...]
    is_filtered: bool = False
    is_row: bool = False
    schema: Schema | None = None

    @property
    def iterator(self) -> "TableSpec":
        """One row of it at a time."""
        return replace(self, is_row=True)

    @property
    def parts(self) -> "tuple[TableSpec, ...]":
        """Its tables, one by one."""
        rows = zip(self.names, self.stems, self.versions, strict=True)
        return tuple(TableSpec(names=(n,), stems=(s,), versions=(v,)) for n, s, v in rows)

    @property
    def tree(self) -> str:
        """The tree that a produced table is stored as."""
        (stems,), (version,) = self.stems, self.versions
        return f"O2{stems[0]}" + (f"_{version:03d}" if version else "")

    def __str__(self) -> str:
        text = self.names[0] if len(self.names) == 1 else f"Join[{', '.join(self.names)}]"
        text = f"{text}.iterator" if self.is_row else text
        return f"Filtered[{text}]" if self.is_filtered else text

    __repr__ = __str__


class Join:
    """``Join[Tracks, TracksExtra]``: tables that share the row number, as one."""

    def __class_getitem__(cls, specs: Any) -> TableSpec:
        return _joined(specs if isinstance(specs, tuple) else (specs,))


class Filtered:
    """``Filtered[Tracks]``: the rows of a table that pass the filters of the task."""

    def __class_getitem__(cls, spec: Any) -> TableSpec:
        _check_is_table(spec, "Filtered")
        return replace(spec, is_filtered=True)


class SmallGroups:
    """``SmallGroups[Tracks]`` is ``Tracks``: rows are grouped sorted or not, and some rows have none."""

    def __class_getitem__(cls, spec: Any) -> TableSpec:
        _check_is_table(spec, "SmallGroups")
        made: TableSpec = spec
        return made


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SpawnedTable(TableSpec):
    """A table of columns computed from another's, row by row."""

    base: TableSpec
    expressions: Mapping[str, Expression]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class IndexTable(TableSpec):
    """A table that says, for every row of a key table, which rows of others point to it."""

    key: TableSpec
    others: tuple[TableSpec, ...]
    is_exclusive: bool


def declare_table(name: str, /, *, description: str = "", version: int = 0, **columns: Any) -> TableSpec:
    """Return a table of one's own, to be produced by one task and read by others; O2's DECLARE_SOA_TABLE.

    Parameters
    ----------
    name : str
        What it is called, ``TracksDca``.
    description : str
        Its tree is ``O2<description>`` in lower case; default: the name.
    version : int
        Version of the tree.
    **columns : str or Column
        Type, or full declaration, of each column under its name in the file: ``fDcaXY="float32"``.

    Examples
    --------
    >>> TracksDca = declare_table("TracksDca", fDcaXY="float32", fDcaZ="float32")
    >>> TracksDca.tree
    'O2tracksdca'
    """
    if not columns:
        raise SpecError(f"table {name}: want at least one column, such as fDcaXY='float32'")
    made = []
    for column, kind in columns.items():
        if not (column[:1] == "f" and column[1:2].isupper()):
            raise SpecError(f"table {name}: column names begin with f and a capital, as fDcaXY; got {column!r}")
        made.append(replace(kind, name=column) if isinstance(kind, Column) else _column(name, column, kind))
    stem, tree = _tree(name, description, version)
    return TableSpec(names=(name,), stems=((stem,),), versions=(version,), schema=schema_of(tree, made))


def extend_table(
    name: str, base: TableSpec, /, *, description: str = "", version: int = 0, **columns: Any
) -> SpawnedTable:
    """Return a table of float32 columns computed from those of `base`: ``fPt2=col.pt * col.pt``; for `Spawns`."""
    _check_is_table(base, f"extend_table({name!r})")
    plain = declare_table(name, description=description, version=version, **dict.fromkeys(columns, "float32"))
    expressions = {column: as_expression(value) for column, value in columns.items()}
    return SpawnedTable(
        names=plain.names,
        stems=plain.stems,
        versions=plain.versions,
        schema=plain.schema,
        base=base,
        expressions=expressions,
    )


def declare_index_table(
    name: str,
    /,
    key: TableSpec,
    *others: TableSpec,
    exclusive: bool = False,
    description: str = "",
    version: int = 0,
) -> IndexTable:
    """Return a table with, per row of `key`, the first row of each other table that points to it, -1 for none.

    O2's DECLARE_SOA_INDEX_TABLE; `exclusive` keeps only rows of `key` to which all others point. For `Builds`.
    """
    if not others:
        raise SpecError(f"index table {name}: want at least one table that points to {key}")
    for spec in (key, *others):
        _check_is_table(spec, f"index table {name}")
    columns = {f"fIndex{spec.names[0].split('_')[0]}": "int32" for spec in (key, *others)}
    plain = declare_table(name, description=description, version=version, **columns)
    return IndexTable(
        names=plain.names,
        stems=plain.stems,
        versions=plain.versions,
        schema=plain.schema,
        key=key,
        others=others,
        is_exclusive=exclusive,
    )


def table_named(name: str) -> TableSpec:
    """Return the table of the data model under O2's name, its rows one by one for the singular (`Collision`).

    Raises
    ------
    UnknownNameError
        If there is none; says which come close.
    """
    known = table_names()
    if name in known:
        return known[name]
    if f"{name}s" in known:
        return known[f"{name}s"].iterator
    raise UnknownNameError(f"no table {name!r} in the data model; {close_to(name, known)}")


@cache
def table_names() -> Mapping[str, TableSpec]:
    """Return the tables of the data model, with and without version, and O2's usual joins, by name."""
    found: dict[str, TableSpec] = {}
    stems: dict[str, list[str]] = {}
    for model in tables().values():
        label = model.table.removeprefix("Stored")
        plain = label.removesuffix(f"_{model.version:03d}")
        if naming.stem(model.tree) not in stems.setdefault(plain, []):
            stems[plain].append(naming.stem(model.tree))
        if plain != label or model.version:
            found[f"{plain}_{model.version:03d}"] = _of_model(f"{plain}_{model.version:03d}", model)
    for plain, of_label in stems.items():
        also = stems.get(f"{plain}IU", [])  # O2's Tracks are made of TracksIU by propagation; both serve
        found[plain] = TableSpec(names=(plain,), stems=((*of_label, *also),), versions=(None,))
    found["FullTracks"] = _joined((found["Tracks"], found["TracksExtra"]))
    found["BCsWithTimestamps"] = _joined((found["BCs"], found["Timestamps"]))
    return found


def _joined(specs: tuple[Any, ...]) -> TableSpec:
    for spec in specs:
        _check_is_table(spec, "Join")
        if spec.is_row or spec.is_filtered:
            raise SpecError(f"Join[...] of {spec}: want tables; write Join[...].iterator, or Filtered[Join[...]]")
    return TableSpec(
        names=tuple(name for spec in specs for name in spec.names),
        stems=tuple(stems for spec in specs for stems in spec.stems),
        versions=tuple(version for spec in specs for version in spec.versions),
    )


def _of_model(name: str, model: TableModel) -> TableSpec:
    return TableSpec(names=(name,), stems=((naming.stem(model.tree),),), versions=(model.version,), schema=model.schema)


def _check_is_table(spec: Any, where: str) -> None:
    if not isinstance(spec, TableSpec):
        raise SpecError(f"{where}: want tables such as o2.Tracks, got {spec!r}")


def _tree(name: str, description: str, version: int) -> tuple[str, str]:
    stem = (description or name).lower()
    if not (stem.isidentifier() and stem.isascii()):
        raise SpecError(f"table {name!r}: want a name of letters and digits, got {stem!r}")
    return stem, f"O2{stem}" + (f"_{version:03d}" if version else "")


def _column(table: str, name: str, kind: Any) -> Column:
    try:
        return Column(name=name, dtype=np.dtype(kind).name)
    except (TypeError, SpecError):
        raise SpecError(
            f"table {table}: column {name}: want a type such as 'float32', or a Column; got {kind!r}"
        ) from None
