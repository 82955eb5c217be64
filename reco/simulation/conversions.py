"""Photons that become e+ e- pairs in the material before and in the TPC: the low-momentum electrons of a real TPC.

Knows the cylinders of material, no detector code. Thin by intent: no bremsstrahlung, no Compton or photoelectric
electrons, the nucleus' recoil is left out (energy is conserved, momentum to the pair's opening angle).
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from o2dask.reco.geometry.material import GAS, LAYERS
from o2dask.reco.simulation.bunch import ParticleBunch
from o2dask.reco.simulation.kinematics import path_to_radius
from o2dask.reco.simulation.particles import C_CM_PER_NS, mass_of

if TYPE_CHECKING:
    from o2dask.reco.simulation.decays import DecayParams

__all__ = ["SHELLS", "Shell", "convert_photons", "pair_fraction"]

_ELECTRON_GEV = float(mass_of(np.array([11]))[0])


class Shell(NamedTuple):
    """Matter from `r_in` to `r_out` [cm], |z| < `z_max` [cm], `x_over_x0` at normal incidence."""

    name: str
    r_in: float
    r_out: float
    z_max: float
    x_over_x0: float


_HALF_WALL_CM = 0.05
"""Half the thickness that a wall is given: photons convert within it, charged particles cross it at its radius."""
_GAS_R_OUT = 254.5


def _shells() -> tuple[Shell, ...]:
    half = _HALF_WALL_CM
    walls = [Shell(w.name, w.radius - half, w.radius + half, w.half_length, w.x_over_x0) for w in LAYERS]
    r_in = walls[-1].r_out
    gas = Shell("TPC gas", r_in, _GAS_R_OUT, 250.0, (_GAS_R_OUT - r_in) / GAS.radiation_length)
    return (*walls, gas)


SHELLS = _shells()
"""What photons convert in: the walls that charged particles cross (`o2dask.reco.geometry.material`) and the gas."""


def pair_fraction(energy: np.ndarray) -> np.ndarray:
    """Return the pair production cross section over its value at 100 GeV, (n,), for photon energies [GeV] on carbon.

    The fit of L. Urban in the Geant4 Physics Reference Manual, "Gamma conversion", to Hubbell, Gimm and Overbo (1980);
    valid from 1.5 MeV to 100 GeV, and taken as constant above.
    """
    return _urban(np.asarray(energy, float)) / _urban(np.array([100.0]))


def _urban(energy: np.ndarray, z: float = 6.0) -> np.ndarray:
    """Return the cross section per atom [microbarn] of the fit."""
    x = np.log(np.clip(energy, 0.0015, 100.0) / _ELECTRON_GEV)
    f1 = np.polyval([-2.8333e-1, 1.2575e1, -2.0028e2, 1.2949e3, -1.9625e3, 8.7842e2], x)
    f2 = np.polyval([2.3586e-3, -9.0815e-2, 1.3063, -8.2381, 1.7692e1, -1.0342e1], x)
    f3 = np.polyval([6.5372e-1, -2.0467e1, 2.1773e2, -8.6749e2, 1.1161e3, -4.5263e2], x)
    fit = z * (z + 1) * (f1 + f2 * z + f3 / z)
    threshold = 2 * _ELECTRON_GEV
    return fit * np.clip((energy - threshold) / (0.0015 - threshold), 0.0, 1.0) ** 2


def convert_photons(
    photons: ParticleBunch, params: "DecayParams", rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, tuple[tuple[int, ...], list[np.ndarray], np.ndarray, np.ndarray]]:
    """Return which photons convert (rows), their paths [cm], and their pairs: codes, momenta, points (3, n), times."""
    energy = photons.energy
    depth = rng.exponential(size=photons.n)
    pt = np.hypot(photons.p[0], photons.p[1])
    rows = np.flatnonzero((energy > params.min_photon_gev) & (pt > 1e-3 * energy))
    path = _conversion_path(photons.take(rows), depth[rows])
    point = photons.x[:, rows] + photons.p[:, rows] / energy[rows] * np.where(np.isfinite(path), path, 0.0)
    volume = params.volume
    inside = np.isfinite(path) & (np.hypot(point[0], point[1]) < volume.r_max) & (np.abs(point[2]) < volume.z_max)
    rows, path, point = rows[inside], path[inside], point[:, inside]
    pair = _share_energy(photons.p[:, rows], energy[rows], rng)
    return rows, path, ((11, -11), pair, point, photons.t[rows] + path / C_CM_PER_NS)


def _conversion_path(photons: ParticleBunch, depth: np.ndarray) -> np.ndarray:
    """Return the path [cm] (n,) at which the traversed matter reaches `depth` conversion lengths, inf if it does not.

    A photon made inside or beyond a layer sees of it what lies before it; its angle to the layer is that to z only.
    """
    energy = photons.energy
    sin_theta = np.hypot(photons.p[0], photons.p[1]) / energy
    rate = 7 / 9 * pair_fraction(energy) / sin_theta
    radius = np.hypot(photons.x[0], photons.x[1])
    passed, path = np.zeros(photons.n), np.full(photons.n, np.inf)
    for layer in SHELLS:
        entry = _path_or_zero(photons, radius, layer.r_in) / sin_theta
        leave = _path_or_zero(photons, radius, layer.r_out) / sin_theta
        z = photons.x[2] + photons.p[2] / energy * leave
        in_layer = np.clip((layer.r_out - radius) / (layer.r_out - layer.r_in), 0.0, 1.0)
        thickness = np.where(np.abs(z) < layer.z_max, layer.x_over_x0 * rate * in_layer, 0.0)
        here = np.isinf(path) & (passed + thickness > depth) & (thickness > 0)
        share = (depth - passed)[here] / thickness[here]
        path[here] = entry[here] + share * (leave - entry)[here]
        passed += thickness
    return path


def _path_or_zero(photons: ParticleBunch, radius: np.ndarray, layer_radius: float) -> np.ndarray:
    reached = path_to_radius(photons.x, photons.p, 0.0, 0.0, layer_radius)
    return np.where(radius < layer_radius, reached, 0.0)


def _share_energy(p: np.ndarray, energy: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the momenta (3, n) of electron and positron.

    Energy shares after Bethe and Heitler with complete screening, d sigma / du ~ 1 - 4/3 u (1 - u); polar angles as
    Geant4 samples Tsai's distribution, u = -log(r1 r2) / a with a = 5/8 (25 %) or 15/8, theta = u m / E.
    """
    n = len(energy)
    low = _ELECTRON_GEV / energy
    share, todo = np.empty(n), np.arange(n)
    while len(todo):
        trial = low[todo] + (1 - 2 * low[todo]) * rng.random(len(todo))
        accepted = rng.random(len(todo)) < 1 - 4 / 3 * trial * (1 - trial)
        share[todo[accepted]] = trial[accepted]
        todo = todo[~accepted]
    u = -np.log(rng.random(n) * rng.random(n)) / np.where(rng.random(n) < 0.25, 0.625, 1.875)
    azimuth = rng.uniform(0, 2 * np.pi, n)
    axis = p / energy
    side = np.stack((-axis[1], axis[0], np.zeros(n))) / np.hypot(axis[0], axis[1])
    up = np.cross(axis, side, axis=0)
    away = side * np.cos(azimuth) + up * np.sin(azimuth)
    pair = []
    for part, sign in ((share, 1.0), (1 - share, -1.0)):
        e = part * energy
        momentum = np.sqrt(np.maximum(e**2 - _ELECTRON_GEV**2, 0.0))
        theta = np.minimum(u * _ELECTRON_GEV / e, np.pi / 2)
        pair.append(momentum * (axis * np.cos(theta) + sign * away * np.sin(theta)))
    return pair
