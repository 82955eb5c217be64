"""Workflows of which the sink keeps what an ordered processor makes; what it does is in the timeframe's url, see
`beside_flows`."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from beside_flows import DIGITS, Sum, flow, timeframes

from o2dask.columns import Jagged
from o2dask.context import ProcessingContext
from o2dask.runners.batch import run_batch
from o2dask.runners.folder import FolderSink
from o2dask.runners.settings import BatchSettings
from o2dask.services import ControlService
from o2dask.specs import DataProcessorSpec, WorkflowSpec
from o2dask.workflow.compiler import compile_workflow
from o2dask.workflow.topology import Topology

BACK = "back:TST/SUM?lifetime=optional&feedback=true"


def digits(ctx: ProcessingContext) -> None:
    """Make digits, of any layout."""
    if "bad" in ctx.source.url:
        raise ValueError("bad digits")
    n = 100 + ctx.timeframe.tf_counter
    ctx.outputs.make("digits", {"x": np.full(n, ctx.timeframe.tf_counter, np.int64)})
    parts = Jagged(np.array([0, 0, 2], np.int32), ctx.rng.random(2))
    ctx.outputs.make("map", {"wide": ctx.rng.random((n, 3))[:, ::2], "flag": ctx.rng.random(n) > 0.5})
    ctx.outputs.make("parts", {"parts": parts})


class Mean(Sum):
    """Also tell the mean of all so far, and as many rows as timeframes; quit when told to."""

    def run(self, ctx: ProcessingContext) -> None:
        super().run(ctx)
        seen = np.array(self.seen)
        ctx.outputs.make("mean", {"mean": np.cumsum(seen) / (1 + np.arange(len(seen)))})
        ctx.outputs.make("row", {"seen": seen[-1:]}, subspec=int(seen[-1]) % 3)
        if ctx.source.url == "quit":
            ctx.services[ControlService].quit_all()


def late_flow(out: str = "", **more: bool) -> Topology:
    """Return a workflow of a source and an ordered processor."""
    outputs = "sum:TST/SUM;mean:TST/MEAN;row:TST/ROW/*?lifetime=sporadic"
    processors = (
        DataProcessorSpec("digits", inputs="", outputs=f"{DIGITS};map:TST/MAP;parts:TST/PARTS", algorithm=digits),
        DataProcessorSpec("mean", inputs=DIGITS, outputs=outputs, algorithm=Mean, policy="ordered", **more),
    )
    return compile_workflow(WorkflowSpec("late", processors), {"mean": {"out": out}})


@dataclass(frozen=True, slots=True)
class FatalOnce(FolderSink):
    """Kills its worker, once for each of some timeframes, before or after it has committed."""

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    def commit(self, ref, outputs):
        counter = ref.id.tf_counter
        if counter in self.before:
            self._die(counter)
        receipt = FolderSink.commit(self, ref, outputs)
        if counter in self.after:
            self._die(counter)
        return receipt

    def _die(self, counter: int) -> None:
        mark = Path(f"{self.folder}.killed-{counter}")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run as a process of its own, to be killed: ``late_flows.py FOLDER N``."""
    folder, n = Path(sys.argv[1]), int(sys.argv[2])
    settings = BatchSettings(workers=2, memory="4GiB", journal=folder / "log", resume=True)
    report = run_batch(late_flow(str(folder)), timeframes(n), FolderSink(str(folder / "out")), settings=settings)
    print(report)  # noqa: T201
    sys.exit(0 if report.ok else 1)


__all__ = ["BACK", "FatalOnce", "flow", "late_flow", "timeframes"]

if __name__ == "__main__":
    main()
