"""The fast TPC simulation: particles of a timeframe in, native clusters with labels out.

Checks, allocates, calls the kernels, counts. Memory: 50 bytes per cluster before merging and about 130 MB of scratch,
whatever the number of particles; see `simulate_tpc`.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from o2dask.columns import Column, Columns, Schema
from o2dask.errors import ShapeError, SpecError
from o2dask.reco.calibration.objects import CorrectionMap
from o2dask.reco.geometry.tpc import N_ROWS, N_SECTORS, TIME_BIN_BC, pad_rows
from o2dask.reco.simulation.particles import charge_of, mass_of
from o2dask.reco.simulation.schema import MC_COLLISIONS, MC_PARTICLES
from o2dask.reco.tpc import simulation_kernels as moving
from o2dask.reco.tpc import simulation_response_kernels as answering
from o2dask.reco.tpc.schema import CLUSTERLABEL, CLUSTERNATIVE, MC_TPCREFS, PAD_SCALE, TIME_SCALE
from o2dask.reco.tpc.simulation_calibration_kernels import amplify_lanes, distort_lanes
from o2dask.reco.tpc.simulation_constants import geometry, response, transport
from o2dask.reco.tpc.simulation_merging_kernels import (
    count_per_particle,
    gather,
    merge_rows,
    sort_by_time,
    sort_rows,
    stable_order,
)
from o2dask.reco.tpc.simulation_params import TpcSimParams
from o2dask.timeframe import BC_NS

__all__ = ["Flaws", "SimulatedTpc", "simulate_tpc", "true_crossings"]

_LANES, _LANE_HITS = 64, 32768
_BUCKETS = N_SECTORS * N_ROWS
_MAX_MERGED = 32
_WORD = 0xFFFFFFFFFFFFFFFF
"""Seeds are taken modulo 2^64."""


class SimulatedTpc(NamedTuple):
    """What `simulate_tpc` returns: payloads by ``ORIG/DESCR``, and counts of what happened."""

    payloads: dict[str, Columns]
    counters: dict[str, int]


class Flaws(NamedTuple):
    """What a real detector has: `gain` (36, 152, 138) float32 of every pad, and the corrections of its distortions."""

    gain: np.ndarray | None = None
    corrections: CorrectionMap | None = None


class _Particles(NamedTuple):
    """Charged particles to transport, contiguous and writeable so that the kernels have one signature."""

    row: np.ndarray
    px: np.ndarray
    py: np.ndarray
    pz: np.ndarray
    vx: np.ndarray
    vy: np.ndarray
    vz: np.ndarray
    vt: np.ndarray
    path: np.ndarray
    mass: np.ndarray
    charge: np.ndarray


class _Room(NamedTuple):
    """Where the transport of each lane writes, see `simulation_kernels.transport_lanes`."""

    hits: np.ndarray
    keys: np.ndarray
    owners: np.ndarray
    n_hits: np.ndarray
    references: np.ndarray
    ends: np.ndarray


class _Raw(NamedTuple):
    """Clusters before merging; `bucket` is sector * 152 + pad row."""

    bucket: np.ndarray
    time: np.ndarray
    pad: np.ndarray
    sigma_pad: np.ndarray
    sigma_time: np.ndarray
    q_max: np.ndarray
    q_tot: np.ndarray
    flags: np.ndarray
    mc: np.ndarray


_RAW_TYPES = _Raw("u2", "u4", "u2", "u1", "u1", "u2", "u2", "u1", "i4")  # type: ignore[arg-type]


class _Merging(NamedTuple):
    """`_Raw` with the second label: what the merging kernels change in place."""

    bucket: np.ndarray
    time: np.ndarray
    pad: np.ndarray
    sigma_pad: np.ndarray
    sigma_time: np.ndarray
    q_max: np.ndarray
    q_tot: np.ndarray
    flags: np.ndarray
    mc: np.ndarray
    mc_other: np.ndarray


class _Out(NamedTuple):
    """Columns of the output."""

    sector: np.ndarray
    pad_row: np.ndarray
    time: np.ndarray
    pad: np.ndarray
    sigma_pad: np.ndarray
    sigma_time: np.ndarray
    q_max: np.ndarray
    q_tot: np.ndarray
    flags: np.ndarray
    mc: np.ndarray
    mc_other: np.ndarray


def simulate_tpc(
    collisions: Columns,
    particles: Columns,
    params: TpcSimParams | None = None,
    seed: int = 1,
    *,
    n_bcs: int,
    flaws: Flaws | None = None,
) -> SimulatedTpc:
    """Return the clusters that the particles of one timeframe leave in the TPC, with labels and reference points.

    Parameters
    ----------
    collisions, particles : Columns
        MC/COLLISIONS and MC/PARTICLES; charged particles are transported to their decay.
    params : TpcSimParams
        Settings; None for the defaults.
    seed : int
        Same seed and input, same bytes, on any number of threads.
    n_bcs : int
        Length of the timeframe [BC]; clusters whose time is outside belong to its neighbours and are dropped.
    flaws : Flaws, optional
        What reconstruction has to correct.

    Returns
    -------
    SimulatedTpc
        `payloads`: TPC/CLUSTERNATIVE and TPC/CLUSTERLABEL (row by row, sorted by sector, pad_row, time, pad) and
        MC/TPCREFS. `counters`: particles by how they ended, hits by what became of them, merged and noise clusters.

    Raises
    ------
    ShapeError
        If the payloads have another schema, or a particle points to a collision that is not there.
    SpecError
        If `n_bcs` is not positive or too long for 24-bit times.

    Notes
    -----
    Peak memory is 130 MB of scratch, 70 bytes per transported particle, and 50 bytes per cluster before merging, of
    which 23 are the result: 1.7 GB for a Pb-Pb timeframe at 50 kHz (143 collisions, 33 million crossings).
    """
    params = params or TpcSimParams()
    _check(collisions, particles, n_bcs)
    counters: Counter[str] = Counter()
    raw, rows, references = _clusters(collisions, particles, params, (seed, n_bcs), counters, flaws or Flaws())
    out = _merged(raw, params, n_bcs, counters)
    payloads = {
        "TPC/CLUSTERNATIVE": Columns(CLUSTERNATIVE, {n: getattr(out, n) for n in CLUSTERNATIVE.names}),
        "TPC/CLUSTERLABEL": Columns(CLUSTERLABEL, {n: getattr(out, n) for n in CLUSTERLABEL.names}),
        "MC/TPCREFS": _references(out, rows, references, particles.n_rows),
    }
    counters["clusters"] = len(out.time)
    return SimulatedTpc(payloads, dict(counters))


def _check(collisions: Columns, particles: Columns, n_bcs: int) -> None:
    for payload, schema in ((collisions, MC_COLLISIONS), (particles, MC_PARTICLES)):
        if payload.schema != schema:
            raise ShapeError(f"simulate_tpc: want a payload of schema {schema}, got {payload.schema}")
    if not 0 < n_bcs <= (1 << 24) // TIME_SCALE * TIME_BIN_BC:
        limit = (1 << 24) // TIME_SCALE * TIME_BIN_BC
        raise SpecError(f"simulate_tpc: want 0 < n_bcs <= {limit}, got {n_bcs}; use shorter timeframes")
    at = particles["collision"]
    if len(at) and not 0 <= at.min() <= at.max() < collisions.n_rows:
        raise ShapeError(
            f"MC/PARTICLES.collision: want rows of the {collisions.n_rows} collisions, got {at.min()} to {at.max()}"
        )


def _charged(particles: Columns) -> _Particles:
    codes, which = np.unique(particles["pdg"], return_inverse=True)
    charge, mass = charge_of(codes), mass_of(codes)
    rows = np.flatnonzero((charge != 0)[which] & (particles["path"] > 0)).astype(np.int32)
    picked = {n: particles[n][rows] for n in ("px", "py", "pz", "vx", "vy", "vz", "vt", "path")}
    masses = mass[which[rows]]
    if np.isnan(masses).any():  # not in the table: what the generator gave them
        p2 = sum(picked[n].astype(np.float64) ** 2 for n in ("px", "py", "pz"))
        own = np.sqrt(np.maximum(particles["e"][rows].astype(np.float64) ** 2 - p2, 1e-6))
        masses = np.where(np.isnan(masses), own, masses)
    return _Particles(row=rows, mass=masses.astype(np.float32), charge=charge[which[rows]].astype(np.float32), **picked)


def true_crossings(particles: Columns, params: TpcSimParams | None = None, seed: int = 1) -> dict[str, np.ndarray]:
    """Return where the particles really cross pad rows: the truth that clusters are a measurement of.

    Arrays of one length, a particle's crossings together and in the order of its path: mc, sector, pad_row (int32),
    y, z [cm, in the sector's frame], tan_y, tan_z (dy/dx, dz/dx), ionisation (1 = minimum), time since the collision
    [ns] (float32). The same particles, settings and seed as in `simulate_tpc` give the same paths.
    """
    params = params or TpcSimParams()
    moved = _charged(particles)
    room = _room(len(moved.row))
    parts = [(np.empty((0, 2), np.int32), np.empty((0, 6), np.float32))]
    for _ in _rounds(moved, params, seed, room):
        for lane, n in enumerate(room.n_hits):
            parts.append((room.owners[lane, :n].copy(), room.hits[lane, :n].copy()))
    owners, hits = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(owners[:, 0], kind="stable")  # lanes take turns; within a particle the order is kept
    owners, hits = owners[order], hits[order]
    found = {"mc": owners[:, 0], "sector": owners[:, 1] // N_ROWS, "pad_row": owners[:, 1] % N_ROWS}
    return found | {name: hits[:, i] for i, name in enumerate(("y", "z", "tan_y", "tan_z", "ionisation", "time"))}


def _room(n_particles: int) -> _Room:
    n_lanes = max(min(_LANES, n_particles), 1)
    return _Room(
        hits=np.empty((n_lanes, _LANE_HITS, 6), np.float32),
        keys=np.empty((n_lanes, _LANE_HITS), np.uint64),
        owners=np.empty((n_lanes, _LANE_HITS, 2), np.int32),
        n_hits=np.zeros(n_lanes, np.int64),
        references=np.zeros((n_particles, 6), np.float32),
        ends=np.zeros((n_lanes, moving.N_ENDS), np.int64),
    )


def _rounds(moved: _Particles, params: TpcSimParams, seed: int, room: _Room) -> Iterator[None]:
    """Transport as many particles as there is room for, hand over, and go on until all are done."""
    edges = np.linspace(0, len(moved.row), len(room.n_hits) + 1).astype(np.int64)
    cursor, stop = edges[:-1].copy(), edges[1:].copy()
    geo, constants, state = geometry(params.dead), transport(params), np.uint64(seed & _WORD)
    while (cursor < stop).any():
        moving.transport_lanes(cursor, stop, moved, geo, constants, state, *room)
        yield


def _clusters(
    collisions: Columns,
    particles: Columns,
    params: TpcSimParams,
    when: tuple[int, int],
    counters: Counter[str],
    flaws: Flaws,
) -> tuple[_Raw, np.ndarray, np.ndarray]:
    """Transport and respond; return all clusters, the rows that were transported, and their first hits (n, 6)."""
    seed, n_bcs = when
    moved = _charged(particles)
    room = _room(len(moved.row))
    n_lanes = len(room.n_hits)
    clusters = _Raw(*(np.empty((n_lanes, _LANE_HITS), t) for t in _RAW_TYPES))
    n_out, fates = np.zeros(n_lanes, np.int64), np.zeros((n_lanes, answering.N_FATES), np.int64)
    # Copies: payloads are read-only, which to numba would be another type to compile for.
    t = collisions["t"] + np.float32(params.offset_bins * TIME_BIN_BC * BC_NS)
    times = np.array(particles["collision"]), np.array(collisions["bc"]), t
    constants = n_bcs / TIME_BIN_BC, geometry(params.dead), response(params)
    parts = [_noise(params, seed, n_bcs, counters)]
    for _ in _rounds(moved, params, seed, room):
        if (found := flaws.corrections) is not None:
            grid = np.array(found.shifts), np.float32(found.max_z2x)
            distort_lanes(room.n_hits, room.hits, room.owners, pad_rows().x, *grid)
        answering.respond_lanes(
            room.n_hits, room.hits, room.keys, room.owners, *times, *constants, clusters, n_out, fates
        )
        if flaws.gain is not None:
            threshold = np.float32(params.threshold_adc)
            amplify_lanes(n_out, clusters, flaws.gain, threshold, answering.LOST, answering.DONE, fates)
        parts.append(_Raw(*(np.concatenate([a[lane, :n] for lane, n in enumerate(n_out)]) for a in clusters)))
    _count(room.ends, fates, counters)
    del clusters
    return _joined(parts), moved.row, room.references


def _joined(parts: list[_Raw]) -> _Raw:
    """Concatenate column by column and let go of each as it is done: the peak is one column above the sum."""
    columns = [list(column) for column in zip(*parts, strict=True)]
    parts.clear()
    joined = []
    while columns:
        joined.append(np.concatenate(columns.pop(0)))
    return _Raw(*joined)


def _count(ends: np.ndarray, fates: np.ndarray, counters: Counter[str]) -> None:
    how, what = ends.sum(axis=0), fates.sum(axis=0)
    counters["particles"] = int(how.sum())
    for name, code in (
        ("left", moving.LEFT),
        ("decayed", moving.DECAYED),
        ("stopped", moving.STOPPED),
        ("loopers_capped", moving.CAPPED),
        ("trapped", moving.TRAPPED),
    ):
        counters[f"particles_{name}"] = int(how[code])
    counters["hits"] = int(what.sum())
    counters["hits_below_threshold"] = int(what[answering.LOST])
    counters["hits_outside_timeframe"] = int(what[answering.OUTSIDE])
    counters["hits_on_dead_pads"] = int(what[answering.DEAD])


def _noise(params: TpcSimParams, seed: int, n_bcs: int, counters: Counter[str]) -> _Raw:
    """Return noise clusters: uniform in row, pad and time, small charges."""
    rng = np.random.default_rng([seed & _WORD, 0x6E6F697365])
    n_bins = n_bcs / TIME_BIN_BC
    n = int(rng.poisson(params.noise_rate * _BUCKETS * n_bins))
    bucket = rng.integers(0, _BUCKETS, n)
    pad = (rng.random(n) * (pad_rows().n_pads[bucket % N_ROWS] - 1) * PAD_SCALE).astype(np.uint16)
    q_max = np.minimum(params.threshold_adc + rng.exponential(3.0, n), 1000.0)
    counters["noise"] = n
    return _Raw(
        bucket=bucket.astype(np.uint16),
        time=(rng.random(n) * (int(n_bins * TIME_SCALE) - 1)).astype(np.uint32),
        pad=pad,
        sigma_pad=rng.integers(4, 24, n).astype(np.uint8),
        sigma_time=rng.integers(4, 24, n).astype(np.uint8),
        q_max=q_max.astype(np.uint16),
        q_tot=(q_max * (1.0 + 2.0 * rng.random(n))).astype(np.uint16),
        flags=np.full(n, 8, np.uint8),
        mc=np.full(n, -1, np.int32),
    )


def _merged(raw: _Raw, params: TpcSimParams, n_bcs: int, counters: Counter[str]) -> _Out:
    """Sort, merge what is too near, and return the output columns in order."""
    n = len(raw.time)
    order = np.empty(n, np.int32)
    starts = np.zeros(_BUCKETS + 1, np.int64)
    by_time = np.empty(n, np.int32)
    sort_by_time(raw.time, np.zeros(n_bcs // TIME_BIN_BC + 3, np.int64), by_time)
    stable_order(raw.bucket, by_time, starts, order)
    del by_time
    columns = _Merging(*raw, mc_other=np.full(n, -1, np.int32))
    sort_rows(order, starts, columns)
    n_alive = np.zeros(_BUCKETS, np.int64)
    members = np.empty((_BUCKETS, _MAX_MERGED), np.int32)
    merge_rows(
        order,
        starts,
        columns,
        params.merge_pads,
        params.merge_times,
        params.merge_sigmas,
        members,
        n_alive,
    )
    out_starts = np.concatenate([[0], np.cumsum(n_alive)])
    counters["merged"] = n - int(out_starts[-1])
    types = {**{c.name: c.dtype for c in _all(CLUSTERNATIVE, CLUSTERLABEL)}}
    out = _Out(*(np.empty(int(out_starts[-1]), types[name]) for name in _Out._fields))
    gather(order, starts, n_alive, out_starts, columns, out)
    return out


def _all(*schemas: Schema) -> list[Column]:
    return [column for schema in schemas for column in schema.columns]


def _references(out: _Out, rows: np.ndarray, points: np.ndarray, n_particles: int) -> Columns:
    """Return MC/TPCREFS: particles that are the main label of at least one cluster."""
    n_clusters, n_rows = np.zeros(n_particles, np.int32), np.zeros(n_particles, np.int32)
    count_per_particle(out.sector, out.pad_row, out.mc, n_clusters, n_rows, np.full(n_particles, -1, np.int32))
    seen = np.flatnonzero(n_clusters[rows] > 0)
    mc = rows[seen]
    arrays = {"mc": mc.astype(np.int32), "n_clusters": n_clusters[mc], "n_rows": n_rows[mc]}
    for i, name in enumerate(("x", "y", "z", "px", "py", "pz")):
        arrays[name] = np.ascontiguousarray(points[seen, i])
    return Columns(MC_TPCREFS, arrays)
