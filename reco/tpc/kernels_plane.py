"""The Kalman filter of the search: as in the fit, with the bending plane and the z plane apart.

Nine covariances (yy sy ss qy qs qq, zz tz tt) instead of fifteen: half the work. What links the planes is small in a
solenoid (O2's own tracker leaves it out in its fit, too); the final fit keeps all of it. Bodies for CPU and GPU.
"""

import math

import numpy as np

from o2dask.reco.tpc.kernels_field import field_at
from o2dask.reco.tpc.kernels_helix import (
    B2C,
    GAS_STEP_CM,
    MIN_COS2,
    gas_noise,
    steps_to,
    turned_across,
)
from o2dask.reco.tpc.kernels_jit import body, inlined
from o2dask.reco.tpc.kernels_types import GAS_MASS2

__all__ = ["advance_planes", "load_planes", "rotate_planes", "store_planes", "update_planes"]

_ZERO, _ONE, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)


@inlined
def load_planes(a):
    """Return the nine of an array of 15 in O2's order as a tuple."""
    return (a[0], a[3], a[5], a[10], a[12], a[14], a[2], a[7], a[9])


@inlined
def store_planes(a, c):
    """Write a tuple of nine to an array of 15, and zeros between the planes."""
    a[0], a[3], a[5], a[10], a[12], a[14], a[2], a[7], a[9] = c
    a[1], a[4], a[6], a[8], a[11], a[13] = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO


@inlined
def _transport(y, z, snp, tgl, q2pt, c, dx, curv):
    """Return (ok, y, z, snp, c, path): `kernels_helix.transport` for nine covariances.

    Along the direction half-way, which is off by dx^3 / (24 radius^2): 1 um per row at 50 MeV/c. The search waits for
    every root and every division; half-way there is one of them.
    """
    half = _HALF * curv * dx * q2pt
    middle, snp2 = snp + half, snp + half + half
    cos2 = _ONE - middle * middle
    if cos2 < MIN_COS2 or snp2 * snp2 > _ONE - MIN_COS2:
        return False, y, z, snp, c, _ZERO
    bend = curv * dx
    inv = _ONE / math.sqrt(cos2)
    path = f13 = dx * inv
    f02 = f13 * inv * inv
    f04 = _HALF * bend * f02
    yy, sy, ss, qy, qs, qq, zz, tz, tt = c
    b0 = f02 * sy + f04 * qy
    b1 = f02 * ss + f04 * qs
    b2 = f02 * qs + f04 * qq
    qs_new = qs + bend * qq
    out = (
        yy + b0 + b0 + f02 * b1 + f04 * b2,
        sy + b1 + bend * (qy + b2),
        ss + bend * (qs + qs_new),
        qy + b2,
        qs_new,
        qq,
        zz + f13 * (tz + tz + f13 * tt),
        tz + f13 * tt,
        tt,
    )
    return True, y + middle * path, z + tgl * path, snp2, out, path


@inlined
def _gas_due(snp, tgl, q2pt, c, waiting, gas):
    """Return (q2pt, c, waiting): `kernels_helix.gas_due` for nine covariances."""
    if abs(waiting) < GAS_STEP_CM:
        return q2pt, c, waiting
    if gas[GAS_MASS2] > _ZERO:
        d_ss, d_tt, _, d_qq, gained = gas_noise(snp, tgl, q2pt, waiting, gas)
        yy, sy, ss, qy, qs, qq, zz, tz, tt = c
        c = (yy, sy, ss + d_ss, qy, qs, qq + d_qq, zz, tz, tt + d_tt)
        q2pt *= _ONE + gained
    return q2pt, c, _ZERO


@inlined
def advance_planes(x, y, z, snp, tgl, q2pt, c, x_new, detector, waiting):
    """Return (ok, y, z, snp, tgl, q2pt, c, waiting) at x_new [cm]: `kernels_helix.advance` for nine covariances.

    The field is taken without its dependence on the azimuth.
    """
    n_steps, step = steps_to(x, x_new)
    for _ in range(n_steps):
        bending, across = field_at(detector.field, -1, x, y, z, snp, tgl)
        ok, y, z, snp, c, path = _transport(y, z, snp, tgl, q2pt, c, step, -B2C * bending)
        if not ok:
            return False, y, z, snp, tgl, q2pt, c, waiting
        x += step
        tgl, q2pt = turned_across(tgl, q2pt, across, path)
        q2pt, c, waiting = _gas_due(snp, tgl, q2pt, c, waiting + path, detector.gas)
    return True, y, z, snp, tgl, q2pt, c, waiting


@body
def rotate_planes(x, y, snp, tgl, c, cos_a, sin_a):
    """Return (ok, x, y, snp, c) in a frame turned by the angle of (cos_a, sin_a): `kernels_helix.rotate` for nine."""
    csp = math.sqrt(max(_ONE - snp * snp, np.float32(1e-6)))
    csp_new = csp * cos_a + snp * sin_a
    if csp_new < np.float32(0.03):
        return False, x, y, snp, c
    jyy, jzy, jss = csp / csp_new, -sin_a * tgl / csp_new, csp_new / csp
    yy, sy, ss, qy, qs, qq, zz, tz, tt = c
    out = (jyy * jyy * yy, jyy * jss * sy, jss * jss * ss, jyy * qy, jss * qs, qq, zz + jzy * jzy * yy, tz, tt)
    return True, x * cos_a + y * sin_a, y * cos_a - x * sin_a, snp * cos_a - csp * sin_a, out


@inlined
def update_planes(y, z, snp, tgl, q2pt, c, dy, dz, vy, vz, max_chi2):
    """Return (chi2, y, z, snp, tgl, q2pt, c) with a cluster at (y + dy, z + dz): `kernels_update.update` for nine."""
    yy, sy, ss, qy, qs, qq, zz, tz, tt = c
    wy, wz = _ONE / (yy + vy), _ONE / (zz + vz)
    gy, gz = dy * wy, dz * wz
    chi2 = dy * gy + dz * gz
    if not chi2 <= max_chi2:
        return chi2, y, z, snp, tgl, q2pt, c
    snp_new = snp + sy * gy
    if abs(snp_new) > np.float32(0.999):
        return np.float32(np.inf), y, z, snp, tgl, q2pt, c
    ky, kz = vy * wy, vz * wz
    ay, az = sy * wy, tz * wz
    out = (
        yy * ky,
        sy * ky,
        ss - ay * sy,
        qy * ky,
        qs - ay * qy,
        qq - qy * wy * qy,
        zz * kz,
        tz * kz,
        tt - az * tz,
    )
    return chi2, y + yy * gy, z + zz * gz, snp_new, tgl + tz * gz, q2pt + qy * gy, out
