"""What is in a CTF file and how well it is compressed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from o2dask.ctf.batch import block_rows, check_row
from o2dask.ctf.errors import CtfError
from o2dask.ctf.reader import CtfReader, Damage
from o2dask.timeframe import TimeframeId

__all__ = ["CtfInfo", "FieldInfo", "TimeframeInfo", "ctf_info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldInfo:
    """One column of one timeframe: `n_values` of `dtype`, `n_bytes` stored, `native_bytes` in memory."""

    name: str
    dtype: str
    n_values: int
    n_bytes: int
    native_bytes: int
    codecs: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Native over stored size; 0 for nothing."""
        return self.native_bytes / self.n_bytes if self.n_bytes else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeframeInfo:
    """One timeframe: its size in the file and its fields; `error` says what is wrong with it."""

    timeframe: TimeframeId
    n_bytes: int
    fields: tuple[FieldInfo, ...]
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CtfInfo:
    """One file: its timeframes and what it has lost."""

    url: str
    timeframes: tuple[TimeframeInfo, ...]
    damages: tuple[Damage, ...]

    @property
    def n_bytes(self) -> int:
        """Size of all timeframes [bytes]."""
        return sum(t.n_bytes for t in self.timeframes)

    @property
    def fields(self) -> tuple[FieldInfo, ...]:
        """The fields summed over the timeframes."""
        return tuple(_merge([f for t in self.timeframes for f in t.fields]))


def ctf_info(path: str) -> CtfInfo:
    """Return what is in the file, every checksum compared, nothing decoded; damage is told, not raised."""
    reader = CtfReader(path)
    timeframes = []
    for index, ref in enumerate(reader.refs()):
        parts: list[FieldInfo] = []
        error = ""
        try:
            for row in block_rows(reader.batch(index), reader.where(index)):
                check_row(row, reader.where(index))
                if row.dtype:
                    native = np.dtype(row.dtype).itemsize * row.count
                    n_bytes = len(row.data) + len(row.parameters)
                    parts.append(
                        FieldInfo(
                            name=str(row),
                            dtype=row.dtype,
                            n_values=row.count,
                            n_bytes=n_bytes,
                            native_bytes=native,
                            codecs=(row.codec,),
                        )
                    )
        except (CtfError, TypeError) as failure:
            error = str(failure)
        timeframes.append(
            TimeframeInfo(timeframe=ref.id, n_bytes=ref.n_bytes, fields=tuple(_merge(parts)), error=error)
        )
    return CtfInfo(url=reader.url, timeframes=tuple(timeframes), damages=tuple(reader.damages))


def _merge(parts: list[FieldInfo]) -> Iterator[FieldInfo]:
    """Yield one entry per field name, in order of appearance."""
    by_name: dict[str, list[FieldInfo]] = {}
    for part in parts:
        by_name.setdefault(part.name, []).append(part)
    for name, same in by_name.items():
        yield FieldInfo(
            name=name,
            dtype=same[0].dtype,
            n_values=sum(p.n_values for p in same),
            n_bytes=sum(p.n_bytes for p in same),
            native_bytes=sum(p.native_bytes for p in same),
            codecs=tuple(dict.fromkeys(codec for p in same for codec in p.codecs)),
        )
