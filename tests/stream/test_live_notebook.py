"""The notebook of the live view runs from top to bottom on a stream of its own."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own sockets; those of the notebook are in its outputs
def test_the_notebook_of_the_live_view_sees_a_stream_from_its_start_to_its_end(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(EXAMPLES / "live.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    told = "".join(output.get("text", "") for output in outputs)
    shown = "".join(output.get("data", {}).get("text/html", "") for output in outputs)
    assert "STOPPED, 160 committed" in told and re.search(r"peak at 497\.\d+ MeV/c2", told)
    assert "qc/mass" in shown and "{" not in shown, "numbers, no dicts"
    assert "Warning" not in told + shown and "ERROR" not in told
