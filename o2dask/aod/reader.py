"""Finds the dataframes that a user names: folders, AO2D.root files, lists, globs, URLs, all behind one interface."""

import os
import re
from collections.abc import Iterable, Sequence
from glob import glob
from pathlib import Path

from o2dask.aod.dataframe import DataFrameSource
from o2dask.aod.store import DF_NAME, Store
from o2dask.errors import ConfigError, DataError

__all__ = ["Source", "list_urls", "open_dataframes", "open_one"]

Source = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
"""A file, folder, glob, URL, ``@list.txt``, or a sequence of these."""

_GLOB = re.compile(r"[*?\[]")


def open_dataframes(source: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]") -> list[DataFrameSource]:
    """Return the dataframes of a source, by number; no column is read yet.

    Parameters
    ----------
    source : str, path or sequence of them
        A folder of ``DF_<number>`` folders of Parquet, one such ``DF_<number>``, an AO2D.root file, a glob over these
        (``"data/*/AO2D.root"``), an fsspec URL, or ``@list.txt`` with one of these per line (# begins a comment).

    Raises
    ------
    ConfigError
        If something is missing, matches nothing, or cannot be reached; says what to do.
    DataError
        If a file is empty, truncated, of another kind, or holds no dataframe.
    """
    found = [dataframe for url in list_urls(source) for dataframe in _open(url)]
    return sorted(found, key=lambda dataframe: dataframe.number)  # stable: of one number in the order given


def open_one(url: str, number: int) -> DataFrameSource:
    """Return the dataframe of that number in one file or folder.

    Raises
    ------
    ConfigError, DataError
        As `open_dataframes`, and if it holds no such dataframe.
    """
    store = _store(url)
    is_file = url.split("?")[0].endswith(".root") if not store.is_local else not store.fs.isdir(store.path)
    if is_file:
        from o2dask.aod.root_reader import dataframe_of

        return dataframe_of(store.path if store.is_local else url, number)
    from o2dask.aod.parquet_reader import ParquetDataFrame

    if number not in store.numbers():
        raise DataError(f"{url}: has no dataframe DF_{number}")
    return ParquetDataFrame(store, number)


def list_urls(source: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]") -> list[str]:
    """Return the files and folders that a source names, globs and lists resolved; none is opened."""
    if not isinstance(source, (str, os.PathLike)):
        urls = [url for item in source for url in list_urls(item)]
        if not urls:
            raise ConfigError("AOD source: want at least one file or folder, got an empty list")
        return urls
    text = os.fspath(source)
    if text.startswith("@"):
        return list_urls(_lines(text[1:]))
    if _GLOB.search(text) and not Path(text).exists():
        return _matches(text)
    return [text]


def _lines(path: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ConfigError(f"list @{path}: cannot be read: {reason}") from None
    names = [line.split("#", 1)[0].strip() for line in lines]
    if not any(names):
        raise ConfigError(f"list @{path}: names no file; want one file or folder per line")
    return [name for name in names if name]


def _matches(pattern: str) -> list[str]:
    if "://" in pattern:
        store = _store(pattern)
        matches = [store.fs.unstrip_protocol(path) for path in store.fs.glob(store.path)]
    else:
        matches = glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not matches:
        raise ConfigError(f"{pattern}: matches no file or folder")
    return sorted(matches)


def _open(url: str) -> Sequence[DataFrameSource]:
    store = _store(url)
    if not store.is_local and url.split("?")[0].endswith(".root"):
        return _root(url)  # XRootD and HTTP servers need not list folders
    if not store.fs.exists(store.path):
        raise ConfigError(f"{url}: no such file or folder")
    if store.fs.isdir(store.path):
        return _folder(store)
    if url.endswith(".parquet"):
        raise ConfigError(f"{url}: is one table; want the folder that holds the DF_<number> folders")
    return _root(store.path if store.is_local else url)


def _store(url: str) -> Store:
    try:
        return Store(url)
    except (ValueError, ImportError) as error:
        scheme = url.split("://")[0]
        remedy = " (copy the file first, for example with alien_cp)" if scheme == "alien" else ""
        reason = " ".join(str(error).split())
        raise ConfigError(f"{url}: {scheme}:// cannot be opened: {reason}{remedy}") from None


def _root(url: str) -> Sequence[DataFrameSource]:
    from o2dask.aod.root_reader import dataframes_of  # uproot and awkward are imported by who reads ROOT files

    return dataframes_of(url)


def _folder(store: Store) -> Sequence[DataFrameSource]:
    from o2dask.aod.parquet_reader import ParquetDataFrame

    parent, _, name = store.url.rpartition("/")
    if match := DF_NAME.match(name):
        return [ParquetDataFrame(Store(parent or "."), int(match[1]))]
    numbers = store.numbers()
    if not numbers:
        files = [name for name in store.names() if name.endswith(".root")]
        hint = f"; for its ROOT files give {store.url}/*.root" if files else ""
        raise DataError(f"{store.url}: a folder without dataframes (no DF_<number> in it){hint}")
    return [ParquetDataFrame(store, number) for number in numbers]
