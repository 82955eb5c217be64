"""What a user may name as a source, what the errors say, conversion both ways, and the summary."""

import json
import shutil
import uuid

import pytest

from o2dask.aod import aod_info, convert, open_dataframes
from o2dask.aod.model import tables
from o2dask.aod.root_writer import Ao2dWriter
from o2dask.aod.sink import AodSink
from o2dask.errors import ConfigError, DataError, O2DaskError


@pytest.fixture(scope="module")
def aod(tmp_path_factory, make_ref, make_outputs):
    """Return a folder of three committed dataframes, committed out of order."""
    folder = tmp_path_factory.mktemp("out") / "aod"
    sink = AodSink(folder, {"workflow": "async"}, {"RecoPassName": "o2dask"})
    sink.prepare()
    for i in (2, 0, 1):
        sink.commit(make_ref(i), make_outputs(n_tracks=20 + i, seed=i))
    return folder


@pytest.fixture(scope="module")
def roots(tmp_path_factory, make_dataframe):
    """Return a folder of two AO2D files with two dataframes each, the later ones in the first file."""
    folder = tmp_path_factory.mktemp("roots")
    for name, numbers in (("a", (7, 5)), ("b", (6, 4))):
        (folder / name).mkdir()
        with Ao2dWriter(folder / name / "AO2D.root", {"Run": "3"}) as writer:
            for number in numbers:
                writer.write(number, make_dataframe(seed=number))
    return folder


def same(one, other):
    assert [d.number for d in one] == [d.number for d in other]
    for left, right in zip(one, other, strict=True):
        assert left.tables == right.tables
        for tree in left.tables:
            assert left.table(tree).equals(right.table(tree)), f"{left} {tree}"


def numbers(source):
    return [dataframe.number for dataframe in open_dataframes(source)]


def test_dataframes_of_a_folder_come_by_number(aod, make_ref):
    assert numbers(aod) == [make_ref(i).id.df_number for i in range(3)]
    assert [d.first_orbit for d in open_dataframes(str(aod) + "/")] == [1000, 1032, 1064]


def test_files_globs_lists_and_list_files_name_the_same(roots, tmp_path):
    a, b = (roots / name / "AO2D.root" for name in "ab")
    (tmp_path / "list.txt").write_text(f"# both\n{a}\n\n  {b}  # the second\n")
    for source in ([a, b], [str(b), str(a)], f"{roots}/*/AO2D.root", f"@{tmp_path}/list.txt", [f"{roots}/**/*.root"]):
        assert numbers(source) == [4, 5, 6, 7], source
    assert numbers(a) == [5, 7]


def test_one_dataframe_of_a_folder_can_be_named_and_globbed(aod, make_ref):
    number = make_ref(1).id.df_number
    assert numbers(aod / f"DF_{number}") == [number]
    assert numbers(f"{aod}/DF_*") == numbers(aod)


def test_folders_and_files_mix(aod, roots):
    assert numbers([aod, roots / "a/AO2D.root"]) == [5, 7, *numbers(aod)]


def test_a_folder_behind_a_url_is_read(aod):
    import fsspec

    name = uuid.uuid4().hex
    memory = fsspec.filesystem("memory")
    memory.put(str(aod), f"/{name}/aod", recursive=True)
    same(open_dataframes(f"memory://{name}/aod"), open_dataframes(aod))
    assert numbers(f"memory://{name}/aod/DF_*") == numbers(aod)
    memory.rm(f"/{name}", recursive=True)


def test_a_root_file_behind_a_url_is_read(roots):
    same(open_dataframes(f"file://{roots}/a/AO2D.root"), open_dataframes(roots / "a/AO2D.root"))


def test_parquet_copied_without_its_manifest_is_read(aod, tmp_path):
    shutil.copytree(aod, tmp_path / "copy", ignore=shutil.ignore_patterns("_*"))
    same([d for d in open_dataframes(tmp_path / "copy") if sorted(d.tables)], sorted_tables(open_dataframes(aod)))
    assert open_dataframes(tmp_path / "copy")[0].metadata == {}


def sorted_tables(dataframes):
    for dataframe in dataframes:
        dataframe.tables = tuple(sorted(dataframe.tables))
    return dataframes


def test_only_what_the_manifest_lists_belongs_to_a_dataframe(aod, tmp_path):
    shutil.copytree(aod, tmp_path / "copy")
    first = next(path for path in sorted((tmp_path / "copy").iterdir()) if path.is_dir())
    (first / "O2leftover.parquet").write_bytes(b"from a worker that died")
    same(open_dataframes(tmp_path / "copy"), open_dataframes(aod))


BAD = {
    "missing": ("nowhere.root", ConfigError, "no such file or folder"),
    "missing glob": ("nowhere/*.root", ConfigError, "matches no file or folder"),
    "missing list": ("@nowhere.txt", ConfigError, r"list @nowhere\.txt: cannot be read: No such file"),
    "empty list of sources": ([], ConfigError, "want at least one file or folder"),
    "unknown protocol": ("alien:///alice/AO2D.root", ConfigError, r"Protocol not known: alien \(copy the file first"),
    "unknown protocol of a folder": ("nope:///alice/aod", ConfigError, "nope:// cannot be opened"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_source_that_is_not_there_is_an_error_of_one_line(tmp_path, monkeypatch, name):
    source, kind, message = BAD[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message) as caught:
        open_dataframes(source)
    assert "\n" not in str(caught.value)


def damage(content, how):
    return {
        "empty": b"",
        "first 100 bytes": content[:100],
        "half": content[: len(content) // 2],
        "last bytes missing": content[:-50],
        "alien": b"PAR1" + bytes(5000),
        "text": b"run 544122\n" * 100,
    }[how]


@pytest.mark.parametrize("how", ["empty", "first 100 bytes", "half", "last bytes missing", "alien", "text"])
def test_a_damaged_root_file_is_an_error_of_one_line_that_names_it(roots, tmp_path, how):
    path = tmp_path / "bad.root"
    path.write_bytes(damage((roots / "a/AO2D.root").read_bytes(), how))
    with pytest.raises(DataError, match=r"bad\.root: (empty file|truncated)") as caught:
        open_dataframes(path)
    assert "\n" not in str(caught.value)


def test_flipped_bytes_in_a_root_file_end_in_our_errors_only(make_dataframe, tmp_path):
    whole = make_dataframe()
    with Ao2dWriter(tmp_path / "good.root", {"Run": "3"}) as writer:
        writer.write(1, {tree: whole[tree] for tree in ("O2bc_001", "O2mcparticle_001")})
    content = (tmp_path / "good.root").read_bytes()
    outcomes = set()
    for at in range(150, len(content), len(content) // 30):
        path = tmp_path / f"bad{at}.root"
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            for dataframe in open_dataframes(path):
                for tree in dataframe.tables:
                    dataframe.table(tree)
            outcomes.add("read")
        except O2DaskError as error:
            outcomes.add("refused")
            assert path.name in str(error)
    assert "refused" in outcomes


def test_a_folder_and_a_file_without_dataframes_say_so(tmp_path, roots):
    with pytest.raises(DataError, match=r"a folder without dataframes \(no DF_<number> in it\)$"):
        open_dataframes(tmp_path)
    with pytest.raises(DataError, match=r"for its ROOT files give .*a/\*\.root"):
        open_dataframes(roots / "a")
    import uproot

    with uproot.recreate(tmp_path / "x.root") as file:
        file.mktree("events", {"x": "int32"})
    with pytest.raises(DataError, match=r"x\.root: a ROOT file without dataframes"):
        open_dataframes(tmp_path / "x.root")


def test_a_single_table_is_refused_with_the_folder_to_give(aod):
    path = next(aod.rglob("O2bc_001.parquet"))
    with pytest.raises(ConfigError, match="is one table; want the folder"):
        open_dataframes(path)


@pytest.mark.parametrize("how", ["empty", "cut", "missing"])
def test_a_damaged_table_costs_its_own_dataframe_only(aod, tmp_path, how):
    shutil.copytree(aod, tmp_path / "copy")
    path = sorted((tmp_path / "copy").rglob("O2track_iu.parquet"))[0]
    content = path.read_bytes()
    path.unlink() if how == "missing" else path.write_bytes(content[: len(content) // 2] if how == "cut" else b"")
    bad, *good = open_dataframes(tmp_path / "copy")
    with pytest.raises(DataError, match=r"O2track_iu\.parquet: "):
        bad.table("O2track_iu")
    assert bad.table("O2bc_001").n_rows == 7
    assert all(dataframe.table("O2track_iu").n_rows for dataframe in good)


def test_a_damaged_manifest_names_itself(aod, tmp_path):
    shutil.copytree(aod, tmp_path / "copy")
    sorted((tmp_path / "copy").rglob("_manifest.json"))[0].write_text("{}")
    with pytest.raises(DataError, match=r"_manifest\.json: damaged manifest"):
        open_dataframes(tmp_path / "copy")


def test_columns_are_projected_and_described(aod):
    dataframe = open_dataframes(aod)[0]
    columns = dataframe.columns("O2track_iu")
    assert list(columns) == [c.name for c in tables()["O2track_iu"].columns]
    assert columns["fX"].unit == "cm"
    assert columns["fX"].dtype == "float32"
    assert list(dataframe.read("O2track_iu", ["fSigned1Pt", "fX"])) == ["fSigned1Pt", "fX"]


def test_our_tables_go_to_root_and_back_unchanged(aod, tmp_path):
    done = []
    result = convert(aod, tmp_path / "AO2D.root", progress=lambda i, n: done.append((i, n)))
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert (result.n_dataframes, result.n_bytes) == (3, (tmp_path / "AO2D.root").stat().st_size)
    root = open_dataframes(tmp_path / "AO2D.root")
    same(root, open_dataframes(aod))
    assert root[0].metadata["DataType"] == "MC"
    assert root[0].metadata["RecoPassName"] == "o2dask"
    convert(tmp_path / "AO2D.root", tmp_path / "back")
    same(open_dataframes(tmp_path / "back"), root)
    assert open_dataframes(tmp_path / "back")[0].metadata == root[0].metadata
    assert sorted(path.name for path in tmp_path.iterdir()) == ["AO2D.root", "back"]


@pytest.mark.golden
def test_real_data_go_to_parquet_and_back_with_their_parents(ud_file, tmp_path):
    convert(ud_file, tmp_path / "ud")
    convert(tmp_path / "ud", tmp_path / "ud.root")
    real, folder, again = (open_dataframes(s) for s in (ud_file, tmp_path / "ud", tmp_path / "ud.root"))
    same(folder[::5], real[::5])
    same(again[::5], real[::5])
    assert [d.number for d in again] == [d.number for d in folder] == [d.number for d in real]
    assert [d.parent for d in again] == [d.parent for d in folder] == [d.parent for d in real]
    assert real[0].metadata == again[0].metadata == {}, "metaData are not made up for files that have none"


def test_files_are_merged_into_one(roots, tmp_path):
    convert(f"{roots}/*/AO2D.root", tmp_path / "all.root")
    same(open_dataframes(tmp_path / "all.root"), open_dataframes(f"{roots}/*/AO2D.root"))
    with pytest.raises(DataError, match=r"DF_5 is in .*AO2D\.root and in .*AO2D\.root"):
        convert([roots / "a/AO2D.root"] * 2, tmp_path / "twice.root")


def test_a_folder_behind_a_url_is_written(roots):
    target = f"memory://{uuid.uuid4().hex}/aod"
    convert(roots / "a/AO2D.root", target)
    same(open_dataframes(target), open_dataframes(roots / "a/AO2D.root"))


@pytest.mark.parametrize("name", ["AO2D.root", "folder"])
def test_a_target_that_exists_is_replaced_on_demand_only(roots, tmp_path, name):
    target = tmp_path / name
    convert(roots / "a/AO2D.root", target)
    with pytest.raises(ConfigError, match="exists"):
        convert(roots / "b/AO2D.root", target)
    assert numbers(target) == [5, 7]
    convert(roots / "b/AO2D.root", target, overwrite=True)
    assert numbers(target) == [4, 6]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["AO2D.root", "folder"])
def test_a_conversion_that_fails_leaves_the_target_as_it_was(aod, roots, tmp_path, name):
    shutil.copytree(aod, tmp_path / "copy")
    sorted((tmp_path / "copy").rglob("O2track_iu.parquet"))[1].write_bytes(b"")
    target = tmp_path / name
    convert(roots / "a/AO2D.root", target)
    with pytest.raises(DataError, match=r"O2track_iu\.parquet"):
        convert(tmp_path / "copy", target, overwrite=True)
    assert numbers(target) == [5, 7]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["copy", name])


def test_a_folder_that_is_not_ours_is_never_replaced(roots, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"so it is not ours to replace"):
        convert(roots / "a/AO2D.root", tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()
    with pytest.raises(ConfigError, match=r"no folder .*; make it first"):
        convert(roots / "a/AO2D.root", tmp_path / "no/AO2D.root")
    with pytest.raises(ConfigError, match="a ROOT file is written locally"):
        convert(roots / "a/AO2D.root", "memory://x/AO2D.root")


def test_the_summary_counts_what_is_there(aod):
    summary = aod_info(aod)
    assert summary.runs == (544122,)
    assert len(summary.dataframes) == 3
    by_tree = {table.tree: table for table in summary.tables}
    assert by_tree["O2track_iu"].n_rows == 20 + 21 + 22
    assert by_tree["O2track_iu"].n_dataframes == 3
    assert by_tree["O2track_iu"].n_bytes == sum(p.stat().st_size for p in aod.rglob("O2track_iu.parquet"))
    assert summary.dataframes[1].rows["O2track_iu"] == 21
    assert summary.metadata == {"RecoPassName": "o2dask"}
    assert json.loads(json.dumps(summary.to_json()))["n_rows"] == summary.n_rows


@pytest.mark.golden
def test_the_summary_of_real_derived_data_names_the_parents(ud_file):
    summary = aod_info(ud_file)
    assert {table.tree: table.n_rows for table in summary.tables}["O2udtrack"] == 551
    assert not any(table.is_in_model for table in summary.tables)
    assert len(summary.parents) == 43
