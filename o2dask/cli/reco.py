"""``o2dask reco``: compressed timeframes in, AOD tables out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from o2dask.cli.parameters import (
    WORK,
    Conditions,
    ConditionsNotAfter,
    Dashboard,
    Deadline,
    Isolation,
    Keep,
    LogJson,
    Memory,
    Options,
    Report,
    Resources,
    Resume,
    Runner,
    Scheduler,
    Window,
    Workers,
    Workflow,
    parse_resources,
)
from o2dask.errors import ConfigError, DataError

if TYPE_CHECKING:
    from o2dask.sink import Sink
    from o2dask.timeframe import TimeframeRef
    from o2dask.workflow import Topology

__all__ = ["reco", "sink_of", "timeframes_of"]

_GPU = typer.Option("--gpu/--no-gpu", help="Default: GPUs if the workflow can use them.", rich_help_panel=WORK)


def reco(
    files: Annotated[list[str], typer.Argument(metavar="CTF", help="Files, globs, URLs, or @list.txt, one per line.")],
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Where the AOD goes: a folder, or a URL such as s3://...")],
    workflow: Workflow = "async",
    option: Options = [],  # noqa: B006 - typer wants a list
    keep: Keep = [],  # noqa: B006
    conditions: Conditions = None,
    conditions_not_after: ConditionsNotAfter = None,
    resume: Resume = False,
    runner: Runner = "batch",
    workers: Workers = None,
    window: Window = None,
    memory: Memory = None,
    scheduler: Scheduler = "",
    deadline: Deadline = None,
    gpu: Annotated[bool | None, _GPU] = None,
    dashboard: Dashboard = None,
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
