"""Pairs of helices that come from one point: where two circles cross, and the closest approach of two helices.

Arrays and scalars only. Helices as in `kernels_helix`. Pairs are found in two passes over the positive tracks (count,
prefix-sum, fill), so that memory is that of the pairs that pass the cheap test, not that of all pairs.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import numpy as np
from numba import prange

from o2dask.analysis.physics.kernels_helix import arc_to_closest, at_arc
from o2dask.analysis.physics.kernels_jit import body, launcher

__all__ = ["CONVERGED", "NOT_CONVERGED", "count_crossings", "fill_crossings", "meet_rows"]

CONVERGED, NOT_CONVERGED = 0, 1
MAX_STEPS = 30
MAX_STEP_CM = 20.0
PRECISION_CM = 1e-5
_STRAIGHT = 1e-7


@body
def circle(h):
    """Return centre and radius of a helix in the transverse plane; straight tracks get a radius of 100 km."""
    k = h[4] if abs(h[4]) > _STRAIGHT else (_STRAIGHT if h[4] >= 0.0 else -_STRAIGHT)
    return h[0] - math.sin(h[3]) / k, h[1] + math.cos(h[3]) / k, 1.0 / abs(k)


@body
def cross_points(a, b, max_gap):
    """Return (n, x1, y1, x2, y2): where the circles of two helices cross, or come closest within max_gap."""
    xa, ya, ra = circle(a)
    xb, yb, rb = circle(b)
    dx, dy = xb - xa, yb - ya
    d = math.sqrt(dx * dx + dy * dy)
    if d < 1e-9 or d - ra - rb > max_gap or abs(ra - rb) - d > max_gap:
        return 0, 0.0, 0.0, 0.0, 0.0
    ux, uy = dx / d, dy / d
    if d >= ra + rb:  # apart: between them, on the line of the centres
        m = 0.5 * (ra + d - rb)
        return 1, xa + ux * m, ya + uy * m, 0.0, 0.0
    if d <= abs(ra - rb):  # one inside the other: where the inner one is closest to the outer
        m = 0.5 * (ra + d + rb) if ra > rb else 0.5 * (d - rb - ra)
        return 1, xa + ux * m, ya + uy * m, 0.0, 0.0
    along = 0.5 * (d + (ra - rb) * (ra + rb) / d)
    across = math.sqrt(max(ra * ra - along * along, 0.0))
    x, y = xa + ux * along, ya + uy * along
    return 2, x - uy * across, y + ux * across, x + uy * across, y - ux * across


@body
def start(a, b, cuts):
    """Return (ok, s_a, s_b): arcs to the better crossing of two helices that passes the cuts, smaller in |dz|.

    `cuts`: largest gap of the circles, largest |dz| at the crossing, smallest and largest radius of the crossing from
    the origin, and how far beyond the tracks' points it may lie [cm].
    """
    n, x1, y1, x2, y2 = cross_points(a, b, cuts[0])
    best, arc_a, arc_b = cuts[1], 0.0, 0.0
    found = False
    for i in range(n):
        x, y = (x1, y1) if i == 0 else (x2, y2)
        radius = math.sqrt(x * x + y * y)
        if radius < cuts[2] or radius > cuts[3]:
            continue
        s_a, s_b = arc_to_closest(a[0], a[1], a[3], a[4], x, y), arc_to_closest(b[0], b[1], b[3], b[4], x, y)
        dz = abs(a[2] + a[5] * s_a - b[2] - b[5] * s_b)
        if s_a < cuts[4] and s_b < cuts[4] and dz < best:
            best, arc_a, arc_b, found = dz, s_a, s_b, True
    return found, arc_a, arc_b


@body
def count_of(i, positive, offsets, group, helices, negative, cuts):
    """Return how many negative tracks of its group cross the positive track i."""
    n = 0
    for j in range(offsets[group[i]], offsets[group[i] + 1]):
        ok, _, _ = start(helices[positive[i]], helices[negative[j]], cuts)
        n += ok
    return n


@launcher
def count_crossings(positive, group, negative, offsets, helices, cuts, counts):
    """Write to counts (n_positive,) how many negative tracks cross each positive one.

    positive, negative : rows of helices (n, 6); the group g has the negatives ``offsets[g]:offsets[g + 1]``.
    """
    for i in prange(len(positive)):
        counts[i] = count_of(np.int64(i), positive, offsets, group, helices, negative, cuts)


@body
def fill_of(i, positive, offsets, group, helices, negative, cuts, place, rows, arcs):
    """Write the pairs of the positive track i from `place` on."""
    for j in range(offsets[group[i]], offsets[group[i] + 1]):
        ok, s_a, s_b = start(helices[positive[i]], helices[negative[j]], cuts)
        if ok:
            rows[place, 0], rows[place, 1] = positive[i], negative[j]
            arcs[place, 0], arcs[place, 1] = s_a, s_b
            place += 1


@launcher
def fill_crossings(positive, group, negative, offsets, helices, cuts, starts, rows, arcs):
    """Write rows of helices (m, 2) and arcs to the crossing (m, 2); those of positive i begin at starts[i]."""
    for i in prange(len(positive)):
        fill_of(np.int64(i), positive, offsets, group, helices, negative, cuts, starts[i], rows, arcs)


@body
def meet(a, b, s_a, s_b):
    """Return (status, s_a, s_b) where two helices come closest in space, from a start nearby: Newton's method.

    Half the squared distance has the gradient (D.Ta, -D.Tb) and the Hessian (Ta2 + D.Na, -Ta.Tb; ., Tb2 - D.Nb), T the
    tangents and N their derivatives per arc. Where it is not convex, the curvature terms are dropped (Gauss-Newton).
    """
    for _ in range(MAX_STEPS):
        xa, ya, za, pa = at_arc(a[0], a[1], a[2], a[3], a[4], a[5], s_a)
        xb, yb, zb, pb = at_arc(b[0], b[1], b[2], b[3], b[4], b[5], s_b)
        dx, dy, dz = xa - xb, ya - yb, za - zb
        ca, sa, cb, sb = math.cos(pa), math.sin(pa), math.cos(pb), math.sin(pb)
        g_a = dx * ca + dy * sa + dz * a[5]
        g_b = -(dx * cb + dy * sb + dz * b[5])
        t_aa, t_bb, t_ab = 1.0 + a[5] * a[5], 1.0 + b[5] * b[5], ca * cb + sa * sb + a[5] * b[5]
        h_aa = t_aa + a[4] * (dy * ca - dx * sa)
        h_bb = t_bb - b[4] * (dy * cb - dx * sb)
        det = h_aa * h_bb - t_ab * t_ab
        if h_aa <= 0.0 or h_bb <= 0.0 or det < 1e-6 * t_aa * t_bb:
            h_aa, h_bb = 1.001 * t_aa, 1.001 * t_bb
            det = h_aa * h_bb - t_ab * t_ab
        step_a, step_b = -(h_bb * g_a + t_ab * g_b) / det, -(h_aa * g_b + t_ab * g_a) / det
        longest = max(abs(step_a), abs(step_b))
        scale = MAX_STEP_CM / longest if longest > MAX_STEP_CM else 1.0
        s_a, s_b = s_a + scale * step_a, s_b + scale * step_b
        if longest < PRECISION_CM:
            return CONVERGED, s_a, s_b
    return NOT_CONVERGED, s_a, s_b


@body
def meet_row(i, helices, rows, arcs, points, directions, statuses):
    """Refine pair i."""
    a, b = helices[rows[i, 0]], helices[rows[i, 1]]
    statuses[i], arcs[i, 0], arcs[i, 1] = meet(a, b, arcs[i, 0], arcs[i, 1])
    for m in range(2):
        h = helices[rows[i, m]]
        x, y, z, phi = at_arc(h[0], h[1], h[2], h[3], h[4], h[5], arcs[i, m])
        points[i, m, 0], points[i, m, 1], points[i, m, 2] = x, y, z
        directions[i, m, 0], directions[i, m, 1], directions[i, m, 2] = math.cos(phi), math.sin(phi), h[5]


@launcher
def meet_rows(helices, rows, arcs, points, directions, statuses):
    """Refine the arcs (m, 2) of the pairs of helices `rows` (m, 2); write points and directions (m, 2, 3) there.

    Directions are (cos phi, sin phi, tan lambda): momentum over transverse momentum.
    """
    for i in prange(rows.shape[0]):
        meet_row(np.int64(i), helices, rows, arcs, points, directions, statuses)
