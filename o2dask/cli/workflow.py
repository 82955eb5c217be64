"""``o2dask workflow``: which there are, and what they do."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from o2dask.cli.parameters import Conditions, ConditionsNotAfter, Options
from o2dask.errors import ConfigError

if TYPE_CHECKING:
    from o2dask.options import ConfigParamSpec, Value
    from o2dask.specs import WorkflowSpec

__all__ = ["app"]

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def _group() -> None:
    """List workflows; show their processors, data, options and tasks."""


@app.command("list")
def list_() -> None:
    """List the registered workflows.

    Others are given as module:function or file.py:function, a function without arguments that returns a WorkflowSpec.
    """
    from o2dask.workflow import list_workflows

    known = list_workflows()
    width = max(map(len, known), default=0)
    sys.stdout.write("".join(f"{name:{width}}  {path}\n" for name, path in known.items()))


@app.command()
def show(
    names: Annotated[
        list[str],
        typer.Argument(metavar="WORKFLOW", help="Names, module:function, file.py:function, or - for JSON on stdin."),
    ],
    format: Annotated[str, typer.Option("--format", help="text, json, dot or html.")] = "text",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there instead of to stdout.")] = None,
    option: Options = [],  # noqa: B006 - typer wants a list
    keep: Annotated[
        list[str], typer.Option(metavar="PATTERN", help="Data that leave through the output (AOD/*); repeat it.")
    ] = [],  # noqa: B006
    conditions: Conditions = None,
    conditions_not_after: ConditionsNotAfter = None,
) -> None:
    """Show a workflow: processors in the order of execution, who feeds whom, options, and the tasks they travel in.

    Several workflows are merged: the dangling ends of one are in another.

    [b]Examples[/b]

    \b
    o2dask workflow show async
    o2dask workflow show async --format html --out async.html
    o2dask workflow show async --format dot | dot -Tpdf > async.pdf
    o2dask workflow show async -o tpc-tracker.min_clusters=50
    o2dask workflow show part1.py:flow --format json | o2dask workflow show part2.py:flow -
    """
    from o2dask.cli.conditions import open_conditions
    from o2dask.cli.running import parse_options
    from o2dask.option_values import text_of
    from o2dask.workflow import compile_workflow
    from o2dask.workflow import show as drawn
    from o2dask.workflow.views import describe

    options = parse_options(option)
    merged, own = _merged(names, options)
    fetcher = open_conditions(conditions, conditions_not_after)
    text = drawn(compile_workflow(merged, options, conditions=fetcher), format, keep)
    if own and format == "text":
        told = [f"  workflow.{o.name}={text_of(value)}  {describe(o)}" for o, value in own]
        text += "\n".join(["\n\noptions of the workflow itself", *told])
    _write(text, out)


@app.command()
def config(
    names: Annotated[
        list[str],
        typer.Argument(metavar="WORKFLOW", help="Names, module:function, file.py:function, or - for JSON on stdin."),
    ],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there instead of to stdout.")] = None,
    option: Options = [],  # noqa: B006 - typer wants a list
) -> None:
    """Write all options of a workflow with their values as JSON, to be edited and given back with --config.

    The layout is that of O2's dpl-config.json, groups within their processor.

    [b]Examples[/b]

    \b
    o2dask workflow config async --out async.json
    o2dask run async tf.ctf --out aod/ --config async.json
    """
    import json

    from o2dask.cli.running import parse_options
    from o2dask.options import nested
    from o2dask.workflow.compiler import set_options

    options = parse_options(option)
    merged, own = _merged(names, options)
    workflow = set_options(merged, options)
    chosen = {p.name: nested({o.name: o.default for o in p.options}) for p in workflow.processors if p.options}
    if own:
        chosen = {"workflow": nested({o.name: value for o, value in own})} | chosen
    _write(json.dumps(chosen, indent=1), out)


def _merged(
    names: list[str], options: "dict[str, dict[str, str]]"
) -> "tuple[WorkflowSpec, list[tuple[ConfigParamSpec, Value]]]":
    """Return all workflows as one, and the options that they declared themselves; takes these out of `options`."""
    from functools import reduce
    from operator import or_

    from o2dask.options import settle
    from o2dask.workflow import load_workflow
    from o2dask.workflow.loading import find_workflow
    from o2dask.workflow.serialise import workflow_from_json

    found = {n: getattr(find_workflow(n)[0], "options", ()) for n in names if n != "-"}
    given = options.pop("workflow", {})
    declared = [option for options_of in found.values() for option in options_of]
    chosen = settle(f"workflow {', '.join(names)}", declared, given)
    specs = [
        workflow_from_json(sys.stdin.read())
        if n == "-"
        else load_workflow(n, {o.name: chosen[o.name] for o in found[n]})
        for n in names
    ]
    return reduce(or_, specs), [(o, chosen[o.name]) for o in declared]


def _write(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text + "\n")
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}; choose another --out") from None
