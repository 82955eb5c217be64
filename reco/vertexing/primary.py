"""Primary vertices from TPC tracks alone: collisions found in time and z.

The z of a TPC track moves with the assumed time t of its collision [time bins], opposite on the two sides:
z(t) = z(time0) + s v (t - time0), s = +1 on the A side and -1 on the C side, v the drift per time bin. Both sides of
one collision at (t, z) therefore pile up at s z / v away from t; the two peaks together give t and z. Tracks that
cross the central electrode have a measured time and count on both.

Knows track columns, no kernels of the TPC.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks

from o2dask.columns import Columns
from o2dask.reco.calibration.objects import DriftVelocity, MeanVertex
from o2dask.reco.geometry.tpc import BZ_KG, TIME_BIN_BC
from o2dask.reco.vertexing.beamline import closest_approach
from o2dask.reco.vertexing.params import VertexParams
from o2dask.reco.vertexing.schema import PVTX, PVTXTRACK
from o2dask.timeframe import BC_NS

__all__ = ["find_primary_vertices"]

TIME_BIN_NS = TIME_BIN_BC * BC_NS
SIDE_A, SIDE_C, BOTH_SIDES = 1, 2, 3
HISTOGRAM_BIN = 0.5
"""Width of the time histogram's bins [time bins], a third of the resolution of one track."""
FIT_ROUNDS = 6
"""Rounds of assigning tracks to vertices and moving these; the assignments stand still after four."""


class _Tracks(NamedTuple):
    """Tracks as the vertex finder sees them: `u` = z - s v time0 [cm] and its error, side sign `s` (0 = both).

    All places are seen from the beam spot `beam`; `v` is the drift per time bin [cm].
    """

    u: np.ndarray
    sigma: np.ndarray
    side: np.ndarray
    time: np.ndarray
    z: np.ndarray
    phi: np.ndarray
    dca: np.ndarray
    is_good: np.ndarray
    v: float
    beam: MeanVertex


def find_primary_vertices(
    tracks: Mapping[str, Any],
    params: VertexParams | None = None,
    bz: float = BZ_KG,
    beam: MeanVertex | None = None,
    drift: DriftVelocity | None = None,
) -> tuple[Columns, Columns]:
    """Return the primary vertices of a timeframe and the tracks that belong to them.

    Parameters
    ----------
    tracks : Columns of TPC/TRACKS
        One row per track.
    params : VertexParams
        Settings.
    bz : float
        Field [kG].
    beam : MeanVertex, optional
        The luminous region: a constraint in x and y, and what decides between pairs of peaks in z.
    drift : DriftVelocity, optional
        Of the TPC.

    Returns
    -------
    Columns of GLO/PVTX, Columns of GLO/PVTXTRACK
        Vertices sorted by time. A track belongs to at most one.
    """
    params = params or VertexParams()
    seen = _at_beamline(tracks, params, bz, beam or MeanVertex(), drift or DriftVelocity())
    t, z = _seed(seen, params)
    t, z, owner, pull = _fit_times(seen, t, z, params)
    return _write(seen, t, z, owner, pull, params)


def _at_beamline(
    tracks: Mapping[str, Any], params: VertexParams, bz: float, beam: MeanVertex, drift: DriftVelocity
) -> _Tracks:
    states = {k: tracks[k] for k in ("x", "y", "z", "snp", "tgl", "q2pt", "alpha")}
    near = closest_approach(**states, bz=bz, beam=(beam.x, beam.y))
    cov = tracks["cov"].astype(np.float64)
    pt = 1 / np.maximum(np.abs(tracks["q2pt"].astype(np.float64)), 1e-3)
    slope = 1 + tracks["tgl"].astype(np.float64) ** 2
    variance = cov[:, 2] + near.path**2 * cov[:, 9] + (params.multiple_scattering / pt) ** 2 * slope**1.5
    sides = tracks["sides"]
    side = np.where(sides == SIDE_A, 1.0, np.where(sides == SIDE_C, -1.0, 0.0))
    time = tracks["time0"].astype(np.float64)
    is_good = (tracks["n_clusters"] >= params.min_clusters) & (np.abs(near.dca) < params.max_dca) & (pt > params.min_pt)
    sigma = np.sqrt(np.maximum(variance, 1e-4))
    z, v = near.z - beam.z, drift.cm_per_time_bin
    is_good &= np.isfinite(sigma)
    return _Tracks(z - side * v * time, sigma, side, time, z, near.phi, near.dca, is_good, v, beam)


def _seed(seen: _Tracks, params: VertexParams) -> tuple[np.ndarray, np.ndarray]:
    """Return times [time bins] and z [cm] of vertex candidates: peaks of the two sides, paired."""
    peaks = []
    for sign in (1.0, -1.0):
        use = seen.is_good & (seen.side == sign)
        # a track of both sides has a measured time: it adds to both where its z puts it
        crossing = seen.is_good & (seen.side == 0)
        times = np.append(-sign * seen.u[use] / seen.v, seen.time[crossing] - sign * seen.z[crossing] / seen.v)
        peaks.append(_peaks(times, params))
    (t_a, n_a), (t_c, n_c) = peaks
    pairs = _pair(seen, t_a, n_a, t_c, n_c, params)
    single_a = np.setdiff1d(np.arange(len(t_a)), pairs[:, 0])
    single_c = np.setdiff1d(np.arange(len(t_c)), pairs[:, 1])
    t = np.concatenate([(t_a[pairs[:, 0]] + t_c[pairs[:, 1]]) / 2, t_a[single_a], t_c[single_c]])
    half = (t_c[pairs[:, 1]] - t_a[pairs[:, 0]]) / 2 * seen.v
    z = np.concatenate([half, np.zeros(len(single_a) + len(single_c))])
    order = np.argsort(t, kind="stable")
    return t[order], z[order]


def _peaks(times: np.ndarray, params: VertexParams) -> tuple[np.ndarray, np.ndarray]:
    """Return positions [time bins] and sizes of the peaks in a list of times."""
    if len(times) < params.min_tracks:
        return np.zeros(0), np.zeros(0)
    low, margin = times.min(), 8 * params.peak_sigma
    n_bins = int((times.max() - low + 2 * margin) / HISTOGRAM_BIN) + 1
    density = np.bincount(((times - low + margin) / HISTOGRAM_BIN).astype(np.int64), minlength=n_bins).astype(float)
    sigma = params.peak_sigma / HISTOGRAM_BIN
    smooth = gaussian_filter1d(density, sigma, mode="constant") * sigma * np.sqrt(2 * np.pi)  # tracks within a peak
    floor = 0.75 * params.min_tracks
    found, about = find_peaks(smooth, height=floor, prominence=floor, distance=max(int(3 * sigma), 1))
    return low - margin + (found + 0.5) * HISTOGRAM_BIN, about["peak_heights"]


def _pair(
    seen: _Tracks, t_a: np.ndarray, n_a: np.ndarray, t_c: np.ndarray, n_c: np.ndarray, params: VertexParams
) -> np.ndarray:
    """Return pairs (k, 2) of peaks of the A and C side: the z they imply is likely, their sizes are alike."""
    if not len(t_a) or not len(t_c):
        return np.zeros((0, 2), np.int64)
    z = (t_c[None, :] - t_a[:, None]) / 2 * seen.v
    size = (np.sqrt(n_a)[:, None] - np.sqrt(n_c)[None, :]) ** 2 / (0.5 + 0.02 * (n_a[:, None] + n_c[None, :]))
    cost = (z / seen.beam.sigma_z) ** 2 + size
    unpaired = 25.0
    cost = np.where(np.abs(z) < params.z_max, np.minimum(cost, unpaired), unpaired)
    rows, columns = linear_sum_assignment(cost)
    keep = cost[rows, columns] < unpaired
    return np.stack([rows[keep], columns[keep]], axis=1)


def _fit_times(
    seen: _Tracks, t: np.ndarray, z: np.ndarray, params: VertexParams
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return times and z of the vertices after alternately assigning tracks and moving vertices, and the assignment."""
    owner, pull = _assign(seen, t, z, params)
    for _ in range(FIT_ROUNDS):
        keep = np.bincount(owner[(owner >= 0) & seen.is_good], minlength=len(t)) >= params.min_tracks
        t, z = t[keep], z[keep]
        owner, pull = _assign(seen, t, z, params)
        t, z = _move(seen, t, z, owner, pull, params)
    size = np.bincount(owner[(owner >= 0) & seen.is_good], minlength=len(t))
    keep = (size >= params.min_tracks) & ~_is_satellite(t, size, params)
    t, z = t[keep], z[keep]
    order = np.argsort(t, kind="stable")
    t, z = t[order], z[order]
    owner, pull = _assign(seen, t, z, params)
    return t, z, owner, pull


def _is_satellite(t: np.ndarray, size: np.ndarray, params: VertexParams) -> np.ndarray:
    """Return which vertices are too small beside a neighbour in time to be more than its tail."""
    near = np.abs(t[:, None] - t[None, :]) < params.satellite_reach
    largest = np.where(near, size[None, :], 0).max(axis=1, initial=0)
    return size < params.satellite_share * largest


def _assign(seen: _Tracks, t: np.ndarray, z: np.ndarray, params: VertexParams) -> tuple[np.ndarray, np.ndarray]:
    """Return per track the nearest vertex within the window, or -1, and the distance in standard deviations."""
    owner = np.full(len(seen.u), -1)
    pull = np.full(len(seen.u), np.inf)
    if not len(t):
        return owner, pull
    for sign in (1.0, -1.0, 0.0):
        rows = np.flatnonzero(seen.side == sign)
        # sign 0: the time is measured, z is not free; its scatter is that of z / v
        where = z - sign * seen.v * t if sign else seen.v * t
        value = seen.u[rows] if sign else seen.v * seen.time[rows]
        order = np.argsort(where, kind="stable")
        right = np.clip(np.searchsorted(where[order], value), 1, max(len(t) - 1, 1))
        left = right - 1
        right = np.minimum(right, len(t) - 1)
        nearer = np.where(
            np.abs(where[order][left] - value) <= np.abs(where[order][right] - value), order[left], order[right]
        )
        distance = np.abs(where[nearer] - value) / seen.sigma[rows]
        if not sign:
            distance = np.maximum(distance, np.abs(z[nearer] - seen.z[rows]) / seen.sigma[rows])
        owner[rows] = np.where(distance < params.n_sigma, nearer, -1)
        pull[rows] = distance
    return owner, pull


def _move(
    seen: _Tracks, t: np.ndarray, z: np.ndarray, owner: np.ndarray, pull: np.ndarray, params: VertexParams
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted least-squares times and z of the vertices, tails weighted down (Cauchy)."""
    use = np.flatnonzero((owner >= 0) & seen.is_good)
    n, k = len(t), owner[use]
    weight = 1 / (seen.sigma[use] ** 2 * (1 + pull[use] ** 2 / 4))
    side = seen.side[use]
    v = seen.v
    # each one-sided track measures z - s v t; each crossing track measures both z and v t
    zz = np.bincount(k, weight, n) + 1 / seen.beam.sigma_z**2
    zt = np.bincount(k, -side * weight, n)
    tt = np.bincount(k, weight, n)
    value = np.where(side == 0, seen.z[use], seen.u[use])
    bz = np.bincount(k, weight * value, n)
    bt = np.bincount(k, weight * np.where(side == 0, v * seen.time[use], -side * seen.u[use]), n)
    det = zz * tt - zt**2
    ok = det > 1e-12
    safe = np.where(ok, det, 1)
    return (
        np.where(ok, (zz * bt - zt * bz) / safe / v, t),
        np.where(ok, np.clip((tt * bz - zt * bt) / safe, -params.z_max, params.z_max), z),
    )


def _write(
    seen: _Tracks, t: np.ndarray, z: np.ndarray, owner: np.ndarray, pull: np.ndarray, params: VertexParams
) -> tuple[Columns, Columns]:
    n = len(t)
    belongs = np.flatnonzero(owner >= 0)
    belongs = belongs[np.argsort(owner[belongs], kind="stable")]
    contributes = seen.is_good[belongs] & (pull[belongs] < params.n_sigma)
    used = belongs[contributes]
    k = owner[used]
    weight = 1 / seen.sigma[used] ** 2
    side = seen.side[used]
    zz = np.bincount(k, weight, n) + 1 / seen.beam.sigma_z**2
    zt, tt = np.bincount(k, -side * weight, n), np.bincount(k, weight, n)
    det = np.maximum(zz * tt - zt**2, 1e-12)
    x, y, cov_xy, chi2_xy = _fit_transverse(seen, used, k, z)
    cov = np.zeros((n, 6), np.float32)
    cov[:, :3] = cov_xy
    cov[:, 5] = tt / det
    counts = np.bincount(owner[belongs], minlength=n)
    x_beam, y_beam = seen.beam.at(z + seen.beam.z)
    vertices = {
        "x": (x + x_beam).astype(np.float32),
        "y": (y + y_beam).astype(np.float32),
        "z": (z + seen.beam.z).astype(np.float32),
        "cov": cov,
        "t": t * TIME_BIN_NS,
        "t_res": (np.sqrt(zz / det) / seen.v * TIME_BIN_NS).astype(np.float32),
        "chi2": (chi2_xy + np.bincount(k, pull[used] ** 2, n)).astype(np.float32),
        "n_contributors": np.bincount(k, minlength=n).astype(np.int32),
        "first_track": (np.cumsum(counts) - counts).astype(np.int32),
        "n_tracks": counts.astype(np.int32),
    }
    members = {"track": belongs.astype(np.int32), "is_contributor": contributes}
    return Columns(PVTX, vertices), Columns(PVTXTRACK, members)


def _fit_transverse(
    seen: _Tracks, used: np.ndarray, k: np.ndarray, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y [cm] from the beam line, covariance (n, 3) and chi2.

    Tracks are straight lines, the luminous region is one more constraint.
    """
    n = len(z)
    sigma = np.maximum(seen.sigma[used], 0.1)
    # a line with direction phi at distance dca: -sin(phi) x + cos(phi) y = dca
    nx, ny, weight = -np.sin(seen.phi[used]), np.cos(seen.phi[used]), 1 / sigma**2
    beam_x, beam_y = 1 / seen.beam.sigma_x**2, 1 / seen.beam.sigma_y**2
    x_line, y_line = seen.beam.slope_x * z, seen.beam.slope_y * z
    dca = seen.dca[used] - nx * x_line[k] - ny * y_line[k]
    xx = np.bincount(k, weight * nx * nx, n) + beam_x
    xy = np.bincount(k, weight * nx * ny, n)
    yy = np.bincount(k, weight * ny * ny, n) + beam_y
    bx = np.bincount(k, weight * nx * dca, n)
    by = np.bincount(k, weight * ny * dca, n)
    det = xx * yy - xy**2
    x, y = (yy * bx - xy * by) / det, (xx * by - xy * bx) / det
    residual = nx * x[k] + ny * y[k] - dca
    chi2 = np.bincount(k, weight * residual**2, n) + beam_x * x**2 + beam_y * y**2
    return x, y, np.stack([yy / det, -xy / det, xx / det], axis=1).astype(np.float32), chi2
