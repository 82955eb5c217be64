"""What goes wrong in a user's hands ends in one line that says what to do, and a status; nothing written is lost."""

import os
import socket
import subprocess
import sys

import pytest
from cli_tools import one_line, write_ctf

from o2dask.runners.settings import BatchSettings


def test_a_missing_file(reco):
    one_line(reco("nowhere.ctf"), 2, "nowhere.ctf", "no such file", "check the path")


def test_an_empty_file(reco, tmp_path):
    (tmp_path / "empty.ctf").touch()
    one_line(reco("empty.ctf"), 2, "empty.ctf", "is empty", "make it again")


def test_a_folder(reco, tmp_path):
    (tmp_path / "folder").mkdir()
    one_line(reco("folder"), 2, "is a folder", "*.ctf")


def test_a_pattern_without_matches(reco):
    one_line(reco("run*/x.ctf"), 2, "no file matches", "check the pattern")


def test_a_list_that_is_not_there(reco):
    one_line(reco("@list.txt"), 2, "list.txt", "no such list")


def test_an_alien_file(reco, tmp_path):
    (tmp_path / "alien.ctf").write_bytes(b"GIF89a" * 100)
    one_line(reco("alien.ctf"), 1, "no timeframe", "alien.ctf", "not a compressed timeframe file")


def test_a_file_of_another_version(reco, tmp_path, monkeypatch):
    with monkeypatch.context() as later:
        later.setattr("o2dask.ctf.writer.CTF_VERSION", 9)
        write_ctf(tmp_path / "later.ctf")
    one_line(reco("later.ctf"), 1, "later.ctf", "CTF version 9", "use another release")


def test_a_truncated_file_costs_what_it_lost_and_no_more(reco, run, tmp_path, ctf):
    data = ctf.read_bytes()
    (tmp_path / "cut.ctf").write_bytes(data[: len(data) // 2])
    result = reco("cut.ctf")
    assert result.status == 1
    assert "Traceback" not in result.err + result.out
    done = list((tmp_path / "out").glob("run7_*"))
    assert 1 <= len(done) < 4
    assert f"{len(done)} of " in result.out
    assert "cut.ctf" in result.out


def test_a_damaged_file_among_good_ones_is_listed_and_the_others_are_done(reco, tmp_path, ctf):
    (tmp_path / "alien.ctf").write_bytes(b"GIF89a" * 100)
    result = reco("tf.ctf", "alien.ctf")
    assert result.status == 1
    assert "4 of 4 timeframes committed" in result.out
    assert "alien.ctf" in result.out
    assert len(list((tmp_path / "out").glob("run7_*"))) == 4


def test_a_flipped_bit_costs_its_own_timeframe(reco, tmp_path, ctf):
    data = bytearray(ctf.read_bytes())
    data[len(data) // 2] ^= 0x10
    (tmp_path / "bad.ctf").write_bytes(bytes(data))
    result = reco("bad.ctf")
    assert result.status == 1
    assert len(list((tmp_path / "out").glob("run7_*"))) >= 2
    assert "bad.ctf" in result.out


def test_the_same_timeframe_in_two_files(reco, tmp_path, ctf):
    write_ctf(tmp_path / "again.ctf", n=1)
    one_line(reco("tf.ctf", "again.ctf"), 2, "tf.ctf", "again.ctf", "leave one")


def test_an_unknown_workflow(run, ctf):
    one_line(run("reco", ctf, "--out", "aod", "--workflow", "asynk"), 2, "'asynk'", "did you mean 'async'", "sim")
    one_line(run("workflow", "show", "no_such.py:f"), 2, "no file 'no_such.py'")
    one_line(run("workflow", "show", "toy_flow.py:flw"), 2, "did you mean 'flow'")


def test_a_workflow_that_cannot_be_made_says_why(run):
    one_line(run("workflow", "show", "toy_flow.py:broken"), 2, "the calibration is not there; fetch it first")


def test_a_workflow_with_a_loop(run):
    one_line(run("workflow", "show", "toy_flow.py:loop"), 2, "one -[TST/B/0]-> two -[TST/A/0]-> one")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("scaler.factr=3", ("no option 'factr'", "did you mean 'factor'")),
        ("scalr.factor=3", ("no processor 'scalr'", "did you mean 'scaler'")),
        ("scaler.factor=many", ("'scaler'", "'factor'", "want int", "'many'")),
        ("scaler.factor", ("want processor.option=value",)),
        ("factor=3", ("want processor.option=value",)),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_an_unknown_or_wrong_option(reco, ctf, option, words):
    one_line(reco(ctf, "-o", option), 2, *words)


def test_an_output_with_another_configuration_loses_nothing(reco, ctf, tmp_path):
    assert reco(ctf).status == 0
    before = sorted(p.name for p in (tmp_path / "out").rglob("*"))
    for more in ([], ["--resume"]):
        one_line(reco(ctf, "-o", "scaler.factor=5", *more), 2, "out", "another")
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == before


def test_an_aod_folder_with_another_configuration_names_the_option(run, ctf, tmp_path):
    words = ["reco", ctf, "--out", "aod", "--workflow", f"{tmp_path}/aod_flow.py:flow", "--runner", "inline"]
    (tmp_path / "aod_flow.py").write_text(AOD_FLOW)
    assert run(*words).status == 0
    result = run(*words, "-o", "maker.n=3", "--resume")
    one_line(result, 2, "another configuration", "options.maker.n was 2, is 3", "--out")


AOD_FLOW = """
from o2dask.aod.model import tables
from o2dask.ctf import ctf_reader
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, OutputSpec, WorkflowSpec

TABLE = tables()["O2bc_001"]

def make(ctx):
    rows = TABLE.schema.empty(ctx.options["n"])
    rows["fGlobalBC"][:] = range(ctx.options["n"])
    ctx.outputs.make("bc", rows)

def flow():
    out = (OutputSpec(binding="bc", ref=TABLE.ref, schema=TABLE.schema),)
    n = ConfigParamSpec(name="n", default=2, help="rows")
    maker = DataProcessorSpec(name="maker", inputs="d:TST/DIGITS", outputs=out, algorithm=make, options=(n,))
    return WorkflowSpec("aodtoy", (ctf_reader("d:TST/DIGITS"), maker))
"""


def test_an_output_that_is_there_already_wants_resume(reco, ctf):
    assert reco(ctf).status == 0
    one_line(reco(ctf), 2, "already", "--resume")
    assert reco(ctf, "--resume").status == 0


def test_an_output_that_is_a_file(reco, run, ctf, tmp_path):
    (tmp_path / "taken").write_text("mine")
    one_line(reco(ctf, out="taken"), 2, "taken")
    one_line(run("reco", ctf, "--out", "taken", "--workflow", "toy_flow.py:flow"), 2, "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_workflow_that_makes_nothing_of_what_is_kept(run, ctf):
    words = ["reco", ctf, "--out", "aod", "--workflow", "toy_flow.py:flow", "--runner", "inline"]
    one_line(run(*words), 2, "AOD/*", "TST/SCALED/0")


def test_a_scheduler_that_is_not_there(run, ctf, monkeypatch):
    monkeypatch.setitem(BatchSettings.__init__.__kwdefaults__, "connect_timeout_s", 0.3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    words = ["--out", "out", "--workflow", "toy_flow.py:flow", "--keep", "TST/*"]
    one_line(run("reco", ctf, *words, "--scheduler", address), 2, "no scheduler at", address, "dask scheduler")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["rec"], ("no command 'rec'", "did you mean 'reco'")),
        (["reco"], ("Missing argument", "o2dask reco --help")),
        (["reco", "tf.ctf"], ("Missing option", "--out", "o2dask reco --help")),
        (["reco", "tf.ctf", "--out", "x", "--wrkers", "3"], ("--wrkers", "--workers")),
        (["reco", "tf.ctf", "--out", "x", "--workers", "0"], ("--workers", "1")),
        (["reco", "tf.ctf", "--out", "x", "--workers", "two"], ("--workers", "integer")),
        (["reco", "tf.ctf", "--out", "x", "--memory", "much"], ("want a size such as 8GiB", "'much'")),
        (["reco", "tf.ctf", "--out", "x", "--runner", "fast"], ("want batch or inline", "'fast'")),
        (["reco", "tf.ctf", "--out", "x", "--runner", "inline", "--workers", "2"], ("--workers", "not for --runner")),
        (["reco", "tf.ctf", "--out", "x", "--workers", "2", "--scheduler", "tcp://a:1"], ("--workers", "--scheduler")),
        (["workflow", "show", "toy_flow.py:flow", "--format", "htm"], ("text, json, dot, html", "'html'")),
        (["workflow", "show", "toy_flow.py:flow", "--out", "no/such/f"], ("no/such/f", "cannot be written")),
        (["ctf", "info", "nowhere.ctf"], ("nowhere.ctf", "no such file")),
        (["aod", "info", "nowhere"], ("nowhere", "no such file or folder")),
        (["aod", "convert", "nowhere", "x.root"], ("nowhere", "no such file or folder")),
        (["aod", "inf"], ("inf",)),
        (["simulate", "--out", "x.ctf", "--system", "pPb"], ("pbpb or pp", "'pPb'")),
        (["simulate", "--out", "x.ctf", "--rate", "fast"], ("interaction rate", "50kHz", "'fast'")),
        (["simulate", "--out", "x.ctf", "--rate", "1kHz", "--collisions", "3"], ("leave one out",)),
        (["simulate", "--out", "x.ctf", "--events", "nowhere.parquet"], ("nowhere.parquet",)),
        (["simulate", "--out", "x.ctf", "--timeframes", "0"], ("--timeframes",)),
        (["simulate", "--out", "no/such/x.ctf", "--collisions", "1"], ("no/such", "make it first")),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_wrong_usage(run, ctf, args, words):
    one_line(run(*args), 2, *words)


def test_debug_adds_the_traceback_wherever_it_stands(run):
    for args in (["--debug", "ctf", "info", "nowhere.ctf"], ["ctf", "info", "nowhere.ctf", "--debug"]):
        result = run(*args)
        assert result.status == 2
        assert result.err.startswith("error: ")
        assert "Traceback" in result.err


def test_a_bug_shows_its_traceback_and_asks_for_a_report(run, monkeypatch):
    import o2dask.ctf

    monkeypatch.setattr(o2dask.ctf, "ctf_info", lambda path: 1 / 0)
    result = run("ctf", "info", "x")
    assert result.status == 1
    assert result.err.startswith("error: unexpected ZeroDivisionError")
    assert "Traceback" in result.err


def test_a_plug_in_that_is_broken_leaves_the_others_alone(run, monkeypatch):
    import o2dask.cli.main as cli

    monkeypatch.setitem(cli.OWN, "broken", "no_such_module:f")
    result = run("--help")
    assert result.status == 0
    assert "reco" in result.out
    one_line(run("broken"), 2, "command 'broken'", "no_such_module")


def test_a_reader_that_has_enough_is_no_error(tmp_path):
    words = [sys.executable, "-c", "from o2dask.cli.main import main; main()", "workflow", "list"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_console_script_returns_the_status_and_one_line(tmp_path):
    words = [sys.executable, "-c", "from o2dask.cli.main import main; main()", "ctf", "info", "nowhere.ctf"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
