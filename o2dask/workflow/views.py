"""A topology for the eye: text for a terminal, JSON for programs, dot for graphviz, a page for a browser."""

from collections.abc import Sequence

from o2dask.errors import ConfigError
from o2dask.option_values import text_of
from o2dask.specs import CompletionPolicy, ConfigParamSpec, DataProcessorSpec, DispatchPolicy, InputSpec, Lifetime
from o2dask.workflow.names import did_you_mean, word
from o2dask.workflow.planner import PhysicalTask, shown_tasks
from o2dask.workflow.topology import Topology

__all__ = ["FORMATS", "describe", "makers_of", "show"]

FORMATS = ("text", "json", "dot", "html")


def show(topology: Topology, format: str = "text", kept: Sequence[str] = ()) -> str:
    """Return the topology and its physical tasks as ``text``, ``json``, ``dot`` or ``html``.

    Parameters
    ----------
    topology : Topology
        What to show.
    format : str
        One of `FORMATS`. The HTML page is self-contained: drawing, tables and style in one file.
    kept : sequence of str
        Patterns of the data that leave through the sink, for the plan.
    """
    if format == "json":
        return topology.to_json()
    tasks = shown_tasks(topology, kept)
    if format == "text":
        return _text(topology, tasks)
    if format == "dot":
        return _dot(topology, tasks)
    if format == "html":
        from o2dask.workflow.page import html_page

        return html_page(topology, tasks, topology.select(kept))
    hint = did_you_mean(format, FORMATS)
    raise ConfigError(f"format of a workflow: want one of {', '.join(FORMATS)}, got {format!r}{hint}")


def _text(topology: Topology, tasks: Sequence[PhysicalTask]) -> str:
    n, t = len(topology.processors), sum(not task.is_beside for task in tasks)
    lines = [f"workflow {topology.name}: {n} processors in {t} tasks per timeframe, fingerprint {topology.fingerprint}"]
    for i, task in enumerate(tasks, 1):
        needs = "".join(f", {k}={v:g}" for k, v in task.resources)
        kind = "beside the graph" if task.is_beside else f"task {i}"
        lines += ["", f"{kind}: {task.name} ({task.cost_ms:g} ms{needs})"]
        for name in task.processors:
            p = topology[name]
            lines.append(f"  {name}{_marks(p)}")
            lines += [f"    <- {x}  from {makers_of(topology, p, x)}" for x in p.inputs]
            for o in p.outputs:
                lines.append(f"    -> {o}" + ("" if o.ref not in task.outputs else "  (leaves the task)"))
            chosen = topology.options[name]
            lines += [f"       {name}.{o.name}={text_of(chosen[o.name])}  {describe(o)}" for o in p.options]
    return "\n".join(lines)


def describe(option: ConfigParamSpec) -> str:
    """Return what an option is, and which values are allowed."""
    return option.help + (f" ({option.allowed})" if option.allowed else "")


def _marks(p: DataProcessorSpec) -> str:
    """Return in brackets what is special about a processor."""
    marks = [
        "expendable" * p.expendable,
        f"policy {word(p.policy)}" * (p.policy != CompletionPolicy.ALL),
        f"dispatch {word(p.dispatch)}" * (p.dispatch != DispatchPolicy.AFTER_COMPUTATION),
        f"on error {word(p.on_error)}" * (p.on_error is not None),
        f"{p.pipeline} instances in turn" * (p.pipeline > 1),
    ]
    told = ", ".join(filter(None, marks))
    return f"  ({told})" if told else ""


def makers_of(topology: Topology, p: DataProcessorSpec, wanted: InputSpec) -> str:
    """Return who makes an input, as people read it."""
    if wanted.lifetime is Lifetime.CONDITION:
        return "its default" if topology.conditions is None else "the conditions"
    if wanted.is_clock:
        return "the clock"
    back = {r.producer: None for r in topology.feedback if (r.consumer, r.binding) == (p.name, wanted.binding)}
    if back:
        return f"{', '.join(back)}, of an earlier timeframe"
    makers = dict.fromkeys(r.producer for r in topology.routes_to(p.name, wanted.binding))
    return ", ".join(makers) or "nobody (optional)"


def _dot(topology: Topology, tasks: Sequence[PhysicalTask]) -> str:
    lines = [f'digraph "{topology.name}" {{', "  rankdir=TB;"]
    lines.append('  node [shape=box, style="rounded,filled", fillcolor=white];')
    for i, task in enumerate(tasks):
        lines.append(f"  subgraph cluster_{i} {{")
        kind = "beside the graph" if task.is_beside else f"task {i + 1}"
        lines.append(f'    label="{kind}: {task.cost_ms:g} ms"; style="rounded,filled"; color="#eef3f8";')
        lines += [f'    "{name}";' for name in task.processors]
        lines.append("  }")
    edges = dict.fromkeys((r.producer, r.consumer, r.ref) for r in topology.routes)
    lines += [f'  "{a}" -> "{b}" [label="{ref}"];' for a, b, ref in edges]
    back = dict.fromkeys((r.producer, r.consumer, r.ref) for r in topology.feedback)
    lines += [f'  "{a}" -> "{b}" [label="{ref}", style=dashed, constraint=false];' for a, b, ref in back]
    return "\n".join([*lines, "}"])
