"""Built-in generator: events drawn from parametrised multiplicities, ratios and spectra, any number of them.

For tests, and where no event file is at hand; no correlations but centrality and elliptic flow (no jets, no
resonances). Knows numbers of the literature, no file. Makes pi, K, p and Xi-, neutral K0S and Lambda (status 2, decayed
by `decays`), pi0 for their photons, K0L.

Multiplicity. pp 13.6 TeV: negative binomial in |eta| < 0.5 with the mean of inelastic collisions at 13 TeV (5.31,
ALICE, Phys. Lett. B 753 (2016) 319, plus 1 % for the energy) and k = 1.3, near what one negative binomial gives at
7 TeV (ALICE, Eur. Phys. J. C 77 (2017) 33). Pb-Pb 5.36 TeV: impact parameter from b db up to pi b^2 = 7.67 b;
centrality = pi b^2 over that; mean dNch/deta of ALICE's table at 5.02 TeV (Phys. Rev. Lett. 116 (2016) 222302) times
1.02 for the energy; negative binomial about it with 1.6 per ancestor and one ancestor per 3.1 charged particles (as
in Glauber-NBD fits).

Spectra. pp: Levy-Tsallis, dN/dpT ~ pT (1 + (mT - m) / (n T))^-n, with mean pT near ALICE, Eur. Phys. J. C 81 (2021)
256. Pb-Pb: core and corona. Core: Boltzmann-Gibbs blast-wave (Schnedermann, Sollfrank, Heinz, Phys. Rev. C 48 (1993)
2462) with parameters like those of ALICE, Phys. Rev. C 101 (2020) 044907; corona: the pp spectrum, whose tail it
gives. Ratios to pions from the same two papers. All numbers are rounded: 10 % is the accuracy to expect.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from o2dask.errors import ConfigError
from o2dask.reco.simulation.events import EventSample
from o2dask.reco.simulation.particles import mass_of

__all__ = ["MEAN_DNDETA", "centrality", "dndeta_mean", "eta_shape", "generate", "mean_pt", "pt_quantiles"]

MEAN_DNDETA = {"pp": 5.4, "pbpb": 500.0}
"""Mean primary charged particles per unit of eta at |eta| < 0.5, minimum bias (Pb-Pb: average of the table below)."""
_SIGMA_FM2 = 767.0
"""Hadronic Pb-Pb cross section, 7.67 b at 5.02 TeV (ALICE-PUBLIC-2018-011)."""
_NBD_K_PP = 1.3
_NBD_K_ANCESTOR, _DNDETA_ANCESTOR = 1.6, 3.1
_ENERGY_SCALE = 1.02
# Centrality [%] at the middle of each class, dNch/deta there; ends extrapolated.
_CENTRALITY = np.array([0, 1.25, 3.75, 6.25, 8.75, 15, 25, 35, 45, 55, 65, 75, 85, 95, 100]) / 100
_DNDETA = np.array([2130, 2035, 1850, 1666, 1505, 1180, 786, 512, 318, 183, 96.3, 44.9, 17.5, 6.0, 4.0]) * _ENERGY_SCALE
_V2 = np.array([0.02, 0.025, 0.032, 0.04, 0.047, 0.063, 0.081, 0.092, 0.097, 0.096, 0.089, 0.08, 0.07, 0.06, 0.06])
"""pT-integrated elliptic flow at those centralities, after ALICE, Phys. Rev. Lett. 116 (2016) 132302."""


@dataclass(frozen=True, slots=True)
class _Species:
    """One kind: codes (shared evenly), yield per charged pion in pp and central Pb-Pb, Levy-Tsallis T [GeV] and n."""

    codes: tuple[int, ...]
    per_pion_pp: float
    per_pion_central: float
    temperature: float
    power: float
    is_charged: bool = True
    status: int = 1


_SPECIES = (
    _Species((211, -211), 1.0, 1.0, 0.141, 6.8),
    _Species((321, -321), 0.131, 0.152, 0.216, 6.6),
    _Species((2212, -2212), 0.058, 0.048, 0.254, 8.3),
    _Species((3312, -3312), 0.0048, 0.0060, 0.337, 9.0, status=2),
    _Species((310,), 0.0655, 0.076, 0.216, 6.6, is_charged=False, status=2),
    _Species((130,), 0.0655, 0.076, 0.216, 6.6, is_charged=False),
    _Species((3122, -3122), 0.038, 0.036, 0.287, 8.5, is_charged=False, status=2),
    _Species((111,), 0.5, 0.5, 0.141, 6.8, is_charged=False, status=2),
)
"""Yields are sums over particle and antiparticle: 0.131 is (K+ + K-) / (pi+ + pi-). The temperatures give a mean pT of
0.485 (pi), 0.80 (K), 0.94 (p), 1.07 (Lambda) and 1.24 GeV/c (Xi)."""
# Blast-wave at the middle of some centralities: mean transverse velocity, T [GeV], profile exponent; corona fraction.
_BW_CENTRALITY = np.array([0.0, 0.1, 0.3, 0.5, 0.7, 1.0])
_BW_BETA = np.array([0.66, 0.65, 0.62, 0.55, 0.45, 0.36])
_BW_T = np.array([0.090, 0.092, 0.100, 0.113, 0.135, 0.155])
_BW_N = np.array([0.74, 0.76, 0.85, 1.1, 1.7, 2.4])
_CORONA = np.array([0.08, 0.10, 0.20, 0.35, 0.60, 1.0])
_PT_GRID = np.concatenate((np.linspace(0.0, 3.0, 301), np.geomspace(3.02, 50.0, 150)))


def centrality(impact: np.ndarray) -> np.ndarray:
    """Return the centrality (n,) in [0, 1] of impact parameters [fm]."""
    return np.minimum(np.pi * np.asarray(impact) ** 2 / _SIGMA_FM2, 1.0)


def dndeta_mean(impact: np.ndarray) -> np.ndarray:
    """Return the mean dNch/deta (n,) at |eta| < 0.5 of Pb-Pb collisions with impact parameters [fm]."""
    return np.exp(np.interp(centrality(impact), _CENTRALITY, np.log(_DNDETA)))


def eta_shape(eta: np.ndarray) -> np.ndarray:
    """Return dN/deta relative to its mean over |eta| < 0.5: flat with a shallow dip and Gaussian tails.

    Difference of two Gaussians as in ALICE's fits (Phys. Lett. B 726 (2013) 610), widths 4.0 and 1.5.
    """
    centre = np.linspace(-0.5, 0.5, 101)
    return _double_gaussian(np.asarray(eta)) / _double_gaussian(centre).mean()


def _double_gaussian(eta: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * (eta / 4.0) ** 2) - 0.12 * np.exp(-0.5 * (eta / 1.5) ** 2)


def generate(
    system: str, n_events: int, rng: np.random.Generator, *, eta_max: float = 1.6, flow: bool = True
) -> EventSample:
    """Return `n_events` made-up events of "pp" or "pbpb" with particles at |eta| < `eta_max`.

    With `flow` Pb-Pb events have v2(pT, centrality) about a random plane. Vertices are at the origin.
    """
    if system not in MEAN_DNDETA:
        raise ConfigError(f"system: want {' or '.join(MEAN_DNDETA)}, got {system!r}")
    impact, density = _densities(system, n_events, rng)
    coverage = float(np.trapezoid(eta_shape(grid := np.linspace(-eta_max, eta_max, 641)), grid))
    c = centrality(impact) if system == "pbpb" else np.ones(n_events)
    corona = np.interp(c, _BW_CENTRALITY, _CORONA)
    yields = np.array([s.per_pion_pp * corona + s.per_pion_central * (1 - corona) for s in _SPECIES])
    yields /= yields[[s.is_charged for s in _SPECIES]].sum(axis=0)
    n = rng.poisson(yields * density * coverage)
    kind, event = (a.ravel() for a in np.indices(n.shape))
    kind, event = np.repeat(kind, n.ravel()), np.repeat(event, n.ravel())
    order = np.argsort(event, kind="stable")
    return _particles(system, kind[order], event[order], impact, eta_max, flow, rng)


def _densities(system: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return impact parameters [fm] and dNch/deta before Poisson of n events; gamma-Poisson = negative binomial."""
    if system == "pp":
        return np.zeros(n), MEAN_DNDETA["pp"] * rng.gamma(_NBD_K_PP, 1 / _NBD_K_PP, n)
    impact = np.sqrt(_SIGMA_FM2 / np.pi * rng.random(n))
    mean = dndeta_mean(impact)
    k = _NBD_K_ANCESTOR * mean / _DNDETA_ANCESTOR
    return impact, mean * rng.gamma(k, 1 / k)


def _particles(
    system: str,
    kind: np.ndarray,
    event: np.ndarray,
    impact: np.ndarray,
    eta_max: float,
    flow: bool,
    rng: np.random.Generator,
) -> EventSample:
    n = len(kind)
    codes = np.array([(s.codes * 2)[:2] for s in _SPECIES])
    pdg = codes[kind, rng.integers(0, 2, n)]
    c = centrality(impact)[event] if system == "pbpb" else np.ones(n)
    pt = _draw_pt(kind, c, rng)
    grid = np.linspace(-eta_max, eta_max, 641)
    eta = np.interp(rng.random(n), _cumulative(eta_shape(grid), grid), grid)
    phi = rng.uniform(-np.pi, np.pi, n)
    if system == "pbpb" and flow:
        plane = rng.uniform(0, np.pi, len(impact))[event]
        phi = plane + _with_flow(phi, np.interp(c, _CENTRALITY, _V2) * _flow_of_pt(pt))
    zeros = np.zeros(n, np.float32)
    return EventSample(
        name=f"built-in {system}",
        offsets=np.searchsorted(event, np.arange(len(impact) + 1)),
        impact=impact.astype(np.float32),
        weight=np.ones(len(impact)),
        pdg=pdg.astype(np.int32),
        status=np.array([s.status for s in _SPECIES], np.int32)[kind],
        parent=np.full(n, -1, np.int32),
        px=(pt * np.cos(phi)).astype(np.float32),
        py=(pt * np.sin(phi)).astype(np.float32),
        pz=(pt * np.sinh(eta)).astype(np.float32),
        mass=mass_of(pdg).astype(np.float32),
        vx=zeros,
        vy=zeros,
        vz=zeros,
        vt=zeros,
    )


def _flow_of_pt(pt: np.ndarray) -> np.ndarray:
    """Return v2(pT) over the pT-integrated v2: rises to 3 GeV/c, then falls off."""
    return 1.7 * np.minimum(pt, 3.0) / (1 + 0.25 * np.minimum(pt, 3.0)) / np.maximum(pt / 3.0, 1.0)


def _with_flow(phi: np.ndarray, v2: np.ndarray) -> np.ndarray:
    """Return uniform azimuths mapped to dN/dphi ~ 1 + 2 v2 cos 2 phi, by Newton's method on its integral."""
    v2, there = np.minimum(v2, 0.45), phi.copy()
    for _ in range(8):
        there -= (there + v2 * np.sin(2 * there) - phi) / (1 + 2 * v2 * np.cos(2 * there))
    return there


def _draw_pt(kind: np.ndarray, c: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a transverse momentum [GeV/c] for each particle."""
    u, is_corona = rng.random(len(kind)), rng.random(len(kind)) < np.interp(c, _BW_CENTRALITY, _CORONA)
    # each particle takes the blast-wave of one of the two centralities beside its own: the mixture interpolates
    place = np.interp(c, _BW_CENTRALITY, np.arange(len(_BW_CENTRALITY)))
    knot = np.minimum((place + rng.random(len(kind))).astype(int), len(_BW_CENTRALITY) - 1)
    knot[is_corona] = -1
    pt = np.empty(len(kind))
    for i in range(len(_SPECIES)):
        for j in range(-1, len(_BW_CENTRALITY)):
            here = (kind == i) & (knot == j)
            if here.any():
                pt[here] = np.interp(u[here], pt_quantiles(i, j), _PT_GRID)
    return pt


@cache
def pt_quantiles(species: int, knot: int) -> np.ndarray:
    """Return the cumulative distribution on the pT grid: Levy-Tsallis for knot -1, else the blast-wave at that knot."""
    s = _SPECIES[species]
    mass = float(mass_of(np.array(s.codes[:1]))[0])
    mt = np.hypot(_PT_GRID, mass)
    if knot < 0:
        density = _PT_GRID * (1 + (mt - mass) / (s.power * s.temperature)) ** -s.power
    else:
        density = _blast_wave(_PT_GRID, mt, _BW_BETA[knot], _BW_T[knot], _BW_N[knot])
    return _cumulative(density, _PT_GRID)


def mean_pt(species: int, knot: int = -1) -> float:
    """Return the mean pT [GeV/c] of one of the stated spectra."""
    mass = np.diff(pt_quantiles(species, knot))
    return float((mass * (_PT_GRID[1:] + _PT_GRID[:-1]) / 2).sum())


def _blast_wave(pt: np.ndarray, mt: np.ndarray, beta_mean: float, temperature: float, power: float) -> np.ndarray:
    """Return dN/dpT ~ pT int r dr mT I0(pT sinh rho / T) K1(mT cosh rho / T), rho = atanh(beta_s r^n)."""
    from scipy.special import i0e, k1e

    r = (np.arange(60) + 0.5) / 60
    beta_surface = min(beta_mean * (2 + power) / 2, 0.98)
    rho = np.arctanh(beta_surface * r**power)
    a, b = np.outer(pt, np.sinh(rho)) / temperature, np.outer(mt, np.cosh(rho)) / temperature
    shape: np.ndarray = (r * i0e(a) * k1e(b) * np.exp(a - b)).sum(axis=1)
    return pt * mt * shape


def _cumulative(density: np.ndarray, grid: np.ndarray) -> np.ndarray:
    total: np.ndarray = np.concatenate(([0.0], np.cumsum(np.diff(grid) * (density[1:] + density[:-1]) / 2)))
    return total / total[-1]
