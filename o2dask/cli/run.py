"""``o2dask run``: any workflow, with the options of its processors on the command line, alone or joined by pipes."""

import json
import os
import re
import select
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from o2dask.cli.parameters import (
    HOW,
    Conditions,
    ConditionsNotAfter,
    Deadline,
    Isolation,
    Keep,
    LogJson,
    Options,
    Out,
    Report,
    Resources,
    Resume,
    Runner,
    Scheduler,
    Workers,
    parse_resources,
)
from o2dask.errors import ConfigError

if TYPE_CHECKING:
    from o2dask.sink import Sink
    from o2dask.specs import WorkflowSpec
    from o2dask.timeframe import TimeframeRef
    from o2dask.workflow import Topology

__all__ = ["app"]

WHICH = "Which part"
STDIN_S = 10.0
"""How long to wait for a workflow through a pipe that may bring none [s]: too short, and a slow command before this
one is left out; too long, and a run under a job system that leaves a pipe open hangs. `-` waits for ever."""

_WORDS = typer.Argument(
    metavar="WORKFLOW [CTF]...",
    help="Name, module:function, file.py:function, or - for stdin; then CTF files, as for reco. "
    'Options of a processor: --PROCESSOR "--option value".',
)
_TIMEFRAMES = typer.Option(min=1, help="How many; without files, timeframes that hold nothing.", rich_help_panel=HOW)
_FIRST = typer.Option(min=0, help="Number of the first timeframe, without files.", rich_help_panel=HOW)
_RUN = typer.Option("--run", min=0, help="Run number, without files.", rich_help_panel=HOW)
_CONFIG = typer.Option(
    "--config",
    "--configuration",
    metavar="JSON",
    help="Options from a file (o2dask workflow config WORKFLOW writes one).",
    rich_help_panel=HOW,
)
_ON_ERROR = typer.Option(help="What an exception costs: fail, quarantine or skip.", rich_help_panel=HOW)
_DUMP = typer.Option("--dump", help="Write the workflow as JSON, for the next o2dask run; run nothing.")
_ONLY = typer.Option(metavar="DATA", help="Only what these data need (AOD/*); repeat it.", rich_help_panel=WHICH)
_UNTIL = typer.Option(metavar="PROCESSOR", help="This one and what it needs; repeat it.", rich_help_panel=WHICH)
_SKIP = typer.Option(metavar="PROCESSOR", help="Without it and its dependents; repeat it.", rich_help_panel=WHICH)

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command("run", context_settings={"ignore_unknown_options": True}, no_args_is_help=True)
def run(
    words: Annotated[list[str], _WORDS],
    timeframes: Annotated[int | None, _TIMEFRAMES] = None,
    first: Annotated[int, _FIRST] = 0,
    run_number: Annotated[int, _RUN] = 0,
    option: Options = [],  # noqa: B006 - typer wants a list
    config: Annotated[str, _CONFIG] = "",
    conditions: Conditions = None,
    conditions_not_after: ConditionsNotAfter = None,
    on_error: Annotated[str, _ON_ERROR] = "",
    out: Out = "",
    keep: Keep = [],  # noqa: B006
    resume: Resume = False,
    dump: Annotated[bool, _DUMP] = False,
    only: Annotated[list[str], _ONLY] = [],  # noqa: B006
    until: Annotated[list[str], _UNTIL] = [],  # noqa: B006
    skip: Annotated[list[str], _SKIP] = [],  # noqa: B006
    runner: Runner = "batch",
    workers: Workers = None,
    scheduler: Scheduler = "",
    deadline: Deadline = None,
    resource: Resources = [],  # noqa: B006
    isolation: Isolation = True,
    report: Report = None,
    log_json: LogJson = False,
) -> None:
    """Run a workflow on CTF files, or on timeframes that its own sources fill.

    Options of processors: -o tpc-gain.threshold=4, or --tpc-gain "--threshold 4"; those that the workflow itself
    declares (customize) stand beside: --n-workers 4. "o2dask workflow show WORKFLOW" lists all of them. A workflow
    that comes through a pipe is merged, dangling ends and all. Without --out nothing is kept, and the counters are the
    result.

    [b]Examples[/b]

    \b
    o2dask run mine.py:workflow --timeframes 5 --tpc-gain "--threshold 4"
    o2dask run mine.py:workflow tf.ctf --out gain/ --keep TPC/GAIN
    o2dask run a.py:wf --dump | o2dask run b.py:wf --dump | o2dask run - --timeframes 5
    o2dask run async tf.ctf --only TPC/TRACKS --runner inline
    """
    from o2dask.cli.conditions import open_conditions
    from o2dask.cli.running import carry_out
    from o2dask.runners.settings import BatchSettings
    from o2dask.workflow.compiler import compile_workflow, set_options
    from o2dask.workflow.serialise import workflow_to_json
    from o2dask.workflow.subset import sub_workflow

    if runner not in ("batch", "inline"):
        raise ConfigError(f"--runner: want batch or inline, got {runner!r}")
    if keep and not out:
        raise ConfigError("--keep: where to? give --out FOLDER")
    workflow, options, files = _read(words, option, config)
    workflow = sub_workflow(set_options(workflow, options), only=only, until=until, skip=skip)
    if on_error:
        workflow = _with_policy(workflow, on_error)
    if dump:
        sys.stdout.write(workflow_to_json(workflow) + "\n")
        return
    topology = compile_workflow(workflow, conditions=open_conditions(conditions, conditions_not_after))
    refs, lost = _timeframes(files, timeframes, first, run_number)
    settings = BatchSettings(
        workers=workers,
        scheduler=scheduler,
        journal=None if "://" in out or not out else Path(out),
        resume=resume,
        deadline_s=deadline,
        resources=parse_resources(resource),
        isolate=isolation,
    )
    status = carry_out(
        topology,
        refs,
        _sink(topology, out, keep),
        settings,
        where=out,
        inline=runner == "inline",
        log_json=log_json,
        lost=lost,
        page=report,
        with_counters=True,
    )
    raise typer.Exit(status)


def _read(
    words: Sequence[str], option: Sequence[str], config: str
) -> "tuple[WorkflowSpec, dict[str, dict[str, Any]], list[str]]":
    """Return the workflow with what came through the pipe, the options of its processors, and the files."""
    from o2dask.cli.running import parse_options
    from o2dask.workflow.loading import find_workflow, load_workflow
    from o2dask.workflow.serialise import workflow_from_json

    name, *rest = words
    if name.startswith("-") and name != "-":
        raise ConfigError(f"want the workflow first, got {name!r}: o2dask run WORKFLOW [CTF]... --options")
    declared = () if name == "-" else getattr(find_workflow(name)[0], "options", ())
    switches = {o.name.replace("_", "-") for o in declared if isinstance(o.default, bool)}
    files, given = _split(rest, switches)
    if workflows := [word for word in files if re.search(r"\.py:\w+$", word)]:
        raise ConfigError(
            f"{workflows[0]}: is a workflow, where CTF files are wanted; merge workflows by a pipe: "
            f"o2dask run {workflows[0]} --dump | o2dask run {name} ..."
        )
    from_file = _read_config(config) if config else {}
    known = {o.name.replace("_", "-") for o in declared}
    set_by_name = parse_options(option)
    own = {
        **from_file.pop("workflow", {}),
        **{n: v for n, v in given if n.replace("_", "-") in known},
        **set_by_name.pop("workflow", {}),
    }
    piped = _piped(must=name == "-")
    parts = [workflow_from_json(piped)] if piped else []
    if name != "-":
        parts.append(load_workflow(name, own))
    workflow = parts[0] if len(parts) == 1 else parts[0] | parts[1]
    options: dict[str, dict[str, Any]] = {processor: dict(values) for processor, values in from_file.items()}
    for processor, values in _processor_options(workflow, given, known).items():
        options.setdefault(processor, {}).update(values)
    for processor, values in set_by_name.items():
        options.setdefault(processor, {}).update(values)
    return workflow, options, files


def _split(words: Sequence[str], switches: set[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the files, and the options that are not of this command, in the order given."""
    files: list[str] = []
    given: list[tuple[str, str]] = []
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word[2:].partition("=")
        if not word.startswith("--"):
            files.append(word)
        elif equals:
            given.append((name, value))
        elif name in switches and not (left and left[0].lower() in ("true", "false")):
            given.append((name, "true"))
        elif left:
            given.append((name, left.pop(0)))
        else:
            raise ConfigError(f'{word}: want a value; options of a processor are {word} "--option value"')
    return files, given


def _processor_options(
    workflow: "WorkflowSpec", given: Sequence[tuple[str, str]], known: set[str]
) -> dict[str, dict[str, str]]:
    from o2dask.options import parse_option_text
    from o2dask.workflow.names import did_you_mean, listed

    names = [p.name for p in workflow.processors]
    options: dict[str, dict[str, str]] = {}
    for name, text in given:
        if name in names:
            options.setdefault(name, {}).update(parse_option_text(text, f"--{name}"))
        elif name.replace("_", "-") not in known:
            hint = did_you_mean(name, [*names, *known]) or f"; processors are {listed(names)}"
            raise ConfigError(f"--{name}: neither an option of this command nor a processor of {workflow.name!r}{hint}")
    return options


def _read_config(given: str) -> dict[str, Any]:
    """Return what a file sets: processor to option to value, groups within; O2's ``dpl-config.json`` is the same."""
    path = Path(given.removeprefix("json://"))  # as DPL has it
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"--config {path}: want JSON: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(values, Mapping) for values in found.values()):
        raise ConfigError(f'--config {path}: want {{"processor": {{"option": value}}}}')
    return {name: values for name, values in found.items() if not name.startswith("internal-dpl-")}  # DPL's own devices


def _piped(must: bool) -> str:
    """Return what comes through the pipe on stdin; "" if nothing is there to come."""
    if not must and not _may_come():
        return ""
    text = sys.stdin.read().strip()
    if must and not text:
        raise ConfigError("-: nothing came on stdin; the command before it writes a workflow with --dump")
    return text


def _may_come() -> bool:
    """Return whether stdin is a pipe through which something comes, or which is closed."""
    try:
        fd = sys.stdin.fileno()
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            return False
    except (OSError, ValueError, AttributeError):  # closed, or none at all
        return False
    if select.select([fd], [], [], 1.0)[0]:
        return True
    sys.stderr.write("waiting for a workflow on stdin; </dev/null says that there is none\n")
    return bool(select.select([fd], [], [], STDIN_S)[0])


def _with_policy(workflow: "WorkflowSpec", on_error: str) -> "WorkflowSpec":
    from dataclasses import replace

    from o2dask.specs import ErrorPolicy

    if on_error not in set(ErrorPolicy):
        raise ConfigError(f"--on-error: want {', '.join(ErrorPolicy)}, got {on_error!r}")
    return replace(workflow, on_error=ErrorPolicy(on_error))


def _timeframes(files: list[str], n: int | None, first: int, run_number: int) -> "tuple[list[TimeframeRef], list[str]]":
    """Return the timeframes, and a line for everything that the files have lost."""
    from o2dask.timeframe import enumerated

    if files:
        from o2dask.cli.reco import timeframes_of

        refs, lost = timeframes_of(files)
        return refs[:n], lost
    if n is None:
        raise ConfigError("which timeframes? Give CTF files, or --timeframes N for N that hold nothing")
    return enumerated(n, first=first, run=run_number), []


def _sink(topology: "Topology", out: str, keep: Sequence[str]) -> "Sink":
    """Return where results go: chosen data, the AOD, all data, or nowhere."""
    from o2dask.cli.reco import sink_of
    from o2dask.runners.nothing import NoSink

    if not out:
        return NoSink()
    return sink_of(topology, out, list(keep) if keep or topology.select(["AOD/*"]) else ["*"])
