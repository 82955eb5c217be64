"""The sink that makes a CTF file: workers write a part per timeframe, the driver joins the parts at the end.

Laws: see `o2dask.sink`. Parts are joined as they are, nothing is decoded.
"""

import logging
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from o2dask.columns import Columns
from o2dask.ctf.reader import CtfReader
from o2dask.ctf.writer import CtfWriter
from o2dask.errors import CommitError, ConfigError, DataError
from o2dask.sink import Receipt
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["CtfSink"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CtfSink:
    """Writes the outputs that match `patterns` to the CTF file `path`.

    Until `finalize` the timeframes are in ``<path>.parts/TF_<df_number>.ctf``.
    """

    path: str
    patterns: tuple[str, ...] = ("TPC/COMP*", "TPC/CLUSTERLABEL*", "MC/*")

    def prepare(self) -> None:
        """Make the folder of parts, clear what is half written; ConfigError if the path cannot be written."""
        path = Path(self.path)
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; name a file, e.g. {path / 'tf.ctf'}")
        if not path.parent.is_dir():
            raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")
        try:
            self._parts.mkdir(exist_ok=True)
            for aside in self._parts.glob("TF_*.ctf.*"):  # of workers that were killed
                aside.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"{self._parts}: cannot be made: {error.strerror}; choose another place") from error

    def commit(self, ref: TimeframeRef, outputs: Mapping[DataRef, Columns]) -> Receipt:
        """Compress one timeframe and put its part in place; a second time leaves the same bytes."""
        part = self._part(ref.id)
        aside = part.with_name(f"{part.name}.{uuid.uuid4().hex}")  # two workers may commit one timeframe at a time
        with CtfWriter(aside) as writer:
            writer.write(ref.id, outputs)
        try:
            n_bytes = aside.stat().st_size
            aside.replace(part)
        except OSError as error:
            raise CommitError(f"cannot write {part}: {error.strerror}") from error
        rows = {str(datum): columns.n_rows for datum, columns in outputs.items()}
        return Receipt(timeframe=ref.id, files=(f"{self._parts.name}/{part.name}",), n_bytes=n_bytes, rows=rows)

    def is_committed(self, ref: TimeframeRef) -> bool:
        """Return whether the timeframe is in a part or in the joined file."""
        return _opened(self._part(ref.id)) is not None or ref.id in self._joined()

    def finalize(self, refs: Sequence[TimeframeRef]) -> None:
        """Join the timeframes of `refs`, in their order, to the file, and delete the parts.

        Those of an earlier `finalize` are taken over from the file; where they are all of `refs` nothing is done.
        """
        joined = self._joined()
        if list(joined) == [ref.id for ref in refs] and Path(self.path).exists() and not self._has_parts():
            self._drop_parts()
            return
        with CtfWriter(self.path) as writer:
            for ref in refs:
                reader, index = _opened(self._part(ref.id)), 0
                if reader is None:
                    if ref.id not in joined:
                        raise CommitError(f"{self.path}: timeframe {ref.id} was never committed; run with --resume")
                    reader, index = joined[ref.id]
                writer.write_batch(ref.id, reader.batch(index))
        self._drop_parts()

    @property
    def _parts(self) -> Path:
        return Path(f"{self.path}.parts")

    def _part(self, timeframe: TimeframeId) -> Path:
        return self._parts / f"TF_{timeframe.df_number}.ctf"

    def _has_parts(self) -> bool:
        return any(self._parts.glob("TF_*.ctf"))

    def _joined(self) -> dict[TimeframeId, tuple[CtfReader, int]]:
        """Return the timeframes of the file that an earlier `finalize` wrote, in order."""
        reader = _opened(Path(self.path))
        return {reader.timeframe_id(i): (reader, i) for i in range(len(reader))} if reader else {}

    def _drop_parts(self) -> None:
        try:
            if self._parts.exists():
                shutil.rmtree(self._parts)
        except OSError as error:  # the file is whole; what is left costs space only
            log.warning("%s: cannot be removed: %s", self._parts, error)


def _opened(path: Path) -> CtfReader | None:
    """Return the reader of a whole file, None if there is none (a part that is not whole is written anew)."""
    try:
        reader = CtfReader(path)
    except (ConfigError, DataError):
        return None
    return None if reader.damages else reader
