"""Weak decays in flight: from the particles of a generator to all that a detector can see.

Lifetimes and branching fractions: Particle Data Group, Phys. Rev. D 110 (2024) 030001; channels below 1e-3 and
Xi0 -> Sigma0 gamma are left out and the others scaled up to 1. Two-body decays are isotropic in the mother's frame (no
polarisation), three-body decays follow phase space (no matrix element; pi0 -> e e gamma after Kroll and Wada).

A neutral mother flies straight, a charged one on a helix; energy loss and scattering before the decay are ignored, so
that the decay point of a slow charged mother is off by what its transport through matter would change. Muons are
stable here (659 m), particles that leave the volume do not decay, nothing interacts except photons that convert.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from o2dask.reco.geometry.tpc import BZ_KG
from o2dask.reco.simulation.bunch import ParticleBunch
from o2dask.reco.simulation.conversions import convert_photons
from o2dask.reco.simulation.kinematics import Volume, fly, path_to_exit, three_body, two_body
from o2dask.reco.simulation.particles import C_CM_PER_NS, charge_of, ctau_of, is_long_lived, mass_of
from o2dask.reco.simulation.schema import FLAG_PHYSICAL_PRIMARY, FLAG_TRANSPORT

__all__ = ["TPC_VOLUME", "DecayParams", "decay_in_flight", "decaying_codes", "primary_flags"]

TPC_VOLUME = Volume(r_max=280.0, z_max=280.0)
"""Decays outside are not made: nothing of them is seen in the TPC (outer vessel at 278 cm, end plates at 250 cm)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecayParams:
    """How particles decay.

    Attributes
    ----------
    bz_kg : float
        Field along z [kG].
    volume : Volume
        Where decays are made.
    conversions : bool
        Whether photons convert in the beam pipe, the ITS, the TPC's inner walls and gas.
    min_photon_gev : float
        Photons below do not convert [GeV]. Lower gives electrons that never leave their layer or curl on one pad.
    """

    bz_kg: float = BZ_KG
    volume: Volume = TPC_VOLUME
    conversions: bool = True
    min_photon_gev: float = 0.005


_CHANNELS: dict[int, tuple[tuple[float, tuple[int, ...]], ...]] = {
    111: ((0.98823, (22, 22)), (0.01174, (11, -11, 22))),
    211: ((0.99988, (-13, 14)),),
    321: (
        (0.6356, (-13, 14)),
        (0.2067, (211, 111)),
        (0.05583, (211, 211, -211)),
        (0.0507, (-11, 12, 111)),
        (0.03352, (-13, 14, 111)),
        (0.01760, (211, 111, 111)),
    ),
    310: ((0.6920, (211, -211)), (0.3069, (111, 111))),
    130: (
        (0.20275, (-211, -11, 12)),
        (0.20275, (211, 11, -12)),
        (0.1352, (-211, -13, 14)),
        (0.1352, (211, 13, -14)),
        (0.1952, (111, 111, 111)),
        (0.1254, (211, -211, 111)),
    ),
    3122: ((0.641, (2212, -211)), (0.359, (2112, 111))),
    3222: ((0.5147, (2212, 111)), (0.4843, (2112, 211)), (0.00123, (2212, 22))),
    3112: ((0.99848, (2112, -211)), (0.001017, (2112, 11, -12))),
    3322: ((0.99524, (3122, 111)), (0.00117, (3122, 22))),
    3312: ((0.99887, (3122, -211)),),
    3334: ((0.678, (3122, -321)), (0.236, (3322, -211)), (0.086, (3312, 111))),
}
"""Channels of the particle (fraction, daughters); the antiparticle's are the conjugates."""
_OWN_ANTIPARTICLE = (22, 111, 130, 310)


@cache
def decaying_codes() -> tuple[int, ...]:
    """Return the PDG codes (absolute values) of the particles that decay here."""
    return tuple(sorted(_CHANNELS))


@cache
def _channels(code: int) -> tuple[np.ndarray, tuple[tuple[int, ...], ...]]:
    """Return the cumulative fractions and the daughters of the channels of `code` (signed)."""
    channels = _CHANNELS[abs(code)]
    cumulative = np.cumsum([fraction for fraction, _ in channels])
    daughters = tuple(d for _, d in channels)
    if code < 0:
        daughters = tuple(tuple(c if c in _OWN_ANTIPARTICLE else -c for c in d) for d in daughters)
    return cumulative / cumulative[-1], daughters


def primary_flags(pdg: np.ndarray) -> np.ndarray:
    """Return the flags (n,) uint8 of particles none of whose ancestors is long-lived."""
    return np.where(is_long_lived(pdg), FLAG_PHYSICAL_PRIMARY, 0).astype(np.uint8)


def decay_in_flight(primaries: ParticleBunch, params: DecayParams, rng: np.random.Generator) -> ParticleBunch:
    """Return the primaries followed by their decay products, generation by generation, daughters of one contiguous.

    Parameters
    ----------
    primaries : ParticleBunch
        Those whose `path` is finite have decayed in their generator and are left alone. `path` of the others is set.
    params : DecayParams
    rng : numpy.random.Generator
        The result depends on its state and on the order of the primaries.

    Notes
    -----
    Daughters of a long-lived mother are made by transport (`FLAG_TRANSPORT`) and not physical primaries; those of a
    pi0 are what the pi0 was (ALICE-PUBLIC-2017-005).
    """
    generations, base, current = [], 0, primaries
    while current.n:
        generations.append(current)
        daughters = _decay_once(current, params, rng)
        daughters.mother += base
        base += current.n
        current = daughters
    return ParticleBunch.join(generations) if generations else primaries


def _decay_once(mothers: ParticleBunch, params: DecayParams, rng: np.random.Generator) -> ParticleBunch:
    """Return the daughters of one generation (`mother` counts its rows) and set its `path` and `status`."""
    rows = np.flatnonzero(np.isin(np.abs(mothers.pdg), decaying_codes()) & np.isinf(mothers.path))
    body = mothers.take(rows)
    momentum, charge = np.sqrt((body.p**2).sum(axis=0)), charge_of(body.pdg)
    proper = rng.exponential(size=body.n) * ctau_of(body.pdg)
    path = proper * momentum / body.mass
    decays = path < path_to_exit(body.x, body.p, charge, params.bz_kg, params.volume)
    rows, body, path, proper = rows[decays], body.take(decays), path[decays], proper[decays]
    body.x, body.p = fly(body.x, body.p, charge[decays], path, params.bz_kg)
    body.t = body.t + proper * body.energy / body.mass / C_CM_PER_NS
    made = list(_fall_apart(body, rng))
    if params.conversions:
        photons = np.flatnonzero((mothers.pdg == 22) & np.isinf(mothers.path))
        converted, photon_path, pairs = convert_photons(mothers.take(photons), params, rng)
        rows, path = np.concatenate((rows, photons[converted])), np.concatenate((path, photon_path))
        made.append((np.arange(len(converted)) + body.n, *pairs))
    mothers.path[rows] = path
    is_transport = (mothers.flags & FLAG_TRANSPORT) > 0
    mothers.status[rows[is_transport[rows]]] = 2
    return _daughters(mothers, rows, made)


def _fall_apart(
    body: ParticleBunch, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, tuple[int, ...], list[np.ndarray], np.ndarray, np.ndarray]]:
    """Yield for each channel: its rows of `body`, codes and momenta of its daughters, decay points and times."""
    for code in np.unique(body.pdg).tolist():
        cumulative, channels = _channels(code)
        of_code = np.flatnonzero(body.pdg == code)
        choice = np.searchsorted(cumulative, rng.random(len(of_code)), side="right")
        for i, codes in enumerate(channels):
            rows = of_code[choice == i]
            if not len(rows):
                continue
            p, mass = body.p[:, rows], body.mass[rows]
            masses = tuple(mass_of(np.array(codes)).tolist())
            if len(codes) == 2:
                momenta = two_body(p, mass, masses, rng)
            else:
                momenta = three_body(p, mass, masses, rng, is_dalitz=abs(code) == 111)
            yield rows, codes, list(momenta), body.x[:, rows], body.t[rows]


def _daughters(
    mothers: ParticleBunch,
    rows: np.ndarray,
    made: list[tuple[np.ndarray, tuple[int, ...], list[np.ndarray], np.ndarray, np.ndarray]],
) -> ParticleBunch:
    """Return the daughters in the order of their mothers; `rows` are those of the mothers that `made` counts."""
    n_daughters = np.zeros(mothers.n, np.int64)
    for which, codes, *_ in made:
        n_daughters[rows[which]] = len(codes)
    first = np.cumsum(n_daughters) - n_daughters
    mother = np.repeat(np.arange(mothers.n), n_daughters)
    n = len(mother)
    pdg, p, x, t = np.zeros(n, np.int32), np.zeros((3, n)), np.zeros((3, n)), np.zeros(n)
    for which, codes, momenta, points, times in made:
        for i, (code, momentum) in enumerate(zip(codes, momenta, strict=True)):
            at = first[rows[which]] + i
            pdg[at], p[:, at], x[:, at], t[at] = code, momentum, points, times
    by_transport = is_long_lived(mothers.pdg[mother]) | ((mothers.flags[mother] & FLAG_TRANSPORT) > 0)
    return ParticleBunch(
        collision=mothers.collision[mother],
        pdg=pdg,
        status=np.ones(n, np.int32),
        flags=np.where(by_transport, FLAG_TRANSPORT, primary_flags(pdg)).astype(np.uint8),
        mother=mother,
        mass=mass_of(pdg),
        p=p,
        x=x,
        t=t,
        path=np.full(n, np.inf),
    )
