"""From seeds to tracks, sector by sector: greedy, each cluster owned by one track.

A track stays within one sector of its home, so sectors three apart touch different clusters: they run in parallel, in
three rounds, with one result whatever the number of threads.
"""

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_jit import body, launcher
from o2dask.reco.tpc.kernels_seeding import find_seed, seed_state
from o2dask.reco.tpc.kernels_walk import walk

__all__ = ["fill_tracks", "find_color", "find_in_sector", "follow"]

_WIDEN = np.float32(16.0)
"""By how much the covariance grows before a walk back over the same clusters."""
N_ROWS = 152
PAR_OUT = 8
"""Columns of a found track: x y z snp tgl q2pt at its outermost cluster; the last two are spare."""


@body
def follow(sector, row, par, cov, hits, hit_sector, grid, detector, search):
    """Return (clusters, innermost row, outermost row, sector of that) of the track of a seed; 0 clusters: none.

    Inwards from the seed with search, then outwards from the innermost cluster through all of them and beyond.
    """
    for k in range(N_ROWS):
        hits[k] = -1
    n, row_in, sector_in = walk(par, cov, sector, row, -1, hits, hit_sector, sector, 7, grid, detector, search)
    if n < 8:
        return 0, 0, 0, 0
    # widened, not reset: one bad cluster at the inner end must not turn the track away from all others
    for k in range(15):
        cov[k] *= _WIDEN
    n, row_out, sector_out = walk(par, cov, sector_in, row_in, 1, hits, hit_sector, sector, 0, grid, detector, search)
    for k in range(row_out + 1, N_ROWS):
        hits[k] = -1
    n = 0
    row_in = -1
    for k in range(row_out + 1):
        if hits[k] >= 0:
            n += 1
            if row_in < 0:
                row_in = k
    if n < search.min_clusters or np.float32(n) < search.min_density * np.float32(row_out - row_in + 1):
        return 0, 0, 0, 0
    return n, row_in, row_out, sector_out


@body
def find_in_sector(sector, row_start, grid, detector, search, seeding, scratch, pool):
    """Find the tracks whose seeds lie in `sector`, and append them to its part of the pool."""
    par, cov, best, hits, hit_sector = scratch
    count, track_out, cov_out, track_info, hit_out = pool
    n_tracks, n_hits = count[0], count[1]
    row = np.int64(seeding.row_first)
    last_row = 2 * np.int64(seeding.gap)
    while row >= last_row:
        key = sector * N_ROWS + row
        for a in range(row_start[key], row_start[key + 1]):
            if grid.used[a] != 0 or not find_seed(grid, detector, search, seeding, sector, row, a, best):
                continue
            seed_state(par, cov, detector, seeding, row, grid.yz[a, 0], grid.yz[a, 1], best)
            n, row_in, row_out, sector_out = follow(sector, row, par, cov, hits, hit_sector, grid, detector, search)
            if n == 0:
                continue
            track_info[n_tracks, 0] = n_hits
            track_info[n_tracks, 1] = n
            track_info[n_tracks, 2] = row_in
            track_info[n_tracks, 3] = row_out
            track_info[n_tracks, 4] = sector_out
            for k in range(6):
                track_out[n_tracks, k] = par[k]
            for k in range(15):
                cov_out[n_tracks, k] = cov[k]
            for k in range(row_in, row_out + 1):
                if hits[k] >= 0:
                    grid.used[hits[k]] = 1
                    hit_out[n_hits] = hits[k]
                    n_hits += 1
            n_tracks += 1
        row -= np.int64(seeding.row_step)
    count[0], count[1] = n_tracks, n_hits


@launcher
def find_color(color, row_start, grid, detector, search, seeding, scratch, pool, pool_start):
    """Run `find_in_sector` on the twelve sectors of one colour.

    scratch : par (36, 6), cov (36, 15), best (36, 5) float32; hits, hit_sector (36, 152) int32.
    pool : count (36, 2) int64 of tracks and hits; track (n, 6), cov (n, 15) float32; info (n, 5) int32: first hit in
        the sector's part, clusters, innermost row, outermost row, sector of the outermost; hit (m,) int32.
    pool_start : (37, 2) int64, first track and first hit of each sector's part.
    """
    par, cov, best, hits, hit_sector = scratch
    count, track, track_cov, info, hit = pool
    for k in prange(12):
        sector = 3 * k + color
        t0, t1 = pool_start[sector, 0], pool_start[sector + 1, 0]
        h0, h1 = pool_start[sector, 1], pool_start[sector + 1, 1]
        find_in_sector(
            sector,
            row_start,
            grid,
            detector,
            search,
            seeding,
            (par[sector], cov[sector], best[sector], hits[sector], hit_sector[sector]),
            (count[sector], track[t0:t1], track_cov[t0:t1], info[t0:t1], hit[h0:h1]),
        )


@body
def fill_tracks(count, pool_start, pool_info, pool_hit, pool_row, first, hits):
    """Copy the pools' tracks, sector by sector, to dense arrays: rows in the pool, hit offsets and hits."""
    n, m = 0, 0
    for sector in range(count.shape[0]):
        for t in range(count[sector, 0]):
            row = pool_start[sector, 0] + t
            pool_row[n] = row
            first[n] = m
            h = pool_start[sector, 1] + pool_info[row, 0]
            for k in range(pool_info[row, 1]):
                hits[m + k] = pool_hit[h + k]
            m += pool_info[row, 1]
            n += 1
    first[n] = m
