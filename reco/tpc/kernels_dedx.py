"""Energy loss of a track: truncated means of charge per path length, one track at a time."""

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_jit import body, launcher

__all__ = ["crossed_rows", "dedx_tracks", "shell_sort", "truncated_mean"]

_ZERO = np.float32(0.0)


@body
def shell_sort(a, n):
    """Sort the first n of a; n is at most a few hundred."""
    gap = 1
    while gap < n // 3:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, n):
            value = a[i]
            j = i
            while j >= gap and a[j - gap] > value:
                a[j] = a[j - gap]
                j -= gap
            a[j] = value
        gap //= 3


@body
def truncated_mean(charge, path, begin, end, fraction, work):
    """Return the mean of the lowest `fraction` of charge / path [per cm]; path 0: not used. work (m,) is scratch."""
    n = 0
    for k in range(begin, end):
        if path[k] > _ZERO:
            work[begin + n] = np.float32(charge[k]) / path[k]
            n += 1
    shell_sort(work[begin:end], n)
    n_low = max(int(np.float32(n) * fraction), 1)
    total = _ZERO
    for k in range(begin, begin + min(n_low, n)):
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
def dedx_track(i, first, row, q_tot, q_max, path, fraction, work, dedx, crossed):
    """Write dedx (n, 2) float32 of q_tot and q_max, and crossed (n,) int32 of track i."""
    begin, end = first[i], first[i + 1]
    dedx[i, 0] = truncated_mean(q_tot, path, begin, end, fraction, work)
    dedx[i, 1] = truncated_mean(q_max, path, begin, end, fraction, work)
    crossed[i] = crossed_rows(row, path, begin, end)


@launcher
def dedx_tracks(first, row, q_tot, q_max, path, fraction, work, dedx, crossed):
    """Run `dedx_track` on every track; clusters of a track are contiguous, work (m,) float32 is scratch."""
    for i in prange(dedx.shape[0]):
        dedx_track(i, first, row, q_tot, q_max, path, fraction, work, dedx, crossed)
