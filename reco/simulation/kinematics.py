"""How particles fly and fall apart: helices in a solenoid, boosts, two- and three-body decays.

Knows arrays of momenta and positions, no particle species and no event. Everything is float64, vectorised over rows,
in cm, GeV and kG; random numbers come from the caller's generator.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["Volume", "boost", "fly", "isotropic", "path_to_exit", "three_body", "two_body"]

_B2C = -0.000299792458
"""Curvature [1/cm] = _B2C * Bz [kG] * q / pt [GeV/c] (AliceO2 Common/Constants, B2C)."""
_CURVED = 1e-9
"""Below this curvature [1/cm] a track is a straight line: sagitta under 1 um over 3 m."""


class Volume(NamedTuple):
    """The cylinder in which things happen: radius [cm] and half length [cm]."""

    r_max: float
    z_max: float


def _curvature(p: np.ndarray, charge: np.ndarray, bz_kg: float) -> np.ndarray:
    pt = np.maximum(np.hypot(p[0], p[1]), 1e-12)
    return _B2C * bz_kg * charge / pt


def fly(x: np.ndarray, p: np.ndarray, charge: np.ndarray, s: np.ndarray, bz_kg: float) -> tuple[np.ndarray, np.ndarray]:
    """Return position and momentum after a path of length `s`: a helix without energy loss, a line if neutral.

    Parameters
    ----------
    x, p : ndarray, (3, n), float64
        Global position [cm] and momentum [GeV/c].
    charge : ndarray, (n,)
        In units of e.
    s : ndarray, (n,)
        Path length in space [cm].
    bz_kg : float
        Field along z [kG].
    """
    pt, momentum = np.hypot(p[0], p[1]), np.sqrt((p * p).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = np.where(momentum > 0, p / momentum, 0.0)
        s_t = np.where(momentum > 0, s * pt / momentum, 0.0)
    turn = _curvature(p, charge, bz_kg) * s_t
    phi = np.arctan2(p[1], p[0])
    chord = s_t * np.sinc(turn / (2 * np.pi))
    there = x + np.stack((chord * np.cos(phi + turn / 2), chord * np.sin(phi + turn / 2), unit[2] * s))
    return there, np.stack((pt * np.cos(phi + turn), pt * np.sin(phi + turn), p[2]))


def path_to_exit(x: np.ndarray, p: np.ndarray, charge: np.ndarray, bz_kg: float, volume: Volume) -> np.ndarray:
    """Return the path length [cm] (n,) at which each particle first leaves the volume; 0 outside, inf if it never does.

    Arguments as for `fly`.
    """
    pt, momentum = np.hypot(p[0], p[1]), np.sqrt((p * p).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        to_end = (np.where(p[2] > 0, volume.z_max, -volume.z_max) - x[2]) * np.where(p[2] != 0, momentum / p[2], np.inf)
        s_t = path_to_radius(x, p, charge, bz_kg, volume.r_max)
        to_wall = np.where(pt > 0, s_t * momentum / pt, np.inf)
    inside = (np.hypot(x[0], x[1]) < volume.r_max) & (np.abs(x[2]) < volume.z_max)
    return np.where(inside, np.fmin(np.where(p[2] != 0, to_end, np.inf), to_wall), 0.0)


def path_to_radius(
    x: np.ndarray, p: np.ndarray, charge: np.ndarray | float, bz_kg: float, radius: np.ndarray | float
) -> np.ndarray:
    """Return the transverse path [cm] (n,) from a point inside a cylinder to its wall, inf if never reached.

    Outside the cylinder the result has no meaning. Law of cosines on the circle of the helix.
    """
    pt = np.maximum(np.hypot(p[0], p[1]), 1e-300)
    ux, uy = p[0] / pt, p[1] / pt
    along = x[0] * ux + x[1] * uy
    line = -along + np.sqrt(np.maximum(along**2 + radius**2 - x[0] ** 2 - x[1] ** 2, 0.0))
    kappa = _curvature(p, np.broadcast_to(charge, pt.shape), bz_kg)
    is_curved = np.abs(kappa) > _CURVED
    k = np.where(is_curved, kappa, 1.0)
    cx, cy = x[0] - uy / k, x[1] + ux / k
    d = np.maximum(np.hypot(cx, cy), 1e-12)
    sine = k * (radius**2 - d**2 - 1 / k**2) / (2 * d)
    phi, gamma = np.arctan2(uy, ux), np.arctan2(cy, cx)
    root = np.arcsin(np.clip(sine, -1.0, 1.0))
    turns = [np.mod((g - phi) * np.sign(k), 2 * np.pi) for g in (gamma + root, gamma + np.pi - root)]
    circle = np.where(np.abs(sine) <= 1, np.minimum(*turns) / np.abs(k), np.inf)
    return np.where(is_curved, circle, line)


def isotropic(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n` random directions, (3, n), uniform on the sphere."""
    cos, phi = rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n)
    sin = np.sqrt(1 - cos * cos)
    return np.stack((sin * np.cos(phi), sin * np.sin(phi), cos))


def boost(p_rest: np.ndarray, mass: np.ndarray | float, frame: np.ndarray, frame_mass: np.ndarray) -> np.ndarray:
    """Return momenta (3, n) in the laboratory of particles with momenta `p_rest` (3, n) in a moving frame.

    `mass` is the particles' mass [GeV]; `frame` (3, n) and `frame_mass` (n,) are momentum and mass of the moving body.
    """
    energy_rest = np.sqrt((p_rest**2).sum(axis=0) + np.square(mass))
    frame_energy = np.sqrt((frame**2).sum(axis=0) + frame_mass**2)
    scale = ((p_rest * frame).sum(axis=0) / (frame_energy + frame_mass) + energy_rest) / frame_mass
    return p_rest + frame * scale


def breakup_momentum(mass: np.ndarray | float, m1: np.ndarray | float, m2: np.ndarray | float) -> np.ndarray:
    """Return the momentum [GeV/c] of each daughter of a two-body decay at rest (0 below threshold)."""
    mass, m1, m2 = np.asarray(mass, float), np.asarray(m1, float), np.asarray(m2, float)
    product = (mass - m1 - m2) * (mass + m1 + m2) * (mass - m1 + m2) * (mass + m1 - m2)
    return np.sqrt(np.maximum(product, 0.0)) / (2 * mass)


def two_body(
    p: np.ndarray, mass: np.ndarray, masses: tuple[float, float], rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Return the momenta (3, n) of both daughters of each mother, isotropic in the mother's frame.

    `p` (3, n) and `mass` (n,) are the mothers', `masses` those of the daughters [GeV].
    """
    return _two_body(p, mass, masses[0], masses[1], rng)


def _two_body(
    p: np.ndarray, mass: np.ndarray, m1: np.ndarray | float, m2: np.ndarray | float, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    momentum = breakup_momentum(mass, m1, m2) * isotropic(p.shape[1], rng)
    return boost(momentum, m1, p, mass), boost(-momentum, m2, p, mass)


def three_body(
    p: np.ndarray, mass: np.ndarray, masses: tuple[float, float, float], rng: np.random.Generator, is_dalitz: bool
) -> tuple[np.ndarray, ...]:
    """Return the momenta (3, n) of three daughters: flat phase space, matrix elements left out.

    With `is_dalitz` the pair of the first two is a virtual photon: its mass follows Kroll and Wada, Phys. Rev. 98
    (1955) 1355, with a form factor of 1 and isotropic leptons.
    """
    m1, m2, m3 = masses
    pair = _draw_pair_mass(mass, masses, rng, is_dalitz)
    p_pair, p3 = _two_body(p, mass, pair, m3, rng)
    p1, p2 = _two_body(p_pair, pair, m1, m2, rng)
    return p1, p2, p3


def _draw_pair_mass(
    mass: np.ndarray, masses: tuple[float, float, float], rng: np.random.Generator, is_dalitz: bool
) -> np.ndarray:
    m1, m2, m3 = masses
    low, high = m1 + m2, mass - m3
    pair, todo = np.empty(len(mass)), np.arange(len(mass))
    while len(todo):
        u, top, whole = rng.random(len(todo)), high[todo], mass[todo]
        if is_dalitz:
            trial = low * (top / low) ** u
            y = (low / trial) ** 2
            weight = (1 - (trial / whole) ** 2) ** 3 * np.sqrt(1 - y) * (1 + y / 2)
        else:
            trial = low + (top - low) * u
            bound = breakup_momentum(whole, low, m3) * breakup_momentum(top, m1, m2)
            weight = breakup_momentum(whole, trial, m3) * breakup_momentum(trial, m1, m2) / bound
        accepted = rng.random(len(todo)) < weight
        pair[todo[accepted]] = trial[accepted]
        todo = todo[~accepted]
    return pair
