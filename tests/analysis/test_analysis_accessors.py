"""What a physicist writes, on a small AOD of random but valid tables, against the arrays that went in."""

import inspect
import itertools
import pickle
import pydoc
import re

import awkward as ak
import numpy as np
import pytest
from aod_samples import CORE, random_dataframe

import o2dask as o2
from o2dask.analysis import Row, Table, open_aod
from o2dask.analysis.errors import RowError, UnknownColumnError, UnknownNameError
from o2dask.aod.store import Store, commit_dataframe
from o2dask.columns import Columns
from o2dask.errors import ConfigError, DataError

TRACK = "O2track_iu"


def write(folder, dataframe, number=1):
    """Write one dataframe as it is, relations unchecked, and open it."""
    commit_dataframe(Store(folder), number, dataframe, {})
    return open_aod(folder)[0]


def replaced(columns: Columns, **arrays) -> Columns:
    return Columns(columns.schema, dict(columns) | arrays)


# Opening


def test_an_aod_has_its_dataframes_by_number_and_each_lists_its_tables(aod):
    assert len(aod) == 3
    assert aod[0].tables == CORE
    assert [frame.label for frame in aod] == [f"DF_{(500000 << 32) + 32 * i}" for i in range(3)]
    assert aod[-1].label == aod[2].label
    assert [frame.label for frame in aod[1:]] == [aod[1].label, aod[2].label]


def test_a_dataframe_that_is_not_there_is_an_index_error(aod):
    with pytest.raises(RowError, match="dataframe 3: this AOD has 3"):
        aod[3]
    assert issubclass(RowError, IndexError)


def test_open_aod_is_found_on_the_package_itself(aod_folder):
    assert len(o2.open_aod(aod_folder)) == 3


def test_a_stored_column_is_found_by_its_names_in_the_file(aod, dataframes):
    for tree in CORE:
        for name in dataframes[0][tree].schema.names:
            want = dataframes[0][tree][name]
            got = aod[0][tree][name]
            if isinstance(want, np.ndarray):
                np.testing.assert_array_equal(got, want)
            else:
                assert ak.flatten(got).to_list() == want.content.tolist()
                assert ak.num(got).to_list() == np.diff(want.offsets).tolist()


def test_a_wrong_table_or_column_is_an_error_that_says_what_comes_close(aod):
    with pytest.raises(UnknownColumnError, match=r"stores no 'O2track'; did you mean O2track_iu"):
        aod[0]["O2track"]
    with pytest.raises(UnknownColumnError, match=r"no stored column 'fAlfa'; did you mean fAlpha"):
        aod[0][TRACK]["fAlfa"]
    with pytest.raises(UnknownNameError, match=r"has no table 'trakcs'; did you mean tracks"):
        aod[0].trakcs  # noqa: B018
    with pytest.raises(UnknownNameError, match=r"has no 'tpcNClusters'; did you mean .*tpcNCls"):
        aod[0].tracks.tpcNClusters  # noqa: B018


# Getters


def test_tracks_join_the_tables_that_share_the_row_number(aod, dataframes):
    tracks = aod[0].tracks
    assert len(tracks) == 200
    np.testing.assert_array_equal(tracks.snp(), dataframes[0][TRACK]["fSnp"])
    np.testing.assert_array_equal(tracks.sigmaY(), dataframes[0]["O2trackcov_iu"]["fSigmaY"])
    np.testing.assert_array_equal(tracks.tpcSignal(), dataframes[0]["O2trackextra_001"]["fTPCSignal"])
    np.testing.assert_array_equal(tracks.mcParticleId(), dataframes[0]["O2mctracklabel"]["fIndexMcParticles"])
    np.testing.assert_allclose(tracks.pt(), 1 / np.abs(dataframes[0][TRACK]["fSigned1Pt"]), rtol=1e-6)


def test_every_stored_column_of_the_core_tables_has_its_getter_of_the_model(aod):
    from o2dask.aod.model import tables

    for tree in CORE:
        for column in tables()[tree].columns:
            assert len(getattr(aod[0][tree], column.getter)()) == aod[0].n_rows(tree)


def test_getters_with_arguments_take_them_by_position_and_by_name(aod):
    tracks = aod[0].tracks
    np.testing.assert_array_equal(tracks.energy(0.5), tracks.energy(m=0.5))
    np.testing.assert_allclose(tracks.energy(0.5), np.hypot(tracks.p(), 0.5), rtol=1e-6)
    with pytest.raises(TypeError, match="missing a required argument: 'm'"):
        tracks.energy()
    with pytest.raises(TypeError, match="too many positional arguments"):
        tracks.pt(3)


def test_help_and_completion_show_what_there_is(aod):
    tracks = aod[0].tracks
    text = pydoc.plain(pydoc.render_doc(tracks.pt))
    assert "pt()" in text
    assert "[GeV/c]" in text
    assert "1/|signed1Pt|" in text
    assert str(inspect.signature(tracks.energy)) == "(m)"
    assert {"pt", "tpcNClsFound", "collision", "has_collision", "globalIndex"} <= set(dir(tracks))
    assert {"pt", "collision"} <= set(dir(tracks[0]))
    assert {"tracks", "collisions", "mcParticles"} <= set(dir(aod[0]))
    assert {"tracks", "collisions", "mcParticles"} <= set(dir(aod))
    assert {"tracks", "posZ"} <= set(dir(aod[0].collisions))


def test_every_getter_has_a_text_that_says_where_it_comes_from(aod):
    for name in aod[0].group_names:
        for getter in aod[0].group(name).getters.values():
            assert getter.text.split("\n")[0].endswith("."), getter
            assert getter.kind == "row" or getter.tree in getter.text


def test_no_getter_hides_behind_a_name_of_the_table_itself():
    from o2dask.analysis.getters import getters_of
    from o2dask.aod.model import tables

    for model in tables().values():
        names = getters_of(model.tree, tuple(c.name for c in model.columns))
        assert not names.keys() & set(dir(Table)), model.tree
        assert not names.keys() & set(dir(Row)), model.tree


# Rows and selections


def test_a_row_gives_the_scalars_that_the_arrays_hold(aod):
    tracks = aod[0].tracks
    for i in (0, 7, -1):
        assert tracks[i].pt() == tracks.pt()[i]
        assert np.ndim(tracks[i].pt()) == 0
        assert tracks[i].energy(0.1) == tracks.energy(0.1)[i]
        assert tracks[i]["fX"] == tracks["fX"][i]
    np.testing.assert_array_equal(tracks[3].pVector(), tracks.pVector()[3])
    assert tracks[5].globalIndex() == 5
    assert [track.sign() for track in tracks[:4]] == tracks.sign()[:4].tolist()


def test_a_row_that_is_not_there_is_an_index_error(aod):
    with pytest.raises(RowError, match=r"row 200 of tracks in DF_.*: it has 200 rows"):
        aod[0].tracks[200]


@pytest.mark.parametrize(
    "item",
    [slice(2, 5), slice(None, None, 3), slice(10, 2, -2), slice(300, 400), slice(-5, None), [3, 1, -1], []],
    ids=str,
)
def test_a_selection_gives_what_numpy_gives(aod, item):
    tracks = aod[0].tracks
    plain = item if isinstance(item, slice) else np.array(item, int)
    np.testing.assert_array_equal(tracks[item].pt(), tracks.pt()[plain])
    np.testing.assert_array_equal(tracks[item].globalIndex(), np.arange(200)[plain])


def test_selections_of_selections_add_up(aod):
    tracks = aod[0].tracks
    cut = tracks[tracks.pt() > 0.3]
    again = cut[cut.eta() < 0][1:][::-1]
    both = np.flatnonzero((tracks.pt() > 0.3) & (tracks.eta() < 0))
    np.testing.assert_array_equal(again.globalIndex(), both[1:][::-1])
    np.testing.assert_array_equal(again.tpcSignal(), tracks.tpcSignal()[both[1:][::-1]])


def test_a_mask_of_another_length_is_refused(aod):
    with pytest.raises(RowError, match="want one bool per row, 200, got 3"):
        aod[0].tracks[np.array([True, False, True])]
    with pytest.raises(RowError, match="row numbers 0 to 200: the table has 200 rows"):
        aod[0].tracks[[0, 200]]
    with pytest.raises(RowError, match="want a mask or row numbers, got float64"):
        aod[0].tracks[np.array([0.5])]


def test_an_empty_dataframe_has_empty_columns(aod):
    tracks = aod[1].tracks
    assert len(tracks) == 0
    assert tracks.pt().shape == (0,)
    assert len(tracks.collision().posZ()) == 0
    assert len(aod[1].collisions.tracks) == 0
    assert list(aod[1].collisions) == []


# Indices, both ways


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


# Laziness


def test_only_the_columns_of_a_getter_are_read_and_only_once(aod, monkeypatch):
    read = []
    kind = type(aod[0].stored)
    original = kind.read

    def counted(self, tree, columns=None):
        read.append((tree, *columns))
        return original(self, tree, columns)

    monkeypatch.setattr(kind, "read", counted)
    tracks = aod[0].tracks
    dir(tracks)
    assert read == []
    tracks.pt()
    assert read == [(TRACK, "fSigned1Pt")]
    tracks[tracks.pt() > 1].pt()
    aod[0].tracks[3].pt()
    assert read == [(TRACK, "fSigned1Pt")]
    tracks.px()
    assert read[1:] == [(TRACK, "fSnp", "fAlpha")]
    tracks.hasTOF()
    assert read[2][0] == "O2trackextra_001"
    assert set(read[2][1:]) == {"fITSClusterSizes", "fTPCNClsFindable", "fTRDPattern", "fTOFChi2", "fTOFExpMom"}
    assert len(read) == 3


def test_columns_of_a_plain_table_and_of_neighbouring_rows_are_views(aod):
    tracks = aod[0].tracks
    assert np.shares_memory(tracks.snp(), aod[0].tracks.snp())
    assert np.shares_memory(tracks[20:50].snp(), tracks.snp())
    grouped = ak.to_layout(aod[0].collisions.tracks.snp())
    assert np.shares_memory(np.asarray(grouped.content.data), tracks.snp())


def test_memory_stays_flat_over_a_long_list(aod_folder):
    import weakref

    aod = open_aod([aod_folder] * 4)
    frames = []
    for frame in aod:
        frame.tracks.pt()
        frames.append(weakref.ref(frame))
    del frame
    import gc

    gc.collect()
    assert sum(ref() is not None for ref in frames) == 4
    assert len(frames) == 12


# All dataframes as one


def test_tables_of_all_dataframes_are_one_after_the_other(aod, dataframes):
    parts = [frame.tracks.pt() for frame in aod]
    np.testing.assert_array_equal(aod.tracks.pt(), np.concatenate(parts))
    assert len(aod.tracks) == sum(len(frame.tracks) for frame in aod)


def test_indices_over_all_dataframes_lead_to_the_same_rows(aod):
    def over(get):
        return ak.concatenate([get(frame) for frame in aod]).to_list()

    assert aod.tracks.collision().posZ().to_list() == over(lambda f: f.tracks.collision().posZ())
    assert aod.mcParticles.mothers().px().to_list() == over(lambda f: f.mcParticles.mothers().px())
    assert aod.mcParticles.daughters().px().to_list() == over(lambda f: f.mcParticles.daughters().px())
    assert aod.collisions.tracks.snp().to_list() == over(lambda f: f.collisions.tracks.snp())
    bcs = over(lambda f: f.tracks.collision().bc().globalBC())
    assert aod.tracks.collision().bc().globalBC().to_list() == bcs


def test_a_table_missing_in_one_dataframe_is_named_when_it_is_needed(tmp_path):
    whole = random_dataframe(1, 50)
    part = random_dataframe(2, 50, tuple(tree for tree in CORE if tree != "O2mctracklabel"))
    for number, dataframe in ((1, whole), (2, part)):
        commit_dataframe(Store(tmp_path), number, dataframe, {})
    aod = open_aod(tmp_path)
    assert len(aod.tracks.pt()) == 100
    with pytest.raises(DataError, match="mcParticle: O2mctracklabel in DF_2 has 0 rows, O2track_iu has 50"):
        aod.tracks.mcParticle()


def test_a_stored_column_of_all_dataframes_is_found_by_its_names(aod, dataframes):
    want = np.concatenate([dataframe[TRACK]["fX"] for dataframe in dataframes])
    np.testing.assert_array_equal(aod[TRACK]["fX"], want)


def test_what_is_sent_to_a_worker_are_names_and_rows_and_no_columns(aod):
    tracks = aod[0].tracks
    cut = tracks[tracks.pt() > 0.5]
    cut.px()
    there = pickle.loads(pickle.dumps(cut))
    assert there._group.frame._cache == {}
    np.testing.assert_array_equal(there.px(), cut.px())
    assert (
        pickle.loads(pickle.dumps(aod[0].collisions.tracks)).pt().to_list() == aod[0].collisions.tracks.pt().to_list()
    )
    assert pickle.loads(pickle.dumps(tracks[3])).pt() == tracks[3].pt()
    assert len(pickle.dumps(aod)) < 5000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(aod)).tracks.pt(), aod.tracks.pt())


def test_a_dataframe_knows_its_run_and_first_orbit(aod):
    assert [(frame.run, frame.first_orbit) for frame in aod] == [(500000, 0), (500000, 32), (500000, 64)]


# Versions, other tables


def test_the_newest_version_wins_and_older_ones_keep_their_number(tmp_path):
    frame = write(tmp_path, random_dataframe(1, 40, (*CORE, "O2trackextra", "O2collision")))
    assert frame.tracks.itsClusterSizes().dtype == np.uint32
    assert "O2trackextra" not in repr(frame.tracks).replace("O2trackextra_001", "")
    assert len(frame.tracksExtra_000.itsNCls()) == 40
    assert frame["O2trackextra"].itsClusterMap().dtype == np.uint8
    assert len(frame.collisions_000.posX()) == 4


def test_propagated_tracks_are_meant_by_tracks_where_they_are_stored(tmp_path):
    frame = write(tmp_path, random_dataframe(1, 40, (*CORE, "O2track", "O2trackcov")))
    np.testing.assert_array_equal(frame.tracks.snp(), frame["O2track"]["fSnp"])
    np.testing.assert_array_equal(frame.tracks.sigmaY(), frame["O2trackcov"]["fSigmaY"])
    np.testing.assert_array_equal(frame.tracksIU.snp(), frame["O2track_iu"]["fSnp"])
    np.testing.assert_array_equal(frame.tracksIU.sigmaY(), frame["O2trackcov_iu"]["fSigmaY"])
    assert len(frame.tracks.tpcSignal()) == len(frame.tracksIU.tpcSignal()) == 40


def test_a_version_newer_than_the_model_keeps_the_formulas_it_has_columns_for(tmp_path):
    from o2dask.columns import Column, Schema

    dataframe = random_dataframe(1, 40)
    old = dataframe.pop("O2trackextra_001")
    extra = Column(name="fTPCNClsFindableMinusPID", dtype="int8")
    schema = Schema("AOD/TRACKEXTRA", (*old.schema.columns, extra), 2)
    dataframe["O2trackextra_002"] = Columns(schema, dict(old) | {extra.name: np.arange(40, dtype=np.int8)})
    tracks = write(tmp_path, dataframe).tracks
    assert tracks.tpcNClsFindableMinusPID().tolist() == list(range(40))
    assert len(tracks.tpcNClsFound()) == 40


def test_names_are_found_in_any_spelling(aod):
    frame = aod[0]
    for name in ("mcParticles", "mcparticles", "mc_particles", "mcparticle", "McParticles"):
        assert len(getattr(frame, name)) == 400
    for name in ("track_iu", "tracksIU", "tracks"):
        assert len(getattr(frame, name)) == 200


def test_v0s_lead_to_their_daughters_by_name(tmp_path):
    frame = write(tmp_path, random_dataframe(1, 40, (*CORE, "O2v0_002", "O2cascade_001")))
    ids = frame.v0s.posTrackId()
    want = [None if i < 0 else frame.tracks.pt()[i] for i in ids]
    assert frame.v0s.posTrack().pt().to_list() == want
    assert len(frame.collisions.v0s) == len(frame.collisions)
    assert "cascades" not in dir(frame.tracks)  # a bachelor is no parent
    assert "cascades" in dir(frame.v0s)


# Damage


def test_tables_that_should_share_rows_but_do_not_are_named(tmp_path):
    dataframe = random_dataframe(1, 40) | {"O2mctracklabel": random_dataframe(1, 30)["O2mctracklabel"]}
    tracks = write(tmp_path, dataframe).tracks
    assert len(tracks.pt()) == 40
    with pytest.raises(DataError, match="O2mctracklabel in DF_1 has 30 rows, O2track_iu has 40"):
        tracks.mcParticleId()


def test_an_index_out_of_its_table_is_named(tmp_path):
    dataframe = random_dataframe(1, 40)
    ids = dataframe[TRACK]["fIndexCollisions"].copy()
    ids[-1] = 99
    dataframe[TRACK] = replaced(dataframe[TRACK], fIndexCollisions=ids)
    frame = write(tmp_path, dataframe)
    what = re.escape("O2track_iu.fIndexCollisions in DF_1: want rows of collisions below 4, got 99")
    with pytest.raises(DataError, match=what):
        frame.tracks.collision()
    with pytest.raises(DataError, match=what):
        frame.collisions.tracks  # noqa: B018


def test_a_slice_that_ends_before_it_begins_is_named(tmp_path):
    dataframe = random_dataframe(1, 40)
    slices = dataframe["O2mcparticle_001"]["fIndexSlice_Daughters"].copy()
    slices[3] = (9, 2)
    dataframe["O2mcparticle_001"] = replaced(dataframe["O2mcparticle_001"], fIndexSlice_Daughters=slices)
    with pytest.raises(DataError, match=r"want slices with first <= last, got \[9, 2\]"):
        write(tmp_path, dataframe).mcParticles.daughters()


def test_an_index_to_a_table_that_is_not_stored_says_so(tmp_path):
    frame = write(tmp_path, random_dataframe(1, 40, ("O2track_iu",)))
    with pytest.raises(DataError, match="points to O2collision_001, which DF_1 does not store; it stores O2track_iu"):
        frame.tracks.collision()


# Vectors and pictures


def test_four_momenta_have_the_mass_that_was_asked_for(aod):
    tracks = aod[0].tracks
    np.testing.assert_allclose(tracks.p4(0.5).pt, tracks.pt(), rtol=1e-6)
    np.testing.assert_allclose(tracks.p4(0.5).mass, 0.5, rtol=1e-6)
    assert ak.num(aod[0].collisions.tracks.p4(0.5).pt).to_list() == ak.num(aod[0].collisions.tracks.pt()).to_list()
    assert tracks[3].p4(0.5).pt == pytest.approx(tracks[3].pt())
    np.testing.assert_allclose(aod[0].mcParticles.p4().E, aod[0].mcParticles.e(), rtol=1e-6)
    with pytest.raises(ConfigError, match=r"it stores no energy; give a mass in GeV/c2"):
        tracks.p4()
    with pytest.raises(ConfigError, match="has neither pt, eta and phi nor px, py and pz"):
        aod[0].collisions.p4(0.1)


def test_what_is_shown_names_tables_rows_and_sizes(aod):
    assert repr(aod).splitlines()[0].startswith("AOD of 3 dataframes, ")
    assert any("tracks" in line and "O2track_iu" in line and " 320 " in line for line in repr(aod).splitlines())
    html = aod._repr_html_()
    assert html.count("<tr>") == 1 + len(CORE) + 1 + 3
    assert "<td>500000</td>" in html
    assert "O2mcparticle_001" in aod[0]._repr_html_()
    assert "tpcNClsFound()" in aod[0].tracks._repr_html_()
    assert "energy(m)" in aod[0].tracks._repr_html_()
    assert repr(aod[0].tracks).startswith("<tracks: 200 rows of O2track_iu, O2trackcov_iu")
    assert "lists" in repr(aod[0].collisions.tracks)
    assert repr(aod[0].tracks[3]) == f"<row 3 of tracks in {aod[0].label}>"


def test_a_long_list_of_dataframes_is_cut_when_shown(aod_folder):
    html = open_aod([aod_folder] * 8)._repr_html_()
    assert "... and 4 more" in html
