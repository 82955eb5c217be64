"""Tracks as the vertex finder sees them: what they say of time and z of their collision.

The z of a TPC track moves with the assumed time t of its collision [time bins], opposite on the two sides:
z(t) = z(time0) + s v (t - time0), s = +1 on the A side and -1 on the C side, v the drift per time bin. Tracks that
cross the central electrode have a measured time, and say both. So do those that leave the drift volume through
the pads, as most do beyond |eta| of 0.9: they end there. Knows track columns, no kernels of the TPC.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from o2dask.reco.calibration.objects import DriftVelocity, MeanVertex
from o2dask.reco.geometry.tpc import pad_rows
from o2dask.reco.vertexing.beamline import closest_approach
from o2dask.reco.vertexing.params import VertexParams

__all__ = ["SeenTracks", "see"]

SIDE_A, SIDE_C = 1, 2


class SeenTracks(NamedTuple):
    """Tracks at the beam line, (n,) float64; places are seen from the beam spot `beam`, `v` is the drift [cm/time bin].

    side : s, 0 for tracks of both sides.
    u, sigma : what a track says of z - s v t, and its error [cm]; of tracks of both sides that is z itself.
    time, weight_t : measured time of the collision and 1 / variance of v times it [time bin, 1/cm2]; weight 0: none.
    leaves : bool, whether that time is the one at which the track leaves through the pads: right for most.
    early, late : bounds of the collision's time [time bin]: the track must lie between electrode and pads.
    phi, dca : direction [rad] and signed distance to the beam line [cm].
    is_good : bool, may shape a vertex.
    """

    side: np.ndarray
    u: np.ndarray
    sigma: np.ndarray
    time: np.ndarray
    weight_t: np.ndarray
    leaves: np.ndarray
    early: np.ndarray
    late: np.ndarray
    phi: np.ndarray
    dca: np.ndarray
    is_good: np.ndarray
    v: float
    beam: MeanVertex


def see(
    tracks: Mapping[str, Any], params: VertexParams, bz: float, beam: MeanVertex, drift: DriftVelocity
) -> SeenTracks:
    """Return what TPC/TRACKS say of their collisions in a field of `bz` [kG]."""
    states = {k: tracks[k] for k in ("x", "y", "z", "snp", "tgl", "q2pt", "alpha")}
    near = closest_approach(**states, bz=bz, beam=(beam.x, beam.y))
    cov = tracks["cov"].astype(np.float64)
    pt = 1 / np.maximum(np.abs(tracks["q2pt"].astype(np.float64)), 1e-3)
    slope = 1 + tracks["tgl"].astype(np.float64) ** 2
    variance = cov[:, 2] + near.path**2 * cov[:, 9] + (params.multiple_scattering / pt) ** 2 * slope**1.5
    sigma = np.sqrt(np.maximum(variance, 1e-4))
    is_good = (tracks["n_clusters"] >= params.min_clusters) & (np.abs(near.dca) < params.max_dca) & (pt > params.min_pt)
    sides, v = tracks["sides"], drift.cm_per_time_bin
    side = np.where(sides == SIDE_A, 1.0, np.where(sides == SIDE_C, -1.0, 0.0))
    time0 = tracks["time0"].astype(np.float64)
    late = time0 + tracks["time_fwd"]
    u = near.z - beam.z - side * v * time0
    leaves = _leaves(tracks, side, u + side * v * (late - params.exit_offset), beam, params)
    error = np.where(side == 0, params.crossing_sigma, params.exit_sigma)
    return SeenTracks(
        side=side,
        u=u,
        sigma=sigma,
        time=np.where(leaves, late - params.exit_offset, time0),
        weight_t=np.where((side == 0) | leaves, 1 / (v * error) ** 2, 0.0),
        leaves=leaves,
        early=time0 - tracks["time_bwd"] - params.time_margin,
        late=late + params.time_margin,
        phi=near.phi,
        dca=near.dca,
        is_good=is_good & np.isfinite(sigma),
        v=v,
        beam=beam,
    )


def _leaves(
    tracks: Mapping[str, Any], side: np.ndarray, z: np.ndarray, beam: MeanVertex, params: VertexParams
) -> np.ndarray:
    """Return which tracks end because they leave through the pads: outward, before the last rows, from a likely z."""
    before = tracks["x_out"] < pad_rows().x[-params.exit_rows]
    outward = side * tracks["tgl"] > params.exit_min_tgl
    return np.asarray(before & outward & (np.abs(z) < params.z_sigmas * beam.sigma_z))
