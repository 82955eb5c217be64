"""Conditions in a folder: a file per object with its header beside it, and an SQLite index over them.

    FOLDER/objects/TPC/Calib/Gain/<from>_<until>_<etag>.arrow          the content
    FOLDER/objects/TPC/Calib/Gain/<from>_<until>_<etag>.header.json    path, validity, creation, checksum, metadata
    FOLDER/index.sqlite                                                the headers; made anew when it is lost

An object is there when the index says so. Its files are written aside, synced and renamed before that, so that the
index can be made anew from them; a deleted one loses its header first, so that it does not come back. Any number of
processes read while one writes; others wait in line.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from o2dask.conditions.content import BYTES, SUFFIXES, encode
from o2dask.conditions.errors import ConditionError, ConditionNotFoundError
from o2dask.conditions.index import Index, beside
from o2dask.conditions.model import Condition, ConditionHeader, Limits, check_metadata, check_path
from o2dask.errors import CommitError, ConfigError

__all__ = ["LocalStore", "check_payload"]


@dataclass(frozen=True, slots=True)
class LocalStore:
    """Conditions in the folder `folder`, made by the first put. Holds nothing open: any process and thread may use it.

    Raises
    ------
    ConditionError
        From any method, if the index or an object is damaged; names the file and says how to mend it.
    """

    folder: str | Path

    @property
    def url(self) -> str:
        """The folder, absolute."""
        return str(Path(self.folder).absolute())

    def get(
        self,
        path: str,
        timestamp: int,
        *,
        created_not_after: int | None = None,
        created_not_before: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Condition:
        """Return the object of `path` that wins at `timestamp` [ms].

        Raises
        ------
        ConditionNotFoundError
            If none is valid.
        ConditionError
            If its file is lost, cut or changed.
        """
        limits = Limits.of(created_not_after, created_not_before, metadata)
        for attempt in (0, 1):  # between the look-up and the read another process may delete it
            header, holds = self._find(check_path(path), timestamp, limits)
            file = self._file(header)
            try:
                payload = file.read_bytes()
            except FileNotFoundError:
                if attempt == 0:
                    continue
                raise ConditionError(f"{file}: is lost ({header}); {self._index.remedy}") from None
            except OSError as error:
                raise ConditionError(f"{file}: cannot be read: {error.strerror}") from error
            check_payload(header, payload, file)
            return Condition(header=header, payload=payload, holds=holds, where=str(file))
        raise AssertionError("unreachable")

    def list(self, pattern: str = "*") -> tuple[ConditionHeader, ...]:
        """Return the headers of all objects whose path matches, by path, the last created first."""
        return self._index.headers(pattern)

    def put(
        self,
        path: str,
        content: Any,
        valid_from: int,
        valid_until: int,
        *,
        created: int | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> ConditionHeader:
        """Store an object; it is there, whole and on disk, when this returns.

        Parameters
        ----------
        path : str
            ``TPC/Calib/Gain``.
        content : Columns, pyarrow.Table, mapping of str to ndarray, JSON value, or bytes
            See `o2dask.conditions.content.encode`; `content_type` says what bytes are.
        valid_from, valid_until : int
            [from, until) in ms.
        created : int, optional
            Default: now, so that of two puts the second wins.
        metadata : mapping of str to str, optional
            To be asked for in `get`.
        """
        kind, payload = encode(content, content_type)
        header = ConditionHeader(
            path=path,
            valid_from=valid_from,
            valid_until=valid_until,
            created=0 if created is None else created,
            etag=str(uuid.uuid4()),
            content_type=kind,
            size=len(payload),
            md5=_md5(payload),
            metadata=check_metadata(metadata),
        )
        return self._add(header, payload, is_dated=created is not None)

    def adopt(self, condition: Condition) -> ConditionHeader:
        """Store an object of another store as it is, with its creation time and ETag; once more does nothing."""
        header = condition.header
        header = replace(header, md5=header.md5 or _md5(condition.payload), size=len(condition.payload))
        known = Path(self.folder).is_dir() and self._index.has(header.etag)
        return header if known else self._add(header, condition.payload, is_dated=True)

    def delete(self, path: str, timestamp: int | None = None, *, etag: str | None = None) -> ConditionHeader:
        """Delete the object that wins at `timestamp`, or the one called `etag`, and return what it was."""
        if (timestamp is None) == (etag is None):
            raise ConfigError(f"delete of {path}: want one of timestamp and etag")
        if timestamp is not None:
            header, _ = self._find(check_path(path), timestamp, Limits())
        else:
            found = [h for h in self.list(check_path(path)) if h.etag == etag]
            if not found:
                raise ConditionNotFoundError(f"{self.folder}: {path} has no object {etag}")
            header = found[0]
        self._remove([header])
        return header

    def truncate(
        self, pattern: str, *, created_before: int | None = None, valid_before: int | None = None
    ) -> tuple[ConditionHeader, ...]:
        """Delete all objects whose path matches, created before a time, not valid from a time on; return them."""
        gone = tuple(
            h
            for h in self.list(pattern)
            if (created_before is None or h.created < created_before)
            and (valid_before is None or h.valid_until <= valid_before)
        )
        self._remove(gone)
        return gone

    def rebuild(self) -> int:
        """Make the index anew from the headers beside the objects and return how many there are.

        A damaged header is logged and left out. For when nobody writes: what is put meanwhile may be missed.
        """
        return self._index.rebuild()

    def _find(self, path: str, timestamp: int, limits: Limits) -> tuple[ConditionHeader, tuple[int, int]]:
        found = self._index.find(check_path(path), timestamp, limits)
        if found is None:
            n, low, high = self._index.extent(path)
            there = f"its {n} objects span [{low}, {high})" if n else "it has none; see `o2dask conditions list`"
            raise ConditionNotFoundError(f"{self.folder}: no {path} is valid at {timestamp} ms{limits}; {there}")
        return found

    def _add(self, header: ConditionHeader, payload: bytes, *, is_dated: bool) -> ConditionHeader:
        file = self._file(header)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, payload)
            index = self._index
            with index.writing() as db:
                created = header.created if is_dated else index.now(db, header.path)
                header = replace(header, created=created, sequence=index.next_sequence(db))
                index.add(db, header)
                # before the index row is committed: an object that was put survives the loss of the index
                _write(beside(file), json.dumps(header.to_json(), indent=1).encode())
        except BaseException as error:  # what was not put must not come back in a rebuild
            for left in (beside(file), file):
                with suppress(OSError):
                    left.unlink(missing_ok=True)
            if isinstance(error, OSError) and not isinstance(error, CommitError):
                raise CommitError(f"{self.folder}: cannot store {header.path}: {error.strerror or error}") from error
            raise
        return header

    def _remove(self, headers: Sequence[ConditionHeader]) -> None:
        try:
            index = self._index
            with index.writing() as db:
                for header in headers:
                    index.remove(db, header)
                    beside(self._file(header)).unlink(missing_ok=True)  # first: it must not come back in a rebuild
            for header in headers:
                self._file(header).unlink(missing_ok=True)
        except OSError as error:
            raise CommitError(f"{self.folder}: cannot delete: {error.strerror or error}") from error

    def _file(self, header: ConditionHeader) -> Path:
        suffix = SUFFIXES.get(header.content_type, SUFFIXES[BYTES])
        name = f"{header.valid_from}_{header.valid_until}_{header.etag}{suffix}"
        return Path(self.folder) / "objects" / header.path / name

    @property
    def _index(self) -> Index:
        """The index; ConfigError if there is not even a folder."""
        if not Path(self.folder).is_dir():
            raise ConfigError(
                f"{self.folder}: there is no such folder of conditions; `o2dask conditions put` makes one"
            )
        return Index(Path(self.folder))


def _md5(payload: bytes) -> str:
    return hashlib.md5(payload, usedforsecurity=False).hexdigest()  # against damage; CCDB's checksum


def check_payload(header: ConditionHeader, payload: bytes, where: Path | str) -> None:
    """Raise ConditionError if a payload is not of the size and checksum of its header."""
    if len(payload) != header.size:
        raise ConditionError(f"{where}: want {header.size} bytes of {header}, got {len(payload)}; put it again")
    if header.md5 and _md5(payload) != header.md5:
        raise ConditionError(f"{where}: want MD5 {header.md5} of {header}, got {_md5(payload)}; put it again")


def _write(file: Path, content: bytes) -> None:
    aside = file.with_name(f".{uuid.uuid4().hex}")
    try:
        with aside.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        aside.replace(file)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
