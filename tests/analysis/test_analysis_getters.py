"""An AOD opened: dataframes, tables, columns and getters by their names, and versions of tables."""

import inspect
import pydoc

import awkward as ak
import numpy as np
import pytest
from aod_samples import CORE, TRACK, random_dataframe, write

import o2dask as o2
from o2dask.analysis import Row, Table
from o2dask.analysis.errors import RowError, UnknownColumnError, UnknownNameError
from o2dask.columns import Columns


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


def test_a_dataframe_knows_its_run_and_first_orbit(aod):
    assert [(frame.run, frame.first_orbit) for frame in aod] == [(500000, 0), (500000, 32), (500000, 64)]


def test_names_are_found_in_any_spelling(aod):
    frame = aod[0]
    for name in ("mcParticles", "mcparticles", "mc_particles", "mcparticle", "McParticles"):
        assert len(getattr(frame, name)) == 400
    for name in ("track_iu", "tracksIU", "tracks"):
        assert len(getattr(frame, name)) == 200


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
