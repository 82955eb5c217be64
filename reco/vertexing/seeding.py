"""Candidates for vertices: peaks of the tracks of either side, and all pairs of them that can be one collision.

Both sides of one collision at (t, z) pile up at s z / v away from t; two peaks together give t and z. Which peak
belongs to which is not decided here: `mixture` does, with all tracks together.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from o2dask.reco.vertexing.params import VertexParams
from o2dask.reco.vertexing.seen import SeenTracks

__all__ = ["Candidates", "find_candidates", "peaks_of_side"]

HISTOGRAM_BIN = 0.25
"""Width of the time histogram's bins [time bins], a third of the resolution of a good track."""
_WIDTHS = 0.5 * 2.0 ** (np.arange(7) / 2)
"""Resolutions [time bins] by which tracks are smeared: each by the nearest of these."""


class Candidates(NamedTuple):
    """Vertices: time [time bin], z [cm] from the beam spot, and weight [tracks], (n,) float64."""

    t: np.ndarray
    z: np.ndarray
    weight: np.ndarray


def find_candidates(seen: SeenTracks, params: VertexParams) -> Candidates:
    """Return all pairs of peaks of the two sides whose z is likely, and every peak alone, sorted by time."""
    (t_a, n_a), (t_c, n_c) = (peaks_of_side(seen, sign, params) for sign in (1.0, -1.0))
    order = np.argsort(t_c, kind="stable")
    t_c, n_c = t_c[order], n_c[order]
    sigma_z = seen.beam.sigma_z
    reach = 2 * params.z_sigmas * sigma_z / seen.v
    low, high = np.searchsorted(t_c, t_a - reach), np.searchsorted(t_c, t_a + reach)
    i = np.repeat(np.arange(len(t_a)), high - low)
    j = np.arange(len(i)) - np.repeat(np.cumsum(high - low) - high, high - low)
    z = (t_c[j] - t_a[i]) / 2 * seen.v
    # as many tracks on either side, within their fluctuation
    unlike = (np.sqrt(n_a[i]) - np.sqrt(n_c[j])) ** 2
    weight = np.minimum(n_a[i], n_c[j]) * np.exp(-0.5 * ((z / sigma_z) ** 2 + unlike))
    alone = np.concatenate([t_a, t_c])
    t = np.concatenate([(t_a[i] + t_c[j]) / 2, alone])
    z = np.concatenate([z, np.zeros(len(alone))])
    weight = np.concatenate([weight, 0.1 * n_a, 0.1 * n_c])
    keep = np.flatnonzero((weight > 1e-3) & (np.abs(z) < params.z_max))
    keep = keep[np.argsort(t[keep], kind="stable")]
    return Candidates(t[keep], z[keep], weight[keep])


def peaks_of_side(seen: SeenTracks, sign: float, params: VertexParams) -> tuple[np.ndarray, np.ndarray]:
    """Return times [time bins] and sizes of the peaks of one side: where tracks would be with z = 0."""
    use = np.flatnonzero(seen.is_good & (seen.side == sign))
    crossing = np.flatnonzero(seen.is_good & (seen.side == 0))
    # a track of both sides has a measured time: it adds to both where its z puts it
    times = np.append(-sign * seen.u[use] / seen.v, seen.time[crossing] - sign * seen.u[crossing] / seen.v)
    if not len(times):
        return np.zeros(0), np.zeros(0)
    sigma = np.append(seen.sigma[use], seen.sigma[crossing]) / seen.v
    width = np.abs(np.log2(sigma)[:, None] - np.log2(_WIDTHS)).argmin(axis=1)
    low, margin = times.min(), 40.0
    n_bins = int((times.max() - low + 2 * margin) / HISTOGRAM_BIN) + 1
    at = ((times - low + margin) / HISTOGRAM_BIN).astype(np.int64)
    density = np.zeros(n_bins)
    for k in np.unique(width):
        density += gaussian_filter1d(
            np.bincount(at[width == k], minlength=n_bins).astype(float), _WIDTHS[k] / HISTOGRAM_BIN, mode="constant"
        )
    size = density * np.sqrt(2 * np.pi) * params.peak_sigma / HISTOGRAM_BIN
    found, about = find_peaks(size, height=params.peak_height, prominence=params.peak_prominence)
    return low - margin + (found + 0.5) * HISTOGRAM_BIN, about["peak_heights"]
