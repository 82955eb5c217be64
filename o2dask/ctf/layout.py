"""Where the messages of an Arrow IPC file are, read from the bytes alone, also when its end is lost.

Arrow's reader opens a file only through an intact footer, and reads the bodies of all batches to list them. Here a
file is a row of messages: found through the footer when there is one, else one after the other from the front (after
its magic an IPC file is an IPC stream). Only the few flatbuffer fields that this needs are parsed, each access within
bounds, so damaged bytes give `CtfError` and nothing else.
Format: https://arrow.apache.org/docs/format/Columnar.html, Message.fbs and File.fbs there.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from o2dask.ctf.errors import CtfError

__all__ = ["RECORD_BATCH", "SCHEMA", "ByteSource", "Message", "messages", "open_source"]

MAGIC = b"ARROW1"
_FIRST = 8
"""Offset of the first message: the magic, padded to 8 bytes."""
SCHEMA, RECORD_BATCH = 1, 3
"""MessageHeader union in Message.fbs."""
_MAX_METADATA = 1 << 26
_PREFIX = struct.Struct("<Ii")


class ByteSource(Protocol):
    """Bytes that can be read anywhere."""

    size: int

    def read_at(self, offset: int, n: int) -> pa.Buffer:
        """Return `n` bytes from `offset`, fewer at the end."""


class _MappedFile:
    """A local file, memory-mapped: reading copies nothing."""

    def __init__(self, path: str) -> None:
        self.size = os.stat(path).st_size  # noqa: PTH116  (stat works on what Path would normalise away)
        self._bytes = pa.memory_map(path).read_buffer() if self.size else pa.py_buffer(b"")

    def read_at(self, offset: int, n: int) -> pa.Buffer:
        offset = min(max(offset, 0), self.size)
        return self._bytes.slice(offset, max(0, min(n, self.size - offset)))


class _RemoteFile:
    """A file behind an fsspec URL; each read is one range request."""

    def __init__(self, url: str) -> None:
        import fsspec

        self._fs, self._path = fsspec.core.url_to_fs(url)
        self.size = int(self._fs.size(self._path))

    def read_at(self, offset: int, n: int) -> pa.Buffer:
        offset = min(max(offset, 0), self.size)
        end = min(offset + max(n, 0), self.size)
        return pa.py_buffer(self._fs.cat_file(self._path, start=offset, end=end) if end > offset else b"")


def open_source(url: str) -> ByteSource:
    """Return the bytes of a local path or an fsspec URL; OSError if there is nothing to read."""
    return _RemoteFile(url) if "://" in url else _MappedFile(url)


@dataclass(frozen=True, slots=True)
class Message:
    """One encapsulated message: `offset` in the file, `n_metadata` bytes (prefix included), then `n_body` bytes.

    `is_complete` says whether all of it lies within the file; `custom` is its custom metadata, still undecoded.
    """

    kind: int
    offset: int
    n_metadata: int
    n_body: int
    is_complete: bool
    custom: dict[bytes, bytes]

    @property
    def n_bytes(self) -> int:
        """Size of metadata and body [bytes]."""
        return self.n_metadata + self.n_body


def messages(source: ByteSource) -> tuple[list[Message | CtfError], bool]:
    """Return the schema and record batch messages of an IPC file, and whether its footer was intact.

    A message that cannot be read stands as the error that says so: the others keep their index.

    Raises
    ------
    CtfError
        If the file does not begin as an Arrow IPC file.
    """
    if source.read_at(0, len(MAGIC)).to_pybytes() != MAGIC:
        raise CtfError("not an Arrow IPC file")
    blocks = _footer_blocks(source)
    if blocks is None:
        return list(_walk(source)), False
    found: list[Message | CtfError] = []
    for offset in (_FIRST, *blocks):
        try:
            found.append(_message(source, offset) or CtfError(f"no message at byte {offset}"))
        except CtfError as error:
            found.append(error)
    return found, True


def _walk(source: ByteSource) -> Iterator[Message | CtfError]:
    offset = _FIRST
    while offset < source.size:
        try:
            message = _message(source, offset)
        except CtfError as error:
            yield error
            return
        if message is None:
            return
        yield message
        offset += message.n_bytes


def _footer_blocks(source: ByteSource) -> list[int] | None:
    """Return the offsets of the record batches by the footer, None if it is not intact."""
    tail = source.read_at(source.size - 10, 10).to_pybytes()
    if source.size < _FIRST + 10 or tail[4:] != MAGIC:
        return None
    n_footer = struct.unpack("<i", tail[:4])[0]
    if not 0 < n_footer <= min(source.size - _FIRST - 10, _MAX_METADATA):
        return None
    try:
        table = _Table(memoryview(source.read_at(source.size - 10 - n_footer, n_footer)))
        at, n = table.vector(3)
        blocks = [table.at("<qi4xq", at + 24 * i) for i in range(n)]
    except CtfError:
        return None
    if any(not _FIRST <= b[0] < source.size or b[0] % 8 for b in blocks):
        return None
    return [b[0] for b in blocks]


def _message(source: ByteSource, offset: int) -> Message | None:
    """Return the message at `offset`, None at the end of the stream."""
    prefix = source.read_at(offset, _PREFIX.size).to_pybytes()
    if len(prefix) < _PREFIX.size:
        raise CtfError(f"the file ends within the message at byte {offset}")
    continuation, n = _PREFIX.unpack(prefix)
    if continuation == 0xFFFFFFFF and n == 0:
        return None
    if continuation != 0xFFFFFFFF or not 0 < n <= _MAX_METADATA:
        raise CtfError(f"no message at byte {offset}")
    metadata = source.read_at(offset + _PREFIX.size, n)
    if metadata.size < n:
        raise CtfError(f"the file ends within the metadata of the message at byte {offset}")
    table = _Table(memoryview(metadata))
    kind, n_body = table.scalar(1, "<B"), table.scalar(3, "<q")
    if kind not in (SCHEMA, RECORD_BATCH) or not 0 <= n_body < 1 << 48:
        raise CtfError(f"the metadata of the message at byte {offset} are damaged")
    n_metadata = n + _PREFIX.size
    is_complete = offset + n_metadata + n_body <= source.size
    return Message(kind, offset, n_metadata, n_body, is_complete, table.key_values(4))


class _Table:
    """A flatbuffer table, read field by field; every access is checked against the end of the buffer."""

    def __init__(self, buffer: memoryview, position: int | None = None) -> None:
        self._buffer = buffer
        self._position = self.at("<I", 0)[0] if position is None else position
        self._vtable = self._position - self.at("<i", self._position)[0]
        self._n_vtable = self.at("<H", self._vtable)[0]

    def at(self, layout: str, position: int) -> tuple[int, ...]:
        if not 0 <= position <= len(self._buffer) - struct.calcsize(layout):
            raise CtfError("damaged metadata: an offset leads out of the message")
        return struct.unpack_from(layout, self._buffer, position)

    def _field(self, i: int) -> int:
        entry = 4 + 2 * i
        relative = self.at("<H", self._vtable + entry)[0] if entry + 2 <= self._n_vtable else 0
        return self._position + relative if relative else 0

    def scalar(self, i: int, layout: str) -> int:
        """Return field `i`, 0 where it is left out."""
        position = self._field(i)
        return self.at(layout, position)[0] if position else 0

    def vector(self, i: int) -> tuple[int, int]:
        """Return the position of the first item of vector field `i` and the number of items."""
        position = self._field(i)
        if not position:
            return 0, 0
        start = position + self.at("<I", position)[0]
        n = self.at("<I", start)[0]
        if n > len(self._buffer):
            raise CtfError("damaged metadata: a length exceeds the message")
        return start + 4, n

    def key_values(self, i: int) -> dict[bytes, bytes]:
        """Return vector field `i` of KeyValue tables."""
        start, n = self.vector(i)
        pairs = {}
        for k in range(n):
            entry = start + 4 * k
            item = _Table(self._buffer, entry + self.at("<I", entry)[0])
            pairs[item._text(0)] = item._text(1)
        return pairs

    def _text(self, i: int) -> bytes:
        start, n = self.vector(i)
        if start + n > len(self._buffer):
            raise CtfError("damaged metadata: a text exceeds the message")
        return bytes(self._buffer[start : start + n])
