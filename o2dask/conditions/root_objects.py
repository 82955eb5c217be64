"""Objects in ROOT files, read by what the file itself says of their classes (TStreamerInfo), where uproot cannot.

uproot finds keys, decompresses and reads the description of classes. It does not read collections of objects that were
written member by member, as ROOT does by default (`CalDet`), nor classes without a version (`ROOT::Math::Cartesian3D`).
What is here reads classes, bases, numbers, arrays, strings and vectors of any of these, into dicts, lists and numpy
arrays. Byte by byte as in ROOT's TBufferFile and TStreamerInfoWriteBuffer; nothing in a file is run.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["read_object"]

_BYTE_COUNT, _MEMBERWISE = 0x40000000, 0x4000
_BASE, _OBJECTS, _COLLECTION, _TSTRING = 0, (61, 62), 500, 65
"""Kinds of elements (TVirtualStreamerInfo::EReadWrite): base class, members of a class, STL, TString."""
_NUMBERS = {
    1: "i1",
    2: ">i2",
    3: ">i4",
    4: ">i8",
    5: ">f4",
    8: ">f8",
    11: "u1",
    12: ">u2",
    13: ">u4",
    14: ">u8",
    16: ">i8",
    17: ">u8",
    18: "?",
}
_NAMED = {
    "char": "i1",
    "unsigned char": "u1",
    "bool": "?",
    "short": ">i2",
    "unsigned short": ">u2",
    "int": ">i4",
    "unsigned int": ">u4",
    "long": ">i8",
    "unsigned long": ">u8",
    "Long64_t": ">i8",
    "ULong64_t": ">u8",
    "float": ">f4",
    "double": ">f8",
}
_VECTOR = re.compile(r"(?:std::)?vector<(.*?)\s*>")
_STRINGS = ("string", "std::string")


def read_object(key: Any) -> dict[str, Any]:
    """Return the members of the object behind a key of a file that uproot has opened, by name.

    Raises
    ------
    ValueError
        If the bytes are not what the file says that they are, or of a kind that is not known here.
    """
    raw = np.asarray(key.get_uncompressed_chunk_cursor()[0].raw_data, np.uint8).tobytes()
    reader = _Reader(raw, key._file.streamers)
    members = reader.object(str(key.fClassName))
    if reader.position != len(raw):
        raise ValueError(f"{key.fClassName}: {len(raw) - reader.position} bytes are left over")
    return members


class _Reader:
    """Goes through the bytes of an object."""

    def __init__(self, raw: bytes, streamers: Mapping[str, Mapping[int, Any]]) -> None:
        self._raw, self._streamers = raw, streamers
        self.position = 0

    def object(self, name: str) -> dict[str, Any]:
        """Return the members of one object, which begins with its size and version."""
        version, end = self._header()
        members: dict[str, Any] = {}
        for element in self._class(name, version):
            (value,) = self._member(element, 1)
            members |= value if element.member("fType") == _BASE else {element.member("fName"): value}
        if end is not None and self.position != end:
            raise ValueError(f"{name}: ends at byte {self.position}, not at {end}")
        return members

    def _class(self, name: str, version: int) -> Any:
        """Return the elements of a class; where it has no version (0), its checksum follows and is passed over."""
        if version == 0:
            self._number(">u4")
        versions = self._streamers.get(name)
        if not versions:
            raise ValueError(f"the file does not describe the class {name}")
        if version not in versions and len(versions) > 1:
            raise ValueError(f"the file does not describe version {version} of the class {name}")
        return (versions[version] if version in versions else next(iter(versions.values()))).elements

    def _header(self) -> tuple[int, int | None]:
        """Return the version, and where what follows ends if that is told."""
        count = self._number(">u4")
        if not count & _BYTE_COUNT:
            self.position -= 4
            return self._number(">u2"), None
        end = self.position + (count & ~_BYTE_COUNT)
        if end > len(self._raw):
            raise ValueError(f"is cut off: {end - len(self._raw)} bytes are missing")
        return self._number(">u2"), end

    def _member(self, element: Any, n: int) -> list[Any]:
        """Return one member of `n` objects that were written together."""
        kind, name = element.member("fType"), element.member("fTypeName")
        if kind == _BASE:
            return [self.object(element.member("fName")) for _ in range(n)]
        if kind in _OBJECTS:
            return [self.object(name) for _ in range(n)]
        if kind in _NUMBERS:  # of arrays as well: uproot takes off the 20 that tells them
            length = element.member("fArrayLength")
            values = self._numbers(_NUMBERS[kind], n * max(1, length))
            return list(values.reshape(n, length)) if length else values.tolist()
        if kind == _TSTRING:
            return [self._string() for _ in range(n)]
        if kind == _COLLECTION:
            version, _ = self._header()
            return [self._collection(name, version) for _ in range(n)]
        raise ValueError(f"member {element.member('fName')} is a {name}, of a kind ({kind}) that is not read here")

    def _collection(self, name: str, version: int) -> Any:
        if name in _STRINGS:
            return self._string()
        vector = _VECTOR.fullmatch(name)
        if vector is None:
            raise ValueError(f"{name}: only vectors and strings are read here")
        content = vector[1]
        if version & _MEMBERWISE:
            return self._memberwise(content)
        n = self._number(">u4")
        if content in _NAMED:
            return self._numbers(_NAMED[content], n)
        self._check(n)
        return [self._string() if content in _STRINGS else self.object(content) for _ in range(n)]

    def _memberwise(self, name: str) -> list[dict[str, Any]]:
        elements = self._class(name, self._number(">u2"))
        n = self._number(">u4")
        self._check(n)
        rows: list[dict[str, Any]] = [{} for _ in range(n)]
        for element in elements:
            for row, value in zip(rows, self._member(element, n), strict=True):
                row.update(value if element.member("fType") == _BASE else {element.member("fName"): value})
        return rows

    def _string(self) -> str:
        n = self._number("u1")
        n = self._number(">u4") if n == 255 else n
        return bytes(self._numbers("u1", n)).decode(errors="replace")

    def _number(self, dtype: str) -> Any:
        return self._numbers(dtype, 1)[0].item()

    def _numbers(self, dtype: str, n: int) -> np.ndarray:
        """Return the next numbers, as this machine has them."""
        kind = np.dtype(dtype)
        end = self.position + n * kind.itemsize
        if end > len(self._raw):
            raise ValueError(f"is cut off: {end - len(self._raw)} bytes are missing")
        values = np.frombuffer(self._raw, kind, n, self.position).astype(kind.newbyteorder("="))
        self.position = end
        values.flags.writeable = False
        return values

    def _check(self, n: int) -> None:
        if n > len(self._raw) - self.position:
            raise ValueError(f"want at most {len(self._raw) - self.position} objects, got {n}")
