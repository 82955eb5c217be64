"""Files of a dataframe are opened once per visit and closed after it; small frames add up as fast as large ones."""

import pickle

import numpy as np
import pytest

import o2dask as o2
from o2dask.aod.open_files import OpenFiles
from o2dask.aod.parquet_reader import _open_files


class Named:
    def __init__(self, name):
        self.name, self.is_closed = name, False

    def close(self):
        self.is_closed = True


def test_a_file_is_in_the_hands_of_one_reader():
    files, owner, file = OpenFiles(2), object(), Named("a")
    files.put(owner, "a", file)
    assert files.take(owner, "a") is file and files.take(owner, "a") is None


def test_the_file_left_longest_is_closed_when_there_are_too_many():
    files, owner = OpenFiles(2), object()
    a, b, c = map(Named, "abc")
    for each in (a, b, c):
        files.put(owner, each.name, each)
    assert (a.is_closed, b.is_closed, c.is_closed, len(files)) == (True, False, False, 2)


def test_a_file_put_back_twice_is_kept_once():
    files, owner, a, again = OpenFiles(2), object(), Named("a"), Named("a")
    files.put(owner, "a", a)
    files.put(owner, "a", again)
    assert a.is_closed and not again.is_closed and len(files) == 1


def test_an_owner_closes_its_own_files_only():
    files, one, two = OpenFiles(4), object(), object()
    a, b = Named("a"), Named("a")
    files.put(one, "a", a)
    files.put(two, "a", b)
    files.close(one)
    assert a.is_closed and not b.is_closed and files.take(two, "a") is b


def test_a_table_is_opened_once_for_its_columns_and_its_rows(aod_folder, monkeypatch):
    from o2dask.aod import parquet

    opened = []
    original = parquet.open_parquet
    monkeypatch.setattr(parquet, "open_parquet", lambda *args: opened.append(args) or original(*args))
    stored = o2.open_aod(aod_folder).stored[0].fresh()
    stored.columns("O2track_iu")
    stored.table("O2track_iu", ["fX"])
    stored.table("O2track_iu", ["fY"])
    assert len(opened) == 1
    stored.close()
    stored.table("O2track_iu", ["fY"])
    assert len(opened) == 2
    stored.close()


def test_nothing_stays_open_after_a_run(aod_folder):
    class Task(o2.AnalysisTask):
        n = o2.Output(0)

        def process(self, tracks: o2.Tracks):
            self.n += int((tracks.tgl() > 0).sum())

    before = len(_open_files)
    assert o2.open_aod(aod_folder).run(Task(), scheduler="inline", progress=False).ok
    assert len(_open_files) == before


def test_a_dataframe_that_was_read_is_pickled_without_its_files(aod_folder):
    stored = o2.open_aod(aod_folder).stored[0].fresh()
    here = stored.table("O2track_iu", ["fX"])
    there = pickle.loads(pickle.dumps(stored))
    assert there.table("O2track_iu", ["fX"]).equals(here)
    stored.close()
    there.close()


def test_a_read_that_fails_leaves_no_file_open(aod_folder):
    stored = o2.open_aod(aod_folder).stored[0].fresh()
    before = len(_open_files)
    with pytest.raises(KeyError, match="no column 'fNothing'"):
        stored.table("O2track_iu", ["fNothing"])
    assert len(_open_files) == before


def test_columns_of_many_dataframes_keep_few_files_open(aod_folder):
    frames = [stored.fresh() for stored in o2.open_aod(aod_folder).stored for _ in range(60)]
    for frame in frames:
        frame.columns("O2track_iu")
    assert 0 < len(_open_files) <= 32
    for frame in frames:
        frame.close()
    assert len(_open_files) == 0


def test_trees_of_one_make_are_looked_at_once_and_others_anew(many, tmp_path, monkeypatch):
    """What a branch holds is worked out for the first dataframe; another type under the same name is told apart."""
    import uproot

    from o2dask.aod import root_reader

    for number, kind in ((1, "i4"), (2, "i4"), (3, "f4")):
        with uproot.update(tmp_path / "x.root") if number > 1 else uproot.recreate(tmp_path / "x.root") as file:
            values = np.arange(4 + number).astype(kind)
            file.mktree(f"DF_{number}/O2mine", {"fX": values, "fPair": np.stack([values, values], axis=1)})
    looked = []
    original = root_reader._column
    monkeypatch.setattr(root_reader, "_column", lambda *args: looked.append(args) or original(*args))
    monkeypatch.setattr(root_reader, "_known_schemas", {})
    dtypes = [df["O2mine"]["fX"].dtype.name for df in o2.open_aod(tmp_path / "x.root")]
    assert dtypes == ["int32", "int32", "float32"] and len(looked) == 2 * 2
