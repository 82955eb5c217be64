"""A small CTF file, and a way to run the command line in this process."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_tools import write_ctf
from typer.testing import CliRunner

from o2dask.cli.main import app

TOY = Path(__file__).parent / "toy_flow.py"


@pytest.fixture
def ctf(tmp_path):
    return write_ctf(tmp_path / "tf.ctf")


@pytest.fixture
def toy(tmp_path):
    """The toy file at a place of its own: ``file.py:function`` names nothing of the tests."""
    return shutil.copy(TOY, tmp_path / "toy_flow.py")


@pytest.fixture
def run(tmp_path, toy, monkeypatch):
    """Return a function that runs o2dask in `tmp_path` and gives status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*args, **more):
        result = CliRunner().invoke(app, [str(a) for a in args], **more)
        return SimpleNamespace(status=result.exit_code, out=result.stdout, err=result.stderr)

    return run


@pytest.fixture
def reco(run):
    """Return a function that runs the toy reconstruction in this process into ``out``."""

    def reco(*args, out="out", function="flow"):
        words = ["--out", out, "--workflow", f"toy_flow.py:{function}", "--keep", "TST/SCALED", "--runner", "inline"]
        return run("reco", *args, *words)

    return reco
