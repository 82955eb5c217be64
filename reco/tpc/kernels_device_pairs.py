"""GPU launchers of `kernels_pairs`: one track or one pair of tracks per thread."""

from numba import cuda

from o2dask.reco.tpc.kernels_pairs import (
    find_all_beside,
    find_beside,
    note_owner,
    note_owners,
    untangle,
    untangle_all,
)

__all__ = ["PAIR_KERNELS"]


@cuda.jit
def owner_kernel(first, cluster, owner):
    """Run `note_owner` on every track."""
    i = cuda.grid(1)
    if i < first.shape[0] - 1:
        note_owner(i, first, cluster, owner)


@cuda.jit
def beside_kernel(first, hits, owner, source, grid, detector, window, beside, count):
    """Run `find_beside` on every track."""
    i = cuda.grid(1)
    if i < beside.shape[0]:
        find_beside(i, first, hits, owner, source, grid, detector, window, beside, count)


@cuda.jit
def untangle_kernel(pairs, first, hits, detector, chi2_drop, fitted, scratch):
    """Run `untangle` on every pair."""
    i = cuda.grid(1)
    if i < pairs.shape[0]:
        untangle(i, pairs, first, hits, detector, chi2_drop, fitted, scratch)


PAIR_KERNELS = {note_owners: owner_kernel, find_all_beside: beside_kernel, untangle_all: untangle_kernel}
"""The kernel of each CPU launcher; both take the same arguments."""
