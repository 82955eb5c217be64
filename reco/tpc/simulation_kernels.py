"""Transport: a charged particle from its origin through walls and gas, pad row by pad row; scalar body and launcher.

Inside radius 79 cm a particle goes from cylinder to cylinder in the global frame; outside, in the frame of its sector,
from pad row to pad row, exactly along its circle, and changes frame where it leaves the wedge of 20 degrees. Each
crossing of a pad row within its pads becomes a hit. Knows arrays and scalars only.
"""

import math

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_jit import body, launcher
from o2dask.reco.tpc.simulation_helix_kernels import (
    cylinder_step,
    line_step,
    plane_step,
    rotated,
    turning_step,
)
from o2dask.reco.tpc.simulation_matter_kernels import (
    aleph,
    highland,
    landau_bounds,
    landau_number,
    scattered,
    wall,
)
from o2dask.reco.tpc.simulation_random_kernels import hashed, next_word

__all__ = [
    "CAPPED",
    "DECAYED",
    "FULL",
    "LEFT",
    "N_ENDS",
    "STOPPED",
    "TRAPPED",
    "transport_lane",
    "transport_lanes",
    "transport_particle",
]

LEFT, DECAYED, STOPPED, CAPPED, TRAPPED, FULL, N_ENDS = 0, 1, 2, 3, 4, 5, 6
"""How a particle ended: left the volume, decayed at its path, ran out of energy, exceeded `max_path`, circles where
there is no pad row; FULL: no room for its hits, to be repeated."""

_SPEED = 29.9792458
_SINE10, _COSINE10, _TAN10 = math.sin(math.pi / 18), math.cos(math.pi / 18), math.tan(math.pi / 18)
_FAR = 250.0
_MAX_STEPS = 200_000
_GRAZING = 0.05
"""Least cosine of incidence on a wall: a track along a cylinder is not in it for ever."""
_SLOWEST = 0.02
"""beta gamma below which a particle is at rest."""
_REFRESH = 0.002
"""Relative change of momentum after which the losses per cm are computed anew."""


@body
def _inner_step(x, y, s, c, k, layers, zone):
    """Go to the next cylinder from between layers `zone` - 1 and `zone`: (reached, x, y, s, c, arc, layer, zone)."""
    ok, x1, y1, s1, c1, arc = cylinder_step(x, y, s, c, k, layers[zone, 0], True)
    layer, after = zone, zone + 1
    if zone > 0:
        ok2, x2, y2, s2, c2, arc2 = cylinder_step(x, y, s, c, k, layers[zone - 1, 0], False)
        if ok2 and arc2 < arc:
            ok, x1, y1, s1, c1, arc, layer, after = ok2, x2, y2, s2, c2, arc2, zone - 1, zone - 1
    return ok, x1, y1, s1, c1, arc, layer, after


@body
def _sector_step(x, y, s, c, k, planes, at, inner_radius):
    """Go to the next thing in a sector's frame from between planes `at` - 1 and `at`.

    Returns (x, y, s, c, arc, plane crossed or -1, sector change, is_inside): where the particle is then, in the frame
    of the sector where it is then; `is_inside` if it reached the cylinder where the sector frames begin.
    """
    outward = c > 0.0
    plane, is_inside, ok = at if outward else at - 1, False, False
    if plane >= 0:
        x1 = planes[plane]
        ok, y1, s1, c1, arc = plane_step(x, y, s, c, k, x1, outward)
    if not ok:
        plane = -1
        x1, y1, s1, c1, arc = turning_step(x, y, s, c, k, outward)
        if at == 0 and not outward:
            ok2, x2, y2, s2, c2, arc2 = cylinder_step(x, y, s, c, k, inner_radius, False)
            if ok2 and arc2 < arc:
                x1, y1, s1, c1, arc, is_inside = x2, y2, s2, c2, arc2, True
    if abs(y1) <= x1 * _TAN10:
        return x1, y1, s1, c1, arc, plane, 0, is_inside
    up = y1 > 0.0
    sine = _SINE10 if up else -_SINE10
    u, s1, c1, arc = line_step(x, y, s, c, k, sine, _COSINE10, up)
    x1, y1 = rotated(u, 0.0, sine, _COSINE10)
    c1, s1 = rotated(c1, s1, sine, _COSINE10)
    return x1, y1, s1, c1, arc, -1, 1 if up else -1, False


@body
def _locate(x, y, s, c, geo):
    """Return the sector (0-17) of a global point, the point and direction in its frame, and the interval of planes."""
    sector = np.int64(math.floor(math.atan2(y, x) / (math.pi / 9.0)))  # a float on a GPU
    sector = sector + 18 if sector < 0 else min(sector, 17)
    x, y = rotated(x, y, geo.sine[sector], geo.cosine[sector])
    c, s = rotated(c, s, geo.sine[sector], geo.cosine[sector])
    at = 0
    while at < geo.planes.shape[0] and geo.planes[at] <= x:
        at += 1
    return sector, x, y, s, c, at


@body
def _gas_numbers(p, mass, charge, par):
    """Return beta, ionisation, loss and xi per cm, Landau bounds, scattering per root cm, at momentum p."""
    beta = p / math.sqrt(p * p + mass * mass)
    z2 = charge * charge
    ionisation = aleph(p / mass, par.aleph0, par.aleph1, par.aleph2, par.aleph3, par.aleph4)
    ionisation *= z2 / par.aleph_minimum
    xi = par.gas_xi * z2 / (beta * beta)
    middle, highest, theta = 0.0, 0.0, 0.0
    if xi > 0.0:
        kappa = min(xi / par.gas_top, 0.3)
        middle, highest = landau_bounds(beta * beta, kappa, par.landau_cuts)
    if par.gas_per_x0 > 0.0:
        theta = highland(p, beta, charge, par.gas_per_x0, par.gas_x0_for_log)
    return beta, ionisation, par.gas_loss * ionisation, xi, middle, highest, theta


@body
def _cross_wall(state, layer, x, y, s, c, tgl, p, mass, charge, par):
    """Lose energy and scatter in layer `layer` at a point on it; return (state, p, s, c, tgl)."""
    stretch = math.sqrt(1.0 + tgl * tgl)
    slope = abs(x * c + y * s) / par.layers[layer, 0] / stretch
    many = 1.0 / max(slope, _GRAZING)
    x_over_x0, g_per_cm2 = par.layers[layer, 2] * many, par.layers[layer, 3] * many
    state, p, theta = wall(state, p, mass, charge, x_over_x0, g_per_cm2, par)
    state, s, c, tgl = scattered(state, s, c, tgl, theta)
    return state, p, s, c, tgl


@body
def _cross_gas(state, ds, s, c, tgl, p, mass, numbers, par):
    """Lose energy and scatter along `ds` [cm] of gas; `numbers` of `_gas_numbers`; return (state, p, s, c, tgl)."""
    _, _, loss, xi, middle, highest, theta = numbers
    if loss > 0.0 and ds > 0.0:
        state, value = landau_number(state, highest, par.landau, par.landau_tail)
        lost = max(loss + xi * (value - middle), 0.1 * loss) * ds
        energy = math.sqrt(p * p + mass * mass)
        p = math.sqrt(max((energy - lost) ** 2 - mass * mass, 0.0)) if lost < energy - mass else 0.0
    if theta > 0.0:
        state, s, c, tgl = scattered(state, s, c, tgl, theta * math.sqrt(ds))
    return state, p, s, c, tgl


@body
def _to_global(sector, x, y, s, c, geo):
    """Return point and direction of a sector's frame in the global frame."""
    x, y = rotated(x, y, -geo.sine[sector], geo.cosine[sector])
    c, s = rotated(c, s, -geo.sine[sector], geo.cosine[sector])
    return x, y, s, c


@body
def _write_reference(reference, sector, x, y, z, s, c, tgl, p, geo):
    gx, gy, gs, gc = _to_global(sector, x, y, s, c, geo)
    pt = p / math.sqrt(1.0 + tgl * tgl)
    reference[0], reference[1], reference[2] = gx, gy, z
    reference[3], reference[4], reference[5] = pt * gc, pt * gs, pt * tgl


@body
def _write_hit(at, row, bucket, y, z, s, c, tgl, ionisation, time, key, hits, keys, owners):
    slant = math.copysign(max(abs(c), 1e-3), c)
    hits[at, 0], hits[at, 1] = y, z
    hits[at, 2], hits[at, 3] = s / slant, tgl / slant
    hits[at, 4], hits[at, 5] = ionisation, time
    keys[at] = key
    owners[at, 0], owners[at, 1] = row, bucket


@body
def _start(x, y, s, c, geo, layers):
    """Return (is_inner, zone, sector, x, y, s, c, at): where a particle begins, in the frame it begins in."""
    radius, zone = math.sqrt(x * x + y * y), 0
    while zone < layers.shape[0] and layers[zone, 0] <= radius:
        zone += 1
    if zone < layers.shape[0]:
        return True, zone, 0, x, y, s, c, 0
    sector, x, y, s, c, at = _locate(x, y, s, c, geo)
    return False, zone, sector, x, y, s, c, at


@body
def transport_particle(row, particle, geo, par, seed, hits, keys, owners, n_hits, reference):
    """Transport one particle; append its hits and return (how it ended, number of hits now).

    The loop is long because it is one state machine: where the next surface is, go there, what happens there.

    Parameters
    ----------
    row : int
        Which particle; with `seed` it is the random stream.
    particle : tuple of 10 float
        px py pz [GeV/c], x y z [cm], time since the collision [ns], path to decay [cm], mass [GeV], charge [e].
    geo, par : Geometry, Transport
        See simulation_constants.
    hits : (capacity, 6) float32
        y, z [cm], dy/dx, dz/dx in the row, ionisation relative to the minimum, time since the collision [ns].
    keys : (capacity,) uint64
        Start of the hit's random stream.
    owners : (capacity, 2) int32
        Particle, sector * 152 + pad row.
    reference : (6,) float32
        Global position and momentum at the first hit.
    """
    px, py, pz, x, y, z, time, decay, mass, charge = particle
    state = hashed(seed, np.uint64(row))
    pt, p = math.sqrt(px * px + py * py), math.sqrt(px * px + py * py + pz * pz)
    if pt <= 1e-6 or p <= par.min_momentum:
        return STOPPED, n_hits
    s, c, tgl = py / pt, px / pt, pz / pt
    last_layer, outer_plane = par.layers.shape[0] - 1, geo.planes.shape[0] - 1
    inner_radius = par.layers[last_layer, 0]
    is_inner, zone, sector, x, y, s, c, at = _start(x, y, s, c, geo, par.layers)
    if at > outer_plane or abs(z) >= _FAR:
        return LEFT, n_hits
    first, path, limit = n_hits, 0.0, min(decay, par.max_path)
    p_known, numbers = p, _gas_numbers(p, mass, charge, par)
    for _ in range(_MAX_STEPS):
        if abs(p - p_known) > _REFRESH * p_known:
            p_known, numbers = p, _gas_numbers(p, mass, charge, par)
        stretch = math.sqrt(1.0 + tgl * tgl)
        k = par.curvature * charge * stretch / p
        plane, turn, layer, after, was_inner, is_inside = -1, 0, -1, 0, is_inner, False
        if is_inner:
            ok, x1, y1, s1, c1, arc, layer, after = _inner_step(x, y, s, c, k, par.layers, zone)
            if not ok:
                return TRAPPED, n_hits
        elif at == 0 and c <= 0.0 and x * x + y * y < inner_radius * inner_radius:
            x1, y1, s1, c1, arc, is_inside = x, y, s, c, 0.0, True
        else:
            x1, y1, s1, c1, arc, plane, turn, is_inside = _sector_step(x, y, s, c, k, geo.planes, at, inner_radius)
        ds = arc * stretch
        if path + ds >= limit:
            return DECAYED if decay <= par.max_path else CAPPED, n_hits
        x, y, s, c, z, path, time = x1, y1, s1, c1, z + arc * tgl, path + ds, time + ds / (numbers[0] * _SPEED)
        if abs(z) >= _FAR or plane == outer_plane:
            return LEFT, n_hits
        if was_inner:
            zone = after
            if par.layers[layer, 2] > 0.0 and abs(z) < par.layers[layer, 1]:
                state, p, s, c, tgl = _cross_wall(state, layer, x, y, s, c, tgl, p, mass, charge, par)
            if zone > last_layer:
                is_inner = False
                sector, x, y, s, c, at = _locate(x, y, s, c, geo)
        else:
            sector = (sector + turn + 18) % 18
            if plane >= 1 and abs(y) <= geo.half_width[plane - 1]:
                if n_hits >= hits.shape[0]:
                    return FULL, first
                if n_hits == first:
                    _write_reference(reference, sector, x, y, z, s, c, tgl, p, geo)
                bucket = (sector + (0 if z >= 0.0 else 18)) * 152 + plane - 1
                state, key = next_word(state)
                _write_hit(n_hits, row, bucket, y, z, s, c, tgl, numbers[1], time, key, hits, keys, owners)
                n_hits += 1
            if plane >= 0:
                at = plane + 1 if c > 0.0 else plane
            if is_inside:
                is_inner, zone = True, last_layer
                x, y, s, c = _to_global(sector, x, y, s, c, geo)
            state, p, s, c, tgl = _cross_gas(state, ds, s, c, tgl, p, mass, numbers, par)
        if p <= par.min_momentum or p < _SLOWEST * mass:
            return STOPPED, n_hits
    return CAPPED, n_hits


@body
def transport_lane(lane, cursor, stop, columns, geo, par, seed, hits, keys, owners, n_hits, references, ends):
    """Transport the particles of one lane until they are done or its room is used up."""
    n, i = 0, cursor[lane]
    while i < stop[lane]:
        particle = (
            np.float64(columns.px[i]),
            np.float64(columns.py[i]),
            np.float64(columns.pz[i]),
            np.float64(columns.vx[i]),
            np.float64(columns.vy[i]),
            np.float64(columns.vz[i]),
            np.float64(columns.vt[i]),
            np.float64(columns.path[i]),
            np.float64(columns.mass[i]),
            np.float64(columns.charge[i]),
        )
        end, n_after = transport_particle(
            columns.row[i], particle, geo, par, seed, hits[lane], keys[lane], owners[lane], n, references[i]
        )
        if end == FULL and n > 0:
            break
        if end == FULL:  # one particle with more hits than a lane: keep what fits
            n_after, end = hits.shape[1], CAPPED
        n = n_after
        ends[lane, end] += 1
        i += 1
    cursor[lane] = i
    n_hits[lane] = n


@launcher
def transport_lanes(cursor, stop, columns, geo, par, seed, hits, keys, owners, n_hits, references, ends):
    """Transport the particles of each lane until they are done or the lane's room is used up.

    A lane is a range of particles with its own room for hits; it goes on at `cursor` the next time. Nothing depends
    on how many lanes or threads there are.

    Parameters
    ----------
    cursor, stop : (n_lanes,) int64
        Range of particles still to do; `cursor` is moved on.
    columns : tuple of arrays (n_particles,)
        As `transport_particle` takes them, float32, and `row` int32: the particle's row in MC/PARTICLES.
    hits, keys, owners : (n_lanes, capacity, 6), (n_lanes, capacity), (n_lanes, capacity, 2)
        Room of each lane; `n_hits` (n_lanes,) int64 is how much is used.
    references : (n_particles, 6) float32
        First hit of each particle, untouched where it has none.
    ends : (n_lanes, N_ENDS) int64
        Counts of how particles ended, added to.
    """
    for lane in prange(cursor.shape[0]):
        transport_lane(lane, cursor, stop, columns, geo, par, seed, hits, keys, owners, n_hits, references, ends)
