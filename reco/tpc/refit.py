"""The second fit, with the true z: space points corrected, the field as it is where the track is.

In continuous readout the z of a cluster is known once its track's time is. Skipped where nothing depends on it.
"""

from dataclasses import replace

import numpy as np

from o2dask.reco.geometry.tpc import pad_rows, sector_alpha
from o2dask.reco.tpc.backend import HOST, Backend
from o2dask.reco.tpc.calibration import TpcCalibration
from o2dask.reco.tpc.grid import make_detector
from o2dask.reco.tpc.kernels_calibration import correct_hits
from o2dask.reco.tpc.kernels_helix import B2C
from o2dask.reco.tpc.kernels_hits import shift_hits
from o2dask.reco.tpc.params import TpcTrackingParams
from o2dask.reco.tpc.segments import Hits, Segments, fit_segments
from o2dask.reco.tpc.tracking import TrackResult

__all__ = ["refit"]

_MAX_SNP = 0.95
_KEPT = 0.5
"""Part of a track's clusters that must survive the second fit, or the first one stands."""


def refit(
    found: TrackResult,
    positions: tuple[np.ndarray, np.ndarray],
    shift: np.ndarray,
    calibration: TpcCalibration,
    params: TpcTrackingParams,
    backend: Backend = HOST,
) -> TrackResult:
    """Return the tracks fitted again with corrected clusters in the field as it is.

    Parameters
    ----------
    found : TrackResult
    positions : (n,), (n, 2) float32
        y [cm] and squared widths [cm2] of all clusters, where the backend's kernels read them.
    shift : (n_tracks,) float64
        What is added to z on the A side and taken from it on the C side to give the true z [cm].
    calibration : TpcCalibration
    params : TpcTrackingParams
    backend : Backend
    """
    if not len(found.par):
        return found
    hits, at = _first_legs(found, positions, shift, backend)
    seeds = _seeds(found, hits, calibration.bz_kg, backend)
    if calibration.corrections is not None:
        hits = _corrected(found, hits, calibration, backend)
    field: float | np.ndarray = calibration.bz_kg if calibration.field_map is None else calibration.field_map
    absolute = replace(params, is_absolute=True)
    detector = backend.once(("detector", absolute, np.asarray(field).tobytes()), lambda: make_detector(absolute, field))
    cov = np.zeros((len(seeds), 15), np.float32)  # the fit makes its own
    again = fit_segments(Segments(seeds, cov, hits), detector, params.chi2_fit, backend)
    keep = again.n_used >= np.maximum(_KEPT * found.n_fit, 3)
    par = np.where(keep[:, None], again.par, found.par)
    own = np.where(keep, again.sector, found.sector).astype(np.uint8)
    par[:, 2] -= np.where(keep, np.where(own < 18, shift, -shift), 0.0)
    path = found.path.copy()
    path[at] = np.where(np.repeat(keep, found.n_fit), backend.fetch(again.path), path[at])
    return found._replace(
        par=par.astype(np.float32),
        cov=np.where(keep[:, None], again.cov, found.cov),
        chi2=np.where(keep, again.chi2, found.chi2),
        sector=own,
        path=path,
    )


def _first_legs(
    found: TrackResult, positions: tuple[np.ndarray, np.ndarray], shift: np.ndarray, backend: Backend
) -> tuple[Hits, np.ndarray]:
    """Return the clusters in the fit of every track with their true z, and where they are among all of its clusters."""
    y, widths = positions
    first = np.zeros(len(found.par) + 1, np.int32)
    np.cumsum(found.n_fit, out=first[1:])
    at = np.repeat(found.first[:-1] - first[:-1], found.n_fit) + np.arange(first[-1])
    there, take = backend.send(at), backend.take
    cluster, sector = take(found.clusters, there), take(found.hit_sector, there)
    z, row = take(found.hit_z, there), take(found.hit_row, there)
    backend.run(shift_hits, len(shift), *backend.send((first, shift)), sector, z)
    return Hits(first, cluster, take(y, cluster), z, row, sector, take(widths, cluster)), at


def _seeds(found: TrackResult, hits: Hits, bz: float, backend: Backend) -> np.ndarray:
    """Return the state (n, 6) of every track at its outermost cluster, in that cluster's frame: on the same circle."""
    outer = backend.send(hits.first[1:] - 1)
    y_there, z_there, row, sector = (
        backend.fetch(backend.take(part, outer)) for part in (hits.y, hits.z, hits.row, hits.sector)
    )
    x, y, _, snp, tgl, q2pt = found.par.astype(np.float64).T
    k = -float(B2C) * bz * q2pt
    k = np.where(np.abs(k) < 1e-7, np.copysign(1e-7, k), k)
    turn = sector_alpha(sector) - sector_alpha(found.sector)
    x_centre, y_centre = x - snp / k, y + np.sqrt(np.maximum(1 - snp * snp, 0)) / k
    x_there = pad_rows().x[row].astype(np.float64)
    there = k * (x_there - x_centre * np.cos(turn) - y_centre * np.sin(turn))
    there = np.clip(there, -_MAX_SNP, _MAX_SNP)
    return np.stack([x_there, y_there, z_there, there, tgl, q2pt], axis=1).astype(np.float32)


def _corrected(found: TrackResult, hits: Hits, calibration: TpcCalibration, backend: Backend) -> Hits:
    corrections = calibration.corrections
    assert corrections is not None  # `refit` asks before
    columns = (*backend.send((hits.first, hits.row, hits.sector)), *backend.send((found.par, found.sector)))
    row_x, shifts = backend.resident(pad_rows().x), backend.resident(corrections.shifts)
    bz, max_z2x = np.float32(calibration.bz_kg), np.float32(corrections.max_z2x)
    backend.run(correct_hits, len(found.par), *columns, bz, row_x, shifts, max_z2x, hits.y, hits.z)
    return hits
