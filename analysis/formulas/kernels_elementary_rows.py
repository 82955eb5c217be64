"""Compiled loops over rows of the bodies in `kernels_elementary`: one thread, as a task has one core.

Knows numba and arrays. No fast mathematics and no contraction: the bits are those of numpy.
"""

from numba import njit
from numba.extending import overload

from o2dask.analysis.formulas.kernels_elementary import asinh_body, azimuth_body, select

__all__ = ["asinh_rows", "azimuth_rows"]


@overload(select)
def _select(condition, one, other):
    return lambda condition, one, other: one if condition else other


asinh_one = njit(nogil=True, error_model="numpy")(asinh_body)
azimuth_one = njit(nogil=True, error_model="numpy")(azimuth_body)


@njit(cache=True, nogil=True, error_model="numpy")
def asinh_rows(x, out):
    """Write asinh of x (n,) float32 to out (n,) float32."""
    for i in range(len(out)):
        out[i] = asinh_one(x[i])


@njit(cache=True, nogil=True, error_model="numpy")
def azimuth_rows(snp, alpha, out):
    """Write the azimuth of snp, alpha (n,) float32 to out (n,) float32."""
    for i in range(len(out)):
        out[i] = azimuth_one(snp[i], alpha[i])
