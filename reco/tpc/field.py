"""The solenoid's field as the kernels take it: from a number, five terms, or a polynomial of the whole TPC."""

import numpy as np

from o2dask.errors import ConfigError
from o2dask.reco.geometry.tpc import BZ_KG, sector_alpha

__all__ = ["O2_FIELD_5KG", "field_coefficients"]

O2_FIELD_5KG = BZ_KG * np.array(
    [
        [-2.5832e-5, 2.25565e-6, -4.1472e-8, -2.75252e-6, -8.7203e-9, 1.7242e-9, 3.19352e-7, -3.2809e-9, 5.648e-10,
         8.9219e-9],
        [6.3795e-6, -4.4619e-8, 9.01212e-7, 8.26001e-6, 7.990e-10, -7.4511e-9, 4.818e-10, 8.354e-10, 3.14677e-7,
         -1.1842e-9],
        [0.99966395, -3.545532e-6, 7.734970e-6, -2.905514e-6, 1.697389e-7, 5.0087e-10, 2.100372e-8, 1.668271e-7,
         -2.641362e-9, -3.026373e-7],
    ]
)  # fmt: skip
"""Bx, By, Bz of the solenoid at 5 kG [kG], in 1 x y z xx xy xz yy yz zz of global coordinates [cm].

Coefficients of O2's map in the TPC, AliceO2 GPU/GPUTracking/Merger/GPUTPCGMPolynomialFieldManager.cxx. The terms in x
and y are up to 0.2 % of the field at the outer rows: without them q/pt is off by as much, depending on the azimuth.
"""


def _monomials(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), x, y, z, x * x, x * y, x * z, y * y, y * z, z * z], axis=-1)


def field_coefficients(field: "float | np.ndarray") -> np.ndarray:
    """Return the field (1,), (5,) or (545,) float32 for `kernels_field.field_at`.

    Parameters
    ----------
    field : float or array
        Bz [kG]; (5,) the terms of a field without azimuth; (3, 10) as `O2_FIELD_5KG`.
    """
    given = np.atleast_1d(np.asarray(field, np.float64))
    main = given[2, 0] if given.shape == (3, 10) else given.ravel()[0]
    if given.shape not in ((1,), (5,), (3, 10)) or not np.isfinite(given).all() or abs(main) < 1e-3:
        raise ConfigError(f"field: want Bz [kG], 5 terms with Bz first or (3, 10), not zero, got {field}")
    if given.shape != (3, 10):
        return given.astype(np.float32)
    bz = given[2]
    radial = 0.5 * (given[0, 6] + given[1, 8])
    axial = np.array([bz[0], 0.5 * (bz[4] + bz[7]), bz[9], bz[3], radial])
    # a polynomial in rotated coordinates has the same degree: 27 points of a cube give its coefficients
    x, y, z = (100.0 * axis.ravel() for axis in np.meshgrid(*3 * [np.arange(-1.0, 2.0)]))
    inverse = np.linalg.pinv(_monomials(x, y, z))
    parts = [axial]
    for alpha in sector_alpha(np.arange(18)):
        c, s = np.cos(alpha), np.sin(alpha)
        bx, by, b = given @ _monomials(c * x - s * y, s * x + c * y, z).T
        parts += [inverse @ (c * bx + s * by), inverse @ (c * by - s * bx), inverse @ b]
    return np.concatenate(parts).astype(np.float32)
