"""Native clusters in, tracks out: the TPC's reconstruction of one timeframe, on columns."""

from typing import Any

import numpy as np

from o2dask.columns import Columns
from o2dask.errors import DataError
from o2dask.reco.calibration.objects import DriftVelocity
from o2dask.reco.geometry.tpc import CM_PER_TIME_BIN, DRIFT_LENGTH_CM, N_ROWS, N_SECTORS, pad_rows, sector_alpha
from o2dask.reco.tpc.backend import HOST, Backend
from o2dask.reco.tpc.calibration import TpcCalibration
from o2dask.reco.tpc.kernels_calibration import equalise_all
from o2dask.reco.tpc.kernels_dedx import dedx_tracks
from o2dask.reco.tpc.kernels_positions import locate_all
from o2dask.reco.tpc.params import TpcTrackingParams
from o2dask.reco.tpc.refit import refit
from o2dask.reco.tpc.schema import (
    CLUSTERNATIVE,
    CLUSTERXYZ,
    PAD_SCALE,
    SIDE_A,
    SIDE_C,
    SIGMA_SCALE,
    TIME_SCALE,
    TRACKCLUSTERS,
    TRACKS,
)
from o2dask.reco.tpc.timing import TrackTimes, track_times, z_at_beam_line
from o2dask.reco.tpc.tracking import Clock, TrackResult, track_clusters

__all__ = ["cluster_positions", "reconstruct"]


def cluster_positions(
    clusters: Columns, backend: Backend = HOST, drift: DriftVelocity | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return y and z [cm] (n,) of native clusters in their sectors' frames, and squared widths (n, 2) [cm2]; float32.

    z is that of a collision at the start of the timeframe: it goes far below 0 on the A side (above on the C side) for
    later collisions. Pads of the C side count against y.
    """
    y, z, widths = (backend.fetch(part) for part in _located(clusters, backend, drift or DriftVelocity()))
    return y, z, widths


def _located(clusters: Columns, backend: Backend, drift: DriftVelocity) -> tuple[Any, Any, Any]:
    """Return `cluster_positions` where the backend's kernels read them."""
    n, rows, f4 = clusters.n_rows, pad_rows(), np.float32
    if n and (int(clusters["pad_row"].max()) >= N_ROWS or int(clusters["sector"].max()) >= N_SECTORS):
        raise DataError("TPC clusters: want sectors below 36 and pad rows below 152; is the CTF damaged?")
    origin = -0.5 * (rows.n_pads - 1) * rows.pad_width
    pads = np.stack([rows.pad_width / PAD_SCALE, origin, rows.pad_width / SIGMA_SCALE], axis=1).astype(f4)
    v = drift.cm_per_time_bin
    times = np.array([v / TIME_SCALE, DRIFT_LENGTH_CM + v * drift.offset_bins, v / SIGMA_SCALE])
    out = (backend.empty(n, f4), backend.empty(n, f4), backend.empty((n, 2), f4))
    packed = tuple(clusters[c] for c in ("sector", "pad_row", "time", "pad", "sigma_pad", "sigma_time"))
    backend.run(locate_all, n, *backend.send((*packed, pads, times)), *out)
    return out


def _given(clusters: Columns, backend: Backend) -> tuple[Any, Any, Any]:
    """Return y and z of clusters whose place is known, where the backend's kernels read them, and no widths."""
    y, z = backend.send((clusters["y"], clusters["z"]))
    return y, z, None


def reconstruct(
    clusters: Columns,
    params: TpcTrackingParams | None = None,
    calibration: "TpcCalibration | float | None" = None,
    backend: Backend = HOST,
) -> tuple[Columns, Columns, dict[str, float]]:
    """Return TPC/TRACKS, TPC/TRACKCLUSTERS and the CPU seconds of each stage.

    Parameters
    ----------
    clusters : Columns
        TPC/CLUSTERNATIVE of one timeframe, in any order; or TPC/CLUSTERXYZ, whose z is true.
    params : TpcTrackingParams, optional
        By default `is_absolute` for TPC/CLUSTERXYZ, and not for native clusters.
    calibration : TpcCalibration or float, optional
        The state of the detector; a number is a field [kG] with all else by default.
    backend : Backend
        Where kernels run; see `o2dask.reco.tpc.device`.

    Notes
    -----
    A track's time is unknown: its z is that for a collision at `time0`, the one that makes it point to the middle of
    the luminous region. Tracks across the central electrode have their time measured. Where z is true `time0` is 0.
    """
    is_located = clusters.schema.names == CLUSTERXYZ.names
    if not is_located and clusters.schema.names != CLUSTERNATIVE.names:
        raise DataError(f"clusters: want the columns of {CLUSTERNATIVE} or {CLUSTERXYZ}, got {clusters.schema}")
    params = params or TpcTrackingParams(is_absolute=is_located)
    if not isinstance(calibration, TpcCalibration):
        calibration = TpcCalibration() if calibration is None else TpcCalibration(bz_kg=calibration)
    y, z, widths = _given(clusters, backend) if is_located else _located(clusters, backend, calibration.drift)
    # a field that depends on z needs the true one: in continuous readout it is for the second fit
    field: float | np.ndarray = calibration.bz_kg
    if params.is_absolute and calibration.field_map is not None:
        field = calibration.field_map
    found = track_clusters(clusters["sector"], clusters["pad_row"], y, z, params, field, widths, backend)
    times = _known_times(found) if is_located and params.is_absolute else _times(found, calibration)
    if calibration.needs_refit and not is_located:
        clock = Clock()
        shift = _shift(found, times, calibration)
        found = refit(found, (y, widths), shift, calibration, params, backend)
        times = _times(found, calibration)
        clock.lap("refit")
        found.stages_s.update(clock.stages)
    tracks = _tracks(clusters, found, times, params, calibration, backend)
    members = Columns(TRACKCLUSTERS, {"cluster": found.clusters.astype(np.int32)})
    return tracks, members, found.stages_s


def _times(found: TrackResult, calibration: TpcCalibration) -> TrackTimes:
    side = np.where(found.sector < 18, 1.0, -1.0).astype(np.float32)
    beam = calibration.beam
    at_beam = z_at_beam_line(found.par, calibration.bz_kg, sector_alpha(found.sector), beam) - beam.z
    v = calibration.drift.cm_per_time_bin
    return track_times(found.par, side, found.shift, found.first, _depth(found), at_beam, v)


def _known_times(found: TrackResult) -> TrackTimes:
    """Return the times of tracks whose z is true: 0, and no doubt about it."""
    nothing = np.zeros(len(found.par), np.float32)
    return TrackTimes(nothing, nothing.copy(), nothing.copy())


def _depth(found: TrackResult) -> np.ndarray:
    return np.where(found.hit_sector < 18, found.hit_z, -found.hit_z)


def _shift(found: TrackResult, times: TrackTimes, calibration: TpcCalibration) -> np.ndarray:
    """Return what is added to z on the A side to give the z of a collision at time0 [cm]; crossing tracks have it."""
    # time0 is rounded to float32 only once the rest has its z
    drift = times.time0.astype(np.float64) * calibration.drift.cm_per_time_bin
    return np.asarray(np.where(np.isfinite(found.shift), 0.0, drift))


def _charges(clusters: Columns, rows: np.ndarray, gain: "np.ndarray | None", backend: Backend) -> tuple[Any, Any]:
    """Return q_tot and q_max of clusters, over the gain of their pads where that is not 1."""
    charges = clusters["q_tot"][rows], clusters["q_max"][rows]
    if gain is None:
        return backend.send(charges)
    out = backend.empty(len(rows), np.float32), backend.empty(len(rows), np.float32)
    pads = tuple(clusters[name][rows] for name in ("sector", "pad_row", "pad"))
    backend.run(equalise_all, len(rows), *backend.send((*pads, *charges)), backend.resident(gain), *out)
    return out


def _tracks(
    clusters: Columns,
    found: TrackResult,
    times: TrackTimes,
    params: TpcTrackingParams,
    calibration: TpcCalibration,
    backend: Backend,
) -> Columns:
    par, first, f4 = found.par, found.first, np.float32
    n = len(par)
    side, depth = np.where(found.sector < 18, 1.0, -1.0).astype(f4), _depth(found)
    is_crossing, shift = np.isfinite(found.shift), _shift(found, times, calibration)
    dedx, crossed = backend.empty((n, 2), f4), backend.empty(n, np.int32)
    gain = calibration.gain if "pad" in clusters else None
    charges = _charges(clusters, found.clusters, gain, backend)
    attachment = params.attachment_per_cm * CM_PER_TIME_BIN / calibration.drift.cm_per_time_bin
    settings = np.array([attachment, params.dedx_power, params.dedx_fraction], f4)
    drift = np.maximum(DRIFT_LENGTH_CM - depth - np.repeat(shift.astype(f4), np.diff(first)), 0).astype(f4)
    columns = (*backend.send((first, found.hit_row)), *charges, *backend.send((found.path, drift, settings)))
    work = backend.scratch("dedx.work", (2, len(depth)), f4)
    backend.run(dedx_tracks, n, *columns, work, dedx, crossed)
    dedx, crossed = backend.fetch(dedx), backend.fetch(crossed)
    own = np.where(found.sector < 18, SIDE_A, SIDE_C)
    return Columns(
        TRACKS,
        {
            "alpha": sector_alpha(found.sector).astype(f4),
            "x": par[:, 0].copy(),
            "y": par[:, 1].copy(),
            "z": (par[:, 2] + side * shift).astype(f4),
            "snp": par[:, 3].copy(),
            "tgl": par[:, 4].copy(),
            "q2pt": par[:, 5].copy(),
            "cov": found.cov,
            "chi2": found.chi2,
            "x_out": pad_rows().x[found.hit_row[first[:-1] + found.n_fit - 1]] if n else np.zeros(0, f4),
            "time0": times.time0,
            "time_fwd": times.fwd,
            "time_bwd": times.bwd,
            "dedx_tot": dedx[:, 0].copy(),
            "dedx_max": dedx[:, 1].copy(),
            "n_clusters": np.diff(first),
            "n_crossed_rows": crossed,
            "first_cluster": first[:-1].copy(),
            "sides": np.where(is_crossing, SIDE_A | SIDE_C, own).astype(np.uint8),
        },
    )
