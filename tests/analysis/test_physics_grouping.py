"""Slices by index columns, sorted and not, against masks; overlays."""

import pickle

import awkward as ak
import numpy as np
import pytest

from o2dask.analysis.errors import UnknownNameError
from o2dask.analysis.physics.grouping import Preslice, group_by, per_event_sum, slice_by
from o2dask.analysis.physics.overlay import overlay
from o2dask.errors import DataError, ShapeError


def test_slices_by_a_sorted_index_are_views(aod):
    tracks = aod[0].tracks
    preslice = Preslice(tracks, "collisionId")
    assert preslice.is_sorted
    for collision in aod[0].collisions:
        wanted = tracks.pt()[tracks.collisionId() == collision.globalIndex()]
        np.testing.assert_array_equal(preslice[collision].pt(), wanted)
        np.testing.assert_array_equal(slice_by(tracks, "collisionId", collision).pt(), wanted)
    assert np.shares_memory(preslice[5].signed1Pt(), tracks.signed1Pt())


def test_slices_by_an_unsorted_index_keep_stored_order(aod):
    tracks = aod[0].tracks
    preslice = Preslice(tracks, "mcParticleId")
    assert not preslice.is_sorted
    ids = tracks.mcParticleId()
    for particle in np.unique(ids[ids >= 0])[:20]:
        np.testing.assert_array_equal(preslice[int(particle)].globalIndex(), np.flatnonzero(ids == particle))


def test_selected_tracks_are_grouped_by_selected_collisions(aod):
    tracks, collisions = aod[0].tracks, aod[0].collisions[::3]
    chosen = tracks[tracks.sign() > 0]
    grouped = group_by(chosen, "collisionId", collisions)
    assert len(grouped) == len(collisions)
    for collision, rows in zip(collisions, grouped.globalIndex(), strict=True):
        mask = (tracks.collisionId() == collision.globalIndex()) & (tracks.sign() > 0)
        assert rows.tolist() == np.flatnonzero(mask).tolist()


def test_unsorted_rows_are_grouped_as_well(aod):
    tracks = aod[0].tracks
    shuffled = tracks[np.random.default_rng(1).permutation(len(tracks))]
    grouped = group_by(shuffled, "collisionId", aod[0].collisions).globalIndex()
    assert ak.sort(grouped).tolist() == aod[0].collisions.tracks.globalIndex().tolist()


def test_what_nobody_points_to_has_an_empty_slice(aod):
    preslice = Preslice(aod[0].tracks, "collisionId")
    assert len(preslice[10**6]) == 0 and len(preslice[-1]) == 0


def test_a_column_that_is_no_index_is_refused(aod):
    with pytest.raises(ShapeError, match="want an index column"):
        Preslice(aod[0].tracks, "pt")


def test_sums_per_event_leave_out_rows_of_none():
    ids = np.array([2, -1, 0, 2])
    assert per_event_sum(ids, 4).tolist() == [1, 0, 2, 0]
    assert per_event_sum(ids, 4, np.array([1.5, 9, 2, 3])).tolist() == [2, 0, 4.5, 0]
    with pytest.raises(DataError, match="below 2, got 2"):
        per_event_sum(ids, 2)


def test_made_columns_join_stored_ones_and_indices_work_across(aod):
    df = aod[0]
    n = len(df.tracksIU)
    made = overlay(df, {"O2mine": {"fWeight": np.arange(n)}}, beside={"O2mine": "O2track_iu"})
    assert made.tracks.weight()[3] == 3
    assert made.tracks[made.tracks.weight() > n - 3].collision() is not None
    np.testing.assert_array_equal(made.collisions.tracks[4].weight(), df.collisions.tracks[4].globalIndex())
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.tracks.weight(), made.tracks.weight())


def test_made_tables_replace_stored_ones(aod):
    df = aod[0]
    columns = {
        name: df["O2collision_001"][name] for name in df["O2collision_001"]._group.frame.columns("O2collision_001")
    }
    made = overlay(df, {"O2collision_001": columns | {"fPosZ": np.full(len(df.collisions), 7.0, np.float32)}})
    assert (made.collisions.posZ() == 7).all()
    assert (df.collisions.posZ() != 7).any()


def test_columns_that_do_not_fit_are_refused(aod):
    with pytest.raises(ShapeError, match="share the row number"):
        overlay(aod[0], {"O2mine": {"fWeight": np.zeros(3)}}, beside={"O2mine": "O2track_iu"})
    with pytest.raises(ShapeError, match="equal length"):
        overlay(aod[0], {"O2mine": {"fA": np.zeros(3), "fB": np.zeros(4)}})
    with pytest.raises(UnknownNameError, match="to join"):
        overlay(aod[0], {"O2mine": {"fA": np.zeros(3)}}, beside={"O2mine": "O2tracks"})
