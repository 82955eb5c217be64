"""What a real detector does to hits and clusters, from the same objects that undo it: distortions, unequal gain.

Knows arrays and scalars only.
"""

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_calibration import correction_at
from o2dask.reco.tpc.kernels_jit import body, launcher

__all__ = ["amplify_lane", "amplify_lanes", "distort_lane", "distort_lanes"]

_MAX_Q_MAX, _MAX_Q_TOT = np.float32(1023.0), np.float32(25 * 1024 - 1)
_ROUNDS = 3
"""Rounds of measured = true - correction(measured): each gains the slope of the map, a few per cent."""


@body
def distort_lane(lane, n_hits, hits, owners, row_x, shifts, max_z2x):
    """Move the hits of one lane to where their charge is measured.

    hits : (n_lanes, capacity, 6) float32 y, z, dy/dx, dz/dx and others; owners : (n_lanes, capacity, 2) int32, the
    second is sector * 152 + pad row. A shift along x moves a hit to the point of its track that arrives at the row.
    """
    for h in range(n_hits[lane]):
        sector, row = owners[lane, h, 1] // 152, owners[lane, h, 1] % 152
        x, tan_y, tan_z = row_x[row], hits[lane, h, 2], hits[lane, h, 3]
        y, z = hits[lane, h, 0], hits[lane, h, 1]
        for _ in range(_ROUNDS):
            dx, dy, dz = correction_at(shifts, max_z2x, sector, row, y / x, abs(z) / x)
            y = hits[lane, h, 0] + dx * tan_y - dy
            z = hits[lane, h, 1] + dx * tan_z - dz
        hits[lane, h, 0] = y
        hits[lane, h, 1] = max(z, np.float32(0.0)) if sector < 18 else min(z, np.float32(0.0))


@launcher
def distort_lanes(n_hits, hits, owners, row_x, shifts, max_z2x):
    """Run `distort_lane` on every lane."""
    for lane in prange(n_hits.shape[0]):
        distort_lane(lane, n_hits, hits, owners, row_x, shifts, max_z2x)


@body
def amplify_lane(lane, n_out, out, gain, threshold, lost, done, fates):
    """Multiply the charges of one lane's clusters by the gain of their pads; what falls below threshold is lost."""
    n = 0
    for i in range(n_out[lane]):
        bucket = np.int64(out.bucket[lane, i])
        at = min((np.int64(out.pad[lane, i]) + 32) // 64, gain.shape[2] - 1)
        factor = gain[bucket // 152, bucket % 152, at]
        q_max = min(np.float32(out.q_max[lane, i]) * factor, _MAX_Q_MAX)
        if q_max < threshold:
            fates[lane, lost] += 1
            fates[lane, done] -= 1
            continue
        out.bucket[lane, n] = out.bucket[lane, i]
        out.time[lane, n] = out.time[lane, i]
        out.pad[lane, n] = out.pad[lane, i]
        out.sigma_pad[lane, n] = out.sigma_pad[lane, i]
        out.sigma_time[lane, n] = out.sigma_time[lane, i]
        out.q_max[lane, n] = np.uint16(q_max + np.float32(0.5))
        out.q_tot[lane, n] = np.uint16(min(np.float32(out.q_tot[lane, i]) * factor, _MAX_Q_TOT) + np.float32(0.5))
        out.flags[lane, n] = out.flags[lane, i]
        out.mc[lane, n] = out.mc[lane, i]
        n += 1
    n_out[lane] = n


@launcher
def amplify_lanes(n_out, out, gain, threshold, lost, done, fates):
    """Run `amplify_lane` on every lane."""
    for lane in prange(n_out.shape[0]):
        amplify_lane(lane, n_out, out, gain, threshold, lost, done, fates)
