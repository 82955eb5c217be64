"""Slices by index columns, sorted and not, against masks; overlays."""

import pickle

import awkward as ak
import numpy as np
import pytest

from o2dask.analysis import open_aod
from o2dask.analysis.errors import UnknownNameError
from o2dask.analysis.overlays import overlay
from o2dask.analysis.physics.grouping import group_by, per_event_sum, slice_by
from o2dask.aod.model import tables
from o2dask.aod.store import Store, commit_dataframe
from o2dask.columns import Columns
from o2dask.errors import DataError, ShapeError


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


def test_rows_by_an_unsorted_index_keep_stored_order(aod):
    tracks, particles = aod[0].tracks, aod[0].mcParticles
    ids = tracks.mcParticleId()
    assert (np.diff(ids) < 0).any()
    for particle, rows in enumerate(group_by(tracks, "mcParticleId", particles).globalIndex()):
        assert rows.tolist() == np.flatnonzero(ids == particle).tolist()


def test_all_tracks_by_collision_are_what_the_collisions_say(aod):
    grouped = group_by(aod[0].tracks, "collisionId", aod[0].collisions)
    assert grouped.pt().tolist() == aod[0].collisions.tracks.pt().tolist()
    one = slice_by(aod[0].tracks, "collisionId", aod[0].collisions[3])
    assert one.pt().tolist() == grouped.pt()[3].tolist()


def test_selections_of_one_table_do_not_share_a_grouping(aod):
    tracks, collisions = aod[0].tracks, aod[0].collisions
    every, some = (group_by(t, "collisionId", collisions) for t in (tracks, tracks[tracks.sign() > 0]))
    assert ak.count(some.pt()) < ak.count(every.pt())


def test_parents_beyond_the_last_one_with_rows_have_empty_lists(aod):
    tracks, collisions = aod[0].tracks, aod[0].collisions
    some = tracks[tracks.collisionId() < 4]
    assert len(slice_by(some, "collisionId", 2))  # groups up to the fourth collision only
    grouped = group_by(some, "collisionId", collisions)
    assert len(grouped) == len(collisions)
    assert ak.num(grouped.pt()).tolist()[4:] == [0] * (len(collisions) - 4)
    assert grouped.pt().tolist()[:4] == collisions.tracks.pt().tolist()[:4]


def test_a_grouping_that_was_kept_grows_with_the_parents_asked_for(aod):
    from o2dask.analysis.slicing import grouped_by

    tracks = aod[0].tracks[aod[0].tracks.collisionId() < 4]
    getter = tracks.getters["collisionId"]
    few, many, again = (grouped_by(tracks, getter, n) for n in (-1, 20, 5))
    assert (len(few.counts), len(many.counts), len(again.counts)) == (4, 20, 20)
    np.testing.assert_array_equal(
        many.counts, np.bincount(tracks.collisionId()[tracks.collisionId() >= 0], minlength=20)
    )


def test_a_column_that_is_no_index_is_refused(aod):
    with pytest.raises(UnknownNameError, match="has no index 'pt'"):
        group_by(aod[0].tracks, "pt", aod[0].collisions)


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


def test_an_overlay_over_an_overlay_keeps_what_was_joined_below(aod):
    df = aod[0]
    n = len(df.tracksIU)
    first = overlay(df, {"O2mine": {"fWeight": np.arange(n)}}, beside={"O2mine": "O2track_iu"})
    second = overlay(first, {"O2yours": {"fFactor": np.arange(n) * 2}}, beside={"O2yours": "O2track_iu"})
    np.testing.assert_array_equal(second.tracks.factor(), 2 * second.tracks.weight())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(second)).tracks.weight(), np.arange(n))
    shorter = {name: df["O2track_iu"][name][:7] for name in df.columns("O2track_iu")}
    replaced = overlay(first, {"O2track_iu": shorter})
    assert len(replaced.tracks) == 7 and "weight" not in replaced.tracks.getters


def test_tables_added_to_an_overlay_hide_stored_ones_and_what_was_known_of_them(aod):
    df = aod[0]
    made = overlay(df, {})
    before = made.collisions.tracks[0].pt()
    assert len(before) and (made.run, made.first_orbit) == (df.run, df.first_orbit)
    columns = {name: df["O2track_iu"][name] for name in df.columns("O2track_iu")}
    made.add("O2track_iu", columns | {"fIndexCollisions": np.full(len(df.tracksIU), -1, np.int32)})
    assert len(made.collisions.tracks[0]) == 0
    with pytest.raises(ShapeError, match="equal length"):
        made.add("O2mine", {"fA": np.zeros(3), "fB": np.zeros(2)})


def test_an_overlay_reads_no_more_of_what_is_stored_than_the_dataframe(tmp_path, aod):
    store = Store(tmp_path)
    n, schema = 400_000, tables()["O2track_iu"].schema
    columns = Columns(schema, {c.name: np.arange(n).astype(c.dtype) for c in schema.columns})
    commit_dataframe(store, 1, {"O2track_iu": columns}, {})
    (df,) = open_aod(tmp_path)
    made = overlay(df, {"O2mine": {"fWeight": np.arange(n)}}, beside={"O2mine": "O2track_iu"})
    assert len(made.row_groups("O2track_iu")) > 4 and made.row_groups("O2mine").tolist() == [0, n]
    some = made.tracks[n - 10 :]
    np.testing.assert_array_equal(some.x(), some.weight())
    assert not df.is_loaded("O2track_iu", "fX")
    assert made.limits("O2mine", "fWeight") is None and made.limits("O2track_iu", "fX")[1][-1] == n - 1
