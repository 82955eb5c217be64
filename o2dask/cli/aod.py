"""``o2dask aod``: a look into AOD tables, and their way to other formats."""

import sys
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode="rich", help="Look into AOD, convert it."
)


@app.callback()
def _group() -> None:
    """Look into AOD tables and convert them: Parquet folders and AO2D.root."""


@app.command()
def info(
    source: Annotated[list[str], typer.Argument(metavar="AOD", help="AOD folder, AO2D.root, glob or @list.txt.")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for machines.")] = False,
) -> None:
    """Show dataframes and tables: rows, sizes, and whether the data model knows them. No column is read.

    [b]Examples[/b]

    \b
    o2dask aod info aod/
    o2dask aod info AO2D.root --json
    """
    from o2dask.aod import aod_info

    summary = aod_info(source)
    if as_json:
        import json

        sys.stdout.write(json.dumps(summary.to_json(), indent=1) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    from o2dask.cli.running import size_text

    console = Console()
    runs = ", ".join(map(str, summary.runs))
    console.print(
        f"[b]{' '.join(source)}[/]: {len(summary.dataframes)} dataframes of run {runs}, "
        f"{summary.n_rows:,} rows, {size_text(summary.n_bytes)}",
        soft_wrap=True,
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("table", "rows", "stored", "bytes/row", "dataframes", ""):
        table.add_column(title, justify="left" if title in ("table", "") else "right")
    for t in summary.tables:
        per_row = f"{t.n_bytes / t.n_rows:.1f}" if t.n_rows else ""
        known = "" if t.is_in_model else "[yellow]not in the data model[/]"
        table.add_row(t.tree, f"{t.n_rows:,}", size_text(t.n_bytes), per_row, str(t.n_dataframes), known)
    console.print(table)
    for key, value in sorted(summary.metadata.items()):
        console.print(f"[dim]{key}[/] {value}", soft_wrap=True)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="AOD folder, AO2D.root, glob or @list.txt.")],
    target: Annotated[str, typer.Argument(help="AO2D.root, or a folder of Parquet.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the target.")] = False,
) -> None:
    """Convert AOD to a ROOT file that O2's own tools read, or to Parquet; several sources are merged.

    The target appears when it is whole, or not at all.

    [b]Examples[/b]

    \b
    o2dask aod convert aod/ AO2D.root
    o2dask aod convert 'data/*/AO2D.root' merged/
    """
    from rich.console import Console
    from rich.progress import Progress

    from o2dask.aod import convert as convert_aod
    from o2dask.cli.running import size_text

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("convert", total=None)
        made = convert_aod(
            source, target, overwrite=overwrite, progress=lambda done, n: bar.update(task, completed=done, total=n)
        )
    sys.stdout.write(
        f"{made.target}: {made.n_dataframes} dataframes, {made.n_rows:,} rows, {size_text(made.n_bytes)}\n"
    )
