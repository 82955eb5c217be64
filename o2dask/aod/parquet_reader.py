"""Dataframes in a folder of Parquet files, ours or copied from elsewhere, local or behind an fsspec URL."""

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from o2dask.aod import parquet
from o2dask.aod.dataframe import DataFrameSource, schema_of
from o2dask.aod.store import CONFIG, Manifest, Store, folder_name
from o2dask.columns import Columns, Schema
from o2dask.errors import DataError

__all__ = ["ParquetDataFrame"]


class ParquetDataFrame(DataFrameSource):
    """One folder ``DF_<number>``; its manifest, where there is one, says which files belong to it."""

    def __init__(self, store: Store, number: int) -> None:
        self.store, self.number, self.url = store, number, store.url
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
        if self._manifest:
            return self._manifest.rows[tree]
        with self._file(tree) as file:
            return parquet.n_rows(file, self._path(tree))

    def n_bytes(self, tree: str) -> int:
        """Return the size of the file of a table [bytes]."""
        self.check_has(tree)
        return self._manifest.n_bytes[tree] if self._manifest else int(self.store.fs.size(self._path(tree)))

    def schema(self, tree: str) -> Schema:
        """Return the stored columns of a table."""
        self.check_has(tree)
        with self._file(tree) as file:
            return schema_of(tree, parquet.read_schema(file, self._path(tree)).columns)

    def table(self, tree: str, columns: Iterable[str] | None = None) -> Columns:
        """Return a table, or the named columns of it."""
        self.check_has(tree)
        with self._file(tree) as file:
            read = parquet.read_table(file, columns, self._path(tree))
        return Columns(schema_of(tree, read.schema.columns), dict(read))

    def row_groups(self, tree: str) -> np.ndarray:
        """Return where the row groups of a table begin, and its number of rows."""
        self.check_has(tree)
        with self._file(tree) as file:
            return parquet.row_groups(file, self._path(tree))

    def rows(self, tree: str, columns: Iterable[str], first: int, last: int) -> Columns:
        """Return the named columns of some row groups."""
        self.check_has(tree)
        with self._file(tree) as file:
            read = parquet.read_table(file, columns, self._path(tree), groups=range(first, last))
        return Columns(schema_of(tree, read.schema.columns), dict(read))

    def limits(self, tree: str, column: str) -> "tuple[np.ndarray, np.ndarray] | None":
        """Return what the footer says of a column, per row group."""
        self.check_has(tree)
        with self._file(tree) as file:
            return parquet.limits(file, column, self._path(tree))

    def _path(self, tree: str) -> str:
        return self.store.join(folder_name(self.number), f"{tree}.parquet")

    def _file(self, tree: str) -> Any:
        return self.store.opened(self._path(tree))
