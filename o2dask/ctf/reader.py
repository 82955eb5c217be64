"""Reads CTF files, whole or damaged: what is intact is read, what is not is named.

A timeframe is found and read on its own, so that damage in one never hides another (see `o2dask.ctf.layout`).
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from o2dask.columns import Columns
from o2dask.ctf.batch import CTF_SCHEMA, block_rows, check_row, decode_timeframe
from o2dask.ctf.errors import CtfError
from o2dask.ctf.layout import SCHEMA, Message, messages, open_source
from o2dask.ctf.writer import IDENTITY_KEY, identity_from_bytes
from o2dask.errors import ConfigError
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["CtfReader", "Damage"]


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that a file has lost: where, and what is known of it. `timeframe` is None where even that is lost."""

    url: str
    timeframe: TimeframeId | None
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class _Entry:
    """One timeframe of the file: its identity and the message that holds it."""

    timeframe: TimeframeId
    message: Message


class CtfReader:
    """The timeframes of one file, local (memory-mapped) or behind an fsspec URL.

    Raises
    ------
    ConfigError
        If there is no such file, or it is a folder or empty.
    CtfError
        If it is not a CTF file, or one of another version.

    Notes
    -----
    A file whose end is lost opens too: its complete timeframes read, the rest stands in `damages`. So does a timeframe
    whose identity cannot be read. A timeframe that is cut off or damaged inside but known by name is listed and costs
    a CtfError when read: whoever reads a list of timeframes must learn that it is not whole.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = os.fspath(url)
        if os.path.isdir(self.url):  # noqa: PTH112  (a URL is no Path)
            raise ConfigError(f"{self.url}: is a folder; name the CTF files in it, e.g. {self.url}/*.ctf")
        try:
            self._source = open_source(self.url)
        except FileNotFoundError:
            raise ConfigError(f"{self.url}: no such file; check the path") from None
        except IsADirectoryError:
            raise ConfigError(f"{self.url}: is a folder; name the CTF files in it, e.g. {self.url}/*.ctf") from None
        except (OSError, ValueError, ImportError) as error:
            raise ConfigError(f"{self.url}: cannot be opened: {error}") from error
        if self._source.size == 0:
            raise ConfigError(f"{self.url}: is empty; its writing never finished, leave it out or make it again")
        self._entries: list[_Entry] = []
        self.damages: list[Damage] = []
        self._index()

    def _index(self) -> None:
        alien = f"{self.url}: not a compressed timeframe file (want an Arrow IPC file written by o2dask)"
        try:
            found, has_footer = messages(self._source)
        except CtfError as error:
            raise CtfError(f"{alien}: {error}") from None
        is_ctf, other_version = False, None
        for i, message in enumerate(found):
            try:
                is_ctf |= self._index_message(message)
            except CtfError as error:
                if "CTF version" in str(error):
                    other_version = error
                self._lost(f"{'schema' if i == 0 else f'timeframe #{i - 1}'}: {error}", None)
        if other_version is not None and not self._entries:
            raise CtfError(f"{self.url}: {other_version}")
        if not is_ctf:
            raise CtfError(alien)
        if not has_footer:
            last = len(self._entries) - 1
            self._lost(f"cut off after timeframe #{last}: the file has no end; anything that followed is lost", None)

    def _index_message(self, message: Message | CtfError) -> bool:
        """Take up one message; return whether it proves that this is a CTF file."""
        if isinstance(message, CtfError):
            raise message
        if message.kind == SCHEMA:
            schema = pa.BufferReader(self._source.read_at(message.offset, message.n_bytes))
            try:
                metadata = pa.ipc.read_schema(schema).metadata or {}
            except (pa.ArrowException, ValueError, OSError) as error:
                raise CtfError(f"damaged: {error}") from None
            if IDENTITY_KEY not in metadata:
                return False
            identity_from_bytes(metadata[IDENTITY_KEY])
            return True
        if IDENTITY_KEY not in message.custom:
            raise CtfError("it has no identity")
        timeframe = identity_from_bytes(message.custom[IDENTITY_KEY])
        if timeframe is None:
            raise CtfError("it has no identity")
        self._entries.append(_Entry(timeframe, message))
        if not message.is_complete:
            self._lost(f"timeframe {timeframe}: cut off, {self._cut_off(message)}", timeframe)
        return True

    def _lost(self, text: str, timeframe: TimeframeId | None) -> None:
        self.damages.append(Damage(self.url, timeframe, f"{self.url}, {text}"))

    def __len__(self) -> int:
        """Return the number of timeframes that are known by name."""
        return len(self._entries)

    def timeframe_id(self, index: int) -> TimeframeId:
        """Return which timeframe is at `index`."""
        return self._entries[index].timeframe

    def refs(self) -> list[TimeframeRef]:
        """Return where each timeframe is, in the order of the file."""
        return [
            TimeframeRef(id=entry.timeframe, url=self.url, index=i, n_bytes=entry.message.n_bytes)
            for i, entry in enumerate(self._entries)
        ]

    def where(self, index: int) -> str:
        """Return file and timeframe for a message."""
        return f"{self.url}, timeframe {self._entries[index].timeframe}"

    def batch(self, index: int) -> pa.RecordBatch:
        """Return the record batch of a timeframe, still compressed; CtfError if it is cut off or damaged."""
        message = self._entries[index].message
        if not message.is_complete:
            raise CtfError(f"{self.where(index)}: cut off, {self._cut_off(message)}; copy the file again")
        try:
            return _record_batch(self._source.read_at(message.offset, message.n_bytes))
        except CtfError as error:
            raise CtfError(f"{self.where(index)}: {error}") from error

    def read(self, index: int, select: Sequence[str] | None = None) -> dict[DataRef, Columns]:
        """Return the payloads of timeframe `index`, only those that match one of the patterns of `select` if given.

        Raises
        ------
        CtfError
            If the timeframe is damaged, naming file, timeframe and block.
        """
        return decode_timeframe(self.batch(index), select, self.where(index))

    def _cut_off(self, message: Message) -> str:
        """Return how far a timeframe without its end is intact: the rest read as zeros, and each block checked."""
        head = self._source.read_at(message.offset, message.n_bytes).to_pybytes()
        lost = message.n_bytes - len(head)
        if lost > 1 << 30:
            return f"{lost} bytes are missing"
        row = None
        try:
            for row in block_rows(_record_batch(pa.py_buffer(head + bytes(lost))), ""):
                check_row(row, "")
        except CtfError:
            return f"{lost} bytes are missing, from block {row or '#0'} on"
        return f"{lost} bytes are missing"


def _record_batch(message: pa.Buffer) -> pa.RecordBatch:
    try:
        return pa.ipc.read_record_batch(pa.ipc.read_message(message), CTF_SCHEMA)
    except (pa.ArrowException, ValueError, OSError, TypeError, OverflowError, MemoryError) as error:
        raise CtfError(f"damaged record batch: {error}") from error
