"""Indices, both ways: arithmetic on rows against plain loops, and where indices of tables lead."""

import itertools

import awkward as ak
import numpy as np
from aod_samples import CORE, TRACK, random_dataframe, write
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


def test_an_index_gives_the_rows_it_points_to_and_none_for_minus_one(aod, dataframes):
    tracks, ids = aod[0].tracks, dataframes[0][TRACK]["fIndexCollisions"]
    pos_z = dataframes[0]["O2collision_001"]["fPosZ"]
    assert (ids < 0).any()
    want = [None if i < 0 else pos_z[i] for i in ids]
    assert tracks.collision().posZ().to_list() == want
    for i in (0, len(ids) - 1):
        collision = tracks[i].collision()
        assert (None if collision is None else collision.posZ()) == want[i]
    np.testing.assert_array_equal(tracks.has_collision(), ids >= 0)
    assert tracks[0].has_collision() == (ids[0] >= 0)


def test_indices_follow_each_other(aod, dataframes):
    bc = dataframes[0]["O2bc_001"]["fGlobalBC"]
    collision_ids, bc_ids = dataframes[0][TRACK]["fIndexCollisions"], dataframes[0]["O2collision_001"]["fIndexBCs"]
    want = [None if i < 0 or bc_ids[i] < 0 else bc[bc_ids[i]] for i in collision_ids]
    assert aod[0].tracks.collision().bc().globalBC().to_list() == want
    row = aod[0].tracks[-1]
    assert row.collision().bc().globalBC() == want[-1]
    assert aod[0].tracks[150:].collision().bc().globalBC().to_list() == want[150:]


def test_a_label_leads_from_the_track_to_its_particle_and_its_collision(aod, dataframes):
    labels = dataframes[0]["O2mctracklabel"]["fIndexMcParticles"]
    pdg = dataframes[0]["O2mcparticle_001"]["fPdgCode"]
    assert aod[0].tracks.mcParticle().pdgCode().to_list() == [None if i < 0 else pdg[i] for i in labels]
    of_particle = dataframes[0]["O2mcparticle_001"]["fIndexMcCollisions"]
    weights = dataframes[0]["O2mccollision_001"]["fWeight"]
    want = [None if i < 0 or of_particle[i] < 0 else weights[of_particle[i]] for i in labels]
    assert aod[0].tracks.mcParticle().mcCollision().weight().to_list() == want


def test_mothers_are_a_list_and_daughters_an_inclusive_slice(aod, dataframes):
    particles, columns = aod[0].mcParticles, dataframes[0]["O2mcparticle_001"]
    mothers, slices, px = columns["fIndexArray_Mothers"], columns["fIndexSlice_Daughters"], columns["fPx"]
    want_mothers = [px[mothers.content[a:b]].tolist() for a, b in itertools.pairwise(mothers.offsets)]
    want_daughters = [[] if a < 0 else px[a : b + 1].tolist() for a, b in slices]
    assert particles.mothers().px().to_list() == want_mothers
    assert particles.daughters().px().to_list() == want_daughters
    assert particles.has_mothers().tolist() == [len(m) > 0 for m in want_mothers]
    assert particles.has_daughters().tolist() == [len(d) > 0 for d in want_daughters]
    i = max(range(len(px)), key=lambda i: len(want_mothers[i]) + len(want_daughters[i]))
    assert [mother.px() for mother in particles[i].mothers()] == want_mothers[i]
    np.testing.assert_array_equal(particles[i].daughters().px(), np.array(want_daughters[i], np.float32))
    first = particles[i].mothers()[0]
    assert first == particles[int(mothers.content[mothers.offsets[i]])]
    assert {first, particles[first.globalIndex()]} == {first}


def test_collisions_group_their_tracks(aod, dataframes):
    collisions, ids = aod[0].collisions, dataframes[0][TRACK]["fIndexCollisions"]
    pt = aod[0].tracks.pt()
    want = [pt[ids == i].tolist() for i in range(len(collisions))]
    assert collisions.tracks.pt().to_list() == want
    assert ak.num(collisions.tracks.pt()).to_list() == [len(w) for w in want]
    for i in (0, 3, len(collisions) - 1):
        flat = collisions[i].tracks
        assert isinstance(flat.pt(), np.ndarray)
        assert flat.pt().tolist() == want[i]
        assert collisions.tracks[i].pt().tolist() == want[i]
        assert [track.collision() for track in flat] == [collisions[i]] * len(flat)


def test_grouping_follows_a_selection_of_collisions(aod, dataframes):
    ids = dataframes[0][TRACK]["fIndexCollisions"]
    chosen = [7, 2, 2, 11]
    snp = dataframes[0][TRACK]["fSnp"]
    assert aod[0].collisions[chosen].tracks.snp().to_list() == [snp[ids == i].tolist() for i in chosen]


def test_rows_that_are_not_sorted_by_their_parent_are_grouped_all_the_same(aod, dataframes):
    labels, snp = dataframes[0]["O2mctracklabel"]["fIndexMcParticles"], dataframes[0][TRACK]["fSnp"]
    assert (np.diff(labels) < 0).any()
    want = [snp[labels == i].tolist() for i in range(len(aod[0].mcParticles))]
    assert aod[0].mcParticles.tracks.snp().to_list() == want


def test_grouped_tracks_are_cut_with_jagged_masks(aod, dataframes):
    ids, pt = dataframes[0][TRACK]["fIndexCollisions"], aod[0].tracks.pt()
    tracks = aod[0].collisions.tracks
    hard = tracks[tracks.pt() > 0.5]
    assert hard.pt().to_list() == [[v for v in pt[ids == i].tolist() if v > 0.5] for i in range(len(tracks))]
    assert hard[2].pt().tolist() == [v for v in pt[ids == 2].tolist() if v > 0.5]
    leading = tracks[ak.argmax(tracks.pt(), axis=1, keepdims=True)]
    want = [max(pt[ids == i], default=0) for i in range(len(tracks))]
    assert ak.fill_none(ak.firsts(leading.pt()), 0).to_list() == want


def test_a_mask_with_missing_values_selects_nothing_there(aod, dataframes):
    tracks = aod[0].tracks
    near = tracks[tracks.collision().posZ() > 0]
    ids, pos_z = dataframes[0][TRACK]["fIndexCollisions"], dataframes[0]["O2collision_001"]["fPosZ"]
    np.testing.assert_array_equal(near.globalIndex(), [k for k, i in enumerate(ids) if i >= 0 and pos_z[i] > 0])


def test_particles_of_grouped_tracks_keep_lists_and_gaps(aod, dataframes):
    ids, labels = dataframes[0][TRACK]["fIndexCollisions"], dataframes[0]["O2mctracklabel"]["fIndexMcParticles"]
    pdg = dataframes[0]["O2mcparticle_001"]["fPdgCode"]
    got = aod[0].collisions.tracks.mcParticle()
    want = [[None if j < 0 else pdg[j] for j in labels[ids == i]] for i in range(len(aod[0].collisions))]
    assert got.pdgCode().to_list() == want
    assert got[4].pdgCode().to_list() == want[4]


def test_v0s_lead_to_their_daughters_by_name(tmp_path):
    frame = write(tmp_path, random_dataframe(1, 40, (*CORE, "O2v0_002", "O2cascade_001")))
    ids = frame.v0s.posTrackId()
    want = [None if i < 0 else frame.tracks.pt()[i] for i in ids]
    assert frame.v0s.posTrack().pt().to_list() == want
    assert len(frame.collisions.v0s) == len(frame.collisions)
    assert "cascades" not in dir(frame.tracks)  # a bachelor is no parent
    assert "cascades" in dir(frame.v0s)
