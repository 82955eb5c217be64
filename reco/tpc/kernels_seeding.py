"""Seeds: three clusters a few rows apart that lie on a helix, with clusters on most rows between them."""

import math

import numpy as np

from o2dask.reco.tpc.kernels_grid import nearest, row_offset
from o2dask.reco.tpc.kernels_helix import B2C
from o2dask.reco.tpc.kernels_jit import body
from o2dask.reco.tpc.kernels_update import cluster_errors

__all__ = ["between", "find_seed", "seed_state"]

_ZERO, _ONE, _TWO, _HALF = np.float32(0.0), np.float32(1.0), np.float32(2.0), np.float32(0.5)
_SQRT6 = np.float32(math.sqrt(6.0))


@body
def between(grid, detector, search, sector, row_a, rows, ya, yb, yc, za, zb, zc):
    """Return how many of the rows between three clusters have an unused cluster near the parabola, and a distance."""
    xa, xb, xc = detector.row_x[row_a], detector.row_x[row_a - rows], detector.row_x[row_a - 2 * rows]
    ab, bc, ac = _ONE / (xa - xb), _ONE / (xb - xc), _ONE / (xa - xc)
    sy, sz = (ya - yb) * ab, (za - zb) * ab
    cy, cz = (sy - (yb - yc) * bc) * ac, (sz - (zb - zc) * bc) * ac
    snp = sy / math.sqrt(_ONE + sy * sy)
    tgl = sz / math.sqrt(_ONE + sy * sy)
    found = 0
    distance = _ZERO
    for k in range(1, 2 * rows):
        if k == rows:
            continue
        row = row_a - k
        x = detector.row_x[row]
        y = ya + (x - xa) * (sy + (x - xb) * cy)
        z = za + (x - xa) * (sz + (x - xb) * cz)
        vy, vz = cluster_errors(detector, row, z, snp, tgl)
        wy, wz = search.n_sigma * math.sqrt(vy * _TWO), search.n_sigma * math.sqrt(vz * _TWO)
        hit = nearest(grid, sector, row, detector.row_half[row], y, z, wy, wz, vy, vz)
        if hit >= 0:
            found += 1
            dy, dz = grid.yz[hit, 0] - y, grid.yz[hit, 1] - z
            distance += dy * dy / vy + dz * dz / vz
    return found, distance


@body
def find_seed(grid, detector, search, seeding, sector, row, a, best):
    """Write (yb, zb, yc, zc, curvature or NaN) of the best partner clusters of cluster `a` to best (5,); return if any.

    The best has clusters on most rows between, then the least distance to the parabola.
    """
    gap = np.int64(seeding.gap)
    row_b, row_c = row - gap, row - 2 * gap
    xa, xb, xc = detector.row_x[row], detector.row_x[row_b], detector.row_x[row_c]
    half_b, half_c = detector.row_half[row_b], detector.row_half[row_c]
    ya, za = grid.yz[a, 0], grid.yz[a, 1]
    side = _ONE if sector < 18 else -_ONE
    dx = xa - xb
    radial = ya / xa
    # a primary's direction differs from the radial one by half the turn since the beam line
    bend = min(_HALF * seeding.max_curvature * xa, np.float32(0.9))
    spread = bend / math.sqrt(_ONE - bend * bend) * (_ONE + radial * radial) + np.float32(0.1)
    y_lo, y_hi = ya - (radial + spread) * dx, ya - (radial - spread) * dx
    w = za * side
    w_lo, w_hi = w - seeding.slope_out * dx, w + seeding.slope_back * dx
    ny, nz = np.int64(grid.row_ny[row_b]), np.int64(grid.nz)
    iy0 = min(max(int((y_lo + half_b) * grid.inv_dy), 0), ny - 1)
    iy1 = min(max(int((y_hi + half_b) * grid.inv_dy), 0), ny - 1)
    iz0 = min(max(int((w_lo - grid.w_min) * grid.inv_dz), 0), nz - 1)
    iz1 = min(max(int((w_hi - grid.w_min) * grid.inv_dz), 0), nz - 1)
    base = row_offset(grid, sector, row_b)
    best_found = 2 * gap - 4  # one may be missing for gaps of 3
    best_distance = np.float32(np.inf)
    is_found = False
    curv_max = seeding.max_curvature
    for iz in range(iz0, iz1 + 1):
        for b in range(grid.cell_start[base + iz * ny + iy0], grid.cell_start[base + iz * ny + iy1 + 1]):
            if grid.used[b] > grid.turn:
                continue
            yb, zb = grid.yz[b, 0], grid.yz[b, 1]
            wb = zb * side
            if yb < y_lo or yb > y_hi or wb < w_lo or wb > w_hi:
                continue
            sy, sz = (ya - yb) / dx, (za - zb) / dx
            t1 = _ONE + sy * sy
            cos = _ONE / math.sqrt(t1)
            second = _HALF * t1 / cos * (xa - xc) * (xb - xc)  # d2y/dx2 = curvature (1 + y'2)^(3/2)
            vy, vz = cluster_errors(detector, row_b, zb, sy * cos, sz * cos)
            wy = search.n_sigma * math.sqrt(vy) * np.float32(0.8) * _SQRT6
            wz = search.n_sigma * math.sqrt(vz) * np.float32(0.8) * _SQRT6
            yc = yb - sy * (xb - xc)
            zc = zb - sz * (xb - xc)
            if seeding.is_vertex > _ZERO:
                yc += _TWO * (sy - radial) * cos / ((_ONE + radial * radial) * xa) * second
            else:
                wy += curv_max * second
            c = nearest(grid, sector, row_c, half_c, yc, zc, wy, wz, vy, vz)
            if c < 0:
                continue
            yc, zc = grid.yz[c, 0], grid.yz[c, 1]
            found, distance = between(grid, detector, search, sector, row, gap, ya, yb, yc, za, zb, zc)
            if found > best_found or (found == best_found and distance < best_distance):
                best_found, best_distance, is_found = found, distance, True
                best[0], best[1], best[2], best[3] = yb, zb, yc, zc
    return is_found


@body
def seed_state(par, cov, detector, seeding, row, ya, za, best):
    """Write the state at the outermost cluster of a seed to par (6,), and a covariance that is positive by make.

    The slope at the middle cluster comes from the outer two; the curvature from the three, weighted with its prior:
    pointing to the beam line, or zero with seeding.sigma_q2pt.
    """
    gap = np.int64(seeding.gap)
    xa, xb, xc = detector.row_x[row], detector.row_x[row - gap], detector.row_x[row - 2 * gap]
    yb, zb, yc, zc = best[0], best[1], best[2], best[3]
    curv = -B2C * detector.field[0]
    slope, slope_z = (ya - yc) / (xa - xc), (za - zc) / (xa - xc)
    cos = _ONE / math.sqrt(_ONE + slope * slope)
    snp = slope * cos
    tgl = slope_z * cos
    vy, vz = cluster_errors(detector, row - gap, zb, snp, tgl)
    length = (xa - xb) / cos
    v_kink = np.float32(6.0) * vy * cos * cos / (length * length * length * length) / (curv * curv)
    kink = ((ya - yb) / (xa - xb) - (yb - yc) / (xb - xc)) / ((xa - xc) * _HALF) * cos * cos * cos
    q2pt = kink / curv
    if seeding.is_vertex > _ZERO:
        radial = yb / xb
        sin = (slope - radial) * cos / math.sqrt(_ONE + radial * radial)
        prior = _TWO * sin / (xb * math.sqrt(_ONE + radial * radial)) / curv
        v_prior = np.float32(0.25) + np.float32(0.04) * prior * prior
    else:
        prior = _ZERO
        v_prior = seeding.sigma_q2pt * seeding.sigma_q2pt
    weight = v_prior / (v_prior + v_kink)
    q2pt = prior + weight * (q2pt - prior)
    v_q = np.float32(4.0) * weight * v_kink + np.float32(0.01)
    v_slope = np.float32(4.0) * _HALF * vy * cos * cos / (length * length) + np.float32(1e-5)
    v_tgl = np.float32(4.0) * _HALF * vz * cos * cos / (length * length) + np.float32(1e-5)
    turn = curv * length
    par[0], par[1], par[2] = xa, ya, za
    par[3] = min(max(snp + q2pt * turn * cos, np.float32(-0.95)), np.float32(0.95))
    par[4], par[5] = tgl, q2pt
    for i in range(15):
        cov[i] = _ZERO
    cov[0] = np.float32(4.0) * vy
    cov[2] = np.float32(4.0) * vz
    cov[5] = v_slope + turn * turn * v_q
    cov[9] = v_tgl
    cov[12] = turn * v_q
    cov[14] = v_q
