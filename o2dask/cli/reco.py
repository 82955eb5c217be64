"""``o2dask reco``: compressed timeframes in, AOD tables out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from o2dask.cli.parameters import (
    HOW,
    Conditions,
    ConditionsNotAfter,
    Isolation,
    LogJson,
    Options,
    Report,
    Resources,
    Resume,
    parse_resources,
)
from o2dask.errors import ConfigError, DataError

if TYPE_CHECKING:
    from o2dask.sink import Sink
    from o2dask.timeframe import TimeframeRef
    from o2dask.workflow import Topology

__all__ = ["reco", "sink_of", "timeframes_of"]

WORK = "Workers"


_WORKFLOW = typer.Option(help="Name (o2dask workflow list), module:function or file.py:function.", rich_help_panel=HOW)
_KEEP = typer.Option(
    metavar="PATTERN",
    help="Write these data (TPC/TRACKS, TPC/*) as Arrow files instead of AOD tables; repeat it.",
    rich_help_panel=HOW,
)
_RUNNER = typer.Option(help="batch: Dask workers. inline: in this process, for debuggers.", rich_help_panel=WORK)
_WORKERS = typer.Option(min=1, help="Worker processes; default: one per core.", rich_help_panel=WORK)
_WINDOW = typer.Option(min=1, help="Most timeframes in flight; default: 2 per worker.", rich_help_panel=WORK)
_MEMORY = typer.Option(
    metavar="SIZE", help="For all workers together, 8GiB; default: 80 % of what is there.", rich_help_panel=WORK
)
_SCHEDULER = typer.Option(
    metavar="ADDRESS", help="A Dask scheduler that runs already, tcp://host:8786.", rich_help_panel=WORK
)
_DEADLINE = typer.Option(metavar="SECONDS", help="Set a timeframe aside that takes longer.", rich_help_panel=WORK)
_GPU = typer.Option("--gpu/--no-gpu", help="Default: GPUs if the workflow can use them.", rich_help_panel=WORK)
_DASHBOARD = typer.Option(metavar="PORT", help="Serve Dask's dashboard on this machine.", rich_help_panel=WORK)


def reco(
    files: Annotated[list[str], typer.Argument(metavar="CTF", help="Files, globs, URLs, or @list.txt, one per line.")],
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Where the AOD goes: a folder, or a URL such as s3://...")],
    workflow: Annotated[str, _WORKFLOW] = "async",
    option: Options = [],  # noqa: B006 - typer wants a list
    keep: Annotated[list[str], _KEEP] = [],  # noqa: B006
    conditions: Conditions = None,
    conditions_not_after: ConditionsNotAfter = None,
    resume: Resume = False,
    runner: Annotated[str, _RUNNER] = "batch",
    workers: Annotated[int | None, _WORKERS] = None,
    window: Annotated[int | None, _WINDOW] = None,
    memory: Annotated[str | None, _MEMORY] = None,
    scheduler: Annotated[str, _SCHEDULER] = "",
    deadline: Annotated[float | None, _DEADLINE] = None,
    gpu: Annotated[bool | None, _GPU] = None,
    dashboard: Annotated[int | None, _DASHBOARD] = None,
    resource: Resources = [],  # noqa: B006
    isolation: Isolation = True,
    report: Report = None,
    log_json: LogJson = False,
) -> None:
    """Reconstruct compressed timeframes and write AOD tables, each timeframe exactly once.

    A timeframe that is damaged or crashes is set aside with its traceback in FOLDER/quarantine; the others finish.
    Ctrl-C finishes what is in flight and stops; the same command with --resume goes on, also after a crash.

    [b]Examples[/b]

    \b
    o2dask reco tf.ctf --out aod/
    o2dask reco 'run300000/*.ctf' more.ctf --out aod/ --workers 8 --memory 32GiB
    o2dask reco @list.txt --out aod/ --resume
    o2dask reco tf.ctf --out aod/ -o tpc-tracker.min_clusters=50
    o2dask reco tf.ctf --out aod/ --scheduler tcp://head-node:8786
    o2dask reco tf.ctf --out aod/ --conditions run505673.zip
    o2dask reco tf.ctf --out tracks/ --keep TPC/TRACKS --runner inline
    """
    from o2dask.cli.conditions import open_conditions
    from o2dask.cli.running import carry_out, parse_options
    from o2dask.runners.settings import BatchSettings
    from o2dask.workflow import compile_workflow, load_workflow

    if runner not in ("batch", "inline"):
        raise ConfigError(f"--runner: want batch or inline, got {runner!r}")
    only_batch = {"--workers": workers, "--window": window, "--memory": memory, "--scheduler": scheduler or None}
    if runner == "inline" and (given := [name for name, value in only_batch.items() if value is not None]):
        raise ConfigError(f"{', '.join(given)}: not for --runner inline, which runs in this process; leave it out")
    settings = BatchSettings(
        workers=workers,
        window=window,
        memory=memory,
        scheduler=scheduler,
        journal=None if "://" in out else Path(out),
        resume=resume,
        deadline_s=deadline,
        resources=parse_resources(resource),
        isolate=isolation,
        gpu=gpu,
        dashboard=dashboard,
    )
    topology = compile_workflow(
        load_workflow(workflow), parse_options(option), conditions=open_conditions(conditions, conditions_not_after)
    )
    refs, lost = timeframes_of(files)
    status = carry_out(
        topology,
        refs,
        sink_of(topology, out, keep),
        settings,
        where=out,
        inline=runner == "inline",
        log_json=log_json,
        lost=lost,
        page=report,
    )
    raise typer.Exit(status)


def timeframes_of(files: list[str]) -> "tuple[list[TimeframeRef], list[str]]":
    """Return the timeframes of the files, and a line for everything that the files have lost."""
    from o2dask.ctf import Damage, list_timeframes

    damages: list[Damage] = []
    refs = list_timeframes(files, damages)
    lost = [str(damage) for damage in damages]
    if not refs:
        raise DataError(f"no timeframe to reconstruct: {'; '.join(lost) or 'the files hold none'}")
    return refs, lost


def sink_of(topology: "Topology", out: str, keep: list[str]) -> "Sink":
    """Return the sink that writes the data chosen as Arrow files, or, if none are, the AOD."""
    if keep:
        from o2dask.runners.folder import FolderSink

        if "://" in out:
            raise ConfigError(f"--keep writes to a local folder, got {out}")
        return FolderSink(out, tuple(keep))
    from o2dask.aod.sink import AodSink
    from o2dask.option_values import json_of

    options = {p: {name: json_of(v) for name, v in chosen.items()} for p, chosen in topology.options.items() if chosen}
    return AodSink(out, {"workflow": topology.name, "options": options, "fingerprint": topology.fingerprint})
