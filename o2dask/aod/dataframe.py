"""One dataframe to read from, wherever it is stored: its number, its tables, and the columns that are asked for.

Knows names and shapes; the two kinds of storage are in `parquet_reader` and `root_reader`. A dataframe may
be pickled to a worker: names travel, no open file.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from o2dask.aod.model import data_ref, tables
from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.errors import SpecError

__all__ = ["DataFrameSource", "schema_of", "sliced"]


class DataFrameSource(ABC):
    """A dataframe in storage.

    Attributes
    ----------
    number : int
        Number of the folder ``DF_<number>``: ``(run << 32) + first_orbit``.
    url : str
        File or folder that it is in.
    tables : tuple of str
        Names of its trees, in the order of the storage.
    metadata : mapping of str to str
        What AO2D.root calls metaData (DataType, Run, RecoPassName, ...); empty if the storage has none.
    parent : str
        File that holds the tables which this derived dataframe refers to; "" if it stands alone.
    origin : mapping
        What is known of where it comes from (run, tf_counter, first_orbit, n_orbits if o2dask made it).
    """

    number: int
    url: str
    tables: tuple[str, ...]

    @property
    def run(self) -> int:
        """Run number, as coded in the number."""
        return self.number >> 32

    @property
    def first_orbit(self) -> int:
        """First orbit of the timeframe, as coded in the number."""
        return self.number & 0xFFFFFFFF

    @property
    @abstractmethod
    def metadata(self) -> Mapping[str, str]: ...

    @property
    @abstractmethod
    def parent(self) -> str: ...

    @property
    @abstractmethod
    def origin(self) -> Mapping[str, Any]: ...

    @abstractmethod
    def n_rows(self, tree: str) -> int:
        """Return the number of rows of a table."""

    @abstractmethod
    def n_bytes(self, tree: str) -> int:
        """Return the stored size of a table [bytes]."""

    @abstractmethod
    def schema(self, tree: str) -> Schema:
        """Return the stored columns of a table; units and texts of tables in the data model are filled in."""

    @abstractmethod
    def table(self, tree: str, columns: Iterable[str] | None = None) -> Columns:
        """Return a table, or the named columns of it; only their bytes are read.

        Raises
        ------
        KeyError
            If the dataframe has no such table, or the table no such column.
        DataError
            If the storage is damaged.
        """

    def row_groups(self, tree: str) -> "np.ndarray":
        """Return where the rows begin that storage can give without the others, and the number of rows; (n + 1,)."""
        return np.array([0, self.n_rows(tree)])

    def rows(self, tree: str, columns: Iterable[str], first: int, last: int) -> Columns:
        """Return the named columns of row groups `first` to `last`, the last one excluded; only these are read."""
        bounds = self.row_groups(tree)
        return sliced(self.table(tree, columns), int(bounds[first]), int(bounds[last]))

    def limits(self, tree: str, column: str) -> "tuple[np.ndarray, np.ndarray] | None":
        """Return the least and greatest value of a column per row group, NaN aside; None if storage does not tell."""
        return None

    def fresh(self) -> "DataFrameSource":
        """Return one that remembers nothing of what was read, to be used and dropped: long lists stay small."""
        return self

    def close(self) -> None:  # noqa: B027 - not abstract: who keeps nothing open has nothing to do
        """Close what is kept open for the next read; what is read later is opened again."""

    def columns(self, tree: str) -> dict[str, Column]:
        """Return the stored columns of a table by name: dtype, row shape, unit, text."""
        return {column.name: column for column in self.schema(tree).columns}

    def read(self, tree: str, columns: Iterable[str] | None = None) -> "dict[str, Any | Jagged]":
        """Return the arrays of a table by column name; only the named columns are read."""
        return dict(self.table(tree, columns))

    def check_has(self, tree: str) -> None:
        """Raise KeyError unless the dataframe has the table."""
        if tree not in self.tables:
            raise KeyError(f"{self} has no table {tree!r}; it has {', '.join(self.tables) or 'none'}")

    def __str__(self) -> str:
        return f"{self.url}:DF_{self.number}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}: {len(self.tables)} tables>"


def sliced(columns: Columns, start: int, stop: int) -> Columns:
    """Return rows `start` to `stop` as views."""
    return Columns(columns.schema, {name: _part(array, start, stop) for name, array in columns.items()})


def _part(array: "np.ndarray | Jagged", start: int, stop: int) -> "np.ndarray | Jagged":
    if not isinstance(array, Jagged):
        return array[start:stop]
    offsets = array.offsets[start : stop + 1]
    return Jagged(offsets - offsets[0], array.content[offsets[0] : offsets[-1]])


def schema_of(tree: str, columns: Iterable[Column]) -> Schema:
    """Return the schema of a stored tree; columns that the data model knows get their unit and text from it."""
    return _schema_of(tree, tuple(columns))


@lru_cache(maxsize=1024)
def _schema_of(tree: str, columns: tuple[Column, ...]) -> Schema:
    """Return the schema; the same few are asked for in every dataframe of a long list."""
    model = tables().get(tree)
    known = {c.name: c.column for c in model.columns} if model else {}
    made = []
    for column in columns:
        told = known.get(column.name)
        made.append(replace(column, unit=column.unit or told.unit, text=column.text or told.text) if told else column)
    try:
        ref = data_ref(tree)
        return Schema(f"{ref.origin}/{ref.description}", tuple(made), ref.subspec)
    except SpecError:  # a derived table whose name no data address can hold
        return Schema(tree, tuple(made))
