"""The AOD data model: every table of AliceO2's core AO2D, declared once in `model.json`, by the name of its tree.

Knows names, types, relations and the producer's float masks; opens no data file. Source: AliceO2, October 2024,
`Framework/Core/include/Framework/AnalysisDataModel.h` and `Detectors/AOD/src`, see the `source` entry of the file.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import numpy as np

from o2dask.columns import Column, Columns, Schema
from o2dask.errors import SpecError
from o2dask.specs import DataRef

__all__ = ["ColumnModel", "Derived", "TableModel", "data_ref", "enums", "table_for", "tables", "tree_name", "truncate"]

_TREE = re.compile(r"^O2(?P<description>[a-z0-9_]+?)(_(?P<version>\d{3}))?$")
# A data description holds 16 letters, too few for this one (`naming` in the facts).
_EXCEPTIONS = {"MCCOLLISLABEL": "mccollisionlabel"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnModel:
    """A stored column: how it is stored, what it means, its getter, and the table that it points into.

    `kind` is "" for a plain value, else one of index, slice_index, array_index, self_index, self_slice_index,
    self_array_index; `target` is then the tree whose rows it counts. -1 is no index; slices hold the first and the
    last row, both inclusive, and -1, -1 for none.
    """

    column: Column
    getter: str
    kind: str = ""
    target: str = ""

    @property
    def name(self) -> str:
        """Name in the file."""
        return self.column.name


@dataclass(frozen=True, slots=True)
class Derived:
    """A column that is not stored but computed by its getter: name of the getter and formula, in words."""

    getter: str
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableModel:
    """One table: tree in AO2D.root, name in O2's code, data description and version, columns in file order.

    `dynamic` and `expression` are the columns computed from the stored ones. `row_aligned_with` names the tree that
    it shares the row number with. `masks` are the bits of a float32 that the producer keeps; a column of
    `unmasked_where` keeps all bits in rows where (named column & bits) is not 0. `is_produced` says whether O2's
    producer of October 2024 writes it.
    """

    tree: str
    table: str
    description: str
    version: int
    columns: tuple[ColumnModel, ...]
    is_produced: bool
    row_aligned_with: str = ""
    masks: Mapping[str, int] = field(default_factory=dict, hash=False)
    unmasked_where: Mapping[str, tuple[str, int]] = field(default_factory=dict, hash=False)
    dynamic: tuple[Derived, ...] = ()
    expression: tuple[Derived, ...] = ()
    note: str = ""

    @property
    def ref(self) -> DataRef:
        """Address of the table between processors: ``AOD/TRACK_IU/0``, the version as subspecification."""
        return DataRef("AOD", self.description, self.version)

    @property
    def schema(self) -> Schema:
        """The stored columns, for `Columns` and `OutputSpec`; variable columns are jagged, slices have shape (2,)."""
        return Schema(f"AOD/{self.description}", tuple(c.column for c in self.columns), self.version)

    def __getitem__(self, name: str) -> ColumnModel:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.tree} has no column {name!r}; it has {', '.join(c.name for c in self.columns)}")

    def __str__(self) -> str:
        return f"{self.tree} ({self.table}, {self.ref}, {len(self.columns)} columns)"


@cache
def tables() -> Mapping[str, TableModel]:
    """Return all tables of the model by tree name (``O2track_iu``, ``O2trackextra_001``)."""
    return MappingProxyType({entry["tree"]: _table(entry) for entry in _content()["tables"]})


def enums() -> Mapping[str, Any]:
    """Return the enumerations behind flag and type columns (track_type, track_flags, mc_flags, ...)."""
    return MappingProxyType(_content()["enums"])


def table_for(ref: DataRef) -> TableModel:
    """Return the table of an address: AOD/TRACKEXTRA/1 is O2trackextra_001.

    Raises
    ------
    SpecError
        If the model has no such table; says which versions of it exist.
    """
    tree = tree_name(ref)
    if tree in tables():
        return tables()[tree]
    versions = [str(t.ref) for t in tables().values() if t.description == ref.description]
    known = f"it has {', '.join(versions)}" if versions else "see o2dask.aod.tables() for those it has"
    raise SpecError(f"AOD table {ref}: the data model has no such table; {known}")


def tree_name(ref: DataRef) -> str:
    """Return the tree of an address, in the model or not: AOD/TRACK_IU/0 is O2track_iu, AOD/BC/1 is O2bc_001."""
    if ref.origin != "AOD":
        raise SpecError(f"AOD table {ref}: want origin AOD, got {ref.origin}")
    name = _EXCEPTIONS.get(ref.description, ref.description.lower())
    return f"O2{name}" + (f"_{ref.subspec:03d}" if ref.subspec else "")


def data_ref(tree: str) -> DataRef:
    """Return the address of a tree: O2collision_001 is AOD/COLLISION/1; the reverse of `tree_name`."""
    match = _TREE.match(tree)
    if not match:
        raise SpecError(f"tree {tree!r}: want O2<description>[_<version>] such as O2track_iu or O2bc_001")
    name = match["description"]
    description = next((d for d, n in _EXCEPTIONS.items() if n == name), name.upper())
    return DataRef("AOD", description, int(match["version"] or 0))


def truncate(columns: Columns) -> Columns:
    """Return the table with its floats cut to the precision that O2's producer stores; the rest is shared, not copied.

    The low mantissa bits are set to 0 (`truncateFloatFraction`, CommonUtils/StringUtils.h of AliceO2), which is what
    makes the columns compress. Rows whose float holds packed integers (`unmasked_where`) stay as they are.
    """
    table = table_for(_ref_of(columns.schema))
    arrays = dict(columns)
    for name, mask in table.masks.items():
        array = columns[name]
        values = array.content if table[name].column.is_jagged else array
        cut = (np.ascontiguousarray(values).view(np.uint32) & np.uint32(mask)).view(np.float32)
        if name in table.unmasked_where:
            flags, bits = table.unmasked_where[name]
            cut = np.where(columns[flags] & bits != 0, values, cut)
        arrays[name] = array._replace(content=cut) if table[name].column.is_jagged else cut
    return Columns(columns.schema, arrays)


def _ref_of(schema: Schema) -> DataRef:
    ref = DataRef.parse(schema.name)
    return DataRef(ref.origin, ref.description, ref.subspec or schema.version)


@cache
def _content() -> dict[str, Any]:
    text = resources.files("o2dask.aod").joinpath("model.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def _table(entry: Mapping[str, Any]) -> TableModel:
    where = entry.get("unmasked_where", {})
    return TableModel(
        tree=entry["tree"],
        table=entry["table"],
        description=entry["description"],
        version=entry["version"],
        columns=tuple(map(_column, entry["columns"])),
        is_produced=entry["produced"],
        row_aligned_with=entry.get("row_aligned_with", ""),
        masks={name: int(mask, 16) for name, mask in entry.get("masks", {}).items()},
        unmasked_where={name: (e["column"], e["bits"]) for name, e in where.items()},
        dynamic=tuple(Derived(*pair) for pair in entry.get("dynamic", ())),
        expression=tuple(Derived(*pair) for pair in entry.get("expression", ())),
        note=entry.get("note", ""),
    )


def _column(entry: Mapping[str, Any]) -> ColumnModel:
    column = Column(
        name=entry["name"],
        dtype=entry["dtype"],
        unit=entry.get("unit", ""),
        text=entry["text"],
        shape=tuple(entry.get("shape", ())),
        is_jagged=entry.get("is_jagged", False),
    )
    return ColumnModel(
        column=column, getter=entry["getter"], kind=entry.get("kind", ""), target=entry.get("target", "")
    )
