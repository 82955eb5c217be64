"""GPU launchers of `kernels_candidates`: one thread per seed, per track or per cluster. Needs numba-cuda.

Claims of seeds side by side need an atomic maximum, the only atomic there is: the largest of whole numbers does not
depend on the order, so neither do results.
"""

from numba import cuda, float32, int32

from o2dask.reco.tpc.kernels_candidates import (
    candidate_range,
    claims_differ,
    find_ranges,
    place_track,
    place_tracks,
    renew_claim,
    renew_claims,
    store_track,
    store_tracks,
    sweep,
    try_candidate,
)

__all__ = ["CANDIDATE_KERNELS"]

N_ROWS = 152


@cuda.jit
def ranges_kernel(color, steps, grid, seeding, ranges):
    """Run `candidate_range` on every range."""
    r = cuda.grid(1)
    if r < ranges.shape[0]:
        candidate_range(r, color, steps, grid, seeding, ranges)


@cuda.jit
def sweep_kernel(only, color, steps, grid, detector, search, seeding, rank_start, ranges, shared, claims, count):
    """Try every candidate; `shared` is the CPU's scratch, a thread has its own."""
    rank = cuda.grid(1)
    if rank < count.shape[0]:
        hits = cuda.local.array(N_ROWS, int32)
        scratch = (
            cuda.local.array(6, float32),
            cuda.local.array(15, float32),
            cuda.local.array(5, float32),
            hits,
            cuda.local.array(N_ROWS, int32),
        )
        n, row_in, row_out = try_candidate(
            rank, only, color, steps, grid, detector, search, seeding, rank_start, ranges, scratch
        )
        count[rank] = n
        if n > 0:
            for row in range(row_in, row_out + 1):
                if hits[row] >= 0:
                    cuda.atomic.max(claims, hits[row], int32(count.shape[0] - rank))


@cuda.jit
def store_kernel(ranks, color, steps, grid, detector, search, seeding, rank_start, ranges, shared, first, pool):
    """Follow the candidates of tracks again, and store these."""
    t = cuda.grid(1)
    if t < ranks.shape[0]:
        scratch = (
            cuda.local.array(6, float32),
            cuda.local.array(15, float32),
            cuda.local.array(5, float32),
            cuda.local.array(N_ROWS, int32),
            cuda.local.array(N_ROWS, int32),
        )
        n, row_in, row_out = try_candidate(
            ranks[t], -1, color, steps, grid, detector, search, seeding, rank_start, ranges, scratch
        )
        store_track(t, n, row_in, row_out, scratch, first, pool)


@cuda.jit
def place_kernel(first, pool, target, target_first, grid, index, par, cov, out_first, hits):
    """Run `place_track` on every track of a pool."""
    t = cuda.grid(1)
    if t < target.shape[0]:
        place_track(t, first, pool, target, target_first, grid, index, par, cov, out_first, hits)


@cuda.jit
def renew_kernel(mode, old, new):
    """Run `renew_claim` on every cluster; a thread takes many."""
    for i in range(cuda.grid(1), old.shape[0], cuda.gridsize(1)):
        renew_claim(i, mode, old, new)


@cuda.jit
def differ_kernel(old, new, flag):
    """Set flag (1,) int32 to 1 where claims differ; whoever writes, writes the same."""
    for i in range(cuda.grid(1), old.shape[0], cuda.gridsize(1)):
        if old[i] != new[i]:
            flag[0] = 1


CANDIDATE_KERNELS = {
    find_ranges: ranges_kernel,
    sweep: sweep_kernel,
    store_tracks: store_kernel,
    place_tracks: place_kernel,
    renew_claims: renew_kernel,
    claims_differ: differ_kernel,
}
"""The kernel of each CPU launcher; both take the same arguments."""
