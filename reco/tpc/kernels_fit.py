"""The final fit: one track inwards through its clusters; the body runs over tracks on a GPU.

On a CPU `kernels_lanes` fits eight side by side by the same formulas, and hands on to it what needs another start.
"""

import math

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_helix import advance_about, rotate
from o2dask.reco.tpc.kernels_jit import body, inlined, launcher
from o2dask.reco.tpc.kernels_update import cluster_errors, update, widened
from o2dask.reco.tpc.kernels_walk import load_cov, reset_cov, store_cov

__all__ = ["FAR_SNP", "MIN_KEPT", "SETTLED", "fit_track", "fit_tracks", "is_sound", "wide_start"]

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_DEG = np.float32(math.pi / 180.0)
SETTLED = 24
"""Clusters after which the filter knows the track better than the state it started from."""
FAR_SNP = np.float32(0.01)
"""Deviation of snp above which derivatives are taken anew."""
MIN_KEPT = np.float32(2.0 / 3.0)
"""Part of its clusters that a track must keep, or it is begun in other ways."""
WIDE, TIGHT, INNER = 0, 1, 2
"""Ways to begin: trusted with nothing; to a tenth of q2pt; with nothing, behind the outermost third of the clusters."""


@inlined
def wide_start(q2pt):
    """Return the variances of y and z [cm2], of the slopes and of q/pt of a start that is trusted with nothing."""
    return np.float32(4.0), np.float32(0.1), np.float32(4.0) + np.float32(0.25) * q2pt * q2pt


@inlined
def is_sound(yy, zz, ss, tt, qq):
    """Return whether these can be variances; float32 may lose them to a start that is a million times wider."""
    return yy > _ZERO and zz > _ZERO and ss > _ZERO and tt > _ZERO and qq > _ZERO


@body
def fit_track(i, first, hit_y, hit_z, hit_row, hit_sector, hit_width, detector, chi2_drop, par, cov, chi2, last, path):
    """Fit track `i` from its outermost cluster to its innermost, starting from the state there.

    first : (n + 1,) int32, offsets of the tracks' clusters, innermost first.
    hit_y, hit_z : (m,) float32 [cm]; hit_row, hit_sector : (m,) uint8.
    hit_width : (m, 2) float32, squared widths along y and z [cm2], 0: not known.
    path : (m,) float32, out: length of the track over the pad [cm], 0 for a cluster that is not used.
    par : (n, 6) float32, x y z snp tgl q2pt; in: near the outermost cluster, in the frame of its sector; out: at the
        innermost cluster used, in the frame of that cluster's sector.
    cov : (n, 15) float32, out. chi2 : (n,) float32, out.
    last : (n, 3) int32, out: clusters used; index within the track of the innermost and of the outermost used.

    A cluster above `chi2_drop` is left out. A track that cannot be fitted has 0 clusters used.

    The start is trusted with nothing, so that it leaves no bias. Wrong clusters among the outermost ones can then pull
    the state so far that the good ones are dropped, and where a track was followed on into another one the fit is that
    of the other: one that loses more than a third of its clusters is begun in other ways too, and the way that uses
    most clusters stays.
    """
    begin, end = first[i], first[i + 1]
    x0, y0, z0, snp0, tgl0, q2pt0 = par[i, 0], par[i, 1], par[i, 2], par[i, 3], par[i, 4], par[i, 5]
    best, n_best = WIDE, -1
    for attempt in range(4):
        way = attempt if attempt <= INNER else best
        start = end - (end - begin) // 3 if way == INNER else end
        x, y, z, snp, tgl, q2pt = x0, y0, z0, snp0, tgl0, q2pt0
        if way == TIGHT:
            sigma = np.float32(0.05) + np.float32(0.1) * abs(q2pt)
            reset_cov(cov[i], np.float32(0.25), np.float32(4e-4), sigma * sigma)
        else:
            vyz, vslope, vq2pt = wide_start(q2pt)
            reset_cov(cov[i], vyz, vslope, vq2pt)
        c = load_cov(cov[i])
        begun = c
        d0, d1, d2, d3, d4 = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
        sum_chi2, waiting = _ZERO, _ZERO
        n, inner, outer = 0, -1, -1
        sector = np.int64(hit_sector[end - 1]) if end > begin else 0
        for k in range(end - 1, begin - 1, -1):
            path[k] = _ZERO
        for k in range(end - 1, begin - 1, -1):
            row = np.int64(hit_row[k])
            other = np.int64(hit_sector[k])
            turned = other % 18 != sector % 18
            if n >= SETTLED and (turned or abs(d2) > FAR_SNP):
                y, z, snp, tgl, q2pt = y + d0, z + d1, snp + d2, tgl + d3, q2pt + d4
                d0, d1, d2, d3, d4 = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
            if turned:
                turn = _DEG * np.float32(20 * ((other - sector) % 18))
                cos, sin = math.cos(turn), math.sin(turn)
                csp = math.sqrt(max(_ONE - snp * snp, np.float32(1e-6)))
                csp_new = csp * cos + snp * sin
                ok, x, y, snp, c = rotate(x, y, snp, tgl, c, cos, sin)
                if not ok:
                    break
                # as in the covariance: at fixed x in the new frame
                d0, d1, d2 = d0 * csp / csp_new, d1 - d0 * sin * tgl / csp_new, d2 * csp_new / csp
            sector = other
            ok, y, z, snp, tgl, q2pt, (d0, d1, d2, d3, d4), c, waiting = advance_about(
                x, y, z, snp, tgl, q2pt, (d0, d1, d2, d3, d4), c, detector.row_x[row], detector, sector, waiting
            )
            if not ok:
                break
            x = detector.row_x[row]
            if k >= start:
                c = begun
                continue
            vy, vz = cluster_errors(detector, row, z, snp, tgl)
            vy, vz = widened(detector, row, z, snp, tgl, vy, vz, hit_width[k, 0], hit_width[k, 1])
            dy, dz = hit_y[k] - y - d0, hit_z[k] - z - d1
            d, d0, d1, d2, d3, d4, c = update(d0, d1, d2, d3, d4, c, dy, dz, vy, vz, chi2_drop)
            if abs(snp + d2) > np.float32(0.999):
                break
            if d <= chi2_drop:
                sum_chi2 += d
                n += 1
                path[k] = detector.row_height[row] * math.sqrt((_ONE + tgl * tgl) / (_ONE - snp * snp))
                inner = k - begin
                outer = max(outer, inner)
                par[i, 0], par[i, 1], par[i, 2] = x, y + d0, z + d1
                par[i, 3], par[i, 4], par[i, 5] = snp + d2, tgl + d3, q2pt + d4
                store_cov(cov[i], c)
        if not is_sound(cov[i, 0], cov[i, 2], cov[i, 5], cov[i, 9], cov[i, 14]):
            n = 0
        if n > n_best:
            best, n_best = way, n
        if np.float32(n_best) >= MIN_KEPT * np.float32(end - begin) or (attempt >= INNER and way == best):
            break
    chi2[i] = sum_chi2
    last[i, 0], last[i, 1], last[i, 2] = n, inner, outer


@launcher
def fit_tracks(first, hit_y, hit_z, hit_row, hit_sector, hit_width, detector, chi2_drop, par, cov, chi2, last, path):
    """Run `fit_track` on every track."""
    for i in prange(par.shape[0]):
        fit_track(
            np.int64(i),
            first,
            hit_y,
            hit_z,
            hit_row,
            hit_sector,
            hit_width,
            detector,
            chi2_drop,
            par,
            cov,
            chi2,
            last,
            path,
        )
