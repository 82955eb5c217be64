"""The command `o2dask conditions`, in this process."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from o2dask.cli.conditions import parse_time
from o2dask.cli.main import app
from o2dask.columns import Columns, Schema
from o2dask.conditions import LocalStore, RunInfo, put_run_info
from o2dask.ctf import CtfWriter
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*args, status=0):
        result = CliRunner().invoke(app, ["conditions", *map(str, args)])
        assert result.exit_code == status, result.output
        return result.stdout if status == 0 else result.stderr

    return run


def test_put_get_list_and_snapshot_go_round(run, tmp_path):
    (tmp_path / "field.json").write_text('{"kG": 5.0}')
    np.savez(tmp_path / "gain.npz", gain=np.ones(3))
    run("put", "store", "GLO/FIELD", "field.json", "--meta", "maker=me")
    run("put", "store", "TPC/Gain", "gain.npz", "--from", "2024-05-01", "--until", "2024-06-01T00:00")
    assert "kG" in run("get", "store", "GLO/FIELD", "--at", "2024-05-02")
    told = json.loads(run("get", "store", "GLO/FIELD", "--meta", "maker=me", "--json"))
    assert (told["metadata"], told["holds"]) == ({"maker": "me"}, [0, 9999999999999])
    assert [h["path"] for h in json.loads(run("list", "store", "--json"))] == ["GLO/FIELD", "TPC/Gain"]
    assert "2024-06-01" in run("list", "store", "TPC/*")
    put_run_info(
        LocalStore("store"),
        RunInfo(run=7, start_ms=parse_time("2024-05-02"), end_ms=parse_time("2024-05-03"), orbit_reset_us=0),
    )
    assert "3 objects" in run("snapshot", "store", "run7.zip", "TPC/*", "GLO/FIELD", "--run", 7)
    run("get", "run7.zip", "TPC/Gain", "--at", "2024-05-02T12:00", "--out", "copy.npz")
    assert (tmp_path / "copy.npz").read_bytes() == (tmp_path / "gain.npz").read_bytes()
    assert "2 objects" in run("snapshot", "store", "may.zip", "*", "--from", "2024-05-01", "--until", "2024-06-01")
    assert "3 objects" in run("rebuild", "store")


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (("get", "nowhere", "A/B"), 2, "no such folder or file"),
        (("get", ".", "A/B", "--at", "noon"), 2, "want ms since 1970"),
        (("get", ".", "A/B"), 1, "no A/B is valid"),
        (("put", "store", "A/B", "missing.json"), 2, "cannot be read"),
        (("put", "store", "A/B", "broken.json"), 1, "cannot be read as application/json"),
        (("put", "store", "A/B", "broken.npz"), 1, "cannot be read as application/x-npz"),
        (("put", "store", "A/B", "good.json", "--meta", "x"), 2, "want KEY=VALUE"),
        (("put", "store", "A/B", "good.json", "--from", "5", "--until", "5"), 2, "valid_from < valid_until"),
        (("snapshot", ".", "s.zip", "*"), 2, "either --run, or --from and --until"),
        (("snapshot", ".", "s.zip", "*", "--run", "7", "--from", "1"), 2, "either --run"),
        (("snapshot", ".", "s.zip", "--run", "7"), 2, "want paths of conditions, or --workflow"),
        (("defaults", "store", "--workflow", "none"), 2, "unknown workflow 'none'"),
        (("list", "broken.npz"), 2, "some other file"),
    ],
)
def test_mistakes_are_told_in_one_line(run, tmp_path, args, status, message):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    (tmp_path / "good.json").write_text("1")
    told = run(*args, status=status)
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "store").exists()


def test_a_snapshot_takes_nothing_in(run, tmp_path):
    (tmp_path / "good.json").write_text("1")
    run("put", "store", "A/B", "good.json")
    run("snapshot", "store", "s.zip", "*", "--from", 0, "--until", 10)
    assert "is read-only" in run("put", "s.zip", "A/B", "good.json", status=2)
    assert "is read-only" in run("defaults", "s.zip", status=2)


FLOW = """
import o2dask as o2
from o2dask.ctf import ctf_reader

def scale(ctx):
    ctx.outputs.make("scaled", {"y": ctx.inputs["digits"]["value"] * ctx.inputs["gain"]["gain"][0]})

def flow():
    inputs = "digits:TST/DIGITS;gain:TST/GAIN?lifetime=condition&path=TST/Calib/Gain"
    user = o2.DataProcessorSpec(name="scale", inputs=inputs, outputs="scaled:TST/SCALED", algorithm=scale)
    return o2.WorkflowSpec("scaling", (ctf_reader("TST/DIGITS"), user))
"""


def write_run(n=3, run=7):
    """Write a CTF of a few timeframes, conditions that change within them, and a snapshot for the run."""
    digits = DataRef("TST", "DIGITS")
    with CtfWriter("tf.ctf") as writer:
        for i in range(n):
            arrays = {"value": np.arange(5) + i}
            id_ = TimeframeId(run=run, tf_counter=i, first_orbit=32 * i)
            writer.write(id_, {digits: Columns(Schema.infer("TST/DIGITS", arrays), arrays)})
    store, info = LocalStore("store"), RunInfo.simulated(run)
    for i in range(n):  # a timeframe is 2.85 ms
        store.put("TST/Calib/Gain", {"gain": np.array([i + 1])}, info.start_ms + 2 * i, info.end_ms, created=i + 1)
    put_run_info(store, info)


def test_a_run_takes_its_conditions_from_a_snapshot_and_every_runner_makes_the_same_of_them(run, tmp_path):
    (tmp_path / "flow.py").write_text(FLOW)
    runner = CliRunner()
    run("list", ".")  # now in tmp_path
    write_run()
    run("snapshot", "store", "run7.zip", "TST/*", "--run", 7)

    def reco(out, *more):
        words = ["tf.ctf", "--out", out, "--workflow", "flow.py:flow", "--keep", "TST/SCALED", *more]
        return runner.invoke(app, ["reco", *words])

    made = {}
    for how in (("inline",), ("batch", "--workers", "1")):
        result = reco(how[0], "--conditions", "run7.zip", "--runner", *how)
        assert result.exit_code == 0, result.output
        made[how[0]] = [f.read_bytes() for f in sorted((tmp_path / how[0]).rglob("*.arrow"))]
    assert made["batch"] == made["inline"]
    assert len(made["inline"]) == 3
    tables = [pa.ipc.open_file(content).read_all()["y"].to_pylist() for content in made["inline"]]
    assert tables == [[0, 1, 2, 3, 4], [2, 4, 6, 8, 10], [6, 9, 12, 15, 18]]
    refused = reco("none", "--runner", "inline")
    assert (refused.exit_code, "there is no store of conditions" in refused.stderr) == (2, True)
    refused = reco("none", "--runner", "inline", "--conditions-not-after", "now")
    assert (refused.exit_code, "want --conditions" in refused.stderr) == (2, True)
    shown = runner.invoke(app, ["workflow", "show", "flow.py:flow", "--conditions", "store"])
    assert "from the conditions" in shown.stdout, shown.output


def test_get_shows_what_is_in_a_root_object(run):
    run("put", "store", "GLO/Config/GRPMagField", Path(__file__).parents[1] / "calibration/ccdb/GRPMagField.root")
    assert "'mL3Current': 29996.77" in run("get", "store", "GLO/Config/GRPMagField")
