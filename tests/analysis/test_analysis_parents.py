"""Derived data with the tables that they were made from: indices lead there, values are those of the parent."""

import pickle
import shutil

import numpy as np
import pytest
from task_samples import run

import o2dask as o2
from o2dask.aod.conversion import convert
from o2dask.aod.parents import Parents
from o2dask.cli.main import app
from o2dask.errors import ConfigError, DataError

Picked = o2.declare_table("Picked", fIndexTracks="int32", fTwice="float32")


class Picks(o2.AnalysisTask):
    """Writes every third track's number, and twice its y."""

    picked = o2.Produces[Picked]

    def process(self, tracks: o2.Tracks):
        rows = np.arange(0, len(tracks), 3, dtype=np.int32)
        self.picked(trackId=rows, twice=2 * tracks.y()[rows])


class Follows(o2.AnalysisTask):
    """Follows the numbers to the tracks."""

    wrong, n = o2.Output(0), o2.Output(0)
    h_pt = o2.Hist.new.Reg(20, 0, 5).Double()

    def process(self, picked: Picked, tracks: o2.Join[o2.Tracks, o2.TracksExtra]):
        mine = tracks[picked.trackId()]
        self.wrong += int((picked.twice() != 2 * mine.y()).sum())
        self.n += len(picked)
        self.h_pt.fill(mine.pt())


@pytest.fixture(params=["parquet", "root"])
def parent(request, many, tmp_path):
    """Six dataframes, in a place of their own: they are moved in a test."""
    folder = tmp_path / "parent"
    folder.mkdir()
    for df in o2.open_aod(many)[:6]:
        shutil.copytree(many / df.label, folder / df.label)
    if request.param == "parquet":
        return folder
    convert(folder, tmp_path / "parent.root")
    return tmp_path / "parent.root"


@pytest.fixture
def derived(parent, tmp_path):
    """Of the make of its parent."""
    target = tmp_path / f"derived{parent.suffix}"
    run(o2.open_aod(parent), Picks(), save=target)
    return target


def test_indices_of_derived_data_lead_to_rows_of_the_parent(derived, parent):
    alone, both = o2.open_aod(derived), o2.open_aod(derived, parents=1)
    assert alone.tables == ("O2picked",) and {"O2picked", "O2track_iu", "O2collision_001"} <= set(both.tables)
    with pytest.raises(DataError, match="points to Tracks, which DF_1000 does not store"):
        alone[0].picked.track()
    for df, above in zip(both, o2.open_aod(parent), strict=True):
        assert df.picked.track().y().to_list() == above.tracks.y()[::3].tolist()
        assert len(df.tracks) == len(above.tracks)
    ys = np.concatenate([above.tracks.y()[::3] for above in o2.open_aod(parent)])
    assert both.picked.track().y().to_list() == ys.tolist()


def test_workers_read_both(many, tmp_path):
    run(o2.open_aod(many)[:6], Picks(), save=tmp_path / "derived.root")
    aod = o2.open_aod(tmp_path / "derived.root", parents=1)
    here, there = run(aod, Follows()), aod.run(Follows(), workers=1, progress=False)
    assert there.ok and there.n == here.n > 20 and there.h_pt == here.h_pt


def test_tasks_read_both_also_by_name_and_from_the_command_line(derived, tmp_path, monkeypatch):
    here = run(o2.open_aod(derived, parents=1), Follows())
    assert here.ok and here.wrong == 0 and here.n > 20
    by_name = o2.run_tasks([Follows()], str(derived), scheduler="inline", progress=False, parents=Parents(levels=1))
    assert by_name.ok and by_name.h_pt == here.h_pt
    monkeypatch.chdir(tmp_path)
    words = ["analysis", f"{__file__}:Follows", "--aod", str(derived), "--parents", "1", "--scheduler", "inline"]
    with pytest.raises(SystemExit) as end:
        app(words)
    assert end.value.code == 0
    assert o2.read_results("AnalysisResults.root")["follows/h_pt"].sum(flow=True) == here.h_pt.sum(flow=True)


def test_parents_that_were_moved_are_found_by_their_new_name(derived, parent, tmp_path):
    moved = tmp_path / "elsewhere" / parent.name
    moved.parent.mkdir()
    parent.rename(moved)
    lost = run(o2.open_aod(derived, parents=1), Follows(), on_error="skip")
    assert len(lost.failed) == 6 and "parent" in lost.failed[0].reason and "no such file" in lost.failed[0].reason
    assert "if it was moved, say where" in lost.failed[0].reason
    found = o2.open_aod(derived, parents=1, parent_path=f"{parent.parent};{moved.parent}")
    assert run(found, Follows()).wrong == 0


def test_a_dataframe_that_the_parent_does_not_have_is_told(derived, parent, tmp_path):
    other = tmp_path / "other"
    aod = o2.open_aod(parent)
    run(aod[:1], Picks(), save=other)
    pointed = o2.open_aod(derived, parents=1, parent_path=f"{parent};{other}")
    with pytest.raises(DataError, match=r"parent .*other cannot be read: .*other: has no dataframe DF_1001"):
        pointed[1].tables  # noqa: B018
    assert pointed[0].tables


def test_a_grandparent_is_read_two_levels_back(derived, tmp_path):
    class Again(o2.AnalysisTask):
        more = o2.Produces[o2.declare_table("More", fIndexPickeds="int32")]

        def process(self, picked: Picked):
            self.more(np.arange(len(picked), dtype=np.int32))

    run(o2.open_aod(derived), Again(), save=tmp_path / "more")
    assert set(o2.open_aod(tmp_path / "more", parents=1).tables) == {"O2more", "O2picked"}
    both = o2.open_aod(tmp_path / "more", parents=2)
    assert {"O2more", "O2picked", "O2track_iu"} <= set(both.tables)
    assert both[3].more.picked().track().y().to_list() == both[3].picked.track().y().to_list()


def test_dataframes_without_a_parent_are_as_they_are(many):
    aod = o2.open_aod(many, parents=3)
    assert type(aod.stored[0]) is type(o2.open_aod(many).stored[0])


def test_a_dataframe_with_its_parent_travels_by_name(derived):
    df = o2.open_aod(derived, parents=1)[2]
    want = df.picked.track().y().to_list()
    assert pickle.loads(pickle.dumps(df)).picked.track().y().to_list() == want


@pytest.mark.parametrize(("levels", "path", "told"), [(-1, "", "0 or more"), (1, "a", "want 'old;new'")])
def test_settings_that_mean_nothing_are_told(levels, path, told):
    with pytest.raises(ConfigError, match=told):
        Parents(levels=levels, path=path)
