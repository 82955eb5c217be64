"""The examples run, top to bottom, on a small AOD that is made up but hangs together: tracks are smeared particles."""

import re
import runpy
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from aod_samples import random_dataframe
from nbclient import NotebookClient

from o2dask.aod.store import Store, commit_dataframe
from o2dask.columns import Columns, Jagged

EXAMPLES = Path(__file__).parents[2] / "examples"
N_PARTICLES = 2000
PRIMARY = np.uint8(4)


def coherent_dataframe(seed: int) -> dict[str, Columns]:
    """Return core tables in which nine tracks out of ten have a particle of nearly the same momentum."""
    rng = np.random.default_rng(seed)
    tables = {tree: dict(columns) for tree, columns in random_dataframe(seed, N_PARTICLES // 2).items()}
    schemas = {tree: columns.schema for tree, columns in random_dataframe(seed, N_PARTICLES // 2).items()}
    pt, eta, phi = rng.exponential(0.6, N_PARTICLES), rng.uniform(-1, 1, N_PARTICLES), rng.uniform(0, 6.28, N_PARTICLES)
    momentum = {"fPx": pt * np.cos(phi), "fPy": pt * np.sin(phi), "fPz": pt * np.sinh(eta)}
    tables["O2mcparticle_001"] |= {name: values.astype(np.float32) for name, values in momentum.items()}
    tables["O2mcparticle_001"] |= {
        "fPdgCode": rng.choice([211, -211, 321, 22], N_PARTICLES).astype(np.int32),
        "fFlags": np.full(N_PARTICLES, PRIMARY),
        "fIndexArray_Mothers": Jagged(np.zeros(N_PARTICLES + 1, np.int32), np.zeros(0, np.int32)),
        "fIndexSlice_Daughters": np.full((N_PARTICLES, 2), -1, np.int32),
    }
    add_k0s(tables["O2mcparticle_001"])
    n_tracks = N_PARTICLES // 2
    labels = rng.permutation(N_PARTICLES)[:n_tracks].astype(np.int32)
    tables["O2track_iu"] |= {
        "fTgl": np.sinh(eta[labels]).astype(np.float32),
        "fSigned1Pt": (rng.choice([-1, 1], n_tracks) / pt[labels] * rng.normal(1, 0.01, n_tracks)).astype(np.float32),
    }
    labels[::10] = -1
    tables["O2mctracklabel"]["fIndexMcParticles"] = labels
    tables["O2trackextra_001"] |= {
        "fTPCNClsFindable": np.full(n_tracks, 150, np.uint8),
        "fTPCNClsFindableMinusFound": rng.integers(0, 100, n_tracks).astype(np.int8),
    }
    return {tree: Columns(schemas[tree], arrays) for tree, arrays in tables.items()}


def add_k0s(particles) -> None:
    """Make particle 0 a K0S at rest and the last two its pions."""
    momentum = np.sqrt((0.497611 / 2) ** 2 - 0.139570**2)
    rows = [0, N_PARTICLES - 2, N_PARTICLES - 1]
    particles["fPdgCode"][rows] = (310, 211, -211)
    particles["fPx"][rows] = (0, momentum, -momentum)
    particles["fPy"][rows] = particles["fPz"][rows] = 0
    particles["fE"][rows] = (0.497611, 0.497611 / 2, 0.497611 / 2)
    particles["fIndexSlice_Daughters"][0] = rows[1:]


@pytest.fixture(scope="module")
def small_aod(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example_aod")
    for i in range(2):
        commit_dataframe(Store(folder), (500000 << 32) + 32 * i, coherent_dataframe(i), {})
    return folder


def notebooks():
    return sorted(EXAMPLES.glob("*.ipynb"))


def outputs_of(path, aod, monkeypatch):
    """Run a notebook on an AOD; return what it printed, and what it showed as HTML."""
    monkeypatch.setenv("O2DASK_AOD", str(aod))
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = "".join(output.get("data", {}).get("text/html", "") for output in outputs)
    return "".join(output.get("text", "") for output in outputs), shown


def test_notebook_of_spectra_runs_from_top_to_bottom(small_aod, monkeypatch):
    told, shown = outputs_of(EXAMPLES / "spectra.ipynb", small_aod, monkeypatch)
    assert "expected" in told
    assert "Warning" not in told + shown


def test_notebook_of_v0s_finds_k0s_at_their_mass(physics_aod, monkeypatch):
    told, shown = outputs_of(EXAMPLES / "v0.ipynb", physics_aod, monkeypatch)
    n, error = map(int, re.search(r"K0S: (\d+) \+- (\d+) above", told).groups())
    assert n > 4 * error
    assert abs(float(re.search(r"mean mass (\S+) GeV", told)[1]) - 0.4976) < 0.002
    assert "Warning" not in told + shown
    assert shown.count("<progress value='2' max='2'></progress> 2/2") == 2  # the bar of each run


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_notebook_is_short_and_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert sum(bool(line.strip()) for cell in code for line in cell.source.splitlines()) < 60


def test_k0s_have_their_mass_and_their_daughters(small_aod, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["k0s_mass.py", str(small_aod)])
    runpy.run_path(str(EXAMPLES / "k0s_mass.py"))
    text = capsys.readouterr().out
    assert "2 K0S -> pi+ pi- in 2 dataframes" in text
    assert "mass 0.49761" in text
