"""Which tracks are pieces of one: the inner end of one track against the outer ends of others."""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_helix import propagate, rotate
from o2dask.reco.tpc.kernels_jit import body, launcher
from o2dask.reco.tpc.kernels_walk import load_cov

__all__ = ["Ends", "Matching", "chi2_5", "compare", "find_partner", "find_partners"]

_ZERO, _ONE, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_INF = np.float32(np.inf)
_DEG = np.float32(math.pi / 180.0)
_MAX_DTGL = np.float32(0.15)
_DQ_CONSTANT, _DQ_RELATIVE = np.float32(5.0), np.float32(0.3)
"""Largest difference of tgl and of q/pt [c/GeV] between pieces: beyond the errors of 20 clusters, spares the
comparison."""


class Ends(NamedTuple):
    """Both ends of every track, and its outer ends sorted for look-up.

    in_par, out_par : (n, 6) float32, x y z snp tgl q2pt; in_cov, out_cov : (n, 15) float32.
    in_sector, in_row, out_sector, out_row : (n,) int32.
    sorted_track : (m,) int32, tracks whose outer end may be joined, by (sector % 18, key).
    look : (m, 4) float32, of that end key, row, tgl and q/pt, side by side for a fast look; key is z [cm], on the C
        side -z if matching.is_crossing.
    sector_start : (19,) int32, first of each sector in sorted_track.
    """

    in_par: Any
    in_cov: Any
    in_sector: Any
    in_row: Any
    out_par: Any
    out_cov: Any
    out_sector: Any
    out_row: Any
    sorted_track: Any
    look: Any
    sector_start: Any


class Matching(NamedTuple):
    """What makes two ends one track.

    sides : int32, pieces on 0 the same side of the central electrode, 1 different sides, 2 any.
    is_crossing : int32, 1: z of the pieces differs by twice the unknown shift; 0: z is common to both.
    max_gap, max_overlap : int32, rows.
    max_chi2 : float32, of 5 parameters (4 if is_crossing).
    window : float32, largest difference of the keys [cm].
    """

    sides: Any
    is_crossing: Any
    max_gap: Any
    max_overlap: Any
    max_chi2: Any
    window: Any


@body
def chi2_5(d, c):
    """Return d^T C^-1 d for a tuple of 5 and a covariance of 15 by Cholesky's decomposition; inf if not positive."""
    d0, d1, d2, d3, d4 = d
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14 = c
    if c0 <= _ZERO:
        return _INF
    i0 = _ONE / math.sqrt(c0)
    l10, l20, l30, l40 = c1 * i0, c3 * i0, c6 * i0, c10 * i0
    s1 = c2 - l10 * l10
    if s1 <= _ZERO:
        return _INF
    i1 = _ONE / math.sqrt(s1)
    l21, l31, l41 = (c4 - l20 * l10) * i1, (c7 - l30 * l10) * i1, (c11 - l40 * l10) * i1
    s2 = c5 - l20 * l20 - l21 * l21
    if s2 <= _ZERO:
        return _INF
    i2 = _ONE / math.sqrt(s2)
    l32, l42 = (c8 - l30 * l20 - l31 * l21) * i2, (c12 - l40 * l20 - l41 * l21) * i2
    s3 = c9 - l30 * l30 - l31 * l31 - l32 * l32
    if s3 <= _ZERO:
        return _INF
    i3 = _ONE / math.sqrt(s3)
    l43 = (c13 - l40 * l30 - l41 * l31 - l42 * l32) * i3
    s4 = c14 - l40 * l40 - l41 * l41 - l42 * l42 - l43 * l43
    if s4 <= _ZERO:
        return _INF
    u0 = d0 * i0
    u1 = (d1 - l10 * u0) * i1
    u2 = (d2 - l20 * u0 - l21 * u1) * i2
    u3 = (d3 - l30 * u0 - l31 * u1 - l32 * u2) * i3
    u4 = d4 - l40 * u0 - l41 * u1 - l42 * u2 - l43 * u3
    return u0 * u0 + u1 * u1 + u2 * u2 + u3 * u3 + u4 * u4 / s4


@body
def compare(o, i, ends, detector, matching):
    """Return (chi2, shift) of track `i` as the inner continuation of track `o`; shift [cm] of crossing tracks, else 0.

    The shift is what a collision later by its drift time adds to z on the A side and takes from it on the C side.
    """
    x, y, z = ends.in_par[o, 0], ends.in_par[o, 1], ends.in_par[o, 2]
    snp, tgl, q2pt = ends.in_par[o, 3], ends.in_par[o, 4], ends.in_par[o, 5]
    xi, yi, zi = ends.out_par[i, 0], ends.out_par[i, 1], ends.out_par[i, 2]
    si, ti, qi = ends.out_par[i, 3], ends.out_par[i, 4], ends.out_par[i, 5]
    gap = np.float32(abs(ends.in_row[o] - ends.out_row[i])) + np.float32(2.0)
    c = load_cov(ends.in_cov[o])
    turn = (ends.out_sector[i] - ends.in_sector[o]) % 18
    if turn != 0:
        angle = _DEG * np.float32(20 * turn)
        ok, x, y, snp, c = rotate(x, y, snp, tgl, c, math.cos(angle), math.sin(angle))
        if not ok:
            return _INF, _ZERO
    z_start = z
    ok, y, z, snp, tgl, q2pt, c = propagate(x, y, z, snp, tgl, q2pt, c, xi, detector)
    if not ok or abs(y - yi) > np.float32(3.0) + np.float32(0.2) * gap:
        return _INF, _ZERO
    k = load_cov(ends.out_cov[i])
    s0, s1, s2, s3, s4 = c[0] + k[0], c[1] + k[1], c[2] + k[2], c[3] + k[3], c[4] + k[4]
    s5, s6, s7, s8, s9 = c[5] + k[5], c[6] + k[6], c[7] + k[7], c[8] + k[8], c[9] + k[9]
    s10, s11, s12, s13, s14 = c[10] + k[10], c[11] + k[11], c[12] + k[12], c[13] + k[13], c[14] + k[14]
    dz, shift = z - zi, _ZERO
    if matching.is_crossing != 0:
        side_i = _ONE if ends.out_sector[i] < 18 else -_ONE
        shift = _HALF * side_i * dz
        # the electrode lies between the two ends: each on its own side of it, or a little beyond
        if side_i * zi + shift < np.float32(-3.0) or -side_i * z_start + shift < np.float32(-3.0):
            return _INF, _ZERO
        dz, s2 = _ZERO, np.float32(1e6)
    cov = (s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14)
    return chi2_5((y - yi, dz, snp - si, tgl - ti, q2pt - qi), cov), shift


@body
def find_partner(o, ends, detector, matching, partner, chi2, shift):
    """Write the best inner continuation of track `o` to partner (-1: none), chi2 and shift."""
    partner[o] = -1
    chi2[o] = matching.max_chi2
    shift[o] = _ZERO
    if ends.in_row[o] < 3:
        return
    side_o = ends.in_sector[o] // 18
    row, tgl, q2pt = np.float32(ends.in_row[o]), ends.in_par[o, 4], ends.in_par[o, 5]
    max_dq = _DQ_CONSTANT + _DQ_RELATIVE * abs(q2pt)
    max_gap, min_gap = np.float32(matching.max_gap), np.float32(-matching.max_overlap)
    key = ends.in_par[o, 2]
    if matching.is_crossing != 0 and side_o == 1:
        key = -key
    for turn in range(-2, 3):
        sector = (ends.in_sector[o] + turn) % 18
        lo, hi = ends.sector_start[sector], ends.sector_start[sector + 1]
        last = hi
        while lo < hi:
            middle = (lo + hi) // 2
            if ends.look[middle, 0] < key - matching.window:
                lo = middle + 1
            else:
                hi = middle
        for j in range(lo, last):
            if ends.look[j, 0] > key + matching.window:
                break
            gap = row - ends.look[j, 1]
            if gap > max_gap or gap < min_gap:
                continue
            if abs(tgl - ends.look[j, 2]) > _MAX_DTGL or abs(q2pt - ends.look[j, 3]) > max_dq:
                continue
            i = ends.sorted_track[j]
            is_other = 1 if ends.out_sector[i] // 18 != side_o else 0
            if i == o or (matching.sides != 2 and is_other != matching.sides):
                continue
            d, s = compare(o, i, ends, detector, matching)
            if d < chi2[o]:
                chi2[o] = d
                partner[o] = i
                shift[o] = s


@launcher
def find_partners(ends, detector, matching, partner, chi2, shift):
    """Run `find_partner` on every track; partner (n,) int32, chi2 and shift (n,) float32 are filled."""
    for o in prange(partner.shape[0]):
        find_partner(np.int64(o), ends, detector, matching, partner, chi2, shift)
