"""One table in one Parquet file: plain types any tool reads, O2's column names, units and texts in the metadata.

Knows Arrow and one file; knows no dataframe, no folder and no data model. Floats are split by byte before zstd, which
suits truncated mantissas: a track table is written more than twice as fast as with pyarrow's defaults, and smaller
(`benchmarks/aod.py`). Pages carry checksums, so that a flipped bit is an error and not a wrong number.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from o2dask.columns import Column, Columns, Schema
from o2dask.errors import DataError, ShapeError, SpecError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "DTYPES",
    "ROWS_PER_GROUP",
    "Footer",
    "n_rows",
    "open_parquet",
    "read_footer",
    "read_schema",
    "read_table",
    "write_table",
]

DTYPES = frozenset(
    ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
)
"""What a column of an AOD table may hold: the types that both Parquet and a ROOT leaf have."""
_KEPT_SCHEMAS = 1024
_schemas: dict[tuple[str, bytes], Schema] = {}
ROWS_PER_GROUP = 1 << 17
"""Rows per row group: larger compresses no better, smaller costs a reader that wants a few columns."""

THREADS_FROM = 1 << 20
"""Values to read from which Arrow shares the work among threads, which costs as much as reading 10 000."""


def write_table(file: "str | Path | IO[bytes]", columns: Columns) -> None:
    """Write one table; its schema name and version, units and texts go into the Arrow schema metadata.

    Raises
    ------
    ShapeError
        If a column has a type or a row shape that AOD files do not hold.
    OSError
        If the storage refuses.
    """
    import pyarrow.parquet as pq

    check_storable(columns.schema)
    table = columns.to_arrow()
    split, packed, listed = _encodings(columns.schema)
    pq.write_table(
        table,
        file if not isinstance(file, Path) else str(file),
        row_group_size=ROWS_PER_GROUP,
        compression="zstd",
        compression_level=3,
        use_dictionary=listed,
        column_encoding={**dict.fromkeys(split, "BYTE_STREAM_SPLIT"), **dict.fromkeys(packed, "DELTA_BINARY_PACKED")},
        write_page_checksum=True,
    )


def read_table(
    file: Any,
    columns: Iterable[str] | None = None,
    where: str = "",
    groups: Iterable[int] | None = None,
    footer: "Footer | None" = None,
) -> Columns:
    """Return the table, or only the named columns of it: the bytes of the others are not read.

    Parameters
    ----------
    file : str, Path, binary file object or open `pyarrow.parquet.ParquetFile`
        A Parquet file of flat columns, ours or another's; an open one stays open.
    columns : iterable of str, optional
        Names; all if left out.
    where : str
        What error messages call the file; its path if left out.
    groups : iterable of int, optional
        Row groups to read; all if left out.
    footer : Footer, optional
        From `read_footer`, which is then not done again.

    Raises
    ------
    DataError
        If the file is missing, truncated, damaged or not Parquet, or holds what an AOD table does not.
    KeyError
        If it has no such column.
    """
    where = where or str(file)
    footer = footer or read_footer(file, where)
    schema = footer.schema
    if columns is not None:
        wanted = tuple(schema[name] for name in columns)
        schema = Schema(schema.name, wanted, schema.version)
    names = list(schema.names)
    with _opened(file, where, footer.metadata) as parquet:
        chosen = None if groups is None else list(groups)
        read = parquet.read if chosen is None else partial(parquet.read_row_groups, chosen)
        table = _guarded(lambda: read(columns=names, use_threads=footer.n_rows * len(names) >= THREADS_FROM), where)
    if nulls := [name for name in schema.names if table.column(name).null_count]:
        raise DataError(f"{where}: column {nulls[0]!r} has missing values; AOD columns have none")
    return Columns.from_arrow(schema, table)


class Footer(NamedTuple):
    """What the end of a Parquet file says: Arrow's metadata, and the columns as AOD columns."""

    metadata: Any
    schema: Schema

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.metadata.num_rows)

    @property
    def row_groups(self) -> np.ndarray:
        """First row of every row group, and the number of rows."""
        counts = [self.metadata.row_group(i).num_rows for i in range(self.metadata.num_row_groups)]
        return np.cumsum([0, *counts]) if counts else np.array([0, 0])

    def limits(self, column: str) -> "tuple[np.ndarray, np.ndarray] | None":
        """Return the least and greatest value of a plain column per row group, NaN aside; None if it has none."""
        paths = [self.metadata.schema.column(i).path for i in range(len(self.metadata.schema))]
        if column not in paths:
            return None
        i_column = paths.index(column)
        groups = range(self.metadata.num_row_groups)
        found = [self.metadata.row_group(i).column(i_column).statistics for i in groups]
        if not found or any(each is None or not each.has_min_max for each in found):
            return None
        return np.array([each.min for each in found]), np.array([each.max for each in found])


def open_parquet(file: Any, where: str = "") -> Any:
    """Return an open `pyarrow.parquet.ParquetFile`, to be closed by the caller; its footer is read.

    Raises
    ------
    DataError
        If it is missing, damaged or not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = where or str(file)

    def opened() -> Any:
        # A name makes pyarrow look for its file system, which takes longer than to open the file.
        source = pa.OSFile(str(file)) if isinstance(file, (str, Path)) else file
        return pq.ParquetFile(source, page_checksum_verification=True)

    return _guarded(opened, where)


def read_footer(file: Any, where: str = "") -> Footer:
    """Return the footer of a file, or of one that `open_parquet` gave; no column is read."""
    where = where or str(file)
    with _opened(file, where) as parquet:
        return Footer(parquet.metadata, _schema(parquet.schema_arrow, where))


def read_schema(file: Any, where: str = "") -> Schema:
    """Return the schema of a table without reading its columns."""
    return read_footer(file, where).schema


def n_rows(file: Any, where: str = "") -> int:
    """Return the number of rows from the footer of the file."""
    return read_footer(file, where).n_rows


def check_storable(schema: Schema) -> None:
    """Raise ShapeError if a column cannot be stored in both Parquet and ROOT, naming it."""
    for column in schema.columns:
        if column.dtype not in DTYPES or len(column.shape) > 1 or (column.is_jagged and column.shape):
            got = f"{column.dtype} of row shape {column.shape}{', jagged' if column.is_jagged else ''}"
            raise ShapeError(
                f"{schema.name}.{column.name}: AOD columns are numbers or booleans with at most one dimension per row, "
                f"got {got}"
            )
        if column.shape and column.shape[0] < 1:
            raise ShapeError(f"{schema.name}.{column.name}: want at least one value per row, got shape {column.shape}")


def _encodings(schema: Schema) -> tuple[list[str], list[str], list[str]]:
    """Return the Parquet paths of floats (split by byte), of integers (differences), of bytes (dictionary)."""
    split, packed, listed = [], [], []
    for column in schema.columns:
        path = f"{column.name}.list.element" if column.is_jagged or column.shape else column.name
        if column.dtype.startswith("float"):
            split.append(path)
        elif column.dtype in ("int8", "uint8"):
            listed.append(path)  # Parquet has no type of one byte: plain, these would take four
        elif column.dtype != "bool":
            packed.append(path)
    return split, packed, listed


def _opened(file: Any, where: str, metadata: Any = None) -> Any:
    """Return a context of the open file, which closes what it opened."""
    import pyarrow.parquet as pq

    if isinstance(file, pq.ParquetFile):
        return nullcontext(file)
    source = str(file) if isinstance(file, Path) else file
    return _guarded(lambda: pq.ParquetFile(source, metadata=metadata, page_checksum_verification=True), where)


def _guarded(read: Any, where: str) -> Any:
    import pyarrow as pa

    try:
        return read()
    except FileNotFoundError:
        raise DataError(f"{where}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{where}: damaged, or not a Parquet file ({reason})") from None


def _schema(schema: "pa.Schema", where: str) -> Schema:
    """Return the columns of a file; the same few are asked for in every dataframe of a long list."""
    key = where.rpartition("/")[2], schema.serialize().to_pybytes()  # a file without a name of its own has the file's
    if key not in _schemas:
        if len(_schemas) >= _KEPT_SCHEMAS:
            _schemas.clear()
        _schemas[key] = _made_schema(schema, where)
    return _schemas[key]


def _made_schema(schema: "pa.Schema", where: str) -> Schema:
    metadata = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items() if not k.startswith(b"ARROW")}
    try:
        columns = tuple(_column(field, where) for field in schema)
        return Schema(metadata.get("schema", Path(where).stem), columns, int(metadata.get("version", 0)))
    except SpecError as error:
        raise DataError(f"{where}: {error}") from None


def _column(field: "pa.Field", where: str) -> Column:
    import pyarrow as pa

    kind, is_jagged = field.type, False
    shape: tuple[int, ...] = ()
    if pa.types.is_fixed_size_list(kind):
        kind, shape = kind.value_type, (kind.list_size,)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind, is_jagged = kind.value_type, True
    name = "bool" if pa.types.is_boolean(kind) else _numpy_name(kind)
    if name not in DTYPES:
        raise DataError(f"{where}: column {field.name!r} is {field.type}; want numbers, booleans or lists of them")
    text = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
    return Column(
        name=field.name,
        dtype=name,
        unit=text.get("unit", ""),
        text=text.get("text", ""),
        shape=shape,
        is_jagged=is_jagged,
    )


def _numpy_name(kind: "pa.DataType") -> str:
    try:
        return str(np.dtype(kind.to_pandas_dtype()).name)
    except (NotImplementedError, TypeError):  # Arrow's types that numpy has no name for
        return str(kind)
