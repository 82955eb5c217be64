"""Kalman update of one track with one cluster, and what a cluster's errors are. Bodies for CPU and GPU."""

import numpy as np

from o2dask.reco.tpc.kernels_jit import inlined

__all__ = [
    "MAX_SNP",
    "cluster_errors",
    "cluster_variances",
    "reduced",
    "squared_tangents",
    "update",
    "weights",
    "widened",
]

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_MIN_COS2 = np.float32(0.02)
MAX_SNP = np.float32(0.999)
"""|sin phi| beyond which a state is none."""


@inlined
def cluster_variances(errors, row, drift, snp, tgl):
    """Return the variances of y and z [cm2] of a cluster after `drift` [cm] on a track of the given slopes.

    errors : (152, 6) see `kernels_types.Detector`. Diffusion grows with the drift, the spread of the ionisation along
    the pad with the squared tangent of the angles.
    """
    tan2, slope2 = squared_tangents(snp, tgl)
    vy = errors[row, 0] + errors[row, 1] * drift + errors[row, 2] * tan2
    vz = errors[row, 3] + errors[row, 4] * drift + errors[row, 5] * slope2
    return vy, vz


@inlined
def squared_tangents(snp, tgl):
    """Return (dy/dx)^2 and (dz/dx)^2 of a track, finite where it runs along the rows."""
    cos2 = _ONE - snp * snp
    inv = _ONE / (cos2 if cos2 > _MIN_COS2 else _MIN_COS2)
    return snp * snp * inv, tgl * tgl * inv


@inlined
def cluster_errors(detector, row, z, snp, tgl):
    """Return `cluster_variances`; the drift length is known (absolute z) or that of a track that points to z = 0."""
    depth = abs(z) if detector.is_absolute > _ZERO else abs(tgl) * detector.row_x[row]
    drift = max(detector.drift_length - depth, _ZERO)
    return cluster_variances(detector.errors, row, drift, snp, tgl)


@inlined
def widened(detector, row, z, snp, tgl, vy, vz, width_y, width_z):
    """Return the variances [cm2] of a cluster whose squared widths [cm2] tell that it is two.

    Two clusters merged at a distance d have a centre off by up to d/2 and a squared width larger by about (d/2)^2: what
    the width has beyond its expectation is added to the variance, once it is clearly beyond (`detector.merged`).
    """
    depth = abs(z) if detector.is_absolute > _ZERO else abs(tgl) * detector.row_x[row]
    drift = max(detector.drift_length - depth, _ZERO)
    normal_y, normal_z = cluster_variances(detector.widths, row, drift, snp, tgl)
    if width_y > detector.merged * normal_y:
        vy += width_y - normal_y
    if width_z > detector.merged * normal_z:
        vz += width_z - normal_z
    return vy, vz


@inlined
def update(y, z, snp, tgl, q2pt, c, dy, dz, vy, vz, max_chi2):
    """Return (chi2, y, z, snp, tgl, q2pt, c) with a cluster at (y + dy, z + dz) of variances vy, vz [cm2].

    Above `max_chi2` the state comes back as it was.
    """
    wyy, wzy, wzz = weights(c, vy, vz)
    gy, gz = wyy * dy + wzy * dz, wzy * dy + wzz * dz
    chi2 = dy * gy + dz * gz
    if not chi2 <= max_chi2:
        return chi2, y, z, snp, tgl, q2pt, c
    snp_new = snp + c[3] * gy + c[4] * gz
    if abs(snp_new) > MAX_SNP:
        return np.float32(np.inf), y, z, snp, tgl, q2pt, c
    return (
        chi2,
        y + c[0] * gy + c[1] * gz,
        z + c[1] * gy + c[2] * gz,
        snp_new,
        tgl + c[6] * gy + c[7] * gz,
        q2pt + c[10] * gy + c[11] * gz,
        reduced(c, wyy, wzy, wzz),
    )


@inlined
def weights(c, vy, vz):
    """Return (yy, zy, zz) of the inverse covariance of a cluster's distance from the track."""
    ryy, rzz = c[0] + vy, c[2] + vz
    inv_det = _ONE / (ryy * rzz - c[1] * c[1])
    return rzz * inv_det, -c[1] * inv_det, ryy * inv_det


@inlined
def reduced(c, wyy, wzy, wzz):
    """Return the covariance after a cluster of the given `weights`."""
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14 = c
    k00, k01 = c0 * wyy + c1 * wzy, c0 * wzy + c1 * wzz
    k10, k11 = c1 * wyy + c2 * wzy, c1 * wzy + c2 * wzz
    k20, k21 = c3 * wyy + c4 * wzy, c3 * wzy + c4 * wzz
    k30, k31 = c6 * wyy + c7 * wzy, c6 * wzy + c7 * wzz
    k40, k41 = c10 * wyy + c11 * wzy, c10 * wzy + c11 * wzz
    return (
        c0 - k00 * c0 - k01 * c1,
        c1 - k00 * c1 - k01 * c2,
        c2 - k10 * c1 - k11 * c2,
        c3 - k20 * c0 - k21 * c1,
        c4 - k20 * c1 - k21 * c2,
        c5 - k20 * c3 - k21 * c4,
        c6 - k30 * c0 - k31 * c1,
        c7 - k30 * c1 - k31 * c2,
        c8 - k30 * c3 - k31 * c4,
        c9 - k30 * c6 - k31 * c7,
        c10 - k40 * c0 - k41 * c1,
        c11 - k40 * c1 - k41 * c2,
        c12 - k40 * c3 - k41 * c4,
        c13 - k40 * c6 - k41 * c7,
        c14 - k40 * c10 - k41 * c11,
    )
