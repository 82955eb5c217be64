"""``o2dask analysis``: tasks over an AOD, histograms into AnalysisResults.root."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from o2dask.cli.parameters import HOW, Conditions, LogJson
from o2dask.errors import ConfigError

if TYPE_CHECKING:
    from o2dask.analysis.result import Result
    from o2dask.analysis.task import AnalysisTask

__all__ = ["analysis"]

WORK = "Workers"

_AOD = typer.Option(metavar="AOD", help="Files, folders, globs, URLs, or @list.txt, one per line; repeat it.")
_OUT = typer.Option(metavar="FILE", help="Histograms of all tasks, a folder each.")
_CONFIG = typer.Option(
    metavar="FILE",
    help='Settings: {"task": {"option": value}}, or {"option": value} for all tasks; O2\'s dpl-config.json as it is.',
    rich_help_panel=HOW,
)
_OPTION = typer.Option(
    "-o", "--option", metavar="TASK.OPTION=VALUE", help="Set an option; repeat it.", rich_help_panel=HOW
)
_SAVE = typer.Option(
    metavar="TARGET", help="Where tables that tasks make go: a folder, or derived.root.", rich_help_panel=HOW
)
_KEEP = typer.Option(
    metavar="TABLE",
    help="Which of them, or stored ones: O2v0core, AOD/V0CORE/0:name:fX/fY; O2's writer.json as it is. Repeat it.",
    rich_help_panel=HOW,
)
_PARENTS = typer.Option(
    min=0,
    metavar="LEVELS",
    help="Of derived data: read the tables of the files they were made from as well, so many levels back.",
    rich_help_panel=HOW,
)
_PARENT_PATH = typer.Option(metavar="OLD;NEW", help="Where these are now: OLD/x is NEW/x.", rich_help_panel=HOW)
_SHOW = typer.Option("--show", help="List tasks, tables and settings, and run nothing.", rich_help_panel=HOW)
_WORKERS = typer.Option(min=1, help="Worker processes; default: one per core.", rich_help_panel=WORK)
_SCHEDULER = typer.Option(
    metavar="ADDRESS",
    help="A Dask scheduler that runs already, tcp://host:8786; inline: this process, for debuggers.",
    rich_help_panel=WORK,
)
_RETRIES = typer.Option(min=0, help="How often a dataframe is read again after an I/O error.", rich_help_panel=WORK)


def analysis(
    tasks: Annotated[list[str], typer.Argument(metavar="TASK", help="file.py:Class or package.module:Class.")],
    aod: Annotated[list[str], _AOD] = [],  # noqa: B006 - typer wants a list
    out: Annotated[Path, _OUT] = Path("AnalysisResults.root"),
    config: Annotated[str, _CONFIG] = "",
    option: Annotated[list[str], _OPTION] = [],  # noqa: B006
    save: Annotated[str, _SAVE] = "",
    keep: Annotated[list[str], _KEEP] = [],  # noqa: B006
    parents: Annotated[int, _PARENTS] = 0,
    parent_path: Annotated[str, _PARENT_PATH] = "",
    show: Annotated[bool, _SHOW] = False,
    scheduler: Annotated[str, _SCHEDULER] = "",
    workers: Annotated[int | None, _WORKERS] = None,
    retries: Annotated[int, _RETRIES] = 2,
    conditions: Conditions = None,
    log_json: LogJson = False,
) -> None:
    """Run analysis tasks over an AOD, all in one pass, and write their histograms.

    Files and dataframes that are damaged, and those on which a task fails, are left out and listed; the status is
    then 1.

    [b]Examples[/b]

    \b
    o2dask analysis spectra.py:Spectra --aod aod/
    o2dask analysis spectra.py:Spectra v0.py:Builder --aod @files.txt --config dpl-config.json -o spectra.eta_max=0.5
    o2dask analysis dca.py:DcaProducer --aod 'data/AO2D*.root' --save derived.root --workers 8
    """
    from o2dask.aod.parents import Parents
    from o2dask.cli.running import parse_options

    made = load_tasks(tasks)
    configure(made, _settings(config), where=config, is_strict=False)
    configure(made, parse_options(option), where="-o", is_strict=True)
    if show:
        sys.stdout.write("\n".join(map(_shown, made)) + "\n")
        return
    if not aod:
        raise ConfigError("--aod: want files, a folder, or @list.txt to analyse")
    if out.suffix != ".root" or not out.parent.is_dir() or out.is_dir():
        raise ConfigError(f"--out {out}: want a file *.root in a folder that exists")
    if not scheduler and workers is None:
        from dask.system import CPU_COUNT

        workers = CPU_COUNT
    result, status = _run(
        made,
        aod,
        log_json,
        scheduler=scheduler or None,
        workers=workers,
        save=save,
        keep=keep or None,
        retries=retries,
        conditions=conditions,
        parents=Parents(levels=parents, path=parent_path),
    )
    try:
        result.save(out)
    finally:
        _tell(result, out, status, log_json)
    raise typer.Exit(status)


def load_tasks(paths: Sequence[str]) -> "list[AnalysisTask]":
    """Return the tasks under ``file.py:Class`` or ``module:Class`` (or an instance of one)."""
    from o2dask.analysis.task import AnalysisTask
    from o2dask.workflow.loading import locate

    made: list[AnalysisTask] = []
    for path in paths:
        found = locate(path, f"task {path!r}")
        if isinstance(found, AnalysisTask):
            made.append(found)
        elif isinstance(found, type) and issubclass(found, AnalysisTask):
            made.append(found())
        else:
            raise ConfigError(f"task {path!r}: want a class derived from o2.AnalysisTask, got {found!r}")
    return made


def configure(
    tasks: "Sequence[AnalysisTask]", settings: Mapping[str, Mapping[str, Any]], *, where: str, is_strict: bool
) -> None:
    """Set options of tasks by name; those under "" on every task that has them.

    Tasks that are not there are an error if `is_strict`; a file may hold more, as O2's do.
    """
    from o2dask.analysis.configuration import find_option
    from o2dask.workflow.names import did_you_mean, listed

    by_name = {task.name: task for task in tasks}
    for name, options in settings.items():
        if name in by_name:
            by_name[name].configure(options)
        elif name and is_strict:
            hint = did_you_mean(name, by_name) or f"; there are {listed(by_name)}"
            raise ConfigError(f"{where}: no task {name!r}{hint}")
    for option, value in settings.get("", {}).items():
        n_taken = 0
        for task in tasks:
            try:
                found = find_option(option, task.settings, task.name)
            except ConfigError:
                continue
            task.configure({found: value})
            n_taken += 1
        if not n_taken:
            raise ConfigError(f"{where}: no task has an option {option!r}; there are {_all_options(tasks)}")


def _all_options(tasks: "Sequence[AnalysisTask]") -> str:
    return ", ".join(f"{task.name}.{option}" for task in tasks for option in task.settings) or "none"


def _settings(config: str) -> dict[str, dict[str, Any]]:
    if not config:
        return {}
    from o2dask.analysis.configuration import read_config

    return read_config(config)


def _run(tasks: "Sequence[AnalysisTask]", aod: Sequence[str], log_json: bool, **options: Any) -> "tuple[Result, int]":
    """Run, let Ctrl-C end it in good order, and return the result and the exit status."""
    import logging

    from o2dask.analysis.running import run_tasks
    from o2dask.cli.boundary import BAD_DATA
    from o2dask.cli.running import Interrupts

    logging.getLogger("o2dask.analysis").setLevel(logging.ERROR)  # the summary tells what was left out
    with Interrupts() as stop:
        stop.say = _say
        result = run_tasks(tasks, aod, stop=stop, progress=not log_json, **options)
    if result.interrupted:
        return result, stop.status
    return result, 0 if result.ok else BAD_DATA


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _tell(result: "Result", out: Path, status: int, log_json: bool) -> None:
    if not log_json:
        sys.stdout.write(f"{result.summary()}\nhistograms in {out}\n")
        return
    failed = [{"url": f.url, "dataframe": f.dataframe, "task": f.task, "reason": f.reason} for f in result.failed]
    summary = {
        "event": "summary",
        "status": status,
        "output": str(out),
        "saved": result.saved,
        "n_dataframes": result.n_dataframes,
        "n_rows": result.n_rows,
        "failed": failed,
        "interrupted": result.interrupted,
        "wall_s": result.wall_s,
        "cpu_s": result.cpu_s,
        "settings": result.settings,
    }
    sys.stderr.write(json.dumps(summary, default=str) + "\n")


def _shown(task: "AnalysisTask") -> str:
    from o2dask.option_values import text_of

    text = (type(task).__doc__ or "").strip().split("\n", 1)[0]
    lines = [f"{task.name}: {text}"]
    lines += [f"  {p.name}({', '.join(f'{a.name}: {a.spec}' for a in p.arguments)})" for p in task.processes]
    lines += [f"  makes {maker.spec}" for maker in task.makers.values()]
    lines += [f"  {task.name}.{name}={text_of(value)}  {task.helps[name]}" for name, value in task.settings.items()]
    return "\n".join(lines)
