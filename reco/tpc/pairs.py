"""Tracks side by side exchange clusters until each has those that fit it best: arrays in, arrays changed in place."""

import numpy as np

from o2dask.reco.geometry.tpc import N_ROWS
from o2dask.reco.tpc.backend import HOST, Backend
from o2dask.reco.tpc.grid import SortedClusters
from o2dask.reco.tpc.kernels_pairs import N_BESIDE, ROW_STEP, find_all_beside, note_owners, untangle_all
from o2dask.reco.tpc.kernels_types import Detector
from o2dask.reco.tpc.params import TpcTrackingParams
from o2dask.reco.tpc.segments import Fitted, Segments

__all__ = ["disjoint_rounds", "pairs_of_tracks", "untangle_tracks"]


def pairs_of_tracks(beside: np.ndarray, count: np.ndarray, min_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (n, 2) int32 of tracks next to each other on `min_rows` of the rows looked at, and on how many."""
    track, slot = np.nonzero((beside >= 0) & (count >= min_rows))
    other = beside[track, slot]
    low, high = np.minimum(track, other), np.maximum(track, other)
    key, where = np.unique(low.astype(np.int64) * len(beside) + high, return_inverse=True)
    rows = np.zeros(len(key), np.int32)
    np.maximum.at(rows, where, count[track, slot])
    return np.stack([key // max(len(beside), 1), key % max(len(beside), 1)], axis=1).astype(np.int32), rows


def disjoint_rounds(pairs: np.ndarray, rows: np.ndarray, n_tracks: int, n_rounds: int) -> list[np.ndarray]:
    """Return pairs in rounds, each track at most once per round, those with most rows in common first."""
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0], -rows))]
    rounds = []
    for _ in range(n_rounds):
        taken = np.zeros(n_tracks, bool)
        chosen = np.zeros(len(pairs), bool)
        for k, (a, b) in enumerate(pairs.tolist()):
            if not (taken[a] or taken[b]):
                taken[a] = taken[b] = chosen[k] = True
        if chosen.any():
            rounds.append(pairs[chosen])
        pairs = pairs[~chosen]
    return rounds


def untangle_tracks(
    segments: Segments,
    fitted: Fitted,
    clusters: SortedClusters,
    detector: Detector,
    params: TpcTrackingParams,
    backend: Backend = HOST,
) -> Fitted:
    """Return the fits after exchange of clusters between tracks side by side; the segments' hits change in place."""
    n, hits, i4, f4 = len(segments.par), segments.hits, np.int32, np.float32
    first, there = backend.send(hits.first), backend.resident(detector)
    owner = backend.zero(backend.scratch("pairs.owner", len(clusters.source), i4))
    backend.run(note_owners, n, first, hits.cluster, owner)
    beside, count = (backend.scratch(f"pairs.{name}", (n, N_BESIDE), i4) for name in ("beside", "count"))
    places, window = (hits.y, hits.z, hits.row, hits.sector), backend.send(np.array(params.pair_window, f4))
    backend.run(find_all_beside, n, first, places, owner, clusters.source, clusters.grid, there, window, beside, count)
    found = pairs_of_tracks(backend.fetch(beside), backend.fetch(count), params.pair_rows // ROW_STEP)
    rounds = disjoint_rounds(*found, n, params.pair_rounds)
    last = np.zeros((n, 3), i4)
    last[:, 0] = fitted.n_used
    out = (*backend.send((fitted.par, fitted.cov, fitted.chi2, last)), fitted.path)
    work = (hits.cluster, hits.y, hits.z, hits.row, hits.sector, hits.width)
    for chosen in rounds or [np.zeros((0, 2), np.int32)]:
        k = len(chosen)
        scratch = (
            backend.scratch("pairs.place", (k, 2, N_ROWS, 4), f4),
            backend.scratch("pairs.at", (k, 3, N_ROWS), i4),
            backend.scratch("pairs.start", (k, 2, 6), f4),
        )
        backend.run(untangle_all, k, backend.send(chosen), first, work, there, f4(params.chi2_fit), out, scratch)
    par, cov, chi2, last = (backend.fetch(part) for part in out[:4])
    touched = np.unique(np.concatenate(rounds)) if rounds else np.zeros(0, i4)
    inner = hits.first[touched] + np.maximum(last[touched, 1], 0)
    sector = fitted.sector.copy()
    sector[touched] = backend.fetch(backend.take(hits.sector, backend.send(inner)))
    return Fitted(par, cov, chi2, last[:, 0].copy(), sector, fitted.path)
