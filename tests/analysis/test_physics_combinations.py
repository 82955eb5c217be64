"""Pairs, triples, binning and mixing against itertools and the definitions in O2's ASoAHelpers.h."""

import pickle
from itertools import combinations as choose
from itertools import combinations_with_replacement, groupby, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.analysis.physics.binning import ColumnBinningPolicy
from o2dask.analysis.physics.combinations import combination_blocks, combinations, cross_combinations, mixed_events
from o2dask.analysis.physics.pairs import mixed_pairs, mixed_triples, pair_blocks, pairs, triple_blocks, triples
from o2dask.analysis.physics.sources import flat, offsets_of
from o2dask.errors import ConfigError, ShapeError

POLICIES = ("strictly_upper", "upper", "full")
ORACLE = {
    "strictly_upper": choose,
    "upper": combinations_with_replacement,
    "full": lambda rows, k: product(rows, repeat=k),
}


def expected(sizes, k, policy, window):
    found, start = [], 0
    for size in sizes:
        for rows in ORACLE[policy](range(start, start + size), k):
            if window is None or max(rows) - min(rows) <= window:
                found.append(rows)
        start += size
    return np.array(found, np.int64).reshape(-1, k)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 7), max_size=5),
    st.sampled_from([2, 3]),
    st.sampled_from(POLICIES),
    st.none() | st.integers(0, 4),
)
def test_combinations_are_those_of_itertools(sizes, k, policy, window):
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    found = np.stack(combinations(offsets, k, policy, window), axis=1)
    np.testing.assert_array_equal(found, expected(sizes, k, policy, window))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 30), st.sampled_from([2, 3]))
def test_blocks_follow_each_other_and_keep_their_limit(sizes, limit, k):
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    whole = np.stack(combinations(offsets, k), axis=1)
    blocks = [np.stack(b, axis=1) for b in combination_blocks(offsets, k, max_rows=limit)]
    np.testing.assert_array_equal(np.concatenate([np.zeros((0, k), np.int64), *blocks]), whole)
    assert all(len(b) <= limit or len(set(b[:, 0])) == 1 for b in blocks)


def test_blocks_hold_what_is_asked_for_and_not_the_whole():
    sizes = [len(b[0]) for b in combination_blocks(3000, max_rows=10_000)]
    assert sum(sizes) == 3000 * 2999 // 2
    assert max(sizes) <= 10_000


def test_cross_combinations_pair_group_by_group():
    first, second, group = cross_combinations(np.array([0, 2, 2, 3]), np.array([0, 1, 4, 6]))
    assert list(zip(first, second, group, strict=True)) == [(0, 0, 0), (1, 0, 0), (2, 4, 2), (2, 5, 2)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-1, 3), max_size=25), st.integers(0, 6), st.sampled_from([2, 3]))
def test_mixed_events_are_neighbours_of_one_bin(bins, depth, k):
    """The slow version walks each bin with O2's sliding window: depth + 1 events, the first one fixed."""
    bins = np.array(bins, np.int64)
    wanted = []
    rows = sorted((b, i) for i, b in enumerate(bins) if b >= 0)
    for _, members in groupby(rows, key=lambda r: r[0]):
        events = [i for _, i in members]
        for place in range(len(events)):
            window = events[place + 1 : place + depth + 1]
            wanted += [(events[place], *rest) for rest in choose(window, k - 1)]
    found = np.stack(mixed_events(bins, depth, k), axis=1)
    np.testing.assert_array_equal(found, np.array(wanted, np.int64).reshape(-1, k))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 4}, "2 or 3 members, got 4"),
        ({"policy": "lower"}, "strictly_upper, upper, full"),
        ({"window": -1}, "0 or more"),
    ],
)
def test_wrong_questions_are_explained(arguments, message):
    with pytest.raises(ConfigError, match=message):
        combinations(3, **arguments)


def test_offsets_must_grow_from_zero():
    with pytest.raises(ShapeError, match="growing numbers from 0"):
        combinations(np.array([0, 3, 2]))


def test_bins_are_half_open_and_overflows_are_ignored():
    policy = ColumnBinningPolicy({"posZ": [-10, 0, 10], "mult": [0, 5, 50, 500]})
    z = np.array([-10.0, -0.1, 0.0, 9.99, 10.0, -10.1, 3.0, np.nan])
    mult = np.array([0, 5, 499, 500, 5, 5, -1, 3])
    assert policy.bins({"posZ": z, "mult": mult}).tolist() == [0, 2, 5, -1, -1, -1, -1, -1]
    assert policy.n_bins == 6


def test_kept_overflows_have_bins_of_their_own():
    policy = ColumnBinningPolicy({"z": [0, 1, 2]}, ignore_overflows=False)
    assert policy.bins_of([-5, 0, 1.5, 2, 9]).tolist() == [0, 1, 2, 3, 3]


def test_a_function_can_stand_for_a_column():
    policy = ColumnBinningPolicy({"r": [0, 1, 2]}, {"r": lambda t: np.hypot(t["x"], t["y"])})
    assert policy.bins({"x": np.array([0.6, 1.0]), "y": np.array([0.6, 1.0])}).tolist() == [0, 1]


def test_edges_that_do_not_grow_are_refused():
    with pytest.raises(ConfigError, match="edges of 'z'"):
        ColumnBinningPolicy({"z": [0, 0, 1]})


def test_pairs_of_a_nested_table_stay_within_their_collision(aod):
    nested = aod[0].collisions.tracks
    found = pairs(nested)
    wanted = [(a.pt(), b.pt()) for tracks in nested for a, b in choose(list(tracks), 2)]
    np.testing.assert_array_equal(np.stack([found.first.pt(), found.second.pt()], axis=1), np.array(wanted))
    assert (found.first.collisionId() == found.second.collisionId()).all()
    np.testing.assert_array_equal(found.groups[0], found.first.collisionId())


def test_pairs_of_two_tables_are_all_of_them(aod):
    tracks = aod[0].tracks
    positive, negative = tracks[tracks.sign() > 0][:7], tracks[tracks.sign() < 0][:5]
    found = pairs(positive, negative)
    assert len(found) == 35
    np.testing.assert_array_equal(found.first.signed1Pt(), np.repeat(positive.signed1Pt(), 5))
    np.testing.assert_array_equal(found.second.signed1Pt(), np.tile(negative.signed1Pt(), 7))


def test_triples_have_three_members_and_a_mass(aod):
    tracks = aod[0].tracks
    some = tracks[(tracks.pt() < 50) & (abs(tracks.snp()) < 0.99)][:6]
    found = triples(some)
    assert len(found) == 20
    np.testing.assert_allclose(found.mass(0.14), found.p4(0.14).mass, rtol=1e-3, atol=1e-2)
    np.testing.assert_array_equal(found[found.indices[0] == 0].third.pt(), some.pt()[found.indices[2][:10]])
    with pytest.raises(ConfigError, match="these are pairs"):
        _ = pairs(some).third


def test_masses_of_pairs_are_those_of_vector(aod):
    tracks = aod[0].tracks
    found = pairs(tracks[(tracks.pt() < 20) & (abs(tracks.eta()) < 2) & (abs(tracks.snp()) < 0.99)][:20])
    np.testing.assert_allclose(found.mass(0.1396, 0.9383), found.p4(0.1396, 0.9383).mass, rtol=2e-4)


def test_mixed_pairs_take_one_track_of_each_event(aod):
    collisions = aod[0].collisions
    nested, bins = collisions.tracks, np.arange(len(collisions)) % 3
    found = mixed_pairs(nested, bins, depth=2)
    sizes = np.diff(offsets_of(nested))
    events = np.stack(mixed_events(bins, 2), axis=1)
    assert len(found) == (sizes[events[:, 0]] * sizes[events[:, 1]]).sum()
    np.testing.assert_array_equal(found.groups[0], found.first.collisionId())
    np.testing.assert_array_equal(found.groups[1], found.second.collisionId())
    assert (found.groups[0] != found.groups[1]).all()
    assert (bins[found.groups[0]] == bins[found.groups[1]]).all()


def test_mixing_two_species_meets_events_both_ways(aod):
    collisions = aod[0].collisions
    nested, bins = collisions.tracks, np.zeros(len(collisions), np.int64)
    one_way, both = mixed_pairs(nested, bins, 1), mixed_pairs(nested, bins, 1, nested)
    assert len(both) == 2 * len(one_way)


def test_mixed_triples_come_from_three_events(aod):
    collisions = aod[0].collisions[:4]
    nested, bins = collisions.tracks, np.zeros(4, np.int64)
    found = mixed_triples(nested, bins, depth=2)
    sizes = np.diff(offsets_of(nested))
    assert len(found) == sum(sizes[a] * sizes[b] * sizes[c] for a, b, c in ((0, 1, 2), (1, 2, 3)))
    for member, event in zip(found.members, found.groups, strict=True):
        np.testing.assert_array_equal(member.collisionId(), event)


def test_bins_that_do_not_fit_the_events_are_refused(aod):
    with pytest.raises(ShapeError, match="one bin per list"):
        mixed_pairs(aod[0].collisions.tracks, np.zeros(3, int), 1)


def test_an_empty_dataframe_has_no_pairs(aod):
    assert len(pairs(aod[1].collisions.tracks)) == 0
    assert len(mixed_pairs(aod[1].collisions.tracks, np.zeros(0, int), 2)) == 0
    assert len(flat(aod[1].collisions.tracks)) == 0


def test_blocks_of_pairs_are_the_pairs(aod):
    nested = aod[0].collisions.tracks
    blocks = list(pair_blocks(nested, max_rows=100))
    assert len(blocks) > 3
    np.testing.assert_array_equal(np.concatenate([b.mass(0.14) for b in blocks]), pairs(nested).mass(0.14))
    np.testing.assert_array_equal(np.concatenate([b.groups[0] for b in blocks]), pairs(nested).groups[0])


def test_blocks_of_pairs_of_two_tables_are_their_pairs(aod):
    nested = aod[0].collisions.tracks
    positive, negative = nested[nested.sign() > 0], nested[nested.sign() < 0]
    blocks, whole = list(pair_blocks(positive, negative, max_rows=50)), pairs(positive, negative)
    assert len(blocks) > 3 and all(len(b) <= 50 for b in blocks)
    for i in (0, 1):
        np.testing.assert_array_equal(np.concatenate([b.indices[i] for b in blocks]), whole.indices[i])
        np.testing.assert_array_equal(np.concatenate([b.groups[i] for b in blocks]), whole.groups[i])
    np.testing.assert_array_equal(np.concatenate([b.mass(0.14) for b in blocks]), whole.mass(0.14))
    np.testing.assert_array_equal(whole.first.collisionId(), whole.second.collisionId())
    np.testing.assert_array_equal(whole.first.collisionId(), whole.groups[0])
    with pytest.raises(ShapeError, match="as many groups in both, got 20, 1"):
        list(pair_blocks(positive, aod[0].tracks))


def test_selected_combinations_keep_their_masses_and_groups(aod):
    found = pairs(aod[0].collisions.tracks)
    some = found[found.first.pt() > found.second.pt()]
    is_some = found.first.pt() > found.second.pt()
    np.testing.assert_array_equal(some.mass(0.14), found.mass(0.14)[is_some])
    np.testing.assert_array_equal(some.groups[1], found.groups[1][is_some])
    again = pickle.loads(pickle.dumps(some))
    np.testing.assert_array_equal(again.mass(0.14), some.mass(0.14))


def test_blocks_of_triples_are_the_triples(aod):
    nested = aod[0].collisions.tracks
    blocks, whole = list(triple_blocks(nested, max_rows=500)), triples(nested)
    assert len(blocks) > 3
    np.testing.assert_array_equal(np.concatenate([b.mass(0.14) for b in blocks]), whole.mass(0.14))
    np.testing.assert_array_equal(np.concatenate([b.groups[2] for b in blocks]), whole.groups[2])


def test_masses_need_one_hypothesis_or_one_per_member(aod):
    found = pairs(aod[0].tracks[:4])
    with pytest.raises(ConfigError, match=r"one per member \(2\), got 3"):
        found.mass(0.1, 0.2, 0.3)
