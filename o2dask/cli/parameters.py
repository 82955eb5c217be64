"""Parameters that several commands share, said once."""

from typing import Annotated

import typer

__all__ = ["HOW", "Conditions", "ConditionsNotAfter", "LogJson", "Options", "Resume"]

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
