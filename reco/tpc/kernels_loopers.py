"""Which legs of loopers follow each other: half turns of one helix, each found as a track of its own."""

import math

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_jit import body, launcher

__all__ = ["LEG_COLUMNS", "compare_legs", "find_next_leg", "find_next_legs"]

LEG_COLUMNS = ("key", "cx", "cy", "radius", "angle", "sense", "slope", "kind", "side")
"""Columns of legs (n, 9) float32, sorted by side, sense and key: side z [cm]; centre and radius of the
circle [cm]; azimuth of the
innermost cluster about the centre; sense of rotation and dz per transverse length of the particle as it moves away from
the central electrode; 1 outward, -1 returning leg; 1 A side, -1 C side."""
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_INF = np.float32(np.inf)
_TURN = np.float32(2 * math.pi)
_HALF_TURN = np.float32(math.pi)
_MAX_REACH_CM = np.float32(260.0)
"""All legs of a particle lie within the drift length."""


@body
def compare_legs(a, b, legs, tolerance):
    """Return the distance squared in tolerances of leg `b` from where leg `a` goes on; infinity if it cannot.

    Both are of one side and one sense of rotation. A particle on leg `a` comes to the
    innermost cluster of `b` after an arc of less than a turn if the kinds differ,
    after one turn if they are the same. Tolerances: of the centre in radii, of the radius in radii, of the slope, of z
    [cm] and of z in parts of its change; energy loss on a turn of a slow pion is what they must allow for.
    """
    radius = legs[a, 3]
    dr = (legs[b, 3] - radius) / radius / tolerance[1]
    dt = (legs[b, 6] - legs[a, 6]) / tolerance[2]
    if abs(dr) > _ONE or abs(dt) > _ONE:
        return _INF
    dx, dy = (legs[b, 1] - legs[a, 1]) / radius, (legs[b, 2] - legs[a, 2]) / radius
    dc2 = (dx * dx + dy * dy) / (tolerance[0] * tolerance[0])
    if dc2 > _ONE:
        return _INF
    arc = legs[a, 5] * (legs[b, 4] - legs[a, 4])
    while arc < _ZERO:
        arc += _TURN
    while arc >= _TURN:
        arc -= _TURN
    if legs[a, 7] == legs[b, 7] and arc < _HALF_TURN:
        arc += _TURN
    way = legs[a, 6] * radius * arc * legs[a, 8]
    dz = (legs[b, 0] - legs[a, 0] - way) / (tolerance[3] + tolerance[4] * abs(way))
    if abs(dz) > _ONE:
        return _INF
    return dc2 + dr * dr + dt * dt + dz * dz


@body
def find_next_leg(a, legs, tolerance, follower, distance):
    """Write the leg that follows `a` best to follower (n,) int32 (-1: none) and its distance squared."""
    follower[a] = -1
    distance[a] = _INF
    n = legs.shape[0]
    side, sense = legs[a, 8], legs[a, 5]
    reach = abs(legs[a, 6]) * legs[a, 3] * _TURN * np.float32(1.6) + np.float32(2.0) * tolerance[3]
    reach = min(reach, _MAX_REACH_CM)
    b = a + 1
    # legs of a flat particle lie at the same z: look back a little too
    while b < n and legs[b, 8] == side and legs[b, 5] == sense and legs[b, 0] <= legs[a, 0] + reach:
        d = compare_legs(a, b, legs, tolerance)
        if d < distance[a]:
            distance[a] = d
            follower[a] = b
        b += 1
    b = a - 1
    while b >= 0 and legs[b, 8] == side and legs[b, 5] == sense and legs[b, 0] >= legs[a, 0] - tolerance[3]:
        d = compare_legs(a, b, legs, tolerance)
        if d < distance[a]:
            distance[a] = d
            follower[a] = b
        b -= 1


@launcher
def find_next_legs(legs, tolerance, follower, distance):
    """Run `find_next_leg` on every leg."""
    for a in prange(follower.shape[0]):
        find_next_leg(np.int64(a), legs, tolerance, follower, distance)
