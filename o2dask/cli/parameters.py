"""Parameters that several commands share, said once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from o2dask.errors import ConfigError

__all__ = [
    "HOW",
    "Conditions",
    "ConditionsNotAfter",
    "Isolation",
    "LogJson",
    "Options",
    "Report",
    "Resources",
    "Resume",
    "parse_resources",
]

HOW, TELL = "What to run", "What is told"
"""Titles of panels in the help."""

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
        rich_help_panel="Workers",
    ),
]
Resources = Annotated[
    list[str],
    typer.Option(
        "--resource",
        metavar="NAME=N",
        help="No more than N tasks at once that ask for it, TAPE=1; repeat it.",
        rich_help_panel="Workers",
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
