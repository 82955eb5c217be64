"""TPC tracking on O2's own events: time per cluster and quality, ours beside O2's beside the targets, line by line.

    python benchmarks/tpc_tracking.py [--data FOLDER --names g1000_0,g5000_0] [--threads 1,2] [--dump DIR]
                                      [--json FILE] [--small]

Names are events of the folder; `overlay20k`, four times g5000_0 rotated by whole sectors; or `simN`, N Pb-Pb collisions
of our simulation spread as at 50 kHz, tracked by `reconstruct`: native clusters in, tracks with dE/dx out (sim140: a
full timeframe). Reading and compilation are outside the clock; CPU time of the process, median of the runs. Memory is
the peak of the resident set over that before the clusters were read, so clusters are part of it. With --dump, tracks
and hits are written in the columns of O2's own output, with clusters and truth of an overlay beside them, and
`../shared/tools/eval_tpc.py` judges them; it judges O2's own tracks of the same events too. O2's figures: its CPU code
on one thread of a Zen 3 core (../shared/data/README.md) where `../shared/tools/calibrate.py` printed 53 ms; our times
are scaled by what it prints here.
"""

import argparse
import gc
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tpc_targets as targets

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "tpc"
DEFAULT_NAMES = "g1000_0,g1000_1,g5000_0,overlay20k,sim8"
STATE = ("x", "y", "z", "sinphi", "dzds", "qpt")


OVERLAY_SECTORS = (0, 4, 9, 13)
"""By how many sectors the copies of an overlay are rotated; O2's field is the same there up to 0.1 %."""


def load_clusters(folder: Path, name: str) -> tuple[np.ndarray, ...]:
    """Return sector, row, y, z of one event of the shared layout."""
    table = pq.read_table(folder / f"{name}.clusters.parquet", columns=["sector", "row", "y", "z"])
    types = (np.uint8, np.uint8, np.float32, np.float32)
    return tuple(table[c].to_numpy().astype(t) for c, t in zip(table.column_names, types, strict=True))


def overlay(folder: Path, name: str) -> tuple[pa.Table, pa.Table]:
    """Return clusters and truth of an event laid over itself, rotated by `OVERLAY_SECTORS`, in the shared layout."""
    clusters = {k: v.to_numpy() for k, v in _columns(folder, name, "clusters").items()}
    truth = {k: v.to_numpy() for k, v in _columns(folder, name, "mc").items()}
    n_mc = len(truth["mc"])
    made: tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]] = ([], [])
    for i, turn in enumerate(OVERLAY_SECTORS):
        angle = np.deg2rad(20.0 * turn)
        c, s = np.cos(angle), np.sin(angle)
        side, sector = np.divmod(clusters["sector"].astype(np.int64), 18)
        turned = (18 * side + (sector + turn) % 18).astype(clusters["sector"].dtype)
        made[0].append(clusters | {"sector": turned, "mc": clusters["mc"] + i * n_mc})
        x, y, px, py = (truth[k].astype(float) for k in ("x", "y", "px", "py"))
        moved = {"x": c * x - s * y, "y": s * x + c * y, "px": c * px - s * py, "py": s * px + c * py}
        made[1].append(truth | {"mc": truth["mc"] + i * n_mc} | moved)
    tables = [{k: np.concatenate([part[k] for part in parts]) for k in parts[0]} for parts in made]
    order = np.lexsort((tables[0]["row"], tables[0]["sector"]))
    sorted_clusters = {k: v[order] for k, v in tables[0].items()}
    if "cluster" in sorted_clusters:
        sorted_clusters["cluster"] = np.arange(len(order))
    return pa.table(sorted_clusters), pa.table(tables[1])


def _columns(folder: Path, name: str, part: str) -> dict[str, pa.ChunkedArray]:
    table = pq.read_table(folder / f"{name}.{part}.parquet")
    return {c: table[c] for c in table.column_names}


def prepare(folder: Path, source: Path, name: str) -> None:
    """Write the event `name`, an overlay or a simulated timeframe, to `folder`."""
    if name == "overlay20k":
        clusters, truth = overlay(source, "g5000_0")
        pq.write_table(clusters, folder / f"{name}.clusters.parquet")
        pq.write_table(truth, folder / f"{name}.mc.parquet")
        return
    from o2dask.reco.simulation.timeframes import TimeframeParams, build_timeframe
    from o2dask.reco.tpc.schema import CLUSTERNATIVE
    from o2dask.reco.tpc.simulation import simulate_tpc
    from o2dask.timeframe import BCS_PER_ORBIT

    collisions = int(name[3:])
    # 140 collisions in 32 orbits are 50 kHz; fewer keep that density
    params = TimeframeParams(collisions=collisions, seed=1, n_orbits=max(round(collisions * 32 / 140), 1))
    truth = build_timeframe(params, 0)
    n_bcs = params.n_orbits * BCS_PER_ORBIT
    clusters = simulate_tpc(truth["MC/COLLISIONS"], truth["MC/PARTICLES"], n_bcs=n_bcs).payloads["TPC/CLUSTERNATIVE"]
    for column in CLUSTERNATIVE.names:
        np.save(folder / f"{name}.{column}.npy", clusters[column])


def resident_bytes(entry: str = "VmRSS") -> int:
    """Return the resident set of this process now, or with VmHWM its peak since `reset_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(entry)).split()[1])


def reset_peak() -> None:
    """Let the peak of the resident set start anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


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


def digest(found: Any) -> str:
    """Return a fingerprint of every bit of a result."""
    made = hashlib.sha256()
    columns = found._asdict() if hasattr(found, "_asdict") else dict(found)
    for name, array in columns.items():
        if isinstance(array, np.ndarray):
            made.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return made.hexdigest()[:16]


def tracker_of(args: argparse.Namespace, name: str) -> tuple[int, Callable[[], Any]]:
    """Return the number of clusters of an event and what tracks it: a call that returns (result, CPU s per stage)."""
    from o2dask.reco.tpc.field import O2_FIELD_5KG
    from o2dask.reco.tpc.params import reference_params
    from o2dask.reco.tpc.tracking import track_clusters

    if name.startswith("sim"):
        from o2dask.columns import Columns
        from o2dask.reco.tpc.reconstruct import reconstruct
        from o2dask.reco.tpc.schema import CLUSTERNATIVE

        native = Columns(CLUSTERNATIVE, {c: np.load(args.made / f"{name}.{c}.npy") for c in CLUSTERNATIVE.names})

        def chain() -> tuple[Any, dict[str, float]]:
            tracks, _, stages = reconstruct(native)
            return tracks, stages

        return native.n_rows, chain
    columns = load_clusters(args.made if name == "overlay20k" else args.data, name)

    def tracker() -> tuple[Any, dict[str, float]]:
        found = track_clusters(*columns, reference_params(), O2_FIELD_5KG)
        return found, found.stages_s

    return len(columns[0]), tracker


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time every event at the number of threads that this process was started with."""
    return [measure_event(args, name) for name in args.names.split(",")]


def measure_event(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """Time one event."""
    tracker_of(args, "sim1" if name.startswith("sim") else name)[1]()  # compiles
    gc.collect()
    before = resident_bytes()
    reset_peak()
    n, track = tracker_of(args, name)
    found, _ = track()
    peak = resident_bytes("VmHWM") - before
    if args.dump and not name.startswith("sim"):
        dump(args.dump, name, found)
    n_tracks = len(found.par) if hasattr(found, "par") else found.n_rows
    fingerprint = digest(found)
    del found
    runs = []
    for _ in range(args.runs):
        wall, cpu = time.perf_counter(), time.process_time()
        _, stages = track()
        runs.append((time.perf_counter() - wall, time.process_time() - cpu, stages))
    cpu_s = statistics.median(run[1] for run in runs)
    stages = {k: statistics.median(run[2][k] for run in runs) for k in runs[0][2]}
    return {
        "name": name,
        "threads": args.worker,
        "clusters": n,
        "tracks": n_tracks,
        "wall_s": statistics.median(run[0] for run in runs),
        "cpu_s": cpu_s,
        "cpu_us_per_cluster": 1e6 * cpu_s / n,
        "peak_bytes_per_cluster": peak / n,
        "stages": stages,
        "stages_us_per_cluster": {k: 1e6 * v / n for k, v in stages.items()},
        "least_wall_s": min(run[0] for run in runs),
        "digest": fingerprint,
    }


def run_with_threads(threads: int, argv: list[str]) -> list[dict[str, Any]]:
    """Run `measure` in a process of its own: the number of threads is fixed when numba starts."""
    environment = os.environ | {"NUMBA_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, *argv, "--worker", str(threads)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def make_missing(args: argparse.Namespace, made: Path, argv: list[str]) -> None:
    """Make overlays and simulated timeframes, in processes of their own."""
    made.mkdir(parents=True, exist_ok=True)
    wanted = {name for name in args.names.split(",") if name.startswith(("sim", "overlay"))}
    if any(name.startswith("sim") for name in wanted):
        wanted.add("sim1")
    for name in sorted(wanted):
        if not list(made.glob(f"{name}.*")):
            subprocess.run([sys.executable, __file__, *argv, "--prepare", name], check=True)


def report(results: list[dict[str, Any]]) -> None:
    """Print times and memory."""
    print(
        f"{'event':>10} {'threads':>7} {'clusters':>9} {'tracks':>7} {'wall s':>7} {'cpu s':>7} {'us/cl':>6} "
        f"{'B/cl':>5}  stages, CPU us per cluster"
    )
    for r in results:
        stages = "  ".join(f"{k} {v:.3f}" for k, v in r["stages_us_per_cluster"].items())
        print(
            f"{r['name']:>10} {r['threads']:>7} {r['clusters']:>9} {r['tracks']:>7} {r['wall_s']:>7.3f} "
            f"{r['cpu_s']:>7.3f} {r['cpu_us_per_cluster']:>6.3f} {r['peak_bytes_per_cluster']:>5.0f}  {stages}"
        )


def judged(args: argparse.Namespace, dumped: Path, made: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the judge's figures of our tracks and, where the folder has them, of O2's, by event."""
    names = [name for name in args.names.split(",") if not name.startswith("sim")]
    with tempfile.TemporaryDirectory(prefix="tpc_judge_") as scratch:
        out = Path(scratch) / "judged.json"
        plain = [n for n in names if not n.startswith("overlay")]
        ours = targets.judge(args.data, dumped, plain, out)
        ours |= targets.judge(made, dumped, [n for n in names if n not in plain], out)
        theirs = [n for n in plain if (args.data / f"{n}.o2tracks.parquet").exists()]
        return ours, targets.judge(args.data, args.data, theirs, out)


def start_times() -> dict[str, float]:
    """Return seconds from the start of a process to its first tracks: kernels to be compiled, and cached."""
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import tpc_start; tpc_start.main()"
    out = {}
    with tempfile.TemporaryDirectory(prefix="tpc_start_") as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder, "NUMBA_NUM_THREADS": "1"}
        for name in ("first", "cached"):
            done = subprocess.run([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, check=True)
            out |= {f"{name}_{k}": v for k, v in json.loads(done.stdout).items()}
    return out


def main() -> None:
    """Parse arguments, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of <name>.clusters.parquet (default: ../shared/data/tpc)")
    parser.add_argument("--names", help=f"events, overlay20k, simN (default {DEFAULT_NAMES}, or sim8)")
    parser.add_argument("--threads", help="numbers of threads, such as 1,2 (the default; 1 with --small)")
    parser.add_argument("--runs", type=int, default=5, help="runs whose median is reported")
    parser.add_argument("--dump", type=Path, help="folder for tracks and hits in O2's column names")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--small", action="store_true", help="one small event, for CI")
    parser.add_argument("--no-start", action="store_true", help="do not measure the start of a process")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--made", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--prepare", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.data = args.data or SHARED
    if args.names is None:
        has_data = (args.data / "g1000_0.clusters.parquet").exists()
        args.names = ("g100_0" if args.small else DEFAULT_NAMES) if has_data else ("sim1" if args.small else "sim8")
    if args.prepare is not None:
        prepare(args.made, args.data, args.prepare)
        return
    if args.worker is not None:
        print(json.dumps(measure(args)))
        return
    args.threads = args.threads or ("1" if args.small else "1,2")
    run(args)


def run(args: argparse.Namespace) -> None:
    """Measure at every number of threads, judge, report."""
    results: list[dict[str, Any]] = []
    speeds = []
    with tempfile.TemporaryDirectory(prefix="tpc_tracking_") as scratch:
        made, dumped = Path(args.made or scratch), args.dump or Path(scratch) / "dump"
        argv = ["--data", str(args.data), "--made", str(made), "--runs", str(args.runs)]
        make_missing(args, made, argv)
        for i, threads in enumerate(int(t) for t in args.threads.split(",")):
            speeds.append(targets.calibrate())
            results += run_with_threads(
                threads, [*argv, "--names", args.names, *(["--dump", str(dumped)] if i == 0 else [])]
            )
        speeds.append(targets.calibrate())
        if (made / "overlay20k.mc.parquet").exists():
            for part in ("clusters", "mc"):
                shutil.copy(made / f"overlay20k.{part}.parquet", dumped)
        ours, theirs = judged(args, dumped, made)
    speed = statistics.median(speeds)
    starts = {} if args.small or args.no_start else start_times()
    report(results)
    lines = targets.quality_lines(ours, theirs)
    lines += targets.resolution_lines(ours, theirs, targets.o2_resolutions(SHARED))
    lines += targets.pull_lines(ours, theirs) + targets.speed_lines(results, speed) + targets.start_lines(starts)
    print(f"\ncalibrate: {speed:.1f} ms (O2's figures: {targets.CALIBRATE_MS:.0f} ms; CPU times below are scaled)\n")
    targets.report(lines)
    if args.json:
        machine = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
        table = [{k: getattr(line, k) for k in ("text", "ours", "o2_same", "o2", "target", "is_met")} for line in lines]
        made_of = {"calibrate_ms": None if np.isnan(speed) else speed, "starts_s": starts, "results": results}
        args.json.write_text(json.dumps({"benchmark": "tpc_tracking", **machine, **made_of, "lines": table}, indent=1))


if __name__ == "__main__":
    main()
