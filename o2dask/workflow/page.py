"""The page of a workflow: a drawing and its tables in one HTML file that needs nothing else. Knows no runner."""

from collections.abc import Sequence
from html import escape

from o2dask.columns import Column
from o2dask.workflow.layout import Box, Edge, lay_out
from o2dask.workflow.planner import PhysicalTask
from o2dask.workflow.topology import Topology

__all__ = ["html_page", "svg_drawing"]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --paper: #fbfcfd; --soft: #5f6f80; --line: #7d94ab; --box: #fff;
  --task: #eaf1f8; --edge-of-task: #c4d4e4; --pill: #dceadf; --hot: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ee; --paper: #14191f; --soft: #9aa9b8; --line: #6f879f;
  --box: #1f2831; --task: #19222c; --edge-of-task: #34465a; --pill: #274233; --hot: #fb923c; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 1240px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p.about { color: var(--soft); margin-top: .2rem; }
.drawing { overflow-x: auto; } svg { display: block; margin: 0 auto; height: auto; }
svg text { fill: var(--ink); font-family: system-ui, sans-serif; font-size: 13px; }
svg .task { fill: var(--task); stroke: var(--edge-of-task); }
svg .title, svg .cost { fill: var(--soft); font-size: 11px; }
svg .box { fill: var(--box); stroke: var(--line); }
svg .title { paint-order: stroke; stroke: var(--task); stroke-width: 5; }
svg .name, svg .cost, svg .datum { text-anchor: middle; }
svg .source { stroke-width: 2.5; }
svg .pill { fill: var(--pill); } svg .datum { font: 11px ui-monospace, monospace; }
svg .edge { fill: none; stroke: var(--line); stroke-width: 1.4; }
svg .edge:hover { stroke: var(--hot); stroke-width: 3; }
svg .head { fill: var(--line); }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0;
  border-bottom: 1px solid var(--edge-of-task); } th { font-weight: 600; color: var(--soft); font-size: .85rem; }
code { font: .85em ui-monospace, monospace; } td.number { text-align: right; }
"""


def html_page(topology: Topology, tasks: Sequence[PhysicalTask]) -> str:
    """Return the whole page: drawing, processors with options, data with schemas."""
    name = escape(topology.name)
    about = (
        f"{len(topology.processors)} processors in {len(tasks)} tasks per timeframe; "
        f"configuration <code>{topology.fingerprint}</code>"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Workflow {name}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style></head><body>\n'
        f'<h1>Workflow {name}</h1><p class="about">{about}</p>\n'
        f'<div class="drawing">{svg_drawing(topology, tasks)}</div>\n'
        f"<h2>Processors</h2>{_processors(topology, tasks)}\n<h2>Data</h2>{_data(topology)}\n</body></html>\n"
    )


def svg_drawing(topology: Topology, tasks: Sequence[PhysicalTask]) -> str:
    """Return the drawing as an SVG element; its colours come from the style of the page."""
    layout = lay_out(topology, tasks)
    w, h = layout.width, layout.height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" height="{h:.0f}" '
        f'role="img" aria-label="Graph of workflow {escape(topology.name)}">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
    ]
    titles = []
    for i, (task, box) in enumerate(zip(tasks, layout.tasks, strict=True), 1):
        title = f"task {i}: {task.cost_ms:g} ms" + "".join(f", {k} {v:g}" for k, v in task.resources)
        parts.append(_rect(box, "task", 8))
        titles.append(_text(box.x + 8, box.y + 15, title, "title"))
    parts += [_edge(edge) for edge in layout.edges] + titles
    for p in topology.processors:
        b = layout.processors[p.name]
        middle = b.x + b.w / 2
        chosen = " ".join(f"{k}={v}" for k, v in topology.options[p.name].items()) or "no options"
        parts.append(
            f"<g><title>{escape(f'{p.name}: {chosen}')}</title>"
            + _rect(b, "box source" if p.is_source else "box", 6)
            + _text(middle, b.y + 17, p.name, "name")
            + _text(middle, b.y + 32, f"{p.cost_ms:g} ms", "cost")
            + "</g>"
        )
    for b in layout.data.values():
        parts.append(_rect(b, "pill", 5) + _text(b.x + b.w / 2, b.y + 12.5, b.name, "datum"))
    return "".join([*parts, "</svg>"])


def _rect(box: Box, kind: str, radius: int) -> str:
    x, y, w, h = (f"{v:.1f}" for v in (box.x, box.y, box.w, box.h))
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{w}" height="{h}" rx="{radius}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _edge(edge: Edge) -> str:
    (x0, y0), *rest = edge.points
    path = f"M{x0:.1f} {y0:.1f}"
    for x, y in rest:
        if x == x0:
            path += f" L{x:.1f} {y:.1f}"
        else:
            bend = (y - y0) / 2
            path += f" C{x0:.1f} {y0 + bend:.1f} {x:.1f} {y - bend:.1f} {x:.1f} {y:.1f}"
        x0, y0 = x, y
    text = escape(f"{edge.ref}: {edge.producer} to {edge.consumer}")
    return f'<path class="edge" d="{path}" marker-end="url(#head)"><title>{text}</title></path>'


def _processors(topology: Topology, tasks: Sequence[PhysicalTask]) -> str:
    task_of = {name: i for i, task in enumerate(tasks, 1) for name in task.processors}
    rows = []
    for p in topology.processors:
        options = "<br>".join(
            f"<code>{o.name}={escape(str(topology.options[p.name][o.name]))}</code> {escape(o.help)}" for o in p.options
        )
        ins = "<br>".join(f"<code>{escape(str(i))}</code>" for i in p.inputs) or "the timeframe"
        outs = "<br>".join(f"<code>{escape(str(o.ref))}</code>" for o in p.outputs)
        rows.append([f"<code>{p.name}</code>", str(task_of[p.name]), f"{p.cost_ms:g}", ins, outs, options])
    return _table(["processor", "task", "ms", "needs", "makes", "options"], rows)


def _data(topology: Topology) -> str:
    rows = []
    for output in topology.outputs():
        maker = next(p.name for p in topology.processors if output in p.outputs)
        users = dict.fromkeys(r.consumer for r in topology.routes if r.ref == output.ref)
        columns = [] if output.schema is None else output.schema.columns
        described = ", ".join(_column(c) for c in columns)
        rows.append([f"<code>{output.ref}</code>", maker, ", ".join(users) or "leaves the workflow", described])
    return _table(["datum", "made by", "used by", "columns"], rows)


def _column(column: Column) -> str:
    unit = f" [{column.unit}]" if column.unit else ""
    text = escape(column.text, quote=True)
    return f'<span title="{text}">{column.name} <small>{column.dtype}{escape(unit)}</small></span>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{h}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
