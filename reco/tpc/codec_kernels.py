"""Row loops of the cluster codec: one work item is one pad row of one sector, whose clusters are contiguous.

Knows arrays and scalars only. Statuses, not exceptions: `ROW_OK` or what is wrong with the row.
"""

from numba import njit, prange

__all__ = ["ROW_OK", "ROW_TIME_RANGE", "ROW_UNSORTED", "count_rows", "difference_rows", "integrate_rows"]

N_PAD_ROWS = 152
N_TIME_BITS = 24
"""Packed times are below 2^24 (DataFormats/Detectors/TPC ClusterNative.h)."""
ROW_OK, ROW_UNSORTED, ROW_TIME_RANGE = 0, 1, 2


@njit(cache=True, nogil=True)
def count_rows(sector, pad_row, counts):
    """Add up the clusters of each (sector, pad row) in counts (n_sectors * 152,); return the first row out of order.

    -1 if all are in order. A sector or row out of range counts as out of order.
    """
    last = 0
    for i in range(sector.shape[0]):
        key = sector[i] * N_PAD_ROWS + pad_row[i]
        if key < last or key >= counts.shape[0] or pad_row[i] >= N_PAD_ROWS:
            return i
        counts[key] += 1
        last = key
    return -1


def _difference_row(time, first, last, difference):
    """Write time differences of the clusters first..last-1; the first one's is its time."""
    before = 0
    for i in range(first, last):
        now = time[i]
        if now >> N_TIME_BITS:
            return ROW_TIME_RANGE
        if now < before:
            return ROW_UNSORTED
        difference[i] = now - before
        before = now
    return ROW_OK


def _integrate_row(difference, first, last, time):
    """Undo `_difference_row`."""
    now = 0
    for i in range(first, last):
        now += difference[i]
        if now >> N_TIME_BITS:
            return ROW_TIME_RANGE
        time[i] = now
    return ROW_OK


difference_row = njit(inline="always")(_difference_row)
integrate_row = njit(inline="always")(_integrate_row)


@njit(cache=True, nogil=True, parallel=True)
def difference_rows(time, offsets, difference, status):
    """Apply `difference_row` to each row k, clusters offsets[k]..offsets[k + 1] - 1; one status per row."""
    for k in prange(offsets.shape[0] - 1):
        status[k] = difference_row(time, offsets[k], offsets[k + 1], difference)


@njit(cache=True, nogil=True, parallel=True)
def integrate_rows(difference, offsets, time, status):
    """Apply `integrate_row` to each row; one status per row."""
    for k in prange(offsets.shape[0] - 1):
        status[k] = integrate_row(difference, offsets[k], offsets[k + 1], time)
