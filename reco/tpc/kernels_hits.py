"""Moving hits of tracks where they are: shifting them in z, collecting those in the fit, and the drift they span."""

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_jit import body, launcher

__all__ = [
    "collect_hits",
    "collect_piece",
    "drift_of_row",
    "drift_of_rows",
    "shift_hits",
    "shift_track",
]


@body
def shift_track(i, first, shift, hit_sector, hit_z):
    """Move the hits of track `i` by shift[i] [cm] towards growing z on the A side, the other way on the C side."""
    for k in range(first[i], first[i + 1]):
        if hit_sector[k] < 18:
            hit_z[k] += shift[i]
        else:
            hit_z[k] -= shift[i]


@launcher
def shift_hits(first, shift, hit_sector, hit_z):
    """Run `shift_track` on every track: first (n + 1,) int32, shift (n,) float32, hit_sector, hit_z (m,)."""
    for i in prange(shift.shape[0]):
        shift_track(np.int64(i), first, shift, hit_sector, hit_z)


@body
def collect_piece(p, pieces, first, out_first, hits, out):
    """Copy the hits of track pieces[p] that are in its fit (path above 0) to out, from out_first[p] on.

    hits, out : cluster (m,) int32, path float32 [cm], row, sector uint8, z float32 [cm].
    """
    cluster, path, row, sector, z = hits
    out_cluster, out_path, out_row, out_sector, out_z = out
    track = pieces[p]
    at = out_first[p]
    for k in range(first[track], first[track + 1]):
        if path[k] > np.float32(0.0):
            out_cluster[at] = cluster[k]
            out_path[at] = path[k]
            out_row[at] = row[k]
            out_sector[at] = sector[k]
            out_z[at] = z[k]
            at += 1


@launcher
def collect_hits(pieces, first, out_first, hits, out):
    """Run `collect_piece` on every piece."""
    for p in prange(pieces.shape[0]):
        collect_piece(np.int64(p), pieces, first, out_first, hits, out)


@body
def drift_of_row(key, z, order, row_start, span):
    """Write the least and largest z towards the own side [cm] of sector row `key` to span (5472, 2) float32."""
    is_sorted = order.shape[0] == 0
    least, largest = np.float32(np.inf), np.float32(-np.inf)
    side = np.float32(1.0) if key < 18 * 152 else np.float32(-1.0)
    for j in range(row_start[key], row_start[key + 1]):
        i = j if is_sorted else np.int64(order[j])
        w = side * z[i]
        least, largest = min(least, w), max(largest, w)
    span[key, 0] = least
    span[key, 1] = largest


@launcher
def drift_of_rows(z, order, row_start, span):
    """Run `drift_of_row` on every sector row."""
    for key in prange(span.shape[0]):
        drift_of_row(np.int64(key), z, order, row_start, span)
