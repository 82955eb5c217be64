"""Legs of one looper become one track: its first leg, with the clusters of the others behind.

Knows fitted tracks as arrays. A soft particle that moves away from the central electrode turns in the TPC and is found
as one track per half turn: outward legs have the sign of tgl of the side they are on, returning ones the other sign
and the other charge.
"""

import numpy as np

from o2dask.reco.geometry.tpc import sector_alpha
from o2dask.reco.tpc.backend import HOST, Backend
from o2dask.reco.tpc.kernels_helix import B2C
from o2dask.reco.tpc.kernels_loopers import find_next_legs
from o2dask.reco.tpc.params import LooperParams

__all__ = ["chains_of_legs", "describe_legs"]


def describe_legs(par: np.ndarray, sector: np.ndarray, bz: float) -> np.ndarray:
    """Return `kernels_loopers.LEG_COLUMNS` (n, 9) float32 of tracks (n, 6) x y z snp tgl q2pt in a field `bz` [kG]."""
    x, y, z, snp, tgl, q2pt = par.astype(np.float64).T
    curvature = -float(B2C) * bz * q2pt
    csp = np.sqrt(np.maximum(1 - snp * snp, 0))
    alpha = sector_alpha(sector)
    cos, sin = np.cos(alpha), np.sin(alpha)
    local_x, local_y = x - snp / curvature, y + csp / curvature
    cx, cy = local_x * cos - local_y * sin, local_x * sin + local_y * cos
    gx, gy = x * cos - y * sin, x * sin + y * cos
    side = np.where(sector < 18, 1.0, -1.0)
    kind = np.where(side * tgl > 0, 1.0, -1.0)
    angle = np.arctan2(gy - cy, gx - cx)
    columns = (side * z, cx, cy, 1 / np.abs(curvature), angle, kind * np.sign(curvature), kind * tgl, kind, side)
    return np.stack(columns, axis=1).astype(np.float32)


def chains_of_legs(
    par: np.ndarray, sector: np.ndarray, bz: float, params: LooperParams, backend: Backend = HOST
) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets (n_chains + 1,) and the tracks of each chain, first leg first; only chains of two legs or more.

    Parameters
    ----------
    par : (n, 6) float32, x y z snp tgl q2pt of fitted tracks at their innermost cluster; sector : (n,) uint8.
    """
    soft = np.flatnonzero(np.abs(par[:, 5]) > 1 / params.max_pt)
    legs = describe_legs(par[soft], sector[soft], bz)
    order = np.lexsort((soft, legs[:, 0], legs[:, 5], legs[:, 8]))
    soft, legs = soft[order], np.ascontiguousarray(legs[order])
    n = len(soft)
    out = backend.empty(n, np.int32), backend.empty(n, np.float32)
    tolerance = np.array([params.centre, params.radius, params.slope, params.z_cm, params.z_part], np.float32)
    backend.run(find_next_legs, n, *backend.send((legs, tolerance)), *out)
    follower, distance = (backend.fetch(part) for part in out)
    asking = np.flatnonzero(follower >= 0)
    asking = asking[np.lexsort((asking, distance[asking]))]
    _, best = np.unique(follower[asking], return_index=True)
    keep = asking[best]
    following = np.full(n, -1)
    following[keep] = follower[keep]
    return _walk(following, soft)


def _walk(following: np.ndarray, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets and names along chains of followers; what goes round in circles is left alone."""
    is_follower = np.zeros(len(following), bool)
    is_follower[following[following >= 0]] = True
    now = np.flatnonzero(~is_follower & (following >= 0))
    chain, steps, members = np.arange(len(now)), 0, []
    while len(now):
        members.append(np.stack([chain, np.full(len(now), steps), names[now]], axis=1))
        after = following[now]
        chain, now, steps = chain[after >= 0], after[after >= 0], steps + 1
    table = np.concatenate(members) if members else np.zeros((0, 3), np.int64)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    return np.concatenate([[0], np.cumsum(np.bincount(table[:, 0]))]).astype(np.int64), table[:, 2]
