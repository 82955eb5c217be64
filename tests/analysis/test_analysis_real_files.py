"""Real derived AO2D files of ALICE, and a file of the same make for machines that do not have them."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from o2dask.analysis import open_aod
from o2dask.errors import DataError

SHARED = Path(__file__).parents[2] / "../shared/data/aod"
UD = "AO2D_ud_run529399.root"
HF = "AnalysisResults_trees_hf.root"


@pytest.fixture(scope="session")
def ud_file(tmp_path_factory):
    """The real file, else one with the same trees and branches."""
    if (SHARED / UD).exists():
        return SHARED / UD
    path = tmp_path_factory.mktemp("ud") / UD
    rng = np.random.default_rng(1)
    with uproot.recreate(path) as file:
        for number in (2273751408283648, 2273751408289536):
            file[f"DF_{number}/O2udcollision"] = {
                "fGlobalBC": np.arange(5, dtype=np.uint64),
                "fPosZ": rng.normal(0, 5, 5).astype(np.float32),
            }
            file[f"DF_{number}/O2udtrack"] = {
                "fIndexUDCollisions": np.repeat(np.arange(5, dtype=np.int32), 2),
                "fPx": rng.normal(0, 1, 10).astype(np.float32),
                "fSign": np.tile(np.array([1, -1], np.int32), 5),
            }
            file[f"DF_{number}/O2udtrackpid"] = {"fTPCNSigmaPi": rng.normal(0, 1, 10).astype(np.float32)}
    return path


@pytest.fixture(scope="session")
def hf_file(tmp_path_factory):
    if (SHARED / HF).exists():
        return SHARED / HF
    path = tmp_path_factory.mktemp("hf") / HF
    with uproot.recreate(path) as file:
        ids = {f"fIndexTracks_{i}": np.arange(20, dtype=np.int32) for i in range(2)}
        file["DF_2835049532001/O2hftrackidxp2"] = ids
    return path


def branch(path, frame, tree, name):
    with uproot.open(path) as file:
        return file[f"{frame.label}/{tree}/{name}"].array(library="np")


def test_derived_tables_work_under_their_own_names(ud_file):
    frame = open_aod(ud_file)[0]
    np.testing.assert_array_equal(frame.udtracks.px(), branch(ud_file, frame, "O2udtrack", "fPx"))
    np.testing.assert_array_equal(frame["O2udtrack"]["fSign"], branch(ud_file, frame, "O2udtrack", "fSign"))
    np.testing.assert_array_equal(frame.udCollisions.globalBC(), branch(ud_file, frame, "O2udcollision", "fGlobalBC"))


def test_indices_of_derived_tables_lead_both_ways(ud_file):
    frame = open_aod(ud_file)[0]
    ids = branch(ud_file, frame, "O2udtrack", "fIndexUDCollisions")
    z, px = branch(ud_file, frame, "O2udcollision", "fPosZ"), branch(ud_file, frame, "O2udtrack", "fPx")
    assert frame.udtrack.udCollision().posZ().to_list() == z[ids].tolist()
    assert frame.udcollision.udtracks.px().to_list() == [px[ids == i].tolist() for i in range(len(z))]


def test_derived_tables_are_joined_on_demand(ud_file):
    frame = open_aod(ud_file)[0]
    joined = frame.join("O2udtrack", "O2udtrackpid")
    np.testing.assert_array_equal(joined.tpcNSigmaPi(), branch(ud_file, frame, "O2udtrackpid", "fTPCNSigmaPi"))
    np.testing.assert_array_equal(joined.px(), frame.udtrack.px())
    with pytest.raises(DataError, match=r"cannot join O2udtrack, O2udcollision: .* share the row number"):
        frame.join("O2udtrack", "O2udcollision")


def test_all_dataframes_of_a_file_are_one_after_the_other(ud_file):
    aod = open_aod(ud_file)
    parts = [frame.udtrack.udCollision().posZ() for frame in aod if frame.tables and len(frame.udtrack)]
    assert aod.udtrack.udCollision().posZ().to_list() == ak.concatenate(parts).to_list()
    assert len(aod.udtracks) == sum(len(frame.udtrack) for frame in aod if frame.tables)


def test_an_index_into_the_parent_file_is_read_but_cannot_be_followed(hf_file):
    frame = open_aod(hf_file)[0]
    pairs = frame.hftrackidxp2
    np.testing.assert_array_equal(pairs.track0Id(), branch(hf_file, frame, "O2hftrackidxp2", "fIndexTracks_0"))
    with pytest.raises(DataError, match="points to Tracks, which DF_2835049532001 does not store"):
        pairs.track0()


def test_every_column_of_a_real_file_has_a_getter(ud_file):
    for frame in open_aod(ud_file):
        for tree in frame.tables:
            table = frame[tree]
            columns = {getter.column for getter in table.getters.values() if getter.kind == "stored"}
            assert columns == set(frame.columns(tree))
            for getter in table.getters.values():
                if getter.kind == "stored":
                    assert len(getattr(table, getter.name)()) == frame.n_rows(tree)
