"""Elementary functions of float32 columns where numpy's own are scalar loops: asinh, and the azimuth of a track.

Long columns go through compiled loops, short ones through numpy, so that numba is imported by who gains from it; the
bits are the same.
"""

# mypy: allow-untyped-calls

import numpy as np

from o2dask.analysis.formulas.kernels_elementary import asinh_body, azimuth_body

__all__ = ["COMPILED_FROM", "asinh", "azimuth"]

COMPILED_FROM = 1 << 12
"""Rows from which a compiled loop is faster than numpy."""
PLAIN_ROWS = 1 << 22
"""Rows that go through numpy before numba is imported, which takes as long as these are slower."""


_plain = {"rows": 0}


def _is_worth_compiling(n: int) -> bool:
    if n < COMPILED_FROM:
        return False
    _plain["rows"] += n  # threads may lose a count: the bits are the same either way
    return _plain["rows"] > PLAIN_ROWS


def asinh(x: np.ndarray) -> np.ndarray:
    """Return the inverse hyperbolic sine to a relative precision of 5e-7, ten times as fast as numpy's.

    As precise as the columns that it is used on, whose mantissas the producer cuts to 15 bits. Other types than
    float32 get numpy's own.
    """
    if x.dtype != np.float32:
        exact: np.ndarray = np.arcsinh(x)
        return exact
    if x.ndim != 1 or not _is_worth_compiling(len(x)):
        found: np.ndarray = asinh_body(x)
        return found
    from o2dask.analysis.formulas.kernels_elementary_rows import asinh_rows

    out = np.empty_like(x)
    asinh_rows(x, out)
    return out


def azimuth(snp: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return arcsin(snp) + alpha in [0, 2 pi) [rad] to 1e-6: float32 (n,) of float32; NaN where |snp| is above 1."""
    if snp.dtype != np.float32 or alpha.dtype != np.float32:
        snp, alpha = snp.astype(np.float32), alpha.astype(np.float32)
    if snp.ndim != 1 or not _is_worth_compiling(len(snp)):
        found: np.ndarray = azimuth_body(snp, alpha)
        return found
    from o2dask.analysis.formulas.kernels_elementary_rows import azimuth_rows

    out = np.empty_like(snp)
    azimuth_rows(snp, alpha, out)
    return out
