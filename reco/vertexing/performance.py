"""What vertexing made of a simulated timeframe, against its truth, by the number of tracks of a collision.

Knows columns; draws and prints nothing.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from o2dask.reco.vertexing.params import VertexParams
from o2dask.timeframe import BC_NS

__all__ = ["VertexOutcome", "judge_vertices"]

_HALF = 0.5
"""A vertex is that of a collision if half of its tracks are, and half of the collision's are in it."""


class VertexOutcome(NamedTuple):
    """Per collision (n,), and per vertex (m,).

    n_tracks : int, tracks of the collision that may shape a vertex.
    vertex : int, the vertex that is its, -1 none.
    t_off, z_off : vertex minus truth [ns, cm], NaN without vertex.
    purity : share of the vertex' tracks of its main collision, NaN without such tracks.
    main : int, that collision, -1 none.
    """

    n_tracks: np.ndarray
    vertex: np.ndarray
    t_off: np.ndarray
    z_off: np.ndarray
    purity: np.ndarray
    main: np.ndarray

    def efficiency(self, low: int = 2, high: int = 1 << 30, *, within_cm: float = np.inf) -> float:
        """Return the share of collisions of `low` to `high` tracks that have a vertex, within so much in z."""
        mine = (self.n_tracks >= low) & (self.n_tracks <= high)
        with np.errstate(invalid="ignore"):
            return float((mine & (np.abs(self.z_off) <= within_cm)).sum() / max(mine.sum(), 1))

    def splits(self, low: int = 2, high: int = 1 << 30) -> float:
        """Return the vertices beyond the first per collision of `low` to `high` tracks."""
        main = self.main[self.main >= 0]
        main = main[(self.n_tracks[main] >= low) & (self.n_tracks[main] <= high)]
        mine = (self.n_tracks >= low) & (self.n_tracks <= high)
        return float((len(main) - len(np.unique(main))) / max(mine.sum(), 1))


def judge_vertices(
    truth: Mapping[str, Any],
    tracks: Mapping[str, Any],
    labels: Mapping[str, Any],
    found: tuple[Mapping[str, Any], Mapping[str, Any]],
    params: VertexParams | None = None,
) -> VertexOutcome:
    """Return which collisions have a vertex, and of what the vertices are made.

    Parameters
    ----------
    truth : mapping
        MC/COLLISIONS and MC/PARTICLES.
    tracks, labels : Columns
        TPC/TRACKS and TPC/TRACKLABEL.
    found : Columns of GLO/PVTX and GLO/PVTXTRACK
    params : VertexParams, optional
        Which tracks count.
    """
    params = params or VertexParams()
    collisions, (vertices, members) = truth["MC/COLLISIONS"], found
    n, m = len(collisions["bc"]), len(vertices["t"])
    counts = (tracks["n_clusters"] >= params.min_clusters) & (np.abs(tracks["q2pt"]) < 1 / params.min_pt)
    counts &= labels["mc"] >= 0
    of = truth["MC/PARTICLES"]["collision"][np.maximum(labels["mc"], 0)]
    owner = np.full(len(counts), -1)
    owner[members["track"]] = np.repeat(np.arange(m), vertices["n_tracks"])
    n_tracks = np.bincount(of[counts], minlength=n)
    used = np.flatnonzero(counts & (owner >= 0))
    pair, shared = np.unique(owner[used].astype(np.int64) * n + of[used], return_counts=True)
    which, collision = pair // max(n, 1), pair % max(n, 1)
    total = np.bincount(which, shared, m)
    largest = np.lexsort((-shared, which))
    _, first = np.unique(which[largest], return_index=True)
    best = largest[first]
    main, purity = np.full(m, -1), np.full(m, np.nan)
    main[which[best]] = collision[best]
    purity[which[best]] = shared[best] / total[which[best]]
    is_its = (purity[which[best]] >= _HALF) & (shared[best] >= _HALF * n_tracks[collision[best]])
    vertex = np.full(n, -1)
    vertex[collision[best][is_its]] = which[best][is_its]
    has = vertex >= 0
    t_true = collisions["bc"] * BC_NS + collisions["t"]
    t_off = np.where(has, vertices["t"][vertex] - t_true, np.nan) if m else np.full(n, np.nan)
    z_off = np.where(has, vertices["z"][vertex] - collisions["z"], np.nan) if m else np.full(n, np.nan)
    return VertexOutcome(n_tracks, vertex, t_off, z_off, purity, main)
