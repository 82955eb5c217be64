"""Whole streams for the benchmark: reconstruction, small timeframes, the framework's CPU, memory over time, start."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from o2dask.context import ProcessingContext, WorkerState
from o2dask.ctf import list_timeframes
from o2dask.monitoring.events import Event, RunStarted, TimeframeCommitted
from o2dask.runners.nothing import NoSink
from o2dask.runners.settings import BatchSettings
from o2dask.runners.step import run_step
from o2dask.runners.stream import run_stream
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, WorkflowSpec
from o2dask.stream.settings import StreamSettings
from o2dask.timeframe import TimeframeRef
from o2dask.workflow import Topology, compile_workflow, load_workflow
from o2dask.workflow.planner import plan

Row = dict[str, Any]
COMMAND = [sys.executable, "-c", "from o2dask.cli.main import main; main()"]
N_WORKERS = 2


class Clock:
    """Takes the times at which timeframes are committed."""

    def __init__(self) -> None:
        self.commits: list[float] = []
        self.started = 0.0

    def __call__(self, event: Event) -> None:
        """Note an event."""
        if isinstance(event, TimeframeCommitted):
            self.commits.append(time.perf_counter())
        elif isinstance(event, RunStarted):
            self.started = time.perf_counter()

    def rate(self, skip: float = 0.2) -> float:
        """Return timeframes per second, without the first share of them."""
        times = self.commits[int(skip * len(self.commits)) :]
        return (len(times) - 1) / (times[-1] - times[0])


def nothing(ctx: ProcessingContext) -> None:
    """Stand for a processor that takes no time."""
    ctx.counters["seen"] = 1


def burn(ctx: ProcessingContext) -> None:
    """Spend so many seconds of this thread's CPU time."""
    end = time.thread_time() + ctx.options["seconds"]
    block = np.arange(65536, dtype=np.float32)
    while time.thread_time() < end:
        np.sqrt(block, out=block)


def toy(seconds: float = 0.0) -> Topology:
    """Return a workflow of one processor without data."""
    options = (ConfigParamSpec(name="seconds", default=seconds),)
    algorithm, cost = (burn, 1e3 * seconds) if seconds else (nothing, 0.1)
    spec = DataProcessorSpec("work", inputs="", outputs="", algorithm=algorithm, options=options, cost_ms=cost)
    return compile_workflow(WorkflowSpec("toy", (spec,)))


def settings() -> BatchSettings:
    """Return how workers are had."""
    return BatchSettings(workers=N_WORKERS)


class Meter(Clock):
    """Takes the CPU time of all processes at two of the commits as well."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self._at, self.marks = (first, last), []

    def __call__(self, event: Event) -> None:
        """Note an event."""
        super().__call__(event)
        if isinstance(event, TimeframeCommitted) and len(self.commits) in self._at:
            self.marks.append((cpu_of_all(), time.perf_counter()))

    @property
    def cpu_s(self) -> float:
        """CPU time per timeframe between the two [s]."""
        return (self.marks[1][0] - self.marks[0][0]) / (self._at[1] - self._at[0])

    @property
    def wall_s(self) -> float:
        """Time per timeframe between the two [s]."""
        return (self.marks[1][1] - self.marks[0][1]) / (self._at[1] - self._at[0])


def small_timeframes(small: bool) -> list[Row]:
    """Timeframes without bulk through workers and commit."""
    n = (30_000, 150_000)[not small]
    meter = Meter(n // 4, n - 100)
    source = StreamSettings(source=f"enumerate:{n}", max_timeframes=20_000)
    report = run_stream(toy(), source, NoSink(), settings=settings(), progress=meter)
    if not report.ok:
        raise SystemExit(f"small timeframes: {report}")
    name = "small timeframes, batched, committed"
    return [
        {"what": name, "value": 1 / meter.wall_s, "unit": "TF/s", "target": ">= 6000"},
        {"what": "  CPU of all processes for one", "value": 1e6 * meter.cpu_s, "unit": "us"},
        {"what": "  so many would keep two cores busy", "value": 2 / meter.cpu_s, "unit": "TF/s"},
    ]


def cpu_share(small: bool) -> list[Row]:
    """CPU of every process of the stream, less what the processors burn."""
    seconds, n = 0.5, (16, 60)[not small]
    meter = Meter(4, n - 4)
    run_stream(toy(seconds), StreamSettings(source=f"enumerate:{n}"), NoSink(), settings=settings(), progress=meter)
    share = 100 * max(0.0, meter.cpu_s - seconds) / meter.cpu_s
    what = "framework's share of CPU at 0.5 s per timeframe"
    idle = 100 * max(0.0, 1 - seconds / (N_WORKERS * meter.wall_s))
    return [
        {"what": what, "value": share, "unit": "%", "target": "<= 3", "hlt": "8 to 13 %"},
        {"what": "  time of workers not spent in it, or not had", "value": idle, "unit": "%"},
    ]


def cpu_of_all() -> float:
    """Return the CPU time of this process and all its children [s]."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def reconstruction(small: bool) -> list[Row]:
    """The real reconstruction, beside the same processors in a plain pool of as many processes, before and after."""
    n, n_warm = (8, 60)[not small], (2, 4)[not small] * N_WORKERS
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tf.ctf"
        collisions = ("20", "200")[not small]  # 0.1 and 0.7 s of CPU each
        simulate = ["simulate", "--system", "pp", "--collisions", collisions, "--timeframes", "2", "--out", str(file)]
        subprocess.run([*COMMAND, *simulate], check=True, capture_output=True)
        topology = compile_workflow(load_workflow("async"))
        refs = list_timeframes([str(file)])
        some = [refs[i % len(refs)] for i in range(n // 2)]
        plain = [pooled(topology, some)]
        meter, stop = Meter(n_warm, n_warm + n), threading.Event()

        def progress(event: Event) -> None:
            meter(event)
            if len(meter.marks) == 2:
                stop.set()

        source = StreamSettings(source=f"replay:{file}", loop=True, max_timeframes=16)
        run_stream(topology, source, NoSink(("AOD/*",)), settings=settings(), progress=progress, stop=stop)
        plain.append(pooled(topology, some))
    plain_wall, plain_cpu = np.mean(plain, axis=0)
    return [
        {"what": "reconstruction (async) in the stream", "value": 1 / meter.wall_s, "unit": "TF/s"},
        {"what": "  the same processors in a plain pool", "value": 1 / plain_wall, "unit": "TF/s"},
        {"what": "  stream / plain pool", "value": 100 * plain_wall / meter.wall_s, "unit": "%", "target": ">= 95"},
        {"what": "  CPU per timeframe, plain pool / stream", "value": 100 * plain_cpu / meter.cpu_s, "unit": "%"},
    ]


def pooled(topology: Topology, refs: list[TimeframeRef]) -> tuple[float, float]:
    """Return time and CPU time per timeframe [s] of a pool of processes, started and warmed up before."""
    with ProcessPoolExecutor(N_WORKERS, mp_context=get_context("spawn"), initializer=prepare) as pool:
        warm = [pool.submit(whole, topology, refs[0]) for _ in range(2 * N_WORKERS)]
        _ = [future.result() for future in warm]
        start, cpu = time.perf_counter(), cpu_of_all()
        _ = [future.result() for future in [pool.submit(whole, topology, ref) for ref in refs]]
        return (time.perf_counter() - start) / len(refs), (cpu_of_all() - cpu) / len(refs)


_STATE: WorkerState


def prepare() -> None:
    """Make what a process of the pool keeps; one thread for kernels, as workers have."""
    global _STATE
    import numba

    numba.set_num_threads(1)
    _STATE = WorkerState()


def whole(topology: Topology, ref: TimeframeRef) -> None:
    """Do all processors on one timeframe."""
    at_hand: dict[Any, Any] = {}
    for task in plan(topology, ("AOD/*",)):
        at_hand |= run_step(topology, task, ref, at_hand, _STATE).outputs


def soak(minutes: float, rate: float) -> list[Row]:
    """Memory of every process over time, at 80 % of the rate that small timeframes reach."""
    clock, stop = Clock(), threading.Event()
    samples: list[tuple[float, float]] = []

    def watch() -> None:
        begin = time.perf_counter()
        while not stop.is_set():
            now = time.perf_counter()
            samples.append((now - begin, memory_of_all()))
            if now - begin > 60 * minutes:
                stop.set()
            stop.wait(1.0 if minutes > 1 else 0.25)

    watcher = threading.Thread(target=watch, daemon=True)

    def progress(event: Event) -> None:
        clock(event)
        if len(clock.commits) == 1 and not samples and not watcher.is_alive():
            watcher.start()
        if len(clock.commits) > 200_000:
            del clock.commits[1:100_000]

    source = StreamSettings(source="enumerate:1000", loop=True, rate=0.8 * rate, max_timeframes=20_000)
    report = run_stream(toy(), source, NoSink(), settings=settings(), progress=progress, stop=stop)
    times, megabytes = (np.array(column) for column in zip(*samples, strict=True))
    late = times > 0.3 * times[-1]  # caches fill first
    slope = np.polyfit(times[late] / 60, megabytes[late], 1)[0]
    return [
        {
            "what": f"soak of {minutes:g} min at {0.8 * rate:,.0f} TF/s: memory at the end",
            "value": megabytes[-1],
            "unit": "MB",
        },
        {
            "what": "  growth of all processes together",
            "value": slope,
            "unit": "MB/min",
            "n_committed": report.n_timeframes,
        },
    ]


def memory_of_all() -> float:
    """Return the resident memory of this process and all its children [MB]."""
    total = 0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def start_up(small: bool) -> list[Row]:
    """From the command to the first event of the run, and to the first commit; the best of some, so warm."""
    begun, engaged = [], []
    for _ in range((1, 4)[not small]):
        with events("stream", "--workflow", f"{__file__}:toy_workflow", "--source", "enumerate:200") as (start, lines):
            for event in lines:
                if event.get("event") == "started":
                    begun.append(time.perf_counter() - start)
                elif event.get("event") == "timeframe_committed":
                    engaged.append(time.perf_counter() - start)
                    break
            for _ in lines:
                pass
    return [
        {"what": "configured: command to workers and readout ready", "value": min(begun), "unit": "s", "hlt": "13 s"},
        {
            "what": "engaged: command to first commit",
            "value": min(engaged),
            "unit": "s",
            "target": "< 5",
            "hlt": "13 + 17 s",
        },
    ]


def toy_workflow() -> list[DataProcessorSpec]:
    """Return the workflow of `start_up`."""
    return [DataProcessorSpec("work", inputs="", outputs="", algorithm=nothing, cost_ms=0.1)]


@contextmanager
def events(*words: str) -> Iterator[tuple[float, Iterator[dict[str, Any]]]]:
    """Give the events of a command as it tells them."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [*COMMAND, *words, "--log-json", "--workers", str(N_WORKERS)],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        yield start, (json.loads(line) for line in process.stderr if line.startswith("{"))
        if process.wait(60):
            raise SystemExit(f"{' '.join(words)}: status {process.returncode}")
    finally:
        process.kill()


WHOLE: dict[str, Callable[[bool], list[Row]]] = {
    "small": small_timeframes,
    "reconstruction": reconstruction,
    "share": cpu_share,
    "start": start_up,
}
