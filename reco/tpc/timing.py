"""Where a track comes from in time: continuous readout gives z up to a shift, which pointing to the beam line fixes."""

from typing import NamedTuple

import numpy as np

from o2dask.reco.calibration.objects import MeanVertex
from o2dask.reco.geometry.tpc import BZ_KG, CM_PER_TIME_BIN, DRIFT_LENGTH_CM
from o2dask.reco.tpc.kernels_helix import B2C

__all__ = ["TrackTimes", "track_times", "z_at_beam_line"]

_MAX_Q2PT = 1e-6
_CROSSING_BINS = 2.0
"""Uncertainty of the time of a track across the central electrode [time bin]: about five times its resolution."""


class TrackTimes(NamedTuple):
    """Estimates of the collision's time [time bin], float32 (n,): time0, and by how much it can be later, earlier."""

    time0: np.ndarray
    fwd: np.ndarray
    bwd: np.ndarray


def z_at_beam_line(
    par: np.ndarray, bz: float = BZ_KG, alpha: "np.ndarray | float" = 0.0, beam: "MeanVertex | None" = None
) -> np.ndarray:
    """Return z [cm] (n,) float64 of tracks (n, 6) x y z snp tgl q2pt where they are closest to the beam line.

    Helix in a constant field [kG]; the turn since then is atan(k a / (1 + k b)) with k the curvature and (a, b) the
    position along and across the track's direction, seen from the beam spot. `alpha` (n,) [rad] turns the tracks'
    frames; the slope of the beam line is less than the resolution and left out.
    """
    x, y, z, snp, tgl, q2pt = par.astype(np.float64).T
    if beam is not None:
        cos, sin = np.cos(alpha), np.sin(alpha)
        x, y = x - beam.x * cos - beam.y * sin, y - beam.y * cos + beam.x * sin
    csp = np.sqrt(np.maximum(1.0 - snp * snp, 1e-6))
    k = -float(B2C) * bz * np.where(np.abs(q2pt) < _MAX_Q2PT, _MAX_Q2PT, q2pt)
    along, across = x * csp + y * snp, y * csp - x * snp
    return np.asarray(z - tgl * np.arctan2(k * along, 1.0 + k * across) / k)


def track_times(
    par: np.ndarray,
    side: np.ndarray,
    shift: np.ndarray,
    first: np.ndarray,
    depth: np.ndarray,
    z_at_beam: np.ndarray,
    cm_per_time_bin: float = CM_PER_TIME_BIN,
) -> TrackTimes:
    """Return the time of each track's collision.

    Parameters
    ----------
    par : (n, 6) float32
        x y z snp tgl q2pt at the innermost cluster; z as if the collision was at time 0.
    side : (n,) float32
        1 for the A side, -1 for the C side.
    shift : (n,) float32
        Drift of the collision's time [cm] where it is measured (tracks across the electrode), else NaN.
    first, depth : (n + 1,) int32, (m,) float32
        Per cluster |z| as if the collision was at time 0 [cm]: it bounds the time, since 0 <= |z| <= 250.
    z_at_beam : (n,) float64
        z of the track at the beam line, less the middle of the luminous region [cm].
    cm_per_time_bin : float
        Drift per time bin [cm].
    """
    lowest = np.minimum.reduceat(depth, first[:-1]) if len(par) else np.zeros(0, np.float32)
    highest = np.maximum.reduceat(depth, first[:-1]) if len(par) else np.zeros(0, np.float32)
    low, high = -lowest.astype(np.float64), DRIFT_LENGTH_CM - highest.astype(np.float64)
    middle = 0.5 * (low + high)
    pointed = np.clip(-side * z_at_beam, np.minimum(low, middle), np.maximum(high, middle))
    measured = np.isfinite(shift)
    drift = np.where(measured, np.nan_to_num(shift), pointed)
    fwd = np.where(measured, _CROSSING_BINS, np.maximum(high - drift, 0.0) / cm_per_time_bin)
    bwd = np.where(measured, _CROSSING_BINS, np.maximum(drift - low, 0.0) / cm_per_time_bin)
    f4 = np.float32
    return TrackTimes((drift / cm_per_time_bin).astype(f4), fwd.astype(f4), bwd.astype(f4))
