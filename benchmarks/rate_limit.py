"""Rate limiting: timeframes of random cost and size under a memory budget, beside the same without a limit.

Each timeframe takes a gamma-distributed CPU time (standard deviation half of the mean) in four processors and holds
10 to 80 MB meanwhile. Limited: the default window, and a budget of 600 MiB for what is in flight, as much as four of
the largest need by the runner's estimate. With less, two or three are in flight now and then, and where two workers
have two timeframes only, each waits for the driver at every end (400 MiB: one per cent less busy). Unlimited: all
timeframes at once. A pool of processes without any framework is the least that either can cost.

    python benchmarks/rate_limit.py [--small] [--json FILE] [--workers 2] [--page FILE]

busy      time of workers within tasks / (wall time x workers), ramp and tail included
promised  most memory that timeframes in flight were thought to take; the limited run keeps it under its budget
held      most memory of all workers together, their own needs (150 to 250 MB each) included
"""

import argparse
import json
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from o2dask.context import ProcessingContext, WorkerState
from o2dask.runners.batch import run_batch
from o2dask.runners.nothing import NoSink
from o2dask.runners.report import RunReport
from o2dask.runners.settings import WORKER_BASE_BYTES, BatchSettings
from o2dask.runners.step import run_step
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, WorkflowSpec
from o2dask.timeframe import TimeframeId, TimeframeRef
from o2dask.workflow.compiler import compile_workflow
from o2dask.workflow.planner import plan
from o2dask.workflow.topology import Topology

MIB = 1 << 20
BUDGET = 600 * MIB
STEPS = (("reader", 0.1), ("clusterer", 0.3), ("tracker", 0.5), ("writer", 0.1))
SEED = 20261122


def work(ctx: ProcessingContext) -> None:
    """Hold this timeframe's memory and spend this processor's share of its CPU time."""
    cost, size = draw(ctx.timeframe.tf_counter, ctx.options["seconds"])
    end = time.thread_time() + cost * ctx.options["share"]
    held = np.ones(size // 8)
    block = np.arange(65536, dtype=np.float32)
    while time.thread_time() < end:
        np.sqrt(block, out=block)
    ctx.outputs.make("out", {"x": held[: size // 32]})


def draw(i: int, seconds: float) -> tuple[float, int]:
    """Return cost [s] and size [bytes] of timeframe `i`: the same in every process."""
    rng = np.random.default_rng([SEED, i])
    return float(seconds * rng.gamma(4.0, 0.25)), int(rng.integers(10, 80)) * 1_000_000


def workflow(seconds: float) -> Topology:
    """Return the chain."""
    processors, before = [], ""
    for name, share in STEPS:
        options = (ConfigParamSpec(name="seconds", default=seconds), ConfigParamSpec(name="share", default=share))
        output, cost_ms = f"out:SYN/{name.upper()}", 1e3 * seconds * share
        processors.append(
            DataProcessorSpec(name, inputs=before, outputs=output, algorithm=work, options=options, cost_ms=cost_ms)
        )
        before = f"x:SYN/{name.upper()}"
    return compile_workflow(WorkflowSpec("random", tuple(processors)))


def timeframes(n: int) -> list[TimeframeRef]:
    """Return `n` timeframes whose stored size is a tenth of what they take."""
    ids = [TimeframeId(run=1, tf_counter=i, first_orbit=32 * i) for i in range(n)]
    return [TimeframeRef(id=id_, url="random", index=i, n_bytes=draw(i, 1.0)[1] // 10) for i, id_ in enumerate(ids)]


def whole(topology: Topology, ref: TimeframeRef) -> float:
    """Return how long a timeframe took in a process of the pool [s]."""
    start, at_hand = time.perf_counter(), {}
    for task in plan(topology):
        at_hand = run_step(topology, task, ref, at_hand, WorkerState()).outputs
    return time.perf_counter() - start


def pool_busy(n_workers: int, topology: Topology, n: int) -> tuple[float, float]:
    """Return busy fraction and wall time [s] of a pool of processes."""
    with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(whole, [topology] * n_workers, timeframes(n_workers)))  # starts them
        start = time.perf_counter()
        busy = sum(pool.map(whole, [topology] * n, timeframes(n)))
        wall = time.perf_counter() - start
    return busy / (wall * n_workers), wall


def figures(name: str, report: RunReport) -> dict[str, Any]:
    """Return a row."""
    if not report.ok:
        raise SystemExit(f"{name}: the run failed: {report}")
    return {
        "run": name,
        "busy_fraction": report.busy_fraction,
        "overhead_fraction": report.overhead_fraction,
        "wall_s": report.wall_s,
        "peak_in_flight": report.peak_in_flight,
        "promised_mib": report.peak_bytes / MIB,
        "budget_mib": report.budget_bytes / MIB,
        "held_mib": report.history.peak_measured / MIB,
        "memory_mib": report.memory_bytes / MIB,
    }


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--page", type=Path, help="write the page of the limited run to this file")
    parser.add_argument("--small", action="store_true", help="a quick run of some seconds")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    n, seconds = (40, 0.15) if args.small else (200, 0.4)
    topology, refs = workflow(seconds), timeframes(n)
    memory = args.workers * WORKER_BASE_BYTES + BUDGET
    settings = BatchSettings(workers=args.workers, memory=memory)
    limited = run_batch(topology, refs, NoSink(), settings=settings)
    rows = [figures("limited", limited)]
    if not args.small:
        settings = BatchSettings(workers=args.workers, memory="64GiB", window=n)
        rows.append(figures("all at once", run_batch(topology, refs, NoSink(), settings=settings)))
    busy, wall = pool_busy(args.workers, topology, n)
    rows.append({"run": "pool of processes", "busy_fraction": busy, "wall_s": wall})
    show(rows, n, seconds, args.workers)
    if args.page:
        from o2dask.web.run_page import run_page

        args.page.write_text(run_page(limited, "random costs"), encoding="utf-8")
    if args.json:
        machine = {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
        told = {"machine": machine, "workers": args.workers, "n_timeframes": n, "mean_s": seconds, "runs": rows}
        args.json.write_text(json.dumps(told | {"seed": SEED}, indent=1) + "\n")


def show(rows: list[dict[str, Any]], n: int, seconds: float, n_workers: int) -> None:
    """Print the figures."""
    table = Table(title=f"{n} timeframes of {seconds:g} s on average, {n_workers} workers")
    for name in ("run", "busy", "wall s", "in flight", "promised MiB", "budget MiB", "held MiB", "limit MiB"):
        table.add_column(name, justify="left" if name == "run" else "right")
    for row in rows:
        cells = [row["run"], f"{row['busy_fraction']:.1%}", f"{row['wall_s']:.1f}"]
        if "held_mib" in row:
            names = ("promised_mib", "budget_mib", "held_mib", "memory_mib")
            cells += [str(row["peak_in_flight"]), *(f"{row[name]:.0f}" for name in names)]
        table.add_row(*cells)
    Console().print(table)


if __name__ == "__main__":
    main()
