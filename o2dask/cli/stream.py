"""``o2dask stream``: timeframes fed live by readout processes, through queues, into a workflow."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from o2dask.cli.parameters import (
    Conditions,
    ConditionsNotAfter,
    Dashboard,
    Deadline,
    Isolation,
    Keep,
    LogJson,
    Memory,
    Options,
    Out,
    Report,
    Resources,
    Resume,
    Scheduler,
    Window,
    Workers,
    Workflow,
    parse_resources,
)
from o2dask.errors import ConfigError

if TYPE_CHECKING:
    from o2dask.specs import WorkflowSpec

__all__ = ["stream"]

FROM, ROOM = "Where timeframes come from", "What becomes of what does not fit"

_SOURCE = typer.Option(
    metavar="SOURCE",
    help="replay:tf.ctf (files, globs, @lists, separated by commas), raw:'run5/*.tf' (files of O2's headers and "
    "payloads), enumerate:1000, tcp://127.0.0.1:5555, or module:function.",
    rich_help_panel=FROM,
)
_RATE = typer.Option(min=0.0, help="Timeframes per second; default: as fast as they are taken.", rich_help_panel=FROM)
_LOOP = typer.Option("--loop", help="Again and again, under new ids, until Ctrl-C.", rich_help_panel=FROM)
_READOUT = typer.Option(min=1, help="Readout processes; each has its share of every timeframe.", rich_help_panel=FROM)
_FULL = typer.Option(help="block the source, drop timeframes (counted), or spill to disk.", rich_help_panel=ROOM)
_SPILL = typer.Option(metavar="FOLDER", help="Where to spill; default: FOLDER/spill of --out.", rich_help_panel=ROOM)
_SPOOL = typer.Option(metavar="FOLDER", help="Where the bulk waits; default: /dev/shm.", rich_help_panel=ROOM)
_ROOM = typer.Option(
    metavar="SIZE", help="Most bytes that may wait there; default: half of what is free.", rich_help_panel=ROOM
)
_QUEUE = typer.Option(min=1, help="Most timeframes from readout to commit.", rich_help_panel=ROOM)
_INCOMPLETE = typer.Option(help="drop timeframes that lack parts, or pass them on marked.", rich_help_panel=ROOM)
_TIMEOUT = typer.Option(metavar="SECONDS", help="How long to wait for a part.", rich_help_panel=ROOM)


def stream(
    source: Annotated[str, _SOURCE],
    workflow: Workflow = "async",
    out: Out = "",
    rate: Annotated[float, _RATE] = 0.0,
    loop: Annotated[bool, _LOOP] = False,
    readout: Annotated[int, _READOUT] = 1,
    option: Options = [],  # noqa: B006 - typer wants a list
    keep: Keep = [],  # noqa: B006
    conditions: Conditions = None,
    conditions_not_after: ConditionsNotAfter = None,
    resume: Resume = False,
    when_full: Annotated[str, _FULL] = "block",
    spill: Annotated[Path | None, _SPILL] = None,
    spool: Annotated[Path | None, _SPOOL] = None,
    room: Annotated[str | None, _ROOM] = None,
    queue: Annotated[int, _QUEUE] = 2048,
    incomplete: Annotated[str, _INCOMPLETE] = "drop",
    timeout: Annotated[float, _TIMEOUT] = 30.0,
    workers: Workers = None,
    window: Window = None,
    memory: Memory = None,
    scheduler: Scheduler = "",
    deadline: Deadline = None,
    dashboard: Dashboard = None,
    resource: Resources = [],  # noqa: B006
    isolation: Isolation = True,
    report: Report = None,
    log_json: LogJson = False,
) -> None:
    """Feed timeframes live into a workflow: readout processes, queues, workers, output; each timeframe exactly once.

    Without --loop it ends when all is committed. Ctrl-C ends the source, and what it has given is finished; once more
    kills. The same command with --resume goes on, also after a crash. o2.connect(ADDRESS) shows it while it runs.

    [b]Examples[/b]

    \b
    o2dask stream --source replay:tf.ctf --rate 20 --readout 4 --out aod/
    o2dask stream --source 'replay:run5/*.ctf' --loop --out aod/ --window 8 --memory 8GiB --when-full drop
    o2dask stream --source tcp://127.0.0.1:5555 --out aod/            # and o2dask readout tf.ctf --to tcp://...
    o2dask stream --workflow mine.py:flow --source mine.py:device --out out/ --keep TST/SUM
    o2dask stream --workflow mine.py:flow --source enumerate:1000
    """
    from o2dask.cli.conditions import open_conditions
    from o2dask.cli.reco import sink_of
    from o2dask.cli.running import carry_out, parse_options
    from o2dask.runners.nothing import NoSink
    from o2dask.runners.settings import BatchSettings, parse_size
    from o2dask.runners.stream import session_of
    from o2dask.stream.settings import StreamSettings
    from o2dask.workflow import compile_workflow, load_workflow

    if (keep or resume) and not out:
        raise ConfigError(f"{'--keep' if keep else '--resume'}: of which output? Give --out FOLDER")
    journal = None if "://" in out or not out else Path(out)
    settings = BatchSettings(
        workers=workers,
        window=window,
        memory=memory,
        scheduler=scheduler,
        journal=journal,
        resume=resume,
        deadline_s=deadline,
        resources=parse_resources(resource),
        isolate=isolation,
        dashboard=dashboard,
    )
    session: dict[str, Any] = {"session": session_of(journal)} if journal else {}
    chosen = StreamSettings(
        source=source,
        n_readouts=readout,
        rate=rate,
        loop=loop,
        when_full=when_full,
        max_timeframes=queue,
        max_bytes=parse_size(room) if room else 0,
        incomplete=incomplete,
        timeout_s=timeout,
        base=str(spool) if spool else "",
        spill=_spill(when_full, spill, journal),
        **session,
    )
    topology = compile_workflow(
        _with_reader(load_workflow(workflow), source),
        parse_options(option),
        conditions=open_conditions(conditions, conditions_not_after),
    )
    kept = list(keep) if keep or topology.select(["AOD/*"]) else ["*"]
    status = carry_out(
        topology,
        (),
        sink_of(topology, out, kept) if out else NoSink(),
        settings,
        where=out,
        log_json=log_json,
        with_counters=not out,
        page=report,
        source=chosen,
    )
    raise typer.Exit(status)


def _spill(when_full: str, folder: Path | None, journal: Path | None) -> str:
    """Return the folder to spill to, made if it is the output's own; "" if nothing is to be spilled."""
    if when_full != "spill" or folder is not None:
        return str(folder or "")
    if journal is None:
        raise ConfigError("--when-full spill: where to? Give --spill FOLDER")
    try:
        (journal / "spill").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{journal / 'spill'}: cannot be made: {error.strerror}; give --spill FOLDER") from None
    return str(journal / "spill")


def _with_reader(workflow: "WorkflowSpec", source: str) -> "WorkflowSpec":
    """Return the workflow with a processor in front that reads what a user's source says it gives (`outputs`)."""
    from o2dask.ctf import ctf_reader
    from o2dask.workflow.loading import locate

    kind, _, rest = source.partition(":")
    if kind in ("replay", "replay-raw", "raw", "enumerate") or rest.startswith("//") or not rest:
        return workflow
    try:
        outputs = getattr(locate(source, f"source {source!r}"), "outputs", None)
    except ConfigError as error:
        raise ConfigError(f"source {source!r}: {error}") from error
    if not outputs or any(p.name == "ctf-reader" for p in workflow.processors):
        return workflow
    return replace(workflow, processors=(ctf_reader(outputs), *workflow.processors))
