"""Finding tracks with all seeds of a sector side by side, as a GPU does: the same tracks as one after the other.

Knows the order of candidates, sweeps and offsets; why the result is the same is told in `kernels_candidates`.
"""

from typing import Any, NamedTuple

import numpy as np

from o2dask.reco.geometry.tpc import N_ROWS, N_SECTORS
from o2dask.reco.tpc.backend import Backend
from o2dask.reco.tpc.grid import SortedClusters
from o2dask.reco.tpc.kernels_candidates import (
    claims_differ,
    find_ranges,
    place_tracks,
    renew_claims,
    store_tracks,
    sweep,
)
from o2dask.reco.tpc.kernels_types import Detector, Grid, Search, SeedPass
from o2dask.reco.tpc.segments import Hits, Segments

__all__ = ["Sweeps", "find_by_candidate"]

CLEAR, TAKE = 1, 2
"""Modes of `kernels_candidates.renew_claim`."""
CLUSTERS_PER_THREAD = 16
"""Of kernels that only look at claims."""
SECTORS_PER_COLOR = N_SECTORS // 3


class Sweeps(NamedTuple):
    """How many candidates there were and how many sweeps over them it took, per round of seeding and colour."""

    candidates: list[int]
    sweeps: list[int]


class _Batch(NamedTuple):
    """Tracks of one colour in one round: sector (n,), offsets of hits (n + 1,), and where they are on the backend."""

    sector: np.ndarray
    first: np.ndarray
    pool: tuple[Any, ...]


class _Finder:
    """One timeframe's search; `grid.used` holds claims, `spare` has room for new ones."""

    def __init__(self, clusters: SortedClusters, detector: Detector, search: Search, backend: Backend) -> None:
        self.grid: Grid = clusters.grid
        self.backend, self.search = backend, search
        self.there = backend.resident(detector)
        nz = int(self.grid.nz)
        per_slab = max(int(np.float32(detector.drift_length) * np.float32(self.grid.inv_dz)), 1)
        self.slabs = (-(-nz // per_slab), per_slab)
        self.n = len(clusters.source)
        self.spare = backend.scratch("candidates.claims", self.n, np.int32)
        f4, i4, scratch = np.float32, np.int32, backend.scratch
        self.work = (
            scratch("candidates.par", 6, f4),
            scratch("candidates.cov", 15, f4),
            scratch("candidates.best", 5, f4),
            scratch("candidates.hits", N_ROWS, i4),
            scratch("candidates.hit_sector", N_ROWS, i4),
        )
        self.told = Sweeps([], [])

    def find(self, color: int, seeding: SeedPass) -> _Batch:
        """Return the tracks of the seeds in the sectors of one colour, and keep what they took."""
        backend, i4 = self.backend, np.int32
        n_rows = (int(seeding.row_first) - 2 * int(seeding.gap)) // int(seeding.row_step) + 1
        steps = (i4(self.slabs[0]), i4(n_rows), i4(self.slabs[1]))
        n_ranges = SECTORS_PER_COLOR * self.slabs[0] * n_rows
        ranges = backend.scratch("candidates.ranges", (n_ranges, 2), i4)
        backend.run(find_ranges, n_ranges, i4(color), steps, self.grid, seeding, ranges)
        rank_start = _offsets(np.diff(backend.fetch(ranges), axis=1)[:, 0])
        n_ranks = int(rank_start[-1])
        where = (i4(color), steps), (self.search, seeding, backend.send(rank_start), ranges)
        count = backend.scratch("candidates.count", n_ranks, i4)
        n_sweeps = self._settle(n_rows, n_ranks, where, count)
        found = backend.fetch(count)
        ranks = np.flatnonzero(found).astype(i4)
        first = _offsets(found[ranks])
        pool = self._store(ranks, first, where)
        self._renew(TAKE)
        self._swap()
        self.told.candidates.append(n_ranks)
        self.told.sweeps.append(n_sweeps)
        in_range = np.searchsorted(rank_start, ranks, side="right") - 1
        return _Batch(3 * (in_range // (n_rows * self.slabs[0])) + color, first, pool)

    def _settle(self, n_rows: int, n_ranks: int, where: tuple[Any, Any], count: Any) -> int:
        """Sweep over seeds until their claims stay.

        Row by row from outside at first, each writing claims while others read: a guess that is nearly right. Where it
        starts from changes how many sweeps there are, not where they end.
        """
        for only in range(n_rows):
            self._sweep(only, n_ranks, where, count, self.grid.used)
        n_sweeps = 0
        while True:
            self._renew(CLEAR)
            self._sweep(-1, n_ranks, where, count, self.spare)
            n_sweeps += 1
            flag = self.backend.zero(self.backend.scratch("candidates.flag", 1, np.int32))
            self.backend.run(claims_differ, self._n_threads(), self.grid.used, self.spare, flag)
            self._swap()
            if not self.backend.fetch(flag)[0]:
                return n_sweeps

    def _sweep(self, only: int, n_ranks: int, where: tuple[Any, Any], count: Any, claims: Any) -> None:
        (color, steps), (search, seeding, rank_start, ranges) = where
        at = (np.int32(only), color, steps, self.grid, self.there, search, seeding, rank_start, ranges)
        self.backend.run(sweep, n_ranks, *at, self.work, claims, count)

    def _store(self, ranks: np.ndarray, first: np.ndarray, where: tuple[Any, Any]) -> tuple[Any, ...]:
        (color, steps), (search, seeding, rank_start, ranges) = where
        backend, n, m = self.backend, len(ranks), int(first[-1])
        f4, i4 = np.float32, np.int32
        pool = backend.empty((n, 6), f4), backend.empty((n, 15), f4), backend.empty(m, i4), backend.empty((m, 2), "u1")
        asked, offsets = backend.send((ranks, first))
        at = (color, steps, self.grid, self.there, search, seeding, rank_start, ranges)
        backend.run(store_tracks, n, asked, *at, self.work, offsets, pool)
        return pool

    def _renew(self, mode: int) -> None:
        """Write renewed claims to the spare array."""
        self.backend.run(renew_claims, self._n_threads(), np.int32(mode), self.grid.used, self.spare)

    def _n_threads(self) -> int:
        return -(-self.n // CLUSTERS_PER_THREAD)

    def _swap(self) -> None:
        used = self.grid.used
        self.grid, self.spare = self.grid._replace(used=self.spare), used


def find_by_candidate(
    clusters: SortedClusters, detector: Detector, search: Search, rounds: list[SeedPass], backend: Backend
) -> tuple[Segments, Sweeps]:
    """Return the tracks that seeding and following find, hits where the backend's kernels read them.

    The backend must be wide (`Backend.is_wide`): `clusters.grid.used` is int32.
    """
    finder = _Finder(clusters, detector, search, backend)
    batches = [finder.find(color, seeding) for seeding in rounds for color in range(3)]
    # sector by sector, in each the rounds one after the other: as they come one at a time
    sector = np.concatenate([batch.sector for batch in batches])
    count = np.concatenate([np.diff(batch.first) for batch in batches])
    target = np.empty(len(sector), np.int32)
    order = np.argsort(sector, kind="stable")
    target[order] = np.arange(len(sector))
    offsets = _offsets(count[order])
    n, m, f4, i4 = len(sector), int(offsets[-1]), np.float32, np.int32
    par, cov, first = backend.empty((n, 6), f4), backend.empty((n, 15), f4), backend.empty(n + 1, i4)
    hits = tuple(backend.room(m, dtype) for dtype in (i4, f4, f4, np.uint8, np.uint8))
    begin = 0
    for batch in batches:
        to = target[begin : begin + len(batch.sector)]
        begin += len(to)
        there = backend.send((batch.first, to, offsets[to]))
        grid, source = finder.grid, clusters.source
        backend.run(place_tracks, len(to), there[0], batch.pool, *there[1:], grid, source, par, cov, first, hits)
    par, cov = backend.fetch(par), backend.fetch(cov)
    width = backend.zero(backend.room((m, 2), f4))
    return Segments(par, cov, Hits(*(offsets, *hits, width))), finder.told


def _offsets(count: np.ndarray) -> np.ndarray:
    """Return the running sums (n + 1,) int32 of counts."""
    out = np.zeros(len(count) + 1, np.int32)
    np.cumsum(count, out=out[1:])
    return out
