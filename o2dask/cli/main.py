"""The command `o2dask` and where its subcommands come from: this folder, and entry points of ``o2dask.commands``."""

import inspect
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from o2dask.cli.boundary import guarded
from o2dask.errors import ConfigError
from o2dask.workflow.names import did_you_mean

__all__ = ["app", "main"]

GROUP = "o2dask.commands"
"""Entry point group: a command's name and its function, or a `typer.Typer` of several."""
OWN = {
    "reco": "o2dask.cli.reco:reco",
    "run": "o2dask.cli.run:app",
    "stream": "o2dask.cli.stream:stream",
    "control": "o2dask.cli.control:control",
    "readout": "o2dask.cli.readout:readout",
    "aod": "o2dask.cli.aod:app",
    "ctf": "o2dask.cli.ctf:app",
    "workflow": "o2dask.cli.workflow:app",
    "conditions": "o2dask.cli.conditions:app",
}
ORDER = ("demo", "simulate", "reco", "run", "stream", "control", "readout", "aod", "ctf", "workflow")


class Commands(TyperGroup):
    """Subcommands by name, imported when asked for; errors become one line and a status."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.help = _reflowed(self.help)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the order in which a newcomer needs them."""
        names = [*OWN, *(e.name for e in entry_points(group=GROUP) if e.name not in OWN)]
        return sorted(names, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command; None if there is none."""
        path = OWN.get(cmd_name) or {e.name: e.value for e in entry_points(group=GROUP)}.get(cmd_name)
        return None if path is None else _load(cmd_name, path)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that `args` begin with; ConfigError, with the closest name, if there is none."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            hint = did_you_mean(args[0], known) or f"; there are {', '.join(known)}"
            raise ConfigError(f"no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and exit with the status (return it if not `standalone_mode`)."""
        given = list(sys.argv[1:] if args is None else args)
        rest = [a for a in given if a != "--debug"]  # wherever it stands
        run = super().main
        status = guarded(lambda: run(rest, "o2dask", complete_var, False, windows_expand_args, **extra), given)
        if standalone_mode:
            sys.exit(status)
        return status


app = typer.Typer(cls=Commands, add_completion=False, no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def _top(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; goes with any command.")
    ] = False,
) -> None:
    """Compressed timeframes in, AOD tables out: simulation, reconstruction and a look at what they make.

    [b]From nothing to a spectrum[/b]

    \b
    o2dask simulate --system pp --collisions 40 --timeframes 4 --out tf.ctf
    o2dask reco tf.ctf --out aod/
    o2dask aod info aod/

    Exit status: 0 only when every timeframe was committed; 1 when some failed; 2 for wrong usage or configuration; 130
    after Ctrl-C, which leaves a state that --resume takes up.
    """


def main() -> None:
    """Run the command line; entry point of the console script."""
    if sys.argv[1:] == ["--version"]:
        from o2dask import __version__

        sys.stdout.write(f"o2dask {__version__}\n")
        return
    app()


def _load(name: str, path: str) -> Any:
    """Return the click command behind ``module:function`` or ``module:typer``."""
    module, _, attribute = path.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # noqa: BLE001 - a broken plug-in must not take the other commands with it
        return _broken(name, f"command {name!r} ({path}) cannot be loaded: {type(error).__name__}: {error}")
    if isinstance(found, typer.Typer):
        command = typer.main.get_command(found)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode="rich")
        single.command(name)(found)
        command = typer.main.get_command(single)
    command.name = name
    for one in (command, *getattr(command, "commands", {}).values()):
        one.help = _reflowed(one.help)
    return command


def _reflowed(text: str | None) -> str | None:
    """Return a docstring with its paragraphs in one line each, for the terminal to wrap; those after \\b are left."""
    if text is None:
        return None
    paragraphs = [p.strip() for p in inspect.cleandoc(text).split("\n\n")]
    return "\n\n".join(p[1:].strip() if p.startswith("\b") else " ".join(p.split()) for p in paragraphs)


def _broken(name: str, text: str) -> Any:
    def fail() -> None:
        raise ConfigError(text)

    single = typer.Typer(add_completion=False)
    single.command(name, help=text)(fail)
    return typer.main.get_command(single)
