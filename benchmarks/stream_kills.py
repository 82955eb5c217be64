"""A stream whose workers, builder, readouts, calibrator and driver are killed at random: is anything lost or doubled?

Timeframes of some data are replayed by two readouts into a workflow with an aggregator beside its graph; what is killed
is started again, the driver with ``--resume``. At the end the output is compared, byte for byte, with that of the same
timeframes run inline, and the aggregator's list of timeframes with what it should be.

    python benchmarks/stream_kills.py [--small] [--json FILE] [--kills 100]
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/stream"))

from stream_flows import PATTERNS, flow
from stream_killer import run_with_kills
from stream_tools import write_ctf

from o2dask.ctf import list_timeframes
from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.testing import contents


def measure(n_timeframes: int, n_kills: int, rate: float, seed: int) -> dict[str, object]:
    """Return what was killed and what became of the timeframes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ctf = write_ctf(folder / "tf.ctf", n_timeframes)
        inline = FolderSink(str(folder / "inline"), PATTERNS)
        run_inline(flow(), list_timeframes([ctf]), inline)
        start = time.perf_counter()
        kills = run_with_kills(ctf, folder / "run", n_kills, rate=rate, seed=seed, pause_s=0.6)
        wall = time.perf_counter() - start
        want, got = contents(inline.folder), contents(folder / "run/out")
        order = [int(word) for word in (folder / "run/order.txt").read_text().split()]
        return {
            "n_timeframes": n_timeframes,
            "kills": dict(kills),
            "n_kills": sum(kills.values()),
            "files_lost": len(set(want) - set(got)),
            "files_too_many": len(set(got) - set(want)),
            "files_that_differ": sum(got[name] != want[name] for name in set(got) & set(want)),
            "contributions_lost": len(set(range(n_timeframes)) - set(order)),
            "contributions_doubled": len(order) - len(set(order)),
            "in_order": order == sorted(order),
            "wall_s": wall,
        }


def main() -> None:
    """Measure, print, write the figures; exit with 1 if anything was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--small", action="store_true", help="a few kills")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    n_kills, n = (6, 150) if args.small else (args.kills, 30 * args.kills)
    figures = measure(n, n_kills, 30.0, args.seed)
    for name, value in figures.items():
        print(f"{name:24} {value}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    bad = ("files_lost", "files_too_many", "files_that_differ", "contributions_lost", "contributions_doubled")
    sys.exit(int(any(figures[name] for name in bad) or not figures["in_order"]))


if __name__ == "__main__":
    main()
