"""Made-up collisions whose truth is known: helices from vertices and from K0S and Lambda decays, with smearing.

Positions and momenta are stepped through the field here with their own code (complex rotation of the transverse
momentum), not with the helix of the package, so that closures test it.
"""

from dataclasses import dataclass

import numpy as np

from o2dask.analysis.physics.pid_tpc import TpcResponse
from o2dask.aod.model import tables
from o2dask.columns import Columns, Jagged

BZ = -5.00668
RATE = 0.000299792458 * BZ
"""Turning angle [rad] per cm and per c/GeV of a positive charge is -RATE/pt: clockwise in a positive field."""
MASS = {310: 0.497611, 3122: 1.115683, 211: 0.13957039, 2212: 0.93827209, 321: 0.493677}
CTAU = {310: 2.6844, 3122: 7.89}
DAUGHTERS = {310: (211, -211), 3122: (2212, -211)}
MEASURED_AT = 85.0


def flown(position, momentum, charge, arc):
    """Return position and momentum (n, 3) after a transverse path (n,) [cm]: rotation by exact chords."""
    pt = np.hypot(momentum[:, 0], momentum[:, 1])
    turn = -RATE * charge / pt * arc
    p = momentum[:, 0] + 1j * momentum[:, 1]
    small = np.abs(turn) < 1e-8
    safe = np.where(small, 1, turn)
    chord = np.where(small, arc, arc * (np.exp(1j * safe) - 1) / (1j * safe)) * p / pt
    there = position + np.stack([chord.real, chord.imag, arc * momentum[:, 2] / pt], axis=1)
    rotated = p * np.exp(1j * turn)
    return there, np.stack([rotated.real, rotated.imag, momentum[:, 2]], axis=1)


def to_radius(position, momentum, charge, radius=MEASURED_AT):
    """Return where particles reach a radius on their way out, and which do; bisection on the arc."""
    low, high = np.zeros(len(position)), np.full(len(position), 1.5 * radius)
    reached = np.hypot(*flown(position, momentum, charge, high)[0].T[:2]) > radius
    reached &= np.hypot(position[:, 0], position[:, 1]) < radius
    for _ in range(60):
        middle = (low + high) / 2
        outside = np.hypot(*flown(position, momentum, charge, middle)[0].T[:2]) > radius
        low, high = np.where(outside, low, middle), np.where(outside, middle, high)
    there, p = flown(position, momentum, charge, high)
    return there, p, reached


def states(position, momentum, charge):
    """Return (n, 7): x, alpha, y, z, snp, tgl, signed1Pt in the frame of the sector, as tracks are stored."""
    sector = np.floor(np.arctan2(position[:, 1], position[:, 0]) / (np.pi / 9))
    alpha = (sector + 0.5) * (np.pi / 9)
    c, s = np.cos(alpha), np.sin(alpha)
    x, y = position[:, 0] * c + position[:, 1] * s, position[:, 1] * c - position[:, 0] * s
    pt = np.hypot(momentum[:, 0], momentum[:, 1])
    snp = (momentum[:, 1] * c - momentum[:, 0] * s) / pt
    return np.stack([x, alpha, y, position[:, 2], snp, momentum[:, 2] / pt, charge / pt], axis=1)


def momenta(rng, n, mean_pt=0.7, eta=0.8):
    pt, phi, eta = 0.15 + rng.exponential(mean_pt, n), rng.uniform(-np.pi, np.pi, n), rng.uniform(-eta, eta, n)
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)


def decay(rng, pdg, mother):
    """Return the daughters' momenta (n, 2, 3) of an isotropic two-body decay."""
    masses = [MASS[abs(d)] for d in DAUGHTERS[pdg]]
    m = MASS[pdg]
    p_star = np.sqrt((m**2 - sum(masses) ** 2) * (m**2 - (masses[0] - masses[1]) ** 2)) / (2 * m)
    cosine, phi = rng.uniform(-1, 1, len(mother)), rng.uniform(0, 2 * np.pi, len(mother))
    sine = np.sqrt(1 - cosine**2)
    axis = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=1)
    energy = np.sqrt((mother**2).sum(axis=1) + m * m)
    out = []
    for sign, mass in zip((1, -1), masses, strict=True):
        q, e = sign * p_star * axis, np.sqrt(p_star**2 + mass**2)
        along = (q * mother).sum(axis=1)
        factor = along / (m * (energy + m)) + e / m
        out.append(q + mother * factor[:, None])
    return np.stack(out, axis=1)


@dataclass
class Sample:
    """Tracks and their truth; `mother` counts the decays, -1 for primaries."""

    states: np.ndarray
    collision: np.ndarray
    vertices: np.ndarray
    momentum: np.ndarray
    pdg: np.ndarray
    mother: np.ndarray
    mother_pdg: np.ndarray


def sample(rng, n_collisions=20, n_primaries=40, n_k0s=4, n_lambda=2, smear=1.0):
    """Return a sample of collisions."""
    vertices = rng.normal(0, (0.01, 0.01, 5), (n_collisions, 3))
    parts, mother_pdg = [], []
    home = np.repeat(np.arange(n_collisions), n_primaries)
    pdg = rng.choice([211, -211, 321, -321, 2212, -2212], len(home), p=[0.42, 0.42, 0.05, 0.05, 0.03, 0.03])
    parts.append((vertices[home], momenta(rng, len(home)), pdg, home, np.full(len(home), -1)))
    for code, each in ((310, n_k0s), (3122, n_lambda)):
        home = np.repeat(np.arange(n_collisions), each)
        p = momenta(rng, len(home), 1.0)
        length = rng.exponential(CTAU[code], len(home)) / MASS[code]
        point = vertices[home] + p * length[:, None]
        daughters = decay(rng, code, p)
        number = len(mother_pdg) + np.arange(len(home))
        mother_pdg += [code] * len(home)
        for k in range(2):
            parts.append((point, daughters[:, k], np.full(len(home), DAUGHTERS[code][k]), home, number))
    position, p, pdg, home, mother = (np.concatenate(c) for c in zip(*parts, strict=True))
    charge = np.sign(pdg).astype(float)
    there, p_there, reached = to_radius(position, p, charge)
    order = np.flatnonzero(reached)[np.argsort(home[reached], kind="stable")]
    found = states(there[order], p_there[order], charge[order])
    width = smear * np.array([0, 0, 0.05, 0.06, 0.002, 0.0015, 0])
    found += width * rng.normal(size=found.shape)
    found[:, 6] *= 1 + smear * 0.01 * rng.normal(size=len(found))
    return Sample(found, home[order], vertices, p[order], pdg[order], mother[order], np.array(mother_pdg))


def aod_tables(rng, s: Sample) -> dict[str, Columns]:
    """Return core tables of a sample: collisions, tracks with detector columns, particles and labels."""
    n, n_collisions = len(s.states), len(s.vertices)
    n_contributors = np.bincount(s.collision, minlength=n_collisions)
    state = dict(zip(("fX", "fAlpha", "fY", "fZ", "fSnp", "fTgl", "fSigned1Pt"), s.states.T, strict=True))
    p = np.sqrt((s.momentum**2).sum(axis=1))
    response = TpcResponse()
    mean = np.zeros(n)
    for name, code in (("Pi", 211), ("Ka", 321), ("Pr", 2212)):
        mean = np.where(np.abs(s.pdg) == code, response.expected(p, name), mean)
    mass = np.array([MASS[abs(int(code))] for code in s.pdg])
    n_clusters = rng.integers(80, 150, n)
    n_primary = (s.mother < 0).sum()
    tables_made = {
        "O2bc_001": {"fGlobalBC": np.arange(n_collisions) * 1000},
        "O2collision_001": {
            "fIndexBCs": np.arange(n_collisions),
            "fPosX": s.vertices[:, 0],
            "fPosY": s.vertices[:, 1],
            "fPosZ": s.vertices[:, 2],
            "fNumContrib": n_contributors,
            "fChi2": n_contributors,
        },
        "O2track_iu": state | {"fIndexCollisions": s.collision},
        "O2trackcov_iu": {
            "fSigmaY": np.full(n, 0.05),
            "fSigmaZ": np.full(n, 0.06),
            "fSigmaSnp": np.full(n, 0.002),
            "fSigmaTgl": np.full(n, 0.0015),
            "fSigma1Pt": 0.01 * np.abs(s.states[:, 6]),
        },
        "O2trackextra_001": {
            "fTPCInnerParam": p,
            "fTPCNClsFindable": n_clusters,
            "fTPCChi2NCl": rng.uniform(0.5, 2, n),
            "fTPCSignal": mean * (1 + 0.07 * rng.normal(size=n)),
            "fTOFChi2": np.full(n, -1.0),
            "fFlags": np.full(n, 2 << 28),
        },
        "O2mccollision_001": {"fPosZ": s.vertices[:, 2], "fIndexBCs": np.arange(n_collisions)},
        "O2mccollisionlabel": {"fIndexMcCollisions": np.arange(n_collisions)},
        "O2mcparticle_001": {
            "fIndexMcCollisions": s.collision,
            "fPdgCode": s.pdg,
            "fPx": s.momentum[:, 0],
            "fPy": s.momentum[:, 1],
            "fPz": s.momentum[:, 2],
            "fE": np.hypot(p, mass),
            "fFlags": np.where(s.mother < 0, 4, 0),
            "fIndexArray_Mothers": Jagged(np.zeros(n + 1, np.int32), np.zeros(0, np.int32)),
            "fIndexSlice_Daughters": np.full((n, 2), -1),
        },
        "O2mctracklabel": {"fIndexMcParticles": np.arange(n)},
    }
    assert n_primary > 0
    return {tree: _completed(tree, columns) for tree, columns in tables_made.items()}


def _completed(tree, columns) -> Columns:
    model = tables()[tree]
    n = len(next(iter(columns.values())))
    arrays = {}
    for c in model.columns:
        values = columns.get(c.name)
        if values is None:
            values = np.zeros((n, *c.column.shape))
        arrays[c.name] = values if isinstance(values, Jagged) else np.asarray(values).astype(c.column.dtype)
    return Columns(model.schema, arrays)
