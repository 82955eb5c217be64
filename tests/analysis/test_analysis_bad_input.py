"""Bad input, one kind after the other, from Parquet and ROOT, by Python and by command.

Of three dataframes, or files, the middle one is bad: the other two are analysed, and what is told of the third names
file, dataframe, table, column and task, as far as there are such.
"""

import json
import shutil

import numpy as np
import pytest
from aod_samples import random_dataframe
from task_samples import run

import o2dask as o2
from o2dask.aod.conversion import convert
from o2dask.aod.store import Store, commit_dataframe
from o2dask.cli.main import app
from o2dask.columns import Columns, Jagged, Schema

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


class ReadsAll(o2.AnalysisTask):
    n = o2.Output(0)

    def process(self, tracks: o2.Tracks):
        self.n += sum(len(tracks[name]) for name in tracks._group.frame.columns("O2track_iu"))


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
    assert "1 left out" in result.summary() and "DF_1001" in result._repr_html_()
    status, told = by_command(capsys, tmp_path, "--aod", source)
    assert status == told["status"] == 1 and told["n_dataframes"] == 2
    assert [f["dataframe"] for f in told["failed"]] == ["DF_1001"]
    assert o2.read_results(tmp_path / "r.root")["reads/h_pt"].sum(flow=True) == SIZES[0] + SIZES[2]


@pytest.mark.parametrize("name", ["floats for an index", "index too large"])
def test_grouping_by_an_index_that_is_bad_is_told_by_name(name, tmp_path):
    class Groups(o2.AnalysisTask):
        def process(self, collision: o2.Collision, tracks: o2.Tracks): ...

    change, words = bad_dataframe(name)
    result = run(o2.open_aod(aod_of(tmp_path, "parquet", change)), Groups())
    (failure,) = result.failed
    assert all(word in failure.reason for word in words), failure.reason
    assert result.n_dataframes == 2


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
    assert o2.read_results(tmp_path / "r.root")["reads/h_pt"].sum(flow=True) == 2 * sum(SIZES)


def test_a_damaged_column_costs_its_dataframe(tmp_path):
    for i in range(2):
        commit_dataframe(Store(tmp_path), i, random_dataframe(i, 100), {})
    path = tmp_path / "DF_1/O2track_iu.parquet"
    raw = bytearray(path.read_bytes())
    raw[4:400] = b"\xff" * 396
    path.write_bytes(raw)
    result = run(o2.open_aod(tmp_path), ReadsAll())
    assert result.n_dataframes == 1
    assert "O2track_iu.parquet: damaged" in str(result.failed[0])
