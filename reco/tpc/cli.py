"""``o2dask bench``: how fast and how good reconstruction is on this machine, on simulated collisions."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["bench"]

bench = typer.Typer(help="Measure reconstruction on this machine.", no_args_is_help=True)


@bench.callback()
def _group() -> None:
    """Measure reconstruction on this machine."""


@bench.command()
def tpc(
    collisions: Annotated[int, typer.Option(min=1, help="Pb-Pb collisions, as dense in time as at 50 kHz.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same collisions.")] = 3,
    dead: Annotated[float, typer.Option(min=0, max=0.5, help="Share of dead pads, front-end card by card.")] = 0.0,
    noise: Annotated[float, typer.Option(min=0, help="Noise clusters per pad row and time bin.")] = 1e-4,
    runs: Annotated[int, typer.Option(min=1, help="Runs whose median time is reported.")] = 5,
    picture: Annotated[Path | None, typer.Option(help="PNG of missed and fake tracks.")] = None,
    json: Annotated[Path | None, typer.Option(help="File for every figure.")] = None,
) -> None:
    """TPC tracking: time per stage, efficiency, clones, fakes, pulls, dE/dx, where clusters go, and why tracks fail.

    Example:  o2dask bench tpc --collisions 16 --picture missed.png
    """
    import json as writer

    from o2dask.reco.tpc.bench import BenchSettings, run_bench
    from o2dask.reco.tpc.quality_report import quality_lines, target_lines

    settings = BenchSettings(collisions=collisions, seed=seed, dead=dead, noise=noise, runs=runs, picture=picture)
    result = run_bench(settings)
    for line in (*quality_lines(result), "", *target_lines(result)):
        typer.echo(line)
    if json:
        json.write_text(writer.dumps(result, indent=1))
