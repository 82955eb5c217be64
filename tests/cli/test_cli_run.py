"""``o2dask run``: options of processors on the command line, workflows through pipes, timeframes that hold nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FLOWS = '''
import numpy as np
import o2dask as o2

class Gain(o2.Task):
    """Mean of what is above threshold."""
    threshold = o2.Option(3.0, "counts above noise", minimum=0)
    def run(self, ctx):
        x = ctx.inputs["num"]["value"]
        ctx.counters["above"] = (x > self.threshold).sum()
        ctx.outputs.make("gain", {"mean": np.array([x.mean()])})

def numbers(ctx):
    ctx.outputs.make("TST/NUM/0", {"value": np.arange(ctx.timeframe.tf_counter + 5)})

def head():
    return [o2.DataProcessorSpec("numbers", inputs="", outputs="TST/NUM/0", algorithm=numbers)]

def tail():
    return [o2.DataProcessorSpec("tpc-gain", inputs="num:TST/NUM", outputs="TPC/GAIN/0", algorithm=Gain,
                                 resources={"GPU": 0}, expendable=True)]

@o2.customize(copies=o2.Option(1, "of the gain", minimum=1), verbose=o2.Option(False, ""))
def workflow(cfg):
    gains = o2.parallel(tail()[0], cfg.options["copies"])
    return [*head(), *gains]

def whole():
    return head() + tail()

def failing(ctx):
    if ctx.timeframe.tf_counter == 1:
        raise RuntimeError("one is odd")

def odd():
    return head() + [o2.DataProcessorSpec("odd", inputs="n:TST/NUM", outputs="", algorithm=failing)]
'''


@pytest.fixture
def flows(tmp_path, run):
    (tmp_path / "flows.py").write_text(FLOWS)

    def call(function, *args, **more):
        usual = () if "--dump" in args else ("--timeframes", "4", "--runner", "inline")
        return run("run", f"flows.py:{function}", *usual, *args, **more)

    return call


def test_options_of_a_processor_are_given_on_the_command_line_in_three_ways(flows, tmp_path):
    (tmp_path / "cfg.json").write_text(json.dumps({"tpc-gain": {"threshold": 5}}))
    for words, above in (
        ((), 10),
        (("--tpc-gain", "--threshold 4"), 6),
        (("--tpc-gain=--threshold=4",), 6),
        (("-o", "tpc-gain.threshold=4"), 6),
        (("--config", "cfg.json"), 3),
        (("--config", "cfg.json", "--tpc-gain", "--threshold 4"), 6),
    ):
        result = flows("whole", *words)
        assert result.status == 0, result.err
        assert f"tpc-gain.above  {above}" in result.out, words
        assert "4 of 4 timeframes done" in result.out


def test_a_workflow_takes_options_of_its_own(flows):
    result = flows("workflow", "--copies", "3", "--verbose", "--tpc-gain-1", "--threshold 4")
    assert result.status == 0, result.err
    assert "tpc-gain-0.above  10" in result.out
    assert "tpc-gain-1.above  6" in result.out
    assert "tpc-gain-2.above  10" in result.out


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--tpc-gian", "--threshold 4"), "did you mean 'tpc-gain'"),
        (("--tpc-gain", "--treshold 4"), "did you mean 'threshold'"),
        (("--tpc-gain", "--threshold -4"), "want 0 or more, got '-4'"),
        (("--tpc-gain", "threshold"), "want --name value"),
        (("--tpc-gain",), "want a value"),
        (("--config", "nowhere.json"), "cannot be read"),
        (("--keep", "TPC/*"), "give --out FOLDER"),
        (("--skip", "nobody"), "no processor 'nobody'"),
        (("--on-error", "cry"), "want fail, quarantine, skip"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(flows, words, match):
    result = flows("whole", *words)
    assert result.status == 2
    assert match in result.err
    assert result.err.count("\n") == 1


def test_timeframes_are_asked_for_where_there_are_no_files(run, flows):
    result = run("run", "flows.py:whole")
    assert result.status == 2
    assert "--timeframes N" in result.err


def test_results_are_kept_where_the_user_says(flows, tmp_path):
    assert flows("whole", "--out", "all").status == 0
    assert flows("whole", "--out", "some", "--keep", "TPC/GAIN").status == 0
    kept = {name: {p.name for p in (tmp_path / name).glob("run0_*/*")} for name in ("all", "some")}
    assert kept == {"all": {"TST_NUM_0.arrow", "TPC_GAIN_0.arrow"}, "some": {"TPC_GAIN_0.arrow"}}
    assert len(list((tmp_path / "some").glob("run0_*"))) == 4


def test_files_are_read_and_cut_to_the_number_asked_for(run, ctf, flows):
    words = ("--timeframes", "3", "--runner", "inline", "--scaler", "--factor 5")
    result = run("run", "toy_flow.py:flow", "tf.ctf", *words)
    assert result.status == 0, result.err
    assert ["scaler.digits", "300"] in [line.split() for line in result.out.splitlines()]
    assert "3 of 3 timeframes" in result.out


def test_a_part_of_a_workflow_can_be_run(flows):
    assert "tpc-gain" not in flows("whole", "--until", "numbers").out
    assert "tpc-gain" not in flows("whole", "--skip", "tpc-gain").out
    assert "tpc-gain.above" in flows("whole", "--only", "TPC/GAIN").out


@pytest.mark.parametrize(("policy", "status"), [("skip", 0), ("quarantine", 1), ("fail", 1)])
def test_the_error_policy_of_the_workflow_decides_what_an_exception_costs(flows, policy, status):
    result = flows("odd", "--on-error", policy)
    assert result.status == status
    done = {"skip": "3 of 4", "quarantine": "3 of 4", "fail": "1 of 4"}[policy]
    assert done in result.out
    word = {"skip": "were skipped", "quarantine": "were set aside", "fail": "stopped: "}[policy]
    assert word in result.out
    assert "one is odd" in result.out


def test_dumps_are_merged_through_the_pipe(flows, run, tmp_path):
    head = flows("head", "--dump")
    assert json.loads(head.out)["format"] == "o2dask-workflow"
    tail = flows("tail", "--dump", "--tpc-gain", "--threshold 4")
    assert json.loads(tail.out)["processors"][0]["options"][0]["default"] == 4.0
    (tmp_path / "head.json").write_text(head.out)
    command = [sys.executable, "-c", "from o2dask.cli.main import main; main()", "run"]
    shell = " | ".join(
        [
            f"'{command[0]}' -c '{command[2]}' run flows.py:head --dump",
            f"'{command[0]}' -c '{command[2]}' run flows.py:tail --dump --tpc-gain '--threshold 4'",
            f"'{command[0]}' -c '{command[2]}' run - --timeframes 4 --runner inline",
        ]
    )
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert "tpc-gain.above  6" in done.stdout


def test_two_workflows_in_one_command_are_told_how_to_be_merged(flows):
    result = flows("head", "flows.py:tail", "--timeframes", "2")
    assert result.status == 2
    assert "o2dask run flows.py:tail --dump | o2dask run flows.py:head" in result.err


def test_nothing_on_stdin_is_told(run):
    result = run("run", "-", "--timeframes", "2", input="")
    assert result.status == 2
    assert "nothing came on stdin" in result.err


def test_an_algorithm_without_a_name_cannot_be_dumped(run, tmp_path):
    (tmp_path / "lambdas.py").write_text(
        "import o2dask as o2\n"
        "def wf(): return [o2.DataProcessorSpec('a', inputs='', outputs='TST/X', algorithm=lambda ctx: None)]\n"
    )
    result = run("run", "lambdas.py:wf", "--dump")
    assert result.status == 2
    assert "has no name by which another process finds it" in result.err


def test_a_batch_run_gives_the_bytes_of_an_inline_one(flows, tmp_path):
    from o2dask.runners.testing import contents

    assert flows("whole", "--out", "inline").status == 0
    result = flows("whole", "--runner", "batch", "--workers", "1", "--out", "batch")
    assert result.status == 0, result.err
    inline, batch = (contents(tmp_path / name) for name in ("inline", "batch"))
    assert {n: b for n, b in inline.items() if Path(n).suffix == ".arrow"} == {
        n: b for n, b in batch.items() if Path(n).suffix == ".arrow"
    }


GROUPS = """
import o2dask as o2

class Cuts(o2.OptionGroup):
    pt = o2.Option(0.2, "GeV/c")
    bins = o2.Option([0.0, 1.0], "edges")

class Finder(o2.Task):
    cuts = Cuts()
    def run(self, ctx):
        ctx.counters[f"pt {self.cuts.pt} bins {len(self.cuts.bins)}"] = 1

@o2.customize(layers=o2.Option([1, 2], "which", minimum=1))
def workflow(cfg):
    return [o2.DataProcessorSpec(f"finder-{i}", inputs="", outputs="", algorithm=Finder) for i in cfg.options["layers"]]
"""


def test_arrays_and_groups_are_set_on_the_command_line_and_by_a_file_that_the_command_writes(run, tmp_path):
    (tmp_path / "groups.py").write_text(GROUPS)
    usual = ("run", "groups.py:workflow", "--timeframes", "1", "--runner", "inline")
    result = run(*usual, "--layers", "[2,3]", "--finder-3", "--cuts.pt 0.5 --cuts.bins [0, 1, 2]")
    assert result.status == 0, result.err
    assert "finder-2.pt 0.2 bins 2" in result.out and "finder-3.pt 0.5 bins 3" in result.out
    result = run("workflow", "config", "groups.py:workflow", "-o", "finder-1.cuts.pt=0.7")
    told = json.loads(result.out)
    assert told.pop("workflow") == {"layers": [1, 2]}
    assert told == {f"finder-{i}": {"cuts": {"pt": [0, 0.7, 0.2][i], "bins": [0.0, 1.0]}} for i in (1, 2)}
    told["internal-dpl-clock"] = {"start-value-enumeration": "0"}  # as O2 writes it
    told["finder-2"] = {"cuts": {"pt": "0.9", "bins": {"values": ["0", "1", "2", "3"]}}}
    (tmp_path / "dpl-config.json").write_text(json.dumps(told))
    for words in (("--config", "dpl-config.json"), ("--configuration", f"json://{tmp_path}/dpl-config.json")):
        result = run(*usual, *words)
        assert result.status == 0, result.err
        assert "finder-1.pt 0.7 bins 2" in result.out and "finder-2.pt 0.9 bins 4" in result.out
    assert "want 1 or more" in run(*usual, "--layers", "[0]").err


def test_options_of_the_workflow_itself_are_shown_written_and_set_in_one_way(run, tmp_path):
    (tmp_path / "groups.py").write_text(GROUPS)
    chosen = ("-o", "workflow.layers=[5]")
    shown = run("workflow", "show", "groups.py:workflow", *chosen)
    assert "finder-5" in shown.out and "workflow.layers=[5]  which (1 or more)" in shown.out
    written = run("workflow", "config", "groups.py:workflow", *chosen)
    assert json.loads(written.out)["workflow"] == {"layers": [5]}
    (tmp_path / "cfg.json").write_text(written.out)
    usual = ("run", "groups.py:workflow", "--timeframes", "1", "--runner", "inline")
    for words, name in ((chosen, "finder-5"), (("--config", "cfg.json"), "finder-5"), ((), "finder-2")):
        result = run(*usual, *words)
        assert result.status == 0 and f"{name}.pt" in result.out, result.err
    assert "did you mean 'layers'" in run("workflow", "show", "groups.py:workflow", "-o", "workflow.layer=5").err
