"""The walk: a Kalman filter over pad rows that uses the clusters it has and looks for those it has not.

One body serves the search inwards, the search outwards and the extension of tracks.
"""

import math

import numpy as np

from o2dask.reco.tpc.kernels_grid import nearest
from o2dask.reco.tpc.kernels_jit import body, inlined
from o2dask.reco.tpc.kernels_plane import advance_planes, load_planes, rotate_planes, store_planes, update_planes
from o2dask.reco.tpc.kernels_update import cluster_errors

__all__ = ["COS_SECTOR", "SIN_SECTOR", "load_cov", "neighbour", "reset_cov", "store_cov", "walk"]

COS_SECTOR, SIN_SECTOR = np.float32(math.cos(math.radians(20.0))), np.float32(math.sin(math.radians(20.0)))
_ZERO = np.float32(0.0)
_BEYOND_CM = np.float32(2.0)
"""How far beyond the end plate a track with the true z is still looked for [cm]."""
N_ROWS = 152


@inlined
def load_cov(a):
    """Return the 15 elements of an array as a tuple."""
    return (a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14])


@inlined
def store_cov(a, c):
    """Write a tuple of 15 to an array."""
    a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7] = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
    a[8], a[9], a[10], a[11], a[12], a[13], a[14] = c[8], c[9], c[10], c[11], c[12], c[13], c[14]


@body
def reset_cov(a, vyz, vslope, vq2pt):
    """Write a diagonal covariance: variances of y and z, of snp and tgl, of q/pt."""
    for i in range(15):
        a[i] = _ZERO
    a[0] = vyz
    a[2] = vyz
    a[5] = vslope
    a[9] = vslope
    a[14] = vq2pt


@inlined
def neighbour(sector, direction):
    """Return the next sector of the same side, towards growing (1) or falling (-1) azimuth."""
    base = 0 if sector < 18 else 18
    return base + (sector - base + direction + 18) % 18


@body
def walk(par, cov, sector, row_first, step, hits, hit_sector, home, min_start, grid, detector, search):
    """Return (number of clusters, row of the last one, its sector) of a walk over rows.

    par : (6,) float32, x y z snp tgl q2pt; cov : (15,) float32. In: at `row_first` or near it in the frame of
        `sector`. Out: at the last cluster used, in the frame of the sector returned.
    step : 1 outwards, -1 inwards.
    hits, hit_sector : (152,) int32
        Sorted cluster of each row or -1, and its sector; those there are used, unless their chi2 is above
        search.chi2_drop, and rows without are searched.
    home : int
        The walk stays within one sector of it.
    min_start : int
        Clusters wanted on the first 12 rows, or the walk ends.
    """
    x, y, z, snp, tgl, q2pt = par[0], par[1], par[2], par[3], par[4], par[5]
    c = load_planes(cov)
    n, misses, row, n_rows = 0, 0, row_first, 0
    last_row, last_sector = -1, sector
    waiting = _ZERO
    while 0 <= row < N_ROWS:
        n_rows += 1
        if n_rows == 13 and n < min_start:
            break
        hit = np.int64(hits[row])
        if hit >= 0 and hit_sector[row] != sector:
            direction = 1 if hit_sector[row] == neighbour(sector, 1) else -1
            ok, x, y, snp, c = rotate_planes(x, y, snp, tgl, c, COS_SECTOR, np.float32(direction) * SIN_SECTOR)
            sector = np.int64(hit_sector[row])
            if not ok:
                break
        x_row = detector.row_x[row]
        ok, y, z, snp, tgl, q2pt, c, waiting = advance_planes(x, y, z, snp, tgl, q2pt, c, x_row, detector, waiting)
        if not ok:
            break
        x = x_row
        half = detector.row_half[row]
        if hit < 0 and abs(y) > half:
            direction = 1 if y > _ZERO else -1
            other = neighbour(sector, direction)
            if other != home and other != neighbour(home, 1) and other != neighbour(home, -1):
                break
            ok, x, y, snp, c = rotate_planes(x, y, snp, tgl, c, COS_SECTOR, np.float32(direction) * SIN_SECTOR)
            if not ok:
                break
            ok, y, z, snp, tgl, q2pt, c, waiting = advance_planes(x, y, z, snp, tgl, q2pt, c, x_row, detector, waiting)
            if not ok:
                break
            x = x_row
            sector = other
        if abs(snp) > search.max_snp or (detector.is_absolute > _ZERO and abs(z) > detector.drift_length + _BEYOND_CM):
            break
        vy, vz = cluster_errors(detector, row, z, snp, tgl)
        max_chi2 = search.chi2_drop
        is_new = hit < 0
        if is_new:
            ryy, rzz = c[0] + vy, c[6] + vz
            wy = min(search.n_sigma * math.sqrt(ryy), search.max_window)
            wz = min(search.n_sigma * math.sqrt(rzz), search.max_window)
            hit = nearest(grid, sector, row, half, y, z, wy, wz, ryy, rzz)
            max_chi2 = search.chi2_new
        if hit >= 0:
            dy, dz = grid.yz[hit, 0] - y, grid.yz[hit, 1] - z
            chi2, y, z, snp, tgl, q2pt, c = update_planes(y, z, snp, tgl, q2pt, c, dy, dz, vy, vz, max_chi2)
            if chi2 <= max_chi2:
                hits[row] = hit
                hit_sector[row] = sector
                n += 1
                misses = 0
                last_row, last_sector = row, sector
                par[0], par[1], par[2], par[3], par[4], par[5] = x, y, z, snp, tgl, q2pt
                store_planes(cov, c)
            elif not is_new:
                hits[row] = -1
                hit = -1
            else:
                hit = -1
        if hit < 0 and abs(y) < detector.row_live[row]:
            misses += 1
            if misses > search.max_misses:
                break
        row += step
    return n, last_row, last_sector
