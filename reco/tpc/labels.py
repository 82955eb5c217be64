"""Which particle a track is: the one with most of its clusters."""

import numpy as np

from o2dask.columns import Columns
from o2dask.errors import ShapeError
from o2dask.reco.tpc.schema import TRACKLABEL

__all__ = ["label_tracks"]


def label_tracks(tracks: Columns, track_clusters: Columns, cluster_labels: Columns) -> Columns:
    """Return TPC/TRACKLABEL: per track the particle with most clusters and its share.

    A merged cluster counts for its main contributor, and for the second one where that is the track's particle. Ties
    go to the particle of the lower row; noise (-1) is no particle but counts in the total.
    """
    first, count = tracks["first_cluster"], tracks["n_clusters"]
    cluster = track_clusters["cluster"]
    if len(cluster) and int(cluster.max()) >= cluster_labels.n_rows:
        raise ShapeError(
            f"track labels: clusters up to {cluster.max()}, labels for {cluster_labels.n_rows}; "
            "are clusters and labels of the same timeframe?"
        )
    if int(count.sum()) != len(cluster):
        raise ShapeError(f"track labels: tracks have {count.sum()} clusters, TRACKCLUSTERS {len(cluster)}")
    n = tracks.n_rows
    track = np.repeat(np.arange(n), count)
    member = np.repeat(first - np.concatenate([[0], np.cumsum(count)[:-1]]), count) + np.arange(len(track))
    main = cluster_labels["mc"][cluster[member]].astype(np.int64)
    other = cluster_labels["mc_other"][cluster[member]].astype(np.int64)
    votes_track = np.concatenate([track, track[other >= 0]])
    votes_mc = np.concatenate([main, other[other >= 0]])
    weight = np.concatenate([np.ones(len(main), np.int64), np.zeros(int((other >= 0).sum()), np.int64)])
    real = votes_mc >= 0
    stride = int(votes_mc.max(initial=0)) + 1
    key, inverse = np.unique(votes_track[real] * stride + votes_mc[real], return_inverse=True)
    as_main = np.bincount(inverse, weights=weight[real], minlength=len(key))
    with_second = np.bincount(inverse, minlength=len(key))
    order = np.lexsort((-(key % stride), with_second, as_main, key // stride))
    owner = (key // stride)[order]
    last = np.flatnonzero(np.append(owner[1:] != owner[:-1], True)) if len(owner) else np.zeros(0, np.int64)
    mc, purity = np.full(n, -1, np.int32), np.zeros(n, np.float32)
    best = order[last]
    mc[owner[last]] = key[best] % stride
    purity[owner[last]] = with_second[best] / np.maximum(count[owner[last]], 1)
    return Columns(TRACKLABEL, {"mc": mc, "purity": purity})
