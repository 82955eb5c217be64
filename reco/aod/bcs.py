"""The bunch crossings of a dataframe: sorted, unique, and the rows that point to them."""

import numpy as np

from o2dask.timeframe import BC_NS, TimeframeId

__all__ = ["BcTable", "nearest_bc"]


class BcTable:
    """The bunch crossings that a timeframe's tables refer to.

    Parameters
    ----------
    timeframe : TimeframeId
        Whose crossings.
    *bcs : ndarray of int64
        Crossings since the start of the timeframe, in any order, repeated as they come.
    """

    def __init__(self, timeframe: TimeframeId, *bcs: np.ndarray) -> None:
        self.local = np.unique(np.concatenate([np.asarray(b, np.int64) for b in bcs]))
        self.run = timeframe.run
        self.global_bc = (self.local + timeframe.first_bc).astype(np.uint64)

    def __len__(self) -> int:
        return len(self.local)

    def rows(self, bcs: np.ndarray) -> np.ndarray:
        """Return the row (n,) int32 of each crossing; every one must be in the table."""
        return np.searchsorted(self.local, bcs).astype(np.int32)

    def slices(self, low_ns: np.ndarray, high_ns: np.ndarray) -> np.ndarray:
        """Return first and last row (n, 2) int32, both inclusive, of the crossings within spans of time [ns].

        Where none is within, the nearest one stands for both; an empty table gives (-1, -1).
        """
        if not len(self):
            return np.full((len(low_ns), 2), -1, np.int32)
        first = np.searchsorted(self.local, np.ceil(low_ns / BC_NS), side="left")
        last = np.searchsorted(self.local, np.floor(high_ns / BC_NS), side="right") - 1
        middle = (low_ns + high_ns) / 2 / BC_NS
        right = np.clip(np.searchsorted(self.local, middle), 0, len(self) - 1)
        left = np.maximum(right - 1, 0)
        near = np.where(np.abs(self.local[left] - middle) <= np.abs(self.local[right] - middle), left, right)
        none = first > last
        return np.stack([np.where(none, near, first), np.where(none, near, last)], axis=1).astype(np.int32)


def nearest_bc(t_ns: np.ndarray, timeframe: TimeframeId) -> np.ndarray:
    """Return the crossing (n,) int64 of the timeframe that is nearest to each time since its start [ns]."""
    return np.clip(np.rint(t_ns / BC_NS), 0, timeframe.n_bcs - 1).astype(np.int64)
