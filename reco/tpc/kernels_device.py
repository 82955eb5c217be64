"""GPU launchers: the CPU bodies, one item per thread. Needs numba-cuda; see `o2dask.reco.tpc.device`."""

from numba import cuda

from o2dask.reco.tpc.kernels_fit import fit_track

__all__ = ["fit_tracks_kernel"]


@cuda.jit
def fit_tracks_kernel(
    first, hit_y, hit_z, hit_row, hit_sector, hit_width, detector, chi2_drop, par, cov, chi2, last, path
):
    """Run `fit_track` on every track."""
    i = cuda.grid(1)
    if i < par.shape[0]:
        fit_track(
            i, first, hit_y, hit_z, hit_row, hit_sector, hit_width, detector, chi2_drop, par, cov, chi2, last, path
        )
