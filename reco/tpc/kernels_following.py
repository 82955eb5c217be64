"""From seeds to tracks, sector by sector: greedy, each cluster owned by one track.

A track stays within one sector of its home, so sectors three apart touch different clusters: they run in parallel, in
three rounds, with one result whatever the number of threads.
"""

import math

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_grid import row_offset
from o2dask.reco.tpc.kernels_jit import body, launcher
from o2dask.reco.tpc.kernels_seeding import find_seed, seed_state
from o2dask.reco.tpc.kernels_walk import reset_cov, walk

__all__ = [
    "fill_sector",
    "fill_tracks",
    "find_color",
    "find_in_color",
    "find_in_sector",
    "follow",
    "state_at_outer_end",
]

_TRIM_ROWS = 12
"""Rows at the end of a track on which two in three must have a cluster."""
_WIDEN = np.float32(16.0)
"""By how much the covariance grows before a walk back over the same clusters."""
N_ROWS = 152


@body
def state_at_outer_end(par, sector, row_in, row_out, hits, hit_sector, grid, detector):
    """Turn the state of a track at its innermost cluster into that at its outermost; return whether it can.

    On a circle the chord's direction is the mean of the directions at its ends. What the gas took on the way is left
    out: the state only starts the final fit.
    """
    turn = np.float32(2 * math.pi / 18)
    hit, other = hits[row_out], hit_sector[row_out]
    x, y = detector.row_x[row_out], grid.yz[hit, 0]
    angle = turn * np.float32((other - sector) % 18)
    dx = x * math.cos(angle) - y * math.sin(angle) - par[0]
    dy = x * math.sin(angle) + y * math.cos(angle) - par[1]
    phi = np.float32(2.0) * math.atan2(dy, dx) - math.asin(par[3]) - angle
    snp = math.sin(phi)
    if row_out - row_in < 30 or abs(snp) > np.float32(0.9) or math.cos(phi) < np.float32(0.1):
        return False
    par[0], par[1], par[2], par[3] = x, y, grid.yz[hit, 1], snp
    return True


@body
def trim(hits, hit_sector, row, step, stop):
    """Take the clusters off an end of a track that are fewer than two on three rows; return the row of the new end.

    A track that ends before its walk does picks up clusters of others it crosses: few, over many rows. Only clusters of
    one sector go: the state at the end is in its frame.
    """
    while row != stop:
        n = 0
        for k in range(_TRIM_ROWS):
            at = row + k * step
            if 0 <= at < N_ROWS and hits[at] >= 0:
                n += 1
        if 3 * n >= 2 * _TRIM_ROWS:
            break
        following = row + step
        while following != stop and hits[following] < 0:
            following += step
        if hits[following] < 0 or hit_sector[following] != hit_sector[row]:
            break
        hits[row] = -1
        row = following
    return row


@body
def follow(sector, row, par, cov, hits, hit_sector, grid, detector, search):
    """Return (clusters, innermost row, outermost row, sector of that) of the track of a seed; 0 clusters: none.

    Inwards from the seed with search, then outwards from the innermost cluster through all of them and beyond. From
    the outermost row there is nothing beyond: its tracks are spared the way back.
    """
    for k in range(N_ROWS):
        hits[k] = -1
    n, row_in, sector_in = walk(
        par, cov, sector, row, np.int64(-1), hits, hit_sector, sector, np.int64(7), grid, detector, search
    )
    if n < 8:
        return 0, 0, 0, 0
    row_out, sector_out = row, sector
    is_there = hits[row] >= 0 and state_at_outer_end(par, sector_in, row_in, row, hits, hit_sector, grid, detector)
    if is_there:
        # what lies inside is done: only beyond the seed clusters are looked for
        reset_cov(cov, np.float32(0.1), np.float32(1e-4), np.float32(0.1))
        if row < N_ROWS - 1:
            k_out, row_beyond, sector_beyond = walk(
                par, cov, sector, row + 1, np.int64(1), hits, hit_sector, sector, np.int64(0), grid, detector, search
            )
            if k_out > 0:
                row_out, sector_out = row_beyond, sector_beyond
    else:
        # widened, not reset: one bad cluster at the inner end must not turn the track away from all others
        for k in range(15):
            cov[k] *= _WIDEN
        _, row_out, sector_out = walk(
            par, cov, sector_in, row_in, np.int64(1), hits, hit_sector, sector, np.int64(0), grid, detector, search
        )
    for k in range(row_out + 1, N_ROWS):
        hits[k] = -1
    while hits[row_in] < 0 and row_in < row_out:
        row_in += 1
    row_out = trim(hits, hit_sector, row_out, -1, row_in)
    row_in = trim(hits, hit_sector, row_in, 1, row_out)
    n = 0
    for k in range(row_in, row_out + 1):
        if hits[k] >= 0:
            n += 1
    if n < search.min_clusters or np.float32(n) < search.min_density * np.float32(row_out - row_in + 1):
        return 0, 0, 0, 0
    return n, row_in, row_out, sector_out


@body
def find_in_sector(sector, grid, detector, search, seeding, scratch, pool):
    """Find the tracks whose seeds lie in `sector`, and append them to its part of the pool."""
    # slab by slab in z: clusters of a long timeframe then stay in the cache from one seeding row to the next
    nz = np.int64(grid.nz)
    per_slab = max(np.int64(detector.drift_length * grid.inv_dz), 1)
    for first_iz in range(0, nz, per_slab):
        last_iz = min(first_iz + per_slab, nz)
        row = np.int64(seeding.row_first)
        while row >= 2 * np.int64(seeding.gap):
            base, ny = row_offset(grid, sector, row), np.int64(grid.row_ny[row])
            begin, end = grid.cell_start[base + first_iz * ny], grid.cell_start[base + last_iz * ny]
            for a in range(begin, end):
                if grid.used[a] == 0:
                    find_from(a, sector, row, grid, detector, search, seeding, scratch, pool)
            row -= np.int64(seeding.row_step)


@body
def find_from(a, sector, row, grid, detector, search, seeding, scratch, pool):
    """Append the track whose outermost seeding cluster is `a`, if there is one, to the sector's part of the pool."""
    par, cov, best, hits, hit_sector = scratch
    count, track_out, cov_out, track_info, hit_out, place_out = pool
    if not find_seed(grid, detector, search, seeding, sector, row, a, best):
        return
    seed_state(par, cov, detector, seeding, row, grid.yz[a, 0], grid.yz[a, 1], best)
    n, row_in, row_out, _ = follow(sector, row, par, cov, hits, hit_sector, grid, detector, search)
    if n == 0:
        return
    n_tracks, n_hits = count[0], count[1]
    track_info[n_tracks, 0] = n_hits
    track_info[n_tracks, 1] = n
    for k in range(6):
        track_out[n_tracks, k] = par[k]
    for k in range(15):
        cov_out[n_tracks, k] = cov[k]
    for k in range(row_in, row_out + 1):
        if hits[k] >= 0:
            grid.used[hits[k]] = 1
            hit_out[n_hits] = hits[k]
            place_out[n_hits, 0] = k
            place_out[n_hits, 1] = hit_sector[k]
            n_hits += 1
    count[0], count[1] = n_tracks + 1, n_hits


@body
def find_in_color(sector, grid, detector, search, seeding, scratch, pool, pool_start):
    """Run `find_in_sector` on one of the twelve sectors of a colour; see `find_color`."""
    par, cov, best, hits, hit_sector = scratch
    count, track, track_cov, info, hit, place = pool
    t0, t1 = pool_start[sector, 0], pool_start[sector + 1, 0]
    h0, h1 = pool_start[sector, 1], pool_start[sector + 1, 1]
    find_in_sector(
        sector,
        grid,
        detector,
        search,
        seeding,
        (par[sector], cov[sector], best[sector], hits[sector], hit_sector[sector]),
        (count[sector], track[t0:t1], track_cov[t0:t1], info[t0:t1], hit[h0:h1], place[h0:h1]),
    )


@launcher
def find_color(sectors, grid, detector, search, seeding, scratch, pool, pool_start):
    """Run `find_in_sector` on the twelve sectors (12,) int64 of one colour.

    scratch : par (36, 6), cov (36, 15), best (36, 5) float32; hits, hit_sector (36, 152) int32.
    pool : count (36, 2) int64 of tracks and hits; track (n, 6), cov (n, 15) float32; info (n, 2) int32: first hit in
        the sector's part, clusters; hit (m,) int32, sorted cluster; place (m, 2) uint8, its row and sector.
    pool_start : (37, 2) int64, first track and first hit of each sector's part.
    """
    for k in prange(sectors.shape[0]):
        find_in_color(sectors[k], grid, detector, search, seeding, scratch, pool, pool_start)


@body
def fill_sector(sector, pool, pool_start, out_start, grid, index, par, cov, first, hits):
    """Copy the tracks of one sector's part of the pool to dense arrays; see `fill_tracks`."""
    count, track, track_cov, info, hit, place = pool
    cluster, y, z, row, hit_sector = hits
    n, m = out_start[sector, 0], out_start[sector, 1]
    t0, h0 = pool_start[sector, 0], pool_start[sector, 1]
    for t in range(count[sector, 0]):
        first[n + t] = m + info[t0 + t, 0]
        for k in range(6):
            par[n + t, k] = track[t0 + t, k]
        for k in range(15):
            cov[n + t, k] = track_cov[t0 + t, k]
    for k in range(count[sector, 1]):
        i = hit[h0 + k]
        cluster[m + k] = index[i]
        y[m + k] = grid.yz[i, 0]
        z[m + k] = grid.yz[i, 1]
        row[m + k] = place[h0 + k, 0]
        hit_sector[m + k] = place[h0 + k, 1]


@launcher
def fill_tracks(pool, pool_start, out_start, grid, index, par, cov, first, hits):
    """Copy the pools' tracks, sector by sector, to dense arrays.

    out_start : (37, 2) int64, first track and first hit of each sector in the output. par (n, 6), cov (n, 15) float32;
    first (n + 1,) int32, all but its last filled; hits : cluster int32, y, z float32, row, sector uint8, all (m,).
    """
    for sector in prange(36):
        fill_sector(np.int64(sector), pool, pool_start, out_start, grid, index, par, cov, first, hits)
