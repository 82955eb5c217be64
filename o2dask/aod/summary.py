"""What an AOD holds, counted without reading a column: for ``o2dask aod info`` and for reports."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

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
    trees = sorted({tree for dataframe in dataframes for tree in dataframe.tables})
    holding = {tree: [d for d in dataframes if tree in d.tables] for tree in trees}
    return AodSummary(
        dataframes=tuple(
            DataFrameSummary(
                number=d.number,
                run=d.run,
                first_orbit=d.first_orbit,
                url=d.url,
                rows={tree: d.n_rows(tree) for tree in d.tables},
            )
            for d in dataframes
        ),
        tables=tuple(
            TableSummary(
                tree=tree,
                n_rows=sum(d.n_rows(tree) for d in holding[tree]),
                n_bytes=sum(d.n_bytes(tree) for d in holding[tree]),
                n_dataframes=len(holding[tree]),
                is_in_model=tree in tables(),
            )
            for tree in trees
        ),
        metadata=dataframes[0].metadata,
        parents={d.number: d.parent for d in dataframes if d.parent},
    )
