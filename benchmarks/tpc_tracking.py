"""TPC tracking: time per cluster and quality, on O2's own events or on simulated ones.

    python benchmarks/tpc_tracking.py [--data FOLDER --names g1000_0,g5000_0] [--threads 1,2] [--dump DIR]
                                      [--json FILE] [--small]

Reading and compilation are outside the clock; CPU time of the process, median of the runs. With --dump, tracks and
hits are written in the columns of O2's own output for `../shared/tools/eval_tpc.py`. O2's figures beside: its CPU code
on one thread of a Zen 3 core (../shared/data/README.md); there are none for simulated timeframes.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

O2_US_PER_CLUSTER = {"g1000": 1.7, "c1000": 1.7, "g5000": 2.1, "g20000": 3.5}
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "tpc"
STATE = ("x", "y", "z", "sinphi", "dzds", "qpt")


def load_clusters(folder: Path, name: str) -> tuple[np.ndarray, ...]:
    """Return sector, row, y, z of one event of the shared layout."""
    table = pq.read_table(folder / f"{name}.clusters.parquet", columns=["sector", "row", "y", "z"])
    types = (np.uint8, np.uint8, np.float32, np.float32)
    return tuple(table[c].to_numpy().astype(t) for c, t in zip(table.column_names, types, strict=True))


def simulated_clusters(collisions: int) -> tuple[np.ndarray, ...]:
    """Return sector, row, y, z of a Pb-Pb timeframe with its collisions at random in 32 orbits."""
    from o2dask.reco.simulation.timeframes import TimeframeParams, build_timeframe
    from o2dask.reco.tpc.reconstruct import cluster_positions
    from o2dask.reco.tpc.simulation import simulate_tpc
    from o2dask.timeframe import BCS_PER_ORBIT

    params = TimeframeParams(collisions=collisions, seed=1)
    truth = build_timeframe(params, 0)
    n_bcs = params.n_orbits * BCS_PER_ORBIT
    clusters = simulate_tpc(truth["MC/COLLISIONS"], truth["MC/PARTICLES"], n_bcs=n_bcs).payloads["TPC/CLUSTERNATIVE"]
    return clusters["sector"], clusters["pad_row"], *cluster_positions(clusters)[:2]


def dump(folder: Path, name: str, found: Any) -> None:
    """Write tracks and hits in O2's column names."""
    from o2dask.reco.geometry.tpc import sector_alpha

    n = np.diff(found.first)
    ids = np.arange(len(n), dtype=np.int32)
    tracks = {"track": ids, "n": n, "alpha": sector_alpha(found.sector).astype(np.float32)}
    tracks |= {column: found.par[:, i] for i, column in enumerate(STATE)}
    tracks |= {f"c{i}": found.cov[:, i] for i in range(15)} | {"chi2": found.chi2}
    hits = {"track": np.repeat(ids, n), "cluster": found.clusters, "rejected": np.zeros(len(found.clusters), bool)}
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(tracks), folder / f"{name}.tracks.parquet")
    pq.write_table(pa.table(hits), folder / f"{name}.hits.parquet")


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time every event at the number of threads that this process was started with."""
    from o2dask.reco.geometry.tpc import BZ_KG
    from o2dask.reco.tpc.grid import O2_FIELD_5KG
    from o2dask.reco.tpc.params import TpcTrackingParams, reference_params
    from o2dask.reco.tpc.tracking import track_clusters

    results = []
    for name in args.names.split(","):
        is_simulated = name.startswith("sim")
        columns = simulated_clusters(int(name[3:])) if is_simulated else load_clusters(args.data, name)
        params, field = (TpcTrackingParams(), BZ_KG) if is_simulated else (reference_params(), O2_FIELD_5KG)
        found = track_clusters(*columns, params, field)
        if args.dump:
            dump(args.dump, name, found)
        runs = []
        for _ in range(args.runs):
            wall, cpu = time.perf_counter(), time.process_time()
            stages = track_clusters(*columns, params, field).stages_s
            runs.append((time.perf_counter() - wall, time.process_time() - cpu, stages))
        n = len(columns[0])
        cpu_s = statistics.median(run[1] for run in runs)
        stages = {k: 1e6 * statistics.median(run[2][k] for run in runs) / n for k in runs[0][2]}
        results.append(
            {
                "name": name,
                "threads": args.worker,
                "clusters": n,
                "tracks": len(found.par),
                "wall_s": statistics.median(run[0] for run in runs),
                "cpu_s": cpu_s,
                "cpu_us_per_cluster": 1e6 * cpu_s / n,
                "stages_us_per_cluster": stages,
                "o2_us_per_cluster": O2_US_PER_CLUSTER.get(name.split("_")[0]),
            }
        )
    return results


def run_with_threads(threads: int, argv: list[str]) -> list[dict[str, Any]]:
    """Run `measure` in a process of its own: the number of threads is fixed when numba starts."""
    environment = os.environ | {"NUMBA_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, *argv, "--worker", str(threads)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def report(results: list[dict[str, Any]]) -> None:
    """Print the table."""
    print(
        f"{'event':>10} {'threads':>7} {'clusters':>9} {'tracks':>7} {'wall s':>7} {'cpu s':>7} {'us/cl':>6} {'O2':>5}"
        "  stages us/cl"
    )
    for r in results:
        stages = "  ".join(f"{k} {v:.3f}" for k, v in r["stages_us_per_cluster"].items())
        o2 = r["o2_us_per_cluster"] or float("nan")
        print(
            f"{r['name']:>10} {r['threads']:>7} {r['clusters']:>9} {r['tracks']:>7} {r['wall_s']:>7.3f} "
            f"{r['cpu_s']:>7.3f} {r['cpu_us_per_cluster']:>6.3f} {o2:>5.1f}  {stages}"
        )


def main() -> None:
    """Parse arguments, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of <name>.clusters.parquet (default: ../shared/data/tpc)")
    parser.add_argument("--names", help="events; simN simulates N Pb-Pb collisions (default g1000_0,g5000_0, or sim8)")
    parser.add_argument("--threads", default="1", help="numbers of threads, such as 1,2")
    parser.add_argument("--runs", type=int, default=5, help="runs whose median is reported")
    parser.add_argument("--dump", type=Path, help="folder for tracks and hits in O2's column names")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--small", action="store_true", help="one small event, for CI")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.data = args.data or SHARED
    if args.names is None:
        has_data = (args.data / "g1000_0.clusters.parquet").exists()
        args.names = ("g100_0" if args.small else "g1000_0,g5000_0") if has_data else ("sim1" if args.small else "sim8")
    if args.worker is not None:
        print(json.dumps(measure(args)))
        return
    argv = ["--data", str(args.data), "--names", args.names, "--runs", str(args.runs)]
    results = []
    for i, threads in enumerate(int(t) for t in args.threads.split(",")):
        dumped = ["--dump", str(args.dump)] if args.dump and i == 0 else []
        results += run_with_threads(threads, argv + dumped)
    report(results)
    if args.json:
        machine = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
        args.json.write_text(json.dumps({"benchmark": "tpc_tracking", **machine, "results": results}, indent=1))


if __name__ == "__main__":
    main()
