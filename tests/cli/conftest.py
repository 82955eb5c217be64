"""A small CTF file, and a way to run the command line in this process."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from o2dask.cli.main import app
from o2dask.columns import Columns, Schema
from o2dask.ctf import CtfWriter
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId

DIGITS = DataRef("TST", "DIGITS")
TOY = Path(__file__).parent / "toy_flow.py"


def write_ctf(path, n=4, first=0, run=7):
    """Write a CTF file of `n` timeframes with a hundred digits each."""
    with CtfWriter(path) as writer:
        for i in range(first, first + n):
            arrays = {"value": np.arange(100, dtype=np.int64) * (i + 1)}
            columns = Columns(Schema.infer(str(DIGITS), arrays), arrays)
            writer.write(TimeframeId(run=run, tf_counter=i, first_orbit=32 * i), {DIGITS: columns})
    return path


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


def one_line(result, status, *words):
    """Assert that `result` is an error in one line that has all `words`."""
    assert result.status == status, result.err or result.out
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
