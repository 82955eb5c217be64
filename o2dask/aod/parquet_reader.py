"""Dataframes in a folder of Parquet files, ours or copied from elsewhere, local or behind an fsspec URL."""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from o2dask.aod import parquet
from o2dask.aod.dataframe import DataFrameSource, schema_of
from o2dask.aod.open_files import OpenFiles
from o2dask.aod.store import CONFIG, Manifest, Store, folder_name
from o2dask.columns import Columns, Schema
from o2dask.errors import DataError

__all__ = ["ParquetDataFrame"]

_open_files = OpenFiles(32)
"""Local files between the visits of one dataframe: to open one takes as long as to read a small table."""


class ParquetDataFrame(DataFrameSource):
    """One folder ``DF_<number>``; its manifest, where there is one, says which files belong to it."""

    def __init__(self, store: Store, number: int) -> None:
        self.store, self.number, self.url = store, number, store.url
        self._footers: dict[str, parquet.Footer] = {}
        self._visit = object()
        folder = folder_name(number)
        if self._manifest:
            self.tables = tuple(self._manifest.rows)
        else:
            names = store.names(folder)
            self.tables = tuple(name.removesuffix(".parquet") for name in names if name.endswith(".parquet"))

    @cached_property
    def _manifest(self) -> Manifest | None:
        return self.store.manifest(self.number) if self.store.has(self.number) else None

    @property
    def metadata(self) -> Mapping[str, str]:
        """What was noted beside the dataframes by whoever made them."""
        path = self.store.join(CONFIG)
        try:
            content = json.loads(self.store.fs.cat_file(path))
            return {str(key): str(value) for key, value in content.get("metadata", {}).items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError) as error:
            raise DataError(f"{path}: damaged ({error})") from None

    @property
    def parent(self) -> str:
        """The file that a derived dataframe refers to."""
        return str(self.origin.get("parent", ""))

    @property
    def origin(self) -> Mapping[str, Any]:
        """What the manifest says of where it comes from."""
        return self._manifest.origin if self._manifest else {}

    def n_rows(self, tree: str) -> int:
        """Return the number of rows of a table."""
        self.check_has(tree)
        return self._manifest.rows[tree] if self._manifest else self._footer(tree).n_rows

    def n_bytes(self, tree: str) -> int:
        """Return the size of the file of a table [bytes]."""
        self.check_has(tree)
        return self._manifest.n_bytes[tree] if self._manifest else int(self.store.fs.size(self._path(tree)))

    def schema(self, tree: str) -> Schema:
        """Return the stored columns of a table."""
        return self._footer(tree).schema

    def table(self, tree: str, columns: Iterable[str] | None = None) -> Columns:
        """Return a table, or the named columns of it."""
        return self._read(tree, columns, None)

    def row_groups(self, tree: str) -> np.ndarray:
        """Return where the row groups of a table begin, and its number of rows."""
        return self._footer(tree).row_groups

    def rows(self, tree: str, columns: Iterable[str], first: int, last: int) -> Columns:
        """Return the named columns of some row groups."""
        return self._read(tree, columns, range(first, last))

    def limits(self, tree: str, column: str) -> "tuple[np.ndarray, np.ndarray] | None":
        """Return what the footer says of a column, per row group."""
        return self._footer(tree).limits(column)

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels: names, not what was read."""
        return {**self.__dict__, "_footers": {}, "_visit": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"_visit": object()}

    def fresh(self) -> "ParquetDataFrame":
        """Return one without footers."""
        return copy.copy(self)

    def close(self) -> None:
        """Close the files that were kept open for the next read."""
        _open_files.close(self._visit)

    def _read(self, tree: str, columns: Iterable[str] | None, groups: range | None) -> Columns:
        footer = self._footer(tree)
        with self._file(tree) as file:
            return parquet.read_table(file, columns, self._path(tree), groups, footer)

    def _footer(self, tree: str) -> parquet.Footer:
        """Return the footer of a table's file, units filled in, read once: a committed dataframe does not change."""
        self.check_has(tree)
        if tree not in self._footers:
            with self._file(tree) as file:
                footer = parquet.read_footer(file, self._path(tree))
            self._footers[tree] = footer._replace(schema=schema_of(tree, footer.schema.columns))
        return self._footers[tree]

    def _path(self, tree: str) -> str:
        return self.store.join(folder_name(self.number), f"{tree}.parquet")

    @contextmanager
    def _file(self, tree: str) -> Iterator[Any]:
        """Give the file of a table, open; a local one stays open for the next read, until `close`."""
        path = self._path(tree)
        if not self.store.is_local:
            with self.store.opened(path) as file:
                yield file
            return
        opened = _open_files.take(self._visit, tree) or parquet.open_parquet(path)
        try:
            yield opened
        except BaseException:
            opened.close()
            raise
        _open_files.put(self._visit, tree, opened)
