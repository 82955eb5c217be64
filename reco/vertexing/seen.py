"""Tracks as the vertex finder sees them: what they say of time and z of their collision.

The z of a TPC track moves with the assumed time t of its collision [time bins], opposite on the two sides:
z(t) = z(time0) + s v (t - time0), s = +1 on the A side and -1 on the C side, v the drift per time bin. Tracks that
cross the central electrode have a measured time, and say both. Knows track columns, no kernels of the TPC.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from o2dask.reco.calibration.objects import DriftVelocity, MeanVertex
from o2dask.reco.vertexing.beamline import closest_approach
from o2dask.reco.vertexing.params import VertexParams

__all__ = ["SeenTracks", "see"]

SIDE_A, SIDE_C = 1, 2


class SeenTracks(NamedTuple):
    """Tracks at the beam line, (n,) float64; places are seen from the beam spot `beam`, `v` is the drift [cm/time bin].

    side : s, 0 for tracks of both sides.
    u, sigma : what a track of one side says, z - s v t, and the error of z [cm].
    z, time : z at `time`, which is measured for tracks of both sides and a guess for others [cm, time bin].
    early, late : bounds of the collision's time [time bin]: the track must lie between electrode and pads.
    phi, dca : direction [rad] and signed distance to the beam line [cm].
    is_good : bool, may shape a vertex.
    weight_z, weight_t : 1 / variance of what it says of z and of v t [1/cm2]; value_z, value_t : that [cm].
    """

    side: np.ndarray
    u: np.ndarray
    sigma: np.ndarray
    z: np.ndarray
    time: np.ndarray
    early: np.ndarray
    late: np.ndarray
    phi: np.ndarray
    dca: np.ndarray
    is_good: np.ndarray
    weight_z: np.ndarray
    weight_t: np.ndarray
    value_z: np.ndarray
    value_t: np.ndarray
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
    sides = tracks["sides"]
    side = np.where(sides == SIDE_A, 1.0, np.where(sides == SIDE_C, -1.0, 0.0))
    time, z, v = tracks["time0"].astype(np.float64), near.z - beam.z, drift.cm_per_time_bin
    is_good = (tracks["n_clusters"] >= params.min_clusters) & (np.abs(near.dca) < params.max_dca) & (pt > params.min_pt)
    u, crosses = z - side * v * time, side == 0
    return SeenTracks(
        side=side,
        u=u,
        sigma=sigma,
        z=z,
        time=time,
        early=time - tracks["time_bwd"] - params.time_margin,
        late=time + tracks["time_fwd"] + params.time_margin,
        phi=near.phi,
        dca=near.dca,
        is_good=is_good & np.isfinite(sigma),
        weight_z=1 / sigma**2,
        weight_t=np.where(crosses, 1 / (v * params.crossing_sigma) ** 2, 1 / sigma**2),
        value_z=np.where(crosses, z, u),
        value_t=np.where(crosses, v * time, -side * u),
        v=v,
        beam=beam,
    )
