"""A timeframe's payloads as one Arrow record batch, a row per block, and back.

Each payload begins with a row of codec ``schema`` (its parameters are the schema, its count the number of rows); the
blocks of its columns follow, in order: ``DESCRIPTION/SUBSPEC/column``, long columns in several rows. Jagged columns
are two fields, ``.../offsets`` and ``.../content``; columns of row shape are stored component by component.
The checksum of a row (CRC32) covers everything else in it, and is compared before anything is decoded.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.ctf.blocks import BY_ROW, Block, decode_block, encode_block, raw_block
from o2dask.ctf.checksum import crc32
from o2dask.ctf.errors import CtfError
from o2dask.errors import O2DaskError
from o2dask.specs import DataRef

__all__ = [
    "CTF_SCHEMA",
    "BlockRow",
    "block_parts",
    "block_rows",
    "check_layout",
    "check_row",
    "data_of_rows",
    "decode_timeframe",
    "encode_timeframe",
]

BLOCK_BYTES = 1 << 21
"""Native bytes per block, 2 Mi bytes or 1 Mi wider values: a dictionary weighs nothing, threads can share a column."""
_SCHEMA = "schema"
_NAMES = ("detector", "field", "dtype", "count", "codec", "parameters", "checksum", "data")
CTF_SCHEMA = pa.schema(
    [
        pa.field("detector", pa.string(), nullable=False),
        pa.field("field", pa.string(), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("codec", pa.string(), nullable=False),
        pa.field("parameters", pa.string(), nullable=False),
        pa.field("checksum", pa.uint32(), nullable=False),
        pa.field("data", pa.large_binary(), nullable=False),
    ]
)


class BlockRow(NamedTuple):
    """One row of the batch; `data` is a view of the batch's bytes."""

    detector: str
    field: str
    dtype: str
    count: int  # type: ignore[assignment]
    codec: str
    parameters: str
    checksum: int
    data: Any

    @property
    def ref(self) -> str:
        """The datum it belongs to, ``ORIGIN/DESCRIPTION/SUBSPEC``."""
        return "/".join([self.detector, *self.field.split("/")[:2]])

    def __str__(self) -> str:
        return f"{self.detector}/{self.field}"


def encode_timeframe(payloads: Mapping[DataRef, Columns], *, raw: bool = False) -> pa.RecordBatch:
    """Return the payloads of one timeframe as a record batch of `CTF_SCHEMA`; none at all is valid.

    With `raw` nothing is compressed, and who reads it from a memory-mapped file gets views of that file.
    """
    rows = [row for ref, columns in payloads.items() for row in _payload_rows(ref, columns, raw)]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(_NAMES)
    arrays = [pa.array(c, type=f.type) for c, f in zip(columns[:-1], list(CTF_SCHEMA)[:-1], strict=True)]
    return pa.RecordBatch.from_arrays([*arrays, _binary(columns[-1])], schema=CTF_SCHEMA)


def _binary(parts: Sequence[Any]) -> pa.Array:
    """Return bytes-like parts as one array, each copied once."""
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    values = np.empty(offsets[-1], np.uint8)
    for part, first in zip(parts, offsets, strict=False):
        values[first : first + len(part)] = np.frombuffer(part, np.uint8)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(parts), buffers)


def decode_timeframe(
    batch: pa.RecordBatch, select: Sequence[str] | None = None, where: str = "timeframe"
) -> dict[DataRef, Columns]:
    """Return the payloads of a record batch, with the schemas they were written with.

    Parameters
    ----------
    batch : RecordBatch
        As `encode_timeframe` made it.
    select : sequence of str, optional
        Patterns over ``ORIGIN/DESCRIPTION/SUBSPEC``; only matching payloads are decoded. All by default.
    where : str
        File and timeframe, for error messages.

    Raises
    ------
    CtfError
        If a block is damaged (naming it), missing, or not of this version.
    """
    found: dict[str, tuple[BlockRow, dict[str, list[BlockRow]]]] = {}
    for row in block_rows(batch, where):
        if select is not None and not any(fnmatchcase(row.ref, pattern) for pattern in select):
            continue
        check_row(row, where)
        if row.codec == _SCHEMA:
            found[row.ref] = (row, {})
        elif row.ref in found:
            found[row.ref][1].setdefault(row.field, []).append(row)
        else:
            raise CtfError(f"{where}, block {row}: its payload has no schema before it")
    payloads = {}
    for header, blocks in found.values():
        try:
            payloads[DataRef.parse(header.ref)] = _payload(header, blocks)
        except (O2DaskError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
            raise CtfError(f"{where}, payload {header.ref}: {error}") from error
    return payloads


def block_parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the parts of a stream of values that become blocks."""
    n = BLOCK_BYTES // min(array.itemsize, 2)
    for first in range(0, len(array), n):
        yield array[first : first + n]


def block_rows(batch: pa.RecordBatch, where: str) -> Iterator[BlockRow]:
    """Yield the rows of a batch; CtfError if it has not the columns of a CTF or Arrow finds it invalid."""
    try:
        check_layout(batch, where)
        if any(column.null_count for column in batch.columns):
            raise CtfError(f"{where}: damaged, values are missing")
        small = [column.to_pylist() for column in batch.columns[:-1]]
        data = batch.column(len(_NAMES) - 1)
        for i, row in enumerate(zip(*small, strict=True)):
            yield BlockRow(*row, memoryview(data[i].as_buffer()))  # type: ignore[call-arg]
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, CtfError):
            raise
        raise CtfError(f"{where}: damaged record batch: {error}") from error


def check_layout(batch: pa.RecordBatch, where: str) -> pa.RecordBatch:
    """Return the batch if all but the contents of its blocks is sound: it can then be cut and copied; else CtfError."""
    try:
        batch.validate(full=True)
        if batch.schema.names != list(_NAMES) or batch.schema.types != CTF_SCHEMA.types:
            raise CtfError(f"{where}: not a compressed timeframe; its columns are {', '.join(batch.schema.names)}")
    except (pa.ArrowException, ValueError) as error:
        if isinstance(error, CtfError):
            raise
        raise CtfError(f"{where}: damaged record batch: {error}") from error
    return batch


def data_of_rows(batch: pa.RecordBatch) -> tuple[list[str], np.ndarray]:
    """Return of each row the datum it belongs to and its size [bytes], (n_rows,) int64."""
    origins, fields = batch.column(0).to_pylist(), batch.column(1).to_pylist()
    names = ["/".join([str(o), *str(f).split("/")[:2]]) for o, f in zip(origins, fields, strict=True)]
    data = batch.column(len(_NAMES) - 1)
    offsets = np.frombuffer(data.buffers()[1], np.int64)[data.offset : data.offset + len(data) + 1]
    return names, np.diff(offsets) if len(data) else np.zeros(0, np.int64)


def check_row(row: BlockRow, where: str) -> None:
    """Raise CtfError, naming the block, if the row is not what was written."""
    if _checksum(row[:6], row.data) != row.checksum:
        raise CtfError(f"{where}, block {row}: damaged, its checksum differs; copy the file again from its source")


def _checksum(head: Sequence[Any], data: Any) -> int:
    return crc32(data, crc32("\0".join(map(str, head)).encode()))


def _row(ref: DataRef, field: str, dtype: str, block: Block) -> BlockRow:
    head = (ref.origin, field, dtype, block.count, block.codec, json.dumps(block.params, separators=(",", ":")))
    return BlockRow(*head, _checksum(head, block.data), block.data)


def _payload_rows(ref: DataRef, columns: Columns, raw: bool) -> Iterator[BlockRow]:
    name = f"{ref.description}/{ref.subspec}"
    yield _row(ref, name, "", Block(_SCHEMA, columns.n_rows, params=_schema_to_json(columns.schema)))
    for column in columns.schema.columns:
        if raw:
            for suffix, array in _raw_streams(column, columns[column.name]):
                block = raw_block(array, by_row=bool(column.shape)) if len(array) else Block("empty", 0)
                yield _row(ref, f"{name}/{column.name}{suffix}", array.dtype.name, block)
            continue
        for suffix, array in _streams(column, columns[column.name]):
            for part in block_parts(array):
                block = encode_block(part)
                yield _row(ref, f"{name}/{column.name}{suffix}", array.dtype.name, block)


def _streams(column: Column, array: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the plain streams of values that a column is stored as."""
    if isinstance(array, Jagged):
        yield "/offsets", array.offsets
        yield "/content", array.content
    else:
        yield "", array.reshape(len(array), int(np.prod(column.shape))).T.reshape(-1) if column.shape else array


def _raw_streams(column: Column, array: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the streams of values that a column has in memory."""
    if isinstance(array, Jagged):
        yield from _streams(column, array)
    else:
        yield "", array.reshape(-1)


def _payload(header: BlockRow, blocks: Mapping[str, list[BlockRow]]) -> Columns:
    schema = _schema_from_json(json.loads(header.parameters))
    arrays: dict[str, np.ndarray | Jagged] = {}
    for column in schema.columns:
        name = f"{header.field}/{column.name}"
        if column.is_jagged:
            offsets = _stream(blocks, f"{name}/offsets", np.dtype(np.int32), header.count + 1)
            content = _stream(blocks, f"{name}/content", np.dtype(column.dtype), int(offsets[-1]))
            arrays[column.name] = Jagged(offsets, content)
        else:
            n_items = int(np.prod(column.shape, dtype=np.int64))
            values = _stream(blocks, name, np.dtype(column.dtype), header.count * n_items)
            if column.shape and BY_ROW in "".join(row.parameters for row in blocks.get(name, [])):
                values = values.reshape(header.count, *column.shape)
            elif column.shape:
                values = np.ascontiguousarray(values.reshape(n_items, header.count).T)
                values = values.reshape(header.count, *column.shape)
            arrays[column.name] = values
    return Columns(schema, arrays)


def _stream(blocks: Mapping[str, list[BlockRow]], name: str, dtype: np.dtype, count: int) -> np.ndarray:
    rows = blocks.get(name, [])
    if sum(row.count for row in rows) != count or any(row.dtype != dtype.name for row in rows):
        got = sum(row.count for row in rows)
        raise CtfError(f"{name}: want {count} values of {dtype.name}, got {got} in {len(rows)} blocks")
    parts = []
    for row in rows:
        try:
            parts.append(decode_block(Block(row.codec, row.count, row.data, json.loads(row.parameters)), dtype))
        except CtfError as error:
            raise CtfError(f"block {row}: {error}") from error
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def _schema_to_json(schema: Schema) -> dict[str, Any]:
    columns = [[c.name, c.dtype, c.unit, c.text, list(c.shape), c.is_jagged] for c in schema.columns]
    return {"name": schema.name, "version": schema.version, "columns": columns}


def _schema_from_json(text: Mapping[str, Any]) -> Schema:
    columns = tuple(
        Column(name=name, dtype=dtype, unit=unit, text=words, shape=tuple(shape), is_jagged=is_jagged)
        for name, dtype, unit, words, shape, is_jagged in text["columns"]
    )
    return Schema(text["name"], columns, text["version"])
