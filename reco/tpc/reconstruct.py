"""Native clusters in, tracks out: the TPC's reconstruction of one timeframe, on columns."""

import numpy as np

from o2dask.columns import Columns
from o2dask.errors import DataError
from o2dask.reco.geometry.tpc import BZ_KG, CM_PER_TIME_BIN, DRIFT_LENGTH_CM, N_ROWS, N_SECTORS, pad_rows, sector_alpha
from o2dask.reco.tpc.backend import HOST, Backend
from o2dask.reco.tpc.kernels_dedx import dedx_tracks
from o2dask.reco.tpc.kernels_positions import locate_all
from o2dask.reco.tpc.params import TpcTrackingParams
from o2dask.reco.tpc.schema import (
    CLUSTERNATIVE,
    PAD_SCALE,
    SIDE_A,
    SIDE_C,
    SIGMA_SCALE,
    TIME_SCALE,
    TRACKCLUSTERS,
    TRACKS,
)
from o2dask.reco.tpc.timing import track_times
from o2dask.reco.tpc.tracking import TrackResult, track_clusters

__all__ = ["cluster_positions", "reconstruct"]


def cluster_positions(clusters: Columns, backend: Backend = HOST) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return y and z [cm] (n,) of native clusters in their sectors' frames, and squared widths (n, 2) [cm2]; float32.

    z is that of a collision at the start of the timeframe: it goes far below 0 on the A side (above on the C side) for
    later collisions. Pads of the C side count against y.
    """
    n, rows, f4 = clusters.n_rows, pad_rows(), np.float32
    if n and (int(clusters["pad_row"].max()) >= N_ROWS or int(clusters["sector"].max()) >= N_SECTORS):
        raise DataError("TPC clusters: want sectors below 36 and pad rows below 152; is the CTF damaged?")
    origin = -0.5 * (rows.n_pads - 1) * rows.pad_width
    pads = np.stack([rows.pad_width / PAD_SCALE, origin, rows.pad_width / SIGMA_SCALE], axis=1).astype(f4)
    times = np.array([CM_PER_TIME_BIN / TIME_SCALE, DRIFT_LENGTH_CM, CM_PER_TIME_BIN / SIGMA_SCALE])
    out = (backend.empty(n, f4), backend.empty(n, f4), backend.empty((n, 2), f4))
    packed = tuple(clusters[c] for c in ("sector", "pad_row", "time", "pad", "sigma_pad", "sigma_time"))
    backend.run(locate_all, n, *backend.send((*packed, pads, times)), *out)
    y, z, widths = (backend.fetch(part) for part in out)
    return y, z, widths


def reconstruct(
    clusters: Columns, params: TpcTrackingParams | None = None, bz: float = BZ_KG, backend: Backend = HOST
) -> tuple[Columns, Columns, dict[str, float]]:
    """Return TPC/TRACKS, TPC/TRACKCLUSTERS and the CPU seconds of each stage.

    Parameters
    ----------
    clusters : Columns
        TPC/CLUSTERNATIVE of one timeframe, in any order.
    params : TpcTrackingParams, optional
    bz : float
        Field [kG].
    backend : Backend
        Where kernels run; see `o2dask.reco.tpc.device`.

    Notes
    -----
    A track's time is unknown: its z is that for a collision at `time0`, the one that makes it point to z = 0 at the
    beam line. Tracks across the central electrode have their time measured.
    """
    if clusters.schema.names != CLUSTERNATIVE.names:
        raise DataError(f"clusters: want the columns of {CLUSTERNATIVE}, got {clusters.schema}")
    params = params or TpcTrackingParams()
    y, z, widths = cluster_positions(clusters, backend)
    found = track_clusters(clusters["sector"], clusters["pad_row"], y, z, params, bz, widths, backend)
    tracks = _tracks(clusters, found, params, bz, backend)
    members = Columns(TRACKCLUSTERS, {"cluster": found.clusters.astype(np.int32)})
    return tracks, members, found.stages_s


def _tracks(clusters: Columns, found: TrackResult, params: TpcTrackingParams, bz: float, backend: Backend) -> Columns:
    par, first, f4 = found.par, found.first, np.float32
    n = len(par)
    side = np.where(found.sector < 18, 1.0, -1.0).astype(f4)
    depth = np.where(found.hit_sector < 18, found.hit_z, -found.hit_z)
    times = track_times(par, side, found.shift, first, depth, bz)
    is_crossing = np.isfinite(found.shift)
    # z of crossing tracks is true already; time0 is rounded to float32 only once the rest has its z
    shift = np.where(is_crossing, 0.0, times.time0.astype(np.float64) * CM_PER_TIME_BIN)
    dedx, crossed = backend.empty((n, 2), f4), backend.empty(n, np.int32)
    charges = clusters["q_tot"][found.clusters], clusters["q_max"][found.clusters]
    fraction = f4(params.dedx_fraction)
    drift = np.maximum(DRIFT_LENGTH_CM - depth - np.repeat(shift.astype(f4), np.diff(first)), 0).astype(f4)
    columns = backend.send((first, found.hit_row, *charges, found.path, drift))
    work = backend.scratch("dedx.work", len(depth), f4)
    backend.run(dedx_tracks, n, *columns, f4(params.attachment_per_cm), fraction, work, dedx, crossed)
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
