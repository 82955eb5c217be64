"""Bad input, one kind after the other, from Parquet and ROOT, by Python and by command.

Of three dataframes, or files, the middle one is bad: the other two are analysed, and what is told of the third names
file, dataframe, table, column and task, as far as there are such.
"""

import json
import shutil

import numpy as np
import pytest
from aod_samples import random_dataframe

import o2dask as o2
from o2dask.analysis.errors import RowError
from o2dask.analysis.execute import Failure
from o2dask.analysis.result import Result
from o2dask.aod.conversion import convert
from o2dask.aod.store import Store, commit_dataframe
from o2dask.cli.main import app
from o2dask.columns import Columns, Jagged, Schema
from o2dask.errors import DataError

TASK = """
import o2dask as o2

class Reads(o2.AnalysisTask):
    raises_at = o2.Configurable(-1, "dataframe of that many tracks on which it raises")
    h_pt = o2.Hist.new.Reg(20, 0, 10).Double()
    n, n_frames = o2.Output(0), o2.Output(0)

    def process(self, collisions: o2.Collisions, tracks: o2.Join[o2.Tracks, o2.TracksExtra]):
        if len(tracks) == self.raises_at:
            raise RuntimeError("my own mistake")
        self.h_pt.fill(tracks.pt())
        self.n_frames += 1
        self.n += len(tracks.collision().posZ())
        tracks.tpcNClsFound()
"""
SIZES = (40, 50, 60)
scope: dict = {"__name__": "__main__"}
exec(TASK, scope)
Reads = scope["Reads"]


def without(tree):
    def change(tables):
        del tables[tree]

    return change


def with_column(tree, name, make):
    def change(tables):
        arrays = dict(tables[tree])
        arrays[name] = make(arrays[name])
        tables[tree] = Columns(Schema.infer(f"AOD/{tables[tree].schema.name[4:]}", arrays), arrays)

    return change


def as_lists(a):
    return Jagged(np.arange(len(a) + 1, dtype=np.int32) * 2, np.repeat(a, 2))


def emptied(tables):
    tables |= random_dataframe(1, 0)


def bad_dataframe(name):
    """Return what is done to the tables of the middle one, and the words of the message."""
    track, extra = "O2track_iu", "O2trackextra_001"
    return {
        "no table": (without(extra), ["no table O2trackextra", "it has O2", "TracksExtra"]),
        "floats for an index": (
            with_column(track, "fIndexCollisions", lambda a: a.astype(np.float32)),
            [f"{track}.fIndexCollisions in DF_1001: want int32, got float32"],
        ),
        "integers for floats": (
            with_column(track, "fSigned1Pt", lambda a: a.astype(np.int32)),
            [f"{track}.fSigned1Pt in DF_1001: want float32, got int32"],
        ),
        "lists for numbers": (
            with_column(extra, "fTPCNClsFindable", as_lists),
            [f"{extra}.fTPCNClsFindable in DF_1001: want uint8, got lists of uint8"],
        ),
        "index too large": (
            with_column(track, "fIndexCollisions", lambda a: np.full_like(a, 7)),
            [f"{track}.fIndexCollisions in DF_1001: want rows of collisions below 5, got 7"],
        ),
        "tables that do not fit": (
            lambda tables: tables.update({extra: random_dataframe(1, 20)[extra]}),
            [f"{extra} in DF_1001 has 20 rows, {track} has 50; they share the row number"],
        ),
    }[name]


DATAFRAMES = (
    "no table",
    "floats for an index",
    "integers for floats",
    "lists for numbers",
    "index too large",
    "tables that do not fit",
)


def aod_of(path, kind, change=lambda tables: None):
    """Write three dataframes, the middle one changed; return where they are."""
    for i, n in enumerate(SIZES):
        tables = random_dataframe(i, n)
        if i == 1:
            change(tables)
        commit_dataframe(Store(path / "aod"), 1000 + i, tables, {})
    if kind == "parquet":
        return path / "aod"
    convert(path / "aod", path / "AO2D.root")
    return path / "AO2D.root"


def by_command(capsys, path, *args):
    """Return exit status and summary of ``o2dask analysis``."""
    (path / "reads.py").write_text(TASK)
    with pytest.raises(SystemExit) as ended:
        app(["analysis", f"{path / 'reads.py'}:Reads", *map(str, args), "--out", str(path / "r.root"), "--log-json",
             "--scheduler", "inline"])  # fmt: skip
    return ended.value.code, json.loads(capsys.readouterr().err.splitlines()[-1])


@pytest.mark.parametrize("kind", ["parquet", "root"])
@pytest.mark.parametrize("name", DATAFRAMES)
def test_a_bad_dataframe_costs_itself_and_is_told_by_name(name, kind, tmp_path, capsys):
    change, words = bad_dataframe(name)
    source = aod_of(tmp_path, kind, change)
    result = o2.open_aod(source).run(Reads(), scheduler="inline", progress=False)
    (failure,) = result.failed
    assert failure.dataframe == "DF_1001" and failure.task == "reads" and failure.url == str(source)
    assert all(word in str(failure) for word in [str(source), "DF_1001", "'reads'", *words]), str(failure)
    assert not result.ok and result.n_dataframes == result.n_frames == 2
    assert result.h_pt.sum(flow=True) == SIZES[0] + SIZES[2]
    status, told = by_command(capsys, tmp_path, "--aod", source)
    assert status == told["status"] == 1 and told["n_dataframes"] == 2
    assert [f["dataframe"] for f in told["failed"]] == ["DF_1001"]
    assert o2.read_results(tmp_path / "r.root")["reads/h_pt"].sum(flow=True) == SIZES[0] + SIZES[2]


@pytest.mark.parametrize("kind", ["parquet", "root"])
def test_a_task_that_raises_costs_that_dataframe(kind, tmp_path, capsys):
    source = aod_of(tmp_path, kind)
    status, told = by_command(capsys, tmp_path, "--aod", source, "-o", "reads.raises_at=50")
    (failure,) = told["failed"]
    assert status == 1 and told["n_dataframes"] == 2
    assert failure["url"] == str(source) and failure["dataframe"] == "DF_1001" and failure["task"] == "reads"
    assert failure["reason"].startswith("RuntimeError: my own mistake (reads.py, line")
    assert o2.read_results(tmp_path / "r.root")["reads/n_frames"] == 2


@pytest.mark.parametrize("kind", ["parquet", "root"])
def test_an_empty_dataframe_is_no_failure(kind, tmp_path, capsys):
    source = aod_of(tmp_path, kind, emptied)
    status, told = by_command(capsys, tmp_path, "--aod", source)
    assert status == 0 and told["failed"] == [] and told["n_dataframes"] == 3
    assert o2.read_results(tmp_path / "r.root")["reads/h_pt"].sum(flow=True) == SIZES[0] + SIZES[2]


def not_root(good, bad):
    bad.write_text("a shopping list\n" * 20)


def truncated(good, bad):
    bad.write_bytes(good.read_bytes()[: good.stat().st_size * 6 // 10])


def empty(good, bad):
    bad.touch()


def absent(good, bad): ...


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(not_root, "not a ROOT file"), (truncated, "truncated"), (empty, "empty file"), (absent, "no such file")],
    ids=["not ROOT", "truncated", "empty", "absent"],
)
def test_a_bad_file_costs_itself_and_is_told_by_name(spoil, words, tmp_path, capsys):
    good, bad, other = (tmp_path / f"{name}.root" for name in ("good", "bad", "other"))
    shutil.move(aod_of(tmp_path, "root"), good)
    shutil.copy(good, other)
    spoil(good, bad)
    (tmp_path / "files.txt").write_text(f"{good}\n{bad}\n{other}\n")
    status, told = by_command(capsys, tmp_path, "--aod", f"@{tmp_path / 'files.txt'}")
    (failure,) = told["failed"]
    assert status == 1 and told["n_dataframes"] == 6
    assert failure["url"] == str(bad) and words in failure["reason"]


def test_other_widths_of_a_type_are_read(tmp_path):
    change = with_column("O2track_iu", "fSigned1Pt", lambda a: a.astype(np.float64))
    assert o2.open_aod(aod_of(tmp_path, "parquet", change)).run(Reads(), progress=False).ok


def test_a_column_of_another_type_can_be_looked_at_by_its_name_in_the_file(tmp_path):
    change = with_column("O2track_iu", "fSigned1Pt", lambda a: a.astype(np.int32))
    aod = o2.open_aod(aod_of(tmp_path, "parquet", change))
    assert aod[1].tracks["fSigned1Pt"].dtype == np.int32
    for tracks in (aod[1].tracks, aod.tracks):
        with pytest.raises(DataError, match=r"O2track_iu\.fSigned1Pt in DF_1001.*as it is stored: table\['fSigned1Pt'"):
            tracks.pt()
    assert len(aod[0].tracks.pt()) == SIZES[0]


def test_rows_and_dataframes_out_of_range_say_how_many_there_are(tmp_path):
    aod = o2.open_aod(aod_of(tmp_path, "parquet"))
    with pytest.raises(RowError, match="dataframe 3: this AOD has 3"):
        aod[3]
    with pytest.raises(IndexError, match="row 40 of tracksIU in DF_1000: it has 40 rows"):
        aod[0].tracksIU[40]


def test_a_summary_tells_each_kind_once_and_whole_files_first():
    missing = [
        Failure(url="a.root", dataframe=f"DF_{i}", task="t", reason=f"process reads X: DF_{i} has no table O2x")
        for i in range(30)
    ]
    other = Failure(url="a.root", dataframe="DF_40", task="t", reason="ZeroDivisionError: too long (t.py, line 3)")
    files = [Failure(url=f"{i}.root", reason=f"/data/{i}.root: empty file") for i in range(2)]
    lines = Result(outputs={}, failed=[*missing, other, *files]).summary().splitlines()
    assert lines[1] == "33 left out:"
    assert lines[2:4] == ["  /data/0.root: empty file", "  /data/1.root: empty file"]
    assert lines[4].endswith("DF_0: task 't': process reads X: DF_0 has no table O2x; and 29 dataframes more like it")
    assert "ZeroDivisionError" in lines[5] and len(lines) == 6
