"""Tracks from clusters: arrays in, arrays out. Knows shapes and stages; formulas are in the kernels."""

import time
from typing import NamedTuple

import numpy as np
from numba import get_num_threads

from o2dask.reco.geometry.tpc import BZ_KG, N_ROWS, N_SECTORS
from o2dask.reco.tpc.backend import HOST, Backend
from o2dask.reco.tpc.candidates import find_by_candidate
from o2dask.reco.tpc.grid import SortedClusters, make_detector, sort_clusters
from o2dask.reco.tpc.kernels_following import fill_tracks, find_color
from o2dask.reco.tpc.kernels_helix import B2C
from o2dask.reco.tpc.kernels_hits import collect_hits
from o2dask.reco.tpc.kernels_types import Detector, Search, SeedPass
from o2dask.reco.tpc.loopers import chains_of_legs
from o2dask.reco.tpc.merging import Joined, join_crossing, join_pieces
from o2dask.reco.tpc.pairs import untangle_tracks
from o2dask.reco.tpc.params import SeedRound, TpcTrackingParams
from o2dask.reco.tpc.segments import Hits, Segments, fit_segments

__all__ = ["TrackResult", "find_tracks", "shared_out", "track_clusters"]


class TrackResult(NamedTuple):
    """Fitted tracks at their innermost cluster, and their clusters.

    par : (n, 6) float32, x y z snp tgl q2pt in the frame of `sector` (n,) uint8.
    cov : (n, 15) float32. chi2 : (n,) float32.
    first : (n + 1,) int32; clusters : (m,) int32, rows of the input, of one track contiguous, leg by leg for loopers,
        each leg innermost first.
    n_fit : (n,) int32, clusters of the first leg: those in the fit.
    path : (m,) float32, length of the track over each cluster's pad [cm].
    hit_row, hit_sector : (m,) uint8; hit_z : (m,) float32 [cm], the input's, but true for tracks with a shift.
    shift : (n,) float32 [cm]
        Of a track across the central electrode, whose z is the true one: what was added to z on the A side and taken
        from it on the C side. NaN of others.
    stages_s : CPU seconds of each stage.
    """

    par: np.ndarray
    cov: np.ndarray
    chi2: np.ndarray
    sector: np.ndarray
    first: np.ndarray
    n_fit: np.ndarray
    clusters: np.ndarray
    path: np.ndarray
    hit_row: np.ndarray
    hit_sector: np.ndarray
    hit_z: np.ndarray
    shift: np.ndarray
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


def find_tracks(
    clusters: SortedClusters, detector: Detector, params: TpcTrackingParams, backend: Backend = HOST
) -> Segments:
    """Return the tracks that seeding and following find; marks their clusters as used.

    The same tracks, bit by bit, whether seeds are followed one after the other or side by side (`candidates`).
    """
    bz, search = float(detector.field[0]), make_search(params)
    rounds = [make_round(seed_round, bz) for seed_round in params.rounds]
    if backend.is_wide:
        return find_by_candidate(clusters, detector, search, rounds, backend)[0]
    per_sector = np.diff(clusters.row_start).reshape(N_SECTORS, N_ROWS).sum(1)
    reach = _within_reach(per_sector)
    pool_start = _offsets(np.stack([reach // params.min_clusters, reach], axis=1))
    n_tracks, n_hits = (int(k) for k in pool_start[-1])
    f4, i4, u1, scratch = np.float32, np.int32, np.uint8, backend.scratch
    pool = (
        backend.zero(scratch("pool.count", (N_SECTORS, 2), np.int64)),
        scratch("pool.par", (n_tracks, 6), f4),
        scratch("pool.cov", (n_tracks, 15), f4),
        scratch("pool.info", (n_tracks, 2), i4),
        scratch("pool.hit", n_hits, i4),
        scratch("pool.place", (n_hits, 2), u1),
    )
    work = (
        scratch("work.par", (N_SECTORS, 6), f4),
        scratch("work.cov", (N_SECTORS, 15), f4),
        scratch("work.best", (N_SECTORS, 5), f4),
        scratch("work.hits", (N_SECTORS, N_ROWS), i4),
        scratch("work.hit_sector", (N_SECTORS, N_ROWS), i4),
    )
    starts, there = backend.send(pool_start), backend.resident(detector)
    colors = [np.arange(color, N_SECTORS, 3) for color in range(3)]
    shares = [sectors[shared_out(per_sector[sectors], get_num_threads())] for sectors in colors]
    for seeding in rounds:
        for sectors in shares:
            backend.run(find_color, 12, sectors, clusters.grid, there, search, seeding, work, pool, starts)
    out_start = _offsets(backend.fetch(pool[0]))
    n, m = (int(k) for k in out_start[-1])
    par, cov, first = np.empty((n, 6), f4), np.empty((n, 15), f4), np.empty(n + 1, i4)
    hits = tuple(backend.room(m, dtype) for dtype in (i4, f4, f4, u1, u1))
    out = (par, cov, first, hits)
    backend.run(fill_tracks, N_SECTORS, pool, starts, out_start, clusters.grid, clusters.source, *out)
    first[n] = m
    return Segments(par, cov, Hits(*(first, *hits, np.zeros((m, 2), f4))))


def shared_out(cost: np.ndarray, n_threads: int) -> np.ndarray:
    """Return an order (n,) of items of which `n_threads` threads get like costs when each takes a stretch of it.

    Dealt out by falling cost to and fro: threads wait for the last one after every loop.
    """
    falling = np.argsort(-cost, kind="stable")
    turn, seat = np.divmod(np.arange(len(cost)), n_threads)
    seat = np.where(turn % 2 == 0, seat, n_threads - 1 - seat)
    return falling[np.argsort(seat, kind="stable")]


def _offsets(count: np.ndarray) -> np.ndarray:
    """Return the running sums (n + 1, 2) int64 of counts (n, 2)."""
    out = np.zeros((len(count) + 1, 2), np.int64)
    np.cumsum(count, axis=0, out=out[1:])
    return out


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
    widths: np.ndarray | None = None,
    backend: Backend = HOST,
) -> TrackResult:
    """Return the tracks of clusters.

    Parameters
    ----------
    sector, row : (n,) uint8
        0-35 (0-17: A side) and 0-151.
    y, z : (n,) float32
        In the sector's frame [cm]; z signed, with an offset of its own per collision if not params.is_absolute.
    params : TpcTrackingParams, optional
    field : float or array
        Bz [kG], or what `field.field_coefficients` takes, such as `field.O2_FIELD_5KG`.
    widths : (n, 2) float32, optional
        Squared widths of the clusters along y and z [cm2]: the fit gives merged clusters larger errors.
    backend : Backend
        Where kernels run; see `o2dask.reco.tpc.device`.
    """
    params = params or TpcTrackingParams()
    clock = Clock()
    key = ("detector", params, np.asarray(field).tobytes())
    detector = backend.once(key, lambda: make_detector(params, field))
    clusters = sort_clusters(sector, row, y, z, detector, backend)
    clock.lap("grid")
    segments = find_tracks(clusters, detector, params, backend)
    if widths is not None:
        own = backend.take(backend.send(widths), segments.hits.cluster)
        segments = segments._replace(hits=segments.hits._replace(width=own))
    clock.lap("finding")
    fitted = fit_segments(segments, detector, params.chi2_fit, backend)
    clock.lap("fit")
    if params.pair_rounds > 0:
        fitted = untangle_tracks(segments, fitted, clusters, detector, params, backend)
    clock.lap("pairs")
    tracks = join_pieces(segments, fitted, detector, params, backend)
    if not params.is_absolute:
        tracks = join_crossing(tracks, detector, params, backend)
    clock.lap("merging")
    result = _result(tracks, params, clock.stages, float(detector.field[0]), backend)
    clock.lap("output")
    return result


def _result(
    tracks: Joined, params: TpcTrackingParams, stages: dict[str, float], bz: float, backend: Backend
) -> TrackResult:
    """Return the tracks with enough clusters, loopers as one, without the clusters that the fit left out."""
    segments, fitted, shift = tracks
    hits = segments.hits
    keep = fitted.n_used >= params.min_clusters
    legs = np.zeros(0, np.int64)
    offsets = np.zeros(1, np.int64)
    if params.loopers.max_pt > 0:
        # tracks across the electrode have the true z, others do not: they are not compared
        rows = np.flatnonzero(keep & np.isnan(shift))
        offsets, chosen = chains_of_legs(fitted.par[rows], fitted.sector[rows], bz, params.loopers, backend)
        legs = rows[chosen]
    keep[legs] = False
    # loopers come last: their first leg gives the track
    whole = np.flatnonzero(keep)
    rows, pieces = np.concatenate([whole, legs[offsets[:-1]]]), np.concatenate([whole, legs])
    piece_first = np.zeros(len(pieces) + 1, np.int32)
    np.cumsum(fitted.n_used[pieces], out=piece_first[1:])
    first = piece_first[np.concatenate([np.arange(len(whole)), len(whole) + offsets])]
    m, i4, f4, u1 = int(piece_first[-1]), np.int32, np.float32, np.uint8
    out = tuple(backend.empty(m, dtype) for dtype in (i4, f4, u1, u1, f4))
    there = backend.send((pieces.astype(i4), hits.first, piece_first))
    from_hits = (hits.cluster, fitted.path, hits.row, hits.sector, hits.z)
    backend.run(collect_hits, len(pieces), *there, from_hits, out)
    par, cov, chi2, n_used, sector, _ = fitted
    members = [backend.fetch(part) for part in out]
    kept = (par[rows], cov[rows], chi2[rows], sector[rows], first, n_used[rows])
    return TrackResult(*(*kept, *members, shift[rows], stages))
