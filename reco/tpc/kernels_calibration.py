"""Calibration of clusters: charge over gain, and space points moved to where their charge came from.

Knows arrays and scalars only.
"""

import math

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_jit import body, launcher

__all__ = ["correct_hits", "correct_track", "correction_at", "equalise", "equalise_all"]

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_TAN_HALF_SECTOR = np.float32(math.tan(math.pi / 18.0))
_LAST_ROW = np.float32(151.0)
_SECTOR = np.float32(math.pi / 9.0)
_MAX_SNP = np.float32(0.95)
_CURVATURE = np.float32(-0.000299792458)


@body
def _between(value, last):
    """Return the node below a position on a grid of nodes 0 to `last`, and how far it is beyond it (0 to 1)."""
    value = min(max(value, _ZERO), last)
    i = min(int(value), int(last) - 1)
    return i, value - np.float32(i)


@body
def correction_at(shifts, max_z2x, sector, row, y2x, z2x):
    """Return dx, dy, dz [cm] at a pad row, y/x and |z|/x: linear between the nodes, that of the last one beyond.

    shifts : (36, n_row, n_y, n_z, 3) float32, see `o2dask.reco.calibration.objects.CorrectionMap`.
    """
    i, u = _between(np.float32(row) / _LAST_ROW * np.float32(shifts.shape[1] - 1), np.float32(shifts.shape[1] - 1))
    at_y = (y2x + _TAN_HALF_SECTOR) / (_TAN_HALF_SECTOR + _TAN_HALF_SECTOR) * np.float32(shifts.shape[2] - 1)
    j, v = _between(at_y, np.float32(shifts.shape[2] - 1))
    k, w = _between(z2x / max_z2x * np.float32(shifts.shape[3] - 1), np.float32(shifts.shape[3] - 1))
    dx, dy, dz = _ZERO, _ZERO, _ZERO
    for a in range(2):
        part_row = u if a else _ONE - u
        for b in range(2):
            part_y = part_row * (v if b else _ONE - v)
            for c in range(2):
                part = part_y * (w if c else _ONE - w)
                dx += part * shifts[sector, i + a, j + b, k + c, 0]
                dy += part * shifts[sector, i + a, j + b, k + c, 1]
                dz += part * shifts[sector, i + a, j + b, k + c, 2]
    return dx, dy, dz


@body
def correct_track(i, first, row, sector, par, own_sector, bz, row_x, shifts, max_z2x, y, z):
    """Move the hits of track i to where their charge came from, and along the track back to their pad row.

    first : (n + 1,) int32. row, sector : (m,) uint8. y, z : (m,) float32 [cm], changed; z is the true one.
    par : (n, 6) float32 x y z snp tgl q2pt in the frame of own_sector (n,) uint8; bz float32 [kG].
    """
    k = _CURVATURE * bz * par[i, 5]
    snp, tgl = par[i, 3], par[i, 4]
    # the centre of the track's circle, times its curvature: no number is large where the track is straight
    x_centre = k * par[i, 0] - snp
    y_centre = k * par[i, 1] + math.sqrt(max(_ONE - snp * snp, _ZERO))
    for h in range(first[i], first[i + 1]):
        turn = _SECTOR * np.float32((np.int64(sector[h]) - np.int64(own_sector[i])) % 18)
        x = row_x[row[h]]
        there = k * x - x_centre * math.cos(turn) - y_centre * math.sin(turn)
        there = min(max(there, -_MAX_SNP), _MAX_SNP)
        csp = math.sqrt(_ONE - there * there)
        dx, dy, dz = correction_at(shifts, max_z2x, sector[h], row[h], y[h] / x, abs(z[h]) / x)
        y[h] += dy - there / csp * dx
        z[h] += dz - tgl / csp * dx


@launcher
def correct_hits(first, row, sector, par, own_sector, bz, row_x, shifts, max_z2x, y, z):
    """Run `correct_track` on every track."""
    for i in prange(par.shape[0]):
        correct_track(np.int64(i), first, row, sector, par, own_sector, bz, row_x, shifts, max_z2x, y, z)


@body
def equalise(i, sector, row, pad, q_tot, q_max, gain, out_tot, out_max):
    """Write the charges of cluster i over the gain of its pad; pad : (n,) uint16 [1/64], gain : (36, 152, 138)."""
    at = min((np.int64(pad[i]) + 32) // 64, gain.shape[2] - 1)
    inverse = _ONE / gain[sector[i], row[i], at]
    out_tot[i] = np.float32(q_tot[i]) * inverse
    out_max[i] = np.float32(q_max[i]) * inverse


@launcher
def equalise_all(sector, row, pad, q_tot, q_max, gain, out_tot, out_max):
    """Run `equalise` on every cluster."""
    for i in prange(out_tot.shape[0]):
        equalise(np.int64(i), sector, row, pad, q_tot, q_max, gain, out_tot, out_max)
