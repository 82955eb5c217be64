"""What a run writes: tables that tasks made, histograms and other results, and how they are read again."""

import numpy as np
import pytest
import uproot
from task_samples import MakesDca, Spectra, TracksDca, run

import o2dask as o2
from o2dask.analysis.physics.selection import CutFlow
from o2dask.analysis.results_file import write_results
from o2dask.errors import ConfigError, DataError


def test_derived_tables_become_one_root_file_or_a_folder(many, tmp_path):
    aod = o2.open_aod(many)[:4]
    result = run(aod, MakesDca(), save=tmp_path / "derived.root")
    assert result.saved == str(tmp_path / "derived.root")
    derived = o2.open_aod(tmp_path / "derived.root")
    assert derived.tables == ("O2tracksdca",) and len(derived) == 4
    np.testing.assert_array_equal(derived[2]["O2tracksdca"]["fDcaXY"], aod[2].tracks.y())
    assert derived[2].stored.parent == aod[2].stored.url
    assert [p.name for p in tmp_path.iterdir()] == ["derived.root"]
    with pytest.raises(ConfigError, match="exists"):
        run(aod, MakesDca(), save=tmp_path / "derived.root")
    with pytest.raises(ConfigError, match="no task makes a table"):
        run(aod, Spectra(), save=tmp_path / "x")
    with pytest.raises(ConfigError, match=r"no task makes 'O2tracksdcx' .*; did you mean O2tracksdca"):
        run(aod, MakesDca(), save=tmp_path / "x", keep=["O2tracksdcx"])


def test_a_later_run_reads_what_an_earlier_one_saved(many, tmp_path):
    aod = o2.open_aod(many)[:4]
    run(aod, MakesDca(), save=tmp_path / "derived")

    class Reads(o2.AnalysisTask):
        total = o2.Output(0.0)

        def process(self, dcas: TracksDca):
            self.total += float(dcas.dcaXY().sum(dtype=float))

    result = run(o2.open_aod(tmp_path / "derived"), Reads())
    assert result.total == pytest.approx(sum(float(df.tracks.y().sum(dtype=float)) for df in aod))


def test_results_come_back_from_the_file_as_they_were(many, tmp_path):
    result = run(o2.open_aod(many)[:4], Spectra())
    path = tmp_path / "AnalysisResults.root"
    result.save(path)
    back = o2.read_results(path)
    assert set(back) == {"spectra/h_pt", "spectra/h_weighted", "spectra/n", "spectra/names"}
    np.testing.assert_array_equal(back["spectra/h_pt"].values(flow=True), result.h_pt.values(flow=True))
    assert back["spectra/h_pt"].axes[0].label == "pT [GeV/c]"
    np.testing.assert_array_equal(back["spectra/h_pt"].axes[0].edges, result.h_pt.axes[0].edges)
    np.testing.assert_allclose(back["spectra/h_weighted"].variances(), result.h_weighted.variances())
    assert back["spectra/n"] == result.n and back["spectra/names"] == result.names
    with uproot.open(path) as file:
        assert file.classnames(recursive=False, cycle=False) == {"spectra": "TDirectory"}
        assert file["spectra/h_pt"].classname == "TH1D" and file["spectra/h_weighted"].classname == "TH2D"
    with pytest.raises(KeyError, match="no output 'spectra/h_p'; did you mean spectra/h_pt"):
        back["spectra/h_p"]
    with pytest.raises(DataError, match="no such file"):
        o2.read_results(tmp_path / "absent.root")


def test_every_kind_of_histogram_can_be_saved(tmp_path):
    kinds = {
        "counts": o2.Hist.new.Reg(3, 0, 3).Int64().fill([1, 1, 5]),
        "labels": o2.Hist.new.StrCat(["a", "b"], growth=True).Double().fill(["b", "c"]),
        "profile": o2.Hist.new.Reg(3, 0, 3).Mean().fill([1, 1], sample=[2, 4]),
        "cube": o2.Hist.new.Reg(3, 0, 3).Reg(2, 0, 1).Reg(2, 0, 1).Double().fill([1], [0.2], [0.7]),
        "four": o2.Hist.new.Reg(3, 0, 3).Reg(2, 0, 1).Reg(2, 0, 1).Bool().Weight().fill([1], [0], [0], [1], weight=2),
    }  # fmt: skip
    write_results(tmp_path / "r.root", {"t": kinds})
    back = o2.read_results(tmp_path / "r.root")
    for name, histogram in kinds.items():
        np.testing.assert_allclose(back[f"t/{name}"].values(), histogram.values(), err_msg=name)
    assert list(back["t/labels"].axes[0]) == ["a", "b", "c"]
    assert back["t/four"] == kinds["four"]
    flow = CutFlow(("pt",), 5, (4,), (3,))
    with pytest.raises(DataError, match=r"output t/bad: cannot be stored: object is nothing .*; all else is"):
        write_results(tmp_path / "r.root", {"t": {"bad": object(), "n": 3, "flow": flow, "some": {2, 1}}})
    back = o2.read_results(tmp_path / "r.root")
    assert back["t/n"] == 3 and back["t/some"] == [1, 2] and CutFlow(**back["t/flow"]).after == [3]
    assert len(list(tmp_path.iterdir())) == 1
