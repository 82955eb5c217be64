"""The conditions of a run in one file, so that a job needs no server: a zip of a manifest and the objects.

    manifest.json            span, created_not_after, and for each path which object wins from when until when
    objects/<etag>.arrow     contents, one each, as the store gave them

Says exactly what the store would have said, for every time in the span; outside it says that it does not know. The same
objects make the same bytes.
"""

import hashlib
import json
import os
import uuid
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from o2dask.conditions.content import BYTES, SUFFIXES, encode
from o2dask.conditions.errors import ConditionError, ConditionNotFoundError
from o2dask.conditions.local import check_payload
from o2dask.conditions.model import Condition, ConditionHeader, ConditionStore, Limits, check_path, winners
from o2dask.conditions.runinfo import RUN_PATH, RunInfo
from o2dask.errors import CommitError, ConfigError

__all__ = ["SnapshotStore", "snapshot"]

_FORMAT, _VERSION = "o2dask-conditions", 1
_UNREADABLE = (OSError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError)
"""What `zipfile` raises for damaged archives; NotImplementedError for a flipped bit in the method of compression."""
_MANIFEST = "manifest.json"
_DATE = (1980, 1, 1, 0, 0, 0)


def snapshot(
    store: ConditionStore,
    paths: Sequence[str],
    span: "int | tuple[int, int] | RunInfo",
    file: "str | Path",
    *,
    created_not_after: int | None = None,
) -> "SnapshotStore":
    """Write the objects of `paths` that win at any time of the span to `file`, and return it as a store.

    Parameters
    ----------
    store : ConditionStore
        Where they are now.
    paths : sequence of str
        ``TPC/Calib/Gain``, ``GLO/*``.
    span : int, (int, int) or RunInfo
        A time, [from, until) in ms, or a run: then the run's description comes along.
    file : path
        ``run505673.zip``; appears when it is whole.
    created_not_after : int, optional
        Freeze the conditions as they were at that time [ms].

    Raises
    ------
    ConditionNotFoundError
        If one of the paths has no object in the span.
    """
    if isinstance(span, int):
        span = (span, span + 1)
    bounds = span.span if isinstance(span, RunInfo) else span
    if bounds[0] >= bounds[1]:
        raise ConfigError(f"span of a snapshot: want from < until, got [{bounds[0]}, {bounds[1]})")
    limits = Limits.of(created_not_after, None, None)
    objects: dict[str, Condition] = {}
    parts: dict[str, list[list[Any]]] = {}
    for path, headers in _by_path(store, paths).items():
        won = winners(headers, bounds, limits)
        for low, high, header in won:
            objects.setdefault(header.etag, _fetch(store, header, low, created_not_after))
            parts.setdefault(path, []).append([low, high, header.etag])
    for path in paths:
        if not any(fnmatchcase(p, path) for p in parts):
            raise ConditionNotFoundError(f"{store.url}: no {path} is valid in [{bounds[0]}, {bounds[1]}) ms{limits}")
    if isinstance(span, RunInfo):
        about = _run_object(span)
        objects[about.header.etag] = about
        parts[RUN_PATH] = [[span.run, span.run + 1, about.header.etag]]
    _write(Path(file), objects, parts, bounds, limits)
    return SnapshotStore(file)


@dataclass(frozen=True, slots=True)
class _Manifest:
    headers: Mapping[str, ConditionHeader]
    parts: Mapping[str, Sequence[tuple[int, int, str]]]
    span: tuple[int, int]
    digest: str


@dataclass(frozen=True, slots=True)
class SnapshotStore:
    """A snapshot file as a store, read-only.

    Raises
    ------
    ConfigError
        If there is no such file, or it is not a snapshot.
    """

    file: str | Path
    _manifest: _Manifest = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_manifest", _read_manifest(Path(self.file)))

    def __reduce__(self) -> tuple[Any, ...]:
        return SnapshotStore, (self.file,)

    @property
    def url(self) -> str:
        """The file, absolute."""
        return str(Path(self.file).absolute())

    @property
    def digest(self) -> str:
        """Hash of what is in it, wherever it lies."""
        return self._manifest.digest

    @property
    def span(self) -> tuple[int, int]:
        """[from, until) in ms for which it speaks."""
        return self._manifest.span

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
            If none is valid, or the snapshot cannot know: outside its span, or with limits under which another object
            than the one it holds may win.
        """
        limits = Limits.of(created_not_after, created_not_before, metadata)
        low, high, header = self._part(check_path(path), timestamp, limits)
        if not limits.allow(header):
            raise ConditionNotFoundError(
                f"{self.file}: the object it has of {path} at {timestamp} ms is not{limits}, and others were left out; "
                "make the snapshot with that limit"
            )
        return Condition(
            header=header, payload=self._payload(header), holds=(low, high), where=f"{self.file}:{_member(header)}"
        )

    def list(self, pattern: str = "*") -> tuple[ConditionHeader, ...]:
        """Return the headers of all objects whose path matches, by path, the last created first."""
        found = [h for h in self._manifest.headers.values() if fnmatchcase(h.path, pattern)]
        found.sort(key=lambda h: h.rank, reverse=True)
        return tuple(sorted(found, key=lambda h: h.path))

    def _part(self, path: str, timestamp: int, limits: Limits) -> tuple[int, int, ConditionHeader]:
        parts = self._manifest.parts.get(path)
        if parts is None:
            known = ", ".join(sorted(self._manifest.parts)) or "nothing"
            raise ConditionNotFoundError(f"{self.file}: {path} is not in this snapshot, which has {known}")
        i = bisect_right(parts, timestamp, key=lambda part: part[0]) - 1
        if i < 0 or not parts[i][0] <= timestamp < parts[i][1]:
            start, end = self.span
            raise ConditionNotFoundError(
                f"{self.file}: no {path} is valid at {timestamp} ms{limits}; the snapshot speaks for [{start}, {end})"
            )
        return parts[i][0], parts[i][1], self._manifest.headers[parts[i][2]]

    def _payload(self, header: ConditionHeader) -> bytes:
        name = _member(header)
        try:
            with zipfile.ZipFile(self.file) as archive:
                if archive.getinfo(name).file_size != header.size:  # before it is unpacked
                    raise ConditionError(f"{self.file}: {name}: want {header.size} bytes, got another size")
                payload = archive.read(name)
        except _UNREADABLE as error:
            raise ConditionError(f"{self.file}: {name}: cannot be read: {error}; make the snapshot again") from error
        check_payload(header, payload, f"{self.file}:{name}")
        return payload


def _by_path(store: ConditionStore, patterns: Iterable[str]) -> dict[str, list[ConditionHeader]]:
    found: dict[str, dict[str, ConditionHeader]] = {}
    for pattern in patterns:
        for header in store.list(pattern):
            found.setdefault(header.path, {})[header.etag] = header
    found.pop(RUN_PATH, None)  # its times are run numbers
    return {path: list(headers.values()) for path, headers in sorted(found.items())}


def _fetch(store: ConditionStore, header: ConditionHeader, at: int, created_not_after: int | None) -> Condition:
    got = store.get(header.path, at, created_not_after=created_not_after)
    if got.header.etag != header.etag:
        raise ConditionError(
            f"{store.url}: {header.path} changed while the snapshot was made ({header.etag} became {got.header.etag}); "
            "give created_not_after, or try again"
        )
    return got


def _run_object(info: RunInfo) -> Condition:
    kind, payload = encode(info.to_json())
    digest = hashlib.md5(payload, usedforsecurity=False).hexdigest()
    header = ConditionHeader(
        path=RUN_PATH,
        valid_from=info.run,
        valid_until=info.run + 1,
        created=info.start_ms,
        etag=str(uuid.UUID(digest)),  # the same run makes the same file
        content_type=kind,
        size=len(payload),
        md5=digest,
        metadata={"SOR": str(info.start_ms), "EOR": str(info.end_ms)},
    )
    return Condition(header=header, payload=payload, holds=(info.run, info.run + 1))


def _member(header: ConditionHeader) -> str:
    return f"objects/{header.etag}{SUFFIXES.get(header.content_type, SUFFIXES[BYTES])}"


def _write(
    file: Path,
    objects: Mapping[str, Condition],
    parts: Mapping[str, list[list[Any]]],
    span: tuple[int, int],
    limits: Limits,
) -> None:
    manifest = {
        "format": _FORMAT,
        "version": _VERSION,
        "span": list(span),
        "created_not_after": limits.created_not_after,
        "paths": {path: parts[path] for path in sorted(parts)},
        "objects": [objects[etag].header.to_json() for etag in sorted(objects)],
    }
    aside = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        with aside.open("wb") as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_entry(_MANIFEST), json.dumps(manifest, indent=1))
            for etag in sorted(objects):
                archive.writestr(_entry(_member(objects[etag].header)), objects[etag].payload)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(file)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise CommitError(f"{file}: cannot be written: {error.strerror or error}") from error


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _read_manifest(file: Path) -> _Manifest:
    try:
        with zipfile.ZipFile(file) as archive:
            text = archive.read(_MANIFEST)
        described = json.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such snapshot; make one with `o2dask conditions snapshot`") from None
    except (*_UNREADABLE, ValueError) as error:
        raise ConditionError(f"{file}: not a snapshot of conditions, or damaged: {error}; make it again") from error
    if not isinstance(described, dict) or (described.get("format"), described.get("version")) != (_FORMAT, _VERSION):
        raise ConditionError(f"{file}: want a snapshot of format {_FORMAT} version {_VERSION}; make it again")
    try:
        headers = [ConditionHeader.from_json(h, f"{file}:{_MANIFEST}") for h in described["objects"]]
        by_etag = {h.etag: h for h in headers}
        parts = {path: [(int(a), int(b), str(e)) for a, b, e in rows] for path, rows in described["paths"].items()}
        start, end = map(int, described["span"])
        if missing := {e for rows in parts.values() for *_, e in rows} - set(by_etag):
            raise KeyError(f"no object {missing.pop()}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ConditionError):
            raise
        raise ConditionError(f"{file}:{_MANIFEST}: damaged: {type(error).__name__}: {error}; make it again") from None
    return _Manifest(by_etag, parts, (start, end), hashlib.sha256(text).hexdigest()[:24])
