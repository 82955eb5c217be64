"""What an AOD holds, counted without reading a column: for ``o2dask aod info`` and for reports."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from o2dask.aod.dataframe import DataFrameSource
from o2dask.aod.model import tables
from o2dask.aod.reader import open_dataframes

__all__ = ["AodSummary", "DataFrameSummary", "TableSummary", "aod_info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSummary:
    """One table over all dataframes: rows, stored bytes, in how many dataframes, and whether the data model has it."""

    tree: str
    n_rows: int
    n_bytes: int
    n_dataframes: int
    is_in_model: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFrameSummary:
    """One dataframe: its number and what is coded in it, where it is, rows of each table."""

    number: int
    run: int
    first_orbit: int
    url: str
    rows: Mapping[str, int] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AodSummary:
    """An AOD: its dataframes, its tables (by tree name), its metaData, the parents of derived dataframes."""

    dataframes: tuple[DataFrameSummary, ...]
    tables: tuple[TableSummary, ...]
    metadata: Mapping[str, str] = field(hash=False)
    parents: Mapping[int, str] = field(hash=False)

    @property
    def runs(self) -> tuple[int, ...]:
        """Run numbers, ascending."""
        return tuple(sorted({dataframe.run for dataframe in self.dataframes}))

    @property
    def n_rows(self) -> int:
        """Rows of all tables."""
        return sum(table.n_rows for table in self.tables)

    @property
    def n_bytes(self) -> int:
        """Stored size of all tables [bytes]."""
        return sum(table.n_bytes for table in self.tables)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        values = asdict(self)
        values["parents"] = {f"DF_{number}": path for number, path in self.parents.items()}
        return values | {"runs": list(self.runs), "n_rows": self.n_rows, "n_bytes": self.n_bytes}


def aod_info(source: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]") -> AodSummary:
    """Return what the dataframes of a source hold; `source` is as for `open_dataframes`, errors too."""
    dataframes = open_dataframes(source)
    sizes: dict[str, list[tuple[int, int]]] = {}
    found = tuple(_dataframe(dataframe, sizes) for dataframe in dataframes)
    return AodSummary(
        dataframes=found,
        tables=tuple(_table(tree, sizes[tree]) for tree in sorted(sizes)),
        metadata=dict(dataframes[0].metadata),
        parents={d.number: d.parent for d in dataframes if d.parent},
    )


def _table(tree: str, sizes: Sequence[tuple[int, int]]) -> TableSummary:
    return TableSummary(
        tree=tree,
        n_rows=sum(n_rows for n_rows, _ in sizes),
        n_bytes=sum(n_bytes for _, n_bytes in sizes),
        n_dataframes=len(sizes),
        is_in_model=tree in tables(),
    )


def _dataframe(source: DataFrameSource, sizes: dict[str, list[tuple[int, int]]]) -> DataFrameSummary:
    """Return the summary of one dataframe; (rows, bytes) of its tables are added to `sizes` while they are open."""
    for tree in source.tables:
        sizes.setdefault(tree, []).append((source.n_rows(tree), source.n_bytes(tree)))
    return DataFrameSummary(
        number=source.number,
        run=source.run,
        first_orbit=source.first_orbit,
        url=source.url,
        rows={tree: sizes[tree][-1][0] for tree in source.tables},
    )
