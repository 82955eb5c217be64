"""Binning policies: which category an event or track belongs to, by one or more columns and their edges.

Knows arrays and getters. As ColumnBinningPolicy and FlexibleBinningPolicy of AliceO2's
Framework/Core/include/Framework/BinningPolicy.h: bins are half-open [low, high), what lies outside any axis gets -1
unless overflows are kept. Bins are numbered from 0, the first column's fastest (O2 leaves gaps in its numbers).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from o2dask.analysis.physics.sources import column
from o2dask.errors import ConfigError

__all__ = ["ColumnBinningPolicy"]


class ColumnBinningPolicy:
    """Bins of rows by columns: ``ColumnBinningPolicy({"posZ": [-10, 0, 10], "numContrib": [0, 50, 1000]})``.

    Parameters
    ----------
    edges : mapping of str to sequence of float
        Growing bin edges by getter, the unit that of the column.
    functions : mapping of str to callable, optional
        Where a name is no getter: a function of the table that gives its values (O2's FlexibleBinningPolicy).
    ignore_overflows : bool
        True: rows outside the edges get -1. False: each axis has one more bin below and one above.
    """

    def __init__(
        self,
        edges: Mapping[str, Sequence[float]],
        functions: Mapping[str, Callable[[Any], Any]] | None = None,
        *,
        ignore_overflows: bool = True,
    ) -> None:
        self.edges = {name: np.asarray(values, np.float64) for name, values in edges.items()}
        self.functions = dict(functions or {})
        self.ignore_overflows = ignore_overflows
        if not self.edges:
            raise ConfigError("ColumnBinningPolicy: want edges of at least one column, got none")
        for name, values in self.edges.items():
            if values.ndim != 1 or len(values) < 2 or not (np.diff(values) > 0).all():
                raise ConfigError(f"edges of {name!r}: want two or more growing numbers, got {values.tolist()}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of bins per column, overflows included where they are kept."""
        extra = -1 if self.ignore_overflows else 1
        return tuple(len(values) + extra for values in self.edges.values())

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return int(np.prod(self.shape))

    def bins(self, table: Any) -> np.ndarray:
        """Return the bin of each row of a table (or mapping of arrays), (n,) int64; -1 outside, NaN always outside."""
        values = [self.functions[name](table) if name in self.functions else column(table, name) for name in self.edges]
        return self.bins_of(*values)

    def bins_of(self, *columns: Any) -> np.ndarray:
        """Return the bin for each value of the columns, in the order of the edges."""
        if len(columns) != len(self.edges):
            raise ConfigError(f"bins_of: want values of {', '.join(self.edges)}, got {len(columns)} columns")
        total = np.zeros(len(columns[0]), np.int64)
        inside = np.ones(len(columns[0]), bool)
        stride = 1
        for values, edges, n in zip(columns, self.edges.values(), self.shape, strict=True):
            values = np.asarray(values, np.float64)
            place = np.searchsorted(edges, values, side="right") - (1 if self.ignore_overflows else 0)
            inside &= (place >= 0) & (place < n) & ~np.isnan(values)
            total += place * stride
            stride *= n
        return np.where(inside, total, -1)

    def __repr__(self) -> str:
        axes = ", ".join(f"{name}: {n}" for name, n in zip(self.edges, self.shape, strict=True))
        return f"ColumnBinningPolicy({axes} bins)"
