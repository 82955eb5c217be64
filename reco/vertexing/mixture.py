"""Vertices as a mixture: every track belongs to each vertex in part, vertices compete for tracks, and few remain.

Expectation and maximisation, with a toll in tracks that each vertex pays per round (Figueiredo and Jain, IEEE PAMI 24
(2002) 381: a component must be worth its parameters). A pair of peaks that do not belong together has to share their
tracks with the pairs that do, and dies out: which peaks are one collision is decided by all tracks together.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from o2dask.reco.vertexing.params import VertexParams
from o2dask.reco.vertexing.seeding import Candidates
from o2dask.reco.vertexing.seen import SeenTracks

__all__ = ["Pairs", "assign", "close_pairs", "fit_mixture", "moved", "normal_equations"]

_SAME_T, _SAME_Z = 0.4, 0.2
"""Candidates nearer than this [time bins, cm] have become one."""
_SETTLED = 0.02
"""Vertices that move less than this [time bins] have arrived."""


class Pairs(NamedTuple):
    """Tracks with vertices that they may belong to: rows (m,), and distances squared in sigma2.

    weight_t : (m,) 1 / variance of v times the track's own time [1/cm2], 0 where it has none or does not fit.
    """

    track: np.ndarray
    vertex: np.ndarray
    chi2: np.ndarray
    weight_t: np.ndarray


def close_pairs(seen: SeenTracks, rows: np.ndarray, t: np.ndarray, z: np.ndarray, params: VertexParams) -> Pairs:
    """Return which of the tracks `rows` are within `n_sigma` of which vertices, at a time that they allow."""
    tracks, vertices = [], []
    for sign in (1.0, -1.0, 0.0):
        mine = rows[seen.side[rows] == sign]
        # of a track of both sides z and time are measured, of which the time tells more
        where, value = (z - sign * seen.v * t, seen.u[mine]) if sign else (seen.v * t, seen.v * seen.time[mine])
        reach = params.n_sigma * (seen.sigma[mine] if sign else 1 / np.sqrt(seen.weight_t[mine]))
        order = np.argsort(where, kind="stable")
        low, high = np.searchsorted(where[order], value - reach), np.searchsorted(where[order], value + reach)
        n = high - low
        tracks.append(np.repeat(mine, n))
        vertices.append(order[np.arange(n.sum()) - np.repeat(np.cumsum(n) - high, n)])
    i, k = np.concatenate(tracks), np.concatenate(vertices)
    allowed = (t[k] >= seen.early[i]) & (t[k] <= seen.late[i])
    i, k = i[allowed], k[allowed]
    along = (z[k] - seen.side[i] * seen.v * t[k] - seen.u[i]) / seen.sigma[i]
    over, weight_t = _in_time(seen, i, t[k], params)
    chi2 = along**2 + over
    near = chi2 < params.n_sigma**2
    return Pairs(i[near], k[near], chi2[near], weight_t[near])


def _in_time(seen: SeenTracks, i: np.ndarray, t: np.ndarray, params: VertexParams) -> tuple[np.ndarray, np.ndarray]:
    """Return chi2 and weight of the times of tracks `i` against t [time bins].

    A track that seems to leave through the pads may have ended for another reason: a normal distribution on a flat one.
    """
    chi2 = (seen.v * (t - seen.time[i])) ** 2 * seen.weight_t[i]
    leaves = seen.leaves[i]
    likely = np.exp(-0.5 * chi2[leaves])
    weight_t = seen.weight_t[i].copy()
    weight_t[leaves] *= likely / (likely + params.exit_outliers)
    chi2[leaves] = -2 * np.log((likely + params.exit_outliers) / (1 + params.exit_outliers))
    return chi2, weight_t


def fit_mixture(seen: SeenTracks, start: Candidates, params: VertexParams) -> Candidates:
    """Return the vertices that survive the competition for tracks, sorted by time, with the tracks they hold."""
    t, z, weight = start
    rows = np.flatnonzero(seen.is_good)
    for i_round in range(params.rounds):
        if not len(t):
            break
        pairs = close_pairs(seen, rows, t, z, params)
        part = _parts(pairs, weight, len(seen.u), params)
        held = np.bincount(pairs.vertex, part, len(t))
        toll = params.toll + 0.5 * (z / seen.beam.sigma_z) ** 2 if i_round >= params.free_rounds else 0.0
        weight = np.maximum(held - toll, 0.0)
        t_new, z = moved(seen, pairs, part, t, z, params)
        is_settled = i_round > params.free_rounds and np.abs(t_new - t).max() < _SETTLED and (weight > 0.3).all()
        alive = np.flatnonzero(weight > 0.3)
        t, z, weight = _united(t_new[alive], z[alive], weight[alive])
        if is_settled:
            break
    return Candidates(t, z, weight)


def _parts(pairs: Pairs, weight: np.ndarray, n_tracks: int, params: VertexParams) -> np.ndarray:
    """Return which part of its track each pair has; what no vertex explains is left to the background."""
    part = weight[pairs.vertex] * np.exp(-0.5 * pairs.chi2)
    total = np.bincount(pairs.track, part, n_tracks) + params.background
    return np.asarray(part / total[pairs.track])


def moved(
    seen: SeenTracks, pairs: Pairs, part: np.ndarray, t: np.ndarray, z: np.ndarray, params: VertexParams
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted least-squares times and z of the vertices; one without tracks stays where it is."""
    zz, zt, tt, bz, bt = normal_equations(seen, pairs, part, len(t))
    det = zz * tt - zt**2
    ok = det > 1e-12
    safe = np.where(ok, det, 1)
    return (
        np.where(ok, (zz * bt - zt * bz) / safe / seen.v, t),
        np.where(ok, np.clip((tt * bz - zt * bt) / safe, -params.z_max, params.z_max), z),
    )


def normal_equations(seen: SeenTracks, pairs: Pairs, part: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
    """Return the sums (n,) of the fit in z and v t: the luminous region measures z, too."""
    i, k = pairs.track, pairs.vertex
    side, along, over = seen.side[i], part / seen.sigma[i] ** 2, part * pairs.weight_t
    zz = np.bincount(k, along, n) + 1 / seen.beam.sigma_z**2
    zt, tt = np.bincount(k, -side * along, n), np.bincount(k, side**2 * along + over, n)
    bz = np.bincount(k, along * seen.u[i], n)
    return zz, zt, tt, bz, np.bincount(k, over * seen.v * seen.time[i] - side * along * seen.u[i], n)


def _united(t: np.ndarray, z: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the vertices sorted by time, neighbours that have become one joined."""
    order = np.lexsort((z, t))
    t, z, weight = t[order], z[order], weight[order]
    same = np.append(False, (np.diff(t) < _SAME_T) & (np.abs(np.diff(z)) < _SAME_Z))[: len(t)]
    group = np.cumsum(~same) - 1
    first = np.flatnonzero(~same)
    return t[first], z[first], np.bincount(group, weight, len(first))


def assign(seen: SeenTracks, vertices: Candidates, params: VertexParams) -> Pairs:
    """Return every track that has a vertex with its likeliest one, sorted by track."""
    window = replace(params, n_sigma=params.n_sigma_members)
    pairs = close_pairs(seen, np.arange(len(seen.u)), vertices.t, vertices.z, window)
    likely = np.log(vertices.weight[pairs.vertex]) - 0.5 * pairs.chi2
    order = np.lexsort((pairs.vertex, likely, pairs.track))  # of each track the likeliest is the last
    last = order[np.append(np.diff(pairs.track[order]) != 0, True)] if len(order) else order
    return Pairs(*(part[last] for part in pairs))
