"""TPC simulation: CPU time and memory per cluster, for pp and Pb-Pb; plain numpy helices to the same rows beside.

Timeframes of real generator events (the committed samples). "simulation" is particles to sorted, merged, labelled
clusters; "transport" is the part that moves particles from row to row, with walls, gas, sector changes and loopers.
Baseline: the same particles in numpy, vectorised over particles and rows, ideal outward helices in one sector's frame,
no matter, no loopers, no response. CPU time of the process (all threads), median of several runs after one that
compiles; memory is the growth of the peak resident size, per cluster in the output.

    python benchmarks/simulation.py [--small] [--json FILE]
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from o2dask.columns import Columns
from o2dask.reco.geometry.tpc import BZ_KG, pad_rows
from o2dask.reco.simulation.particles import charge_of
from o2dask.reco.simulation.timeframes import TimeframeParams, build_timeframe
from o2dask.reco.tpc.simulation import simulate_tpc, true_crossings
from o2dask.timeframe import BCS_PER_ORBIT, ORBITS_PER_TIMEFRAME

SEED = 1
N_BCS = BCS_PER_ORBIT * ORBITS_PER_TIMEFRAME
SIZES = {"pp": (10, 100, 1000), "pbpb": (1, 8, 40)}
SMALL = {"pp": (20,), "pbpb": (1,)}


def numpy_helices(particles: Columns) -> int:
    """Propagate all charged particles outward to all rows with numpy; return how many rows they cross."""
    rows = pad_rows()
    charged = (charge_of(particles["pdg"]) != 0) & (np.hypot(particles["px"], particles["py"]) > 1e-3)
    n_crossings = 0
    for chunk in np.array_split(np.flatnonzero(charged), max(int(charged.sum()) // 5000, 1)):  # keeps it in cache
        p = {name: particles[name][chunk].astype(np.float64) for name in ("px", "py", "pz", "vx", "vy", "vz")}
        pt, phi = np.hypot(p["px"], p["py"]), np.arctan2(p["py"], p["px"])
        alpha = np.deg2rad(20.0) * np.floor(phi / np.deg2rad(20.0)) + np.deg2rad(10.0)
        k = (-0.000299792458 * BZ_KG * charge_of(particles["pdg"][chunk]) / pt)[:, None]
        x0 = (p["vx"] * np.cos(alpha) + p["vy"] * np.sin(alpha))[:, None]
        y0 = (p["vy"] * np.cos(alpha) - p["vx"] * np.sin(alpha))[:, None]
        s0, c0 = np.sin(phi - alpha)[:, None], np.cos(phi - alpha)[:, None]
        dx = rows.x[None, :] - x0
        s1 = s0 + k * dx
        reached = (np.abs(s1) < 1) & (dx > 0)
        c1 = np.sqrt(np.where(reached, 1 - s1 * s1, 1.0))
        y = y0 + dx * (s0 + s1) / (c0 + c1)
        arc = np.arctan2(s1 * c0 - c1 * s0, c1 * c0 + s1 * s0) / k
        z = p["vz"][:, None] + arc * (p["pz"] / pt)[:, None]
        inside = reached & (np.abs(y) < 0.5 * rows.n_pads * rows.pad_width) & (np.abs(z) < 250)
        n_crossings += int(inside.sum())
    return n_crossings


def cpu_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Return the median CPU time of the process [s]."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return statistics.median(times)


def peak_bytes(function: Callable[[], Any]) -> int:
    """Return by how much `function` raised the peak resident size [bytes]; 0 where the kernel does not tell."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    except OSError:
        return 0
    before = psutil.Process().memory_info().rss
    function()
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    return max(peak - before, 0)


def measure(system: str, n_collisions: int, repeats: int) -> dict[str, Any]:
    """Return the figures of one timeframe."""
    timeframe = build_timeframe(TimeframeParams(system=system, collisions=n_collisions, seed=SEED), 0)
    collisions, particles = timeframe["MC/COLLISIONS"], timeframe["MC/PARTICLES"]

    def simulate() -> dict[str, int]:
        return simulate_tpc(collisions, particles, seed=SEED, n_bcs=N_BCS).counters

    counters = simulate()
    n_rows = numpy_helices(particles)
    memory = peak_bytes(simulate)
    whole = cpu_seconds(simulate, repeats)
    moved = cpu_seconds(lambda: true_crossings(particles, seed=SEED), repeats)
    plain = cpu_seconds(lambda: numpy_helices(particles), repeats)
    return {
        "system": system,
        "collisions": n_collisions,
        "particles": counters["particles"],
        "crossings": counters["hits"],
        "clusters": counters["clusters"],
        "us_per_cluster": 1e6 * whole / counters["clusters"],
        "crossings_per_s": counters["hits"] / whole,
        "transport_us_per_crossing": 1e6 * moved / counters["hits"],
        "numpy_us_per_crossing": 1e6 * plain / max(n_rows, 1),
        "peak_bytes": memory,
        "bytes_per_cluster": memory / counters["clusters"],
    }


def show(figures: list[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(title="TPC simulation, per core")
    for name in (
        "system",
        "collisions",
        "clusters",
        "us per cluster",
        "crossings/s",
        "transport: us per crossing",
        "numpy helix: us per row",
        "peak MB",
        "bytes per cluster",
    ):
        table.add_column(name, justify="right")
    for f in figures:
        table.add_row(
            f["system"],
            str(f["collisions"]),
            f"{f['clusters']:,}",
            f"{f['us_per_cluster']:.2f}",
            f"{f['crossings_per_s'] / 1e6:.2f} M",
            f"{f['transport_us_per_crossing']:.2f}",
            f"{f['numpy_us_per_crossing']:.2f}",
            f"{f['peak_bytes'] / 1e6:.0f}",
            f"{f['bytes_per_cluster']:.0f}",
        )
    Console(width=130).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--small", action="store_true", help="a quick run of a few seconds")
    options = parser.parse_args()
    sizes, repeats = (SMALL, 3) if options.small else (SIZES, 5)
    figures = [measure(system, n, repeats) for system, counts in sizes.items() for n in counts]
    show(figures)
    if options.json:
        machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version()}
        Path(options.json).write_text(json.dumps({**machine, "seed": SEED, "figures": figures}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
