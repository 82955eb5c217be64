"""The append-only record of a run: one JSON line per timeframe that was committed or quarantined.

It is what a run resumes from after its driver was killed. Knows files and timeframes; no Dask, no sink. A header line
says which workflow and sink the lines belong to. A line is written whole and synced before the next timeframe is
counted; a line torn by a kill or a full disk is skipped and never completed by what follows.
"""

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from o2dask.errors import CommitError, ConfigError
from o2dask.sink import Receipt
from o2dask.timeframe import TimeframeId

__all__ = ["Journal", "JournalEntry"]

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of the lines; another one is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """What became of one timeframe: a receipt if it is committed, a reason if it is quarantined."""

    timeframe: TimeframeId
    receipt: Receipt | None = None
    reason: str = ""

    @property
    def is_committed(self) -> bool:
        """Whether the timeframe was committed."""
        return self.receipt is not None


class Journal:
    """The journal in `folder`, locked for this process; `entries` has the last word on each timeframe.

    Parameters
    ----------
    folder : Path
        Is made if it is not there; holds ``journal.jsonl`` and ``quarantine/``.
    configuration : mapping of str to str
        What the results depend on: the fingerprint of the topology, and the sink.
    resume : bool
        Whether to go on from what is there.
    keep : bool
        Whether `entries` grows with what is written; without it they stay those found at the start, for a run without
        an end.

    Raises
    ------
    ConfigError
        If another process writes there, if the journal is of another configuration or version, or if it has committed
        timeframes and `resume` was not asked for.
    """

    def __init__(
        self, folder: Path, configuration: Mapping[str, str], *, resume: bool = False, keep: bool = True
    ) -> None:
        self._keeps = keep
        self.folder = Path(folder)
        self.path = self.folder / "journal.jsonl"
        self._fd = _open(self.path)
        try:
            lines, self._torn = _read(self._fd, self.path)
            header, self.entries = _replay(lines, self.path)
            self.is_new = header is None
            if header is None or not self._agrees(header, configuration, resume):
                self.entries = {}
                self._append({"o2dask_journal": FORMAT, "at": time.time(), **configuration})
        except BaseException:
            self.close()
            raise

    def _agrees(self, header: Mapping[str, Any], configuration: Mapping[str, str], resume: bool) -> bool:
        n_committed = sum(entry.is_committed for entry in self.entries.values())
        if not n_committed and not resume:
            return False  # nothing of worth: start over
        for name, want in configuration.items():
            if header.get(name) != want:
                raise ConfigError(
                    f"{self.path}: the output was made with another {name} ({header.get(name)}, now {want}); "
                    "use the same workflow and options, or another output"
                )
        if not resume:
            raise ConfigError(
                f"{self.folder}: {n_committed} timeframes are already committed there; "
                "use --resume to go on, or another output"
            )
        return True

    def write_committed(self, receipt: Receipt) -> None:
        """Note that a timeframe is committed; it is on disk when this returns."""
        self.write_all_committed([receipt])

    def write_all_committed(self, receipts: Sequence[Receipt]) -> None:
        """Note that timeframes are committed, a line each, synced once for all."""
        entries = [JournalEntry(timeframe=receipt.timeframe, receipt=receipt) for receipt in receipts]
        self._write(entries, "committed", [receipt.to_json() for receipt in receipts])

    def write_quarantined(self, timeframe: TimeframeId, reason: str) -> None:
        """Note that a timeframe was set aside."""
        self._write([JournalEntry(timeframe=timeframe, reason=reason)], "quarantined", [{"reason": reason}])

    def committed(self) -> Iterator[TimeframeId]:
        """Give the timeframes that the file says are committed, by their last word, in the order of the first.

        For a run that has not kept its entries: it reads the file.
        """
        header, entries = _replay(_read(self._fd, self.path)[0], self.path)
        return (id_ for id_, entry in entries.items() if header is not None and entry.is_committed)

    def _write(self, entries: Sequence[JournalEntry], state: str, values: Sequence[Mapping[str, Any]]) -> None:
        now, lines = time.time(), []
        for entry, more in zip(entries, values, strict=True):
            t = entry.timeframe
            identity = {"run": t.run, "tf_counter": t.tf_counter, "first_orbit": t.first_orbit, "n_orbits": t.n_orbits}
            lines.append({"state": state, **identity, "at": now, **more})
        self._append(*lines)
        if self._keeps:
            self.entries.update((entry.timeframe, entry) for entry in entries)

    def _append(self, *values: Mapping[str, Any]) -> None:
        line = b"".join(json.dumps(v, separators=(",", ":")).encode() + b"\n" for v in values)
        if self._torn:
            line = b"\n" + line
        try:
            # One write: O_APPEND keeps it in one piece; a short one (disk full) is a torn line.
            written = os.write(self._fd, line)
            self._torn = written < len(line)
            os.fsync(self._fd)
        except OSError as error:
            self._torn = True
            raise CommitError(f"{self.path}: cannot write the journal: {error.strerror}") from error
        if self._torn:
            raise CommitError(f"{self.path}: cannot write the journal: disk full")

    def close(self) -> None:
        """Close the file and give up the lock; nothing needs to be saved."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f"{path}: cannot open the journal: {error.strerror}; use another output") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise ConfigError(f"{path.parent}: another run is writing there; wait for it, or use another output") from None
    except OSError as error:  # some network file systems have no locks
        log.warning("%s: cannot lock (%s); take care that no other run writes there", path, error.strerror)
    return fd


def _read(fd: int, path: Path) -> tuple[list[dict[str, Any]], bool]:
    """Return the lines that can be read, and whether the last one is torn."""
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        raw = file.read()
    lines, n_torn = [], 0
    for line in filter(None, raw.split(b"\n")):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if isinstance(value, dict):
            lines.append(value)
        else:
            n_torn += 1
    if n_torn:
        log.warning("%s: %d torn lines skipped; their timeframes are judged by the output alone", path, n_torn)
    return lines, bool(raw) and not raw.endswith(b"\n")


def _replay(lines: list[dict[str, Any]], path: Path) -> tuple[dict[str, Any] | None, dict[TimeframeId, JournalEntry]]:
    """Return the last header and what became of each timeframe since."""
    header: dict[str, Any] | None = None
    entries: dict[TimeframeId, JournalEntry] = {}
    for line in lines:
        if "o2dask_journal" in line:
            if line["o2dask_journal"] != FORMAT:
                raise ConfigError(
                    f"{path}: want a journal of version {FORMAT}, got {line['o2dask_journal']}; use another output"
                )
            header, entries = line, {}
        elif entry := _entry(line):
            entries[entry.timeframe] = entry
    if header is None and entries:
        raise ConfigError(f"{path}: the journal has no header, so its workflow is unknown; use another output")
    return header, entries


def _entry(line: Mapping[str, Any]) -> JournalEntry | None:
    try:
        names = ("run", "tf_counter", "first_orbit", "n_orbits")
        timeframe = TimeframeId(**{name: int(line[name]) for name in names})
        if line["state"] == "committed":
            return JournalEntry(timeframe=timeframe, receipt=Receipt.from_json(timeframe, line))
        return JournalEntry(timeframe=timeframe, reason=str(line.get("reason", "")))
    except (KeyError, TypeError, ValueError):
        return None
