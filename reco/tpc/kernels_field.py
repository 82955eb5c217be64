"""The magnetic field along a track: constant, a solenoid's with its ends, or a map that depends on the azimuth too."""

import math

import numpy as np

from o2dask.reco.tpc.kernels_jit import inlined

__all__ = ["AXIAL_TERMS", "SECTOR_TERMS", "field_at", "field_in_sector"]

AXIAL_TERMS, SECTOR_TERMS = 5, 30
"""Coefficients of a field without azimuth, and of a sector's polynomial: ten each of Bx, By, Bz."""
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


@inlined
def field_in_sector(field, sector, x, y, z):
    """Return (bx, by, bz) [kG] at a point in a sector's frame.

    field : flat float32; behind the first 5 per sector 0-17 ten coefficients of Bx, By, Bz: 1 x y z xx xy xz yy yz zz.
    """
    k = AXIAL_TERMS + SECTOR_TERMS * (sector % 18)
    xx, xy, xz, yy, yz, zz = x * x, x * y, x * z, y * y, y * z, z * z
    bx = field[k] + field[k + 1] * x + field[k + 2] * y + field[k + 3] * z + field[k + 4] * xx
    bx += field[k + 5] * xy + field[k + 6] * xz + field[k + 7] * yy + field[k + 8] * yz + field[k + 9] * zz
    k += 10
    by = field[k] + field[k + 1] * x + field[k + 2] * y + field[k + 3] * z + field[k + 4] * xx
    by += field[k + 5] * xy + field[k + 6] * xz + field[k + 7] * yy + field[k + 8] * yz + field[k + 9] * zz
    k += 10
    bz = field[k] + field[k + 1] * x + field[k + 2] * y + field[k + 3] * z + field[k + 4] * xx
    bz += field[k + 5] * xy + field[k + 6] * xz + field[k + 7] * yy + field[k + 8] * yz + field[k + 9] * zz
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
    csp = math.sqrt(max(_ONE - snp * snp, _ZERO))
    if sector >= 0 and field.shape[0] > AXIAL_TERMS:
        bx, by, bz = field_in_sector(field, sector, x, y, z)
    else:
        radial = field[4] * z
        bx, by, bz = radial * x, radial * y, field[0] + field[1] * (x * x + y * y) + (field[2] * z + field[3]) * z
    return bz - tgl * (csp * bx + snp * by), csp * by - snp * bx
