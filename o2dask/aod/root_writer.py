"""AO2D.root written with uproot: O2's directories, trees, branches and leaf types, and the maps beside them.

Knows one file; the order of columns and their types come with the tables. What O2's reader asks for (`file_layout` of
the facts): one flat branch per column, the ``<name>_size`` branch of a variable array before it, trees without rows
that keep their branches, ZSTD level 5.
"""

import contextlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import uproot

from o2dask import __version__
from o2dask.aod.parquet import check_storable
from o2dask.aod.store import folder_name, reason_of
from o2dask.aod.tmap import CLASS_NAME, TITLE, key_length, pack_map
from o2dask.columns import Column, Columns, Jagged
from o2dask.errors import CommitError, DataError, ShapeError

__all__ = ["Ao2dWriter", "default_metadata"]

_COMPRESSION = uproot.ZSTD(5)
_ROWS_PER_BASKET = 1 << 22
"""One basket per column and table, as O2 writes it, up to a size that ROOT's 32-bit counters hold for any column."""


class Ao2dWriter:
    """An AO2D.root in the making; it appears under its name when the ``with`` block ends, or not at all.

    Parameters
    ----------
    path : str or path
        A local file.
    metadata : mapping of str to str
        Entries of metaData, see `default_metadata`; none leaves it out, as in derived files.
    parents : mapping of int to str, optional
        For derived data: the parent file of every dataframe that will be written.
    """

    def __init__(
        self, path: "str | os.PathLike[str]", metadata: Mapping[str, str], parents: Mapping[int, str] | None = None
    ) -> None:
        self.path = Path(path)
        self._aside = self.path.with_name(f".tmp-{self.path.name}-{uuid.uuid4().hex}")
        self._metadata, self._parents = dict(metadata), dict(parents or {})
        self._numbers: set[int] = set()

    def __enter__(self) -> "Ao2dWriter":
        self._guarded(self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._guarded(self._end)
            else:
                self._abandon()
        finally:
            self._aside.unlink(missing_ok=True)

    def write(self, number: int, dataframe: Mapping[str, Columns]) -> None:
        """Write one dataframe, its tables by tree name; every column becomes one basket.

        Raises
        ------
        DataError
            If the dataframe is there already, or has no parent in a file where others have one.
        ShapeError
            If a column has a type that the format does not hold, or a name that O2's reader takes for a counter.
        CommitError
            If the disk refuses.
        """
        if number in self._numbers:
            raise DataError(f"{self.path}: {folder_name(number)} comes twice; a file holds a dataframe once")
        if self._parents and number not in self._parents:
            raise DataError(f"{self.path}: {folder_name(number)} has no parent file, but others have; write it apart")
        for tree, columns in dataframe.items():
            _check(tree, columns)
        self._guarded(self._write, number, dataframe)
        self._numbers.add(number)

    def _begin(self) -> None:
        self._aside.touch(exist_ok=False)  # uproot would make missing folders
        self._file = uproot.recreate(self._aside, compression=_COMPRESSION)
        if self._metadata:
            _write_map(self._file, "metaData", self._metadata)
        if self._parents:
            _write_map(self._file, "parentFiles", {folder_name(n): path for n, path in self._parents.items()})

    def _write(self, number: int, dataframe: Mapping[str, Columns]) -> None:
        directory = self._file.mkdir(folder_name(number), initial_directory_bytes=256 + 80 * len(dataframe))
        for tree, columns in dataframe.items():
            branches = {c.name: _branch_type(c) for c in columns.schema.columns}
            written = directory.mktree(tree, branches, title=tree, counter_name=_counter_name)
            for start in range(0, columns.n_rows, _ROWS_PER_BASKET):
                stop = min(start + _ROWS_PER_BASKET, columns.n_rows)
                written.extend({c.name: _part(columns[c.name], start, stop) for c in columns.schema.columns})

    def _end(self) -> None:
        self._file.close()
        with self._aside.open("rb") as file:
            os.fsync(file.fileno())
        self._aside.replace(self.path)

    def _abandon(self) -> None:
        with contextlib.suppress(OSError):  # the disk refuses the end of a file that is thrown away anyway
            self._file.close()

    def _guarded(self, act: Any, *args: Any) -> None:
        try:
            act(*args)
        except OSError as error:
            raise CommitError(f"{self.path}: cannot be written: {reason_of(error)}") from error


def default_metadata(trees: "Mapping[str, Any] | tuple[str, ...]", run: str = "3") -> dict[str, str]:
    """Return the entries of metaData that can be told from the tables: MC or RAW, and who wrote the file."""
    is_mc = any(tree.startswith("O2mc") for tree in trees)
    return {
        "DataType": "MC" if is_mc else "RAW",
        "Run": run,
        "O2Version": f"o2dask-{__version__}",
        "ROOTVersion": f"uproot-{uproot.__version__}",
        "RecoPassName": "",
        "AnchorProduction": "",
        "AnchorPassName": "",
        "LPMProductionTag": "",
    }


def _counter_name(name: str) -> str:
    return f"{name}_size"


def _check(tree: str, columns: Columns) -> None:
    check_storable(columns.schema)
    for name in columns.schema.names:
        if "_size" in name:
            raise ShapeError(f"{tree}.{name}: O2's reader takes a branch with _size in its name for a counter; rename")
    if not columns.schema.columns:
        raise ShapeError(f"{tree}: O2's reader stops at a tree without branches; want at least one column")


def _branch_type(column: Column) -> Any:
    if column.is_jagged:
        return f"var * {column.dtype}"
    return np.dtype((column.dtype, column.shape)) if column.shape else np.dtype(column.dtype)


def _part(array: "np.ndarray | Jagged", start: int, stop: int) -> Any:
    if not isinstance(array, Jagged):
        return array[start:stop]
    import awkward as ak

    offsets = array.offsets[start : stop + 1]
    content = ak.contents.NumpyArray(array.content[offsets[0] : offsets[-1]])
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index32(offsets - offsets[0]), content))


def _write_map(directory: Any, name: str, entries: Mapping[str, str]) -> None:
    """Write a TMap of strings as a raw object, in the way of uproot's own `WritableDirectory.copy_from`.

    Maps come first in a file: there keys have the short form, whose length the bytes of the map depend on.
    """
    raw = pack_map(entries, key_length(name))
    directory._cascading.add_object(
        directory.file.sink, CLASS_NAME, name, TITLE, uproot.compression.compress(raw, _COMPRESSION), len(raw)
    )
