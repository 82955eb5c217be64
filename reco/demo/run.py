"""Runs the demo's steps in order and shows what they came to, on the terminal and in the report."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from o2dask.reco.demo.report import write_report
from o2dask.reco.demo.steps import DemoSettings, judge, picture, reconstruct, simulate
from o2dask.reco.qc.performance import Performance
from o2dask.runners.report import RunReport

__all__ = ["run_demo"]

MADE = ("tf.ctf", "tf.ctf.parts", "aod", "AO2D.root", "report.html", "plots")
"""What a demo leaves in its folder, and removes of an earlier one."""


def run_demo(settings: DemoSettings, out: Path) -> bool:
    """Run the demo into the folder `out`; return whether every timeframe was committed."""
    from o2dask.aod import convert
    from o2dask.reco.qc.plots import plot_performance, pull_widths

    console = Console()
    _clear(out)
    ctf, aod, plots = out / "tf.ctf", out / "aod", out / "plots"
    plots.mkdir()
    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        started = time.perf_counter()
        with console.status(f"{name} ..."):
            yield
        seconds[name] = time.perf_counter() - started
        console.print(f"[green]done[/] {name} [dim]{seconds[name]:.1f} s[/]")

    with step("simulate and compress"):
        simulated = simulate(settings, ctf)
    with step(f"reconstruct on Dask{' as a stream' * settings.stream} and write AOD"):
        reconstructed = reconstruct(settings, ctf, aod)
    if not (simulated.ok and reconstructed.ok):
        console.print(f"[red]failed[/] simulation: {simulated}\n       reconstruction: {reconstructed}")
        return False
    with step("write AO2D.root"):
        convert(str(aod), str(out / "AO2D.root"))
    with step("judge against truth and draw"):
        performance = judge(ctf, aod)
        drawn = plot_performance(performance, plots)
        drawn["timeframe"] = picture(ctf, plots / "timeframe.png")
    figures = _figures(simulated, reconstructed, performance, ctf)
    captions = {_CAPTIONS[name]: path for name, path in drawn.items()}
    report = write_report(out / "report.html", figures, pull_widths(performance), captions)
    figures["files"] = (
        f"{ctf}, {aod}{'/'} ({reconstructed.n_committed} dataframes), {out / 'AO2D.root'}, {report}, {plots}/"
    )
    _show(console, figures)
    return True


_CAPTIONS = {
    "timeframe": "One timeframe: clusters seen along the beam and over time, those on tracks coloured",
    "efficiency": "Efficiency and fake rate against transverse momentum",
    "resolution": "Resolution of the transverse momentum",
    "spectrum": "dN/dpT reconstructed beside truth",
    "pulls": "Pulls of the five track parameters above 0.3 GeV/c",
}


def _clear(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in MADE:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _figures(simulated: RunReport, reconstructed: RunReport, performance: Performance, ctf: Path) -> dict[str, str]:
    from o2dask.ctf import ctf_info
    from o2dask.reco.tpc.schema import NATIVE_BYTES

    n_clusters = simulated.counters["tpc-simulation.clusters"]
    fields = [f for f in ctf_info(str(ctf)).fields if f.name.startswith("TPC/COMP")]
    compressed = sum(f.n_bytes for f in fields)
    native = n_clusters * NATIVE_BYTES
    wall = reconstructed.wall_s
    return {
        "timeframes": f"{reconstructed.n_committed}{_read_out(reconstructed)}",
        "collisions simulated": str(performance.n_collisions),
        "collisions reconstructed": str(performance.n_vertices),
        "clusters": f"{n_clusters:,}",
        "CTF file": f"{ctf.stat().st_size / 1e6:.1f} MB, truth included",
        "TPC clusters in it": f"{compressed / 1e6:.1f} MB",
        "ratio to the native size": f"{compressed / native:.3f} ({native / compressed:.2f} times smaller)",
        "tracks": f"{reconstructed.counters['tpc-tracker.tracks']:,}",
        "efficiency above 0.5 GeV/c": f"{100 * performance.efficiency():.2f} %",
        "fake rate above 0.5 GeV/c": f"{100 * performance.fake_rate():.2f} %",
        "clone rate above 0.5 GeV/c": f"{100 * performance.clone_rate():.2f} %",
        "throughput": f"{n_clusters / wall / 1e6:.2f} M clusters/s on {reconstructed.n_workers} workers, "
        f"start-up and compilation included ({wall:.1f} s)",
    }


def _read_out(report: RunReport) -> str:
    """Return how timeframes came, if that was as a stream."""
    if not report.source:
        return ""
    return f", streamed, built of {report.source['in']} parts"


def _show(console: Console, figures: dict[str, str]) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in figures.items():
        table.add_row(name, value)
    console.print(table)
