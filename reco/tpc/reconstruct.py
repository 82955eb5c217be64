"""Native clusters in, tracks out: the TPC's reconstruction of one timeframe, on columns."""

import numpy as np

from o2dask.columns import Columns
from o2dask.errors import DataError
from o2dask.reco.geometry.tpc import BZ_KG, CM_PER_TIME_BIN, DRIFT_LENGTH_CM, pad_rows, sector_alpha
from o2dask.reco.tpc.kernels_dedx import dedx_tracks
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

__all__ = ["cluster_positions", "cluster_widths", "reconstruct"]

_MAX_TIME = 1 << 24


def cluster_positions(clusters: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Return y and z [cm] (n,) float32 of native clusters in their sectors' frames.

    z is that of a collision at the start of the timeframe: it goes far below 0 on the A side (above on the C side) for
    later collisions. Pads of the C side count against y.
    """
    rows = pad_rows()
    pad_row, is_a = clusters["pad_row"], clusters["sector"] < 18
    if clusters.n_rows and (int(pad_row.max()) > 151 or int(clusters["sector"].max()) > 35):
        raise DataError("TPC clusters: want sectors below 36 and pad rows below 152; is the CTF damaged?")
    pad = clusters["pad"] * np.float32(1.0 / PAD_SCALE)
    middle = (0.5 * (rows.n_pads - 1)).astype(np.float32)
    y = (pad - middle[pad_row]) * rows.pad_width[pad_row]
    drift = clusters["time"] * (CM_PER_TIME_BIN / TIME_SCALE)
    z = (DRIFT_LENGTH_CM - drift).astype(np.float32)
    return np.where(is_a, y, -y), np.where(is_a, z, -z)


def cluster_widths(clusters: Columns) -> np.ndarray:
    """Return the squared widths (n, 2) float32 along y and z [cm2] of native clusters."""
    pad = pad_rows().pad_width / np.float32(SIGMA_SCALE)
    out = np.empty((clusters.n_rows, 2), np.float32)
    np.square(clusters["sigma_pad"] * pad[clusters["pad_row"]], out=out[:, 0])
    np.square(clusters["sigma_time"] * np.float32(CM_PER_TIME_BIN / SIGMA_SCALE), out=out[:, 1])
    return out


def reconstruct(
    clusters: Columns, params: TpcTrackingParams | None = None, bz: float = BZ_KG
) -> tuple[Columns, Columns, dict[str, float]]:
    """Return TPC/TRACKS, TPC/TRACKCLUSTERS and the CPU seconds of each stage.

    Parameters
    ----------
    clusters : Columns
        TPC/CLUSTERNATIVE of one timeframe, in any order.
    params : TpcTrackingParams, optional
    bz : float
        Field [kG].

    Notes
    -----
    A track's time is unknown: its z is that for a collision at `time0`, the one that makes it point to z = 0 at the
    beam line. Tracks across the central electrode have their time measured.
    """
    if clusters.schema.names != CLUSTERNATIVE.names:
        raise DataError(f"clusters: want the columns of {CLUSTERNATIVE}, got {clusters.schema}")
    params = params or TpcTrackingParams()
    y, z = cluster_positions(clusters)
    found = track_clusters(clusters["sector"], clusters["pad_row"], y, z, params, bz, cluster_widths(clusters))
    tracks = _tracks(clusters, found, z, params, bz)
    members = Columns(TRACKCLUSTERS, {"cluster": found.clusters.astype(np.int32)})
    return tracks, members, found.stages_s


def _tracks(clusters: Columns, found: TrackResult, z: np.ndarray, params: TpcTrackingParams, bz: float) -> Columns:
    par, first, f4 = found.par, found.first, np.float32
    n = len(par)
    sector, row = clusters["sector"][found.clusters], clusters["pad_row"][found.clusters]
    side = np.where(found.sector < 18, 1.0, -1.0).astype(f4)
    depth = np.where(sector < 18, z[found.clusters], -z[found.clusters])
    times = track_times(par, side, found.shift, first, depth, bz)
    is_crossing = np.isfinite(found.shift)
    # z of crossing tracks is true already; time0 is rounded to float32 only once the rest has its z
    shift = np.where(is_crossing, 0.0, times.time0.astype(np.float64) * CM_PER_TIME_BIN)
    dedx, crossed = np.zeros((n, 2), f4), np.zeros(n, np.int32)
    charges = clusters["q_tot"][found.clusters], clusters["q_max"][found.clusters]
    fraction = f4(params.dedx_fraction)
    dedx_tracks(first, row, *charges, found.path, fraction, np.empty(len(row), f4), dedx, crossed)
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
            "x_out": pad_rows().x[row[first[1:] - 1]] if n else np.zeros(0, f4),
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
