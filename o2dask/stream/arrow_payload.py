"""Columns as one Arrow IPC stream, as O2 sends its tables, and back. Knows bytes; no header, no socket.

What comes from outside is validated whole before numpy sees it: a damaged or hostile payload is a `DataError`. Nothing
is unpickled. Units, texts and row shapes travel as metadata of fields; tables of others (O2's TableBuilder) have none
and read as plain columns.
"""

import math
from typing import Any

import numpy as np
import pyarrow as pa

from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.dataspecs import DataRef
from o2dask.errors import DataError, O2DaskError

__all__ = ["RAW_SCHEMA", "bytes_to_columns", "columns_to_ipc", "ipc_to_columns"]

RAW_SCHEMA = Schema("RAW", (Column(name="bytes", dtype="uint8", text="a payload as it came"),))
"""Columns of a payload that is not Arrow."""


def columns_to_ipc(columns: Columns) -> pa.Buffer:
    """Return an IPC stream of one record batch; the arrays are copied once."""
    table = columns.to_arrow()
    fields = []
    for column, field in zip(columns.schema.columns, table.schema, strict=True):
        metadata = dict(field.metadata or {}) | {b"dtype": column.dtype.encode()}
        if column.shape:
            metadata[b"shape"] = ",".join(map(str, column.shape)).encode()
        fields.append(field.with_metadata(metadata))
    table = table.cast(pa.schema(fields, metadata=table.schema.metadata)) if fields else table
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def bytes_to_columns(payload: "bytes | memoryview | pa.Buffer") -> Columns:
    """Return the bytes as a column, without a copy."""
    return Columns(RAW_SCHEMA, {"bytes": np.frombuffer(payload, np.uint8)}).freeze()


def ipc_to_columns(payload: "bytes | memoryview | pa.Buffer", ref: DataRef) -> Columns:
    """Return the columns of an IPC stream, zero-copy where it is one record batch; named by its metadata, or by `ref`.

    Raises
    ------
    DataError
        If it is no Arrow stream, damaged, has nulls, or types that columns have not.
    """
    try:
        with pa.ipc.open_stream(pa.py_buffer(payload)) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, ValueError, OSError, TypeError, OverflowError, MemoryError) as error:
        raise DataError(f"{ref}: no Arrow stream: {str(error).splitlines()[0] if str(error) else error!r}") from None
    try:
        columns = tuple(_column(field) for field in table.schema)
        metadata = table.schema.metadata or {}
        name = metadata.get(b"schema", str(ref).encode()).decode()
        schema = Schema(name, columns, int(metadata.get(b"version", b"0")))
        arrays = {column.name: _array(column, table.column(i)) for i, column in enumerate(columns)}
        return Columns(schema, arrays).freeze()
    except (O2DaskError, ValueError, UnicodeDecodeError, pa.ArrowException) as error:
        raise DataError(f"{ref}: {error}") from None


def _column(field: pa.Field) -> Column:
    metadata = {key: value.decode() for key, value in (field.metadata or {}).items()}
    kind = field.type
    shape: tuple[int, ...] = ()
    is_jagged = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if pa.types.is_fixed_size_list(kind):
        shape = tuple(int(n) for n in metadata.get(b"shape", str(kind.list_size)).split(","))
        if math.prod(shape) != kind.list_size or min(shape) < 0:
            raise DataError(f"column {field.name!r}: a row of {kind.list_size} values cannot have the shape {shape}")
    if shape or is_jagged:
        kind = kind.value_type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"column {field.name!r}: want numbers, truth values, or lists of such, got {field.type}")
    return Column(
        name=field.name,
        dtype=np.dtype(kind.to_pandas_dtype()).name,
        unit=metadata.get(b"unit", ""),
        text=metadata.get(b"text", ""),
        shape=shape,
        is_jagged=is_jagged,
    )


def _array(column: Column, chunked: pa.ChunkedArray) -> "np.ndarray[Any, Any] | Jagged":
    if chunked.null_count:
        raise DataError(f"column {column.name!r}: {chunked.null_count} values are null; fill them before sending")
    array = chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # combine_chunks of no chunk at all
        array = pa.array([], chunked.type)
    if not column.is_jagged and not column.shape:
        return array.to_numpy(zero_copy_only=False)
    content = array.flatten()
    if content.null_count:
        raise DataError(f"column {column.name!r}: {content.null_count} values are null; fill them before sending")
    values = content.to_numpy(zero_copy_only=False)
    if column.shape:
        return values.reshape(len(array), *column.shape)
    offsets = array.offsets.to_numpy()
    return Jagged((offsets - offsets[0]).astype(np.int32), values)
