"""A plain sink: a folder per timeframe, an Arrow IPC file per datum, written aside and renamed into place.

For looking at any datum of any workflow, and the smallest complete example of a sink. Knows no detector, no Dask.
"""

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from o2dask.columns import Columns
from o2dask.errors import CommitError, ConfigError
from o2dask.sink import Receipt
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeRef

__all__ = ["FolderSink"]


@dataclass(frozen=True, slots=True)
class FolderSink:
    """Writes ``<folder>/run<run>_tf<counter>_orbit<orbit>/<ORIGIN>_<DESCRIPTION>_<subspec>.arrow``.

    Parameters
    ----------
    folder : str
        Is made if it is not there.
    patterns : tuple of str
        Which data to write.
    """

    folder: str
    patterns: tuple[str, ...] = ("*",)

    def prepare(self) -> None:
        """Make the folder, and clear what an earlier run left half written."""
        try:
            Path(self.folder).mkdir(parents=True, exist_ok=True)
            self._clear()
        except OSError as error:
            raise ConfigError(f"{self.folder}: cannot write there: {error.strerror}; use another output") from None

    def commit(self, ref: TimeframeRef, outputs: Mapping[DataRef, Columns]) -> Receipt:
        """Write the timeframe aside and rename it into place; the first of two writers wins, both write the same."""
        final = self._path(ref)
        aside = final.with_name(f".aside-{final.name}-{uuid.uuid4().hex}")
        try:
            aside.mkdir(parents=True)
            sizes = {_file_name(r): _write(aside / _file_name(r), c) for r, c in sorted(outputs.items())}
            _sync(aside)
            try:
                aside.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
                shutil.rmtree(aside)
            _sync(final.parent)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise CommitError(f"{final}: cannot write: {error.strerror or error}") from error
        return Receipt(
            timeframe=ref.id,
            files=tuple(f"{final.name}/{name}" for name in sizes),
            n_bytes=sum(sizes.values()),
            rows={str(r): c.n_rows for r, c in sorted(outputs.items())},
        )

    def is_committed(self, ref: TimeframeRef) -> bool:
        """Return whether the timeframe's folder is there: it appears by one rename, when it is complete."""
        return self._path(ref).is_dir()

    def finalize(self, refs: Sequence[TimeframeRef]) -> None:
        """Clear what workers that were killed left half written; each timeframe stands alone."""
        self._clear()

    def _clear(self) -> None:
        for left in Path(self.folder).glob(".aside-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _path(self, ref: TimeframeRef) -> Path:
        t = ref.id
        return Path(self.folder) / f"run{t.run}_tf{t.tf_counter}_orbit{t.first_orbit}"


def _file_name(ref: DataRef) -> str:
    return f"{str(ref).replace('/', '_')}.arrow"


def _write(path: Path, columns: Columns) -> int:
    import pyarrow as pa

    table = columns.to_arrow()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    _sync(path)
    return path.stat().st_size


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
