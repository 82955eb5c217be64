"""Parameters that several commands share, said once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from o2dask.errors import ConfigError

__all__ = [
    "HOW",
    "WORK",
    "Conditions",
    "ConditionsNotAfter",
    "Dashboard",
    "Deadline",
    "Isolation",
    "Keep",
    "LogJson",
    "Memory",
    "Options",
    "Out",
    "Report",
    "Resources",
    "Resume",
    "Runner",
    "Scheduler",
    "Window",
    "Workers",
    "Workflow",
    "parse_resources",
]

HOW, WORK, TELL = "What to run", "Workers", "What is told"
"""Titles of panels in the help."""

Workflow = Annotated[
    str, typer.Option(help="Name (o2dask workflow list), module:function or file.py:function.", rich_help_panel=HOW)
]
Out = Annotated[
    str, typer.Option(metavar="FOLDER", help="Where results go; default: they are not kept.", rich_help_panel=HOW)
]
Keep = Annotated[
    list[str],
    typer.Option(
        metavar="PATTERN",
        help="Write these data (TPC/TRACKS, TPC/*) as Arrow files, and no AOD tables; repeat it.",
        rich_help_panel=HOW,
    ),
]
Runner = Annotated[
    str,
    typer.Option(help="batch: Dask workers. inline: in this process, for debuggers.", rich_help_panel=WORK),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Worker processes; default: one per core.", rich_help_panel=WORK)
]
Window = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Most timeframes in flight, groups of small ones as one; default: 2 per worker.",
        rich_help_panel=WORK,
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="For all workers together, 8GiB; default: 80 % of what is there.", rich_help_panel=WORK
    ),
]
Scheduler = Annotated[
    str,
    typer.Option(metavar="ADDRESS", help="A Dask scheduler that runs already, tcp://host:8786.", rich_help_panel=WORK),
]
Deadline = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Set a timeframe aside that takes longer.", rich_help_panel=WORK),
]
Dashboard = Annotated[
    int | None, typer.Option(metavar="PORT", help="Serve Dask's dashboard on this machine.", rich_help_panel=WORK)
]

Options = Annotated[
    list[str],
    typer.Option(
        "-o", "--option", metavar="PROCESSOR.OPTION=VALUE", help="Set an option; repeat it.", rich_help_panel=HOW
    ),
]
Conditions = Annotated[
    str | None,
    typer.Option(
        metavar="STORE", help="Conditions: a folder, a snapshot.zip or http://host:8080.", rich_help_panel=HOW
    ),
]
ConditionsNotAfter = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Ignore conditions created later (ms, or a date).", rich_help_panel=HOW),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on after an earlier run into the same output.", rich_help_panel=HOW)
]
LogJson = Annotated[
    bool, typer.Option("--log-json", help="One JSON object per line on stderr, for machines.", rich_help_panel=TELL)
]
Report = Annotated[
    Path | None,
    typer.Option(metavar="HTML", help="Write a page on the run: memory, workers, losses.", rich_help_panel=TELL),
]
Isolation = Annotated[
    bool,
    typer.Option(
        "--isolation/--no-isolation",
        help="Run expendable processors in processes of their own.",
        rich_help_panel=WORK,
    ),
]
Resources = Annotated[
    list[str],
    typer.Option(
        "--resource",
        metavar="NAME=N",
        help="No more than N tasks at once that ask for it, TAPE=1; repeat it.",
        rich_help_panel=WORK,
    ),
]


def parse_resources(given: Sequence[str]) -> dict[str, float]:
    """Return ``NAME=N`` texts as a mapping.

    >>> parse_resources(["TAPE=1"])
    {'TAPE': 1.0}
    """
    resources: dict[str, float] = {}
    for text in given:
        name, _, amount = text.partition("=")
        try:
            resources[name] = float(amount)
        except ValueError:
            name = ""
        if not name:
            raise ConfigError(f"--resource {text}: want NAME=N, such as TAPE=1")
    return resources
