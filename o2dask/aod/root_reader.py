"""Dataframes in AO2D.root files, read with uproot: core tables, derived tables, and the maps beside them."""

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache, reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import uproot

from o2dask.aod.dataframe import DataFrameSource, schema_of
from o2dask.aod.store import DF_NAME, folder_name
from o2dask.aod.tmap import CLASS_NAME, unpack_map
from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.errors import ConfigError, DataError, SpecError

__all__ = ["RootDataFrame", "dataframe_of", "dataframes_of"]

_OPEN_FILES = 16
_OPEN_TREES = 64
_KEPT_SCHEMAS = 1024
_known_schemas: dict[tuple[Any, ...], Schema] = {}


class RootDataFrame(DataFrameSource):
    """One directory ``DF_<number>`` of an AO2D.root file."""

    def __init__(self, url: str, number: int) -> None:
        self.url, self.number = url, number
        self.tables = _guarded(lambda: _trees(_opened(url)[folder_name(number)]), str(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.number)

    @property
    def metadata(self) -> Mapping[str, str]:
        """The file's metaData."""
        return _map(self.url, "metaData")

    @property
    def parent(self) -> str:
        """What the file's parentFiles says of this dataframe."""
        return _map(self.url, "parentFiles").get(folder_name(self.number), "")

    @property
    def origin(self) -> Mapping[str, Any]:
        """The parent of a derived dataframe; the number says the rest."""
        return {"parent": self.parent} if self.parent else {}

    def n_rows(self, tree: str) -> int:
        """Return the number of entries of a tree."""
        return int(self._tree(tree).num_entries)

    def n_bytes(self, tree: str) -> int:
        """Return the compressed size of a tree [bytes]."""
        return int(self._tree(tree).compressed_bytes)

    def schema(self, tree: str) -> Schema:
        """Return the branches of a tree that hold data; the counters of variable arrays are not columns."""
        self.check_has(tree)
        where = f"{self}/{tree}"
        return _guarded(lambda: _schema(self.url, _identity(self.url), self.number, tree, where), where)

    def table(self, tree: str, columns: Iterable[str] | None = None) -> Columns:
        """Return a tree, or the named branches of it."""
        schema = self.schema(tree)
        if columns is not None:
            schema = Schema(schema.name, tuple(schema[name] for name in columns), schema.version)
        read = _guarded(lambda: self._arrays(tree, list(schema.names)), f"{self}/{tree}")
        return Columns(schema, {c.name: _array(c, read[c.name]) for c in schema.columns})

    def row_groups(self, tree: str) -> np.ndarray:
        """Return where baskets of all branches begin, and the number of rows."""
        branches = self._tree(tree).branches
        begins = [np.asarray(branch.entry_offsets) for branch in branches if branch.num_baskets]
        common = reduce(np.intersect1d, begins) if begins else np.zeros(0, np.int64)
        return np.union1d(common, [0, self.n_rows(tree)]) if len(common) else super().row_groups(tree)

    def rows(self, tree: str, columns: Iterable[str], first: int, last: int) -> Columns:
        """Return the named branches of some row groups."""
        whole = self.schema(tree)
        schema = Schema(whole.name, tuple(whole[name] for name in columns), whole.version)
        start, stop = (int(row) for row in self.row_groups(tree)[[first, last]])
        read = _guarded(lambda: self._arrays(tree, list(schema.names), start, stop), f"{self}/{tree}")
        return Columns(schema, {c.name: _array(c, read[c.name]) for c in schema.columns})

    def _arrays(self, tree: str, names: list[str], start: int | None = None, stop: int | None = None) -> dict[str, Any]:
        if not names:
            return {}
        found: dict[str, Any] = self._tree(tree).arrays(
            names, library="ak", how=dict, entry_start=start, entry_stop=stop
        )
        return found

    def _tree(self, tree: str) -> Any:
        self.check_has(tree)
        return _guarded(lambda: _tree(self.url, _identity(self.url), self.number, tree), f"{self}/{tree}")


def dataframes_of(url: str) -> list[RootDataFrame]:
    """Return the dataframes of one file, by number.

    Raises
    ------
    ConfigError
        If the file cannot be reached.
    DataError
        If it is empty, truncated, not a ROOT file, or holds no dataframe.
    """
    file = _opened(url)
    names = _guarded(lambda: file.keys(recursive=False, cycle=False), url)
    numbers = {int(match[1]) for name in names if (match := DF_NAME.match(name))}
    if not numbers:
        raise DataError(f"{url}: a ROOT file without dataframes; want directories DF_<number>, as AO2D.root has")
    return [RootDataFrame(url, number) for number in sorted(numbers)]


def dataframe_of(url: str, number: int) -> RootDataFrame:
    """Return the dataframe of that number in one file; errors as of `dataframes_of`."""
    if folder_name(number) not in _guarded(lambda: _opened(url).keys(recursive=False, cycle=False), url):
        raise DataError(f"{url}: has no dataframe DF_{number}")
    return RootDataFrame(url, number)


def _opened(url: str) -> Any:
    """Return the open file; the last few stay open, and a file that was replaced is opened anew."""
    return _open(url, _identity(url))


def _identity(url: str) -> tuple[int, ...]:
    """Return what tells a local file from another one put in its place, and this process from a forked one."""
    if "://" in url:
        return ()
    try:
        status = Path(url).stat()
    except FileNotFoundError:
        raise ConfigError(f"{url}: no such file") from None
    if status.st_size == 0:
        raise DataError(f"{url}: empty file")
    return os.getpid(), status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=_OPEN_FILES)
def _open(url: str, identity: tuple[int, ...]) -> Any:
    settings = {"handler": uproot.MemmapSource} if identity else {}
    try:
        opened = uproot.open(url, array_cache=None, **settings)  # who reads a column keeps it if it needs it again
    except FileNotFoundError:
        raise ConfigError(f"{url}: no such file") from None
    except ImportError as error:
        raise ConfigError(f"{url}: {_first_line(error)}") from None
    except Exception as error:  # noqa: BLE001 - a damaged file ends in any of uproot's and the codecs' exceptions
        raise DataError(f"{url}: truncated, or not a ROOT file ({_first_line(error)})") from None
    end, n_bytes = opened.file.fEND, opened.file.source.num_bytes
    if n_bytes is not None and n_bytes < end:
        raise DataError(f"{url}: truncated: has {n_bytes} of {end} bytes; copy it again")
    return opened


@lru_cache(maxsize=_OPEN_TREES)
def _tree(url: str, identity: tuple[int, ...], number: int, tree: str) -> Any:
    """Return a tree with its branches parsed, which takes longer than reading a small table."""
    return _open(url, identity)[f"{folder_name(number)}/{tree}"]


@lru_cache(maxsize=_OPEN_TREES)
def _schema(url: str, identity: tuple[int, ...], number: int, tree: str, where: str) -> Schema:
    """Return the columns of a tree; several ask for them in every dataframe."""
    branches = _tree(url, identity, number, tree).branches
    # Of a plain branch the title says all, fX/F or fIndexSlice[2]/I: what uproot makes of it is known from before.
    kinds = tree, *((branch.name, branch.title) for branch in branches)
    is_plain = all(branch.classname == "TBranch" and "/" in branch.title for branch in branches)
    if is_plain and kinds in _known_schemas:
        return _known_schemas[kinds]
    counters = {branch.count_branch.name for branch in branches if branch.count_branch is not None}
    found = schema_of(tree, [_column(branch, where) for branch in branches if branch.name not in counters])
    if is_plain:
        if len(_known_schemas) >= _KEPT_SCHEMAS:
            _known_schemas.clear()
        _known_schemas[kinds] = found
    return found


def _trees(directory: Any) -> tuple[str, ...]:
    return tuple(directory.keys(recursive=False, cycle=False, filter_classname="TTree"))


def _map(url: str, name: str) -> Mapping[str, str]:
    """Return a map of strings beside the dataframes; empty if the file has none of that name."""
    return _read_map(url, _identity(url), name)


@lru_cache(maxsize=_OPEN_FILES)
def _read_map(url: str, identity: tuple[int, ...], name: str) -> Mapping[str, str]:
    file = _open(url, identity)
    if name not in file.keys(recursive=False, cycle=False):
        return {}
    key = file.key(name)
    if key.fClassName != CLASS_NAME:
        raise DataError(f"{url}: {name}: want a {CLASS_NAME}, got a {key.fClassName}")
    chunk, cursor = _guarded(key.get_uncompressed_chunk_cursor, f"{url}: {name}")
    raw = chunk.raw_data.tobytes()[cursor.index - chunk.start :] if chunk.start else chunk.raw_data.tobytes()
    return MappingProxyType(unpack_map(raw[: key.fObjlen], key.fKeylen, f"{url}: {name}"))


def _guarded(read: Any, where: str) -> Any:
    try:
        return read()
    except (DataError, ConfigError):
        raise
    except Exception as error:  # noqa: BLE001 - damaged bytes end in any of uproot's and the codecs' exceptions
        raise DataError(f"{where}: damaged ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error)).strip()
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__


def _column(branch: Any, where: str) -> Column:
    kind, is_jagged = branch.interpretation, False
    if isinstance(kind, uproot.AsJagged) and isinstance(kind.content, uproot.AsDtype):
        kind, is_jagged = kind.content, True
    if not isinstance(kind, uproot.AsDtype) or kind.to_dtype.names:
        raise DataError(f"{where}: branch {branch.name!r} ({branch.title}) is not a plain number or an array of them")
    dtype, shape = kind.to_dtype.subdtype or (kind.to_dtype, ())
    if is_jagged and shape:
        raise DataError(f"{where}: branch {branch.name!r} ({branch.title}) is a variable array of arrays")
    try:
        return _made(branch.name, dtype, shape, is_jagged)
    except SpecError as error:
        raise DataError(f"{where}: {error}") from None


@lru_cache(maxsize=4096)
def _made(name: str, dtype: np.dtype, shape: tuple[int, ...], is_jagged: bool) -> Column:
    """Return a column; the same few are asked for in every dataframe of a long list."""
    return Column(name=name, dtype=dtype.name, shape=shape, is_jagged=is_jagged)


def _array(column: Column, array: Any) -> "np.ndarray | Jagged":
    import awkward as ak

    if not column.is_jagged:
        return np.ascontiguousarray(ak.to_numpy(array), dtype=column.dtype).reshape(-1, *column.shape)
    layout = ak.to_layout(ak.to_packed(array))
    offsets = np.asarray(layout.offsets)
    if offsets[-1] > np.iinfo(np.int32).max:
        raise DataError(f"column {column.name!r}: more than 2^31 values in one dataframe")
    return Jagged(offsets.astype(np.int32), np.ascontiguousarray(layout.content.data, dtype=column.dtype))
