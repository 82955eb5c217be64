"""TPC tracking on a GPU beside one CPU core, same timeframe, same bodies.

    python benchmarks/gpu.py [--collisions 20] [--runs 5] [--simulator] [--json FILE] [--small]

Where there is no GPU it says so and ends with 0. `--simulator` runs the kernels in numba's CUDA simulator on a handful
of tracks: it shows that they run, and its times mean nothing. Wall time, median of the runs, clusters in host memory
to tracks in host memory; compilation is outside the clock. Bytes are those copied per timeframe, once what stays on the
device is there. The tracks must be the same; seeds are followed side by side on a GPU, one after the other on a core.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def make_clusters(collisions: int) -> Any:
    """Return TPC/CLUSTERNATIVE of Pb-Pb collisions spread as at 50 kHz, or of five tracks if there are none."""
    from o2dask.reco.tpc.simulation import simulate_tpc
    from o2dask.timeframe import BCS_PER_ORBIT

    if collisions:
        from o2dask.reco.simulation.timeframes import TimeframeParams, build_timeframe

        params = TimeframeParams(collisions=collisions, seed=1, n_orbits=max(round(collisions * 32 / 140), 1))
        truth = build_timeframe(params, 0)
        n_bcs = params.n_orbits * BCS_PER_ORBIT
        made = simulate_tpc(truth["MC/COLLISIONS"], truth["MC/PARTICLES"], n_bcs=n_bcs)
    else:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "tpc"))
        from gun import N_BCS, shoot

        made = simulate_tpc(*shoot([211] * 5, 1.0, np.linspace(-0.8, 0.8, 5), np.arange(5.0)), n_bcs=N_BCS)
    return made.payloads["TPC/CLUSTERNATIVE"]


def measure(path: str, kind: str, runs: int) -> dict[str, Any]:
    """Track the clusters of a file on "cpu" or "gpu"; return times and what was found."""
    from o2dask.columns import Columns
    from o2dask.reco.tpc.backend import HOST
    from o2dask.reco.tpc.reconstruct import reconstruct
    from o2dask.reco.tpc.schema import CLUSTERNATIVE

    backend, device = HOST, None
    if kind == "gpu":
        from o2dask.reco.tpc.device import Device

        backend = device = Device()
    clusters = Columns(CLUSTERNATIVE, dict(np.load(path)))
    tracks, members, _ = reconstruct(clusters, backend=backend)
    if device is not None:  # what stays there has been sent
        device.copied.update(up=0, down=0)
    walls, stages = [], {}
    for _ in range(runs):
        begin = time.perf_counter()
        _, _, stages = reconstruct(clusters, backend=backend)
        walls.append(time.perf_counter() - begin)
    n = clusters.n_rows
    wall = statistics.median(walls) if walls else float("nan")
    copied = {k: v / max(runs, 1) / n for k, v in device.copied.items()} if device is not None and runs else {}
    found = {"tracks": tracks.n_rows, "attached": members.n_rows, "checksum": int(members["cluster"].sum())}
    return (
        {"kind": kind, "clusters": n, "wall_s": wall, "us_per_cluster": 1e6 * wall / n}
        | found
        | {
            "stages_s": stages,
            "copied_bytes_per_cluster": copied,
        }
    )


def run(kind: str, path: Path, runs: int, **environment: str) -> dict[str, Any]:
    """Measure in a process of its own: simulator and compiler are chosen when numba starts."""
    command = [sys.executable, __file__, "--worker", kind, "--clusters", str(path), "--runs", str(runs)]
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Parse arguments, measure, report."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collisions", type=int, default=20, help="Pb-Pb collisions of the timeframe")
    parser.add_argument("--runs", type=int, default=5, help="runs whose median is reported")
    parser.add_argument("--simulator", action="store_true", help="numba's CUDA simulator, five tracks")
    parser.add_argument("--small", action="store_true", help="one collision, for CI")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--clusters", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(measure(args.clusters, args.worker, args.runs)))
        return
    from o2dask.reco.tpc.device import has_device

    results = []
    if not has_device() and not args.simulator:
        print("no GPU")
    else:
        with tempfile.TemporaryDirectory(prefix="gpu_") as folder:
            path = Path(folder) / "clusters.npz"
            columns = make_clusters(0 if args.simulator else 1 if args.small else args.collisions)
            np.savez(path, **{name: columns[name] for name in columns.schema.names})
            simulator = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"} if args.simulator else {}
            results.append(run("cpu", path, args.runs, NUMBA_NUM_THREADS="1"))
            results.append(run("gpu", path, 0 if args.simulator else args.runs, **simulator))
        print(f"{'':>4} {'clusters':>9} {'tracks':>7} {'attached':>9} {'wall s':>8} {'us/cl':>7}")
        for r in results:
            print(
                f"{r['kind']:>4} {r['clusters']:>9} {r['tracks']:>7} {r['attached']:>9} {r['wall_s']:>8.3f} "
                f"{r['us_per_cluster']:>7.3f}"
            )
            stages = "  ".join(f"{k} {1e6 * v / r['clusters']:.3f}" for k, v in r["stages_s"].items())
            print(f"     host us per cluster: {stages}" if stages else "", end="\n" if stages else "")
            if r["copied_bytes_per_cluster"]:
                up, down = r["copied_bytes_per_cluster"].values()
                print(f"     bytes per cluster: {up:.0f} to the device, {down:.0f} back")
        same = results[0]["checksum"] == results[1]["checksum"]
        print(f"the same clusters on tracks: {'yes' if same else 'no'}")
    if args.json:
        args.json.write_text(json.dumps({"benchmark": "gpu", "has_gpu": has_device(), "results": results}, indent=1))


if __name__ == "__main__":
    main()
