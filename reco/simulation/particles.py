"""What particles are: mass, charge and lifetime by PDG code; knows arrays of codes, no event.

Source of the table: Particle Data Group, Phys. Rev. D 110 (2024) 030001. Codes that are not in it keep the mass that
their generator gave them and have the charge that their digits spell.
"""

from typing import NamedTuple

import numpy as np

__all__ = [
    "C_CM_PER_NS",
    "HEAVY_FLAVOUR",
    "LONG_LIVED_CM",
    "charge_of",
    "ctau_of",
    "is_heavy_flavour",
    "is_long_lived",
    "mass_of",
]

C_CM_PER_NS = 29.9792458
"""Speed of light [cm/ns]."""
LONG_LIVED_CM = 1.0
"""Mean proper decay length [cm] above which a particle can be a physical primary (ALICE-PUBLIC-2017-005)."""


class _Kind(NamedTuple):
    """One row of the table: mass [GeV], charge [e], mean proper decay length [cm] (inf = stable here)."""

    mass: float
    charge: int
    ctau: float


_STABLE = np.inf
_KINDS: dict[int, _Kind] = {
    11: _Kind(0.00051099895, -1, _STABLE),
    12: _Kind(0.0, 0, _STABLE),
    13: _Kind(0.1056583755, -1, 65863.8),
    14: _Kind(0.0, 0, _STABLE),
    15: _Kind(1.77693, -1, 0.0087043),
    16: _Kind(0.0, 0, _STABLE),
    22: _Kind(0.0, 0, _STABLE),
    111: _Kind(0.1349768, 0, 2.5266e-6),
    211: _Kind(0.13957039, 1, 780.442),
    130: _Kind(0.497611, 0, 1533.23),
    310: _Kind(0.497611, 0, 2.68443),
    321: _Kind(0.493677, 1, 371.125),
    2212: _Kind(0.93827208943, 1, _STABLE),
    2112: _Kind(0.9395654205, 0, _STABLE),
    3122: _Kind(1.115683, 0, 7.84600),
    3222: _Kind(1.18937, 1, 2.40379),
    3112: _Kind(1.197449, -1, 4.43431),
    3322: _Kind(1.31486, 0, 8.69282),
    3312: _Kind(1.32171, -1, 4.90863),
    3334: _Kind(1.67245, -1, 2.46044),
    411: _Kind(1.86966, 1, 0.0309780),
    421: _Kind(1.86484, 0, 0.0123022),
    431: _Kind(1.96835, 1, 0.0150287),
    4122: _Kind(2.28646, 1, 0.0060753),
    4132: _Kind(2.47044, 0, 0.0044949),
    4232: _Kind(2.46771, 1, 0.0135807),
    4332: _Kind(2.6952, 0, 0.0081878),
    511: _Kind(5.27972, 0, 0.0453104),
    521: _Kind(5.27941, 1, 0.0490741),
    531: _Kind(5.36693, 0, 0.0454147),
    541: _Kind(6.27447, 1, 0.0152848),
    5122: _Kind(5.61957, 0, 0.0439187),
    5132: _Kind(5.797, -1, 0.0472074),
    5232: _Kind(5.7917, 0, 0.0441447),
    5332: _Kind(6.0458, -1, 0.0493317),
    1000010020: _Kind(1.8761239301, 1, _STABLE),
    1000010030: _Kind(2.8094321221, 1, _STABLE),
    1000020030: _Kind(2.8094135301, 2, _STABLE),
    1000020040: _Kind(3.7284013307, 2, _STABLE),
}
HEAVY_FLAVOUR = tuple(code for code in _KINDS if code == 15 or 400 < code < 600 or 4000 < code < 6000)
"""Weakly decaying heavy-flavour hadrons and the tau: short-lived, their decays are the generator's."""

_CODES = np.array(sorted(_KINDS), np.int64)
_TABLE = np.array([_KINDS[code] for code in _CODES.tolist()], np.float64)


def mass_of(pdg: np.ndarray, otherwise: np.ndarray | float = np.nan) -> np.ndarray:
    """Return the masses [GeV] (n,) float64 of the codes `pdg` (n,); `otherwise` where the table has none."""
    return _look_up(pdg, 0, otherwise)


def ctau_of(pdg: np.ndarray) -> np.ndarray:
    """Return the mean proper decay lengths [cm] (n,) float64; inf where stable, 0 where the table has none."""
    return _look_up(pdg, 2, 0.0)


def charge_of(pdg: np.ndarray) -> np.ndarray:
    """Return the charges [e] (n,) float64 of the codes `pdg` (n,), antiparticles included."""
    pdg = np.asarray(pdg, np.int64)
    return np.sign(pdg) * np.where(_is_known(pdg), _look_up(pdg, 1, 0.0), _spelled_charge(np.abs(pdg)))


def is_long_lived(pdg: np.ndarray) -> np.ndarray:
    """Return the mask (n,) of particles that can be physical primaries: nuclei and ctau above `LONG_LIVED_CM`."""
    return (ctau_of(pdg) > LONG_LIVED_CM) | (np.abs(np.asarray(pdg, np.int64)) > 1_000_000_000)


def is_heavy_flavour(pdg: np.ndarray) -> np.ndarray:
    """Return the mask (n,) of the codes of `HEAVY_FLAVOUR` and their antiparticles."""
    return np.isin(np.abs(pdg), HEAVY_FLAVOUR)


def _is_known(pdg: np.ndarray) -> np.ndarray:
    at = np.minimum(np.searchsorted(_CODES, np.abs(pdg)), len(_CODES) - 1)
    return _CODES[at] == np.abs(pdg)


def _look_up(pdg: np.ndarray, field: int, otherwise: np.ndarray | float) -> np.ndarray:
    code = np.abs(np.asarray(pdg, np.int64))
    at = np.minimum(np.searchsorted(_CODES, code), len(_CODES) - 1)
    return np.where(_CODES[at] == code, _TABLE[at, field], otherwise)


def _spelled_charge(code: np.ndarray) -> np.ndarray:
    """Charge of a particle from its digits (PDG numbering scheme, section 45 of the Review)."""
    nucleus = (code // 10_000) % 1000
    quarks = [(code // 10**k) % 10 for k in (3, 2, 1)]
    thirds = [np.where(q == 0, 0, np.where(q % 2 == 0, 2, -1)) for q in quarks]
    is_meson = quarks[0] == 0
    # A positive meson code is q qbar with the heavier quark first; it is the antiquark where that one is down-type.
    meson = np.where(quarks[1] % 2 == 0, thirds[1] - thirds[2], thirds[2] - thirds[1])
    hadron = np.where(is_meson, meson, sum(thirds)) / 3
    hadron = np.where(code < 100, 0.0, hadron)
    return np.where(code > 1_000_000_000, nucleus, hadron)
