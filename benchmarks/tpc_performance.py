"""TPC tracking on our own simulation: efficiency, clones, fakes, pulls, dE/dx, where clusters go, a full timeframe.

    python benchmarks/tpc_performance.py [--collisions 16] [--dead 0.02] [--noise 1e-3] [--picture FILE.png]
                                         [--json FILE] [--small]

Pb-Pb collisions as dense in time as at 50 kHz, with energy loss, scattering, decays, loopers and merged clusters.
`--dead` kills that share of the pads in blocks of 8 pad rows and 16 pads (one front-end card), `--noise` adds clusters
per pad row and time bin: stress tests. Findable is a charged particle on 70 pad rows; a track is fake below 90 % of
clusters from one particle; clones are further tracks of a particle. The picture shows missed and fake tracks and why.
Without --small, 8 and 140 collisions (a whole timeframe of 32 orbits) are tracked in one go too: memory at the peak
with the clusters, and time per cluster.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SMALL, FULL = "sim8", "sim140"


def full_timeframe() -> dict[str, float]:
    """Return memory and time per cluster of a whole timeframe, and its time over that of a small one."""
    script = Path(__file__).with_name("tpc_tracking.py")
    with tempfile.TemporaryDirectory(prefix="tpc_full_") as folder:
        out = Path(folder) / "figures.json"
        command = [sys.executable, str(script), "--names", f"{SMALL},{FULL}", "--threads", "1", "--runs", "3"]
        subprocess.run([*command, "--no-start", "--json", str(out)], stdout=subprocess.DEVNULL, check=True)
        small, full = json.loads(out.read_text())["results"]
    return {
        "clusters": full["clusters"],
        "small_clusters": small["clusters"],
        "peak_bytes_per_cluster": full["peak_bytes_per_cluster"],
        "cpu_us_per_cluster": full["cpu_us_per_cluster"],
        "slowdown": full["cpu_us_per_cluster"] / small["cpu_us_per_cluster"],
    }


def main() -> None:
    """Parse arguments, simulate, track, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collisions", type=int, default=16, help="Pb-Pb collisions")
    parser.add_argument("--seed", type=int, default=3, help="of the collisions")
    parser.add_argument("--dead", type=float, default=0.0, help="share of dead pads")
    parser.add_argument("--noise", type=float, default=1e-4, help="noise clusters per pad row and time bin")
    parser.add_argument("--picture", type=Path, help="PNG of missed and fake tracks")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--small", action="store_true", help="four collisions and no full timeframe, for CI")
    args = parser.parse_args()
    from o2dask.reco.tpc.bench import BenchSettings, run_bench
    from o2dask.reco.tpc.quality_report import quality_lines, target_lines

    asked = {k: getattr(args, k) for k in ("collisions", "dead", "noise", "seed")}
    if args.small:
        asked["collisions"] = 4
    result = run_bench(BenchSettings(**asked, picture=args.picture, runs=1 if args.small else 5))
    if not args.small:
        result["full timeframe"] = full_timeframe()
    print("\n".join((*quality_lines(result), "", *target_lines(result))))
    if args.json:
        args.json.write_text(json.dumps({"benchmark": "tpc_performance", **asked, **result}, indent=1))


if __name__ == "__main__":
    main()
