"""O2's message headers in their binary layout: a stack of DataHeader, DataProcessingHeader, others, before a payload.

Knows bytes and addresses; no socket, no payload. Integers are little-endian, texts are padded with zeros. Layouts:
AliceO2 ``DataFormats/Headers/include/Headers/DataHeader.h`` (BaseHeader, 32 bytes; DataHeader version 3, 96 bytes),
``Framework/Core/include/Framework/DataProcessingHeader.h`` (version 1, 48 bytes, 56 since it has `creation`) and
``SourceInfoHeader.h`` (version 1, 36 bytes). Headers of other kinds are skipped by their size, as O2 does.
"""

import struct
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from o2dask.dataspecs import DataRef
from o2dask.errors import DataError, SpecError
from o2dask.timeframe import ORBITS_PER_TIMEFRAME

__all__ = [
    "ARROW",
    "BASE_HEADER",
    "COMPLETED",
    "DATA_HEADER",
    "DATA_PROCESSING_HEADER",
    "NONE",
    "SOURCE_INFO_HEADER",
    "TIMEFRAME_LENGTH",
    "DataHeader",
    "DataProcessingHeader",
    "HeaderStack",
    "OtherHeader",
    "SourceInfoHeader",
    "TimeframeLength",
    "pack_stack",
    "stack_size",
    "unpack_stack",
]

T = TypeVar("T")

MAGIC = b"O2O2"
NONE, ARROW = b"NONE", b"ARROW"
"""Serialisation methods of payloads: bytes as they are, an Arrow IPC stream (others, such as ROOT, are bytes to us)."""
HAS_NEXT = 1
"""First bit of `flags`: another header follows in the same stack."""
COMPLETED = 2
"""State of a source that will send nothing more (InputChannelState::Completed in ChannelInfo.h)."""

_BASE: list[tuple[str, str]] = [
    ("magic", "S4"),
    ("size", "<u4"),
    ("flags", "<u4"),
    ("version", "<u4"),
    ("description", "S8"),
    ("serialization", "S8"),
]


def _layout(itemsize: int, *fields: tuple[str, str]) -> np.dtype[Any]:
    """Return a structured dtype of BaseHeader and `fields`, one after the other, padded to `itemsize` [bytes]."""
    names, formats = zip(*_BASE, *fields, strict=True)
    sizes = [np.dtype(text).itemsize for text in formats]
    offsets = [sum(sizes[:i]) for i in range(len(sizes))]
    return np.dtype({"names": list(names), "formats": list(formats), "offsets": offsets, "itemsize": itemsize})


BASE_HEADER = _layout(32)
DATA_HEADER = _layout(
    96,
    ("data_description", "S16"),
    ("data_origin", "S4"),
    ("split_payload_parts", "<u4"),
    ("payload_serialization", "S8"),
    ("sub_specification", "<u4"),
    ("split_payload_index", "<u4"),
    ("payload_size", "<u8"),
    ("first_tf_orbit", "<u4"),
    ("tf_counter", "<u4"),
    ("run_number", "<u4"),
)
DATA_PROCESSING_HEADER = _layout(56, ("start_time", "<u8"), ("duration", "<u8"), ("creation", "<u8"))
SOURCE_INFO_HEADER = _layout(36, ("state", "<i4"))
TIMEFRAME_LENGTH = _layout(36, ("n_orbits", "<u4"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DataHeader:
    """What a payload is, of which timeframe, and which share of it.

    Attributes
    ----------
    ref : DataRef
        Origin, description, subspecification.
    payload_size : int
        Size of the payload that follows [bytes].
    serialization : bytes
        How the payload is stored: `NONE`, `ARROW`, b"ROOT".
    split_index, split_parts : int
        Which of how many shares. ``split_index == split_parts`` announces a sequence: one header, then so many
        payloads.
    first_orbit, tf_counter, run : int
        The timeframe; its length is not told (`TimeframeLength`).
    """

    ref: DataRef
    payload_size: int = 0
    serialization: bytes = NONE
    split_index: int = 0
    split_parts: int = 1
    first_orbit: int = 0
    tf_counter: int = 0
    run: int = 0

    @property
    def is_sequence(self) -> bool:
        """Whether `split_parts` payloads follow this one header."""
        return self.split_parts > 0 and self.split_index == self.split_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class DataProcessingHeader:
    """When: `start_time` is the timeslice of DPL (we send the counter of the timeframe), `creation` [ms since 1970]."""

    start_time: int = 0
    duration: int = 0
    creation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfoHeader:
    """The state of whoever sends; `COMPLETED` is the end of its stream."""

    state: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeframeLength:
    """Our own: the orbits of a timeframe, sent where they are not the usual 32, which O2's headers do not tell."""

    n_orbits: int = ORBITS_PER_TIMEFRAME


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherHeader:
    """A header of a kind that we do not know, as it came, its first 32 bytes included."""

    description: bytes
    version: int
    raw: bytes


Header = DataHeader | DataProcessingHeader | SourceInfoHeader | TimeframeLength | OtherHeader


@dataclass(frozen=True, slots=True)
class HeaderStack:
    """The headers of one message, in order."""

    headers: tuple[Header, ...]

    def get(self, kind: type[T]) -> T | None:
        """Return the first header of a kind, None if there is none."""
        return next((header for header in self.headers if isinstance(header, kind)), None)


_KINDS: dict[bytes, tuple[type, int, np.dtype[Any]]] = {
    b"DataHead": (DataHeader, 3, DATA_HEADER),
    b"DataFlow": (DataProcessingHeader, 1, DATA_PROCESSING_HEADER),
    b"SrcInfo": (SourceInfoHeader, 1, SOURCE_INFO_HEADER),
    b"o2dOrbit": (TimeframeLength, 1, TIMEFRAME_LENGTH),
}
_DESCRIPTIONS = {kind: description for description, (kind, _, _) in _KINDS.items()}
_WITHOUT_CREATION = 48
"""Size of a DataProcessingHeader before `creation` was added, under the same version [bytes]."""


def _struct(layout: np.dtype[Any]) -> struct.Struct:
    """Return the same layout for `struct`, ten times faster than numpy on a single record."""
    codes = {"u4": "I", "u8": "Q", "i4": "i"}
    text = "<"
    for name in layout.names or ():
        kind = layout[name]
        text += f"{kind.itemsize}s" if kind.kind == "S" else codes[kind.str[1:]]
    return struct.Struct(text + "x" * (layout.itemsize - struct.calcsize(text)))


_BASE_STRUCT = _struct(BASE_HEADER)
_STRUCTS = {description: _struct(layout) for description, (_, _, layout) in _KINDS.items()}


def pack_stack(*headers: Header) -> bytes:
    """Return headers one after the other, each but the last with the flag that another follows.

    Raises
    ------
    SpecError
        If a value does not fit its field, naming it.
    """
    last = len(headers) - 1
    return b"".join(_packed(header, HAS_NEXT if i < last else 0) for i, header in enumerate(headers))


def _packed(header: Header, flags: int) -> bytes:
    if isinstance(header, OtherHeader):
        base = _BASE_STRUCT.unpack_from(header.raw)
        return _BASE_STRUCT.pack(*base[:2], flags, *base[3:]) + header.raw[_BASE_STRUCT.size :]
    description = _DESCRIPTIONS[type(header)]
    _, version, layout = _KINDS[description]
    base = (MAGIC, layout.itemsize, flags, version, description, NONE)
    try:
        return _STRUCTS[description].pack(*base, *_values(header))
    except struct.error as error:
        raise SpecError(f"{header}: does not fit into O2's {description.decode()} header: {error}") from None


def _values(header: Header) -> tuple[Any, ...]:
    if isinstance(header, DataHeader):
        return (
            header.ref.description.encode(),
            header.ref.origin.encode(),
            header.split_parts,
            header.serialization,
            header.ref.subspec,
            header.split_index,
            header.payload_size,
            header.first_orbit,
            header.tf_counter,
            header.run,
        )
    if isinstance(header, DataProcessingHeader):
        return header.start_time, header.duration, header.creation
    return (header.state,) if isinstance(header, SourceInfoHeader) else (header.n_orbits,)  # type: ignore[union-attr]


def unpack_stack(buffer: "bytes | memoryview") -> HeaderStack:
    """Return the headers that a message begins with.

    Raises
    ------
    DataError
        If the magic is not O2's, a size does not fit, a version is unknown, or an address cannot be one.
    """
    headers: list[Header] = []
    at, has_next = 0, True
    while has_next:
        header, size, has_next = _unpacked(buffer, at)
        headers.append(header)
        at += size
    return HeaderStack(tuple(headers))


def stack_size(buffer: "bytes | memoryview", at: int = 0) -> int:
    """Return the size of the header stack that begins at a byte [bytes]; DataError if there is none."""
    begin, has_next = at, True
    while has_next:
        left = len(buffer) - at
        if left < _BASE_STRUCT.size:
            raise DataError(f"O2 header: want at least {_BASE_STRUCT.size} bytes, got {left}")
        magic, size, flags, *_ = _BASE_STRUCT.unpack_from(buffer, at)
        if magic != MAGIC or not _BASE_STRUCT.size <= size <= left:
            raise DataError(f"O2 header: want magic {MAGIC.decode()!r} and a size, got {magic!r} and {size}")
        at, has_next = at + size, bool(flags & HAS_NEXT)
    return at - begin


def _unpacked(buffer: "bytes | memoryview", at: int) -> tuple[Header, int, bool]:
    left = len(buffer) - at
    if left < _BASE_STRUCT.size:
        raise DataError(f"O2 header: want at least {_BASE_STRUCT.size} bytes, got {left} at byte {at}")
    magic, size, flags, version, padded, _ = _BASE_STRUCT.unpack_from(buffer, at)
    if magic != MAGIC:
        raise DataError(f"O2 header: want magic {MAGIC.decode()!r} at byte {at}, got {magic!r}")
    if not _BASE_STRUCT.size <= size <= left:
        raise DataError(f"O2 header: want a size of {_BASE_STRUCT.size} to {left} at byte {at}, got {size}")
    has_next = bool(flags & HAS_NEXT)
    description = _text(padded)
    if description not in _KINDS:
        return OtherHeader(description=description, version=version, raw=bytes(buffer[at : at + size])), size, has_next
    kind, known, layout = _KINDS[description]
    if version != known:
        raise DataError(f"O2 header {description.decode()}: want version {known}, got {version}")
    is_short = kind is DataProcessingHeader and size == _WITHOUT_CREATION
    if size != layout.itemsize and not is_short:
        raise DataError(f"O2 header {description.decode()}: want {layout.itemsize} bytes, got {size}")
    raw = bytes(buffer[at : at + size]) + (bytes(layout.itemsize - size) if is_short else b"")
    values = _STRUCTS[description].unpack(raw)[6:]
    return (_data_header(values) if kind is DataHeader else kind(**_named(layout, values))), size, has_next


def _named(layout: np.dtype[Any], values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip((layout.names or ())[6:], values, strict=True))


def _data_header(values: tuple[Any, ...]) -> DataHeader:
    description, origin, parts, serialization, subspec, index, size, orbit, counter, run = values
    try:
        ref = DataRef(_text(origin).decode("ascii", "replace"), _text(description).decode("ascii", "replace"), subspec)
    except SpecError as error:
        raise DataError(f"O2 header DataHead: {error}") from None
    return DataHeader(
        ref=ref,
        payload_size=size,
        serialization=_text(serialization),
        split_index=index,
        split_parts=parts,
        first_orbit=orbit,
        tf_counter=counter,
        run=run,
    )


def _text(padded: bytes) -> bytes:
    """Return a text up to its first zero."""
    return padded.partition(b"\0")[0]
