"""Exact steps along a circle in the transverse plane: to a plane, to a line, to a cylinder.

State: position (x, y) [cm] and direction (s, c) = (sin, cos) of the azimuth in the same frame; k is the curvature
[1/cm] with sign, d(azimuth)/d(arc). Then x - s/k and y + c/k, the centre, are constants of the motion: this is all the
geometry that is used. Scalar bodies only.
"""

import math

import numpy as np

from o2dask.reco.tpc.kernels_jit import body

__all__ = ["arc_between", "cylinder_step", "line_step", "plane_step", "rotated", "turning_step"]

_PI2 = 2.0 * math.pi
_AHEAD = 1e-9
"""A crossing up to this angle [rad] behind the start counts as here, not as one turn ahead: rounding."""


@body
def rotated(a, b, sine, cosine):
    """Return the components of (a, b) in a frame turned by the angle of `sine` and `cosine`."""
    return a * cosine + b * sine, b * cosine - a * sine


@body
def arc_between(s, c, s1, c1, k):
    """Return the arc [cm, >= 0] over which the direction turns from (s, c) to (s1, c1) with curvature k."""
    sine, cosine = s1 * c - c1 * s, c1 * c + s1 * s
    if cosine > 0.0 and abs(sine) < 0.1:
        q = sine * sine  # arcsine to 1e-11: next term 105/3456 q^4
        angle = sine * (1.0 + q * (1.0 / 6.0 + q * (3.0 / 40.0 + q * (15.0 / 336.0))))
    else:
        angle = math.atan2(sine, cosine)
    if k < 0.0:
        angle = -angle
    if angle < 0.0:
        angle = 0.0 if angle > -_AHEAD else angle + _PI2
    return angle / abs(k)


@body
def plane_step(x, y, s, c, k, x_plane, outward):
    """Go to x = `x_plane` without turning back before; return (reached, y1, s1, c1, arc)."""
    dx = x_plane - x
    s1 = s + k * dx
    if abs(s1) >= 1.0:
        return False, y, s, c, 0.0
    c1 = math.sqrt(1.0 - s1 * s1)
    if not outward:
        c1 = -c1
    if c * c1 > 0.0:
        y1 = y + dx * (s + s1) / (c + c1)  # stable for straight tracks
    else:
        y1 = y - (c1 - c) / k
    return True, y1, s1, c1, arc_between(s, c, s1, c1, k)


@body
def turning_step(x, y, s, c, k, outward):
    """Go to where x has its extremum; return (x1, y1, s1, c1, arc), c1 just past zero."""
    c1 = -1e-9 if outward else 1e-9
    s1 = 1.0 if (k > 0.0) == outward else -1.0
    return x + (s1 - s) / k, y - (c1 - c) / k, s1, c1, arc_between(s, c, s1, c1, k)


@body
def line_step(x, y, s, c, k, sine, cosine, upward):
    """Go to the line through the origin at the angle of `sine` and `cosine`, crossing it to the left if `upward`.

    Returns (x1, s1, c1, arc): distance along the line and direction, in the frame whose x axis is that line.
    """
    u, v = rotated(x, y, sine, cosine)
    c, s = rotated(c, s, sine, cosine)
    c1 = min(max(c + k * v, -1.0), 1.0)
    s1 = math.sqrt(1.0 - c1 * c1)
    if not upward:
        s1 = -s1
    if s * s1 > 0.0:
        u1 = u - v * (c + c1) / (s + s1)
    else:
        u1 = u + (s1 - s) / k
    return u1, s1, c1, arc_between(s, c, s1, c1, k)


@body
def cylinder_step(x, y, s, c, k, radius, outward):
    """Go to the cylinder around the origin where it is left (`outward`) or entered; (reached, x1, y1, s1, c1, arc).

    On a circle of radius R = 1/|k| whose centre is at distance d and azimuth f, the cylinder is met where
    sin(azimuth - f) = sign(k) (e - 1) with e = (radius^2 - (d - R)^2) / (2 d R): exact for straight tracks too.
    """
    xc, yc = x - s / k, y + c / k
    d, r = math.sqrt(xc * xc + yc * yc), 1.0 / abs(k)
    if d < 1e-9:
        return False, x, y, s, c, np.inf
    e = (radius * radius - (d - r) * (d - r)) / (2.0 * d * r)
    if e <= 0.0 or e >= 2.0:
        return False, x, y, s, c, np.inf
    sn = e - 1.0 if k > 0.0 else 1.0 - e
    cs = math.sqrt(e * (2.0 - e))
    if not outward:
        cs = -cs
    c1, s1 = (xc * cs - yc * sn) / d, (yc * cs + xc * sn) / d
    return True, xc + s1 / k, yc - c1 / k, s1, c1, arc_between(s, c, s1, c1, k)
