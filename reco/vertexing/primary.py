"""Primary vertices from TPC tracks alone: collisions found in time and z.

Candidates from peaks of either side (`seeding`), which compete for tracks (`mixture`); then each track goes to one
vertex, and the vertex is fitted in x and y, too. Knows track columns, no kernels of the TPC.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from o2dask.columns import Columns
from o2dask.reco.calibration.objects import DriftVelocity, MeanVertex
from o2dask.reco.geometry.tpc import BZ_KG, TIME_BIN_BC
from o2dask.reco.vertexing.mixture import Pairs, assign, fit_mixture, normal_equations
from o2dask.reco.vertexing.params import VertexParams
from o2dask.reco.vertexing.schema import PVTX, PVTXTRACK
from o2dask.reco.vertexing.seeding import Candidates, find_candidates
from o2dask.reco.vertexing.seen import SeenTracks, see
from o2dask.timeframe import BC_NS

__all__ = ["find_primary_vertices", "write_vertices"]

TIME_BIN_NS = TIME_BIN_BC * BC_NS


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
        The luminous region: a constraint of the fit, and what decides in z between pairs of peaks.
    drift : DriftVelocity, optional
        Of the TPC.

    Returns
    -------
    Columns of GLO/PVTX, Columns of GLO/PVTXTRACK
        Vertices sorted by time. A track belongs to at most one.
    """
    params = params or VertexParams()
    seen = see(tracks, params, bz, beam or MeanVertex(), drift or DriftVelocity())
    found = fit_mixture(seen, find_candidates(seen, params), params)
    return write_vertices(seen, *_settled(seen, found, params))


def _settled(seen: SeenTracks, found: Candidates, params: VertexParams) -> tuple[Candidates, Pairs]:
    """Return the vertices that have tracks enough of their own, and the vertex of each track."""
    while True:
        members = assign(seen, found, params)
        size = np.bincount(members.vertex[seen.is_good[members.track]], minlength=len(found.t))
        keep = (size >= params.min_tracks) & ~_is_satellite(found.t, size, params)
        if keep.all():
            return found, members
        found = Candidates(*(part[keep] for part in found))


def _is_satellite(t: np.ndarray, size: np.ndarray, params: VertexParams) -> np.ndarray:
    """Return which vertices are too small beside a neighbour in time to be more than its tail."""
    small = np.zeros(len(t), bool)
    away = np.abs(t[:, None] - t[None, :])
    for share, reach in params.satellites:
        small |= size < share * np.where(away < reach, size[None, :], 0).max(axis=1, initial=0)
    return small


def write_vertices(seen: SeenTracks, found: Candidates, members: Pairs) -> tuple[Columns, Columns]:
    """Return GLO/PVTX and GLO/PVTXTRACK of vertices and of the tracks with the vertex that they belong to."""
    t, z, n = found.t, found.z, len(found.t)
    members = Pairs(*(part[np.argsort(members.vertex, kind="stable")] for part in members))
    contributes = seen.is_good[members.track]
    fitted = Pairs(*(part[contributes] for part in members))
    used, k = fitted.track, fitted.vertex
    zz, zt, tt, _, _ = normal_equations(seen, fitted, np.ones(len(used)), n)
    det = np.maximum(zz * tt - zt**2, 1e-12)
    x, y, cov_xy, chi2_xy = _fit_transverse(seen, used, k, z)
    cov = np.zeros((n, 6), np.float32)
    cov[:, :3] = cov_xy
    cov[:, 5] = tt / det
    counts = np.bincount(members.vertex, minlength=n)
    x_beam, y_beam = seen.beam.at(z + seen.beam.z)
    vertices = {
        "x": (x + x_beam).astype(np.float32),
        "y": (y + y_beam).astype(np.float32),
        "z": (z + seen.beam.z).astype(np.float32),
        "cov": cov,
        "t": t * TIME_BIN_NS,
        "t_res": (np.sqrt(zz / det) / seen.v * TIME_BIN_NS).astype(np.float32),
        "chi2": (chi2_xy + np.bincount(k, fitted.chi2, n)).astype(np.float32),
        "n_contributors": np.bincount(k, minlength=n).astype(np.int32),
        "first_track": (np.cumsum(counts) - counts).astype(np.int32),
        "n_tracks": counts.astype(np.int32),
    }
    rows = {"track": members.track.astype(np.int32), "is_contributor": contributes}
    return Columns(PVTX, vertices), Columns(PVTXTRACK, rows)


def _fit_transverse(
    seen: SeenTracks, used: np.ndarray, k: np.ndarray, z: np.ndarray
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
