"""Moving one track through field and gas: bodies for one track, callable from CPU and GPU kernels.

State (y, z, snp, tgl, q2pt) at x in a sector's frame, covariance `c` a tuple of 15 in O2's order: yy zy zz sy sz ss ty
tz ts tt qy qz qs qt qq. Everything is float32: constants are typed so that nothing is promoted to float64.
"""

import math

import numpy as np

from o2dask.reco.tpc.kernels_field import field_at
from o2dask.reco.tpc.kernels_jit import body, inlined
from o2dask.reco.tpc.kernels_types import GAS_KNOTS, GAS_LOSS, GAS_MASS2, GAS_SCATTER, KNOTS_PER_INV_P

__all__ = [
    "B2C",
    "GAS_STEP_CM",
    "MAX_STEP_CM",
    "MIN_COS2",
    "advance",
    "advance_about",
    "advance_state",
    "chord_of",
    "gas_due",
    "gas_noise",
    "gas_step",
    "loss_in_gas",
    "propagate",
    "rotate",
    "steps_to",
    "transport",
    "turned_across",
]

B2C = np.float32(0.000299792458)
"""Curvature [1/cm] per kG and c/GeV."""
MAX_STEP_CM = np.float32(4.0)
"""Longest step over which the covariance is transported linearly [cm]."""
GAS_STEP_CM = np.float32(3.5)
"""Path after which loss and scattering are applied [cm]: over that, scattering moves no track by 0.01 of an error."""
MIN_COS2 = np.float32(1e-3)
"""Squared cosine of phi below which a track is taken to turn back."""
_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)
_HALF, _SIXTH = np.float32(0.5), np.float32(1.0 / 6.0)
_KNOTS_PER_INV_P, _LAST_KNOT = np.float32(KNOTS_PER_INV_P), np.float32(GAS_KNOTS - 1.01)


@inlined
def helix_step(y, z, snp, tgl, q2pt, dx, curv):
    """Return (ok, y, z, snp, path, 1 / cos phi before) after a step dx [cm]; see `transport`."""
    snp2 = snp + curv * dx * q2pt
    cos2a, cos2b = _ONE - snp * snp, _ONE - snp2 * snp2
    if cos2a < MIN_COS2 or cos2b < MIN_COS2:
        return False, y, z, snp, _ZERO, _ONE
    dy_dx, path, inv_csp = chord_of(snp, snp2, cos2a, cos2b, q2pt, dx, curv)
    return True, y + dx * dy_dx, z + tgl * path, snp2, path, inv_csp


@inlined
def chord_of(snp, snp2, cos2a, cos2b, q2pt, dx, curv):
    """Return (dy/dx, path [cm], 1 / cos phi before) of a step dx [cm] between directions of given squared cosines."""
    csp, csp2 = math.sqrt(cos2a), math.sqrt(cos2b)
    dy_dx = (snp + snp2) / (csp + csp2)
    chord = dx * (csp2 + snp2 * dy_dx)
    turn = curv * q2pt * chord
    return dy_dx, chord * (_ONE + turn * turn * _SIXTH), _ONE / csp


@inlined
def derivatives(snp, tgl, inv_csp, dx, bend):
    """Return (f02, f04, f12, f13, f14): of y by snp and q/pt, of z by snp, tgl and q/pt; `bend` is that of snp by q/pt.

    To first order in the step (AliceO2 TrackParametrizationWithError::propagateTo).
    """
    f13 = dx * inv_csp
    f02 = f13 * inv_csp * inv_csp
    f12 = f02 * tgl * snp
    return f02, _HALF * bend * f02, f12, f13, _HALF * bend * f12


@inlined
def carried(c, f02, f04, f12, f13, f14, bend):
    """Return the covariance after a step of the given `derivatives`."""
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14 = c
    b00 = f02 * c3 + f04 * c10
    b01 = f12 * c3 + f14 * c10 + f13 * c6
    b02 = bend * c10
    b10 = f02 * c4 + f04 * c11
    b11 = f12 * c4 + f14 * c11 + f13 * c7
    b12 = bend * c11
    b20 = f02 * c5 + f04 * c12
    b21 = f12 * c5 + f14 * c12 + f13 * c8
    b22 = bend * c12
    b30 = f02 * c8 + f04 * c13
    b31 = f12 * c8 + f14 * c13 + f13 * c9
    b32 = bend * c13
    b40 = f02 * c12 + f04 * c14
    b41 = f12 * c12 + f14 * c14 + f13 * c13
    b42 = bend * c14
    a00 = f02 * b20 + f04 * b40
    a01 = f02 * b21 + f04 * b41
    a02 = f02 * b22 + f04 * b42
    a11 = f12 * b21 + f14 * b41 + f13 * b31
    a12 = f12 * b22 + f14 * b42 + f13 * b32
    a22 = bend * b42
    return (
        c0 + b00 + b00 + a00,
        c1 + b10 + b01 + a01,
        c2 + b11 + b11 + a11,
        c3 + b20 + b02 + a02,
        c4 + b21 + b12 + a12,
        c5 + b22 + b22 + a22,
        c6 + b30,
        c7 + b31,
        c8 + b32,
        c9,
        c10 + b40,
        c11 + b41,
        c12 + b42,
        c13,
        c14,
    )


@inlined
def transport(y, z, snp, tgl, q2pt, c, dx, curv):
    """Return (ok, y, z, snp, c, path) after a step dx [cm]; `curv` is the curvature [1/cm] per q/pt.

    The helix is exact in y and right to the fourth order of the turning angle in z; the covariance is transported
    linearly. `path` is the signed length in the transverse plane [cm]. Not ok (and unchanged): the track turns back
    before x + dx.
    """
    ok, y2, z2, snp2, path, inv_csp = helix_step(y, z, snp, tgl, q2pt, dx, curv)
    if not ok:
        return False, y, z, snp, c, _ZERO
    bend = curv * dx
    f02, f04, f12, f13, f14 = derivatives(snp, tgl, inv_csp, dx, bend)
    return True, y2, z2, snp2, carried(c, f02, f04, f12, f13, f14, bend), path


@inlined
def loss_in_gas(inv_p, path, tgl, gas):
    """Return -dp/p of a pion of 1/p [c/GeV] over `path` [cm, signed, transverse], at most a tenth.

    From the table made by `o2dask.reco.tpc.grid.make_gas`, linear between its knots.
    """
    at = min(inv_p * _KNOTS_PER_INV_P, _LAST_KNOT)
    knot = int(at)
    below = gas[GAS_LOSS + knot]
    rel = below + (gas[GAS_LOSS + knot + 1] - below) * (at - np.float32(knot))
    return min(max(rel * path * math.sqrt(_ONE + tgl * tgl), np.float32(-0.1)), np.float32(0.1))


@inlined
def gas_noise(snp, tgl, q2pt, path, gas):
    """Return (ss, tt, qt, qq, part of q/pt gained) that `path` [cm, signed, transverse] of gas adds to a track.

    Energy loss and multiple scattering: the loss from a table made by `o2dask.reco.tpc.grid.make_gas`, linear between
    its knots; PDG review, passage of particles through matter, eq. 34.16 with a fixed logarithm; terms of the
    covariance as in AliceO2 TrackParametrizationWithError::correctForMaterial. A pion is assumed. Inwards (path < 0)
    the momentum grows; the noise is positive either way.
    """
    t1 = _ONE + tgl * tgl
    root = math.sqrt(t1)
    inv_p = abs(q2pt) / root
    ip2 = inv_p * inv_p
    length = path * root
    theta2 = gas[GAS_SCATTER] * abs(length) * ip2 * (_ONE + gas[GAS_MASS2] * ip2)
    tq = tgl * q2pt
    noise = theta2 * t1
    gained = loss_in_gas(inv_p, path, tgl, gas)
    return noise * (_ONE - snp * snp), noise * t1, noise * tq, theta2 * tq * tq, gained


@inlined
def gas_step(snp, tgl, q2pt, c, path, gas):
    """Return (q2pt, c) after `path` [cm, signed, transverse] of gas: `gas_noise`."""
    ss, tt, qt, qq, gained = gas_noise(snp, tgl, q2pt, path, gas)
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14 = c
    out = (c0, c1, c2, c3, c4, c5 + ss, c6, c7, c8, c9 + tt, c10, c11, c12, c13 + qt, c14 + qq)
    return q2pt * (_ONE + gained), out


@inlined
def gas_due(snp, tgl, q2pt, c, waiting, gas):
    """Return (q2pt, c, waiting): the gas of `waiting` [cm] has acted once that is `GAS_STEP_CM`."""
    if abs(waiting) < GAS_STEP_CM:
        return q2pt, c, waiting
    if gas[GAS_MASS2] > _ZERO:
        q2pt, c = gas_step(snp, tgl, q2pt, c, waiting, gas)
    return q2pt, c, _ZERO


@inlined
def turned_across(tgl, q2pt, across, path):
    """Return (tgl, q2pt) after a transverse `path` [cm] in a transverse field `across` it [kG].

    With a = B2C q/pt B_across path, tgl changes by a (1 + tgl2) and q/pt by a tgl q/pt, from dp/ds = q v x B.
    """
    a = B2C * q2pt * across * path
    tgl += a * (_ONE + tgl * tgl)
    return tgl, q2pt + a * tgl * q2pt


@inlined
def steps_to(x, x_new):
    """Return (number of steps, length of one [cm]) from x to x_new, short enough for `transport`."""
    dx = x_new - x
    n_steps = int(abs(dx) / MAX_STEP_CM) + 1
    return n_steps, dx / np.float32(n_steps)


@inlined
def advance(x, y, z, snp, tgl, q2pt, c, x_new, detector, sector, waiting):
    """Return (ok, y, z, snp, tgl, q2pt, c, waiting) at x_new [cm], in steps short enough for `transport`.

    On the way the transverse field changes dip angle and q/pt (`turned_across`). The gas acts once per `GAS_STEP_CM`;
    `waiting` is the path [cm] that it has not acted on yet, from call to call. `sector` says where a field that depends
    on the azimuth is taken; -1: without that dependence. Not ok: the track turns back before x_new.
    """
    n_steps, step = steps_to(x, x_new)
    for _ in range(n_steps):
        bending, across = field_at(detector.field, sector, x, y, z, snp, tgl)
        ok, y, z, snp, c, path = transport(y, z, snp, tgl, q2pt, c, step, -B2C * bending)
        if not ok:
            return False, y, z, snp, tgl, q2pt, c, waiting
        x += step
        tgl, q2pt = turned_across(tgl, q2pt, across, path)
        q2pt, c, waiting = gas_due(snp, tgl, q2pt, c, waiting + path, detector.gas)
    return True, y, z, snp, tgl, q2pt, c, waiting


@inlined
def advance_about(x, y, z, snp, tgl, q2pt, d, c, x_new, detector, sector, waiting):
    """Return (ok, y, z, snp, tgl, q2pt, d, c, waiting): `advance` for a track and small deviations `d` (5) from it.

    Derivatives are those of the track: what a filter does to deviations and covariance keeps no next step waiting.
    """
    n_steps, step = steps_to(x, x_new)
    for _ in range(n_steps):
        bending, across = field_at(detector.field, sector, x, y, z, snp, tgl)
        curv = -B2C * bending
        ok, y2, z2, snp2, path, inv_csp = helix_step(y, z, snp, tgl, q2pt, step, curv)
        if not ok:
            return False, y, z, snp, tgl, q2pt, d, c, waiting
        bend = curv * step
        f02, f04, f12, f13, f14 = derivatives(snp, tgl, inv_csp, step, bend)
        c = carried(c, f02, f04, f12, f13, f14, bend)
        d0, d1, d2, d3, d4 = d
        d = (d0 + f02 * d2 + f04 * d4, d1 + f12 * d2 + f13 * d3 + f14 * d4, d2 + bend * d4, d3, d4)
        y, z, snp = y2, z2, snp2
        x += step
        tgl, q2pt = turned_across(tgl, q2pt, across, path)
        q2pt, c, waiting = gas_due(snp, tgl, q2pt, c, waiting + path, detector.gas)
    return True, y, z, snp, tgl, q2pt, d, c, waiting


@inlined
def advance_state(x, y, z, snp, tgl, q2pt, x_new, detector, sector, waiting):
    """Return (ok, y, z, snp, tgl, q2pt, waiting) at x_new [cm]: `advance` without covariance."""
    n_steps, step = steps_to(x, x_new)
    for _ in range(n_steps):
        bending, across = field_at(detector.field, sector, x, y, z, snp, tgl)
        ok, y, z, snp, path, _ = helix_step(y, z, snp, tgl, q2pt, step, -B2C * bending)
        if not ok:
            return False, y, z, snp, tgl, q2pt, waiting
        x += step
        tgl, q2pt = turned_across(tgl, q2pt, across, path)
        waiting += path
        if abs(waiting) >= GAS_STEP_CM:
            if detector.gas[GAS_MASS2] > _ZERO:
                q2pt *= _ONE + loss_in_gas(abs(q2pt) / math.sqrt(_ONE + tgl * tgl), waiting, tgl, detector.gas)
            waiting = _ZERO
    return True, y, z, snp, tgl, q2pt, waiting


@body
def propagate(x, y, z, snp, tgl, q2pt, c, x_new, detector, sector=-1):
    """Return (ok, y, z, snp, tgl, q2pt, c) at x_new [cm]: `advance`, and the gas over all of the path."""
    ok, y, z, snp, tgl, q2pt, c, left = advance(x, y, z, snp, tgl, q2pt, c, x_new, detector, sector, _ZERO)
    if ok and left != _ZERO and detector.gas[GAS_MASS2] > _ZERO:
        q2pt, c = gas_step(snp, tgl, q2pt, c, left, detector.gas)
    return ok, y, z, snp, tgl, q2pt, c


@body
def rotate(x, y, snp, tgl, c, cos_a, sin_a):
    """Return (ok, x, y, snp, c) in a frame turned by the angle of (cos_a, sin_a).

    The covariance is that at fixed new x: a shift along the old y moves the crossing along the track. Not ok: the track
    would run towards the beam line in the new frame.
    """
    csp = math.sqrt(max(_ONE - snp * snp, np.float32(1e-6)))
    csp_new = csp * cos_a + snp * sin_a
    if csp_new < np.float32(0.03):
        return False, x, y, snp, c
    jyy = csp / csp_new
    jzy = -sin_a * tgl / csp_new
    jss = csp_new / csp
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14 = c
    out = (
        jyy * jyy * c0,
        jyy * (c1 + jzy * c0),
        c2 + _TWO * jzy * c1 + jzy * jzy * c0,
        c3,
        jss * (c4 + jzy * c3),
        jss * jss * c5,
        jyy * c6,
        c7 + jzy * c6,
        jss * c8,
        c9,
        jyy * c10,
        c11 + jzy * c10,
        jss * c12,
        c13,
        c14,
    )
    return True, x * cos_a + y * sin_a, y * cos_a - x * sin_a, snp * cos_a - csp * sin_a, out
