"""Charges by PDG code: what O2's analyses ask ``Service<O2DatabasePDG>`` for, of generated particles.

Knows the numbering scheme (Particle Data Group, Phys. Rev. D 110 (2024) 030001, section 45); holds no list of
particles. Masses of those that are measured are in `kinematics.MASSES`; generated particles store their energy.
"""

import numpy as np

__all__ = ["charge_of_pdg"]

_THIRDS_OF_QUARK = np.array([0, -1, 2, -1, 2, -1, 2, -1, 2, 0])
"""Charges of d, u, s, c, b, t, b', t' by their digit [e/3]."""
_THIRDS_OF_OTHERS = {11: -3, 13: -3, 15: -3, 17: -3, 24: 3, 34: 3, 37: 3}
"""Leptons, W, W', H+: charges of the positive codes [e/3]; below 100 all others that are no quark are neutral."""


def charge_of_pdg(codes: np.ndarray) -> np.ndarray:
    """Return the charge of each particle [e], (n,) float32; quarks have thirds, codes that mean nothing 0.

    Hadrons by their quarks, nuclei (±10LZZZAAAI) by their Z.

    >>> charge_of_pdg(np.array([211, -211, 22, 310, 2212, 3112, 421, 431, -11, 1000020030])).tolist()
    [1.0, -1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 1.0, 1.0, 2.0]
    """
    codes = np.asarray(codes, np.int64)
    size, sign = np.abs(codes), np.sign(codes)
    thirds = np.zeros(len(codes), np.int64)
    thirds = np.where(size < 10, _THIRDS_OF_QUARK[np.minimum(size, 9)], thirds)
    for code, charge in _THIRDS_OF_OTHERS.items():
        thirds = np.where(size == code, charge, thirds)
    is_hadron = (size >= 100) & (size < 10_000_000)
    thirds = np.where(is_hadron, _thirds_of_hadrons(size), thirds)
    is_nucleus = (size >= 1_000_000_000) & (size < 1_100_000_000)
    thirds = np.where(is_nucleus, 3 * (size // 10_000 % 1000), thirds)
    found: np.ndarray = (sign * thirds / 3).astype(np.float32)
    return found


def _thirds_of_hadrons(size: np.ndarray) -> np.ndarray:
    """Return the charge of hadrons and diquarks by the digits nq1 nq2 nq3 of their codes [e/3]."""
    one, two, three = (size // divisor % 10 for divisor in (1000, 100, 10))
    a, b, c = (_THIRDS_OF_QUARK[digit] for digit in (one, two, three))
    # A meson's quark is the heavier one if that is of up type, the lighter one else: the positive code is K+, D+, B+.
    meson = np.where(two % 2 == 0, b - c, c - b)
    mixed = (size == 130) | (size == 310) | (two == three)
    meson = np.where(mixed, 0, meson)
    return np.where(one == 0, meson, a + b + np.where(three == 0, 0, c))
