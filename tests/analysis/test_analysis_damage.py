"""Tables that are damaged: the accessor that needs them says which, where, what was wanted and what is there."""

import re

import numpy as np
import pytest
from aod_samples import TRACK, random_dataframe, replaced, write

from o2dask.analysis import open_aod
from o2dask.aod.store import Store, commit_dataframe
from o2dask.columns import Columns, Schema
from o2dask.errors import DataError


def of_type(name, dtype):
    """Return a dataframe whose tracks store a column in another type than the model's."""
    dataframe = random_dataframe(1, 40)
    arrays = dict(dataframe[TRACK]) | {name: dataframe[TRACK][name].astype(dtype)}
    return dataframe | {TRACK: Columns(Schema.infer("AOD/TRACK_IU", arrays), arrays)}


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


def test_a_column_of_another_type_can_be_looked_at_by_its_name_in_the_file(tmp_path):
    for number, dtype in ((1, np.float32), (2, np.int32)):
        commit_dataframe(Store(tmp_path), number, of_type("fSigned1Pt", dtype), {})
    aod = open_aod(tmp_path)
    assert aod[1].tracks["fSigned1Pt"].dtype == np.int32
    for tracks in (aod[1].tracks, aod.tracks):
        with pytest.raises(DataError, match=r"O2track_iu\.fSigned1Pt in DF_2.*as it is stored: table\['fSigned1Pt'"):
            tracks.pt()
    assert len(aod[0].tracks.pt()) == 40


def test_other_widths_of_a_type_are_read(tmp_path):
    frame = write(tmp_path, of_type("fSigned1Pt", np.float64))
    np.testing.assert_allclose(frame.tracks.pt(), 1 / abs(frame.tracks["fSigned1Pt"]), rtol=1e-6)
