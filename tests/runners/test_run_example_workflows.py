"""The examples of workflows do what they say, and in batch the same as inline."""

from pathlib import Path

import pytest

from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.runners.testing import RunnerContract
from o2dask.timeframe import enumerated
from o2dask.workflow import compile_workflow, load_workflow

FOLDER = Path(__file__).parents[2] / "examples" / "workflows"
WANT = {
    "sampler_to_sink": {"sink.good": 6},
    "merger": {"merger.digits": 6 * (0 + 1 + 2 + 3)},
    "splitter": {"joiner.right": 6 * 12},
    "feedback": {"tracker.with_default": 6},
    "live_qc": {"qc.in_peak": 1484},  # 6 * (200 * 0.997 + 45), as the random numbers have it
    "expendable": {"qc.failed": 2, "publisher.published": 4, "publisher.missing": 2},
}


def topology(name):
    return compile_workflow(load_workflow(f"{FOLDER / name}.py:workflow"))


class Example(RunnerContract):
    """The contract of runners over an example, called by name."""

    __test__ = False

    def __init__(self, name):
        self.name = name

    def topology(self):
        return topology(self.name)

    def timeframes(self, folder):
        return enumerated(6, first=3)


def test_every_example_is_tested():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(WANT)


@pytest.mark.parametrize("name", sorted(WANT))
def test_an_example_counts_what_it_says(name):
    report = run_inline(topology(name), enumerated(6), NoSink())
    assert report.ok
    assert {key: report.counters.get(key) for key in WANT[name]} == WANT[name]


@pytest.mark.parametrize("name", sorted(set(WANT)))
def test_an_example_gives_the_same_bytes_on_workers(name, tmp_path, scheduler_address):
    Example(name).test_batch_commits_the_same_bytes_as_inline(tmp_path, scheduler_address)


def test_the_length_of_a_timeframe_does_not_change_what_a_family_holds(tmp_path):
    sink = FolderSink(str(tmp_path), ("TST/PART/*",))
    assert run_inline(topology("splitter"), enumerated(1), sink).ok
    assert len(list(tmp_path.glob("run0_*/TST_PART_*.arrow"))) == 12
