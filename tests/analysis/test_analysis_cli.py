"""``o2dask analysis`` as it is typed: settings, bad input, exit status; and the example task."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from aod_samples import random_dataframe

import o2dask as o2
from o2dask.aod.conversion import convert
from o2dask.aod.store import Store, commit_dataframe
from o2dask.cli.main import app

EXAMPLE = Path(__file__).parents[2] / "examples/spectra_task.py"
SPECTRA = f"{EXAMPLE}:Spectra"

DERIVED = """
import o2dask as o2
Dca = o2.declare_table("TracksDca", fDcaXY="float32")

class MakesDca(o2.AnalysisTask):
    dca = o2.Produces[Dca]
    def process(self, tracks: o2.Tracks):
        self.dca(tracks.y())

class Raises(o2.AnalysisTask):
    def process(self, tracks: o2.Tracks):
        if len(tracks) > 150:
            raise ValueError("too many")
"""


def o2dask(capsys, *args):
    """Return exit status, stdout and stderr of a command line."""
    with pytest.raises(SystemExit) as ended:
        app([str(arg) for arg in args])
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


@pytest.fixture
def folder(tmp_path):
    for i, n in enumerate((200, 0, 120)):
        commit_dataframe(Store(tmp_path / "aod"), 1000 + i, random_dataframe(i, n), {})
    (tmp_path / "derived.py").write_text(DERIVED)
    return tmp_path


def n_tracks(aod, eta_max, min_clusters):
    good = 0
    for df in o2.open_aod(aod):
        good += int(((abs(df.tracks.eta()) < eta_max) & (df.tracks.tpcNClsFound() >= min_clusters)).sum())
    return good


def test_histograms_land_in_a_folder_of_their_task(folder, capsys):
    out = folder / "AnalysisResults.root"
    status, told, _ = o2dask(
        capsys, "analysis", SPECTRA, "--aod", folder / "aod", "--out", out, "--scheduler", "inline",
        "-o", "spectra.eta_max=0.5", "-o", "spectra.minClusters=0",
    )  # fmt: skip
    assert status == 0 and "3 dataframes, 640 rows" in told and str(out) in told
    assert o2.read_results(out)["spectra/h_pt"].sum(flow=True) == n_tracks(folder / "aod", 0.5, 0) > 0


def test_workers_get_tasks_of_files_that_they_do_not_have(folder, capsys):
    out = folder / "r.root"
    status, _, _ = o2dask(capsys, "analysis", SPECTRA, "--aod", folder / "aod", "--out", out, "--workers", 1)
    assert status == 0
    assert o2.read_results(out)["spectra/h_pt"].sum(flow=True) == n_tracks(folder / "aod", 0.8, 70)


def test_configurations_of_o2_are_taken_and_the_command_line_wins(folder, capsys):
    config = folder / "dpl-config.json"
    settings = {"internal-dpl-clock": {"x": "1"}, "spectra": {"eta_max": "0.3", "minClusters": "0", "process_mc": "0"}}
    config.write_text(json.dumps(settings))
    args = ["analysis", SPECTRA, "--aod", folder / "aod", "--config", f"json://{config}", "--scheduler", "inline"]
    assert o2dask(capsys, *args, "--out", folder / "a.root")[0] == 0
    assert o2dask(capsys, *args, "--out", folder / "b.root", "-o", "spectra.eta_max=0.6")[0] == 0
    found = [o2.read_results(folder / name)["spectra/h_pt"].sum(flow=True) for name in ("a.root", "b.root")]
    assert found == [n_tracks(folder / "aod", 0.3, 0), n_tracks(folder / "aod", 0.6, 0)]
    assert o2.read_results(folder / "a.root")["spectra/h_pt_generated"].sum(flow=True) == 0
    config.write_text(json.dumps({"eta_max": 0.1, "unheard": 3}))
    status, _, err = o2dask(capsys, *args, "--out", folder / "c.root")
    assert status == 2 and "no task has an option 'unheard'; there are spectra.eta_max" in err


def test_bad_files_make_the_status_one_and_the_rest_is_analysed(folder, capsys):
    convert(folder / "aod", folder / "good.root")
    (folder / "bad.root").write_bytes(b"nothing of value")
    (folder / "files.txt").write_text(f"{folder / 'bad.root'}\n{folder / 'good.root'}\n{folder / 'gone.root'}\n")
    status, told, _ = o2dask(
        capsys, "analysis", SPECTRA, "--aod", f"@{folder / 'files.txt'}", "--out", folder / "r.root",
        "--scheduler", "inline", "-o", "spectra.min_clusters=0",
    )  # fmt: skip
    assert status == 1
    assert "3 dataframes" in told and "2 left out" in told
    assert "bad.root: truncated, or not a ROOT file" in told and "gone.root: no such file" in told
    assert o2.read_results(folder / "r.root")["spectra/h_pt"].sum(flow=True) == n_tracks(folder / "aod", 0.8, 0)


def test_machines_are_told_in_json(folder, capsys):
    status, out, err = o2dask(
        capsys, "analysis", f"{folder / 'derived.py'}:Raises", "--aod", folder / "aod", "--out", folder / "r.root",
        "--scheduler", "inline", "--log-json",
    )  # fmt: skip
    summary = json.loads(err.splitlines()[-1])
    assert (status, out, summary["status"], summary["n_dataframes"]) == (1, "", 1, 2)
    (failed,) = summary["failed"]
    assert failed["dataframe"] == "DF_1000" and failed["task"] == "raises"
    assert "ValueError: too many (derived.py, line" in failed["reason"]


def test_tables_are_saved(folder, capsys):
    status, told, _ = o2dask(
        capsys, "analysis", f"{folder / 'derived.py'}:MakesDca", "--aod", folder / "aod", "--out", folder / "r.root",
        "--scheduler", "inline", "--save", folder / "derived.root",
    )  # fmt: skip
    assert status == 0 and "tables saved to" in told
    assert len(o2.open_aod(folder / "derived.root")["O2tracksdca"]) == 320


def test_show_lists_what_there_is_to_set(folder, capsys):
    _, told, _ = o2dask(capsys, "analysis", SPECTRA, "--show", "-o", "spectra.eta_max=0.5")
    assert "process(collisions: Collisions, tracks: Filtered[Join[Tracks, TracksExtra]])" in told
    assert "spectra.eta_max=0.5  maximum |eta|" in told


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["absent.py:Spectra", "--aod", "x"], "no file 'absent.py'"),
        ([f"{EXAMPLE}:Spectre", "--aod", "x"], "has no 'Spectre'; did you mean 'Spectra'"),
        ([f"{EXAMPLE}:main", "--aod", "x"], "want a class derived from o2.AnalysisTask"),
        ([SPECTRA], "--aod: want files"),
        ([SPECTRA, "--aod", "x", "-o", "spectrum.eta_max=1"], "no task 'spectrum'; did you mean 'spectra'"),
        ([SPECTRA, "--aod", "x", "-o", "spectra.eta_max=wide"], "option 'eta_max': want float, got 'wide'"),
        ([SPECTRA, "--aod", "x", "--out", "results.txt"], "want a file *.root"),
        ([SPECTRA, "--aod", "no/such/*.root", "--scheduler", "inline"], "matches no file"),
        ([SPECTRA, SPECTRA, "--aod", "x", "--scheduler", "inline"], "two tasks are called 'spectra'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_usage_is_one_line_and_status_two(args, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = o2dask(capsys, "analysis", *args)
    assert status == 2 and out == ""
    assert message in err and len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_example_runs_and_is_short(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["spectra_task.py", str(folder / "aod")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    told = capsys.readouterr().out
    assert "tracks in 32 collisions" in told and "expected" in told
    assert "spectra/h_pt" in o2.read_results(folder / "AnalysisResults.root")
    assert sum(bool(line.strip()) for line in EXAMPLE.read_text().splitlines()) < 60
