"""The drawing of a topology as SVG: tasks, processors, data, their ways. Colours are `style`'s, places `layout`'s."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files

from o2dask.specs import DataProcessorSpec, DataRef, Lifetime
from o2dask.workflow.layout import Box, Edge, lay_out, subtitle
from o2dask.workflow.planner import PhysicalTask
from o2dask.workflow.topology import Topology

__all__ = ["style", "svg_drawing"]

_LOOSE = (Lifetime.OPTIONAL, Lifetime.SPORADIC, Lifetime.QA, Lifetime.TIMER)
"""Lifetimes of inputs that a timeframe may lack."""


@cache
def style() -> str:
    """Return the style sheet of drawings."""
    return files("o2dask.workflow").joinpath("drawing.css").read_text(encoding="utf-8")


def svg_drawing(
    topology: Topology,
    tasks: Sequence[PhysicalTask],
    kept: Collection[DataRef] = (),
    measured: Mapping[str, tuple[float, str]] | None = None,
) -> str:
    """Return the drawing as an SVG element, for a page that has `style`.

    Parameters
    ----------
    topology, tasks : Topology, sequence of PhysicalTask
        What to draw.
    kept : collection of DataRef
        Data that leave through the sink.
    measured : mapping of str to (float, str), optional
        For each processor its share of the time, 0 to 1, which colours it, and a text in place of its declared cost.
    """
    layout = lay_out(topology, tasks)
    w, h = layout.width, layout.height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" height="{h:.0f}" '
        f'role="img" aria-label="Graph of workflow {escape(topology.name)}">',
        f"<defs>{_marker('head')}{_marker('head-back')}</defs>",
    ]
    titles = []
    for i, (task, box) in enumerate(zip(tasks, layout.tasks, strict=True), 1):
        kind = "beside the graph" if task.is_beside else f"task {i}"
        title = f"{kind}: {task.cost_ms:g} ms" + "".join(f", {k} {v:g}" for k, v in task.resources)
        parts.append(_rect(box, "task apart" if task.is_beside else "task", 8))
        titles.append(_text(box.x + 8, box.y + 15, title, "title"))
    loose = {
        (r.ref, p.name)
        for p in topology.processors
        for i in p.inputs
        for r in topology.routes_to(p.name, i.binding)
        if i.lifetime in _LOOSE
    }
    parts += [_edge(edge, "edge loose" if (edge.ref, edge.consumer) in loose else "edge") for edge in layout.edges]
    parts += titles
    made = {o.ref: (o.lifetime, p.name) for p in topology.processors for o in p.outputs}
    for p in topology.processors:
        parts.append(_processor(p, layout.processors[p.name], (measured or {}).get(p.name)))
    for ref, b in layout.data.items():
        lifetime, maker = made[ref]
        kind = f"pill {lifetime}" + " kept" * (ref in kept)
        text = f"{ref}: {lifetime}" + ", leaves through the sink" * (ref in kept)
        pill = _rect(b, kind, 5) + _text(b.x + b.w / 2, b.y + 12.5, b.name, "datum")
        parts.append(f'<g class="made" data-name="{escape(maker)}"><title>{escape(text)}</title>{pill}</g>')
    parts += [_feedback(edge) for edge in layout.feedback]
    return "".join([*parts, "</svg>"])


def _marker(name: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" '
        'markerUnits="userSpaceOnUse" orient="auto">'
        f'<path class="{name}" d="M0 0 L8 4 L0 8 z"/></marker>'
    )


def _processor(p: DataProcessorSpec, b: Box, measured: tuple[float, str] | None) -> str:
    share, told = measured or (0.0, subtitle(p))
    kind = "box" + " source" * p.is_source + " expendable" * p.expendable
    middle, heat = b.x + b.w / 2, f' style="--heat:{share:.3f}"' * bool(measured)
    return (
        f'<g class="processor" data-name="{escape(p.name)}"{heat}><title>{escape(f"{p.name}: {told}")}</title>'
        + _rect(b, kind, 6)
        + _text(middle, b.y + 17, p.name, "name")
        + _text(middle, b.y + 32, told, "cost")
        + "</g>"
    )


def _rect(box: Box, kind: str, radius: int) -> str:
    x, y, w, h = (f"{v:.1f}" for v in (box.x, box.y, box.w, box.h))
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{w}" height="{h}" rx="{radius}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _edge(edge: Edge, kind: str) -> str:
    (x0, y0), *rest = edge.points
    path = f"M{x0:.1f} {y0:.1f}"
    for x, y in rest:
        if x == x0:
            path += f" L{x:.1f} {y:.1f}"
        else:
            bend = (y - y0) / 2
            path += f" C{x0:.1f} {y0 + bend:.1f} {x:.1f} {y - bend:.1f} {x:.1f} {y:.1f}"
        x0, y0 = x, y
    return _path(edge, path, kind, "head", f"{edge.ref}: {edge.producer} to {edge.consumer}")


def _feedback(edge: Edge) -> str:
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in edge.points)
    told = f"{edge.ref}: {edge.producer} back to {edge.consumer}, for a later timeframe"
    return _path(edge, path, "edge feedback", "head-back", told)


def _path(edge: Edge, path: str, kind: str, head: str, told: str) -> str:
    ends = f'data-from="{escape(edge.producer)}" data-to="{escape(edge.consumer)}"'
    return f'<path class="{kind}" d="{path}" marker-end="url(#{head})" {ends}><title>{escape(told)}</title></path>'
