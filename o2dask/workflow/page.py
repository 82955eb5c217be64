"""The page of a workflow: drawing, processors and data in one HTML file that needs nothing else. Knows no runner.

What a debug GUI of DPL shows before anything runs; a click on a processor lights its way through the graph.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from o2dask.columns import Schema
from o2dask.option_values import text_of
from o2dask.services.registry import ServiceSpec
from o2dask.specs import CompletionPolicy, DataProcessorSpec, DataRef, DispatchPolicy, InputSpec, OutputSpec
from o2dask.workflow.drawing import style, svg_drawing
from o2dask.workflow.names import algorithm_path, word
from o2dask.workflow.planner import PhysicalTask
from o2dask.workflow.topology import Topology
from o2dask.workflow.views import makers_of

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["html_page"]


def html_page(topology: Topology, tasks: Sequence[PhysicalTask], kept: Collection[DataRef] = ()) -> str:
    """Return the whole page: drawing, processors with options, data with schemas.

    `kept` are the data that leave through the sink.
    """
    users: dict[DataRef, dict[str, None]] = defaultdict(dict)
    for route in topology.routes:
        users[route.ref][route.consumer] = None
    for route in topology.feedback:
        users[route.ref][f"{route.consumer} (later timeframe)"] = None
    task_of = {
        name: "beside the graph" if task.is_beside else f"task {i}"
        for i, task in enumerate(tasks, 1)
        for name in task.processors
    }
    return _template().render(
        topology=topology,
        n_tasks=sum(not task.is_beside for task in tasks),
        style=style(),
        drawing=svg_drawing(topology, tasks, kept),
        processors=[_processor(topology, p, task_of[p.name]) for p in topology.processors],
        data=[_datum(p, o, users[o.ref], kept) for p in topology.processors for o in p.outputs],
    )


@cache
def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("o2dask.workflow", ""), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2")


def _processor(topology: Topology, p: DataProcessorSpec, task: str) -> dict[str, Any]:
    chosen = topology.options[p.name]
    return {
        "name": p.name,
        "task": task,
        "cost_ms": p.cost_ms,
        "badges": _badges(p),
        "algorithm": ", ".join(algorithm_path(part) for part in p.parts),
        "inputs": [_input(topology, p, i) for i in p.inputs],
        "outputs": p.outputs,
        "options": [
            {
                "name": o.name,
                "value": text_of(chosen[o.name]),
                "is_default": chosen[o.name] == o.default,
                "default": text_of(o.default),
                "kind": ", ".join(filter(None, [o.kind, o.allowed])),
                "help": o.help,
            }
            for o in p.options
        ],
        "metadata": dict(p.metadata),
    }


def _badges(p: DataProcessorSpec) -> list[str]:
    """Return what is special about a processor, a few words each."""
    limits = ((p.deadline_s, "s per timeframe"), (p.memory_mib, "MiB"))
    return [
        *["source"] * p.is_source,
        *["sink"] * (not p.outputs),
        *["expendable"] * p.expendable,
        *(f"at most {limit:g} {unit}" for limit, unit in limits if limit),
        *(f"{k} {v:g}" for k, v in p.resources.items() if v),
        *[f"policy {word(p.policy)}"] * (p.policy != CompletionPolicy.ALL),
        *[f"dispatch {word(p.dispatch)}"] * (p.dispatch != DispatchPolicy.AFTER_COMPUTATION),
        *[f"on error {word(p.on_error)}"] * (p.on_error is not None),
        *[f"copy {p.copy[0]} of {p.copy[1]}"] * (p.copy[1] > 1),
        *[f"{p.pipeline} instances in turn"] * (p.pipeline > 1),
        *(f"needs {(s.kind if isinstance(s, ServiceSpec) else s).__name__}" for s in p.services),
        *p.labels,
    ]


def _input(topology: Topology, p: DataProcessorSpec, wanted: InputSpec) -> dict[str, Any]:
    more = {k: v for k, v in wanted.metadata.items() if k not in ("path", "ccdb-path")}
    return {
        "binding": wanted.binding,
        "datum": f"{wanted.origin}/{wanted.description}/{wanted.subspec}",
        "lifetime": str(wanted.lifetime) + ", feedback" * wanted.feedback,
        "origin": wanted.path or makers_of(topology, p, wanted),
        "more": " ".join(f"{k}={v}" for k, v in more.items()),
    }


def _datum(
    maker: DataProcessorSpec, output: OutputSpec, users: Iterable[str], kept: Collection[DataRef]
) -> dict[str, Any]:
    return {
        "ref": output.ref,
        "lifetime": output.lifetime,
        "maker": maker.name,
        "users": [*users, *["the sink"] * (output.ref in kept)],
        "columns": () if output.schema is None else _columns(output.schema),
    }


def _columns(schema: Schema) -> list[dict[str, str]]:
    return [
        {
            "name": c.name,
            "kind": f"{c.dtype}{list(c.shape) or ''}{' jagged' * c.is_jagged}" + (f" [{c.unit}]" if c.unit else ""),
            "text": c.text,
        }
        for c in schema.columns
    ]
