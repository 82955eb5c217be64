"""Derived dataframes together with those they were made from: O2's ``--aod-parent-access-level``.

Knows where a dataframe says that it comes from (`DataFrameSource.parent`) and that it has the same number there; tables
that it does not store are then its parent's. Nothing of the parent is opened before its tables are asked for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from o2dask.aod.dataframe import DataFrameSource
from o2dask.columns import Columns, Schema
from o2dask.errors import ConfigError, DataError, O2DaskError

__all__ = ["Parents", "WithParent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parents:
    """How far back dataframes are read, and where parents are.

    Attributes
    ----------
    levels : int
        0: no parent; 1: the parent; 2: its parent as well.
    path : str
        ``"old;new"``: names of parents that begin with the one begin with the other instead, O2's
        ``--aod-parent-base-path-replacement``.
    """

    levels: int = 0
    path: str = ""

    def __post_init__(self) -> None:
        if self.levels < 0:
            raise ConfigError(f"parents: want 0 or more levels, got {self.levels}")
        if self.path and self.path.count(";") != 1:
            raise ConfigError(f"parent path: want 'old;new', got {self.path!r}")

    def of(self, dataframes: Iterable[DataFrameSource]) -> list[DataFrameSource]:
        """Return dataframes with their parents, those that have none as they are."""
        return [self.one(each) for each in dataframes]

    def one(self, dataframe: DataFrameSource) -> DataFrameSource:
        """Return a dataframe with its parent, if it has one and it is to be read."""
        return WithParent(dataframe, self) if self.levels and dataframe.parent else dataframe

    def url(self, parent: str) -> str:
        """Return where a parent is."""
        old, _, new = self.path.partition(";")
        return new + parent.removeprefix(old) if old and parent.startswith(old) else parent


class WithParent(DataFrameSource):
    """A derived dataframe, and behind it the one that it was made from."""

    def __init__(self, child: DataFrameSource, parents: Parents) -> None:
        self.child, self._parents = child, parents
        self.number, self.url = child.number, child.url

    def __reduce__(self) -> tuple[Any, ...]:
        return WithParent, (self.child, self._parents)

    @cached_property
    def _above(self) -> DataFrameSource:
        """The parent, which is opened here."""
        from o2dask.aod.reader import open_one

        url = self._parents.url(self.child.parent)
        try:
            found = open_one(url, self.number)
        except O2DaskError as error:
            remedy = "" if self._parents.path else "; if it was moved, say where: parent_path='old;new'"
            raise DataError(f"{self.child}: parent {url} cannot be read: {error}{remedy}") from error
        return Parents(levels=self._parents.levels - 1, path=self._parents.path).one(found)

    @cached_property
    def tables(self) -> tuple[str, ...]:  # type: ignore[override]
        """The trees of both; one that both store is the derived one's."""
        return tuple(dict.fromkeys([*self.child.tables, *self._above.tables]))

    def _holder(self, tree: str) -> DataFrameSource:
        self.check_has(tree)
        return self.child if tree in self.child.tables else self._above

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the derived one says."""
        return self.child.metadata

    @property
    def parent(self) -> str:
        """What the derived one says."""
        return self.child.parent

    @property
    def origin(self) -> Mapping[str, Any]:
        """What the derived one says."""
        return self.child.origin

    def n_rows(self, tree: str) -> int:
        """Return the number of rows of a table of either."""
        return self._holder(tree).n_rows(tree)

    def n_bytes(self, tree: str) -> int:
        """Return the stored size of a table of either [bytes]."""
        return self._holder(tree).n_bytes(tree)

    def schema(self, tree: str) -> Schema:
        """Return the stored columns of a table of either."""
        return self._holder(tree).schema(tree)

    def table(self, tree: str, columns: Iterable[str] | None = None) -> Columns:
        """Return a table of either."""
        return self._holder(tree).table(tree, columns)

    def row_groups(self, tree: str) -> np.ndarray:
        """Return where row groups of a table begin."""
        return self._holder(tree).row_groups(tree)

    def rows(self, tree: str, columns: Iterable[str], first: int, last: int) -> Columns:
        """Return the named columns of some row groups."""
        return self._holder(tree).rows(tree, columns, first, last)

    def limits(self, tree: str, column: str) -> "tuple[np.ndarray, np.ndarray] | None":
        """Return the least and greatest value of a column per row group."""
        return self._holder(tree).limits(tree, column)

    def fresh(self) -> "WithParent":
        """Return one that remembers nothing."""
        return WithParent(self.child.fresh(), self._parents)

    def close(self) -> None:
        """Close what is kept open of either."""
        for each in (self.child, self.__dict__.get("_above")):
            if each is not None:
                each.close()
