"""What else a class body may declare: settings and groups of them, partitions, configurable axes, registries."""

import json

import hist
import numpy as np
import pytest
from task_samples import Spectra, run

import o2dask as o2
from o2dask.analysis.configuration import read_config
from o2dask.analysis.errors import UnknownNameError
from o2dask.analysis.execute import Job, pack, unpack
from o2dask.errors import ConfigError, ProcessorError, SpecError


def must_run(aod, *tasks, **options):
    return aod.run(*tasks, scheduler="inline", progress=False, on_error="raise", **options)


class Cuts(o2.ConfigurableGroup):
    eta_max = o2.Configurable(0.8, "maximum |eta|", minimum=0)
    pt_axis = o2.ConfigurableAxis([20, 0, 10], "pT [GeV/c]")


class Charges(o2.AnalysisTask):
    """Positive tracks and others, grouped by a partition."""

    cuts = Cuts()
    eta_axis = o2.ConfigurableAxis([0, -1, -0.5, 0, 1], "eta")
    positive = o2.Partition(o2.Tracks, o2.col.signed1Pt > 0)
    central_negative = o2.Partition(o2.Filtered[o2.Tracks], o2.col.signed1Pt < 0)
    central = o2.Filter(abs(o2.col.eta) < cuts.eta_max)
    registry = o2.HistogramRegistry({"tracks/pt": [cuts.pt_axis]}, pt_eta=[cuts.pt_axis, eta_axis])
    n_positive, n_negative, wrong = o2.Output(0), o2.Output(0), o2.Output(0)

    def init(self):
        self.registry.add("sizes", hist.axis.Regular(10, 0, 100), storage="Int64")

    def process(self, tracks: o2.Tracks):
        self.n_positive += len(self.positive)
        self.n_negative += len(self.central_negative)
        self.registry.fill("tracks/pt", self.positive.pt())
        self.registry.fill("pt_eta", self.positive.pt(), self.positive.eta())

    @o2.ProcessSwitch("by collision")
    def process_each(self, collision: o2.Collision, tracks: o2.Join[o2.Tracks, o2.TracksExtra]):
        self.registry["sizes"].fill(len(self.positive))
        same = tracks[tracks.signed1Pt() > 0]
        self.wrong += not np.array_equal(self.positive.tpcSignal(), same.tpcSignal())


def test_partitions_are_the_rows_that_pass_of_the_dataframe_or_of_the_row(aod):
    result = must_run(aod, Charges())
    tracks = aod.tracks
    positive = tracks[tracks.signed1Pt() > 0]
    assert result.n_positive == len(positive) > 0
    assert result.n_negative == ((tracks.signed1Pt() < 0) & (abs(tracks.eta()) < 0.8)).sum() > 0
    assert result.wrong == 0
    assert result.registry["sizes"].sum(flow=True) == len(aod.collisions)
    np.testing.assert_array_equal(
        result.registry["tracks/pt"].values(), np.histogram(positive.pt().clip(max=99), 20, (0, 10))[0]
    )


def test_a_partition_follows_the_settings_of_its_task(aod):
    few = must_run(aod, Charges(**{"cuts.eta_max": 0.1}))
    tracks = aod.tracks
    assert few.n_negative == ((tracks.signed1Pt() < 0) & (abs(tracks.eta()) < 0.1)).sum()


def test_wrong_partitions_are_told_with_task_and_column(aod):
    class Wrong(o2.AnalysisTask):
        long = o2.Partition(o2.Tracks, o2.col.tpcNClsFound > 70)

        def process(self, tracks: o2.Tracks): ...

    result = aod[:1].run(Wrong(), scheduler="inline", progress=False)
    assert "partition 'long' of process: Tracks has no 'tpcNClsFound'" in str(result.failed[0])
    with pytest.raises(SpecError, match=r"partition 'long' of <task wrong.*: has rows while a process function runs"):
        len(Wrong().long)
    with pytest.raises(SpecError, match="Partition: want a condition"):
        o2.Partition(o2.Tracks, True)
    with pytest.raises(SpecError, match="Partition: want a table"):
        o2.Partition(o2.Track, o2.col.pt > 1)


def test_groups_of_settings_are_set_by_the_name_of_the_group(aod):
    for given in ({"cuts": {"etaMax": "0.5"}}, {"cuts.eta_max": 0.5}):
        task = Charges(**given)
        assert task.cuts.eta_max == 0.5 and task.settings["cuts.eta_max"] == 0.5
    assert Charges().cuts.eta_max == 0.8 and Cuts(eta_max=0.3).eta_max is not None
    assert task.helps["cuts.eta_max"] == "maximum |eta|"
    with pytest.raises(SpecError, match=r"task 'charges': option 'eta_max': want 0 or more, got -1"):
        Charges(**{"cuts.eta_max": -1})
    with pytest.raises(SpecError, match="Cuts has no setting 'eta'; did you mean eta_max"):
        Cuts(eta=1)

    class Other(o2.AnalysisTask):
        cuts = Cuts(eta_max=0.3)

        def process(self, tracks: o2.Tracks): ...

    assert Other().cuts.eta_max == 0.3 and Other(cuts={"eta_max": 0.2}).cuts.eta_max == 0.2


def test_axes_are_settings_and_registries_follow_them():
    assert Charges().registry["pt_eta"].axes[0] == hist.axis.Regular(20, 0, 10, name="pt_axis", label="pT [GeV/c]")
    assert Charges().registry["pt_eta"].axes[1].edges.tolist() == [-1, -0.5, 0, 1]
    task = Charges(eta_axis="[0, -2, 2]", **{"cuts.pt_axis": {"values": ["0", "0", "1", "5"]}})
    assert task.registry["tracks/pt"].axes[0].edges.tolist() == [0, 1, 5]
    assert task.registry["pt_eta"].axes[1].edges.tolist() == [-2, 2]
    assert json.loads(json.dumps(task.settings))["cuts.pt_axis"] == [0, 0, 1, 5]
    for wrong in ([10, 1], [10, 1, 0], [0, 1, 1], [2.5, 0, 1], [5, 0, 1, 2]):
        with pytest.raises(SpecError, match="want bins, lowest and highest edge, or 0 and growing edges"):
            o2.ConfigurableAxis(wrong, "x")


def test_registries_tell_what_they_lack_and_refuse_what_is_no_axis():
    with pytest.raises(KeyError, match="no histogram 'pt'; it has pt_eta, tracks/pt"):
        Charges().registry.fill("pt", [1])
    with pytest.raises(SpecError, match="histogram 'pt': want a list of axes"):
        o2.HistogramRegistry(pt=3)
    with pytest.raises(SpecError, match="is there already"):
        Charges().registry.add("tracks/pt", hist.axis.Regular(3, 0, 1))

    class Wrong(o2.AnalysisTask):
        registry = o2.HistogramRegistry(pt=["pt"])

        def process(self, tracks: o2.Tracks): ...

    with pytest.raises(SpecError, match="want axes of hist or ConfigurableAxis, got 'pt'"):
        Wrong()


def test_tasks_with_all_of_it_travel_to_workers(aod, tmp_path):
    (task,) = unpack(pack(Job(tasks=(Charges(**{"cuts.eta_max": 0.4}),)))).tasks
    assert task.cuts.eta_max == 0.4 and list(task.registry) == ["tracks/pt", "pt_eta", "sizes"]
    result = must_run(aod, Charges())
    result.save(tmp_path / "out.root")
    back = o2.read_results(tmp_path / "out.root")
    assert back["charges/registry/tracks/pt"].values().sum() == result.registry["tracks/pt"].values().sum()


def test_a_setting_that_is_not_of_the_task_is_told(aod):
    class Stranger(o2.AnalysisTask):
        cut = o2.Filter(abs(o2.col.eta) < Cuts.eta_max)

        def process(self, tracks: o2.Filtered[o2.Tracks]): ...

    with pytest.raises(ProcessorError, match=r"configurable .eta_max.: is not one of the task"):
        must_run(aod, Stranger())


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
