"""Writes CTF files: an Arrow IPC file, one record batch per timeframe, its identity with each batch.

A file appears under its name only when it is whole: it is written beside it and renamed.
"""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from o2dask.columns import Columns
from o2dask.ctf.batch import CTF_SCHEMA, encode_timeframe
from o2dask.ctf.errors import CtfError
from o2dask.errors import CommitError, SpecError
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId

__all__ = ["CTF_VERSION", "IDENTITY_KEY", "CtfWriter", "identity_from_bytes", "identity_to_bytes"]

CTF_VERSION = 1
IDENTITY_KEY = b"o2dask.ctf"
_FIELDS = ("run", "tf_counter", "first_orbit", "n_orbits")


def identity_to_bytes(timeframe: TimeframeId | None) -> bytes:
    """Return version and identity as JSON that carries its own checksum."""
    identity = {"version": CTF_VERSION} | ({f: getattr(timeframe, f) for f in _FIELDS} if timeframe else {})
    return json.dumps(identity | {"crc32": zlib.crc32(json.dumps(identity).encode())}).encode()


def identity_from_bytes(text: bytes | None) -> TimeframeId | None:
    """Return the identity, None for that of a file without timeframes; CtfError if damaged or of another version."""
    try:
        identity = json.loads(text or b"")
        version, checksum = identity["version"], identity.pop("crc32")
        if version == CTF_VERSION and checksum == zlib.crc32(json.dumps(identity).encode()):
            return TimeframeId(**{f: identity[f] for f in _FIELDS}) if "run" in identity else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SpecError):
        raise CtfError("the identity of the timeframe is damaged") from None
    if version != CTF_VERSION and isinstance(version, int) and checksum == zlib.crc32(json.dumps(identity).encode()):
        raise CtfError(f"written as CTF version {version}, this o2dask reads {CTF_VERSION}; use another release")
    raise CtfError("the identity of the timeframe is damaged")


class CtfWriter:
    """Writes timeframes to `path`, within ``with``: ``with CtfWriter("tf.ctf") as ctf: ctf.write(id, payloads)``.

    The file is written as ``<path>.part`` and renamed when the block ends well; when it does not, the part is deleted.

    Raises
    ------
    CommitError
        If the file cannot be written (folder, permission, disk full).
    SpecError
        If a timeframe is written twice.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self._file: pa.NativeFile | None = None
        self._writer: pa.RecordBatchFileWriter | None = None
        self._written: set[TimeframeId] = set()

    def __enter__(self) -> "CtfWriter":
        try:
            self._file = pa.OSFile(str(self._part), "wb")
        except OSError as error:
            raise self._failed(error) from error
        return self

    def write(self, timeframe: TimeframeId, payloads: Mapping[DataRef, Columns]) -> None:
        """Compress and append one timeframe."""
        self.write_batch(timeframe, encode_timeframe(payloads))

    def write_batch(self, timeframe: TimeframeId, batch: pa.RecordBatch) -> None:
        """Append one timeframe that is compressed already."""
        if timeframe in self._written:
            raise SpecError(f"{self._path}: timeframe {timeframe} is written twice")
        try:
            self._open(timeframe).write_batch(batch, custom_metadata={IDENTITY_KEY: identity_to_bytes(timeframe)})
        except OSError as error:
            raise self._failed(error) from error
        self._written.add(timeframe)

    def _open(self, first: TimeframeId | None) -> pa.RecordBatchFileWriter:
        if self._writer is None:
            schema = CTF_SCHEMA.with_metadata({IDENTITY_KEY: identity_to_bytes(first)})
            self._writer = pa.ipc.new_file(self._file, schema)
        return self._writer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._open(None).close()
            if self._file is not None:
                self._file.close()
            if kind is None:
                _sync(self._part)
                self._part.replace(self._path)
                _sync(self._path.parent)
        except OSError as failure:
            self._part.unlink(missing_ok=True)
            raise self._failed(failure) from failure
        if kind is not None:
            self._part.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> CommitError:
        return CommitError(f"cannot write {self._path}: {error.strerror or error}; free space or choose another place")


def _sync(path: Path) -> None:
    """Ask the disk to keep what was written, so that a rename never names a hole."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
