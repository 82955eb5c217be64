"""What declaring costs: topologies of up to 1 000 processors compiled and planned, and the start from command to work.

Beside the compiler: the least that a graph of this size can cost in Python, `graphlib.TopologicalSorter` over edges
found by a dictionary of names, without options, wildcards, schemas or checks. Beside the start: `python -c pass`, and
an import of `dask.distributed` alone.

    python benchmarks/workflow.py [--small] [--json FILE]

CPU time, medians of several runs.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from o2dask.columns import Columns, Schema
from o2dask.context import WorkerState
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, WorkflowSpec
from o2dask.timeframe import enumerated
from o2dask.workflow.compiler import compile_workflow
from o2dask.workflow.execute import run_task
from o2dask.workflow.planner import plan
from o2dask.workflow.serialise import topology_from_json

START = """
import time
import o2dask as o2

def first(ctx):
    if ctx.timeframe.tf_counter == 0:
        open({path!r}, "w").write(str(time.time()))

def workflow():
    return [o2.DataProcessorSpec("first", inputs="", outputs="", algorithm=first)]
"""


def nothing(ctx: Any) -> None:
    """Stand for an algorithm: makes eight bytes."""
    ctx.outputs.make("out", {"value": np.zeros(1)})


def layered(n: int, seed: int = 1) -> WorkflowSpec:
    """Return `n` processors, each with up to three inputs from any before it, one in fifty with a wildcard."""
    rng = np.random.default_rng(seed)
    option = ConfigParamSpec(name="threshold", default=3.0, minimum=0, help="counts")
    processors = []
    for i in range(n):
        before = rng.integers(max(0, i - 50), i, min(i, 3)) if i else []
        inputs = [f"i{k}:DET/D{j}" for k, j in enumerate(dict.fromkeys(map(int, before)))]
        inputs += ["all:DET/D1?/*"] if i > 20 and i % 50 == 0 else []
        spec = {"inputs": ";".join(inputs), "outputs": f"out:DET/D{i}", "algorithm": nothing, "options": (option,)}
        processors.append(DataProcessorSpec(f"p{i}", cost_ms=float(rng.choice([1, 5, 20, 100])), **spec))
    return WorkflowSpec("layered", tuple(processors[i] for i in rng.permutation(n)))


def least(workflow: WorkflowSpec) -> list[str]:
    """Return an order of execution, with nothing checked."""
    maker = {(o.ref.origin, o.ref.description): p.name for p in workflow.processors for o in p.outputs}
    edges = {
        p.name: {maker[i.origin, i.description] for i in p.inputs if (i.origin, i.description) in maker}
        for p in workflow.processors
    }
    return list(TopologicalSorter(edges).static_order())


def cpu_ms(work: Callable[[], object], repeats: int) -> float:
    """Return the median CPU time of `work` [ms]."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - start))
    return statistics.median(times)


def compiling(n: int, repeats: int) -> dict[str, float]:
    """Return the figures of a topology of `n` processors."""
    workflow = layered(n)
    topology = compile_workflow(workflow)
    text = topology.to_json()
    if topology_from_json(text) != topology:
        raise SystemExit("a topology does not survive JSON")
    return {
        "n_processors": n,
        "n_routes": len(topology.routes),
        "declare_ms": cpu_ms(lambda: layered(n), repeats),
        "compile_ms": cpu_ms(lambda: compile_workflow(workflow), repeats),
        "plan_ms": cpu_ms(lambda: plan(topology), repeats),
        "to_json_ms": cpu_ms(topology.to_json, repeats),
        "from_json_ms": cpu_ms(lambda: topology_from_json(text), repeats),
        "least_ms": cpu_ms(lambda: least(workflow), repeats),
    }


def running(n: int, repeats: int) -> dict[str, float]:
    """Return what a processor of 8 bytes costs in a task of `n` [us], and what making its columns alone does."""
    topology = compile_workflow(layered(n))
    (task,) = plan(topology, min_ms=1e9)
    state, (ref,) = WorkerState(), enumerated(1)
    run_task(topology, task, ref, {}, state)

    def columns() -> None:
        for processor in topology.processors:
            arrays = {"value": np.zeros(1)}
            Columns(Schema.infer(str(processor.outputs[0].ref), arrays), arrays).freeze()

    made = cpu_ms(lambda: run_task(topology, task, ref, {}, state), repeats)
    return {"processor_us": 1e3 * made / n, "columns_us": 1e3 * cpu_ms(columns, repeats) / n}


def starting(repeats: int) -> dict[str, float]:
    """Return the wall time from command to first processor [s], and what Python and Dask take alone."""
    with tempfile.TemporaryDirectory() as folder:
        stamp, file = Path(folder) / "stamp", Path(folder) / "start.py"
        file.write_text(START.format(path=str(stamp)))
        run = [sys.executable, "-c", "from o2dask.cli.main import main; main()", "run", f"{file}:workflow"]
        figures: dict[str, list[float]] = {}
        for _ in range(repeats):
            for runner in ("inline", "batch"):
                more = ["--timeframes", "2", "--runner", runner] + (["--workers", "1"] if runner == "batch" else [])
                start = time.time()
                subprocess.run([*run, *more], check=True, capture_output=True, stdin=subprocess.DEVNULL)
                figures.setdefault(f"{runner}_s", []).append(float(stamp.read_text()) - start)
            for name, code in (("python_s", "pass"), ("import_distributed_s", "import distributed")):
                start = time.time()
                subprocess.run([sys.executable, "-c", code], check=True)
                figures.setdefault(name, []).append(time.time() - start)
    return {name: statistics.median(times) for name, times in figures.items()}


def main() -> None:
    """Measure, print tables, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--small", action="store_true", help="a quick run of some seconds")
    args = parser.parse_args()
    sizes, repeats = ((10, 1000), 3) if args.small else ((10, 100, 1000), 7)
    rows = [compiling(n, repeats) for n in sizes]
    run = running(100, 5 * repeats)
    start = starting(1 if args.small else 5)
    console = Console()
    table = Table(title="Topologies: CPU time [ms]")
    for name in rows[0]:
        table.add_column(name.removesuffix("_ms").replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{v:g}" if name.startswith("n_") else f"{v:.1f}" for name, v in row.items()))
    console.print(table)
    console.print(
        f"A processor in a task: {run['processor_us']:.0f} us, "
        f"of which making its 8 bytes of columns {run['columns_us']:.0f} us"
    )
    console.print(
        f"From command to first processor: {start['inline_s']:.2f} s inline, {start['batch_s']:.2f} s on a worker; "
        f"python alone {start['python_s']:.2f} s, import of distributed {start['import_distributed_s']:.2f} s"
    )
    if args.json:
        machine = {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
        figures = {"machine": machine, "topologies": rows, "run": run, "start": start}
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
