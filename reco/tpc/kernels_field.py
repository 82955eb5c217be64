"""The magnetic field along a track: constant, a solenoid's with its ends, or a map that depends on the azimuth too."""

import math

import numpy as np

from o2dask.reco.tpc.kernels_jit import inlined

__all__ = [
    "AXIAL_TERMS",
    "SECTOR_TERMS",
    "along_and_across",
    "field_at",
    "field_in_sector",
    "monomials",
    "quadratic",
    "terms_in_sector",
]

AXIAL_TERMS, SECTOR_TERMS = 5, 30
"""Coefficients of a field without azimuth, and of a sector's polynomial: ten each of Bx, By, Bz."""
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


@inlined
def monomials(x, y, z):
    """Return x y z xx xy xz yy yz zz."""
    return x, y, z, x * x, x * y, x * z, y * y, y * z, z * z


@inlined
def quadratic(terms, products):
    """Return a polynomial of ten terms at a point given by its `monomials`."""
    x, y, z, xx, xy, xz, yy, yz, zz = products
    low = terms[0] + terms[1] * x + terms[2] * y + terms[3] * z + terms[4] * xx
    return low + (terms[5] * xy + terms[6] * xz + terms[7] * yy + terms[8] * yz + terms[9] * zz)


@inlined
def _ten(a, k):
    return (a[k], a[k + 1], a[k + 2], a[k + 3], a[k + 4], a[k + 5], a[k + 6], a[k + 7], a[k + 8], a[k + 9])


@inlined
def field_in_sector(field, sector, x, y, z):
    """Return (bx, by, bz) [kG] at a point in a sector's frame.

    field : flat float32; behind the first 5 per sector 0-17 ten coefficients of Bx, By, Bz: 1 x y z xx xy xz yy yz zz.
    """
    k = AXIAL_TERMS + SECTOR_TERMS * (sector % 18)
    products = monomials(x, y, z)
    bx = quadratic(_ten(field, k), products)
    by = quadratic(_ten(field, k + 10), products)
    bz = quadratic(_ten(field, k + 20), products)
    return bx, by, bz


@inlined
def field_at(field, sector, x, y, z, snp, tgl):
    """Return (field that bends the track, field across it) [kG] at a point.

    field : (1,) Bz; (5,) f with Bz = f0 + f1 r2 + f2 z2 + f3 z and radial field Br = f4 r z; or more, see
        `field_in_sector`, which is used for sector >= 0.

    The transverse field along the track adds to the bending as -tgl B_along; B_across turns it in the dip angle.
    """
    if field.shape[0] == 1:
        return field[0], _ZERO
    if sector >= 0 and field.shape[0] > AXIAL_TERMS:
        bx, by, bz = field_in_sector(field, sector, x, y, z)
    else:
        radial = field[4] * z
        bx, by, bz = radial * x, radial * y, field[0] + field[1] * (x * x + y * y) + (field[2] * z + field[3]) * z
    csp = math.sqrt(max(_ONE - snp * snp, _ZERO))
    return along_and_across(bx, by, bz, csp, snp, tgl)


@inlined
def terms_in_sector(field, sector, out, start, stride):
    """Write the 30 terms of `field_in_sector` of any field of `field_at` to out[start + i * stride]."""
    for i in range(SECTOR_TERMS):
        out[start + i * stride] = _ZERO
    if field.shape[0] > AXIAL_TERMS:
        for i in range(SECTOR_TERMS):
            out[start + i * stride] = field[AXIAL_TERMS + SECTOR_TERMS * (sector % 18) + i]
        return
    out[start + 20 * stride] = field[0]
    if field.shape[0] > 1:
        out[start + 6 * stride] = out[start + 18 * stride] = field[4]
        out[start + 24 * stride] = out[start + 27 * stride] = field[1]
        out[start + 29 * stride] = field[2]
        out[start + 23 * stride] = field[3]


@inlined
def along_and_across(bx, by, bz, csp, snp, tgl):
    """Return what `field_at` does of a field and a direction."""
    return bz - tgl * (csp * bx + snp * by), csp * by - snp * bx
