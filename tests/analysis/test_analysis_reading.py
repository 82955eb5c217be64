"""What is read: only touched columns, row groups and baskets, once, and none of it travels."""

import io
import pickle

import awkward as ak
import fsspec
import numpy as np
import pytest
from aod_samples import TRACK, random_dataframe
from fsspec.implementations.memory import MemoryFileSystem
from task_samples import Spectra, run

import o2dask as o2
from o2dask.aod import parquet
from o2dask.aod.root_writer import Ao2dWriter
from o2dask.aod.store import Store, commit_dataframe
from o2dask.columns import Columns


class CountedFileSystem(MemoryFileSystem):
    """Files in memory that count the bytes that are read of them."""

    protocol = "counted"
    n_read = 0
    store, pseudo_dirs = {}, [""]

    def _open(self, path, mode="rb", **options):
        opened = super()._open(path, mode, **options)
        return Counted(opened.getvalue()) if mode == "rb" else opened


class Counted(io.BytesIO):
    def read(self, size=-1):
        got = super().read(size)
        CountedFileSystem.n_read += len(got)
        return got

    def readinto(self, buffer):
        n = super().readinto(buffer)
        CountedFileSystem.n_read += n
        return n


fsspec.register_implementation("counted", CountedFileSystem, clobber=True)


@pytest.fixture(scope="module")
def grouped():
    """An AOD of one dataframe whose tracks lie in 16 row groups, ascending in x."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROWS_PER_GROUP", 4096)
        dataframe = random_dataframe(5, 16 * 4096)
        track = dict(dataframe["O2track_iu"])
        track["fX"] = np.sort(track["fX"])
        dataframe["O2track_iu"] = Columns(dataframe["O2track_iu"].schema, track)
        commit_dataframe(Store("counted:///grouped"), 1, dataframe, {})
    return dataframe


def n_read(act):
    before = CountedFileSystem.n_read
    act()
    return CountedFileSystem.n_read - before


class FarTracks(o2.AnalysisTask):
    x_min = o2.Configurable(75.5, "cm")
    far = o2.Filter(o2.col.x > x_min)
    h_pt = o2.Hist.new.Reg(50, 0, 10).Double()
    total = o2.Output(0.0)

    def process(self, tracks: o2.Filtered[o2.Join[o2.Tracks, o2.TracksExtra]]):
        self.h_pt.fill(tracks.pt())
        self.total += float(tracks.tpcSignal().sum(dtype=float))


def test_only_the_columns_of_a_getter_are_read_and_only_once(aod, monkeypatch):
    read = []
    kind = type(aod[0].stored)
    original = kind.read

    def counted(self, tree, columns=None):
        read.append((tree, *columns))
        return original(self, tree, columns)

    monkeypatch.setattr(kind, "read", counted)
    tracks = aod[0].tracks
    dir(tracks)
    assert read == []
    tracks.pt()
    assert read == [(TRACK, "fSigned1Pt")]
    tracks[tracks.pt() > 1].pt()
    aod[0].tracks[3].pt()
    assert read == [(TRACK, "fSigned1Pt")]
    tracks.px()
    assert read[1:] == [(TRACK, "fSnp", "fAlpha")]
    tracks.hasTOF()
    assert read[2][0] == "O2trackextra_001"
    assert set(read[2][1:]) == {"fITSClusterSizes", "fTPCNClsFindable", "fTRDPattern", "fTOFChi2", "fTOFExpMom"}
    assert len(read) == 3


def test_only_touched_columns_are_read(grouped):
    store = Store("counted:///grouped")
    size = store.fs.size(store.join("DF_1", "O2track_iu.parquet"))
    aod = o2.open_aod("counted:///grouped")
    opened = n_read(lambda: (len(aod), aod.tables))
    assert opened < 3000
    one = n_read(lambda: aod[0].tracks.pt())
    assert size / 12 < one < size / 3  # one of nine columns, and the footer
    assert n_read(lambda: aod[0].tracks.pt()) == 0


def test_filters_read_only_row_groups_that_can_pass(grouped):
    track = grouped["O2track_iu"]
    is_far = track["fX"] > 75.5
    assert 0.03 < is_far.mean() < 0.1
    aod = o2.open_aod("counted:///grouped")
    results = {}
    few = n_read(lambda: results.update(few=run(aod, FarTracks())))
    every = n_read(lambda: results.update(every=run(aod, FarTracks(x_min=-1.0))))
    assert results["few"].ok and results["every"].ok
    assert few < every / 4
    want = float(grouped["O2trackextra_001"]["fTPCSignal"][is_far].sum(dtype=float))
    assert results["few"].total == pytest.approx(want)
    assert results["few"].h_pt.sum(flow=True) == is_far.sum()
    none = n_read(lambda: results.update(none=run(aod, FarTracks(x_min=1e6))))
    assert results["none"].h_pt.sum(flow=True) == 0 and none < few


def test_selected_rows_are_those_of_the_whole_column_however_they_are_chosen(grouped):
    rng = np.random.default_rng(1)
    whole = grouped["O2track_iu"]["fX"]
    for rows in (
        slice(100, 200),
        slice(4000, 4200),
        slice(0, 0),
        rng.integers(0, 9000, 50),
        np.array([65535, 3, 5000]),
    ):
        frame = o2.open_aod("counted:///grouped")[0]
        np.testing.assert_array_equal(frame.tracks[rows].x(), whole[rows])
        assert not frame.is_loaded("O2track_iu", "fX")
        lists = frame.mcParticles[rows].mothersIds()
        assert ak.all(lists == o2.open_aod("counted:///grouped")[0].mcParticles.mothersIds()[rows])


def test_a_train_reads_each_column_once(grouped):
    aod = o2.open_aod("counted:///grouped")
    alone = n_read(lambda: run(aod, Spectra()))
    train = n_read(lambda: run(aod, Spectra(), Spectra(name="b", eta_max=0.5), Spectra(name="c", eta_max=0.3)))
    assert train == alone


def test_a_dataframe_reads_at_once_what_the_one_before_was_asked_for(many, monkeypatch):
    class Task(o2.AnalysisTask):
        n = o2.Output(0)

        def process(self, tracks: o2.Tracks):
            tracks.pt(), tracks.eta()
            if tracks._group.frame.label == first:
                tracks.y()
            self.n += 1

    aod = o2.open_aod(many)[:4]
    first, reads = aod[0].label, []
    kind = type(aod[0].stored)
    original = kind.table
    monkeypatch.setattr(
        kind, "table", lambda self, tree, columns=None: reads.append(sorted(columns)) or original(self, tree, columns)
    )
    assert run(aod, Task()).n == 4
    assert reads == [["fSigned1Pt"], ["fTgl"], ["fY"], ["fSigned1Pt", "fTgl", "fY"], *[["fSigned1Pt", "fTgl"]] * 2]


def test_baskets_of_root_files_are_read_as_they_are_needed(tmp_path, monkeypatch):
    from o2dask.aod import root_writer

    monkeypatch.setattr(root_writer, "_ROWS_PER_BASKET", 1000)
    dataframe = random_dataframe(5, 10_000)
    with Ao2dWriter(tmp_path / "AO2D.root", {"Run": "3"}) as writer:
        writer.write(1, dataframe)
    frame = o2.open_aod(tmp_path / "AO2D.root")[0]
    assert frame.row_groups("O2track_iu").tolist() == list(range(0, 10_001, 1000))
    read = []
    original = type(frame.stored)._arrays
    monkeypatch.setattr(
        type(frame.stored), "_arrays", lambda self, *args: read.append(args[2:]) or original(self, *args)
    )
    rows = np.array([2500, 2600, 7001])
    np.testing.assert_array_equal(frame.tracks[rows].x(), dataframe["O2track_iu"]["fX"][rows])
    assert read == [(2000, 3000), (7000, 8000)]


def test_blocks_of_all_dataframes_are_the_rows_in_the_memory_of_a_row_group(grouped):
    aod = o2.open_aod("counted:///grouped")
    whole = aod.tracks
    for some in (whole, whole[100:-7], whole[whole.pt() > 1], whole[::3]):
        blocks = list(some.blocks())
        np.testing.assert_array_equal(np.concatenate([block.pt() for block in blocks]), some.pt())
        np.testing.assert_array_equal(np.concatenate([block.eta() for block in blocks]), some.eta())
    groups = sum(len(df.row_groups("O2track_iu")) - 1 for df in aod)
    seen = []
    for block in aod.tracks.blocks():
        assert len(block.pt()) == len(block)
        seen.append(len([key for key in block._group.frame._cache if "fSigned1Pt" in key]))
    assert len(seen) == groups > len(aod) and max(seen) == 1
    with pytest.raises(IndexError, match="blocks are of plain rows"):
        aod.collisions.tracks.blocks()


def test_records_are_read_column_by_column(aod):
    frame = o2.open_aod(aod.stored[0].url)[0]
    records = frame.tracks.to_awkward()
    assert not [key for key in frame._cache if key[1:2] and str(key[1]).startswith("f")]
    np.testing.assert_array_equal(records.pt, frame.tracks.pt())
    assert [key for key in frame._cache if key[0] == "O2track_iu"] == [("O2track_iu", "fSigned1Pt")]
    nested = frame.collisions.tracks.to_awkward("pt", "eta")
    assert ak.all(nested.pt == frame.collisions.tracks.pt())
    mothers = frame.mcParticles.to_awkward("mothersIds", "daughtersIds")
    assert ak.all(mothers.mothersIds == frame.mcParticles.mothersIds())


def test_columns_of_a_plain_table_and_of_neighbouring_rows_are_views(aod):
    tracks = aod[0].tracks
    assert np.shares_memory(tracks.snp(), aod[0].tracks.snp())
    assert np.shares_memory(tracks[20:50].snp(), tracks.snp())
    grouped = ak.to_layout(aod[0].collisions.tracks.snp())
    assert np.shares_memory(np.asarray(grouped.content.data), tracks.snp())


def test_nothing_read_travels_with_an_aod(grouped):
    import pickle

    aod = o2.open_aod("counted:///grouped")
    before = len(pickle.dumps(aod))
    aod[0].tracks.pt(), aod.tracks.eta(), aod.stored[0].row_groups("O2track_iu")
    assert len(pickle.dumps(aod)) == before
    assert len(pickle.dumps(aod[0].tracks[:10])) < 20_000


def test_what_is_sent_to_a_worker_are_names_and_rows_and_no_columns(aod):
    tracks = aod[0].tracks
    cut = tracks[tracks.pt() > 0.5]
    cut.px()
    there = pickle.loads(pickle.dumps(cut))
    assert there._group.frame._cache == {}
    np.testing.assert_array_equal(there.px(), cut.px())
    assert (
        pickle.loads(pickle.dumps(aod[0].collisions.tracks)).pt().to_list() == aod[0].collisions.tracks.pt().to_list()
    )
    assert pickle.loads(pickle.dumps(tracks[3])).pt() == tracks[3].pt()
    assert len(pickle.dumps(aod)) < 5000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(aod)).tracks.pt(), aod.tracks.pt())
