"""What is shown of an AOD, its tables and rows, and of results."""

from aod_samples import CORE
from task_samples import FailsOnLong, Spectra, run

import o2dask as o2
from o2dask.analysis import open_aod
from o2dask.analysis.execute import Failure
from o2dask.analysis.result import Result


def test_what_is_shown_names_tables_rows_and_sizes(aod):
    assert repr(aod).splitlines()[0].startswith("AOD of 3 dataframes, ")
    assert any("tracks" in line and "O2track_iu" in line and " 320 " in line for line in repr(aod).splitlines())
    html = aod._repr_html_()
    assert html.count("<tr>") == 1 + len(CORE) + 1 + 3
    assert "<td>500000</td>" in html
    assert "O2mcparticle_001" in aod[0]._repr_html_()
    assert "tpcNClsFound()" in aod[0].tracks._repr_html_()
    assert "energy(m)" in aod[0].tracks._repr_html_()
    assert repr(aod[0].tracks).startswith("<tracks: 200 rows of O2track_iu, O2trackcov_iu")
    assert "lists" in repr(aod[0].collisions.tracks)
    assert repr(aod[0].tracks[3]) == f"<row 3 of tracks in {aod[0].label}>"


def test_a_long_list_of_dataframes_is_cut_when_shown(aod_folder):
    html = open_aod([aod_folder] * 8)._repr_html_()
    assert "... and 4 more" in html


def test_results_show_themselves_and_plot(many):
    import matplotlib as mpl

    mpl.use("agg")
    result = run(o2.open_aod(many)[:4], Spectra(), FailsOnLong())
    html = result._repr_html_()
    assert html.count("<details") == 5 and "<svg" in html and "pT [GeV/c]" in html
    assert "4 dataframes" in repr(result) and "h_pt: histogram of pT [GeV/c]" in repr(result)
    assert result.h_pt.plot()
    assert {"h_pt", "n", "failed"} <= set(dir(result))


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
