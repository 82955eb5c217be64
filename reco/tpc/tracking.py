"""Tracks from clusters: arrays in, arrays out. Knows shapes and stages; formulas are in the kernels."""

import time
from typing import NamedTuple

import numpy as np

from o2dask.reco.geometry.tpc import BZ_KG, N_ROWS, N_SECTORS
from o2dask.reco.tpc.grid import SortedClusters, make_detector, sort_clusters
from o2dask.reco.tpc.kernels_fit import fit_tracks
from o2dask.reco.tpc.kernels_following import fill_tracks, find_color
from o2dask.reco.tpc.kernels_helix import B2C
from o2dask.reco.tpc.kernels_types import Detector, Search, SeedPass
from o2dask.reco.tpc.params import SeedRound, TpcTrackingParams

__all__ = ["FoundTracks", "TrackResult", "find_tracks", "track_clusters"]


class FoundTracks(NamedTuple):
    """Tracks before the final fit, with their clusters in the sorted order, innermost first.

    par : (n, 6) float32, x y z snp tgl q2pt at the outermost cluster, in its sector's frame.
    cov : (n, 15) float32, there.
    first : (n + 1,) int32; hits : (m,) int32, row of the sorted clusters.
    """

    par: np.ndarray
    cov: np.ndarray
    first: np.ndarray
    hits: np.ndarray


class TrackResult(NamedTuple):
    """Fitted tracks at their innermost cluster, and their clusters.

    par : (n, 6) float32, x y z snp tgl q2pt in the frame of `sector` (n,) uint8.
    cov : (n, 15) float32. chi2 : (n,) float32.
    first : (n + 1,) int32; clusters : (m,) int32, rows of the input, innermost first, of one track contiguous.
    stages_s : CPU seconds of each stage.
    """

    par: np.ndarray
    cov: np.ndarray
    chi2: np.ndarray
    sector: np.ndarray
    first: np.ndarray
    clusters: np.ndarray
    stages_s: dict[str, float]


class Clock:
    """Process CPU time per stage."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._last = time.process_time()

    def lap(self, name: str) -> None:
        """Add the time since the last lap to stage `name`."""
        now = time.process_time()
        self.stages[name] = self.stages.get(name, 0.0) + now - self._last
        self._last = now


def make_search(params: TpcTrackingParams) -> Search:
    """Return the search settings for the kernels."""
    f4, i4 = np.float32, np.int32
    return Search(
        f4(params.n_sigma),
        f4(params.max_window),
        f4(params.chi2_new),
        f4(params.chi2_drop),
        i4(params.max_misses),
        f4(params.max_snp),
        i4(params.min_clusters),
        f4(params.min_density),
    )


def make_round(seed_round: SeedRound, bz: float) -> SeedPass:
    """Return one seeding round for the kernels in a field of `bz` [kG]."""
    f4, i4 = np.float32, np.int32
    return SeedPass(
        i4(seed_round.row_first),
        i4(seed_round.row_step),
        i4(seed_round.gap),
        f4(seed_round.is_vertex),
        f4(abs(B2C * bz) / seed_round.min_pt),
        f4(seed_round.slope_back),
        f4(seed_round.slope_out),
        f4(seed_round.sigma_q2pt),
    )


def find_tracks(clusters: SortedClusters, detector: Detector, params: TpcTrackingParams) -> FoundTracks:
    """Return the tracks that seeding and following find; marks their clusters as used."""
    reach = _within_reach(np.diff(clusters.row_start).reshape(N_SECTORS, N_ROWS).sum(1))
    tracks_max = reach // params.min_clusters
    pool_start = np.zeros((N_SECTORS + 1, 2), np.int64)
    pool_start[1:, 0], pool_start[1:, 1] = np.cumsum(tracks_max), np.cumsum(reach)
    n_tracks, n_hits = pool_start[-1]
    f4, i4 = np.float32, np.int32
    count = np.zeros((N_SECTORS, 2), np.int64)
    pool = (
        count,
        np.empty((n_tracks, 6), f4),
        np.empty((n_tracks, 15), f4),
        np.empty((n_tracks, 5), i4),
        np.empty(n_hits, i4),
    )
    scratch = (
        np.empty((N_SECTORS, 6), f4),
        np.empty((N_SECTORS, 15), f4),
        np.empty((N_SECTORS, 5), f4),
        np.empty((N_SECTORS, N_ROWS), i4),
        np.empty((N_SECTORS, N_ROWS), i4),
    )
    search = make_search(params)
    for seed_round in params.rounds:
        seeding = make_round(seed_round, float(detector.field[0]))
        for color in range(3):
            find_color(color, clusters.row_start, clusters.grid, detector, search, seeding, scratch, pool, pool_start)
    n, m = count.sum(0)
    rows, first, hits = np.empty(n, np.int64), np.empty(n + 1, i4), np.empty(m, i4)
    fill_tracks(count, pool_start, pool[3], pool[4], rows, first, hits)
    return FoundTracks(pool[1][rows], pool[2][rows], first, hits)


def _within_reach(per_sector: np.ndarray) -> np.ndarray:
    """Return the clusters (36,) in each sector and its two neighbours of the same side."""
    sides = per_sector.reshape(2, 18).astype(np.int64)
    return (sides + np.roll(sides, 1, axis=1) + np.roll(sides, -1, axis=1)).ravel()


def track_clusters(
    sector: np.ndarray,
    row: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    params: TpcTrackingParams | None = None,
    field: "float | np.ndarray" = BZ_KG,
) -> TrackResult:
    """Return the tracks of clusters.

    Parameters
    ----------
    sector, row : (n,) uint8
        0-35 (0-17: A side) and 0-151.
    y, z : (n,) float32
        In the sector's frame [cm]; z signed, with an offset of its own per collision if not params.is_absolute.
    params : TpcTrackingParams, optional
    field : float or (6,) array
        Bz [kG], or coefficients of `kernels_helix.field_at`.
    """
    params = params or TpcTrackingParams()
    clock = Clock()
    detector = make_detector(params, field)
    clusters = sort_clusters(sector, row, y, z, detector)
    clock.lap("grid")
    found = find_tracks(clusters, detector, params)
    clock.lap("finding")
    hit_input = clusters.index[found.hits]
    hit_y, hit_z = clusters.grid.yz[found.hits, 0], clusters.grid.yz[found.hits, 1]
    hit_row, hit_sector = row[hit_input], sector[hit_input]
    n, m = len(found.par), len(found.hits)
    par, cov = found.par.copy(), np.empty((n, 15), np.float32)
    chi2, last = np.empty(n, np.float32), np.empty((n, 3), np.int32)
    is_used = np.empty(m, np.uint8)
    chi2_fit = np.float32(params.chi2_fit)
    fit_tracks(found.first, hit_y, hit_z, hit_row, hit_sector, detector, chi2_fit, par, cov, chi2, last, is_used)
    clock.lap("fit")
    keep = last[:, 0] >= params.min_clusters
    hits_kept = (is_used > 0) & np.repeat(keep, np.diff(found.first))
    first = np.zeros(int(keep.sum()) + 1, np.int32)
    np.cumsum(last[keep, 0], out=first[1:])
    sector_in = hit_sector[(found.first[:-1] + last[:, 1])[keep]]
    result = TrackResult(par[keep], cov[keep], chi2[keep], sector_in, first, hit_input[hits_kept], clock.stages)
    clock.lap("output")
    return result
