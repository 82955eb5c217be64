"""Contents as bytes and back: Arrow, JSON, npz. Chosen by type when put, by the stored content type when read.

Nothing is unpickled or evaluated: a damaged or hostile payload is a ConditionError that names it. ROOT files, of which
CCDB is full, stay bytes; `decode_root` hands them to uproot.
"""

import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from o2dask.columns import Column, Columns, Schema
from o2dask.conditions.errors import ConditionError
from o2dask.conditions.model import Condition
from o2dask.conditions.root_objects import read_object
from o2dask.errors import ConfigError

__all__ = [
    "ARROW",
    "BYTES",
    "JSON",
    "NPZ",
    "OBJECT_TYPES",
    "SUFFIXES",
    "decode",
    "decode_root",
    "encode",
    "root_members",
]

ARROW = "application/vnd.apache.arrow.file"
JSON = "application/json"
NPZ = "application/x-npz"
BYTES = "application/octet-stream"

SUFFIXES = {ARROW: ".arrow", JSON: ".json", NPZ: ".npz", BYTES: ".bin"}
"""Ends of file names; other types are bytes."""
OBJECT_TYPES = {ARROW: "arrow", JSON: "json", NPZ: "npz", BYTES: "bytes"}
"""CCDB's ``ObjectType``: tells the type where a replica does not (no / may be in it)."""

_SCHEMA = b"o2dask.columns"
_OBJECT = "ccdb_object"  # CcdbApi::CCDBOBJECT_ENTRY
_NOT_OBJECTS = ("ccdb_meta", "ccdb_query")
_ROOT_TYPES = {
    "Long64_t": ">i8",
    "long": ">i8",
    "ULong64_t": ">u8",
    "unsigned long": ">u8",
    "int": ">i4",
    "unsigned int": ">u4",
    "short": ">i2",
    "unsigned short": ">u2",
    "float": ">f4",
    "double": ">f8",
}
_VECTOR = re.compile(rf"(?:std::)?vector<({'|'.join(_ROOT_TYPES)})>")


def encode(content: Any, content_type: str | None = None) -> tuple[str, bytes]:
    """Return content type and payload of a content.

    Columns and pyarrow Tables become Arrow IPC, a mapping of names to numpy arrays npz, bytes stay, and what JSON can
    give back unchanged is JSON. With a `content_type`, `content` are bytes of that type, checked to be readable.

    Raises
    ------
    ConfigError
        If the content is none of these.
    """
    if isinstance(content, bytes | bytearray | memoryview):
        return content_type or BYTES, bytes(content)
    if content_type is not None:
        raise ConfigError(f"content of type {content_type}: want bytes, got {type(content).__name__}")
    if isinstance(content, Columns):
        return ARROW, _arrow(content.to_arrow(), _schema_to_json(content.schema))
    if type(content).__module__.partition(".")[0] == "pyarrow":
        return ARROW, _arrow(content, None)
    if isinstance(content, Mapping) and content and all(isinstance(v, np.ndarray) for v in content.values()):
        return NPZ, _npz(content)
    return JSON, _json(content)


def decode(condition: Condition) -> Any:
    """Return the content of a condition; ConditionError, naming it, if it cannot be read."""
    kind, payload = condition.header.content_type, condition.payload
    readers: dict[str, Callable[[bytes], Any]] = {ARROW: _read_arrow, NPZ: _read_npz, JSON: json.loads}
    if kind not in readers:
        if payload[:4] == b"root":
            raise ConditionError(
                f"{_name(condition)}: is a ROOT file ({condition.header.metadata.get('ObjectType', 'unknown class')}); "
                "read it with Condition.as_root(), or give the ConditionFetcher a decoder for this path"
            )
        return payload
    try:
        return readers[kind](payload)
    except _damages() as error:
        raise ConditionError(
            f"{_name(condition)}: cannot be read as {kind}: {type(error).__name__}: {error!s:.200}"
        ) from None


def decode_root(condition: Condition) -> Any:
    """Return the object in a ROOT file, ``ccdb_object`` or the only one, as uproot reads it.

    Objects of classes that uproot cannot read are dicts of their members, see `root_objects`.
    """

    def read(key: Any) -> Any:
        if (vector := _VECTOR.fullmatch(key.fClassName)) is not None:
            return _read_vector(key, _ROOT_TYPES[vector[1]])
        try:
            return key.get()
        except Exception as error:  # noqa: BLE001 - as below
            try:
                return read_object(key)
            except Exception:  # noqa: BLE001 - then what uproot says of it counts
                raise error from None

    return _read_key(condition, read)


def root_members(condition: Condition) -> dict[str, Any]:
    """Return the members of the object in a ROOT file by name: numbers, strings, arrays, and lists and dicts of these.

    Raises
    ------
    ConditionError
        If it is no such file or object.
    """
    members: dict[str, Any] = _read_key(condition, read_object)
    return members


def _read_key(condition: Condition, read: Callable[[Any], Any]) -> Any:
    import uproot

    try:
        file = uproot.open(io.BytesIO(condition.payload))
        names = [n for n in file.keys(cycle=False) if n not in _NOT_OBJECTS]
        name = _OBJECT if _OBJECT in names else names[0] if len(names) == 1 else None
        if name is None:
            raise ConditionError(
                f"{_name(condition)}: want one object in the ROOT file, got {', '.join(names) or 'none'}"
            )
        return read(file.key(name))
    except ConditionError:
        raise
    except Exception as error:  # uproot raises whatever a damaged file makes its parser raise
        raise ConditionError(
            f"{_name(condition)}: uproot cannot read it: {type(error).__name__}: {error!s:.200}; "
            "take Condition.payload to ROOT"
        ) from error


def _read_vector(key: Any, dtype: str) -> np.ndarray:
    """Return a ``std::vector`` of numbers that is an object of its own, such as CTP/Calib/OrbitReset.

    ROOT puts the byte count and version of the class before it (TCollectionClassStreamer); uproot 5.7 expects neither.
    """
    raw = np.asarray(key.get_uncompressed_chunk_cursor()[0].raw_data, np.uint8).tobytes()
    first = int.from_bytes(raw[:4], "big")
    start = 6 if first & 0x40000000 and (first & ~0x40000000) + 4 == len(raw) else 0
    length = int.from_bytes(raw[start : start + 4], "big")
    values = np.frombuffer(raw, dtype, offset=start + 4)
    if len(values) != length:
        raise ValueError(f"want a vector of {length} numbers, got {len(values)}")
    native = values.astype(values.dtype.newbyteorder("="))
    native.flags.writeable = False
    return native


def _name(condition: Condition) -> str:
    return f"{condition.header}" + (f" in {condition.where}" if condition.where else "")


def _damages() -> tuple[type[Exception], ...]:
    import pyarrow as pa

    return (pa.ArrowException, ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error)


def _arrow(table: Any, schema: Any) -> bytes:
    import pyarrow as pa

    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if not isinstance(table, pa.Table):
        raise ConfigError(f"content of a condition: want a pyarrow.Table, got {type(table).__name__}")
    if schema is not None:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _SCHEMA: json.dumps(schema)})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _read_arrow(payload: bytes) -> Any:
    import pyarrow as pa

    table = pa.ipc.open_file(pa.py_buffer(payload)).read_all()
    table.validate(full=True)
    described = (table.schema.metadata or {}).get(_SCHEMA)
    if described is None:
        return table
    return Columns.from_arrow(_schema_from_json(json.loads(described)), table).freeze()


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    for name, array in arrays.items():
        if not isinstance(name, str) or not name.isidentifier() or name in ("file", "allow_pickle"):
            raise ConfigError(f"name of an array: want an identifier, got {name!r}")
        if array.dtype.hasobject:
            raise ConfigError(f"array {name!r}: want numbers or text, got Python objects (they would be pickled)")
    sink = io.BytesIO()
    save: Callable[..., None] = np.savez_compressed
    save(sink, **arrays)
    return sink.getvalue()


def _read_npz(payload: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(payload)):  # np.load takes a lone array, or refuses a pickle, under any name
        pass
    with np.load(io.BytesIO(payload), allow_pickle=False) as file:
        arrays: dict[str, np.ndarray] = {name: file[name] for name in file.files}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} is not an array")
        array.flags.writeable = False
    return arrays


def _json(content: Any) -> bytes:
    try:
        text = json.dumps(content, allow_nan=False, sort_keys=True)
        is_same = json.loads(text) == content
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"content of a condition: want Columns, a pyarrow.Table, a dict of numpy arrays, bytes or plain JSON, "
            f"got {type(content).__name__} ({error})"
        ) from None
    if not is_same:
        raise ConfigError(
            f"content of a condition: {content!r:.80} does not come back from JSON as it was; "
            "use text as keys and lists for tuples"
        )
    return text.encode()


def _schema_to_json(schema: Schema) -> dict[str, Any]:
    columns = [
        {n: getattr(c, n) for n in ("name", "dtype", "unit", "text", "shape", "is_jagged")} for c in schema.columns
    ]
    return {"name": schema.name, "version": schema.version, "columns": columns}


def _schema_from_json(described: Any) -> Schema:
    columns = tuple(Column(**{**c, "shape": tuple(c["shape"])}) for c in described["columns"])
    return Schema(described["name"], columns, described["version"])
