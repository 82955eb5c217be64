"""The index of a folder of conditions: their headers in SQLite, so that a look-up reads no file.

Holds nothing that the files do not say: a lost index is filled from the headers beside the objects. Uses SQLite's
rollback journal, not its write-ahead log: that needs memory shared between all readers, which hosts on one network
folder do not have (sqlite.org/wal.html), and writes to read, which read-only mounts refuse.
"""

import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from o2dask.conditions.errors import ConditionError
from o2dask.conditions.model import ConditionHeader, Limits
from o2dask.errors import CommitError

__all__ = ["Index", "beside"]

log = logging.getLogger(__name__)

_VERSION = 1
_BUSY_S = 30.0
"""How long to wait for a writer that holds the index [s]; it holds it for milliseconds."""
_TICK_MS = 1000
_COLUMNS = (
    "path, valid_from, valid_until, created, etag, content_type, size, md5, metadata, file_name, sequence"  # as fields
)
_HEADER = ".header.json"
_TABLE = """
CREATE TABLE conditions (
    path TEXT NOT NULL, valid_from INTEGER NOT NULL, valid_until INTEGER NOT NULL, created INTEGER NOT NULL,
    etag TEXT NOT NULL PRIMARY KEY, content_type TEXT NOT NULL, size INTEGER NOT NULL, md5 TEXT NOT NULL,
    metadata TEXT NOT NULL, file_name TEXT NOT NULL, sequence INTEGER NOT NULL
)"""
_INDEX = "CREATE INDEX by_rank ON conditions (path, created DESC, sequence DESC, etag DESC, valid_from, valid_until)"
_INSERT = f"INSERT OR REPLACE INTO conditions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_COUNTS = """path = :path AND (:after IS NULL OR created <= :after) AND (:before IS NULL OR created >= :before)
    AND (:wanted = '[]' OR has_metadata(metadata, :wanted))"""
_WINNER = f"""SELECT {_COLUMNS} FROM conditions WHERE {_COUNTS} AND valid_from <= :t AND valid_until > :t
    ORDER BY created DESC, sequence DESC, etag DESC LIMIT 1"""
_ALL = f"SELECT {_COLUMNS} FROM conditions ORDER BY path, created DESC, sequence DESC, etag DESC"
_HOLDS = f"""SELECT max(CASE WHEN valid_until <= :t THEN valid_until END),
        min(CASE WHEN valid_from > :t THEN valid_from END)
    FROM conditions WHERE {_COUNTS} AND (created, sequence, etag) > (:created, :sequence, :etag)"""


@dataclass(frozen=True, slots=True)
class Index:
    """``index.sqlite`` of `folder`; opened anew for each use, so that any process and thread may use it."""

    folder: Path

    @property
    def file(self) -> Path:
        """Where it is."""
        return self.folder / "index.sqlite"

    @property
    def remedy(self) -> str:
        """What to do when it is damaged."""
        return f"make the index anew: o2dask conditions rebuild {self.folder}"

    def find(self, path: str, timestamp: int, limits: Limits) -> tuple[ConditionHeader, tuple[int, int]] | None:
        """Return the winner at `timestamp`, and [from, until) around it without the ends of any object put later."""
        question: dict[str, Any] = {
            "path": path,
            "t": timestamp,
            "after": limits.created_not_after,
            "before": limits.created_not_before,
            "wanted": json.dumps(limits.metadata),
        }
        with self._reading() as db:
            row = None if db is None else db.execute(_WINNER, question).fetchone()
            if db is None or row is None:
                return None
            header = self._header(row)
            question |= {"created": header.created, "sequence": header.sequence, "etag": header.etag}
            low, high = db.execute(_HOLDS, question).fetchone()
        start = header.valid_from if low is None else max(low, header.valid_from)
        return header, (start, header.valid_until if high is None else min(high, header.valid_until))

    def headers(self, pattern: str) -> tuple[ConditionHeader, ...]:
        """Return the headers of all objects whose path matches, by path, the last created first."""
        with self._reading() as db:
            rows = () if db is None else db.execute(_ALL)
            return tuple(self._header(row) for row in rows if fnmatchcase(row[0], pattern))

    def has(self, etag: str) -> bool:
        """Return whether an object is in the index."""
        with self._reading() as db:
            return (
                db is not None and db.execute("SELECT 1 FROM conditions WHERE etag = ?", (etag,)).fetchone() is not None
            )

    def extent(self, path: str) -> tuple[int, int, int]:
        """Return how many objects a path has, and their first start and last end [ms]."""
        question = "SELECT count(*), min(valid_from), max(valid_until) FROM conditions WHERE path = ?"
        with self._reading() as db:
            n, low, high = (0, None, None) if db is None else db.execute(question, (path,)).fetchone()
        return n, low or 0, high or 0

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """Open it to read; None if nothing was ever put. Makes it if it is lost."""
        if not (self.folder / "objects").is_dir():
            yield None
            return
        if not self.file.exists():
            with self.writing():
                pass
        with self._explained(), closing(self._connect("ro")) as db:
            if db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                raise ConditionError(f"{self.file}: not an index of version {_VERSION}; {self.remedy}")
            db.create_function("has_metadata", 2, _has_metadata, deterministic=True)
            yield db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open it to write, alone; commit at the end. Fills it from the files if it is new or lost."""
        with self._explained(), closing(self._connect("rwc")) as db:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            try:
                if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                    self._fill(db)
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def add(self, db: sqlite3.Connection, header: ConditionHeader) -> None:
        """Add a header, within `writing`."""
        described = header.to_json() | {"metadata": json.dumps(dict(header.metadata), sort_keys=True)}
        db.execute(_INSERT, tuple(described[name] for name in _COLUMNS.split(", ")))

    def remove(self, db: sqlite3.Connection, header: ConditionHeader) -> None:
        """Remove a header, within `writing`."""
        db.execute("DELETE FROM conditions WHERE etag = ?", (header.etag,))

    def next_sequence(self, db: sqlite3.Connection) -> int:
        """Return a number larger than that of every object, within `writing`."""
        return int(db.execute("SELECT coalesce(max(sequence), 0) FROM conditions").fetchone()[0]) + 1

    def now(self, db: sqlite3.Connection, path: str) -> int:
        """Return the time [ms], or one more than that of the last object of the path if the clock has not moved on."""
        now = time.time_ns() // 1_000_000
        last = db.execute("SELECT max(created) FROM conditions WHERE path = ?", (path,)).fetchone()[0]
        return last + 1 if last is not None and now <= last < now + _TICK_MS else now

    def rebuild(self) -> int:
        """Make it anew from the files and return how many objects there are."""
        for name in ("index.sqlite-journal", "index.sqlite"):  # a journal must not be played into the new one
            (self.folder / name).unlink(missing_ok=True)
        with self.writing() as db:
            return int(db.execute("SELECT count(*) FROM conditions").fetchone()[0])

    def _fill(self, db: sqlite3.Connection) -> None:
        db.execute(_TABLE)
        db.execute(_INDEX)
        for file in sorted((self.folder / "objects").rglob(f"*{_HEADER}")):
            try:
                header = ConditionHeader.from_json(json.loads(file.read_text()), str(file))
                if file.name != f"{header.valid_from}_{header.valid_until}_{header.etag}{_HEADER}":
                    raise ConditionError(f"does not belong there, it is the header of {header}")
                self.add(db, header)
            except (ConditionError, ValueError, OSError) as error:
                log.warning("condition left out of the index: %s: %s", file, error)
        db.execute(f"PRAGMA user_version = {_VERSION}")

    def _header(self, row: tuple[Any, ...]) -> ConditionHeader:
        try:
            described = dict(zip(_COLUMNS.split(", "), row, strict=True))
            described["metadata"] = json.loads(described["metadata"])
        except (ValueError, TypeError):
            raise ConditionError(f"{self.file}: damaged row {row!r:.100}; {self.remedy}") from None
        return ConditionHeader.from_json(described, str(self.file))

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self.file.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if any(word in str(error) for word in ("readonly", "unable to open", "disk")):
                raise CommitError(
                    f"{self.file}: {error}; is the folder writable, the disk full? "
                    "A folder that cannot be written needs its index: make it where it can"
                ) from error
            if "locked" in str(error):
                raise CommitError(
                    f"{self.file}: another process has been writing for {_BUSY_S:g} s; try again"
                ) from error
            raise ConditionError(f"{self.file}: {error}; {self.remedy}") from error
        except sqlite3.DatabaseError as error:
            raise ConditionError(f"{self.file}: damaged: {error}; {self.remedy}") from error


def beside(file: Path) -> Path:
    """Return where the header of the object in `file` is."""
    return file.with_suffix(_HEADER)


def _has_metadata(stored: str, wanted: str) -> bool:
    metadata = json.loads(stored)
    return all(metadata.get(key) == value for key, value in json.loads(wanted))
