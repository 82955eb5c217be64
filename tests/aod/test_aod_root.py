"""AO2D.root: real files are read, ours have O2's trees, branches, leaf types and maps, and come back unchanged."""

import pickle

import numpy as np
import pytest
import uproot

from o2dask.aod.model import tables
from o2dask.aod.reader import open_dataframes
from o2dask.aod.root_reader import dataframes_of
from o2dask.aod.root_writer import Ao2dWriter, default_metadata
from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.errors import CommitError, DataError, ShapeError

ROWS = (0, 3)


@pytest.fixture(scope="module")
def written(tmp_path_factory, make_table):
    """Return a file with every table of the model, without rows in DF_1 and with three in DF_2, and what is in it."""
    path = tmp_path_factory.mktemp("root") / "AO2D.root"
    content = {i: {tree: make_table(t.schema, n) for tree, t in tables().items()} for i, n in enumerate(ROWS, 1)}
    with Ao2dWriter(path, default_metadata(tables()) | {"RecoPassName": "apass1"}) as writer:
        for number, dataframe in content.items():
            writer.write(number, dataframe)
    return path, content


@pytest.mark.golden
def test_every_table_has_the_branches_of_the_facts_with_the_sizes_before_their_arrays(written, leaves):
    with uproot.open(written[0]) as file:
        for number in written[1]:
            for tree, wanted in leaves.items():
                found = file[f"DF_{number}/{tree}"]
                titles = [branch.title for branch in found.branches]
                assert [title for title in titles if "_size/" not in title] == wanted
                for i, branch in enumerate(found.branches):
                    if f"[{branch.name}_size]" in branch.title:
                        assert titles[i - 1] == f"{branch.name}_size/I"
                assert found.title == tree


@pytest.mark.parametrize("tree", sorted(tables()))
def test_every_table_comes_back_as_it_was_with_and_without_rows(written, tree):
    for dataframe in open_dataframes(written[0]):
        back = dataframe.table(tree)
        assert back.equals(written[1][dataframe.number][tree])
        assert dataframe.n_rows(tree) == back.n_rows == ROWS[dataframe.number - 1]
        assert list(dataframe.columns(tree)) == list(back.schema.names)


def test_uproot_alone_reads_the_same_values(written):
    table = written[1][2]["O2mcparticle_001"]
    with uproot.open(written[0]) as file:
        arrays = file["DF_2/O2mcparticle_001"].arrays(library="np")
    assert np.array_equal(arrays["fPx"], table["fPx"])
    assert arrays["fPx"].dtype == np.float32
    assert np.array_equal(arrays["fIndexSlice_Daughters"], table["fIndexSlice_Daughters"])
    mothers = table["fIndexArray_Mothers"]
    assert np.array_equal(arrays["fIndexArray_Mothers_size"], np.diff(mothers.offsets))
    assert np.array_equal(np.concatenate(arrays["fIndexArray_Mothers"]), mothers.content)


def test_one_basket_per_column_and_zstd(written):
    with uproot.open(written[0]) as file:
        assert file.file.compression == uproot.ZSTD(5)
        branches = file["DF_2/O2track_iu"].branches
        assert {branch.num_baskets for branch in branches} == {1}
        assert {branch.num_baskets for branch in file["DF_1/O2track_iu"].branches} == {0}


def test_the_metadata_is_a_map_that_comes_back(written):
    (one, two) = open_dataframes(written[0])
    assert one.metadata == two.metadata
    assert one.metadata["DataType"] == "MC"
    assert one.metadata["Run"] == "3"
    assert one.metadata["RecoPassName"] == "apass1"
    assert {"O2Version", "ROOTVersion", "AnchorProduction", "AnchorPassName"} < set(one.metadata)
    assert "LPMProductionTag" in one.metadata
    with uproot.open(written[0]) as file:
        assert file.classnames(recursive=False)["metaData;1"] == "TMap"


def test_data_without_truth_is_raw():
    assert default_metadata(("O2bc_001", "O2track_iu"))["DataType"] == "RAW"


def test_a_table_of_more_rows_than_a_basket_comes_back(tmp_path, monkeypatch, make_table):
    monkeypatch.setattr("o2dask.aod.root_writer._ROWS_PER_BASKET", 100)
    table = make_table(tables()["O2zdc_001"].schema, 250)
    with Ao2dWriter(tmp_path / "x.root", {}) as writer:
        writer.write(1, {"O2zdc_001": table})
    (dataframe,) = dataframes_of(str(tmp_path / "x.root"))
    assert dataframe.table("O2zdc_001").equals(table)


def test_booleans_doubles_and_long_integers_of_derived_tables_come_back(tmp_path, make_table):
    schema = Schema(
        "AOD/MINE",
        (
            Column(name="fIsGood", dtype="bool"),
            Column(name="fTime", dtype="float64"),
            Column(name="fBits", dtype="int64", shape=(3,)),
            Column(name="fLayers", dtype="uint16", is_jagged=True),
        ),
        1,
    )
    table = make_table(schema, 20)
    with Ao2dWriter(tmp_path / "x.root", {}) as writer:
        writer.write(1, {"O2mine_001": table})
    assert dataframes_of(str(tmp_path / "x.root"))[0].table("O2mine_001").equals(table)
    with uproot.open(tmp_path / "x.root") as file:
        titles = [branch.title for branch in file["DF_1/O2mine_001"].branches]
    assert titles == ["fIsGood/O", "fTime/D", "fBits[3]/L", "fLayers_size/I", "fLayers[fLayers_size]/s"]


@pytest.mark.golden
def test_real_derived_data_are_read_with_their_rows(ud_file):
    dataframes = open_dataframes(ud_file)
    assert len(dataframes) == 43
    assert [d.number for d in dataframes] == sorted(d.number for d in dataframes)
    rows = {tree: [d.n_rows(tree) for d in dataframes] for tree in dataframes[0].tables}
    assert {tree: sum(n) for tree, n in rows.items()} == {
        "O2udcollision": 225,
        "O2udtrack": 551,
        "O2udtrackextra": 551,
        "O2udtrackpid": 551,
    }
    assert rows["O2udtrack"].count(0) == rows["O2udcollision"].count(0) == 1
    assert {d.run for d in dataframes} == {529399}
    assert all(d.parent.endswith("/AO2D.root") for d in dataframes)
    for dataframe in dataframes:
        for tree in dataframe.tables:
            assert dataframe.table(tree).n_rows == dataframe.n_rows(tree)


@pytest.mark.golden
def test_only_the_asked_branches_are_read(ud_file, monkeypatch):
    dataframe = open_dataframes(ud_file)[1]
    asked = []
    arrays = type(dataframe)._arrays

    def noted(self, tree, names):
        asked.extend(names)
        return arrays(self, tree, names)

    monkeypatch.setattr(type(dataframe), "_arrays", noted)
    read = dataframe.read("O2udtrack", ["fPx"])
    assert asked == list(read) == ["fPx"]
    assert read["fPx"].dtype == np.dtype("float32")
    with pytest.raises(KeyError, match="no column 'fNope'"):
        dataframe.read("O2udtrack", ["fNope"])
    with pytest.raises(KeyError, match=r"no table 'O2nope'; it has O2udcollision"):
        dataframe.read("O2nope")


def test_a_dataframe_travels_to_workers(written):
    there = pickle.loads(pickle.dumps(open_dataframes(written[0])[1]))
    assert there.table("O2ft0").equals(written[1][2]["O2ft0"])


def test_a_file_that_was_replaced_is_read_anew(tmp_path, make_table):
    for n in (3, 5):
        with Ao2dWriter(tmp_path / "x.root", {}) as writer:
            writer.write(1, {"O2bc_001": make_table(tables()["O2bc_001"].schema, n)})
        assert dataframes_of(str(tmp_path / "x.root"))[0].n_rows("O2bc_001") == n


def test_other_entries_of_a_file_are_ignored(tmp_path):
    with uproot.recreate(tmp_path / "x.root") as file:
        for name in ("DF_7", "DF_7_old", "XDF_8"):
            file.mkdir(name).mktree("O2bc", {"fRunNumber": "int32"})
        file["hist"] = np.histogram(np.arange(10))
    assert [d.number for d in dataframes_of(str(tmp_path / "x.root"))] == [7]


def test_a_branch_that_is_no_column_is_named(tmp_path):
    with uproot.recreate(tmp_path / "x.root") as file:
        tree = file.mkdir("DF_7").mktree("O2text", {"fName": "string"})
        tree.extend({"fName": ["a", "b"]})
    (dataframe,) = dataframes_of(str(tmp_path / "x.root"))
    with pytest.raises(DataError, match=r"DF_7/O2text: branch 'fName' .* is not a plain number"):
        dataframe.table("O2text")


def test_nothing_appears_when_writing_fails(tmp_path, make_table):
    path = tmp_path / "AO2D.root"
    with pytest.raises(KeyError), Ao2dWriter(path, {}) as writer:
        writer.write(1, {"O2bc_001": make_table(tables()["O2bc_001"].schema, 3)})
        raise KeyError("the producer failed")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_refuses_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(CommitError, match=r"AO2D\.root: cannot be written"), Ao2dWriter(tmp_path / "no/AO2D.root", {}):
        pass


def test_what_o2s_reader_cannot_take_is_refused(tmp_path, make_table):
    bcs = {"O2bc_001": make_table(tables()["O2bc_001"].schema, 1)}
    counted = Columns(Schema.infer("AOD/X", {"fA_size": np.zeros(2, np.int32)}), {"fA_size": np.zeros(2, np.int32)})
    with Ao2dWriter(tmp_path / "x.root", {}, {1: "/parent/AO2D.root"}) as writer:
        writer.write(1, bcs)
        with pytest.raises(DataError, match="DF_1 comes twice"):
            writer.write(1, bcs)
        with pytest.raises(DataError, match="DF_2 has no parent file"):
            writer.write(2, bcs)
    with Ao2dWriter(tmp_path / "y.root", {}) as writer:
        with pytest.raises(ShapeError, match="takes a branch with _size in its name for a counter"):
            writer.write(1, {"O2x": counted})
        with pytest.raises(ShapeError, match="want at least one column"):
            writer.write(1, {"O2x": Columns(Schema("AOD/X", ()), {})})
    assert dataframes_of(str(tmp_path / "x.root"))[0].parent == "/parent/AO2D.root"


def test_jagged_columns_from_root_start_at_zero_and_are_native(written):
    column = open_dataframes(written[0])[1].read("O2ft0", ["fAmplitudeA"])["fAmplitudeA"]
    assert isinstance(column, Jagged)
    assert column.offsets.dtype == np.int32
    assert column.offsets[0] == 0
    assert column.content.dtype.isnative
