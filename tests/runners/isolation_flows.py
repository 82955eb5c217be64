"""A workflow with an expendable processor that misbehaves as its timeframe's url says; imported by the workers too.

Deeds: ``segv``, ``kill``, ``exit``, ``hang``, ``spin`` (holds the GIL), ``hog`` (fast), ``leak=80`` (MiB, kept),
``fork`` (a child of its own keeps the socket), ``raise``, ``fatal``, ``quit``, ``fds``.
"""

import ctypes
import os
import re
import signal
import time
from pathlib import Path

import numpy as np

from o2dask.columns import Jagged
from o2dask.context import ProcessingContext
from o2dask.errors import ConfigError, DataError, FatalError
from o2dask.services import ControlService, Monitoring
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, Task, WorkflowSpec
from o2dask.workflow.compiler import compile_workflow
from o2dask.workflow.topology import Topology

PATTERNS = ("TST/*",)


def read(ctx: ProcessingContext) -> None:
    """Make digits."""
    n = 50_000 + ctx.timeframe.tf_counter
    ctx.outputs.make("digits", {"x": ctx.rng.random(n), "wide": ctx.rng.random((n, 3))[:, :2]})


class Check(Task):
    """Make a histogram, or trouble."""

    def init(self, ctx: ProcessingContext) -> None:
        self.kept: list[np.ndarray] = []
        self.n = 0
        if ctx.options["init"] == "config":
            raise ConfigError("the binning is upside down")
        if ctx.options["init"] == "hang":
            time.sleep(600)

    def run(self, ctx: ProcessingContext) -> None:
        self.n += 1
        x = ctx.inputs["digits"]["x"]
        assert not x.flags.writeable
        deed, _, value = ctx.source.url.partition("=")
        _DEEDS.get(deed, _nothing)(self, ctx, value)
        counts = np.histogram(x, 20, (0, 1))[0]
        offsets = np.arange(len(counts) + 1, dtype=np.int32)
        ctx.outputs.make("histogram", {"counts": counts[::-1], "parts": Jagged(offsets, counts * ctx.rng.random())})
        ctx.counters["entries"] = len(x)
        ctx.services[Monitoring].send("entries", len(x))

    def end_of_stream(self, ctx: ProcessingContext) -> None:
        if folder := ctx.options["folder"]:
            (Path(folder) / f"ended-{os.getpid()}").write_text(f"{os.getppid()} {self.n}")


def count(ctx: ProcessingContext) -> None:
    """Say whether there was a histogram."""
    histogram = ctx.inputs["histogram"]
    total = -1 if histogram is None else int(histogram["counts"].sum())
    ctx.outputs.make("summary", {"total": np.array([total])})


def _nothing(task: Check, ctx: ProcessingContext, value: str) -> None:
    pass


def _segv(task: Check, ctx: ProcessingContext, value: str) -> None:
    ctypes.string_at(0)


def _term(task: Check, ctx: ProcessingContext, value: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(task: Check, ctx: ProcessingContext, value: str) -> None:
    os._exit(3)


def _hang(task: Check, ctx: ProcessingContext, value: str) -> None:
    while True:
        time.sleep(0.01)


def _spin(task: Check, ctx: ProcessingContext, value: str) -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")  # in C, with the GIL held, for 2^60 steps


def _hog(task: Check, ctx: ProcessingContext, value: str) -> None:
    for _ in range(500):
        task.kept.append(np.ones(1 << 20))  # 8 MiB


def _leak(task: Check, ctx: ProcessingContext, value: str) -> None:
    task.kept.append(np.ones(int(value) << 17))


def _fork(task: Check, ctx: ProcessingContext, value: str) -> None:
    if os.fork() == 0:
        time.sleep(600)
    os.kill(os.getpid(), signal.SIGKILL)


def _raise(task: Check, ctx: ProcessingContext, value: str) -> None:
    raise DataError("no pedestal")


def _fatal(task: Check, ctx: ProcessingContext, value: str) -> None:
    raise FatalError("the detector is not there")


def _quit(task: Check, ctx: ProcessingContext, value: str) -> None:
    ctx.services[ControlService].quit_me()


def _fds(task: Check, ctx: ProcessingContext, value: str) -> None:
    open_files = [str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in range(256) if _is_open(fd)]
    Path(value).write_text("\n".join(open_files))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


_DEEDS = {
    "segv": _segv,
    "kill": _term,
    "exit": _exit,
    "hang": _hang,
    "spin": _spin,
    "hog": _hog,
    "leak": _leak,
    "fork": _fork,
    "raise": _raise,
    "fatal": _fatal,
    "quit": _quit,
    "fds": _fds,
}


def flow(folder: str = "", init: str = "", deadline_s: float = 20.0, memory_mib: float = 200.0) -> Topology:
    """Return the topology: reader, expendable check, and a summary that can do without."""
    options = (ConfigParamSpec(name="folder", default=folder), ConfigParamSpec(name="init", default=init))
    processors = (
        DataProcessorSpec(name="reader", inputs="", outputs="digits:TST/DIGITS", algorithm=read),
        DataProcessorSpec(
            name="check",
            inputs="digits:TST/DIGITS",
            outputs="histogram:TST/HISTOGRAM",
            algorithm=Check,
            options=options,
            expendable=True,
            deadline_s=deadline_s,
            memory_mib=memory_mib,
        ),
        DataProcessorSpec(
            name="summary",
            inputs="histogram:TST/HISTOGRAM?lifetime=optional;digits:TST/DIGITS",
            outputs="summary:TST/SUMMARY",
            algorithm=count,
        ),
    )
    return compile_workflow(WorkflowSpec("isolated", processors))
