"""Energy loss of a track: truncated means of charge per path length, one track at a time."""

import math

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_jit import body, launcher

__all__ = ["charge_scale", "crossed_rows", "dedx_track", "dedx_tracks", "select_lowest", "truncated_mean"]

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
def charge_scale(path, drift, attachment, power):
    """Return what turns a charge into that of 1 cm [1/cm]; 0 where the path is 0: not used.

    The charge is corrected for the electrons lost on the way, `attachment` per cm of `drift` [cm], to second order. A
    typical loss grows a little faster than the path, as path^(1 + power): see `TpcTrackingParams.dedx_power`.
    """
    if path <= _ZERO:
        return _ZERO
    lost = attachment * drift
    return (_ONE + lost * (_ONE + _HALF * lost)) / path * np.float32(math.exp(-power * np.float32(math.log(path))))


@body
def truncated_mean(charge, scale, begin, end, fraction, work):
    """Return the mean of the lowest `fraction` of charge * scale; scale 0: not used. work (m,) is scratch."""
    n = 0
    for k in range(begin, end):
        if scale[k] > _ZERO:
            work[begin + n] = np.float32(charge[k]) * scale[k]
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
def dedx_track(i, first, row, q_tot, q_max, path, drift, settings, work, dedx, crossed):
    """Write dedx (n, 2) float32 of q_tot and q_max, and crossed (n,) int32 of track i; see `dedx_tracks`."""
    begin, end = first[i], first[i + 1]
    scale, values = work[0], work[1]
    for k in range(begin, end):
        scale[k] = charge_scale(path[k], drift[k], settings[0], settings[1])
    dedx[i, 0] = truncated_mean(q_tot, scale, begin, end, settings[2], values)
    dedx[i, 1] = truncated_mean(q_max, scale, begin, end, settings[2], values)
    crossed[i] = crossed_rows(row, path, begin, end)


@launcher
def dedx_tracks(first, row, q_tot, q_max, path, drift, settings, work, dedx, crossed):
    """Run `dedx_track` on every track; clusters of a track are contiguous.

    path, drift : (m,) float32 [cm]; path 0: not used. settings : (3,) float32, electrons lost per cm of drift, power of
    the path, part of the clusters in the mean. work : (2, m) float32, scratch.
    """
    for i in prange(dedx.shape[0]):
        dedx_track(np.int64(i), first, row, q_tot, q_max, path, drift, settings, work, dedx, crossed)
