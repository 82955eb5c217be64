"""Row loops of the cluster codec: one work item is one pad row of one sector, whose clusters are contiguous.

Knows arrays and scalars only. Statuses, not exceptions: `ROW_OK` or what is wrong with the row.
"""

import numpy as np
from numba import njit, prange

__all__ = [
    "ROW_OK",
    "ROW_TIME_RANGE",
    "ROW_UNSORTED",
    "charge_differences",
    "charge_maxima",
    "count_rows",
    "difference_rows",
    "integrate_rows",
]

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


def _predicted_maximum(q_tot, sigma_pad, sigma_time, pad, time, share):
    """Return the largest charge of a digit that widths and position make likely; integers only, the same everywhere.

    share (256, 64): part of the charge in the central cell [2^-15] by width [1/32] and position [1/64], see `codec`.
    """
    in_pad = (np.int64(q_tot) * share[sigma_pad, pad & 63]) >> 15
    maximum = (in_pad * share[sigma_time, time & 63] + (1 << 14)) >> 15
    return min(maximum, 1023)


predicted_maximum = njit(inline="always")(_predicted_maximum)


@njit(cache=True, nogil=True, parallel=True)
def charge_differences(q_max, q_tot, sigma_pad, sigma_time, pad, time, share, difference):
    """Write q_max less its prediction, modulo 2^16 and zigzag, to difference (n,) uint16."""
    for i in prange(q_max.shape[0]):
        predicted = predicted_maximum(q_tot[i], sigma_pad[i], sigma_time[i], pad[i], time[i], share)
        wrapped = (np.int64(q_max[i]) - predicted) & 0xFFFF
        difference[i] = 2 * wrapped if wrapped < 0x8000 else 2 * (0xFFFF - wrapped) + 1


@njit(cache=True, nogil=True, parallel=True)
def charge_maxima(difference, q_tot, sigma_pad, sigma_time, pad, time, share, q_max):
    """Undo `charge_differences`."""
    for i in prange(q_max.shape[0]):
        zigzag = np.int64(difference[i])  # numba makes floats of mixed signs
        wrapped = zigzag >> 1 if zigzag & 1 == 0 else 0xFFFF - (zigzag >> 1)
        predicted = predicted_maximum(q_tot[i], sigma_pad[i], sigma_time[i], pad[i], time[i], share)
        q_max[i] = (wrapped + predicted) & 0xFFFF
