"""AOD from one kind of storage to another: Parquet folders to AO2D.root and back, and files merged into one.

One dataframe is in memory at a time. The target appears when it is whole, or not at all.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from o2dask import __version__
from o2dask.aod.dataframe import DataFrameSource
from o2dask.aod.reader import open_dataframes
from o2dask.aod.store import CONFIG, Store, commit_dataframe, reason_of, write_small
from o2dask.columns import Columns
from o2dask.errors import CommitError, ConfigError, DataError

__all__ = ["Conversion", "convert"]

Write = Callable[[DataFrameSource, dict[str, Columns]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What was converted: where to, dataframes, rows of all tables, bytes written."""

    target: str
    n_dataframes: int
    n_rows: int
    n_bytes: int


def convert(
    source: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]",
    target: "str | os.PathLike[str]",
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Write all dataframes of a source to `target`: a ROOT file if it ends in .root, else a folder of Parquet.

    Parameters
    ----------
    source : str, path or sequence of them
        As for `open_dataframes`.
    target : str or path
        ``AO2D.root`` (local), or a folder (local or an fsspec URL).
    overwrite : bool
        Whether a target that exists is replaced.
    progress : callable, optional
        Called as ``progress(done, total)`` after each dataframe.

    Raises
    ------
    ConfigError
        If the target exists, or is the source.
    CommitError
        If it cannot be written; the target is then as it was before.
    """
    target = os.fspath(target)
    dataframes = open_dataframes(source)
    _check_distinct(dataframes)
    is_root = target.endswith(".root")
    with (_root_file if is_root else _parquet_folder)(target, dataframes, overwrite) as write:
        n_rows = 0
        for done, dataframe in enumerate(dataframes, 1):
            read = {tree: dataframe.table(tree) for tree in dataframe.tables}
            write(dataframe, read)
            n_rows += sum(columns.n_rows for columns in read.values())
            if progress:
                progress(done, len(dataframes))
    return Conversion(target=target, n_dataframes=len(dataframes), n_rows=n_rows, n_bytes=_size(target))


@contextlib.contextmanager
def _root_file(target: str, dataframes: Sequence[DataFrameSource], overwrite: bool) -> Iterator[Write]:
    from o2dask.aod.root_writer import Ao2dWriter, default_metadata

    if "://" in target:
        raise ConfigError(f"{target}: a ROOT file is written locally; write it there and copy it")
    path = Path(target)
    if path.is_dir() or (path.exists() and not overwrite):
        raise ConfigError(f"{target}: exists; give another name, or ask to overwrite the file")
    if not path.parent.is_dir():
        raise ConfigError(f"{target}: no folder {path.parent}; make it first")
    trees = {tree: None for dataframe in dataframes for tree in dataframe.tables}
    metadata = dict(dataframes[0].metadata)
    if "run" in dataframes[0].origin:  # ours: what metaData says of other files is theirs to say
        metadata = default_metadata(trees) | metadata
    parents = {dataframe.number: dataframe.parent for dataframe in dataframes if dataframe.parent}
    with Ao2dWriter(path, metadata, parents) as writer:
        yield lambda dataframe, read: writer.write(dataframe.number, read)


@contextlib.contextmanager
def _parquet_folder(target: str, dataframes: Sequence[DataFrameSource], overwrite: bool) -> Iterator[Write]:
    store = Store(target)
    if (there := store.names()) and not overwrite:
        raise ConfigError(f"{target}: exists and holds {there[0]}; give another folder, or ask to overwrite it")
    if CONFIG not in there and there:
        raise ConfigError(
            f"{target}: holds {there[0]} but no {CONFIG}, so it is not ours to replace: give another folder"
        )
    aside = Store(f"{store.path}.tmp-{uuid.uuid4().hex}") if store.is_local else store
    try:
        if there and not store.is_local:
            store.fs.rm(store.path, recursive=True)
        aside.fs.makedirs(aside.path, exist_ok=True)
        yield lambda dataframe, read: _commit(aside, dataframe, read)
        write_small(aside, CONFIG, _note(dataframes))
        if store.is_local:
            _replace(Path(aside.path), Path(store.path))
    except OSError as error:
        if isinstance(error, CommitError):
            raise
        raise CommitError(f"{target}: cannot be written: {reason_of(error)}") from error
    finally:
        if store.is_local:
            shutil.rmtree(aside.path, ignore_errors=True)


def _commit(store: Store, dataframe: DataFrameSource, read: dict[str, Columns]) -> None:
    commit_dataframe(store, dataframe.number, read, dataframe.origin)


def _replace(aside: Path, final: Path) -> None:
    """Put the new folder in the place of the old one; the old one stays until the new one is there."""
    old = final.with_name(f"{aside.name}.old")
    if final.exists():
        final.rename(old)
    aside.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def _note(dataframes: Sequence[DataFrameSource]) -> dict[str, object]:
    return {
        "format": 1,
        "config": {"workflow": "convert"},
        "versions": {"o2dask": __version__},
        "metadata": dict(dataframes[0].metadata),
    }


def _check_distinct(dataframes: Sequence[DataFrameSource]) -> None:
    for one, other in pairwise(dataframes):
        if one.number == other.number:
            raise DataError(f"DF_{one.number} is in {one.url} and in {other.url}; a target holds a dataframe once")


def _size(target: str) -> int:
    store = Store(target)
    return int(store.fs.du(store.path))
