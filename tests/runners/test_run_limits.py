"""What holds a run back: resources that tasks share, older timeframes first, and the run over time in its report."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runner_flows import eventually

from o2dask.conditions import ConditionServerError
from o2dask.errors import ConfigError, DataError, MissingExtraError
from o2dask.runners.batch import run_batch
from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.runners.settings import BatchSettings
from o2dask.runners.timeline import N_BINS, MemoryWatch, Timeline
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, Task, WorkflowSpec
from o2dask.timeframe import enumerated
from o2dask.workflow import compile_workflow


def note(ctx) -> None:
    """Note when this processor began and ended on its timeframe."""
    start = time.time()
    time.sleep(ctx.options["sleep"])
    with (Path(ctx.options["folder"]) / "times.txt").open("a") as file:
        file.write(f"{start} {time.time()} {ctx.spec.name} {ctx.timeframe.tf_counter}\n")
    ctx.outputs.make("x", {"x": np.zeros(1)})


def chain(folder: Path, resources: dict[str, dict[str, float]], sleep: float = 0.05):
    """Return the topology of three tasks, of which some ask for resources."""
    options = (ConfigParamSpec(name="folder", default=str(folder)), ConfigParamSpec(name="sleep", default=sleep))
    processors, before = [], ""
    for name in ("one", "two", "three"):
        output = f"x:TST/{name.upper()}"
        processors.append(
            DataProcessorSpec(
                name,
                inputs=before,
                outputs=output,
                algorithm=note,
                options=options,
                resources=resources.get(name, {}),
                cost_ms=100,
            )
        )
        before = f"y:TST/{name.upper()}"
    return compile_workflow(WorkflowSpec("chain", tuple(processors)))


def times(folder: Path) -> list[tuple[float, float, str, int]]:
    """Return begin, end, processor and timeframe of every task in the order of their begin."""
    lines = (line.split() for line in (folder / "times.txt").read_text().splitlines())
    return sorted((float(a), float(b), name, int(i)) for a, b, name, i in lines)


def overlaps(spans: list[tuple[float, float]]) -> int:
    """Return the most spans at any time."""
    edges = sorted([(a, 1) for a, _ in spans] + [(b, -1) for _, b in spans])
    return max(np.cumsum([step for _, step in edges]))


def test_no_more_tasks_share_a_resource_than_there_is_of_it_and_the_others_go_on(
    tmp_path: Path, scheduler_address
) -> None:
    topology = chain(tmp_path, {"two": {"TAPE": 1}})
    report = run_batch(topology, enumerated(12), NoSink(), settings=BatchSettings(scheduler=scheduler_address))
    assert report.ok
    spans = times(tmp_path)
    assert len(spans) == 36
    assert overlaps([(a, b) for a, b, name, _ in spans if name == "two"]) == 1
    assert overlaps([(a, b) for a, b, _, _ in spans]) == 2, "other tasks run beside it"


def test_older_timeframes_go_first(tmp_path: Path, scheduler_address) -> None:
    batch = BatchSettings(scheduler=scheduler_address, window=6)
    assert run_batch(chain(tmp_path, {}), enumerated(12), NoSink(), settings=batch).ok
    ends = [i for _, _, name, i in sorted(times(tmp_path), key=lambda t: t[1]) if name == "three"]
    assert np.mean([abs(place - i) for place, i in enumerate(ends)]) <= 1, ends
    open_at_once, done, begun = [], set(), set()
    for _, _, name, i in times(tmp_path):
        begun.add(i)
        done |= {i} if name == "three" else set()
        open_at_once.append(len(begun - done))
    # One breadth after the other would have six begun most of the time; a worker that the machine holds up adds some.
    assert np.mean(open_at_once) < 4, "of six in flight no more are begun than workers need to be busy"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"resources": {"TAPE": 0}}, "resources: want more than 0 of TAPE"),
        ({"resources": {"TAPE": 1}, "scheduler": "tcp://127.0.0.1:1"}, "leave out --resource"),
    ],
)
def test_resources_that_cannot_work_are_refused(wrong, message) -> None:
    with pytest.raises(ConfigError, match=message):
        BatchSettings(**wrong)


class Starting(Task):
    """Fails in ``init`` or on timeframe 1 as its option says."""

    def init(self, ctx) -> None:
        if ctx.options["fail"] == "init":
            raise ConfigError("no such geometry")

    def run(self, ctx) -> None:
        if ctx.timeframe.tf_counter == 1 and ctx.options["fail"] in _ERRORS:
            raise _ERRORS[ctx.options["fail"]]
        ctx.outputs.make("x", {"x": np.zeros(1)})


_ERRORS = {
    "extra": MissingExtraError("cupy is not installed; pip install 'o2dask[gpu]'"),
    "server": ConditionServerError("http://ccdb: no answer"),
    "data": DataError("checksum differs"),
    "config": ConfigError("this one file cannot be read"),
}


@pytest.mark.parametrize("fail", ["init", "extra", "server", "data", "config"])
@pytest.mark.parametrize("runner", ["inline", "batch"])
def test_what_would_hit_every_timeframe_stops_the_run_and_what_hits_one_does_not(request, runner, fail) -> None:
    option = ConfigParamSpec(name="fail", default=fail)
    spec = DataProcessorSpec("starting", inputs="", outputs="x:TST/X", algorithm=Starting, options=(option,))
    topology = compile_workflow(WorkflowSpec("w", (spec,)))
    if runner == "inline":
        report = run_inline(topology, enumerated(3), NoSink())
    else:
        batch = BatchSettings(scheduler=request.getfixturevalue("scheduler_address"), window=1)
        report = run_batch(topology, enumerated(3), NoSink(), settings=batch)
    if fail in ("data", "config"):
        assert not report.failure and len(report.committed) == 2 and len(report.quarantined) == 1
        return
    assert not report.quarantined and not report.ok
    assert len(report.committed) == (0 if fail == "init" else 1)
    assert "(processor 'starting' at " in report.failure and "--resume" in report.failure
    assert {"init": "no such geometry", "extra": "o2dask[gpu]", "server": "no answer"}[fail] in report.failure


def test_the_report_has_the_run_over_time(tmp_path: Path, scheduler_address) -> None:
    batch = BatchSettings(scheduler=scheduler_address, window=3)
    report = run_batch(chain(tmp_path, {}), enumerated(10), NoSink(), settings=batch)
    history = report.history
    n = len(history.busy)
    assert len(history.in_flight) == len(history.promised) == len(history.measured) == n
    assert (n - 1) * history.width_s < report.wall_s <= n * history.width_s + history.width_s
    assert 1 <= max(history.in_flight) <= 3 and max(history.promised) <= report.peak_bytes
    assert 0 < report.peak_bytes <= report.budget_bytes < report.memory_bytes
    assert 50e6 < history.peak_measured < 4e9, "two workers with numpy and dask"
    busy_s = sum(history.busy) * history.width_s * report.n_workers
    assert busy_s == pytest.approx(report.worker_s, rel=0.2)
    inline = run_inline(chain(tmp_path, {}), enumerated(4), FolderSink(str(tmp_path / "out")))
    assert max(inline.history.in_flight) == 1 and inline.history.peak_measured > 10e6


@settings(max_examples=50, deadline=None)
@given(
    spans=st.lists(st.tuples(st.floats(0, 500), st.floats(0, 50)), min_size=1, max_size=30),
    samples=st.lists(st.tuples(st.floats(0, 500), st.integers(0, 99)), max_size=30),
)
def test_bins_lose_nothing_when_they_are_joined(spans, samples) -> None:
    timeline = Timeline(start=1000.0)
    for begin, length in spans:
        timeline.busy(1000.0 + begin, 1000.0 + begin + length)
    for at, value in samples:
        timeline.sample(1000.0 + at, value, 2 * value, 3 * value)
    history = timeline.history(1000, 600.0)
    assert len(history.busy) <= N_BINS
    total = 1000 * history.width_s * sum(history.busy)
    assert total == pytest.approx(sum(length for _, length in spans), rel=1e-6, abs=1e-6)
    if samples:
        assert max(history.in_flight) == max(value for _, value in samples)
        assert history.peak_measured == 3 * max(value for _, value in samples)


def test_memory_is_read_beside_the_run_and_a_slow_answer_holds_nothing_up() -> None:
    answers = threading.Event()
    with MemoryWatch(lambda: 7 if answers.wait(60) else 0, every_s=0.01) as memory:
        assert memory.n_bytes == -1
        answers.set()
        eventually(lambda: memory.n_bytes == 7)
