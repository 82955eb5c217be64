"""``o2dask demo``: the whole main job on real generator events, with a report of how well it went."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


_OUT = typer.Option(help="Folder for everything that is made; what an earlier demo left there is replaced.")


def demo(
    out: Annotated[Path, _OUT] = Path("demo"),
    system: Annotated[str, typer.Option(help="Collision system: pbpb or pp.")] = "pbpb",
    timeframes: Annotated[int, typer.Option(min=1, help="Number of timeframes.")] = 4,
    collisions: Annotated[int, typer.Option(min=1, help="Collisions per timeframe.")] = 8,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes; 0: one per core.")] = 0,
    stream: Annotated[bool, typer.Option("--stream", help="Reconstruct as a stream, from two readouts.")] = False,
) -> None:
    """Simulate, compress, reconstruct, write AOD, judge against truth, draw.

    Leaves in the folder: tf.ctf, aod/ (Parquet), AO2D.root, report.html and its plots.

    Example:  o2dask demo --timeframes 2 --system pp --collisions 40
    """
    from o2dask.reco.demo.run import run_demo
    from o2dask.reco.demo.steps import DemoSettings

    settings = DemoSettings(
        system=system, collisions=collisions, timeframes=timeframes, seed=seed, workers=workers, stream=stream
    )
    if not run_demo(settings, out):
        raise typer.Exit(1)
