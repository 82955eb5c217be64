"""A workflow over the timeframes of `stream_tools`, that misbehaves on request; imported by workers."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from stream_tools import payloads, timeframe

from o2dask.columns import Columns
from o2dask.context import ProcessingContext
from o2dask.ctf import ctf_reader
from o2dask.errors import CommitError
from o2dask.runners.folder import FolderSink
from o2dask.sink import Receipt
from o2dask.specs import DataProcessorSpec, DataRef, Option, Task, WorkflowSpec
from o2dask.timeframe import TimeframeId, TimeframeRef
from o2dask.workflow.compiler import compile_workflow
from o2dask.workflow.topology import Topology

PATTERNS = ("TST/SUM", "TST/D0")


class Work(Task):
    """Sum a timeframe up."""

    bad = Option("", "counters of timeframes that raise")
    crash = Option("", "counters of timeframes that kill their worker")
    sleep = Option(0.0, "how long to take [s]")

    def run(self, ctx: ProcessingContext) -> None:
        counter = str(ctx.timeframe.tf_counter)
        if counter in self.bad.split():
            raise ValueError("a bad timeframe")
        if counter in self.crash.split():
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        time.sleep(self.sleep)
        ctx.counters["timeframes"] = 1
        total = ctx.inputs["d1"]["x"].astype(np.int64).sum() + ctx.inputs["d4"]["x"].astype(np.int64).sum()
        ctx.outputs.make("sum", {"n": np.array([total], np.int64)})


class Order(Task):
    """Keeps the order in which timeframes came, in a file at the end."""

    out = Option("", "folder")

    def init(self, ctx: ProcessingContext) -> None:
        self.seen: list[int] = []

    def run(self, ctx: ProcessingContext) -> None:
        self.seen.append(ctx.timeframe.tf_counter)

    def snapshot(self) -> dict[str, np.ndarray]:
        return {"seen": np.array(self.seen, np.int64)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.seen = arrays["seen"].tolist()

    def end_of_stream(self, ctx: ProcessingContext) -> None:
        if self.out:
            Path(self.out, "order.txt").write_text(" ".join(map(str, self.seen)))


def workflow() -> WorkflowSpec:
    """Return the workflow, for the command line too."""
    work = DataProcessorSpec("work", inputs="d1:TST/D1;d4:TST/D4", outputs="sum:TST/SUM", algorithm=Work, cost_ms=100.0)
    order = DataProcessorSpec("order", inputs="sum:TST/SUM", outputs="", algorithm=Order, policy="ordered")
    reader = ctf_reader("d0:TST/D0;d1:TST/D1;d4:TST/D4")
    return WorkflowSpec("streamed", (reader, work, order))


def flow(out: str = "", **options: object) -> Topology:
    """Return the topology."""
    return compile_workflow(workflow(), {"work": options, "order": {"out": out}})


@dataclass(frozen=True)
class FillingSink(FolderSink):
    """Fails as a full disk does from the timeframe `full_at` on."""

    full_at: int = 1 << 30

    def commit(self, ref: TimeframeRef, outputs: Mapping[DataRef, Columns]) -> Receipt:
        if ref.id.tf_counter >= self.full_at:
            raise CommitError(f"{self.folder}: no space left on device")
        return FolderSink.commit(self, ref, outputs)


def device(readout: int, n_readouts: int) -> Iterator[tuple[TimeframeId, dict[DataRef, Columns]]]:
    """Give what cannot be read again: the timeframes of `stream_tools`, this readout's share of each."""
    for i in range(40):
        mine = {ref: c for k, (ref, c) in enumerate(payloads(i).items()) if k % n_readouts == readout}
        yield timeframe(i), mine


device.live = True  # type: ignore[attr-defined]
device.outputs = "d0:TST/D0;d1:TST/D1;d4:TST/D4"  # type: ignore[attr-defined]


def nothing(readout: int, n_readouts: int) -> Iterator[tuple[TimeframeId, dict[DataRef, Columns]]]:
    """Give nothing more."""
    yield from ()


nothing.live = True  # type: ignore[attr-defined]


def unread() -> WorkflowSpec:
    """Return the workflow without its reader, for sources that say what they give."""
    whole = workflow()
    return WorkflowSpec("unread", whole.processors[1:])


def _nothing(ctx: ProcessingContext) -> None:
    """Do nothing."""


def nothing_to_do() -> WorkflowSpec:
    """Return a workflow that keeps nothing."""
    return WorkflowSpec("idle", (DataProcessorSpec("idle", inputs="", outputs="", algorithm=_nothing),))
