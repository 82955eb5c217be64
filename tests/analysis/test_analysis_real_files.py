"""Real files of ALICE, and made ones of the same make, which machines without them have as well; see conftest."""

import awkward as ak
import numpy as np
import pytest
import uproot
from task_samples import run

import o2dask as o2
from o2dask.analysis import open_aod
from o2dask.errors import DataError

UdCollisions = o2.declare_table("UdCollisions", description="udcollision", fPosZ="float32")
UdTracks = o2.declare_table("UdTracks", description="udtrack", fPx="float32", fPy="float32", fIndexUDCollisions="int32")


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


def test_every_column_reads_back_under_its_name_with_its_type_and_values(real_file):
    n_columns = 0
    with uproot.open(real_file) as file:
        for frame in open_aod(real_file):
            stored = file[frame.label].classnames(cycle=False)
            assert set(frame.tables) == {tree for tree, kind in stored.items() if kind == "TTree"}
            for tree in frame.tables:
                table, branches = frame[tree], file[f"{frame.label}/{tree}"].arrays(library="np")
                assert tuple(branches) == frame.columns(tree)
                getters = {g.column: g.name for g in table.getters.values() if g.kind == "stored"}
                assert getters.keys() == branches.keys()
                for name, want in branches.items():
                    assert table[name].dtype == want.dtype
                    np.testing.assert_array_equal(table[name], want)
                    np.testing.assert_array_equal(getattr(table, getters[name])(), want)
                    n_columns += 1
    assert n_columns


def test_derived_data_of_tables_unknown_to_the_model_are_analysed(ud_file):
    class Pt(o2.AnalysisTask):
        h_pt = o2.Hist.new.Reg(40, 0, 4).Double()
        n = o2.Output(0)

        def process(self, collision: UdCollisions.iterator, tracks: UdTracks):
            self.h_pt.fill(np.hypot(tracks.px(), tracks.py()))
            self.n += len(tracks)

    with uproot.open(ud_file) as file:
        trees = [file[key] for key in file.keys() if key.partition(";")[0].endswith("/O2udtrack")]  # noqa: SIM118
        n_rows = sum(tree.num_entries for tree in trees)
    result = run(o2.open_aod(ud_file), Pt())
    assert result.ok and result.n_dataframes == len(trees) > 1
    assert result.n == n_rows == result.h_pt.sum(flow=True) > 0
