"""A small workflow whose timeframes misbehave on request, imported by tests and by the workers they start.

What a timeframe does is written in its url: ``ok``, ``corrupt``, ``broken``, ``missing``, ``segfault``, ``sleep=0.2``,
``big=40`` (MB), ``once=FOLDER`` (kills its worker the first time only).
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from o2dask.columns import Columns
from o2dask.context import ProcessingContext
from o2dask.errors import CommitError, DataError
from o2dask.runners.folder import FolderSink
from o2dask.sink import Receipt
from o2dask.specs import DataProcessorSpec, DataRef, Option, Task, WorkflowSpec
from o2dask.timeframe import TimeframeId, TimeframeRef
from o2dask.workflow.compiler import compile_workflow
from o2dask.workflow.topology import Topology

PATTERNS = ("TST/TRACKS/*", "TST/SUMMARY/*")


def read(ctx: ProcessingContext) -> None:
    """Make digits, or trouble."""
    for deed in ctx.source.url.split(","):
        name, _, value = deed.partition("=")
        _DEEDS[name](ctx, value)
    n = 1000 + ctx.timeframe.tf_counter
    ctx.counters["digits"] = n
    values = {"pad": ctx.rng.integers(0, 100, n).astype(np.int16), "charge": ctx.rng.random(n).astype(np.float32)}
    ctx.outputs.make("digits", values)


def find(ctx: ProcessingContext) -> None:
    """Make clusters of the digits."""
    digits = ctx.inputs["digits"]
    assert not digits["pad"].flags.writeable
    order = np.argsort(digits["pad"], kind="stable")
    ctx.outputs.make("clusters", {"pad": digits["pad"][order], "charge": digits["charge"][order]})


class Fit(Task):
    """Make tracks of the clusters; keeps state."""

    scale = Option(2.0, "factor on the charge")

    def init(self, ctx: ProcessingContext) -> None:
        self.n_calls = 0

    def run(self, ctx: ProcessingContext) -> None:
        self.n_calls += 1
        clusters = ctx.inputs["clusters"]
        ctx.outputs.make("tracks", {"q2pt": clusters["charge"] * np.float32(self.scale)})
        ctx.counters["tracks"] = clusters.n_rows


def summarise(ctx: ProcessingContext) -> None:
    """Make one row out of digits and tracks."""
    total = np.array([ctx.inputs["digits"].n_rows + ctx.inputs["tracks"].n_rows], np.int64)
    ctx.outputs.make("summary", {"n": total})


def _sleep(ctx: ProcessingContext, value: str) -> None:
    time.sleep(float(value))


def _corrupt(ctx: ProcessingContext, value: str) -> None:
    raise DataError(f"block 3 of {ctx.source}: checksum differs")


def _broken(ctx: ProcessingContext, value: str) -> None:
    try:
        {}["alpha"]
    except KeyError as error:
        raise ZeroDivisionError("deep in the code") from error


def _missing(ctx: ProcessingContext, value: str) -> None:
    Path(value).read_bytes()


def _segfault(ctx: ProcessingContext, value: str) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


def _once(ctx: ProcessingContext, value: str) -> None:
    marker = Path(value) / f"killed-{ctx.timeframe.tf_counter}"
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)


def _big(ctx: ProcessingContext, value: str) -> None:
    np.ones(int(value) * 125_000).sum()


def _note(ctx: ProcessingContext, value: str) -> None:
    with (Path(value) / "runs.txt").open("a") as file:
        file.write(f"{ctx.timeframe.tf_counter} {os.getpid()}\n")


_DEEDS = {
    "ok": lambda ctx, value: None,
    "sleep": _sleep,
    "corrupt": _corrupt,
    "broken": _broken,
    "missing": _missing,
    "segfault": _segfault,
    "once": _once,
    "big": _big,
    "note": _note,
}


def flow(resources: Mapping[str, float] | None = None, **options: object) -> Topology:
    """Return the topology: four processors in three or four physical tasks."""
    cost = {"cost_ms": 100.0}
    processors = (
        DataProcessorSpec(name="reader", inputs="", outputs="digits:TST/DIGITS", algorithm=read, **cost),
        DataProcessorSpec(
            name="finder", inputs="digits:TST/DIGITS", outputs="clusters:TST/CLUSTERS", algorithm=find, **cost
        ),
        DataProcessorSpec(
            name="fitter",
            inputs="clusters:TST/CLUSTERS",
            outputs="tracks:TST/TRACKS",
            algorithm=Fit,
            resources=resources or {},
            **cost,
        ),
        DataProcessorSpec(
            name="summary",
            inputs="digits:TST/DIGITS;tracks:TST/TRACKS",
            outputs="summary:TST/SUMMARY",
            algorithm=summarise,
            **cost,
        ),
    )
    return compile_workflow(WorkflowSpec("test", processors), {"fitter": options} if options else {})


def eventually(condition: Callable[[], object], limit_s: float = 120.0) -> None:
    """Wait for a condition; the limit costs only where it never comes true."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not within {limit_s} s"
        time.sleep(0.02)


def timeframes(
    n: int, url: str = "ok", special: Mapping[int, str] | None = None, n_bytes: int = 0
) -> list[TimeframeRef]:
    """Return `n` timeframes that do what `url` says, but for the special ones."""
    return [
        TimeframeRef(
            id=TimeframeId(run=526641, tf_counter=i, first_orbit=32 * i),
            url=(special or {}).get(i, url),
            index=i,
            n_bytes=n_bytes,
        )
        for i in range(n)
    ]


@dataclass(frozen=True)
class CountingSink(FolderSink):
    """A folder sink that notes each commit, and fails as a full disk does from the timeframe `full_at` on."""

    full_at: int = 1 << 30
    refused: tuple[int, ...] = ()

    def commit(self, ref: TimeframeRef, outputs: Mapping[DataRef, Columns]) -> Receipt:
        if ref.id.tf_counter in self.refused:
            raise ValueError(f"{ref.id}: not to the taste of this sink")
        if ref.id.tf_counter >= self.full_at:
            raise CommitError(f"{self.folder}: no space left on device")
        receipt = FolderSink.commit(self, ref, outputs)
        with Path(f"{self.folder}.commits").open("a") as file:
            file.write(f"{ref.id.tf_counter}\n")
        return receipt

    def finalize(self, refs: Sequence[TimeframeRef]) -> None:
        FolderSink.finalize(self, refs)
        Path(f"{self.folder}.final").write_text(" ".join(str(ref.id.tf_counter) for ref in refs))

    @property
    def commits(self) -> list[int]:
        """Which timeframes were committed, in time order."""
        path = Path(f"{self.folder}.commits")
        return [int(line) for line in path.read_text().split()] if path.exists() else []


class StopAfter:
    """A stop token that is set once `n` timeframes are committed; give `self.see` as progress."""

    def __init__(self, n: int) -> None:
        self._left, self._event = n, threading.Event()

    def see(self, event: object) -> None:
        """Count commits."""
        if type(event).__name__ == "TimeframeCommitted":
            self._left -= 1
            if not self._left:
                self._event.set()

    def is_set(self) -> bool:
        """Whether to stop."""
        return self._event.is_set()
