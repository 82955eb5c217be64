"""Anisotropic flow: Q vectors, event planes and their resolution, v_n by event plane and scalar product.

Knows azimuths, weights and event numbers. A. M. Poskanzer, S. A. Voloshin, Phys. Rev. C 58 (1998) 1671 (event plane,
resolution); STAR, Phys. Rev. C 66 (2002) 034904 (scalar product). Particles of interest and reference particles must be
different ones (a gap in eta), or the particle correlates with itself.
"""

from typing import NamedTuple

import numpy as np

from o2dask.analysis.physics.grouping import per_event_sum
from o2dask.errors import DataError, ShapeError

__all__ = ["Vn", "event_plane", "full_resolution", "q_vectors", "resolution_two", "v_event_plane", "v_scalar_product"]


class Vn(NamedTuple):
    """A flow coefficient with its statistical error (by the spread of events) and the resolution used."""

    value: float
    error: float
    resolution: float


def q_vectors(
    phi: np.ndarray, event: np.ndarray, n_events: int, n: int = 2, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the Q vector of each event, sum of w exp(i n phi), (n_events,) complex128, and the sum of w.

    Parameters
    ----------
    phi : ndarray, (n_tracks,)
        Azimuths [rad].
    event : ndarray, (n_tracks,), int
        Event of each track; -1 counts nowhere.
    n : int
        Harmonic.
    weights : ndarray, (n_tracks,), optional
        For instance pt, or the inverse efficiency.
    """
    if not len(phi) == len(event) == len(phi if weights is None else weights):
        raise ShapeError(f"q_vectors: want columns of equal length, got {len(phi)} azimuths and {len(event)} events")
    w = np.ones(len(phi)) if weights is None else np.asarray(weights, np.float64)
    angle = n * np.asarray(phi, np.float64)
    q = per_event_sum(event, n_events, w * np.cos(angle)) + 1j * per_event_sum(event, n_events, w * np.sin(angle))
    return q, per_event_sum(event, n_events, w)


def event_plane(q: np.ndarray, n: int = 2) -> np.ndarray:
    """Return the event-plane angle arg(Q)/n in (-pi/n, pi/n] [rad]; NaN where Q is zero."""
    return np.where(q == 0, np.nan, np.angle(q) / n)


def resolution_two(q_a: np.ndarray, q_b: np.ndarray) -> float:
    """Return the resolution of one of two equal subevents, sqrt(<cos n(Psi_a - Psi_b)>).

    Raises
    ------
    DataError
        If the mean is not positive: the planes do not see each other, too few tracks or no flow.
    """
    unit = _unit(q_a) * np.conj(_unit(q_b))
    mean = float(np.nanmean(unit.real))
    return _root(mean, "the planes of the subevents")


def full_resolution(subevent: float, n_times: float = 2.0) -> float:
    """Return the resolution of a plane with `n_times` the tracks of a subevent (2: both subevents together).

    R(chi) = sqrt(pi)/2 chi exp(-chi^2/2) (I0(chi^2/2) + I1(chi^2/2)), chi growing with the square root of the tracks
    (Poskanzer and Voloshin, eq. 11, k = 1).
    """
    from scipy.optimize import brentq

    if not 0 < subevent < 1:
        raise DataError(f"full_resolution: want a resolution between 0 and 1, got {subevent}")
    chi = brentq(lambda x: _resolution(x) - subevent, 1e-6, 50.0)
    return float(_resolution(chi * np.sqrt(n_times)))


def _resolution(chi: float) -> float:
    from scipy.special import ive

    half = chi * chi / 2
    return float(np.sqrt(np.pi) / 2 * chi * (ive(0, half) + ive(1, half)))


def v_event_plane(phi: np.ndarray, event: np.ndarray, q_reference: np.ndarray, resolution: float, n: int = 2) -> Vn:
    """Return v_n = <cos n(phi - Psi)>/R of particles against the event plane of the reference.

    `event` (n_tracks,) int, -1 left out; `q_reference` (n_events,) complex128 of other particles; `resolution` of that
    plane, from `resolution_two`.
    """
    plane = _unit(q_reference)
    return _mean_per_event(phi, event, plane, resolution, n)


def v_scalar_product(phi: np.ndarray, event: np.ndarray, q_a: np.ndarray, q_b: np.ndarray, n: int = 2) -> Vn:
    """Return v_n = <u Q_a*>/sqrt(<Q_a Q_b*>) of particles against subevent A, with B its like on the other side.

    `q_a`, `q_b` (n_events,) complex128 should be normalised by their number of tracks, so that large events do not
    dominate; A and B must see the same v_n.
    """
    reference = float(np.mean((q_a * np.conj(q_b)).real))
    return _mean_per_event(phi, event, q_a, _root(reference, "the Q vectors of the subevents"), n)


def _mean_per_event(phi: np.ndarray, event: np.ndarray, q: np.ndarray, resolution: float, n: int) -> Vn:
    """Return <Re u q*>/resolution over tracks, the error from the spread of event means (tracks share their plane)."""
    u, count = q_vectors(phi, event, len(q), n)
    used = (count > 0) & np.isfinite(q)
    if used.sum() < 2:
        raise DataError(f"flow: want at least 2 events with tracks and a plane, got {used.sum()}")
    products, weights = (u[used] * np.conj(q[used])).real, count[used]
    mean = products.sum() / weights.sum()
    # Error of a ratio of sums: spread of product - mean*weight.
    error = np.sqrt(((products - mean * weights) ** 2).sum()) / weights.sum()
    return Vn(float(mean / resolution), float(error / resolution), resolution)


def _unit(q: np.ndarray) -> np.ndarray:
    size = np.abs(q)
    unit: np.ndarray = np.divide(q, size, out=np.full(len(q), np.nan + 0j), where=size > 0)
    return unit


def _root(mean: float, what: str) -> float:
    if not mean > 0:
        raise DataError(f"flow: {what} are not correlated (mean {mean:.3g}); take more events or more tracks in each")
    return float(np.sqrt(mean))
