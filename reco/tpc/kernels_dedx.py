"""Energy loss of a track: truncated means of charge per path length, one track at a time."""

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_jit import body, launcher

__all__ = ["crossed_rows", "dedx_track", "dedx_tracks", "select_lowest", "truncated_mean"]

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)


@body
def select_lowest(a, begin, n, n_low):
    """Order a[begin:begin + n] so that its n_low smallest come first (Hoare's selection, median of three)."""
    lo, hi, target = begin, begin + n - 1, begin + n_low - 1
    while lo < hi:
        first, middle, last = a[lo], a[(lo + hi) // 2], a[hi]
        pivot = max(min(first, middle), min(max(first, middle), last))
        i, j = lo, hi
        while i <= j:
            while a[i] < pivot:
                i += 1
            while a[j] > pivot:
                j -= 1
            if i <= j:
                a[i], a[j] = a[j], a[i]
                i += 1
                j -= 1
        if target <= j:
            hi = j
        elif target >= i:
            lo = i
        else:
            return


@body
def truncated_mean(charge, path, drift, attachment, begin, end, fraction, work):
    """Return the mean of the lowest `fraction` of charge / path [per cm]; path 0: not used. work (m,) is scratch.

    drift : (m,) [cm]; the charge is corrected for the electrons lost on the way, `attachment` per cm, to second order.
    """
    n = 0
    for k in range(begin, end):
        if path[k] > _ZERO:
            lost = attachment * drift[k]
            work[begin + n] = np.float32(charge[k]) / path[k] * (_ONE + lost * (_ONE + _HALF * lost))
            n += 1
    if n == 0:
        return _ZERO
    n_low = max(int(np.float32(n) * fraction), 1)
    select_lowest(work, begin, n, n_low)
    total = _ZERO
    for k in range(begin, begin + n_low):
        total += work[k]
    return total / np.float32(n_low)


@body
def crossed_rows(row, path, begin, end):
    """Return the rows from first to last used cluster that have one within two rows."""
    n, last = 0, -1
    for k in range(begin, end):
        if path[k] > _ZERO:
            n += 1 if last < 0 else min(max(row[k] - last, 0), 5)
            last = np.int64(row[k])
    return n


@body
def dedx_track(i, first, row, q_tot, q_max, path, drift, attachment, fraction, work, dedx, crossed):
    """Write dedx (n, 2) float32 of q_tot and q_max, and crossed (n,) int32 of track i."""
    begin, end = first[i], first[i + 1]
    dedx[i, 0] = truncated_mean(q_tot, path, drift, attachment, begin, end, fraction, work)
    dedx[i, 1] = truncated_mean(q_max, path, drift, attachment, begin, end, fraction, work)
    crossed[i] = crossed_rows(row, path, begin, end)


@launcher
def dedx_tracks(first, row, q_tot, q_max, path, drift, attachment, fraction, work, dedx, crossed):
    """Run `dedx_track` on every track; clusters of a track are contiguous, work (m,) float32 is scratch."""
    for i in prange(dedx.shape[0]):
        dedx_track(np.int64(i), first, row, q_tot, q_max, path, drift, attachment, fraction, work, dedx, crossed)
