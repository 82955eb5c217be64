"""A track in a constant field along z: a helix by its transverse arc length. Bodies for one track, loops over tracks.

Arrays and scalars only, float64. A helix is (x, y, z, phi, k, t): a point [cm], the momentum's azimuth there [rad], the
signed curvature [1/cm] and tan lambda; s is the arc length in the transverse plane [cm], positive along the
momentum. Nothing divides by k: straight tracks are the limit k -> 0.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import numpy as np
from numba import prange

from o2dask.analysis.physics.kernels_jit import body, launcher

__all__ = ["B2C", "NOT_FINITE", "OK", "arc_to_closest", "at_arc", "helix_rows", "jacobian", "move_rows_to_dca"]

B2C = -0.000299792458
"""Curvature [1/cm] of signed1Pt 1 c/GeV in 1 kG (AliceO2, CommonConstants/PhysicsConstants.h: LightSpeedCm2S*1e-14)."""
OK, NOT_FINITE = 0, 1
_SMALL = 1e-2


@body
def sinc(a):
    """Return sin(a)/a."""
    if abs(a) < 1e-4:
        return 1.0 - a * a / 6.0
    return math.sin(a) / a


@body
def arc_moments(a):
    """Return the integrals of l cos(a l) and l sin(a l) over l from 0 to 1."""
    if abs(a) < _SMALL:
        a2 = a * a
        return 0.5 - a2 / 8.0 + a2 * a2 / 144.0, a * (1.0 / 3.0 - a2 / 30.0)
    sine, cosine = math.sin(a), math.cos(a)
    return (cosine + a * sine - 1.0) / (a * a), (sine - a * cosine) / (a * a)


@body
def at_arc(x, y, z, phi, k, t, s):
    """Return point and azimuth (x, y, z, phi) after the arc s."""
    half = 0.5 * k * s
    chord = s * sinc(half)
    return x + chord * math.cos(phi + half), y + chord * math.sin(phi + half), z + t * s, phi + k * s


@body
def arc_to_closest(x, y, phi, k, px, py):
    """Return the arc to the point of the circle closest to (px, py), within half a turn either way.

    At the closest point the direction is at right angles to the connecting line: tan(turn) = -k a/(1 + k b) with a, b
    the coordinates of the start seen from the point, along and left of the direction (AliceO2,
    TrackParametrization::propagateParamToDCA).
    """
    cosine, sine = math.cos(phi), math.sin(phi)
    dx, dy = x - px, y - py
    along = dx * cosine + dy * sine
    left = dy * cosine - dx * sine
    scale = 1.0 + k * left
    if abs(k * along) < 1e-9 * abs(scale):
        return -along / scale
    return math.atan2(-k * along, scale) / k


@body
def helix_of(x, alpha, y, z, snp, tgl, q2pt, bz):
    """Return the helix (x, y, z, phi, k, t) of a track state in its frame."""
    cosine, sine = math.cos(alpha), math.sin(alpha)
    return x * cosine - y * sine, x * sine + y * cosine, z, alpha + math.asin(snp), B2C * bz * q2pt, tgl


@launcher
def helix_rows(states, bz, helices):
    """Write the helix of each state (x, alpha, y, z, snp, tgl, q2pt) (n, 7) to helices (n, 6)."""
    for i in prange(states.shape[0]):
        s = states[i]
        x, y, z, phi, k, t = helix_of(s[0], s[1], s[2], s[3], s[4], s[5], s[6], bz)
        helices[i, 0], helices[i, 1], helices[i, 2] = x, y, z
        helices[i, 3], helices[i, 4], helices[i, 5] = phi, k, t


@body
def jacobian(alpha, snp, phi, k, t, s, new_alpha, k_per_q):
    """Return the rows y, z, snp of d(new state)/d(old state), each over (y, z, snp, tgl, q2pt).

    The old state is at fixed x in the frame `alpha`, the new one after the arc s at fixed x in the frame `new_alpha`.
    Exact for any turn: the end point at fixed arc is varied, then moved along the track back to the plane. The rows of
    tgl and q2pt are those of the identity.
    """
    half = 0.5 * k * s
    chord = s * sinc(half)
    chord_x, chord_y = chord * math.cos(phi + half), chord * math.sin(phi + half)
    even, odd = arc_moments(k * s)
    cosine, sine = math.cos(phi), math.sin(phi)
    bend_x, bend_y = -s * s * (sine * even + cosine * odd), s * s * (cosine * even - sine * odd)
    ca, sa = math.cos(new_alpha), math.sin(new_alpha)
    end = phi + k * s - new_alpha
    cos_end, tan_end = math.cos(end), math.tan(end)
    per_snp = 1.0 / math.sqrt(max((1.0 - snp) * (1.0 + snp), 1e-12))
    # Where the end point goes, along and across the new x, per change of y, snp and q2pt.
    y_x, y_y = math.sin(new_alpha - alpha), math.cos(new_alpha - alpha)
    s_x, s_y = per_snp * (chord_x * sa - chord_y * ca), per_snp * (chord_x * ca + chord_y * sa)
    q_x, q_y = k_per_q * (bend_x * ca + bend_y * sa), k_per_q * (bend_y * ca - bend_x * sa)
    row_y = (y_y - y_x * tan_end, 0.0, s_y - s_x * tan_end, 0.0, q_y - q_x * tan_end)
    row_z = (-t * y_x / cos_end, 1.0, -t * s_x / cos_end, s, -t * q_x / cos_end)
    row_s = (-k * y_x, 0.0, per_snp * cos_end - k * s_x, 0.0, k_per_q * s * cos_end - k * q_x)
    return row_y, row_z, row_s


@body
def times(c, row):
    """Return C row, C the symmetric matrix of the 15 terms yy zy zz sy sz ss ty tz ts tt qy qz qs qt qq."""
    y, z, s, t, q = row
    return (
        c[0] * y + c[1] * z + c[3] * s + c[6] * t + c[10] * q,
        c[1] * y + c[2] * z + c[4] * s + c[7] * t + c[11] * q,
        c[3] * y + c[4] * z + c[5] * s + c[8] * t + c[12] * q,
        c[6] * y + c[7] * z + c[8] * s + c[9] * t + c[13] * q,
        c[10] * y + c[11] * z + c[12] * s + c[13] * t + c[14] * q,
    )


@body
def inner(a, b):
    """Return the inner product of two tuples of 5."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3] + a[4] * b[4]


@body
def transport_cov(c, row_y, row_z, row_s, out):
    """Write J C J^T of the 15 terms c to out."""
    to_y, to_z, to_s = times(c, row_y), times(c, row_z), times(c, row_s)
    t, q = c[9], c[14]
    qt = c[13]
    out[0] = inner(row_y, to_y)
    out[1], out[2] = inner(row_z, to_y), inner(row_z, to_z)
    out[3], out[4], out[5] = inner(row_s, to_y), inner(row_s, to_z), inner(row_s, to_s)
    out[6], out[7], out[8], out[9] = to_y[3], to_z[3], to_s[3], t
    out[10], out[11], out[12], out[13], out[14] = to_y[4], to_z[4], to_s[4], qt, q


@body
def move_to_dca(state, cov, vertex, bz, has_cov, out, out_cov):
    """Write state, dcaXY and dcaZ (9 numbers) at the closest approach to vertex; return the status."""
    x, y, z, phi, k, t = helix_of(state[0], state[1], state[2], state[3], state[4], state[5], state[6], bz)
    s = arc_to_closest(x, y, phi, k, vertex[0], vertex[1])
    x2, y2, z2, phi2 = at_arc(x, y, z, phi, k, t, s)
    if not math.isfinite(x2 + y2 + z2 + phi2):
        return NOT_FINITE
    # The new frame looks along the track, so that snp is zero and x the same for track and vertex.
    alpha = math.atan2(math.sin(phi2), math.cos(phi2))
    cosine, sine = math.cos(alpha), math.sin(alpha)
    out[0], out[1] = vertex[0] * cosine + vertex[1] * sine, alpha
    out[2], out[3] = y2 * cosine - x2 * sine, z2
    out[4], out[5], out[6] = 0.0, t, state[6]
    out[7] = out[2] - (vertex[1] * cosine - vertex[0] * sine)
    out[8] = z2 - vertex[2]
    if has_cov:
        row_y, row_z, row_s = jacobian(state[1], state[4], phi, k, t, s, phi2, B2C * bz)
        transport_cov(cov, row_y, row_z, row_s, out_cov)
    return OK


@body
def move_row_to_dca(i, states, covs, has_cov, vertices, bz, out, out_covs, statuses):
    """Move row i."""
    row = i * has_cov
    statuses[i] = move_to_dca(states[i], covs[row], vertices[i], bz, has_cov, out[i], out_covs[row])


@launcher
def move_rows_to_dca(states, covs, has_cov, vertices, bz, out, out_covs, statuses):
    """Move states (n, 7) to their closest approach in the transverse plane to vertices (n, 3).

    Writes states with dcaXY and dcaZ (n, 9), covariances (n, 15; without `has_cov` one unused
    row) and statuses (n,); a row that cannot be moved is left as it was.
    """
    for i in prange(states.shape[0]):
        move_row_to_dca(np.int64(i), states, covs, has_cov, vertices, bz, out, out_covs, statuses)
