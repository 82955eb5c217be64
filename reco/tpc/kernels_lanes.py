"""The final fit of several tracks side by side on a CPU: `kernels_fit.fit_track`, a track per SIMD lane.

A fit waits for square roots and divisions and has too few registers for its fifteen covariances; with a track per lane
eight pay for one. Formulas are those of the other kernels. What a compiler vectorises decides how this is written: one
flat array, row i of lane k at i * LANES + k, loops over lanes that call branch-free bodies, ternaries instead of min
and max. What is rare (another sector, gas, the ends of a track) is done lane by lane, and a track that the plain way
does not fit is handed to `fit_track`. A lane does not see the others: a fit does not depend on who is beside it.
"""

import math

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_field import along_and_across, monomials, quadratic, terms_in_sector
from o2dask.reco.tpc.kernels_fit import FAR_SNP, MIN_KEPT, SETTLED, fit_track, is_sound, wide_start
from o2dask.reco.tpc.kernels_helix import (
    B2C,
    GAS_STEP_CM,
    MIN_COS2,
    carried,
    chord_of,
    derivatives,
    gas_noise,
    rotate,
    steps_to,
    turned_across,
)
from o2dask.reco.tpc.kernels_jit import body, inlined, launcher
from o2dask.reco.tpc.kernels_types import GAS_MASS2
from o2dask.reco.tpc.kernels_update import MAX_SNP, reduced, squared_tangents, weights

__all__ = ["LANES", "LANE_INTEGERS", "LANE_ROWS", "fit_in_lanes", "fit_lanes"]

LANES = 8
"""Tracks side by side: float32 in a register of 256 bits."""
_X, _Y, _Z, _SNP, _TGL, _Q, _D, _C = 0, 1, 2, 3, 4, 5, 6, 11
"""Rows of the state: x, the line it is taken about (5), deviations from that (5), their covariance (15)."""
_WAIT, _STEP, _STEPS, _N, _CHI2, _FAIL, _ON, _OK = 26, 27, 28, 29, 30, 31, 32, 33
"""Path without gas, length and number of steps, clusters used, chi2; 1: not to be fitted, has a cluster, uses it."""
_HIT_Y, _HIT_Z, _ERROR, _WIDTH, _HEIGHT, _PATH = 34, 35, 36, 42, 50, 51
"""Of this row: cluster, terms of its errors (6), of widths (6), its widths (2), pad length, path over the pad."""
_KEPT = 52
"""State at the last cluster used (21): x y z snp tgl q2pt and covariance."""
_FIELD = 73
"""Terms of the field in the lane's sector (30)."""
LANE_ROWS = 103
_BEGIN, _END, _INNER, _OUTER, _SECTOR, _TRACK = 0, 1, 2, 3, 4, 5
LANE_INTEGERS = 6
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_DEG = np.float32(math.pi / 180.0)


@inlined
def _five(s, at, k):
    """Return five rows of lane k from row `at` on."""
    i = at * LANES + k
    return s[i], s[i + LANES], s[i + 2 * LANES], s[i + 3 * LANES], s[i + 4 * LANES]


@inlined
def _store_five(s, at, k, v):
    i = at * LANES + k
    s[i], s[i + LANES], s[i + 2 * LANES], s[i + 3 * LANES], s[i + 4 * LANES] = v


@inlined
def _cov(s, at, k):
    """Return the covariance of lane k from row `at` on."""
    return (*_five(s, at, k), *_five(s, at + 5, k), *_five(s, at + 10, k))


@inlined
def _store_cov(s, at, k, c):
    _store_five(s, at, k, (c[0], c[1], c[2], c[3], c[4]))
    _store_five(s, at + 5, k, (c[5], c[6], c[7], c[8], c[9]))
    _store_five(s, at + 10, k, (c[10], c[11], c[12], c[13], c[14]))


@inlined
def _keep(s, at, k, new, is_new, is_old):
    """Write five numbers to rows of lane k where is_new is 1; arithmetic, as masked stores are slow."""
    a, b, c, d, e = _five(s, at, k)
    f, g, h, i, j = new
    a, b, c = f * is_new + a * is_old, g * is_new + b * is_old, h * is_new + c * is_old
    _store_five(s, at, k, (a, b, c, i * is_new + d * is_old, j * is_new + e * is_old))


@inlined
def _begin(k, track, first, hit_sector, field, par, s, ints):
    """Put `track` (-1: none) into lane k."""
    for i in range(LANE_ROWS):
        s[i * LANES + k] = _ZERO
    ints[_TRACK * LANES + k] = track
    begin, end = (0, 0) if track < 0 else (first[track], first[track + 1])
    ints[_BEGIN * LANES + k], ints[_END * LANES + k] = begin, end
    ints[_INNER * LANES + k], ints[_OUTER * LANES + k] = -1, -1
    if end > begin:
        ints[_SECTOR * LANES + k] = np.int32(hit_sector[end - 1])
        terms_in_sector(field, np.int64(hit_sector[end - 1]), s, _FIELD * LANES + k, LANES)
        for i in range(6):
            s[(_X + i) * LANES + k] = par[track, i]
        vyz, vslope, vq2pt = wide_start(par[track, 5])
        s[_C * LANES + k] = s[(_C + 2) * LANES + k] = vyz
        s[(_C + 5) * LANES + k] = s[(_C + 9) * LANES + k] = vslope
        s[(_C + 14) * LANES + k] = vq2pt
    else:
        # a lane without a track computes too: keep that finite
        for i in (0, 2, 5, 9, 14):
            s[(_C + i) * LANES + k] = _ONE


@inlined
def _turn(k, other, s, ints):
    """Turn lane k into the frame of sector `other`; deviations are made part of the line where the track is known."""
    x, y, z, snp, tgl = (
        s[_X * LANES + k],
        s[_Y * LANES + k],
        s[_Z * LANES + k],
        s[_SNP * LANES + k],
        s[_TGL * LANES + k],
    )
    d0, d1, d2, d3, d4 = _five(s, _D, k)
    if s[_N * LANES + k] >= np.float32(SETTLED):
        y, z, snp, tgl = y + d0, z + d1, snp + d2, tgl + d3
        s[_Q * LANES + k] += d4
        d0, d1, d2, d3, d4 = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
    turn = _DEG * np.float32(20 * ((other - ints[_SECTOR * LANES + k]) % 18))
    cos, sin = math.cos(turn), math.sin(turn)
    csp = math.sqrt(max(_ONE - snp * snp, np.float32(1e-6)))
    csp_new = csp * cos + snp * sin
    ok, x, y, snp, c = rotate(x, y, snp, tgl, _cov(s, _C, k), cos, sin)
    if not ok:
        s[_FAIL * LANES + k] = _ONE
        return
    s[_X * LANES + k], s[_Y * LANES + k], s[_Z * LANES + k] = x, y, z
    s[_SNP * LANES + k], s[_TGL * LANES + k] = snp, tgl
    # as in the covariance: at fixed x in the new frame
    _store_five(s, _D, k, (d0 * csp / csp_new, d1 - d0 * sin * tgl / csp_new, d2 * csp_new / csp, d3, d4))
    _store_cov(s, _C, k, c)


@inlined
def _fetch(k, step, hits, detector, s, ints):
    """Bring the next cluster of lane k; return the steps on the way to its row."""
    hit_y, hit_z, hit_row, hit_sector, hit_width = hits
    h = ints[_END * LANES + k] - 1 - step
    if h < ints[_BEGIN * LANES + k] or s[_FAIL * LANES + k] > _ZERO:
        s[_ON * LANES + k], s[_STEP * LANES + k] = _ZERO, _ZERO
        return 0
    row, other = np.int64(hit_row[h]), np.int64(hit_sector[h])
    if other % 18 != ints[_SECTOR * LANES + k] % 18:
        _turn(k, other, s, ints)
        terms_in_sector(detector.field, other, s, _FIELD * LANES + k, LANES)
    ints[_SECTOR * LANES + k] = np.int32(other)
    n_steps, length = steps_to(s[_X * LANES + k], detector.row_x[row])
    s[_ON * LANES + k], s[_STEP * LANES + k], s[_STEPS * LANES + k] = _ONE, length, np.float32(n_steps)
    s[_HIT_Y * LANES + k], s[_HIT_Z * LANES + k] = hit_y[h], hit_z[h]
    for i in range(6):
        s[(_ERROR + i) * LANES + k] = detector.errors[row, i]
    width_y, width_z = hit_width[h, 0], hit_width[h, 1]
    s[(_WIDTH + 6) * LANES + k], s[(_WIDTH + 7) * LANES + k] = width_y, width_z
    if width_y > _ZERO or width_z > _ZERO:
        for i in range(6):
            s[(_WIDTH + i) * LANES + k] = detector.widths[row, i]
    s[_HEIGHT * LANES + k] = detector.row_height[row]
    return n_steps


@body
def step_lanes(at, s):
    """Move every lane with more than `at` steps to go by one."""
    for k in range(LANES):
        x, q2pt = s[_X * LANES + k], s[_Q * LANES + k]
        y, z, snp, tgl = s[_Y * LANES + k], s[_Z * LANES + k], s[_SNP * LANES + k], s[_TGL * LANES + k]
        # a lane that has arrived goes on by nothing, which changes nothing
        step = s[_STEP * LANES + k] if s[_STEPS * LANES + k] > at else _ZERO
        cos2a = _ONE - snp * snp
        is_back = cos2a < MIN_COS2
        cos2a = MIN_COS2 if is_back else cos2a
        products = monomials(x, y, z)
        bx = quadratic((*_five(s, _FIELD, k), *_five(s, _FIELD + 5, k)), products)
        by = quadratic((*_five(s, _FIELD + 10, k), *_five(s, _FIELD + 15, k)), products)
        bz = quadratic((*_five(s, _FIELD + 20, k), *_five(s, _FIELD + 25, k)), products)
        bending, across = along_and_across(bx, by, bz, math.sqrt(cos2a), snp, tgl)
        curv = -B2C * bending
        snp2 = snp + curv * step * q2pt
        cos2b = _ONE - snp2 * snp2
        is_back |= cos2b < MIN_COS2
        cos2b = MIN_COS2 if cos2b < MIN_COS2 else cos2b
        dy_dx, path, inv_csp = chord_of(snp, snp2, cos2a, cos2b, q2pt, step, curv)
        bend = curv * step
        f02, f04, f12, f13, f14 = derivatives(snp, tgl, inv_csp, step, bend)
        d0, d1, d2, d3, d4 = _five(s, _D, k)
        c = carried(_cov(s, _C, k), f02, f04, f12, f13, f14, bend)
        _store_cov(s, _C, k, c)
        s[_D * LANES + k] = d0 + f02 * d2 + f04 * d4
        s[(_D + 1) * LANES + k] = d1 + f12 * d2 + f13 * d3 + f14 * d4
        s[(_D + 2) * LANES + k] = d2 + bend * d4
        tgl2, q2pt2 = turned_across(tgl, q2pt, across, path)
        s[_X * LANES + k] = x + step
        s[_Y * LANES + k], s[_Z * LANES + k] = y + step * dy_dx, z + tgl * path
        s[_SNP * LANES + k], s[_TGL * LANES + k], s[_Q * LANES + k] = snp2, tgl2, q2pt2
        s[_WAIT * LANES + k] += path
        s[_FAIL * LANES + k] += _ONE if is_back else _ZERO


@inlined
def _gas(k, gas, s):
    """Let the gas act on lane k once it is due: `kernels_helix.gas_due`."""
    waiting = s[_WAIT * LANES + k]
    if abs(waiting) < GAS_STEP_CM or s[_FAIL * LANES + k] > _ZERO:
        return
    s[_WAIT * LANES + k] = _ZERO
    if gas[GAS_MASS2] > _ZERO:
        q2pt = s[_Q * LANES + k]
        ss, tt, qt, qq, gained = gas_noise(s[_SNP * LANES + k], s[_TGL * LANES + k], q2pt, waiting, gas)
        s[(_C + 5) * LANES + k] += ss
        s[(_C + 9) * LANES + k] += tt
        s[(_C + 13) * LANES + k] += qt
        s[(_C + 14) * LANES + k] += qq
        s[_Q * LANES + k] = q2pt * (_ONE + gained)


@body
def update_lanes(drift_length, is_absolute, merged, chi2_drop, s):
    """Update every lane with its cluster, and keep the state where it is used."""
    for k in range(LANES):
        x = s[_X * LANES + k]
        y, z, snp, tgl = s[_Y * LANES + k], s[_Z * LANES + k], s[_SNP * LANES + k], s[_TGL * LANES + k]
        q2pt = s[_Q * LANES + k]
        d0, d1, d2, d3, d4 = _five(s, _D, k)
        c = _cov(s, _C, k)
        drift = drift_length - (abs(z) if is_absolute > _ZERO else abs(tgl) * x)
        drift = drift if drift > _ZERO else _ZERO
        tan2, slope2 = squared_tangents(snp, tgl)
        i = _ERROR * LANES + k
        vy = s[i] + s[i + LANES] * drift + s[i + 2 * LANES] * tan2
        vz = s[i + 3 * LANES] + s[i + 4 * LANES] * drift + s[i + 5 * LANES] * slope2
        i = _WIDTH * LANES + k
        normal_y = s[i] + s[i + LANES] * drift + s[i + 2 * LANES] * tan2
        normal_z = s[i + 3 * LANES] + s[i + 4 * LANES] * drift + s[i + 5 * LANES] * slope2
        width_y, width_z = s[i + 6 * LANES], s[i + 7 * LANES]
        vy += width_y - normal_y if width_y > merged * normal_y else _ZERO
        vz += width_z - normal_z if width_z > merged * normal_z else _ZERO
        dy, dz = s[_HIT_Y * LANES + k] - y - d0, s[_HIT_Z * LANES + k] - z - d1
        wyy, wzy, wzz = weights(c, vy, vz)
        gy, gz = wyy * dy + wzy * dz, wzy * dy + wzz * dz
        chi2 = dy * gy + dz * gz
        is_on = (s[_ON * LANES + k] > _ZERO) & (s[_FAIL * LANES + k] <= _ZERO)
        is_used = is_on & (chi2 <= chi2_drop) & (abs(d2 + c[3] * gy + c[4] * gz) <= MAX_SNP)
        # a cluster that is not used has no weight: nothing changes (its place may be NaN)
        gy, gz, chi2 = (gy if is_used else _ZERO), (gz if is_used else _ZERO), (chi2 if is_used else _ZERO)
        wyy, wzy, wzz = (wyy if is_used else _ZERO), (wzy if is_used else _ZERO), (wzz if is_used else _ZERO)
        d0, d1, d2 = d0 + c[0] * gy + c[1] * gz, d1 + c[1] * gy + c[2] * gz, d2 + c[3] * gy + c[4] * gz
        d3, d4 = d3 + c[6] * gy + c[7] * gz, d4 + c[10] * gy + c[11] * gz
        c = reduced(c, wyy, wzy, wzz)
        _store_cov(s, _C, k, c)
        used = _ONE if is_used else _ZERO
        rest = _ONE - used
        s[_KEPT * LANES + k] = x * used + s[_KEPT * LANES + k] * rest
        _keep(s, _KEPT + 1, k, (y + d0, z + d1, snp + d2, tgl + d3, q2pt + d4), used, rest)
        _keep(s, _KEPT + 6, k, (c[0], c[1], c[2], c[3], c[4]), used, rest)
        _keep(s, _KEPT + 11, k, (c[5], c[6], c[7], c[8], c[9]), used, rest)
        _keep(s, _KEPT + 16, k, (c[10], c[11], c[12], c[13], c[14]), used, rest)
        n = s[_N * LANES + k] + used
        s[_N * LANES + k] = n
        s[_CHI2 * LANES + k] += chi2
        s[_OK * LANES + k] = used
        cos2 = _ONE - snp * snp
        cos2 = cos2 if cos2 > MIN_COS2 else MIN_COS2
        s[_PATH * LANES + k] = s[_HEIGHT * LANES + k] * math.sqrt((_ONE + tgl * tgl) / cos2) * used
        s[_FAIL * LANES + k] += _ONE if is_on & (abs(snp + d2) > MAX_SNP) else _ZERO
        # where the filter knows the track better, the line goes through what it knows
        far = _ONE if (n >= np.float32(SETTLED)) & (abs(d2) > FAR_SNP) else _ZERO
        near = _ONE - far
        _store_five(s, _Y, k, (y + d0 * far, z + d1 * far, snp + d2 * far, tgl + d3 * far, q2pt + d4 * far))
        _store_five(s, _D, k, (d0 * near, d1 * near, d2 * near, d3 * near, d4 * near))


@inlined
def _end(k, first, hits, detector, chi2_drop, fitted, s, ints):
    """Write what lane k has found, or fit its track in the other ways that `fit_track` has."""
    hit_y, hit_z, hit_row, hit_sector, hit_width = hits
    par, cov, chi2, last, path = fitted
    track = np.int64(ints[_TRACK * LANES + k])
    if track < 0:
        return
    n, length = s[_N * LANES + k], ints[_END * LANES + k] - ints[_BEGIN * LANES + k]
    c = _KEPT + 6
    yy, zz, ss = s[c * LANES + k], s[(c + 2) * LANES + k], s[(c + 5) * LANES + k]
    is_good = s[_FAIL * LANES + k] <= _ZERO and n >= MIN_KEPT * np.float32(length)
    is_good = is_good and is_sound(yy, zz, ss, s[(c + 9) * LANES + k], s[(c + 14) * LANES + k])
    if length == 0 or not is_good:
        fit_track(
            track, first, hit_y, hit_z, hit_row, hit_sector, hit_width, detector, chi2_drop, par, cov, chi2, last, path
        )
        return
    for i in range(6):
        par[track, i] = s[(_KEPT + i) * LANES + k]
    for i in range(15):
        cov[track, i] = s[(_KEPT + 6 + i) * LANES + k]
    chi2[track] = s[_CHI2 * LANES + k]
    last[track, 0], last[track, 1], last[track, 2] = int(n), ints[_INNER * LANES + k], ints[_OUTER * LANES + k]


@body
def fit_in_lanes(batch, order, first, hits, detector, chi2_drop, fitted, s, ints):
    """Fit the tracks order[batch * LANES : (batch + 1) * LANES]; see `fit_lanes`."""
    path = fitted[4]
    n_steps = 0
    for k in range(LANES):
        i = batch * LANES + k
        track = np.int64(order[i]) if i < order.shape[0] else np.int64(-1)
        _begin(k, track, first, hits[3], detector.field, fitted[0], s, ints)
        n_steps = max(n_steps, ints[_END * LANES + k] - ints[_BEGIN * LANES + k])
    for step in range(n_steps):
        most = 0
        for k in range(LANES):
            most = max(most, _fetch(k, step, hits, detector, s, ints))
        for at in range(most):
            step_lanes(np.float32(at), s)
            for k in range(LANES):
                _gas(k, detector.gas, s)
        update_lanes(detector.drift_length, detector.is_absolute, detector.merged, chi2_drop, s)
        for k in range(LANES):
            if s[_ON * LANES + k] > _ZERO:
                h = ints[_END * LANES + k] - 1 - step
                path[h] = s[_PATH * LANES + k]
                if s[_OK * LANES + k] > _ZERO:
                    inner = h - ints[_BEGIN * LANES + k]
                    ints[_INNER * LANES + k] = inner
                    ints[_OUTER * LANES + k] = max(ints[_OUTER * LANES + k], inner)
    for k in range(LANES):
        _end(k, first, hits, detector, chi2_drop, fitted, s, ints)


@body
def fit_every(chunk, order, first, hits, detector, chi2_drop, fitted, work, integers):
    """Run `fit_in_lanes` on every n-th batch from `chunk` on, n being the number of chunks."""
    n_batches = (order.shape[0] + LANES - 1) // LANES
    for batch in range(chunk, n_batches, work.shape[0]):
        fit_in_lanes(batch, order, first, hits, detector, chi2_drop, fitted, work[chunk], integers[chunk])


@launcher
def fit_lanes(order, first, hits, detector, chi2_drop, fitted, work, integers):
    """Fit the tracks of order (n,) int32 as `fit_track` does; those of like length should be neighbours in it.

    hits : y, z, row, sector, width as of `fit_track`; fitted : its par, cov, chi2, last, path.
    work : (n_chunks, LANE_ROWS * LANES) float32, integers : (n_chunks, LANE_INTEGERS * LANES) int32, scratch.
    """
    for chunk in prange(work.shape[0]):
        fit_every(np.int64(chunk), order, first, hits, detector, chi2_drop, fitted, work, integers)
