"""Tracks side by side: found as pairs, given their own clusters back, and never both a cluster that fits either."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.reco.geometry.tpc import pad_rows
from o2dask.reco.tpc.grid import make_detector, sort_clusters
from o2dask.reco.tpc.merging import without_overlap
from o2dask.reco.tpc.pairs import disjoint_rounds, pairs_of_tracks, untangle_tracks
from o2dask.reco.tpc.params import ErrorModel, GasModel, TpcTrackingParams
from o2dask.reco.tpc.segments import Hits, Segments, fit_segments
from o2dask.reco.tpc.tracking import track_clusters

F4, I4, U1 = np.float32, np.int32, np.uint8
SIGMA = 0.08
ERRORS = ((SIGMA**2, 0.0, 0.0),) * 4


def params(**changes) -> TpcTrackingParams:
    errors = ErrorModel(y=ERRORS, z=ERRORS, merging_y=1.0, merging_z=1.0)
    return TpcTrackingParams(is_absolute=True, errors=errors, gas=GasModel(is_on=False), **changes)


def lines(slope, slope_z, offset, sector, seed):
    """Return sector, row, y, z and particle of straight tracks y = offset + slope x, one cluster per row."""
    x = pad_rows().x
    rng = np.random.default_rng(seed)
    n = len(slope)
    y = np.asarray(offset)[:, None] + np.outer(slope, x) + SIGMA * rng.standard_normal((n, 152))
    z = np.outer(slope_z, x) + SIGMA * rng.standard_normal((n, 152))
    sectors, rows = np.repeat(np.asarray(sector, U1), 152), np.tile(np.arange(152, dtype=U1), n)
    particle = np.repeat(np.arange(n), 152)
    order = np.lexsort((rows, sectors))
    return tuple(a[order] for a in (sectors, rows, y.ravel().astype(F4), z.ravel().astype(F4), particle))


def purities(found, particle):
    shares = []
    for begin, end in zip(found.first[:-1], found.first[1:], strict=True):
        count = np.bincount(particle[found.clusters[begin:end]])
        shares.append(count.max() / (end - begin))
    return np.array(shares)


@pytest.fixture(scope="module")
def neighbours():
    """Return 36 pairs of tracks, 1.8 errors apart at the innermost row and 5 at the outermost."""
    sector = np.repeat(np.arange(36), 2)
    slope, slope_z = np.full(72, 0.05), np.where(sector < 18, 0.4, -0.4)
    slope[1::2] += 1.8 * SIGMA / 85
    return lines(slope, slope_z, np.zeros(72), sector, seed=3)


def test_tracks_side_by_side_get_their_own_clusters_back(neighbours) -> None:
    *clusters, particle = neighbours
    tangled = purities(track_clusters(*clusters, params(pair_rounds=0)), particle)
    resolved = purities(track_clusters(*clusters, params()), particle)
    assert (tangled >= 0.9).sum() < 30, "the search alone resolves these tracks: they test nothing"
    assert (resolved >= 0.9).sum() >= 62, (sorted(resolved.round(2)), (tangled >= 0.9).sum())


def test_no_cluster_is_in_two_tracks_after_exchanges(neighbours) -> None:
    found = track_clusters(*neighbours[:4], params())
    assert len(np.unique(found.clusters)) == len(found.clusters)
    for begin, end in zip(found.first[:-1], found.first[1:], strict=True):
        assert (np.diff(neighbours[1][found.clusters[begin:end]].astype(int)) > 0).all()


def test_tracks_that_went_on_as_each_other_change_back() -> None:
    """Two tracks that cross at row 50; the hits inside of it are exchanged, each row then fits."""
    x = pad_rows().x
    slope, offset = np.array([0.06, 0.035]), np.zeros(2)
    offset[1] = (slope[0] - slope[1]) * x[50]
    sector, row, y, z, particle = lines(slope, np.array([0.3, 0.3]), offset, [4, 4], seed=8)
    settings_ = params()
    detector = make_detector(settings_, 5.0)
    clusters = sort_clusters(sector, row, y, z, detector)
    cluster = np.concatenate([np.flatnonzero(particle == k) for k in (0, 1)]).astype(I4)
    inside = np.arange(50)
    cluster[inside], cluster[152 + inside] = cluster[152 + inside].copy(), cluster[inside].copy()
    hits = Hits(
        np.array([0, 152, 304], I4),
        cluster,
        y[cluster],
        z[cluster],
        row[cluster],
        sector[cluster],
        np.zeros((304, 2), F4),
    )
    par = np.zeros((2, 6), F4)
    par[:, 0], par[:, 1], par[:, 2] = x[151], y[cluster[[151, 303]]], z[cluster[[151, 303]]]
    par[:, 3], par[:, 4] = np.sin(np.arctan(slope)), 0.3 * np.cos(np.arctan(slope))
    segments = Segments(par, np.zeros((2, 15), F4), hits)
    fitted = fit_segments(segments, detector, settings_.chi2_fit)
    before = float(fitted.chi2.sum())
    after = untangle_tracks(segments, fitted, clusters, detector, settings_)
    own = particle[hits.cluster].reshape(2, 152) == np.array([[0], [1]])
    far = np.abs(np.arange(152) - 50) > 25
    assert own[:, far].mean() > 0.99
    assert after.chi2.sum() < before - 50


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 19)), max_size=25))
def test_rounds_hold_each_track_once_and_the_closest_pairs_first(beside) -> None:
    n = 10
    table, count = np.full((n, 4), -1, I4), np.zeros((n, 4), I4)
    for a, b, rows in beside:
        free = np.flatnonzero(table[a] < 0)
        if a != b and len(free) and b not in table[a]:
            table[a, free[0]], count[a, free[0]] = b, rows
    pairs, rows = pairs_of_tracks(table, count, min_rows=2)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len({tuple(p) for p in pairs.tolist()}) == len(pairs)
    assert {frozenset((a, int(table[a, s]))) for a in range(n) for s in range(4) if count[a, s] >= 2} == {
        frozenset(p) for p in pairs.tolist()
    }
    rounds = disjoint_rounds(pairs, rows, n, n_rounds=3)
    for chosen in rounds:
        assert len(np.unique(chosen)) == chosen.size
    if len(pairs):
        best = pairs[rows == rows.max()]
        assert tuple(rounds[0][0]) in {tuple(p) for p in best.tolist()}


def test_rows_of_two_pieces_are_the_outer_ones() -> None:
    """Pieces of rows 0-9 and 7-20 are one track, a third piece of rows 5-8 another."""
    row = np.concatenate([np.arange(10), np.arange(7, 21), np.arange(5, 9)]).astype(U1)
    first = np.array([0, 10, 24, 28], I4)
    hits = Hits(first, np.arange(28, dtype=I4), row.astype(F4), row.astype(F4), row, row, np.zeros((28, 2), F4))
    from o2dask.reco.tpc.backend import HOST

    offsets, at = without_overlap(hits, np.array([0, 2, 3], I4), np.array([0, 1, 2]), HOST)
    assert offsets.tolist() == [0, 21, 25]
    assert row[at].tolist() == [*range(21), 5, 6, 7, 8]
    assert at[7] == 10
