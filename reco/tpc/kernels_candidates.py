"""Seeds followed side by side, with the result of following them one after the other.

Followed in order, a seed sees the clusters that earlier tracks took as used. Followed at once, each says which clusters
it takes, and the earliest seed to say so has a cluster: `claims`, where larger is earlier. What they find with these
claims gives new claims; once claims come back as they were, every seed has seen just what earlier ones took. By
induction over the order that is the result of following them one after the other, and it is the only fixed point: the
first seed is right from the first sweep on, the next ones as soon as all before them are. The largest claim of several
is the same in whatever order they come, so the result does not depend on it.
"""

import numpy as np

from o2dask.reco.tpc.kernels_following import follow
from o2dask.reco.tpc.kernels_grid import row_offset
from o2dask.reco.tpc.kernels_jit import body
from o2dask.reco.tpc.kernels_seeding import find_seed, seed_state
from o2dask.reco.tpc.kernels_types import Grid

__all__ = [
    "TAKEN",
    "candidate_range",
    "claims_differ",
    "find_ranges",
    "place_track",
    "place_tracks",
    "renew_claim",
    "renew_claims",
    "store_track",
    "store_tracks",
    "sweep",
    "try_candidate",
]

TAKEN = np.int32(2**31 - 1)
"""Claim of a cluster that a track of an earlier sector colour or round of seeding has for good."""
N_ROWS = 152


@body
def candidate_range(r, color, steps, grid, seeding, ranges):
    """Write the first cluster and the end of range `r` to ranges (n, 2) int32: of one sector, slab in z, seeding row.

    steps : slabs, seeding rows, cells in z of a slab. Ranges are in the order of `kernels_following.find_in_sector`.
    """
    n_slabs, n_rows, per_slab = steps
    row = np.int64(seeding.row_first) - (r % n_rows) * np.int64(seeding.row_step)
    slab = (r // n_rows) % n_slabs
    sector = 3 * (r // (n_rows * n_slabs)) + color
    nz, ny = np.int64(grid.nz), np.int64(grid.row_ny[row])
    base = row_offset(grid, sector, row)
    ranges[r, 0] = grid.cell_start[base + min(slab * per_slab, nz) * ny]
    ranges[r, 1] = grid.cell_start[base + min((slab + 1) * per_slab, nz) * ny]


@body
def try_candidate(rank, only, color, steps, grid, detector, search, seeding, rank_start, ranges, scratch):
    """Return (clusters, innermost row, outermost row) of the track of a candidate; 0 clusters: none.

    rank : place in the order of all candidates of the colour; it sees clusters claimed by earlier ones as used.
    only : seeding row (its number from outside) that is tried, -1: all. rank_start : (n_ranges + 1,) int32.
    scratch : par (6,), cov (15,), best (5,) float32; hits, hit_sector (152,) int32. The track is in all but `best`.
    """
    par, cov, best, hits, hit_sector = scratch
    n_slabs, n_rows, _ = steps
    low, high = 0, rank_start.shape[0] - 1
    while high - low > 1:
        middle = (low + high) // 2
        if rank_start[middle] <= rank:
            low = middle
        else:
            high = middle
    j = low % n_rows
    if only >= 0 and j != only:
        return 0, 0, 0
    row = np.int64(seeding.row_first) - j * np.int64(seeding.row_step)
    sector = 3 * (low // (n_rows * n_slabs)) + color
    a = np.int64(ranges[low, 0]) + rank - np.int64(rank_start[low])
    turn = np.int32(np.int64(rank_start[rank_start.shape[0] - 1]) - rank)
    if grid.used[a] > turn:
        return 0, 0, 0
    own = Grid(
        grid.yz,
        grid.cell_start,
        grid.row_cell,
        grid.row_ny,
        grid.sector_cells,
        grid.nz,
        grid.w_min,
        grid.inv_dy,
        grid.inv_dz,
        grid.used,
        turn,
    )
    if not find_seed(own, detector, search, seeding, sector, row, a, best):
        return 0, 0, 0
    seed_state(par, cov, detector, seeding, row, grid.yz[a, 0], grid.yz[a, 1], best)
    n, row_in, row_out, _ = follow(sector, row, par, cov, hits, hit_sector, own, detector, search)
    return n, row_in, row_out


@body
def store_track(t, n, row_in, row_out, scratch, first, pool):
    """Copy track `t` from scratch to the pool: track (n, 6), cov (n, 15); hit (m,), place (m, 2) from first[t] on."""
    par, cov, _, hits, hit_sector = scratch
    track, track_cov, hit, place = pool
    for k in range(6):
        track[t, k] = par[k]
    for k in range(15):
        track_cov[t, k] = cov[k]
    at, end = first[t], first[t] + n
    for row in range(row_in, row_out + 1):
        if hits[row] >= 0 and at < end:
            hit[at] = hits[row]
            place[at, 0] = row
            place[at, 1] = hit_sector[row]
            at += 1


@body
def place_track(t, first, pool, target, target_first, grid, index, par, cov, out_first, hits):
    """Copy track `t` of a pool to row target[t] of the output, its hits to target_first[t] and on."""
    track, track_cov, hit, place = pool
    cluster, y, z, row, hit_sector = hits
    to, at = target[t], target_first[t]
    out_first[to] = at
    for k in range(6):
        par[to, k] = track[t, k]
    for k in range(15):
        cov[to, k] = track_cov[t, k]
    for k in range(first[t], first[t + 1]):
        i = hit[k]
        cluster[at] = index[i]
        y[at] = grid.yz[i, 0]
        z[at] = grid.yz[i, 1]
        row[at] = place[k, 0]
        hit_sector[at] = place[k, 1]
        at += 1


@body
def renew_claim(i, mode, old, new):
    """Write new[i], int32: mode 1 no claim but what is `TAKEN`, 2 `TAKEN` where there is a claim."""
    is_taken = old[i] == TAKEN if mode == 1 else old[i] > 0
    new[i] = TAKEN if is_taken else np.int32(0)


# Launchers on one core, for tests and as what kernels_device maps to the GPU's: the order of claims needs no loop of
# its own there, and here tracks are better found one after the other.


@body
def find_ranges(color, steps, grid, seeding, ranges):
    """Run `candidate_range` on every range."""
    for r in range(ranges.shape[0]):
        candidate_range(r, color, steps, grid, seeding, ranges)


@body
def sweep(only, color, steps, grid, detector, search, seeding, rank_start, ranges, scratch, claims, count):
    """Try every candidate: write the largest claim on each cluster, and clusters per candidate to count (n_ranks,)."""
    hits = scratch[3]
    n_ranks = count.shape[0]
    for rank in range(n_ranks):
        n, row_in, row_out = try_candidate(
            rank, only, color, steps, grid, detector, search, seeding, rank_start, ranges, scratch
        )
        count[rank] = n
        if n > 0:
            for row in range(row_in, row_out + 1):
                if hits[row] >= 0:
                    claims[hits[row]] = max(claims[hits[row]], np.int32(n_ranks - rank))


@body
def store_tracks(ranks, color, steps, grid, detector, search, seeding, rank_start, ranges, scratch, first, pool):
    """Follow the candidates `ranks` (n,) int32 again, and store their tracks."""
    for t in range(ranks.shape[0]):
        n, row_in, row_out = try_candidate(
            ranks[t], -1, color, steps, grid, detector, search, seeding, rank_start, ranges, scratch
        )
        store_track(t, n, row_in, row_out, scratch, first, pool)


@body
def place_tracks(first, pool, target, target_first, grid, index, par, cov, out_first, hits):
    """Run `place_track` on every track of a pool."""
    for t in range(target.shape[0]):
        place_track(t, first, pool, target, target_first, grid, index, par, cov, out_first, hits)


@body
def renew_claims(mode, old, new):
    """Run `renew_claim` on every cluster."""
    for i in range(old.shape[0]):
        renew_claim(i, mode, old, new)


@body
def claims_differ(old, new, flag):
    """Set flag (1,) int32 to 1 where claims differ."""
    for i in range(old.shape[0]):
        if old[i] != new[i]:
            flag[0] = 1
