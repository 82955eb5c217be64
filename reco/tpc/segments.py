"""Tracks as pieces with two ends, and the hits of the pieces side by side: what merging and fitting hand each other."""

from typing import NamedTuple

import numpy as np

from o2dask.reco.tpc.backend import HOST, Backend
from o2dask.reco.tpc.kernels_fit import fit_tracks
from o2dask.reco.tpc.kernels_lanes import LANE_INTEGERS, LANE_ROWS, LANES, fit_lanes
from o2dask.reco.tpc.kernels_types import Detector

__all__ = ["Fitted", "Hits", "Segments", "fit_segments", "take_ragged"]

_CHUNKS = 64
"""Parts of the fit of many tracks that run in parallel: enough to share them out evenly, whatever their lengths."""


class Hits(NamedTuple):
    """Clusters of tracks, of one track contiguous and innermost first; all but `first` where the backend's kernels run.

    first : (n + 1,) int32; cluster : (m,) int32, rows of the input; y, z : (m,) float32 [cm]; row, sector : (m,) uint8.
    width : (m, 2) float32, squared widths along y and z [cm2], 0 where not known.
    """

    first: np.ndarray
    cluster: np.ndarray
    y: np.ndarray
    z: np.ndarray
    row: np.ndarray
    sector: np.ndarray
    width: np.ndarray


class Segments(NamedTuple):
    """Tracks before a fit: state and covariance at the outermost cluster, in its sector's frame, and all clusters.

    par : (n, 6) float32, x y z snp tgl q2pt; cov : (n, 15) float32.
    """

    par: np.ndarray
    cov: np.ndarray
    hits: Hits


class Fitted(NamedTuple):
    """Tracks after a fit: state and covariance at the innermost cluster used, in the frame of `sector`.

    chi2 : (n,) float32; n_used : (n,) int32; sector : (n,) uint8; path : (m,) float32 per cluster [cm], 0: not used,
    where the backend's kernels run.
    """

    par: np.ndarray
    cov: np.ndarray
    chi2: np.ndarray
    n_used: np.ndarray
    sector: np.ndarray
    path: np.ndarray


def take_ragged(first: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets and the positions of the content of `rows` of a ragged array with offsets `first`."""
    count = np.diff(first)[rows]
    offsets = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(count, out=offsets[1:])
    at = np.repeat(first[:-1][rows] - offsets[:-1], count) + np.arange(offsets[-1])
    return offsets, at


def fit_segments(segments: Segments, detector: Detector, chi2_drop: float, backend: Backend = HOST) -> Fitted:
    """Return the fit of every track inwards, from its outermost cluster to its innermost."""
    n, hits, f4 = len(segments.par), segments.hits, np.float32
    columns = backend.send((hits.first, hits.y, hits.z, hits.row, hits.sector, hits.width))
    par, cov = backend.send(segments.par.copy()), backend.empty((n, 15), f4)
    chi2, last = backend.empty(n, f4), backend.empty((n, 3), np.int32)
    path = backend.room(len(hits.cluster), f4)
    there, drop, fitted = backend.resident(detector), f4(chi2_drop), (par, cov, chi2, last, path)
    if not backend.has_lanes:
        backend.run(fit_tracks, n, *columns, there, drop, *fitted)
    else:
        # those of like length side by side: a batch takes as long as its longest
        order = np.argsort(-np.diff(hits.first).astype(np.int16), kind="stable").astype(np.int32)
        n_chunks = min(-(-n // LANES), _CHUNKS)
        work = backend.scratch("fit.work", (n_chunks, LANE_ROWS * LANES), f4)
        integers = backend.scratch("fit.integers", (n_chunks, LANE_INTEGERS * LANES), np.int32)
        backend.run(fit_lanes, n, order, columns[0], columns[1:], there, drop, fitted, work, integers)
    par, cov, chi2, last = (backend.fetch(part) for part in (par, cov, chi2, last))
    inner = hits.first[:-1] + np.maximum(last[:, 1], 0)
    sector = backend.fetch(backend.take(hits.sector, inner)) if n else np.zeros(0, np.uint8)
    return Fitted(par, cov, chi2, last[:, 0].copy(), sector, path)
