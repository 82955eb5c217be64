"""ROOT's TMap of strings as bytes: what `metaData` and `parentFiles` of an AO2D file are.

Knows bytes only. uproot 5.7 neither reads nor writes a TMap, so its streamed form is spelled out here, after ROOT's
`TMap::Streamer` and `TBufferFile::WriteObjectAny`; files written by O2 are reproduced byte for byte (tests).

All numbers are big-endian. A block is ``uint32 0x40000000 | length`` and what follows it. The map is a block of
version 3, a TObject (version 1, unique id, bits), its name (empty), the number of pairs, then keys and values in turn,
each a TObjString in a block: the first one spells its class, the later ones refer to that place, counted from the start
of the key in the file, which is why the length of this key matters.
"""

import struct
from collections.abc import Mapping

from o2dask.errors import DataError

__all__ = ["CLASS_NAME", "TITLE", "key_length", "pack_map", "unpack_map"]

CLASS_NAME = "TMap"
TITLE = "A (key,value) map"

_BYTE_COUNT = 0x40000000
_NEW_CLASS = 0xFFFFFFFF
_CLASS_REFERENCE = 0x80000000
_OFFSET = 2  # kMapOffset of TBufferFile: 0 and 1 are taken by "none" and "self"
_STRING_CLASS = b"TObjString\0"


def key_length(name: str) -> int:
    """Return the length [bytes] of the key of a map called `name`, below 2 GB in the file: 26 and its three strings."""
    return 26 + sum(1 + len(text.encode()) for text in (CLASS_NAME, name, TITLE))


def pack_map(entries: Mapping[str, str], key_length: int, bits: int = 0) -> bytes:
    """Return a map as ROOT streams it, to be stored behind a key of the given length.

    `bits` are the status bits of its objects: 0 from a plain `TFile::WriteObject`, 0x03000000 from files merged by O2.
    """
    head = _version(3) + _t_object(bits) + _t_string("") + struct.pack(">i", len(entries))
    tag_place = 4 + len(head) + 4 + key_length + _OFFSET
    out, tag = [head], struct.pack(">I", _NEW_CLASS) + _STRING_CLASS
    for text in (text for pair in entries.items() for text in pair):
        out.append(_block(tag + _block(_version(1) + _t_object(bits) + _t_string(text))))
        tag = struct.pack(">I", _CLASS_REFERENCE | tag_place)
    return _block(b"".join(out))


def unpack_map(raw: bytes, key_length: int, where: str) -> dict[str, str]:
    """Return the entries of a map read from behind a key of the given length.

    Raises
    ------
    DataError
        If the bytes are not a map of strings; names `where`.
    """
    try:
        return _Reader(raw, key_length).entries()
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise DataError(f"{where}: damaged map of strings ({error})") from None


class _Reader:
    """A position in the streamed map, and the strings met so far: an object may refer to an earlier one."""

    def __init__(self, raw: bytes, key_length: int) -> None:
        self.raw, self.key_length, self.at = raw, key_length, 0
        self.met: dict[int, str] = {}

    def entries(self) -> dict[str, str]:
        self.block()
        if (version := self.take(">H")) != 3:
            raise ValueError(f"want version 3 of TMap, got {version}")
        self.t_object()
        self.t_string()
        n_pairs = self.take(">i")
        if not 0 <= n_pairs <= len(self.raw):
            raise ValueError(f"{n_pairs} pairs in {len(self.raw)} bytes")
        entries = {}
        for _ in range(n_pairs):
            key = self.any_string()
            entries[key] = self.any_string()
        return entries

    def any_string(self) -> str:
        start = self.at
        tag = self.take(">I")
        if not tag & _BYTE_COUNT:
            return "" if tag == 0 else self.met[tag]  # no object, or one met before
        end = self.at + (tag & ~_BYTE_COUNT)
        tag = self.take(">I")
        if tag == _NEW_CLASS:
            name = self.raw[self.at : self.at + len(_STRING_CLASS)]
            if name != _STRING_CLASS:
                raise ValueError(f"want TObjString, got {name!r}")
            self.at += len(_STRING_CLASS)
        elif not tag & _CLASS_REFERENCE:
            raise ValueError(f"want a class, got tag {tag:#x}")
        self.block()
        self.take(">H")
        self.t_object()
        text = self.t_string()
        if self.at != end:
            raise ValueError(f"an object ends at byte {self.at}, not {end}")
        self.met[start + self.key_length + _OFFSET] = text
        return text

    def take(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self.raw, self.at)
        self.at += struct.calcsize(form)
        return int(value)

    def block(self) -> None:
        if not self.take(">I") & _BYTE_COUNT:
            raise ValueError(f"want a byte count at byte {self.at - 4}")

    def t_object(self) -> None:
        self.take(">H")
        self.take(">I")
        self.take(">I")

    def t_string(self) -> str:
        length = self.take(">B")
        if length == 255:
            length = self.take(">I")
        text = self.raw[self.at : self.at + length]
        if len(text) != length:
            raise ValueError(f"a string of {length} bytes ends after {len(text)}")
        self.at += length
        return text.decode(errors="surrogateescape")


def _block(content: bytes) -> bytes:
    return struct.pack(">I", _BYTE_COUNT | len(content)) + content


def _version(number: int) -> bytes:
    return struct.pack(">H", number)


def _t_object(bits: int) -> bytes:
    return struct.pack(">HII", 1, 0, bits)


def _t_string(text: str) -> bytes:
    content = text.encode(errors="surrogateescape")
    head = struct.pack(">B", len(content)) if len(content) < 255 else struct.pack(">BI", 255, len(content))
    return head + content
