"""GPU launchers: the CPU launchers' bodies, one item per thread. Needs numba-cuda; see `o2dask.reco.tpc.device`."""

from numba import cuda

from o2dask.reco.tpc.kernels_calibration import correct_hits, correct_track, equalise, equalise_all
from o2dask.reco.tpc.kernels_dedx import dedx_track, dedx_tracks
from o2dask.reco.tpc.kernels_device_candidates import CANDIDATE_KERNELS
from o2dask.reco.tpc.kernels_device_pairs import PAIR_KERNELS
from o2dask.reco.tpc.kernels_fit import fit_track, fit_tracks
from o2dask.reco.tpc.kernels_grid import sort_cells, sort_row
from o2dask.reco.tpc.kernels_hits import (
    collect_hits,
    collect_piece,
    drift_of_row,
    drift_of_rows,
    shift_hits,
    shift_track,
)
from o2dask.reco.tpc.kernels_loopers import find_next_leg, find_next_legs
from o2dask.reco.tpc.kernels_merging import find_partner, find_partners
from o2dask.reco.tpc.kernels_positions import locate, locate_all

__all__ = ["KERNELS", "take_kernel"]


@cuda.jit
def locate_kernel(sector, pad_row, time, pad, sigma_pad, sigma_time, pads, times, y, z, widths):
    """Run `locate` on every cluster."""
    i = cuda.grid(1)
    if i < y.shape[0]:
        locate(i, sector, pad_row, time, pad, sigma_pad, sigma_time, pads, times, y, z, widths)


@cuda.jit
def sort_kernel(y, z, order, row_start, row_half, grid, index):
    """Run `sort_row` on every sector row: count, running sum, fill."""
    key = cuda.grid(1)
    if key < row_start.shape[0] - 1:
        sort_row(key, y, z, order, row_start, row_half, grid, index)


@cuda.jit
def span_kernel(z, order, row_start, span):
    """Run `drift_of_row` on every sector row."""
    key = cuda.grid(1)
    if key < span.shape[0]:
        drift_of_row(key, z, order, row_start, span)


@cuda.jit
def shift_kernel(first, shift, hit_sector, hit_z):
    """Run `shift_track` on every track."""
    i = cuda.grid(1)
    if i < shift.shape[0]:
        shift_track(i, first, shift, hit_sector, hit_z)


@cuda.jit
def collect_kernel(pieces, first, out_first, hits, out):
    """Run `collect_piece` on every piece."""
    p = cuda.grid(1)
    if p < pieces.shape[0]:
        collect_piece(p, pieces, first, out_first, hits, out)


@cuda.jit
def take_kernel(array, index, out):
    """Copy the rows index (n,) of array (m, k) to out (n, k)."""
    i = cuda.grid(1)
    if i < out.shape[0]:
        for k in range(out.shape[1]):
            out[i, k] = array[index[i], k]


@cuda.jit
def fit_kernel(first, hit_y, hit_z, hit_row, hit_sector, hit_width, detector, chi2_drop, par, cov, chi2, last, path):
    """Run `fit_track` on every track."""
    i = cuda.grid(1)
    if i < par.shape[0]:
        fit_track(
            i, first, hit_y, hit_z, hit_row, hit_sector, hit_width, detector, chi2_drop, par, cov, chi2, last, path
        )


@cuda.jit
def partners_kernel(ends, detector, matching, partner, chi2, shift):
    """Run `find_partner` on every track."""
    o = cuda.grid(1)
    if o < partner.shape[0]:
        find_partner(o, ends, detector, matching, partner, chi2, shift)


@cuda.jit
def dedx_kernel(first, row, q_tot, q_max, path, drift, settings, work, dedx, crossed):
    """Run `dedx_track` on every track."""
    i = cuda.grid(1)
    if i < dedx.shape[0]:
        dedx_track(i, first, row, q_tot, q_max, path, drift, settings, work, dedx, crossed)


@cuda.jit
def legs_kernel(legs, tolerance, follower, distance):
    """Run `find_next_leg` on every leg."""
    a = cuda.grid(1)
    if a < follower.shape[0]:
        find_next_leg(a, legs, tolerance, follower, distance)


@cuda.jit
def correct_kernel(first, row, sector, par, own_sector, bz, row_x, shifts, max_z2x, y, z):
    """Run `correct_track` on every track."""
    i = cuda.grid(1)
    if i < par.shape[0]:
        correct_track(i, first, row, sector, par, own_sector, bz, row_x, shifts, max_z2x, y, z)


@cuda.jit
def equalise_kernel(sector, row, pad, q_tot, q_max, gain, out_tot, out_max):
    """Run `equalise` on every cluster."""
    i = cuda.grid(1)
    if i < out_tot.shape[0]:
        equalise(i, sector, row, pad, q_tot, q_max, gain, out_tot, out_max)


KERNELS = {
    locate_all: locate_kernel,
    sort_cells: sort_kernel,
    drift_of_rows: span_kernel,
    shift_hits: shift_kernel,
    collect_hits: collect_kernel,
    fit_tracks: fit_kernel,
    find_partners: partners_kernel,
    find_next_legs: legs_kernel,
    dedx_tracks: dedx_kernel,
    correct_hits: correct_kernel,
    equalise_all: equalise_kernel,
    **CANDIDATE_KERNELS,
    **PAIR_KERNELS,
}
"""The kernel of each CPU launcher; both take the same arguments."""
