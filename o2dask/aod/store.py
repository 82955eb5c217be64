"""One dataframe in storage: ``<out>/DF_<number>/<tree>.parquet`` and the manifest that says it is whole.

Knows folders and atomicity, locally and through fsspec; knows no timeframe source and no runner.

A local dataframe is written aside (``.tmp-DF_<number>-<uuid>``) and renamed into place. Object stores cannot rename, so
there the manifest is written last, and a dataframe without one does not exist. The manifest is written in both cases,
which keeps a folder valid when it is copied from one kind of storage to the other. It holds no time and no host:
the same tables give the same bytes.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from o2dask.aod.parquet import write_table
from o2dask.columns import Columns
from o2dask.errors import CommitError, DataError

__all__ = [
    "ASIDE",
    "CONFIG",
    "DF_NAME",
    "MANIFEST",
    "Manifest",
    "Store",
    "commit_dataframe",
    "folder_name",
    "reason_of",
    "write_small",
]

MANIFEST = "_manifest.json"
CONFIG = "_o2dask.json"
"""Beside the dataframes: the configuration they were made with, and what AO2D.root calls metaData."""
DF_NAME = re.compile(r"^DF_(\d+)$")
ASIDE = re.compile(r"^\.tmp-DF_(\d+)-[0-9a-f]{32}$")
_FORMAT = 1


def folder_name(number: int) -> str:
    """Return the name of the folder of a dataframe, as in AO2D.root."""
    return f"DF_{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a committed dataframe holds: its number, rows and bytes of each tree, and where it comes from.

    `origin` is free: the identity of the timeframe for the sink, the file it was converted from for the converter.
    """

    number: int
    rows: Mapping[str, int] = field(hash=False)
    n_bytes: Mapping[str, int] = field(hash=False)
    origin: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def to_bytes(self) -> bytes:
        """Return it as JSON text, the same bytes for the same content."""
        content = {
            "format": _FORMAT,
            "number": self.number,
            "origin": dict(self.origin),
            "tables": {tree: {"rows": n, "bytes": self.n_bytes[tree]} for tree, n in self.rows.items()},
        }
        return (json.dumps(content, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> "Manifest":
        """Return the manifest written by `to_bytes`, or raise DataError naming `where`."""
        try:
            values = json.loads(content)
            made = values["tables"]
            return cls(
                number=int(values["number"]),
                rows={str(tree): int(entry["rows"]) for tree, entry in made.items()},
                n_bytes={str(tree): int(entry["bytes"]) for tree, entry in made.items()},
                origin=dict(values["origin"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{where}: damaged manifest ({type(error).__name__}: {error})") from None


class Store:
    """A folder of dataframes, local or behind an fsspec URL; holds the name only, so it travels to workers.

    Parameters
    ----------
    url : str or path
        ``aod``, ``/data/aod``, ``s3://bucket/aod``, ``memory://aod``.
    """

    def __init__(self, url: "str | os.PathLike[str]") -> None:
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        self.url = os.fspath(url).rstrip("/") or "/"
        self.fs, self.path = fsspec.core.url_to_fs(self.url)
        self.is_local = isinstance(self.fs, LocalFileSystem)

    def join(self, *parts: str) -> str:
        """Return the path of an entry below the folder, as the file system spells it."""
        return "/".join((self.path.rstrip("/"), *parts))

    def opened(self, path: str) -> "AbstractContextManager[Any]":
        """Return a context of the file at `path`: its name where it is local, so that Arrow reads it itself."""
        if self.is_local:
            return contextlib.nullcontext(path)
        try:
            return self.fs.open(path, "rb")
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None

    def names(self, *parts: str) -> list[str]:
        """Return the names of all entries of the folder or a folder in it, sorted; none if it is not there."""
        self.fs.invalidate_cache()
        try:
            entries = self.fs.ls(self.join(*parts), detail=False)
            return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def numbers(self) -> list[int]:
        """Return the numbers of the committed dataframes, ascending."""
        numbers = [int(match[1]) for name in self.names() if (match := DF_NAME.match(name))]
        return sorted(number for number in numbers if self.is_local or self.has(number))

    def has(self, number: int) -> bool:
        """Return whether the dataframe is committed."""
        path = self.join(folder_name(number), MANIFEST)
        return Path(path).exists() if self.is_local else bool(self.fs.exists(path))

    def manifest(self, number: int) -> Manifest:
        """Return the manifest of a committed dataframe."""
        path = self.join(folder_name(number), MANIFEST)
        try:
            return Manifest.from_bytes(self.fs.cat_file(path), path)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; the dataframe was not committed") from None


def commit_dataframe(
    store: Store, number: int, dataframe: Mapping[str, Columns], origin: Mapping[str, Any]
) -> Manifest:
    """Write the tables of a dataframe (by tree name) as a whole or not at all; leave it if it is already there.

    Raises
    ------
    CommitError
        If the storage refuses; what was written aside is removed and nothing committed is touched.
    """
    if store.has(number):
        return store.manifest(number)
    try:
        if store.is_local:
            return _commit_by_rename(store, number, dataframe, origin)
        return _commit_by_manifest(store, number, dataframe, origin)
    except OSError as error:
        raise CommitError(f"{store.join(folder_name(number))}: cannot be written: {reason_of(error)}") from error


def reason_of(error: OSError) -> str:
    """Return why the storage refused, and what to do, in a few words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk full; free some space, then run again with --resume"
    if error.errno == errno.EFBIG:
        return "the file would exceed the allowed size (ulimit -f); raise it, then run again with --resume"
    return (error.strerror or str(error)).splitlines()[0]


def _commit_by_rename(
    store: Store, number: int, dataframe: Mapping[str, Columns], origin: Mapping[str, Any]
) -> Manifest:
    aside = Path(store.join(f".tmp-{folder_name(number)}-{uuid.uuid4().hex}"))
    final = Path(store.join(folder_name(number)))
    try:
        aside.mkdir(parents=True)
        n_bytes = {}
        for tree, columns in dataframe.items():
            path = aside / f"{tree}.parquet"
            write_table(path, columns)
            n_bytes[tree] = path.stat().st_size
        manifest = _manifest(number, dataframe, n_bytes, origin)
        (aside / MANIFEST).write_bytes(manifest.to_bytes())
        for path in (*aside.iterdir(), aside):
            _sync(path)
        aside.rename(final)
        _sync(final.parent)
    except OSError:
        if store.has(number):  # another worker was faster: its bytes are the same
            return store.manifest(number)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


def _commit_by_manifest(
    store: Store, number: int, dataframe: Mapping[str, Columns], origin: Mapping[str, Any]
) -> Manifest:
    folder = folder_name(number)
    with contextlib.suppress(FileExistsError):
        store.fs.makedirs(store.join(folder), exist_ok=True)
    n_bytes = {}
    for tree, columns in dataframe.items():
        path = store.join(folder, f"{tree}.parquet")
        with store.fs.open(path, "wb") as file:
            write_table(file, columns)
        n_bytes[tree] = int(store.fs.size(path))
    manifest = _manifest(number, dataframe, n_bytes, origin)
    store.fs.pipe_file(store.join(folder, MANIFEST), manifest.to_bytes())
    return manifest


def _manifest(
    number: int, dataframe: Mapping[str, Columns], n_bytes: Mapping[str, int], origin: Mapping[str, Any]
) -> Manifest:
    rows = {tree: columns.n_rows for tree, columns in dataframe.items()}
    return Manifest(number=number, rows=rows, n_bytes=n_bytes, origin=origin)


def _sync(path: Path) -> None:
    """Ask the disk to keep the file or folder through a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_small(store: Store, name: str, content: Mapping[str, Any]) -> None:
    """Write a small JSON file as a whole: a reader sees all of it or none."""
    text = (json.dumps(content, indent=1) + "\n").encode()
    if not store.is_local:
        store.fs.pipe_file(store.join(name), text)
        return
    aside = Path(store.join(f".{name}-{uuid.uuid4().hex}"))
    try:
        aside.write_bytes(text)
        aside.replace(store.join(name))
    finally:
        aside.unlink(missing_ok=True)
