"""An analysis of tracks, ours beside loops written by hand, coffea and RDataFrame: a cut, a 1D and a 2D histogram.

The same data, histograms and cut for all; results are compared bin by bin. Formulas of the hand-written loops (which
fill boost-histogram, through hist) are the shortest numpy has for the same columns. Rows per second of CPU time of one
process (threads of Arrow included), median of several runs in turns, files in the cache of the system. Each way has a
process of its own, so that none profits from what another sets up. Tables are written with `o2dask.aod`, floats cut to
the producer's precision, values made up from a fixed seed. coffea and compiled RDataFrame are measured where they
import (`pip install o2dask[peers]`), and named where they do not; see `analysis_peers.py`. Start-up: a fresh
interpreter imports, opens, runs a task over one dataframe and draws; the best of three runs counts.

With `--large` (25 million tracks) all warm up on one dataframe, and rounds are added for as long as `--minutes` allow.

    python benchmarks/analysis.py [--small] [--large] [--tracks 5_000_000] [--json FILE]
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pyarrow.parquet as pq
import uproot
from analysis_peers import left_out, peers
from rich.console import Console
from rich.table import Table

import o2dask as o2
from o2dask.analysis.formulas import elementary
from o2dask.aod.conversion import convert
from o2dask.aod.model import tables, truncate
from o2dask.aod.store import Store, commit_dataframe
from o2dask.columns import Columns

SEED = 1
ETA_MAX = 0.8
FORK = multiprocessing.get_context("fork")  # what is measured are closures, and ROOT's compiled loops
STORED = ("fSigned1Pt", "fTgl", "fSnp", "fAlpha")


class Spectra(o2.AnalysisTask):
    """What is measured."""

    h_pt = o2.Hist.new.Reg(100, 0, 10, label="pT [GeV/c]").Double()
    h_eta_phi = o2.Hist.new.Reg(40, -0.8, 0.8, label="eta").Reg(72, 0, 6.2832, label="phi [rad]").Double()

    def process(self, tracks: o2.Tracks) -> None:
        good = tracks[(abs(tracks.eta()) < ETA_MAX) & (tracks.pt() > 0.15)]
        self.h_pt.fill(good.pt())
        self.h_eta_phi.fill(good.eta(), good.phi())


class TwoColumns(o2.AnalysisTask):
    """Two columns, a cut, two histograms."""

    h_pt = o2.Hist.new.Reg(100, 0, 10, label="pT [GeV/c]").Double()
    h_pt_tgl = o2.Hist.new.Reg(100, 0, 10, label="pT [GeV/c]").Reg(50, -1, 1, label="tgl").Double()

    def process(self, tracks: o2.Tracks) -> None:
        good = tracks[abs(tracks.tgl()) < ETA_MAX]
        pt = good.pt()
        self.h_pt.fill(pt)
        self.h_pt_tgl.fill(pt, good.tgl())


def spectra_by_hand(columns: dict[str, np.ndarray], histograms: list[Any]) -> None:
    """Do what `Spectra` does with stored columns."""
    pt, eta = 1 / np.abs(columns["fSigned1Pt"]), np.arcsinh(columns["fTgl"])
    phi = (np.arcsin(columns["fSnp"]) + columns["fAlpha"]) % np.float32(2 * np.pi)
    good = (np.abs(eta) < ETA_MAX) & (pt > 0.15)
    histograms[0].fill(pt[good])
    histograms[1].fill(eta[good], phi[good])


def two_columns_by_hand(columns: dict[str, np.ndarray], histograms: list[Any]) -> None:
    """Do what `TwoColumns` does with stored columns."""
    pt, tgl = 1 / np.abs(columns["fSigned1Pt"]), columns["fTgl"]
    good = np.abs(tgl) < ETA_MAX
    histograms[0].fill(pt[good])
    histograms[1].fill(pt[good], tgl[good])


CASES = {
    "2 columns": (TwoColumns, two_columns_by_hand, STORED[:2]),
    "pt, eta, phi": (Spectra, spectra_by_hand, STORED),
}


def make_data(folder: Path, n_tracks: int, per_dataframe: int) -> tuple[Path, Path]:
    """Write tracks as Parquet and as AO2D.root; return both paths."""
    rng = np.random.default_rng(SEED)
    schema = tables()["O2track_iu"].schema
    parquet, root = folder / "aod", folder / "AO2D.root"
    for i in range(-(-n_tracks // per_dataframe)):
        n = min(per_dataframe, n_tracks - i * per_dataframe)
        arrays = {
            "fIndexCollisions": np.sort(rng.integers(-1, 150, n)),
            "fTrackType": np.zeros(n),
            "fX": rng.uniform(2, 90, n),
            "fAlpha": np.deg2rad(10 + 20 * rng.integers(0, 18, n)),
            "fY": rng.normal(0, 8, n),
            "fZ": rng.normal(0, 80, n),
            "fSnp": rng.uniform(-0.2, 0.2, n),
            "fTgl": rng.normal(0, 0.6, n),
            "fSigned1Pt": rng.choice([-1, 1], n) / rng.exponential(0.5, n).clip(0.05),
        }
        made = {c.name: np.ascontiguousarray(arrays[c.name], dtype=c.dtype) for c in schema.columns}
        columns = truncate(Columns(schema, made))
        commit_dataframe(Store(parquet), (500000 << 32) + 32 * i, {"O2track_iu": columns}, {})
    convert(parquet, root)
    return parquet, root


def made_apart(folder: Path, n_tracks: int, per_dataframe: int) -> tuple[Path, Path]:
    """Return what `make_data` does in a process of its own, whose memory ends with it."""
    folder.mkdir(exist_ok=True)
    made = Apart(lambda: make_data(folder, n_tracks, per_dataframe), lambda: None)
    paths: tuple[Path, Path] = made()[1]
    made.end()
    return paths


def with_pyarrow(folder: Path, names: tuple[str, ...], fill: Callable[..., None], histograms: list[Any]) -> None:
    """Loop over the Parquet files."""
    for path in sorted(folder.glob("DF_*/O2track_iu.parquet")):
        table = pq.read_table(path, columns=list(names))
        fill({name: table[name].to_numpy() for name in names}, histograms)


def with_uproot(path: Path, names: tuple[str, ...], fill: Callable[..., None], histograms: list[Any]) -> None:
    """Loop over the dataframes of the file."""
    with uproot.open(path, array_cache=None) as file:
        for key in file.keys(recursive=False, cycle=False, filter_name="DF_*"):
            fill(file[f"{key}/O2track_iu"].arrays(list(names), library="np"), histograms)


def ways(case: str, parquet: Path, root: Path) -> dict[str, Callable[[], list[Any]]]:
    """Return by name what gives the two histograms."""
    task, fill, names = CASES[case]

    def ours(source: Path) -> list[Any]:
        result = o2.open_aod(source).run(task(), scheduler="inline", progress=False)
        assert result.ok, result.summary()
        return list(next(iter(result.tasks.values())).values())

    def by_hand(loop: Callable[..., None], source: Path) -> list[Any]:
        histograms = [
            hist.Hist(*h.axes, storage=hist.storage.Double())
            for h in (vars(task)[name] for name in vars(task) if name.startswith("h_"))
        ]
        loop(source, names, fill, histograms)
        return histograms

    dataframes = [path.name for path in sorted(parquet.glob("DF_*"))]
    return {
        "Parquet, o2dask": lambda: ours(parquet),
        "Parquet, pyarrow + numpy": lambda: by_hand(with_pyarrow, parquet),
        "ROOT, o2dask": lambda: ours(root),
        "ROOT, uproot + numpy": lambda: by_hand(with_uproot, root),
    } | peers(case, parquet, root, dataframes)


START = """
import time; since = time.perf_counter()
import o2dask as o2
class Task(o2.AnalysisTask):
    h_pt = o2.Hist.new.Reg(100, 0, 10, label="pT [GeV/c]").Double()
    def process(self, tracks: o2.Tracks):
        self.h_pt.fill(tracks.pt())
result = o2.open_aod({source!r})[:1].run(Task(), progress=False)
import matplotlib; matplotlib.use("agg")
result.h_pt.plot()
import matplotlib.pyplot as plt; plt.savefig({picture!r})
print(time.perf_counter() - since)
"""


def start_up(source: Path, folder: Path) -> float:
    """Return how long it takes from `import o2dask` to the first plot [s], wall time, the best of three runs."""
    code = START.format(source=str(source), picture=str(folder / "first.png"))
    told = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    ]
    return min(map(float, told))


class Apart:
    """Something to be measured, and what warms it up, in a process of its own, forked from this one."""

    def __init__(self, act: Callable[[], Any], warm: Callable[[], Any]) -> None:
        here, there = FORK.Pipe()
        self._pipe, self._process = here, FORK.Process(target=_serve, args=(act, warm, there), daemon=True)
        self._process.start()

    def __call__(self, what: str = "act") -> tuple[float, Any]:
        """Return the CPU time that it takes [s] and what it gives."""
        self._pipe.send(what)
        seconds, given = self._pipe.recv()
        return seconds, given

    def end(self) -> None:
        """End the process."""
        self._pipe.send("")
        self._process.join()


def _serve(act: Callable[[], Any], warm: Callable[[], Any], pipe: Any) -> None:
    while what := pipe.recv():
        start = time.process_time()
        given = act() if what == "act" else warm()
        pipe.send((time.process_time() - start, given))


Acts = dict[str, Callable[[], Any]]


def cpu_seconds(acts: Acts, repeat: int, warm: Acts | None = None, limit_s: float = float("inf")) -> dict[str, float]:
    """Return the median CPU time of each [s], in turns so that a busy machine slows all alike; results are compared.

    `warm` are the same on less data, before the clock runs; default: `acts` themselves. No round begins that would be
    over after `limit_s`; there is one in any case.
    """
    since = time.monotonic()
    apart = {name: Apart(act, (warm or acts)[name]) for name, act in acts.items()}
    check_equal([one("warm")[1] for one in apart.values()])
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    round_s = 0.0
    for i in range(repeat):
        began = time.monotonic()
        if i and began - since + round_s > limit_s:
            break
        given = []
        for name, one in apart.items():
            spent, histograms = one()
            seconds[name].append(spent)
            given.append(histograms)
        check_equal(given)
        round_s = time.monotonic() - began
    for one in apart.values():
        one.end()
    return {name: statistics.median(found) for name, found in seconds.items()}


def check_equal(given: list[list[Any]]) -> None:
    """Raise unless all have the same histograms, but for tracks at the very edge of a bin or a cut."""
    first, *others = given
    for other in others:
        for one, two in zip(first, other, strict=True):
            total = one.values(flow=True).sum()
            assert total > 0 and np.abs(one.values(flow=True) - two.values(flow=True)).sum() < 1e-3 * total


def table_of(found: dict[str, dict[str, float]], n_tracks: int) -> Table:
    """Return what is printed: rates, and their ratio to the loop written by hand over the same kind of file."""
    table = Table(title=f"{n_tracks:,} tracks, million rows per CPU second")
    for column in ("what", "how", "M rows/s", "of by hand"):
        table.add_column(column, justify="left" if column in ("what", "how") else "right")
    for case, rates in found.items():
        for way, rate in sorted(rates.items(), key=lambda item: item[0].partition(",")[0]):
            by_hand = rates["Parquet, pyarrow + numpy" if way.startswith("Parquet") else "ROOT, uproot + numpy"]
            table.add_row(case, way, f"{rate / 1e6:.1f}", f"{rate / by_hand:.2f}")
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a quick run of a few seconds")
    parser.add_argument("--large", action="store_true", help="25 million tracks")
    parser.add_argument("--tracks", type=int, default=0, help="default: 5 million")
    parser.add_argument("--per-dataframe", type=int, default=500_000, help="tracks of one dataframe")
    parser.add_argument("--repeat", type=int, default=0, help="rounds; default: 5, with --small or --large 3")
    parser.add_argument("--minutes", type=float, default=6, help="what --large may take, but for one round at least")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    n_tracks = args.tracks or (300_000 if args.small else 25_000_000 if args.large else 5_000_000)
    repeat = args.repeat or (3 if args.small or args.large else 5)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        began, folder = time.monotonic(), Path(name)
        parquet, root = made_apart(folder, n_tracks, args.per_dataframe)
        small = made_apart(folder / "warm", args.per_dataframe, args.per_dataframe) if args.large else None
        if small:
            elementary.PLAIN_ROWS = 0  # numba is imported in the warm-up, which is too short for that otherwise
        for i, case in enumerate(CASES):
            left_s = 60 * args.minutes - (time.monotonic() - began)
            limit_s = left_s / (len(CASES) - i) if args.large else float("inf")
            warm = ways(case, *small) if small else None
            seconds = cpu_seconds(ways(case, parquet, root), repeat, warm, limit_s)
            found[case] = {way: n_tracks / s for way, s in seconds.items()}
        start_s = start_up(parquet, folder)
    console = Console()
    console.print(table_of(found, n_tracks))
    console.print(f"import, open, first plot: {start_s:.1f} s (wall, warm)")
    for peer, reason in left_out().items():
        console.print(f"{peer} is left out: {reason}", markup=False)
    if args.json:
        machine = {"machine": platform.machine(), "python": platform.python_version(), "cores": os.cpu_count()}
        content = {"n_tracks": n_tracks, "seed": SEED, "rows_per_cpu_second": found, "start_up_s": start_s, **machine}
        args.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
