"""Truth carried to where a track was measured: a circle in closed form, no material.

The distance is a few pad rows of gas, over which neither energy loss nor scattering matters.
"""

import numpy as np

__all__ = ["truth_at_track"]

B2C = -0.000299792458


def truth_at_track(
    point: np.ndarray, momentum: np.ndarray, charge: np.ndarray, alpha: np.ndarray, x: np.ndarray, *, bz: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the state (n, 5) float64 (y, z, snp, tgl, q2pt) of particles at local `x`, and which (n,) arrived.

    Parameters
    ----------
    point, momentum : ndarray, (n, 3)
        Where a particle is [cm] and its momentum there [GeV/c], global frame.
    charge : ndarray, (n,)
        In units of e.
    alpha, x : ndarray, (n,)
        Frame [rad] and radius [cm] of the track to compare with.
    bz : float
        Field [kG].

    Notes
    -----
    A state describes motion towards larger x. A particle that goes inward is therefore described as its antiparticle
    going outward on the same circle, as in the tracks. States with \\|snp\\| above 0.99 do not arrive.
    """
    point, momentum = np.asarray(point, np.float64), np.asarray(momentum, np.float64)
    ca, sa = np.cos(alpha), np.sin(alpha)
    x0, y0 = point[:, 0] * ca + point[:, 1] * sa, -point[:, 0] * sa + point[:, 1] * ca
    px, py = momentum[:, 0] * ca + momentum[:, 1] * sa, -momentum[:, 0] * sa + momentum[:, 1] * ca
    outward = np.where(px < 0, -1.0, 1.0)
    pt = np.hypot(px, py)
    q2pt, snp0, tgl = outward * charge / pt, outward * py / pt, outward * momentum[:, 2] / pt
    curvature = B2C * bz * q2pt
    dx = np.asarray(x, np.float64) - x0
    snp = snp0 + curvature * dx
    arrived = (np.abs(snp) < 0.99) & (np.abs(snp0) < 0.999)
    cos0, cos1 = np.sqrt(np.clip(1 - snp0**2, 1e-9, 1)), np.sqrt(np.clip(1 - snp**2, 1e-9, 1))
    y = y0 + dx * (snp0 + snp) / (cos0 + cos1)
    chord = np.hypot(dx, y - y0)
    half = np.clip(np.abs(curvature) * chord / 2, 0, 1)
    arc = np.where(half > 1e-6, chord * np.arcsin(half) / np.maximum(half, 1e-12), chord) * np.sign(dx)
    return np.stack([y, point[:, 2] + tgl * arc, snp, tgl, q2pt], axis=1), arrived
