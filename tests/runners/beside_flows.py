"""A workflow with processors beside the graph: an aggregator that keeps a sum, and a slow one that looks in at times.

What the aggregator does on a timeframe is written in its url: ``ok``, ``raise``, ``kill=FOLDER`` (kills its process
once), ``die`` (kills it every time).
"""

import os
import signal
import time
from pathlib import Path

import numpy as np

from o2dask.context import ProcessingContext
from o2dask.specs import DataProcessorSpec, Option, Task, WorkflowSpec
from o2dask.timeframe import TimeframeId, TimeframeRef
from o2dask.workflow.builders import time_pipeline
from o2dask.workflow.compiler import compile_workflow
from o2dask.workflow.topology import Topology


def make(ctx: ProcessingContext) -> None:
    """Make digits; say which offset was fed back, if any."""
    back = ctx.inputs["back"]
    ctx.counters["fed_back"] = int(back is not None)
    if back is not None:
        assert back["sum"][0] >= 0 and not back["sum"].flags.writeable
    if "bad" in ctx.source.url:
        raise ValueError("bad digits")
    time.sleep(0.005)
    ctx.outputs.make("digits", {"x": np.full(100, ctx.timeframe.tf_counter, np.int64)})


def count(ctx: ProcessingContext) -> None:
    """Make something for the sink."""
    ctx.outputs.make("number", {"n": np.array([ctx.inputs["digits"].n_rows], np.int64)})


def peer(ctx: ProcessingContext) -> None:
    """Say whether anything was fed back; take a while, so that something may be."""
    time.sleep(0.005)
    ctx.counters["fed_back"] = int(ctx.inputs["back"] is not None)


def watch(ctx: ProcessingContext) -> None:
    """Say whether anything was fed back, and die of it at times, to begin again in another process."""
    back = ctx.inputs["back"]
    ctx.counters["fed_back"] = int(back is not None)
    if back is not None:
        assert back["sum"].dtype == np.int64 and not back["sum"].flags.writeable
        ctx.outputs.make("seen", {"sum": back["sum"]})
    if ctx.timeframe.tf_counter % 40 == 20:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)


class Sum(Task):
    """Add timeframes up, in order; write the sum and the order into a file at the end."""

    out = Option("", "folder")
    fragile = Option(False, "whether its process is killed the first time it is to end")

    def init(self, ctx: ProcessingContext) -> None:
        self.sum, self.seen = 0, []

    def run(self, ctx: ProcessingContext) -> None:
        counter = ctx.timeframe.tf_counter
        deed, _, value = ctx.source.url.partition("=")
        if deed == "raise":
            raise ValueError("no sum today")
        if deed == "die" or (deed == "kill" and not (mark := Path(value) / f"killed-{counter}").exists()):
            if deed == "kill":
                mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        self.sum += int(ctx.inputs["digits"]["x"].sum())
        self.seen.append(counter)
        ctx.counters["seen"] = 1
        ctx.outputs.make("sum", {"sum": np.array([self.sum], np.int64)})

    def snapshot(self) -> dict[str, np.ndarray]:
        return {"sum": np.array([self.sum]), "seen": np.array(self.seen, np.int64)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.sum, self.seen = int(arrays["sum"][0]), arrays["seen"].tolist()

    def end_of_stream(self, ctx: ProcessingContext) -> None:
        if self.fragile and not (mark := Path(self.out) / "killed-at-the-end").exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        if self.out:
            Path(self.out, "sum.txt").write_text(f"{self.sum}\n{' '.join(map(str, self.seen))}\n")


def peek(ctx: ProcessingContext) -> None:
    """Take long over one timeframe."""
    time.sleep(0.2)
    ctx.counters["peeked"] = 1


def stamp(ctx: ProcessingContext) -> None:
    """Note when this instance had which timeframe; the first takes long."""
    folder, begin = Path(ctx.source.url), time.time()
    time.sleep(0.6 if ctx.timeframe.tf_counter == 0 else 0.02)
    with (folder / "stamps.txt").open("a") as file:
        file.write(f"{ctx.timeframe.tf_counter} {begin} {time.time()}\n")


def pipeline(n: int) -> Topology:
    """Return a workflow of one processor with `n` instances."""
    return compile_workflow(
        WorkflowSpec("pipe", (time_pipeline(DataProcessorSpec("pipe", inputs="", outputs="", algorithm=stamp), n),))
    )


DIGITS, BACK = "digits:TST/DIGITS", "back:TST/SUM?lifetime=optional&feedback=true"


def flow(out: str = "", *more: DataProcessorSpec, slow: bool = False, fragile: bool = False) -> Topology:
    """Return the topology."""
    processors = [
        DataProcessorSpec(
            "make", inputs=f"clock:TST/CLK?lifetime=timer&every=1;{BACK}", outputs=DIGITS, algorithm=make
        ),
        DataProcessorSpec("count", inputs=DIGITS, outputs="number:TST/NUMBER", algorithm=count),
        DataProcessorSpec("sum", inputs=DIGITS, outputs="sum:TST/SUM", algorithm=Sum, policy="ordered"),
        *more,
    ]
    if slow:
        processors.append(
            DataProcessorSpec("peek", inputs=DIGITS, outputs="", algorithm=peek, labels=("asynchronous",))
        )
    return compile_workflow(WorkflowSpec("beside", tuple(processors)), {"sum": {"out": out, "fragile": fragile}})


def timeframes(n: int, special: dict[int, str] | None = None) -> list[TimeframeRef]:
    """Return `n` timeframes."""
    ids = [TimeframeId(run=5, tf_counter=i, first_orbit=32 * i) for i in range(n)]
    return [TimeframeRef(id=id_, url=(special or {}).get(i, "ok"), index=i) for i, id_ in enumerate(ids)]


def result(out: Path) -> tuple[int, list[int]]:
    """Return the sum and the order in which timeframes were added up."""
    total, seen = (out / "sum.txt").read_text().split("\n")[:2]
    return int(total), [int(i) for i in seen.split()]
