"""Barrel track tables of the AOD: parameters, covariance and extra information, row by row the same track.

Follows Detectors/AOD/src/AODProducerWorkflowSpec.cxx (fillTrackTable, fillTrackCovTable, fillTrackExtraTable).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from o2dask.reco.aod.bcs import BcTable
from o2dask.reco.geometry.tpc import CM_PER_TIME_BIN, TIME_BIN_BC
from o2dask.timeframe import BC_NS

__all__ = ["TrackOrder", "ambiguous_rows", "order_tracks", "track_cov_table", "track_extra_table", "track_table"]

TIME_BIN_NS = TIME_BIN_BC * BC_NS
SIDE_A, SIDE_C = 1, 2
FLAG_PV_CONTRIBUTOR, FLAG_TIME_ASYMMETRIC = 2, 8
PION_HYPOTHESIS = 2 << 28
ASYMMETRY_SCALE = 128
"""Time-bin deltas of TPC-only tracks are stored as uint16 times 128 (tpcDeltaTFwd, tpcDeltaTBwd)."""
NOT_MEASURED = -999.0


class TrackOrder(NamedTuple):
    """Which TPC track stands in which AOD row: unassigned tracks first, then collision by collision.

    `track` (n,) int64 rows in TPC/TRACKS; `collision` (n,) int32, -1 unassigned; `is_contributor` (n,) bool.
    """

    track: np.ndarray
    collision: np.ndarray
    is_contributor: np.ndarray


def order_tracks(n_tracks: int, vertices: Mapping[str, Any], members: Mapping[str, Any]) -> TrackOrder:
    """Return the AOD order of the tracks: grouping indices must not decrease, with one block of -1."""
    collision = np.full(n_tracks, -1, np.int32)
    contributes = np.zeros(n_tracks, bool)
    n_vertices = len(vertices["n_tracks"])
    collision[members["track"]] = np.repeat(np.arange(n_vertices, dtype=np.int32), vertices["n_tracks"])
    contributes[members["track"]] = members["is_contributor"]
    order = np.argsort(collision, kind="stable")
    return TrackOrder(order, collision[order], contributes[order])


def track_table(
    tracks: Mapping[str, Any], order: TrackOrder, vertex_ns: np.ndarray, cm_per_time_bin: float = CM_PER_TIME_BIN
) -> dict[str, np.ndarray]:
    """Return the columns of O2track_iu.

    `vertex_ns` (n_vertices,) is the time of the vertices since the start of the timeframe [ns]: a track of one side
    that belongs to a vertex is moved along z to that time, at the drift velocity [cm per time bin].
    """
    z = tracks["z"][order.track].astype(np.float64)
    sides = tracks["sides"][order.track]
    has_collision = order.collision >= 0
    side = np.where(sides == SIDE_A, 1.0, np.where(sides == SIDE_C, -1.0, 0.0))
    shift = np.zeros(len(z))
    vertex_bins = vertex_ns[order.collision[has_collision]] / TIME_BIN_NS
    shift[has_collision] = vertex_bins - tracks["time0"][order.track][has_collision]
    return {
        "fIndexCollisions": order.collision,
        "fTrackType": np.zeros(len(z), np.uint8),
        "fX": tracks["x"][order.track],
        "fAlpha": tracks["alpha"][order.track],
        "fY": tracks["y"][order.track],
        "fZ": (z + side * cm_per_time_bin * shift).astype(np.float32),
        "fSnp": tracks["snp"][order.track],
        "fTgl": tracks["tgl"][order.track],
        "fSigned1Pt": tracks["q2pt"][order.track],
    }


def track_cov_table(tracks: Mapping[str, Any], order: TrackOrder) -> dict[str, np.ndarray]:
    """Return the columns of O2trackcov_iu: standard deviations, and correlations times 128 cut to int8."""
    cov = tracks["cov"][order.track].astype(np.float64)
    names = ("Y", "Z", "Snp", "Tgl", "1Pt")
    diagonal = np.array([0, 2, 5, 9, 14])
    sigma = np.sqrt(np.maximum(cov[:, diagonal], 1e-20))
    table = {f"fSigma{name}": sigma[:, i].astype(np.float32) for i, name in enumerate(names)}
    k = 0
    for i, name in enumerate(names):
        for j in range(i):
            rho = cov[:, k] / (sigma[:, i] * sigma[:, j])
            table[f"fRho{name}{names[j]}"] = np.clip(rho * 128, -127, 127).astype(np.int8)
            k += 1
        k += 1
    return table


def track_extra_table(
    tracks: Mapping[str, Any], order: TrackOrder, vertices: Mapping[str, Any], bc_ns: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the columns of O2trackextra_001 of TPC tracks.

    `bc_ns` (n_tracks,) is the time [ns] that each track's time is relative to: the BC of its collision, or the first BC
    of its ambiguous slice. The time of a track of a vertex is the vertex's; that of an unassigned one is asymmetric
    (flag TrackTimeAsym), its 32 bits two uint16 of time-bin deltas times 128, forward in the low half.
    """
    n = len(order.track)
    rows = {k: tracks[k][order.track] for k in tracks if k != "cov"}
    has_collision = order.collision >= 0
    t_ns = rows["time0"].astype(np.float64) * TIME_BIN_NS
    t_ns[has_collision] = vertices["t"][order.collision[has_collision]]
    packed = _pack_asymmetric(rows["time_fwd"], rows["time_bwd"])
    resolution = packed.view(np.float32).copy()
    resolution[has_collision] = vertices["t_res"][order.collision[has_collision]]
    flags = np.full(n, PION_HYPOTHESIS, np.uint32)
    flags |= np.where(order.is_contributor, FLAG_PV_CONTRIBUTOR, 0).astype(np.uint32)
    flags |= np.where(has_collision, 0, FLAG_TIME_ASYMMETRIC).astype(np.uint32)
    pt = 1 / np.maximum(np.abs(rows["q2pt"]), 1e-6)
    findable = np.minimum(rows["n_clusters"], 255)
    crossed = np.minimum(rows["n_crossed_rows"], 255)
    absent = np.full(n, NOT_MEASURED, np.float32)
    table = dict.fromkeys(
        ("fITSChi2NCl", "fTRDChi2", "fTOFChi2", "fTRDSignal", "fLength", "fTOFExpMom"), absent
    ) | dict.fromkeys(("fTrackEtaEMCAL", "fTrackPhiEMCAL"), absent)
    return table | {
        "fTPCInnerParam": (pt * np.hypot(1, rows["tgl"])).astype(np.float32),
        "fFlags": flags,
        "fITSClusterSizes": np.zeros(n, np.uint32),
        "fTPCNClsFindable": findable.astype(np.uint8),
        "fTPCNClsFindableMinusFound": np.zeros(n, np.int8),
        "fTPCNClsFindableMinusCrossedRows": np.clip(findable - crossed, -128, 127).astype(np.int8),
        "fTPCNClsShared": np.zeros(n, np.uint8),
        "fTRDPattern": np.zeros(n, np.uint8),
        "fTPCChi2NCl": (rows["chi2"] / np.maximum(rows["n_clusters"], 1)).astype(np.float32),
        "fTPCSignal": rows["dedx_tot"],
        "fTrackTime": (t_ns - bc_ns).astype(np.float32),
        "fTrackTimeRes": resolution,
    }


def ambiguous_rows(tracks: Mapping[str, Any], order: TrackOrder, bcs: BcTable) -> dict[str, np.ndarray]:
    """Return the columns of O2ambiguoustrack: unassigned tracks and the bunch crossings that their time allows."""
    rows = np.flatnonzero(order.collision < 0)
    t = tracks["time0"][order.track[rows]].astype(np.float64) * TIME_BIN_NS
    forward = tracks["time_fwd"][order.track[rows]] * TIME_BIN_NS
    backward = tracks["time_bwd"][order.track[rows]] * TIME_BIN_NS
    slices = bcs.slices(t - backward, t + forward)
    return {"fIndexTracks": rows.astype(np.int32), "fIndexSliceBCs": slices}


def _pack_asymmetric(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    low = np.clip(np.rint(forward * ASYMMETRY_SCALE), 0, 65535).astype(np.uint32)
    high = np.clip(np.rint(backward * ASYMMETRY_SCALE), 0, 65535).astype(np.uint32)
    return low | (high << np.uint32(16))
