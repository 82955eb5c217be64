"""Tasks as a physicist declares them: settings, tables, filters, grouping, trains; on a small random AOD, inline."""

import json

import awkward as ak
import numpy as np
import pytest
from aod_samples import random_dataframe

import o2dask as o2
from o2dask.analysis.configuration import read_config
from o2dask.analysis.declarations import table_named, table_names
from o2dask.analysis.errors import UnknownNameError
from o2dask.analysis.expressions import Interval, as_expression
from o2dask.aod.model import tables
from o2dask.aod.store import Store, commit_dataframe
from o2dask.columns import Columns
from o2dask.conditions import LocalStore
from o2dask.errors import ConfigError, SpecError, WorkflowError


def new_hist():
    return o2.Hist.new.Reg(50, 0, 10, label="pT [GeV/c]").Double()


def pt_hist(values):
    return new_hist().fill(values)


def run(aod, *tasks, **options):
    return aod.run(*tasks, scheduler="inline", progress=False, **options)


class Spectra(o2.AnalysisTask):
    """Transverse momenta."""

    eta_max = o2.Configurable(0.8, "maximum |eta|")
    h_pt = new_hist()

    def process(self, collisions: o2.Collisions, tracks: o2.Join[o2.Tracks, o2.TracksExtra]):
        self.h_pt.fill(tracks.pt()[abs(tracks.eta()) < self.eta_max])


# Names of tables


def test_every_table_of_the_model_has_a_name_and_its_singular_means_a_row():
    assert len(tables()) == 57
    for model in tables().values():
        label = model.table.removeprefix("Stored")
        spec = getattr(o2, label)
        assert model.tree.removeprefix("O2").startswith(spec.stems[0][0])
    assert o2.Collision == o2.Collisions.iterator
    assert o2.BC.is_row and o2.McParticle.is_row and o2.V0.is_row
    assert o2.TracksExtra_000.versions == (0,) and o2.TracksExtra_001.versions == (1,)
    assert str(o2.Filtered[o2.Join[o2.Tracks, o2.TracksExtra]]) == "Filtered[Join[Tracks, TracksExtra]]"
    assert o2.FullTracks == o2.Join[o2.Tracks, o2.TracksExtra]


def test_a_table_that_is_not_there_is_an_error_with_what_comes_close():
    with pytest.raises(UnknownNameError, match=r"no table 'Trakcs' in the data model; did you mean Tracks"):
        o2.Trakcs  # noqa: B018
    with pytest.raises(AttributeError):
        o2.nothing  # noqa: B018
    assert len(table_names()) > 57 and table_named("Tracks") == o2.Tracks


# Settings


def test_settings_come_from_keywords_texts_and_any_spelling():
    assert Spectra().eta_max == 0.8
    assert Spectra(eta_max=0.5).eta_max == 0.5
    assert Spectra(etaMax="0.25").eta_max == 0.25
    task = Spectra()
    task.configure({"eta-max": "1"})
    assert task.eta_max == 1.0
    assert Spectra.eta_max.default == 0.8  # the class is as it was


def test_wrong_settings_are_errors_that_name_task_and_option():
    with pytest.raises(ConfigError, match=r"task 'spectra' has no option 'etamin'; did you mean eta_max"):
        Spectra(etamin=3)
    with pytest.raises(SpecError, match=r"task 'spectra': option 'eta_max': want float, got 'wide'"):
        Spectra(eta_max="wide")


def test_lists_and_choices_are_settings_too():
    class Task(o2.AnalysisTask):
        edges = o2.Configurable([0.0, 1.0], "bin edges [GeV/c]")
        system = o2.Configurable("pp", "collision system", choices=("pp", "pbpb"))

        def process(self, tracks: o2.Tracks): ...

    assert Task(edges="[0, 0.5, 2]").edges == (0, 0.5, 2)
    assert Task(edges={"values": ["0", "1"]}).edges == (0, 1)
    assert Task(system="pbpb").system == "pbpb"
    with pytest.raises(SpecError, match="want one of pp, pbpb, got 'oo'"):
        Task(system="oo")


def test_configurations_of_o2_and_plain_ones_are_read(tmp_path):
    path = tmp_path / "dpl-config.json"
    path.write_text(json.dumps({"internal-dpl-clock": {"x": "1"}, "spectra": {"eta_max": "0.5"}}))
    assert read_config(path)["spectra"] == {"eta_max": "0.5"}
    path.write_text(json.dumps({"eta_max": 0.4, "bins": {"values": ["1"]}}))
    assert read_config(path) == {"": {"eta_max": 0.4, "bins": {"values": ["1"]}}}
    path.write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        read_config(path)


# Declarations that cannot work


def test_process_functions_are_checked_when_a_task_is_made():
    class NoTable(o2.AnalysisTask):
        def process(self, tracks): ...

    class SecondRow(o2.AnalysisTask):
        def process(self, tracks: o2.Tracks, collision: o2.Collision): ...

    class Unswitched(o2.AnalysisTask):
        def process_mc(self, tracks: o2.Tracks): ...

    with pytest.raises(SpecError, match=r"task 'no-table': process: argument 'tracks': want a table .* no annotation"):
        NoTable()
    with pytest.raises(SpecError, match="argument 'collision': only the first may be one row at a time"):
        SecondRow()
    with pytest.raises(SpecError, match=r"process_mc: put @o2.ProcessSwitch"):
        Unswitched()


def test_each_task_has_histograms_of_its_own(aod):
    one, two = Spectra(eta_max=0.5), Spectra(eta_max=1.0, name="wide")
    one.h_pt.fill([1.0])
    assert two.h_pt.sum() == 0 and Spectra.h_pt.sum() == 0
    result = run(aod, Spectra(eta_max=0.5), two)
    assert result["spectra"].h_pt != result["wide"].h_pt
    with pytest.raises(UnknownNameError, match=r"'h_pt' is an output of spectra, wide; say result\[task\].h_pt"):
        result.h_pt  # noqa: B018


# Running


def test_the_histogram_is_that_of_a_loop_over_dataframes(aod):
    want = new_hist()
    for df in aod:
        want.fill(df.tracks.pt()[abs(df.tracks.eta()) < 0.5])
    result = run(aod, Spectra(eta_max=0.5))
    assert result.ok and result.n_dataframes == 3
    assert result.h_pt == want == result["spectra"].h_pt == result[Spectra]["h_pt"] == result["spectra/h_pt"]
    assert result.settings == {"spectra": {"eta_max": 0.5}}


def test_switches_turn_process_functions_on_and_off(aod):
    class Task(o2.AnalysisTask):
        n_data, n_mc = o2.Output(0), o2.Output(0)

        def process(self, tracks: o2.Tracks):
            self.n_data += len(tracks)

        @o2.ProcessSwitch("truth", default=False)
        def process_mc(self, particles: o2.McParticles):
            self.n_mc += len(particles)

    assert (run(aod, Task()).n_data, run(aod, Task()).n_mc) == (320, 0)
    assert run(aod, Task(process_mc=True)).n_mc == 640
    assert run(aod, Task(processMc="true")).n_mc == 640


def test_a_row_first_means_a_call_per_row_with_what_belongs_to_it(aod):
    class PerCollision(o2.AnalysisTask):
        found, n_tracks = o2.Output([]), o2.Output([])

        def process(self, collision: o2.Collision, tracks: o2.Tracks, bcs: o2.BCs):
            assert len(bcs) == len(collision._table._group.frame.bcs)
            assert all(track.collision() == collision for track in tracks[:3])
            self.found += [float(collision.posZ())]
            self.n_tracks += [len(tracks)]

    result = run(aod, PerCollision())
    assert result.ok
    assert result.found == np.concatenate([df.collisions.posZ() for df in aod]).astype(float).tolist()
    assert result.n_tracks == ak.flatten([ak.num(df.collisions.tracks.pt()) for df in aod], axis=None).to_list()


def test_filtered_tables_are_grouped_after_the_filter(aod):
    class PerCollision(o2.AnalysisTask):
        pt_min = o2.Configurable(0.5, "GeV/c")
        high = o2.Filter(o2.col.pt > pt_min)
        near = o2.Filter(abs(o2.col.posZ) < 10)
        n_tracks, n_all = o2.Output([]), o2.Output(0)
        h_pt = new_hist()

        def process(self, collision: o2.Filtered[o2.Collisions].iterator, tracks: o2.Filtered[o2.Tracks]):
            self.n_tracks += [len(tracks)]
            self.h_pt.fill(tracks.pt())

        @o2.ProcessSwitch("all", default=True)
        def process_all(self, tracks: o2.Tracks):
            self.n_all += len(tracks)

    result = run(aod, PerCollision(pt_min=0.7))
    want, counts = new_hist(), []
    for df in aod:
        near = df.collisions[abs(df.collisions.posZ()) < 10]
        pt = near.tracks.pt()
        want.fill(ak.to_numpy(ak.flatten(pt[pt > 0.7])))
        counts += ak.sum(pt > 0.7, axis=1).to_list()
    assert result.h_pt == want and result.n_tracks == counts
    assert result.n_all == 320
    assert 0 < sum(counts) < 320


def test_a_filter_without_an_argument_it_fits_is_told(aod):
    class Task(o2.AnalysisTask):
        near = o2.Filter(o2.col.posZ < 10)

        def process(self, tracks: o2.Filtered[o2.Tracks]): ...

    (failure, *_) = run(aod, Task()).failed
    assert "'tracks' is Filtered[Tracks], but no filter fits: near reads posZ" in str(failure)


def test_preslices_give_the_rows_of_one_collision(aod):
    class Task(o2.AnalysisTask):
        by_collision = o2.Preslice(o2.Tracks, "collisionId")
        counts = o2.Output([])

        def process(self, collisions: o2.Collisions, tracks: o2.Tracks):
            self.counts += [len(self.by_collision(tracks, collision)) for collision in collisions]

    assert run(aod, Task()).counts == [n for df in aod for n in ak.num(df.collisions.tracks.pt()).to_list()]


def test_a_task_sees_only_what_it_declares(aod):
    class Task(o2.AnalysisTask):
        def process(self, tracks: o2.Tracks):
            tracks.tpcNClsFound()

    (failure, *_) = run(aod, Task()).failed
    assert "O2trackextra_001, which is not declared; add its table to Join[...]" in failure.reason
    assert "test_analysis_tasks.py, line" in failure.reason


def test_joins_need_no_order_and_are_found_by_indices(aod):
    class Task(o2.AnalysisTask):
        n = o2.Output(0)

        def process(self, tracks: o2.Join[o2.TracksExtra, o2.Tracks, o2.McTrackLabels]):
            self.n += int(ak.count(tracks.mcParticle().pt())) + len(tracks.tpcNClsFound())

    want = sum(int((df.tracks.mcParticleId() >= 0).sum()) + len(df.tracks) for df in aod)
    assert run(aod, Task()).n == want


def test_histograms_made_in_init_and_dicts_of_them_are_outputs_and_end_sees_the_sum(aod):
    class Task(o2.AnalysisTask):
        per_sign = {"plus": new_hist(), "minus": new_hist()}  # noqa: RUF012
        mean = o2.Output(0.0)

        def init(self):
            self.h_eta = o2.Hist.new.Reg(10, -2, 2).Double()

        def process(self, tracks: o2.Tracks):
            self.h_eta.fill(tracks.eta())
            self.per_sign["plus"].fill(tracks.pt()[tracks.sign() > 0])
            self.per_sign["minus"].fill(tracks.pt()[tracks.sign() < 0])

        def end(self):
            self.mean = float(self.h_eta.sum(flow=True))

    result = run(aod, Task())
    assert result.mean == 320
    assert result["task/per_sign/plus"].sum(flow=True) + result.per_sign["minus"].sum(flow=True) == 320


# Tables that tasks make


TracksDca = o2.declare_table("TracksDca", fDcaXY="float32", fIndexCollisions="int32")
Squares = o2.extend_table("Squares", o2.Tracks, fPt2=o2.col.pt * o2.col.pt, fShifted=1 + abs(o2.col.eta))
Matched = o2.declare_index_table("Matched", o2.BCs, o2.Collisions)


class MakesDca(o2.AnalysisTask):
    offset = o2.Configurable(0.0, "cm")
    dca = o2.Produces[TracksDca]

    def process(self, tracks: o2.Tracks):
        self.dca(tracks.y() + self.offset, collisionId=tracks.collisionId())


class ReadsDca(o2.AnalysisTask):
    total, n_per_collision = o2.Output(0.0), o2.Output([])

    def process(self, collisions: o2.Collisions, tracks: o2.Join[o2.Tracks, TracksDca]):
        self.total += float(tracks.dcaXY().sum(dtype=float))

    @o2.ProcessSwitch("per collision", default=True)
    def process_rows(self, collision: o2.Collision, dcas: TracksDca):
        self.n_per_collision += [len(dcas)]


def test_tasks_run_in_the_order_of_their_tables(aod):
    result = run(aod, ReadsDca(), MakesDca(offset=1.0))
    assert result.ok
    assert result.total == pytest.approx(sum(float(df.tracks.y().sum(dtype=float)) + len(df.tracks) for df in aod))
    assert result.n_per_collision == [n for df in aod for n in ak.num(df.collisions.tracks.pt()).to_list()]


def test_spawned_and_index_tables_are_there_for_others(aod):
    class Makes(o2.AnalysisTask):
        squares, matched = o2.Spawns[Squares], o2.Builds[Matched]

    class Reads(o2.AnalysisTask):
        total, matched = o2.Output(0.0), o2.Output([])

        def process(self, tracks: o2.Join[o2.Tracks, Squares], matched: Matched):
            np.testing.assert_allclose(tracks.pt2(), tracks.pt() ** 2, rtol=1e-6)
            np.testing.assert_allclose(tracks.shifted(), 1 + abs(tracks.eta()), rtol=1e-6)
            self.total += float(tracks.pt2().sum(dtype=float))
            self.matched += matched.collisionId().tolist()

    result = run(aod, Reads(), Makes())
    assert result.ok and result.total > 0
    want = []
    for df in aod:
        ids = df.collisions.bcId()
        want += [int(np.flatnonzero(ids == i)[0]) if (ids == i).any() else -1 for i in range(len(df.bcs))]
    assert result.matched == want and -1 in want and max(want) > 0


def test_exclusive_index_tables_keep_what_all_point_to(aod):
    exclusive = o2.declare_index_table("Exclusive", o2.BCs, o2.Collisions, exclusive=True)

    class Task(o2.AnalysisTask):
        matched = o2.Builds[exclusive]
        rows = o2.Output(0)

        def process(self, matched: exclusive):
            assert (matched.collisionId() >= 0).all()
            self.rows += len(matched)

    assert run(aod, Task()).rows == sum(len(set(df.collisions.bcId().tolist()) - {-1}) for df in aod)


def test_trains_that_cannot_run_name_the_culprit(aod):
    Other = o2.declare_table("Other", fX="float32")

    class Ring(o2.AnalysisTask):
        other = o2.Produces[Other]

        def process(self, dcas: TracksDca): ...

    class Back(o2.AnalysisTask):
        dca = o2.Produces[TracksDca]

        def process(self, others: Other): ...

    with pytest.raises(WorkflowError, match=r"wait for each other's tables: .*ring -> back|back -> ring"):
        aod.run(Ring(), Back())
    with pytest.raises(WorkflowError, match="task 'reads-dca' reads TracksDca, which no task of this run makes"):
        aod.run(ReadsDca())
    with pytest.raises(WorkflowError, match="TracksDca is made by 'makes-dca' and by 'again'"):
        aod.run(MakesDca(), MakesDca(name="again"))
    with pytest.raises(WorkflowError, match="two tasks are called 'spectra'"):
        aod.run(Spectra(), Spectra())
    with pytest.raises(ConfigError, match=r"want instances of o2.AnalysisTask, got .*Spectra.*; write Spectra\(\)"):
        aod.run(Spectra)
    with pytest.raises(ConfigError, match="at least one task"):
        aod.run()


def test_rows_of_a_produced_table_are_checked(aod):
    class Wrong(o2.AnalysisTask):
        how = o2.Configurable(0, "which mistake")
        dca = o2.Produces[TracksDca]

        def process(self, tracks: o2.Tracks):
            y, ids = tracks.y(), tracks.collisionId()
            if self.how == 0:
                self.dca(y)
            elif self.how == 1:
                self.dca(y, ids[:-1] if len(ids) else ids)
            elif self.how == 2:
                self.dca(y, ids.astype(np.int64) + 2**40)
            else:
                self.dca(y, ids, dcaYZ=y)

    reasons = [run(aod, Wrong(how=how)).failed[0].reason for how in range(4)]
    assert "want a value for each of fDcaXY, fIndexCollisions; got 1 values" in reasons[0]
    assert "want columns of one length" in reasons[1]
    assert "column fIndexCollisions: want int32, got int64 that does not fit" in reasons[2]
    assert "no column 'dcaYZ'; did you mean fDcaXY" in reasons[3]


def test_a_join_of_tables_of_different_length_is_an_error_of_that_dataframe(aod):
    class Short(o2.AnalysisTask):
        dca = o2.Produces[TracksDca]

        def process(self, tracks: o2.Tracks):
            self.dca(tracks.y()[1:], tracks.collisionId()[1:])

    result = run(aod, Short(), ReadsDca())
    assert [f.task for f in result.failed] == ["reads-dca", "reads-dca"]  # the empty one fits
    assert "O2tracksdca in DF_" in result.failed[0].reason and "199 rows" in result.failed[0].reason


# Expressions


def test_expressions_give_the_masks_of_numpy_and_intervals_that_hold(rng=np.random.default_rng(1)):
    x, y = o2.col.x, o2.col("y")
    conditions = [
        abs(x) < 0.5,
        (x > 0.2) & (y <= 0.3),
        ~(x < 0.1) | (y == 2),
        (2 * x - y / 3 + 1 >= 0.7) & (x != 0),
        np.sqrt(abs(x)) < 0.5,
        -x > y**2,
    ]
    for condition in conditions:
        seen = set()
        for _ in range(200):
            low = rng.uniform(-1, 1, 2)
            values = {n: l + rng.uniform(0, 0.2, 20) for n, l in zip("xy", low, strict=True)}
            mask = condition.evaluate(values.__getitem__, {})
            ends = {n: Interval(v.min(), v.max(), nan=False) for n, v in values.items()}
            bounds = condition.bounds(ends.__getitem__, {})
            assert bounds.low <= mask.min() and mask.max() <= bounds.high, condition
            seen.add(bounds.high)
        if "sqrt" not in repr(condition) and "**" not in repr(condition):
            assert 0 in seen, condition  # some groups are known to be hopeless


def test_expressions_have_no_truth_value_and_take_no_arrays():
    with pytest.raises(SpecError, match="join conditions with &"):
        bool(o2.col.x < 1)
    with pytest.raises(SpecError, match="want numbers, configurables and col"):
        as_expression(np.arange(3))
    assert repr(abs(o2.col.eta) < 0.8) == "(abs(col.eta) < 0.8)"


# Services


class TellsWhatIsAsked:
    def get(self, path, timestamp):
        return f"{path}@{timestamp}"


def test_conditions_are_given_to_tasks_that_ask(aod, tmp_path):
    class Task(o2.AnalysisTask):
        ccdb = o2.Service("conditions")
        seen = o2.Output([])

        def process(self, collisions: o2.Collisions):
            self.seen += [self.ccdb.get("GLO/Field", 5)]

    assert run(aod, Task(), conditions=TellsWhatIsAsked()).seen == ["GLO/Field@5"] * 3
    store = LocalStore(tmp_path)
    store.put("GLO/Field", {"current": 30000}, 0, 10)

    class Reads(Task):
        def process(self, collisions: o2.Collisions):
            self.seen += [self.ccdb.get("GLO/Field", 5).content["current"]]

    assert run(aod, Reads(), conditions=tmp_path).seen == [30000] * 3
    assert "give run(..., conditions=store)" in run(aod, Task()).failed[0].reason


# Virtual records


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


def test_a_dataframe_without_a_table_is_left_out_and_told(tmp_path):
    full = random_dataframe(1, 50)
    without = {tree: columns for tree, columns in random_dataframe(2, 50).items() if tree != "O2trackextra_001"}
    bad = full | {"O2trackextra_001": Columns(full["O2trackextra_001"].schema, {
        name: array[:-1] for name, array in full["O2trackextra_001"].items()})}  # fmt: skip
    for i, dataframe in enumerate((full, without, bad)):
        commit_dataframe(Store(tmp_path), 100 + i, dataframe, {})
    result = run(o2.open_aod(tmp_path), Spectra())
    assert result.n_dataframes == 1 and not result.ok
    assert [f.dataframe for f in result.failed] == ["DF_101", "DF_102"]
    assert "process reads TracksExtra: DF_101 has no table O2trackextra" in str(result.failed[0])
    assert "O2trackextra_001 in DF_102 has 49 rows, O2track_iu has 50" in str(result.failed[1])
    assert "2 left out" in result.summary() and "DF_101" in result._repr_html_()
