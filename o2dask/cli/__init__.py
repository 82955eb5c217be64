"""The face for a terminal: one command, `o2dask`. The layers below do the work; here are words and exit statuses.

Modules import typer only; whatever is heavy is imported inside the command that needs it.
"""
