"""Kinematics of combinations: invariant mass, Armenteros-Podolanski variables, pointing angle. Arrays in, arrays out.

Momenta are float64 inside: the mass of a light pair is a small difference of large numbers.
"""

from collections.abc import Sequence

import numpy as np

from o2dask.errors import ShapeError

__all__ = ["MASSES", "armenteros", "cos_pointing_angle", "invariant_mass"]

MASSES = {
    "electron": 0.00051099895,
    "muon": 0.1056583755,
    "pion": 0.13957039,
    "kaon": 0.493677,
    "proton": 0.93827209,
    "k0s": 0.497611,
    "lambda": 1.115683,
}
"""Masses [GeV/c2], Particle Data Group, Phys. Rev. D 110 (2024) 030001."""

Momentum = Sequence[np.ndarray]


def invariant_mass(momenta: Sequence[Momentum], masses: Sequence[float]) -> np.ndarray:
    """Return the invariant mass [GeV/c2] of particles given by (px, py, pz) [GeV/c] and masses, (n,) float64.

    sqrt(E^2 - p^2), 0 where rounding makes that negative.
    """
    if len(momenta) != len(masses):
        raise ShapeError(f"invariant_mass: want one mass per particle, {len(momenta)}, got {len(masses)}")
    total = [sum(np.asarray(p[axis], np.float64) for p in momenta) for axis in range(3)]
    energy = sum(
        np.sqrt(sum(np.asarray(c, np.float64) ** 2 for c in p) + m * m) for p, m in zip(momenta, masses, strict=True)
    )
    squared = energy * energy - (total[0] ** 2 + total[1] ** 2 + total[2] ** 2)
    return np.sqrt(np.maximum(squared, 0.0))


def armenteros(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return alpha and qT [GeV/c] of Armenteros and Podolanski, Phil. Mag. 45 (1954) 13.

    Parameters
    ----------
    positive, negative : ndarray, (n, 3)
        Momenta of the daughters at the decay vertex [GeV/c].

    Returns
    -------
    alpha, qt : ndarray, (n,), float64
        (pL+ - pL-)/(pL+ + pL-) along the mother's momentum, and the transverse momentum of a daughter to it.
    """
    mother = positive + negative
    norm = np.sqrt((mother**2).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        along_positive = (positive * mother).sum(axis=1) / norm
        along_negative = (negative * mother).sum(axis=1) / norm
        across = np.maximum((positive**2).sum(axis=1) - along_positive**2, 0.0)
        alpha = (along_positive - along_negative) / (along_positive + along_negative)
    return alpha, np.sqrt(across)


def cos_pointing_angle(flight: np.ndarray, momentum: np.ndarray) -> np.ndarray:
    """Return the cosine between flight (n, 3) [cm], primary to decay vertex, and momentum (n, 3) [GeV/c]."""
    norm = np.sqrt((flight**2).sum(axis=1) * (momentum**2).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine: np.ndarray = (flight * momentum).sum(axis=1) / norm
    return cosine
