"""``o2dask ctf``: a look into compressed timeframes."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from o2dask.cli.boundary import BAD_DATA

if TYPE_CHECKING:
    from o2dask.ctf import CtfInfo

__all__ = ["app"]

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def _group() -> None:
    """Look into CTF files: compressed timeframes."""


@app.command()
def info(
    files: Annotated[list[str], typer.Argument(metavar="CTF", help="CTF files.")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for machines.")] = False,
) -> None:
    """Show timeframes, columns, sizes and ratios of CTF files; every checksum is compared.

    The exit status is 1 if anything is damaged; all that is whole is shown.

    [b]Examples[/b]

    \b
    o2dask ctf info tf.ctf
    o2dask ctf info tf.ctf --json | jq '.[0].fields[].ratio'
    """
    from o2dask.ctf import ctf_info

    found = [ctf_info(file) for file in files]
    if as_json:
        import json

        sys.stdout.write(json.dumps([_as_json(i) for i in found], indent=1) + "\n")
    else:
        for each in found:
            _show(each)
    if any(i.damages or any(t.error for t in i.timeframes) for i in found):
        raise typer.Exit(BAD_DATA)


def _as_json(info: "CtfInfo") -> dict[str, object]:
    from dataclasses import asdict

    return {
        "file": info.url,
        "n_bytes": info.n_bytes,
        "timeframes": [{**asdict(t.timeframe), "n_bytes": t.n_bytes, "error": t.error} for t in info.timeframes],
        "fields": [{**asdict(f), "ratio": f.ratio} for f in info.fields],
        "damages": [str(d) for d in info.damages],
    }


def _show(info: "CtfInfo") -> None:
    from rich.console import Console
    from rich.table import Table

    from o2dask.cli.running import size_text

    console = Console()
    native, stored = sum(f.native_bytes for f in info.fields), sum(f.n_bytes for f in info.fields)
    ratio = f", {native / stored:.2f} times smaller than in memory" if stored else ""
    console.print(
        f"[b]{info.url}[/]: {len(info.timeframes)} timeframes, {size_text(info.n_bytes)}{ratio}", soft_wrap=True
    )
    frames = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("run", "TF", "orbit", "orbits", "size", ""):
        frames.add_column(title, justify="left" if not title else "right")
    for t in info.timeframes:
        tf = t.timeframe
        error = f"[red]{t.error}[/]" if t.error else ""
        frames.add_row(*map(str, (tf.run, tf.tf_counter, tf.first_orbit, tf.n_orbits)), size_text(t.n_bytes), error)
    console.print(frames)
    fields = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for title in ("column", "type", "values", "stored", "ratio", "bits", "codec"):
        left = title in ("column", "type", "codec")
        fields.add_column(title, justify="left" if left else "right", no_wrap=title != "codec")
    for f in info.fields:
        bits = f"{8 * f.n_bytes / f.n_values:.2f}" if f.n_values else ""
        fields.add_row(
            f.name, f.dtype, f"{f.n_values:,}", size_text(f.n_bytes), f"{f.ratio:.2f}", bits, ", ".join(f.codecs)
        )
    console.print(fields)
    for damage in info.damages:
        console.print(f"[red]damaged[/] {damage}", soft_wrap=True)
