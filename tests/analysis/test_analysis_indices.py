"""Arithmetic on rows against plain loops."""

import itertools

import awkward as ak
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.analysis import indices

few = settings(max_examples=40, deadline=None)
slices = st.slices(12)


@few
@given(slices, st.one_of(slices, st.lists(st.booleans(), min_size=12, max_size=12)))
def test_picking_twice_is_picking_once_what_numpy_picks(first, second):
    rows = indices.pick(slice(30, 42), first)
    plain = np.arange(30, 42)[first]
    if isinstance(second, list):
        second = np.array(second[: len(plain)], bool)
    np.testing.assert_array_equal(indices.to_array(indices.pick(rows, second)), plain[second])
    assert indices.n_of(rows) == len(plain)


@few
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 4)), max_size=12))
def test_expanded_ranges_are_the_ranges_one_after_the_other(ranges):
    starts, counts = np.array(ranges, np.int64).reshape(-1, 2).T
    offsets, rows = indices.expand(starts, counts)
    want = [list(range(s, s + c)) for s, c in ranges]
    rows = indices.to_array(rows)
    assert [rows[a:b].tolist() for a, b in itertools.pairwise(offsets)] == want


@few
@given(st.lists(st.integers(-1, 5), max_size=30), st.booleans(), st.lists(st.integers(0, 5), max_size=6))
def test_groups_hold_the_rows_of_each_parent_in_stored_order(ids, is_sorted, parents):
    ids = np.array(sorted(ids) if is_sorted else ids, np.int32)
    grouping = indices.group(ids, 6)
    offsets, rows = grouping.of(np.array(parents, np.int64))
    rows = indices.to_array(rows)
    want = [np.flatnonzero(ids == p).tolist() for p in parents]
    assert [rows[a:b].tolist() for a, b in itertools.pairwise(offsets)] == want
    assert (grouping.order is None) or not is_sorted


nested = st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=4)), max_size=6)


@few
@given(nested)
def test_splitting_and_wrapping_is_identity(values):
    array = ak.values_astype(ak.Array(values), np.int64) if values else ak.Array(np.zeros(0, np.int64))
    flat, levels = indices.split(array)
    assert ak.to_list(indices.wrap(flat, levels)) == values


def test_a_block_without_parent_in_front_leaves_slices():
    grouping = indices.group(np.array([-1, -1, 0, 0, 2]), 3)
    assert grouping.order is None
    offsets, rows = grouping.of(slice(0, 3))
    assert offsets.tolist() == [0, 2, 2, 3]
    assert rows == slice(2, 5)


@few
@given(st.lists(st.integers(0, 4), max_size=8), st.randoms(use_true_random=False))
def test_a_mask_of_the_same_lists_leaves_what_awkward_leaves(counts, random):
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    mask = np.array([random.random() < 0.5 for _ in range(offsets[-1])], bool)
    level = indices.ListLevel(offsets)
    nested = indices.wrap(mask, (level,))
    kept, (left,) = indices.mask_of_lists(nested, (level,))
    np.testing.assert_array_equal(kept, np.flatnonzero(mask))
    assert indices.wrap(kept, (indices.ListLevel(left),)).tolist() == (
        indices.wrap(np.arange(offsets[-1]), (level,))[nested].tolist()
    )


def test_other_selections_than_masks_of_the_same_lists_are_left_to_awkward():
    level = indices.ListLevel(np.array([0, 2, 3]))
    for item in (
        np.array([True, False]),
        ak.Array([[True], [True, False]]),  # other lists
        ak.Array([[True, None], [True]]),
        ak.Array([[0, 1], [0]]),
        slice(1),
    ):
        assert indices.mask_of_lists(item, (level,)) is None
    assert indices.mask_of_lists(ak.Array([[True, True], [True]]), (level, level)) is None
