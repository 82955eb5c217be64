"""From packed pads and time bins to centimetres, one cluster at a time."""

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_jit import body, launcher

__all__ = ["locate", "locate_all"]


@body
def locate(i, sector, pad_row, time, pad, sigma_pad, sigma_time, pads, times, y, z, widths):
    """Write y, z [cm] and squared widths (n, 2) [cm2] of cluster i.

    pads : (152, 3) float32, cm per unit of pad, y of pad 0 on the A side [cm], cm per unit of sigma_pad.
    times : (3,) float64, cm per unit of time, drift length [cm], cm per unit of sigma_time.
    """
    row = np.int64(pad_row[i])
    side = np.float32(1.0) if sector[i] < 18 else np.float32(-1.0)
    y[i] = side * (np.float32(pad[i]) * pads[row, 0] + pads[row, 1])
    z[i] = side * np.float32(times[1] - time[i] * times[0])
    width_y = np.float32(sigma_pad[i]) * pads[row, 2]
    width_z = np.float32(sigma_time[i] * times[2])
    widths[i, 0] = width_y * width_y
    widths[i, 1] = width_z * width_z


@launcher
def locate_all(sector, pad_row, time, pad, sigma_pad, sigma_time, pads, times, y, z, widths):
    """Run `locate` on every cluster."""
    for i in prange(y.shape[0]):
        locate(np.int64(i), sector, pad_row, time, pad, sigma_pad, sigma_time, pads, times, y, z, widths)
