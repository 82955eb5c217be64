"""What the framework costs: workers' busy fraction, and time outside processors, by seconds of CPU per timeframe.

Synthetic timeframes of five processors that burn a given CPU time with the GIL released and pass 4 MB on. Beside each:
the same work through `concurrent.futures.ProcessPoolExecutor`, one whole timeframe per call, which is the least that
any framework in Python can cost. Then the driver's memory over many small timeframes.

    python benchmarks/framework.py [--small] [--json FILE] [--workers 2]

busy_fraction      time of workers within tasks / (wall time x workers)
overhead_fraction  1 - time within processors / (wall time x workers)
Both include ramp and tail of a run. Workers are started and warmed up outside the clock.

Then what one processor more costs, whatever it does: five processors, each of 10 ms, 100 ms or 1 s of CPU, on every
runner; ``isolated`` has them all expendable, in processes of their own (inline, so that nothing else is in the figure).
On Dask these too include ramp and tail, which weigh the more the fewer timeframes there are; inline, the time runs from
the end of a timeframe that only warms up.

Last the CPU time of driver, scheduler and workers together that a timeframe and a processor take which do nothing, from
chains of 2 and 20; the time from command to first processor; and a topology of 1 000 processors, of both of which
`benchmarks/workflow.py` has more. On two quiet cores all of it takes less than three minutes.
"""

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from distributed import Client, LocalCluster
from rich.console import Console
from rich.table import Table
from workflow import compiling, starting

from o2dask.context import ProcessingContext, WorkerState
from o2dask.monitoring.events import Event, TimeframeCommitted
from o2dask.runners.batch import run_batch
from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.runners.report import RunReport
from o2dask.runners.settings import BatchSettings
from o2dask.runners.step import Account, commit, run_step
from o2dask.runners.testing import workers
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, WorkflowSpec
from o2dask.timeframe import TimeframeId, TimeframeRef
from o2dask.workflow.compiler import compile_workflow
from o2dask.workflow.planner import plan
from o2dask.workflow.topology import Topology

CHAIN = (("reader", 0.05), ("decoder", 0.2), ("tracker", 0.5), ("vertexer", 0.1), ("producer", 0.15))
"""Processors and their shares of the CPU time, roughly those of TPC reconstruction."""
PAYLOAD_BYTES = 4_000_000


def burn(ctx: ProcessingContext) -> None:
    """Spend ``seconds`` of this thread's CPU time in numpy, which releases the GIL, then make the output.

    Timeframe 0 only warms up, and takes none.
    """
    end = time.thread_time() + (ctx.options["seconds"] if ctx.timeframe.tf_counter else 0.0)
    block = np.arange(65536, dtype=np.float32)
    while time.thread_time() < end:
        np.sqrt(block, out=block)
    n = 1000 if ctx.spec.name == CHAIN[-1][0] else PAYLOAD_BYTES // 4
    ctx.outputs.make("out", {"x": np.full(n, ctx.timeframe.tf_counter, np.float32)})


def synthetic(seconds: float) -> Topology:
    """Return a chain of processors that takes `seconds` of CPU per timeframe."""
    processors, before = [], ""
    for name, share in CHAIN:
        output = f"out:SYN/{name.upper()}"
        option = ConfigParamSpec(name="seconds", default=seconds * share, help="CPU time [s]")
        processors.append(
            DataProcessorSpec(
                name=name,
                inputs=before,
                outputs=output,
                algorithm=burn,
                options=(option,),
                cost_ms=1e3 * seconds * share,
            )
        )
        before = f"x:SYN/{name.upper()}"
    return compile_workflow(WorkflowSpec("synthetic", tuple(processors)))


def timeframes(n: int, first: int = 1) -> list[TimeframeRef]:
    """Return `n` timeframes."""
    ids = [TimeframeId(run=1, tf_counter=i, first_orbit=32 * i) for i in range(first, first + n)]
    return [TimeframeRef(id=id_, url="synthetic", index=i, n_bytes=1_000_000) for i, id_ in enumerate(ids)]


def whole_timeframe(topology: Topology, ref: TimeframeRef, folder: str) -> tuple[float, float]:
    """Return seconds within processors and in all of one timeframe; what a worker of the baseline does."""
    start, account, at_hand = time.perf_counter(), Account(), {}
    sink = FolderSink(folder, KEPT)
    for task in plan(topology, KEPT):
        step = run_step(topology, task, ref, at_hand, WorkerState())
        account.add(step.account)
        at_hand = step.outputs
    commit(sink, ref, at_hand, account)
    return sum(account.seconds.values()), time.perf_counter() - start


KEPT = (f"SYN/{CHAIN[-1][0].upper()}",)


def baseline(pool: ProcessPoolExecutor, n_workers: int, seconds: float, n: int, folder: str) -> dict[str, float]:
    """Return the figures of the process pool."""
    topology = synthetic(seconds)
    start = time.perf_counter()
    futures = [pool.submit(whole_timeframe, topology, ref, folder) for ref in timeframes(n)]
    times = [future.result() for future in futures]
    total = (time.perf_counter() - start) * n_workers
    inside, busy = (sum(t[i] for t in times) for i in (0, 1))
    return {"pool_busy_fraction": busy / total, "pool_overhead_fraction": 1 - inside / total}


def dask_run(address: str, seconds: float, n: int, folder: str, progress: Any = None) -> tuple[RunReport, float]:
    """Return the report of a batch run and the CPU time of driver and scheduler [s]."""
    cpu = time.process_time()
    settings = BatchSettings(scheduler=address)
    report = run_batch(
        synthetic(seconds), timeframes(n), FolderSink(folder, KEPT), settings=settings, progress=progress
    )
    if not report.ok:
        raise SystemExit(f"the run failed: {report}")
    return report, time.process_time() - cpu


def overhead(address: str, pool: ProcessPoolExecutor, n_workers: int, seconds: float, n: int) -> dict[str, Any]:
    """Return all figures for timeframes of `seconds`."""
    with _scratch() as folder:
        report, cpu = dask_run(address, seconds, n, f"{folder}/dask")
        beside = baseline(pool, n_workers, seconds, n, f"{folder}/pool")
    return {
        "seconds_per_timeframe": seconds,
        "n_timeframes": n,
        "physical_tasks": len(plan(synthetic(seconds), KEPT)),
        "busy_fraction": report.busy_fraction,
        "overhead_fraction": report.overhead_fraction,
        "driver_cpu_ms_per_timeframe": 1e3 * cpu / n,
        **beside,
    }


def chain_of(each: float, isolated: bool) -> Topology:
    """Return five processors of the same CPU time each [s], all expendable if they are to be isolated."""
    equal = synthetic(each * len(CHAIN))
    options = {name: {"seconds": each} for name, _ in CHAIN}
    processors = tuple(replace(p, expendable=isolated, cost_ms=1e3 * each) for p in equal.processors)
    return compile_workflow(WorkflowSpec("equal", processors), options)


def after_the_first(topology: Topology, n: int) -> tuple[float, float]:
    """Return the wall time of `n` timeframes inline and the time within their processors [s].

    One more before them warms up, and starts the processes of those that are expendable.
    """
    ends: list[tuple[float, float]] = []

    def see(event: Event) -> None:
        if isinstance(event, TimeframeCommitted):
            ends.append((time.perf_counter(), event.seconds))

    run_inline(topology, timeframes(n + 1, first=0), NoSink(), progress=see)
    return ends[-1][0] - ends[0][0], sum(seconds for _, seconds in ends[1:])


def per_processor(address: str, threads: str, n_workers: int, each: float, n: int) -> dict[str, Any]:
    """Return what the framework takes per processor and timeframe [ms of a worker], and its share, on every runner."""
    row: dict[str, Any] = {"seconds_per_processor": each, "n_timeframes": n}
    for name, where in (("inline", None), ("isolated", None), ("threads", threads), ("processes", address)):
        topology = chain_of(each, name == "isolated")
        if where is None:
            n_seen = max(2, n // 2)  # one worker does as many as each of two
            total, inside = after_the_first(topology, n_seen)
        else:
            n_seen = n
            report = run_batch(topology, timeframes(n), NoSink(), settings=BatchSettings(scheduler=where))
            total, inside = report.wall_s * n_workers, sum(report.seconds.values())
        row[f"{name}_share"] = 1 - inside / total
        row[f"{name}_ms"] = 1e3 * (total - inside) / (n_seen * len(CHAIN))
    return row


def idle(ctx: ProcessingContext) -> None:
    """Make eight bytes."""
    ctx.outputs.make("out", {"x": np.zeros(1)})


def idle_chain(n: int) -> Topology:
    """Return a chain of `n` processors that do nothing, in one task."""
    processors, before = [], ""
    for i in range(n):
        spec = {"inputs": before, "outputs": f"out:SYN/D{i}", "algorithm": idle, "cost_ms": 0.0}
        processors.append(DataProcessorSpec(f"p{i}", **spec))
        before = f"x:SYN/D{i}"
    return compile_workflow(WorkflowSpec("idle", tuple(processors)))


def marginal(runner: str, address: str, n: int) -> dict[str, Any]:
    """Return the CPU time that a timeframe and a processor of a runner take [ms]."""
    settings = BatchSettings(scheduler=address)

    def workers_cpu() -> float:
        if runner != "processes":  # all in this process
            return 0.0
        with Client(address, set_as_default=False) as client:
            return float(sum(client.run(time.process_time).values()))

    def cost(topology: Topology) -> float:
        refs = timeframes(n)
        start, before = time.process_time(), workers_cpu()
        if runner == "inline":
            run_inline(topology, refs, NoSink())
        else:
            run_batch(topology, refs, NoSink(), settings=settings)
        return 1e3 * (time.process_time() - start + workers_cpu() - before) / n

    two, twenty = (cost(idle_chain(k)) for k in (2, 20))
    per_processor = (twenty - two) / 18
    return {
        "runner": runner,
        "n_timeframes": n,
        "cpu_ms_per_timeframe": two - 2 * per_processor,
        "cpu_ms_per_processor": per_processor,
    }


def memory(address: str, n: int) -> dict[str, float]:
    """Return the growth of the driver (scheduler included) per timeframe over the second half of many small ones."""
    process, sizes = psutil.Process(), []

    def see(event: Event) -> None:
        if isinstance(event, TimeframeCommitted):
            sizes.append(process.memory_info().rss)

    with _scratch() as folder:
        dask_run(address, 0.001, n, f"{folder}/memory", see)
    half = sizes[len(sizes) // 2 :]
    slope = np.polyfit(np.arange(len(half)), half, 1)[0]
    return {
        "n_timeframes": n,
        "driver_mib_start": sizes[0] / 2**20,
        "driver_mib_end": sizes[-1] / 2**20,
        "driver_kib_per_timeframe": slope / 1024,
    }


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder in memory where there is one: the disk is not what is measured."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--small", action="store_true", help="a quick run of some seconds")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    sizes = [(0.1, 20), (1.0, 6)] if args.small else [(0.1, 40), (0.3, 20), (1.0, 16), (3.0, 12)]
    spawn = multiprocessing.get_context("spawn")
    with workers(args.workers) as cluster, ProcessPoolExecutor(args.workers, mp_context=spawn) as pool, _scratch() as f:
        dask_run(cluster.scheduler_address, 0.02, 8, f"{f}/warm")
        list(pool.map(whole_timeframe, [synthetic(0.02)] * 8, timeframes(8), [f"{f}/warm2"] * 8))
        rows = [overhead(cluster.scheduler_address, pool, args.workers, seconds, n) for seconds, n in sizes]
        held = memory(cluster.scheduler_address, 100 if args.small else 600)
        with LocalCluster(
            n_workers=1, threads_per_worker=args.workers, processes=False, dashboard_address=None, protocol="inproc"
        ) as threads:
            each = [(0.01, 40), (0.1, 6)] if args.small else [(0.01, 100), (0.1, 12), (1.0, 4)]
            costs = [
                per_processor(cluster.scheduler_address, threads.scheduler_address, args.workers, seconds, n)
                for seconds, n in each
            ]
            n = 40 if args.small else 300
            where = (("inline", ""), ("threads", threads.scheduler_address), ("processes", cluster.scheduler_address))
            margins = [marginal(runner, address, n) for runner, address in where]
    start, topology = starting(1 if args.small else 3), compiling(1000, 1 if args.small else 3)
    show(rows, held, args.workers)
    show_costs(costs)
    show_margins(margins)
    print(
        f"From command to first processor: {start['inline_s']:.2f} s inline, {start['batch_s']:.2f} s on a worker. A "
        f"topology of 1 000: {topology['compile_ms']:.0f} ms to compile, {topology['plan_ms']:.0f} ms to plan"
    )
    if args.json:
        figures = {
            "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
            "workers": args.workers,
            "overhead": rows,
            "memory": held,
            "per_processor": costs,
            "marginal": margins,
            "start": start,
            "topology": topology,
        }
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def show(rows: list[dict[str, Any]], held: dict[str, float], n_workers: int) -> None:
    """Print the figures."""
    table = Table(title=f"Framework overhead, {n_workers} workers")
    for name in ("s per TF", "TFs", "tasks", "busy", "overhead", "driver CPU ms/TF", "pool busy", "pool overhead"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            f"{row['seconds_per_timeframe']:g}",
            str(row["n_timeframes"]),
            str(row["physical_tasks"]),
            f"{row['busy_fraction']:.1%}",
            f"{row['overhead_fraction']:.1%}",
            f"{row['driver_cpu_ms_per_timeframe']:.1f}",
            f"{row['pool_busy_fraction']:.1%}",
            f"{row['pool_overhead_fraction']:.1%}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"Driver with scheduler over {held['n_timeframes']} timeframes: {held['driver_mib_start']:.0f} MiB to "
        f"{held['driver_mib_end']:.0f} MiB, {held['driver_kib_per_timeframe']:.1f} KiB per timeframe in the second half"
    )


def show_costs(costs: list[dict[str, Any]]) -> None:
    """Print what a processor costs beyond what it does."""
    table = Table(title="Framework per processor and timeframe: ms of a worker, share of its time")
    runners = ("inline", "isolated", "threads", "processes")
    for name in ("s per processor", *runners):
        table.add_column(name, justify="right")
    for row in costs:
        cells = [f"{row[f'{name}_ms']:.2f} ms, {row[f'{name}_share']:.1%}" for name in runners]
        table.add_row(f"{row['seconds_per_processor']:g}", *cells)
    Console().print(table)


def show_margins(margins: list[dict[str, Any]]) -> None:
    """Print what doing nothing takes."""
    table = Table(title="CPU ms of driver, scheduler and workers, for processors that do nothing")
    for name in ("runner", "per timeframe", "per processor"):
        table.add_column(name, justify="left" if name == "runner" else "right")
    for row in margins:
        figures = (row[f"cpu_ms_per_{what}"] for what in ("timeframe", "processor"))
        table.add_row(row["runner"], *(f"{figure:.2f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
