"""A dataframe while tasks run over it: what is stored, and the tables that tasks made so far.

Knows frames; knows no task. Produced tables are columns in memory and look like stored ones; a produced table hides a
stored one of the same name.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from o2dask.analysis.errors import close_to
from o2dask.analysis.frames import Dataframe
from o2dask.columns import Columns, Jagged
from o2dask.errors import DataError

if TYPE_CHECKING:
    from o2dask.aod.dataframe import DataFrameSource

__all__ = ["WorkFrame"]


class WorkFrame(Dataframe):
    """A dataframe to which tables can be added."""

    def __init__(self, stored: "DataFrameSource") -> None:
        super().__init__(stored)
        self.made: dict[str, Columns] = {}

    def add(self, tree: str, columns: Columns) -> None:
        """Add a table under the name of its tree."""
        self.made[tree] = columns
        for key in [key for key in self._cache if isinstance(key, tuple) and tree in key]:
            del self._cache[key]
        self.__dict__.pop("_groups", None)

    @property
    def tables(self) -> tuple[str, ...]:
        """The trees stored and made."""
        return tuple(dict.fromkeys((*self.stored.tables, *self.made)))

    def n_rows(self, tree: str) -> int:
        """Return the number of rows of a tree."""
        if tree in self.made:
            return self.made[tree].n_rows
        found: int = self.cached(("rows of", tree), lambda: self.stored.n_rows(tree))
        return found

    def n_bytes(self, tree: str) -> int:
        """Return the size of a tree in storage, or in memory if it was made [bytes]."""
        return self.made[tree].nbytes if tree in self.made else self.stored.n_bytes(tree)

    def columns(self, tree: str) -> tuple[str, ...]:
        """Return the names of the columns of a tree."""
        return self.made[tree].schema.names if tree in self.made else super().columns(tree)

    def check_types(self, tree: str, names: tuple[str, ...]) -> None:
        """Raise DataError unless stored columns have the types that the data model declares."""
        if tree not in self.made:  # which were checked as they were filled
            super().check_types(tree, names)

    def row_groups(self, tree: str) -> np.ndarray:
        """Return where row groups begin; a table in memory is one."""
        return np.array([0, self.n_rows(tree)]) if tree in self.made else super().row_groups(tree)

    def limits(self, tree: str, name: str) -> "tuple[np.ndarray, np.ndarray] | None":
        """Return the least and greatest value of a column per row group; None for a table in memory."""
        return None if tree in self.made else super().limits(tree, name)

    def _read(self, tree: str, names: list[str]) -> dict[str, Any]:
        made = self.made.get(tree)
        if made is None:
            return super()._read(tree, names)
        if unknown := [name for name in names if name not in made]:
            raise DataError(f"{tree} in {self.label}: no column {unknown[0]!r}; {close_to(unknown[0], made)}")
        found: dict[str, Any | Jagged] = {name: made[name] for name in names}
        return found
