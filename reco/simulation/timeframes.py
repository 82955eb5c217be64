"""From generator events to a timeframe: collisions in colliding bunch crossings, vertices, and all particles.

Knows events, decays and bunch crossings; knows no detector. What it makes depends on the parameters and the
timeframe's counter alone: same parameters and counter, same bytes, whatever was made before.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np

from o2dask.columns import Columns
from o2dask.errors import ConfigError, DataError
from o2dask.reco.calibration.objects import MeanVertex
from o2dask.reco.geometry.tpc import BZ_KG
from o2dask.reco.simulation.bunch import ParticleBunch
from o2dask.reco.simulation.decays import DecayParams, decay_in_flight, decaying_codes, primary_flags
from o2dask.reco.simulation.events import EventSample, read_events
from o2dask.reco.simulation.filling import FILLING, colliding_bcs, place_collisions
from o2dask.reco.simulation.generator import generate
from o2dask.reco.simulation.particles import charge_of, is_long_lived, mass_of
from o2dask.reco.simulation.schema import FLAG_TRANSPORT, MC_COLLISIONS, MC_PARTICLES
from o2dask.timeframe import ORBITS_PER_TIMEFRAME, TimeframeId, TimeframeRef

__all__ = ["DEFAULT_RATE_HZ", "TimeframeParams", "build_timeframe", "load_sample", "timeframe_refs"]

DEFAULT_RATE_HZ = {"pbpb": 50e3, "pp": 500e3}
"""Interaction rates of Run 3 [Hz]: Pb-Pb at full luminosity, pp as levelled."""
GENERATORS = ("sample", "builtin")
_CHUNK_ROWS = 200_000
"""Generator particles that are decayed at a time: bounds the memory of the work area (about 300 bytes per particle)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeframeParams:
    """What is in simulated timeframes.

    Attributes
    ----------
    system : str
        "pbpb" or "pp": filling scheme, default rate, and the sample or generator to use.
    rate_hz : float or None
        Interaction rate [Hz]; None is `DEFAULT_RATE_HZ`. Each colliding BC has a Poisson number of collisions.
    collisions : int or None
        Fixed number of collisions per timeframe, at random in its colliding BCs, whatever the rate.
    events : str or None
        File of generator events (`read_events`); None is the committed sample of the system. "sample" only.
    generator : str
        "sample" draws events (in proportion to their weight) from a sample, each turned by a random azimuth and half of
        them end for end; "builtin" makes every event anew with `generator.generate`.
    seed : int
        Same seed and timeframe counter, same bytes.
    eta_max : float
        Generator particles at |eta| above are left out. The TPC sees a track's first rows up to 1.6.
    n_orbits : int
        Length of the timeframe [orbits].
    run, first_orbit : int
        Of `timeframe_refs`: run number, and first orbit of timeframe 0.
    filling : str
        Filling scheme, a name or a description (`filling`); "" is the system's.
    bz_kg : float
        Field in which charged mothers bend [kG].
    beam : MeanVertex
        Where the vertices are: the luminous region.
    sigma_t : float
        Spread of the collision time about its BC [ns]: the bunch length.
    conversions : bool
        Whether photons convert to e+ e- before and in the TPC.
    flow : bool
        Whether the built-in generator's Pb-Pb events have elliptic flow.
    """

    system: str = "pbpb"
    rate_hz: float | None = None
    collisions: int | None = None
    events: str | None = None
    generator: str = "sample"
    seed: int = 1
    eta_max: float = 1.6
    n_orbits: int = ORBITS_PER_TIMEFRAME
    run: int = 300000
    first_orbit: int = 0
    filling: str = ""
    bz_kg: float = BZ_KG
    beam: MeanVertex = field(default_factory=MeanVertex)
    sigma_t: float = 0.2
    conversions: bool = True
    flow: bool = True

    def __post_init__(self) -> None:
        if self.system not in FILLING:
            raise ConfigError(f"system: want {' or '.join(FILLING)}, got {self.system!r}")
        if self.generator not in GENERATORS:
            raise ConfigError(f"generator: want {' or '.join(GENERATORS)}, got {self.generator!r}")
        if self.generator == "builtin" and self.events is not None:
            raise ConfigError(f"generator 'builtin' reads no events, got {self.events!r}; leave one of them out")
        if self.rate_hz is not None and not 0 <= self.rate_hz <= 100e6:
            raise ConfigError(f"interaction rate: want 0 to 100 MHz, got {self.rate_hz} Hz")
        if self.collisions is not None and not 0 <= self.collisions <= 100_000:
            raise ConfigError(f"collisions per timeframe: want 0 to 100000, got {self.collisions}")
        if self.seed < 0:
            raise ConfigError(f"seed: want 0 or more, got {self.seed}")
        if not 0 < self.eta_max <= 10 or self.n_orbits < 1:
            raise ConfigError(f"want 0 < eta_max <= 10 and n_orbits >= 1, got {self.eta_max} and {self.n_orbits}")
        if self.sigma_t < 0:
            raise ConfigError(f"spread of the collision time: want 0 or more, got {self.sigma_t}")
        colliding_bcs(self.scheme)

    @property
    def scheme(self) -> str:
        """Filling scheme, the system's where none is given."""
        return self.filling or self.system

    @property
    def rate(self) -> float:
        """Interaction rate [Hz], the system's where none is given."""
        return DEFAULT_RATE_HZ[self.system] if self.rate_hz is None else self.rate_hz


def timeframe_refs(params: TimeframeParams, n: int) -> list[TimeframeRef]:
    """Return `n` consecutive timeframes to be simulated: url ``sim:``, index = counter."""
    return [
        TimeframeRef(
            id=TimeframeId(
                run=params.run,
                tf_counter=i,
                first_orbit=params.first_orbit + i * params.n_orbits,
                n_orbits=params.n_orbits,
            ),
            url="sim:",
            index=i,
        )
        for i in range(n)
    ]


def load_sample(params: TimeframeParams) -> EventSample | None:
    """Return the events from which timeframes draw, within `eta_max`; None with the built-in generator."""
    return None if params.generator == "builtin" else _read_sample(params)


def _read_sample(params: TimeframeParams) -> EventSample:
    committed = files("o2dask.reco.simulation.sample").joinpath(f"{params.system}.parquet")
    sample = read_events(params.events or str(committed)).within(params.eta_max)
    if not sample.n_events:
        raise DataError(f"events {sample.name!r}: no event in it")
    return sample


def build_timeframe(params: TimeframeParams, tf_counter: int, sample: EventSample | None = None) -> dict[str, Columns]:
    """Return MC/COLLISIONS and MC/PARTICLES of one timeframe.

    Parameters
    ----------
    params : TimeframeParams
    tf_counter : int
        Which timeframe of the run.
    sample : EventSample, optional
        What `load_sample` returns, so that it is read once for many timeframes.

    Returns
    -------
    dict
        Collisions ascending in BC. Particles sorted by collision; of a collision first the generator's, then decay
        products generation by generation, those of one mother contiguous. Neutrals are there if they have charged
        descendants or are weakly decaying hadrons of the generator. `status` of a generator particle is the
        generator's (a pi+ that decays in flight stays 1), of a particle made by transport 2 if it decays. `path` is
        finite for all that decay or convert.
    """
    where, what, how = (np.random.default_rng([params.seed, tf_counter, stream]) for stream in range(3))
    bc = place_collisions(where, params.scheme, params.n_orbits, rate_hz=params.rate, collisions=params.collisions)
    vertex = _vertices(params.beam, where.standard_normal((3, len(bc))))
    time = where.standard_normal(len(bc)) * params.sigma_t
    events, chosen = _events(params, len(bc), sample, what)
    particles, counts = _particles(params, events, chosen, vertex, how)
    starts = np.cumsum(counts) - counts
    collisions = {
        "bc": bc.astype(np.int64),
        "x": vertex[0].astype(np.float32),
        "y": vertex[1].astype(np.float32),
        "z": vertex[2].astype(np.float32),
        "t": time.astype(np.float32),
        "impact": events.impact[chosen].astype(np.float32),
        "weight": np.ones(len(bc), np.float32),
        "first_particle": starts.astype(np.int32),
        "n_particles": counts.astype(np.int32),
    }
    return {"MC/COLLISIONS": Columns(MC_COLLISIONS, collisions), "MC/PARTICLES": particles}


def _vertices(beam: MeanVertex, normal: np.ndarray) -> np.ndarray:
    """Return x, y, z (3, n) [cm] of collisions in the luminous region out of normal numbers."""
    spread = normal * np.array([[beam.sigma_x], [beam.sigma_y], [beam.sigma_z]])
    z = beam.z + spread[2]
    x, y = beam.at(z)
    return np.stack([x + spread[0], y + spread[1], z])


def _events(
    params: TimeframeParams, n: int, sample: EventSample | None, rng: np.random.Generator
) -> tuple[EventSample, np.ndarray]:
    """Return events and which of them the `n` collisions are; a sample's are drawn in proportion to their weight."""
    if params.generator == "builtin":
        return generate(params.system, n, rng, eta_max=params.eta_max, flow=params.flow), np.arange(n)
    sample = _read_sample(params) if sample is None else sample
    return sample, rng.choice(sample.n_events, n, p=sample.weight / sample.weight.sum())


def _particles(
    params: TimeframeParams, sample: EventSample, events: np.ndarray, vertex: np.ndarray, rng: np.random.Generator
) -> tuple[Columns, np.ndarray]:
    """Return the particles of all collisions, and their number per collision."""
    decays = DecayParams(bz_kg=params.bz_kg, conversions=params.conversions)
    parts, n_done, counts = [MC_PARTICLES.empty()], 0, np.zeros(len(events), np.int64)
    for chunk in _chunks(np.diff(sample.offsets)[events]):
        bunch = _start(sample, events[chunk], np.arange(len(events))[chunk], vertex[:, chunk], rng)
        bunch = _pruned(decay_in_flight(bunch, decays, rng))
        counts += np.bincount(bunch.collision, minlength=len(events))
        parts.append(_columns(bunch, n_done))
        n_done += bunch.n
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in MC_PARTICLES.names}
    return Columns(MC_PARTICLES, arrays), counts


def _chunks(n_rows: np.ndarray) -> Iterator[slice]:
    """Yield slices of consecutive collisions with about `_CHUNK_ROWS` rows each."""
    first, total = 0, 0
    for i, n in enumerate(n_rows.tolist()):
        if total and total + n > _CHUNK_ROWS:
            yield slice(first, i)
            first, total = i, 0
        total += n
    if first < len(n_rows):
        yield slice(first, len(n_rows))


def _start(
    sample: EventSample, events: np.ndarray, collision: np.ndarray, vertex: np.ndarray, rng: np.random.Generator
) -> ParticleBunch:
    """Return the generator's particles of the events, each event turned, put at its vertex."""
    rows, starts = sample.rows_of(events)
    counts = np.diff(sample.offsets)[events]
    which = np.repeat(np.arange(len(events)), counts)
    p = np.stack([getattr(sample, name)[rows] for name in ("px", "py", "pz")]).astype(np.float64)
    x = np.stack([getattr(sample, name)[rows] for name in ("vx", "vy", "vz")]).astype(np.float64)
    angle, is_swapped = rng.uniform(0, 2 * np.pi, len(events)), rng.random(len(events)) < 0.5
    p, x = (_turned(vector, angle[which], is_swapped[which]) for vector in (p, x))
    pdg, parent = sample.pdg[rows], sample.parent[rows]
    mother = np.where(parent < 0, -1, parent + starts[which])
    return ParticleBunch(
        collision=collision[which],
        pdg=pdg,
        status=sample.status[rows].copy(),
        flags=primary_flags(pdg),
        mother=mother,
        mass=mass_of(pdg, sample.mass[rows].astype(np.float64)),
        p=p,
        x=x + vertex[:, which],
        t=sample.vt[rows].astype(np.float64),
        path=_generator_path(pdg, sample.status[rows], mother, x),
    )


def _turned(vector: np.ndarray, angle: np.ndarray, is_swapped: np.ndarray) -> np.ndarray:
    """Return (3, n) vectors turned about z and, where `is_swapped`, by half a turn about x: the beams exchanged."""
    cos, sin = np.cos(angle), np.sin(angle)
    sign = np.where(is_swapped, -1.0, 1.0)
    y = sign * vector[1]
    return np.stack((cos * vector[0] - sin * y, sin * vector[0] + cos * y, sign * vector[2]))


def _generator_path(pdg: np.ndarray, status: np.ndarray, mother: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the paths [cm] after which the generator's own mothers (heavy flavour) decayed, inf for the others."""
    path = np.full(len(pdg), np.inf)
    short = (status == 2) & ~is_long_lived(pdg) & ~np.isin(np.abs(pdg), decaying_codes())
    path[short] = 0.0
    daughter = np.flatnonzero(mother >= 0)
    path[mother[daughter]] = np.sqrt(((x[:, daughter] - x[:, mother[daughter]]) ** 2).sum(axis=0))
    return path


def _pruned(bunch: ParticleBunch) -> ParticleBunch:
    """Return the bunch sorted by collision, without neutrals that nothing charged comes from."""
    of_generator = ((bunch.flags & FLAG_TRANSPORT) == 0) & (bunch.pdg != 22) & np.isin(bunch.pdg, _always_kept())
    keep = (charge_of(bunch.pdg) != 0) | of_generator
    while True:
        needed = bunch.mother[keep & (bunch.mother >= 0)]
        if keep[needed].all():
            break
        keep[needed] = True
    rows = np.flatnonzero(keep)
    rows = rows[np.argsort(bunch.collision[rows], kind="stable")]
    place = np.full(bunch.n, -1)
    place[rows] = np.arange(len(rows))
    kept = bunch.take(rows)
    kept.mother = np.where(kept.mother < 0, -1, place[kept.mother])
    return kept


def _always_kept() -> list[int]:
    """Codes of neutral hadrons whose generated spectra an analysis wants whole."""
    return [sign * code for code in (310, 3122, 3322, 421, 511, 531, 5122) for sign in (1, -1)]


def _columns(bunch: ParticleBunch, first_row: int) -> Columns:
    arrays = {
        "collision": bunch.collision.astype(np.int32),
        "pdg": bunch.pdg.astype(np.int32),
        "status": bunch.status.astype(np.int32),
        "flags": bunch.flags.astype(np.uint8),
        "mother": np.where(bunch.mother < 0, -1, bunch.mother + first_row).astype(np.int32),
        "e": bunch.energy.astype(np.float32),
        "vt": bunch.t.astype(np.float32),
        "path": bunch.path.astype(np.float32),
    }
    arrays |= {name: bunch.p[i].astype(np.float32) for i, name in enumerate(("px", "py", "pz"))}
    arrays |= {name: bunch.x[i].astype(np.float32) for i, name in enumerate(("vx", "vy", "vz"))}
    return Columns(MC_PARTICLES, arrays)
