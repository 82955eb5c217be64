"""Payloads: named columns of equal length with a declared schema, the only thing that travels between processors.

Knows numpy; converts to Arrow without a copy where Arrow can. Knows no file, no graph and no detector.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from o2dask.errors import ShapeError, SpecError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Column", "Columns", "Jagged", "Schema"]


class Jagged(NamedTuple):
    """A column with a variable number of values per row: row i holds ``content[offsets[i]:offsets[i + 1]]``.

    `offsets` is (n_rows + 1,) int32 and starts at 0; `content` is (offsets[-1],) of the column's dtype.
    """

    offsets: np.ndarray
    content: np.ndarray

    @property
    def nbytes(self) -> int:
        """Size of both arrays [bytes]."""
        return int(self.offsets.nbytes + self.content.nbytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: what it is called, how it is stored, in which unit, and what it means.

    `shape` is the shape of one row: () for a scalar, (15,) for a covariance. `is_jagged` columns are `Jagged`.
    """

    name: str
    dtype: str
    unit: str = ""
    text: str = ""
    shape: tuple[int, ...] = ()
    is_jagged: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise SpecError(f"column name: want an identifier, got {self.name!r}")
        if np.dtype(self.dtype).name != self.dtype or np.dtype(self.dtype).hasobject:
            raise SpecError(
                f"dtype of column {self.name!r}: want a plain numpy name such as 'float32', got {self.dtype!r}"
            )

    def empty(self, n_rows: int = 0) -> "np.ndarray | Jagged":
        """Return a zeroed column of `n_rows` rows."""
        if self.is_jagged:
            return Jagged(np.zeros(n_rows + 1, np.int32), np.zeros(0, self.dtype))
        return np.zeros((n_rows, *self.shape), self.dtype)


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of one kind of payload, in order; `name` is the data description it belongs to."""

    name: str
    columns: tuple[Column, ...]
    version: int = 0

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.columns):
            raise SpecError(f"schema {self.name}: two columns of one name in {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(c.name for c in self.columns)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"schema {self.name} has no column {name!r}; it has {', '.join(self.names)}")

    def empty(self, n_rows: int = 0) -> "Columns":
        """Return zeroed columns of `n_rows` rows."""
        return Columns(self, {c.name: c.empty(n_rows) for c in self.columns})

    @classmethod
    def infer(cls, name: str, arrays: Mapping[str, Any]) -> "Schema":
        """Return the schema that arrays without a declared one have."""
        columns = []
        for key, value in arrays.items():
            array = value.content if isinstance(value, Jagged) else np.asarray(value)
            is_jagged = isinstance(value, Jagged)
            shape = () if is_jagged else array.shape[1:]
            columns.append(Column(name=key, dtype=array.dtype.name, shape=shape, is_jagged=is_jagged))
        return cls(name, tuple(columns))

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{c.name}:{c.dtype}' for c in self.columns)})"


class Columns(Mapping[str, Any]):
    """Arrays of equal length under the names of a schema, checked when made: ``clusters["time"]``.

    Parameters
    ----------
    schema : Schema
        What is promised. Each array must have exactly its dtype and row shape: nothing is cast silently.
    arrays : mapping of str to ndarray or Jagged
        What is delivered, every column of the schema and no other.

    Raises
    ------
    ShapeError
        If names, dtypes, row shapes or lengths differ from the schema, naming the column.
    """

    __slots__ = ("_arrays", "schema")

    def __init__(self, schema: Schema, arrays: Mapping[str, Any]) -> None:
        self.schema = schema
        self._arrays = {c.name: _checked(schema, c, arrays) for c in schema.columns}
        if extra := set(arrays) - set(self._arrays):
            raise ShapeError(f"{schema.name}: not in the schema: {', '.join(sorted(extra))}")
        lengths = {name: _n_rows(array) for name, array in self._arrays.items()}
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"{schema.name}: want columns of one length, got {lengths}")

    def __getitem__(self, name: str) -> Any:
        try:
            return self._arrays[name]
        except KeyError:
            raise KeyError(
                f"{self.schema.name} has no column {name!r}; it has {', '.join(self.schema.names)}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        """Return the number of columns (this is a Mapping); `n_rows` is the number of rows."""
        return len(self._arrays)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return _n_rows(next(iter(self._arrays.values()))) if self._arrays else 0

    @property
    def nbytes(self) -> int:
        """Size of all arrays [bytes]."""
        return sum(int(array.nbytes) for array in self._arrays.values())

    def __repr__(self) -> str:
        return f"<{self.schema.name}: {self.n_rows} rows, {self.nbytes} bytes>"

    def freeze(self) -> "Columns":
        """Make every array read-only and return self; payloads are shared between processors of one worker."""
        for array in self._arrays.values():
            for part in array if isinstance(array, Jagged) else (array,):
                part.flags.writeable = False
        return self

    def take(self, rows: np.ndarray) -> "Columns":
        """Return the given rows (index array or mask), copied; schemas with jagged columns cannot be taken from."""
        if any(isinstance(array, Jagged) for array in self._arrays.values()):
            raise ShapeError(f"{self.schema.name}: take() of a schema with jagged columns")
        return Columns(self.schema, {name: array[rows] for name, array in self._arrays.items()})

    def equals(self, other: "Columns") -> bool:
        """Return whether schema and every byte are the same (NaN equals NaN of the same bits)."""
        if self.schema != other.schema:
            return False
        return all(_bytes(self[name]) == _bytes(other[name]) for name in self)

    def to_arrow(self) -> "pa.Table":
        """Return a `pyarrow.Table`: zero-copy for scalar columns; name, units and texts go into its metadata."""
        import pyarrow as pa

        fields, arrays = [], []
        for column in self.schema.columns:
            array = _to_arrow(column, self._arrays[column.name])
            fields.append(
                pa.field(column.name, array.type, nullable=False, metadata={"unit": column.unit, "text": column.text})
            )
            arrays.append(array)
        metadata = {"schema": self.schema.name, "version": str(self.schema.version)}
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))

    @classmethod
    def from_arrow(cls, schema: Schema, table: "pa.Table") -> "Columns":
        """Return the columns of `schema` out of a table that has at least these, zero-copy where possible."""
        arrays = {}
        for column in schema.columns:
            chunked = table.column(column.name)
            array = chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()
            arrays[column.name] = _from_arrow(column, array)
        return cls(schema, arrays)


def _n_rows(array: "np.ndarray | Jagged") -> int:
    return len(array.offsets) - 1 if isinstance(array, Jagged) else len(array)


def _bytes(array: "np.ndarray | Jagged") -> tuple[bytes, ...]:
    parts = array if isinstance(array, Jagged) else (array,)
    return tuple(np.ascontiguousarray(part).tobytes() for part in parts)


def _checked(schema: Schema, column: Column, arrays: Mapping[str, Any]) -> "np.ndarray | Jagged":
    where = f"{schema.name}.{column.name}"
    if column.name not in arrays:
        raise ShapeError(f"{where}: missing; got {', '.join(arrays) or 'no column'}")
    array = arrays[column.name]
    if column.is_jagged:
        if not isinstance(array, Jagged) or array.content.dtype.name != column.dtype:
            raise ShapeError(f"{where}: want Jagged of {column.dtype}, got {array!r:.100}")
        if len(array.offsets) < 1 or array.offsets[0] != 0 or array.offsets[-1] != len(array.content):
            raise ShapeError(f"{where}: offsets do not span the content of {len(array.content)} values")
        return array
    if not isinstance(array, np.ndarray) and not hasattr(array, "__cuda_array_interface__"):
        raise ShapeError(f"{where}: want an array, got {type(array).__name__}")
    if array.dtype.name != column.dtype or array.shape[1:] != column.shape or array.ndim == 0:
        got = f"{array.dtype.name} of shape {array.shape}"
        raise ShapeError(f"{where}: want {column.dtype} of shape (n, {', '.join(map(str, column.shape))}), got {got}")
    return array


def _to_arrow(column: Column, array: "np.ndarray | Jagged") -> "pa.Array":
    import pyarrow as pa

    if isinstance(array, Jagged):
        return pa.ListArray.from_arrays(pa.array(array.offsets), pa.array(array.content))
    if column.shape:
        return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), int(np.prod(column.shape)))
    return pa.array(array)


def _from_arrow(column: Column, array: "pa.Array") -> "np.ndarray | Jagged":
    if column.is_jagged:
        offsets = array.offsets.to_numpy()
        content = array.flatten().to_numpy(zero_copy_only=False)
        return Jagged((offsets - offsets[0]).astype(np.int32), content.astype(column.dtype, copy=False))
    if column.shape:
        values = array.flatten().to_numpy(zero_copy_only=False)
        return values.astype(column.dtype, copy=False).reshape(-1, *column.shape)
    return array.to_numpy(zero_copy_only=False).astype(column.dtype, copy=False)
