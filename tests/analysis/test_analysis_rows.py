"""Rows, selections of them, and tables of all dataframes as one, against numpy."""

import awkward as ak
import numpy as np
import pytest
from aod_samples import CORE, TRACK, random_dataframe

from o2dask.analysis import open_aod
from o2dask.analysis.errors import RowError
from o2dask.aod.store import Store, commit_dataframe
from o2dask.errors import ConfigError, DataError


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


def test_tables_of_all_dataframes_are_one_after_the_other(aod, dataframes):
    parts = [frame.tracks.pt() for frame in aod]
    np.testing.assert_array_equal(aod.tracks.pt(), np.concatenate(parts))
    assert len(aod.tracks) == sum(len(frame.tracks) for frame in aod)


def test_a_stored_column_of_all_dataframes_is_found_by_its_names(aod, dataframes):
    want = np.concatenate([dataframe[TRACK]["fX"] for dataframe in dataframes])
    np.testing.assert_array_equal(aod[TRACK]["fX"], want)


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
