"""Tracks at their closest approach to the beam line: a helix, in closed form.

Knows the track parametrisation, no payload and no vertex.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["BeamlineTracks", "closest_approach"]

B2C = -0.000299792458
"""Curvature [1/cm] per kG and q/pt [c/GeV] (CommonConstants/PhysicsConstants.h)."""
MIN_CURVATURE = 1e-7
"""Below this [1/cm] a track is taken as this curved: 250 cm then deviate by 30 um from a straight line."""


class BeamlineTracks(NamedTuple):
    """Per track, float64: point `x`, `y`, `z` [cm] seen from the beam line, direction `phi` [rad], signed `dca` [cm].

    `path` [cm] is the arc length to it from the track's point.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    phi: np.ndarray
    dca: np.ndarray
    path: np.ndarray


def closest_approach(
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    snp: np.ndarray,
    tgl: np.ndarray,
    q2pt: np.ndarray,
    alpha: np.ndarray,
    *,
    bz: float,
    beam: tuple[float, float] = (0.0, 0.0),
) -> BeamlineTracks:
    """Return where helices come closest to the beam line in the transverse plane.

    Parameters
    ----------
    x, y, z, snp, tgl, q2pt, alpha : ndarray, (n,)
        Track states [cm, c/GeV, rad] in frames rotated by `alpha`.
    bz : float
        Field [kG].
    beam : (float, float)
        x and y of the beam line [cm], parallel to z; `x`, `y` and `dca` are seen from it.

    Notes
    -----
    The centre of the circle is at (x - snp/c, y + cos/c) for curvature c = B2C bz q/pt; the closest point lies on the
    line from the centre to the origin.
    """
    x, y, z, snp, tgl, q2pt, alpha = (np.asarray(v, np.float64) for v in (x, y, z, snp, tgl, q2pt, alpha))
    ca, sa = np.cos(alpha), np.sin(alpha)
    x, y = x - beam[0] * ca - beam[1] * sa, y - beam[1] * ca + beam[0] * sa
    curvature = B2C * bz * q2pt
    curvature = np.where(np.abs(curvature) < MIN_CURVATURE, np.copysign(MIN_CURVATURE, curvature), curvature)
    cosine = np.sqrt(np.maximum((1 - snp) * (1 + snp), 0))
    x_centre, y_centre = x - snp / curvature, y + cosine / curvature
    distance = np.hypot(x_centre, y_centre)
    scale = 1 - 1 / (np.abs(curvature) * np.maximum(distance, 1e-9))
    x_near, y_near = scale * x_centre, scale * y_centre
    phi_local = np.arctan2((x_near - x_centre) * curvature, (y_centre - y_near) * curvature)
    turn = phi_local - np.arcsin(np.clip(snp, -1, 1))
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    path = turn / curvature
    dca = np.cos(phi_local) * y_near - np.sin(phi_local) * x_near
    return BeamlineTracks(
        x_near * ca - y_near * sa, x_near * sa + y_near * ca, z + tgl * path, phi_local + alpha, dca, path
    )
