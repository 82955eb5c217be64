"""The page of a run: how it went over time, what took the time, what was lost. Knows reports, no runner."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from o2dask.monitoring.metrics import MetricSummary
from o2dask.runners.report import RunReport
from o2dask.runners.timeline import History
from o2dask.workflow.drawing import style, svg_drawing
from o2dask.workflow.planner import shown_tasks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from o2dask.workflow.topology import Topology

__all__ = ["history_svg", "run_page"]

MIB = 1 << 20
BLUE, ORANGE, GREEN, GREY = "#3b7dd8", "#e07b39", "#3f9d62", "#8a96a3"
SHOWN = 200
"""Most quarantined timeframes in the table; their stories are in files."""


def run_page(
    report: RunReport, title: str, topology: "Topology | None" = None, metrics: Sequence[MetricSummary] = ()
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    report : RunReport
        Of either runner.
    title : str
        What the run is called, such as the name of its workflow.
    topology : Topology, optional
        What was run, to be drawn with the time that each processor took.
    metrics : sequence of MetricSummary
        What processors sent to monitoring.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("o2dask.web", ""), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("run_page.html.j2").render(
        title=title,
        report=report,
        verdict=_verdict(report),
        tiles=_tiles(report),
        plots=history_svg(report) if len(report.history.busy) > 1 else "",
        style=style() if topology is not None else "",
        drawing=svg_drawing(topology, shown_tasks(topology), (), _measured(report)) if topology is not None else "",
        processors=_processors(report),
        metrics=metrics[:SHOWN],
        n_more_metrics=max(0, len(metrics) - SHOWN),
        quarantined=report.quarantined[:SHOWN],
        n_more=max(0, len(report.quarantined) - SHOWN),
    )


def history_svg(report: RunReport) -> str:
    """Return the run over time as an SVG element: timeframes in flight, memory, and how busy the workers were."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    history = report.history
    edges = [i * history.width_s for i in range(len(history.busy))] + [max(report.wall_s, history.width_s)]
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "o2dask", "font.size": 9, "font.family": "sans-serif"}
    with mpl.rc_context(style):
        figure = Figure(figsize=(10, 6.4), layout="constrained")
        counts, memory, busy = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.4, 1))
        counts.stairs(history.in_flight, edges, fill=True, color=BLUE, alpha=0.75)
        counts.set_ylabel("timeframes in flight")
        counts.yaxis.get_major_locator().set_params(integer=True)
        counts.set_ylim(0, max(history.in_flight, default=1) * 1.15 + 0.2)
        _draw_memory(memory, report, history, edges)
        busy.stairs([100 * b for b in history.busy], edges, fill=True, color=GREEN, alpha=0.75)
        busy.axhline(100 * report.busy_fraction, color=GREY, ls="--", lw=1)
        mean = 100 * report.busy_fraction
        anchor = {"transform": busy.get_yaxis_transform(), "ha": "right", "va": "top"}
        busy.text(0.995, mean - 4, f"mean {mean:.1f} %", **anchor)
        busy.set_ylabel("workers busy [%]")
        busy.set_ylim(0, 105)
        busy.set_xlabel("time since the first timeframe [s]")
        busy.set_xlim(0, edges[-1])
        for axes in (counts, memory, busy):
            axes.grid(axis="y", color=GREY, alpha=0.25, lw=0.7)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _draw_memory(axes: "Axes", report: RunReport, history: History, edges: list[float]) -> None:
    base = max(0, report.memory_bytes - report.budget_bytes)
    measured = any(n >= 0 for n in history.measured)
    if measured:
        held = [max(0, n) / MIB for n in history.measured]
        axes.stairs(held, edges, fill=True, color=ORANGE, alpha=0.6, label="held by the workers")
    thought = [(n + base) / MIB for n in history.promised]
    label = "thought to be needed, with what workers need for themselves" if base else "thought to be needed"
    axes.stairs(thought, edges, color=BLUE, lw=1.5, baseline=None, label=label)
    top = max([*thought, *([max(held)] if measured else [])], default=1.0)
    if report.memory_bytes and report.memory_bytes / MIB < 3 * top:
        axes.axhline(report.memory_bytes / MIB, color="#c03535", ls="--", lw=1.2, label="limit")
        top = max(top, report.memory_bytes / MIB)
    axes.set_ylim(0, 1.3 * top)
    axes.set_ylabel("memory [MiB]")
    axes.legend(loc="upper right", ncols=3, frameon=False)


def _verdict(report: RunReport) -> str:
    if report.failure:
        return f"Stopped: {report.failure}"
    if report.interrupted:
        return f"Interrupted: {len(report.abandoned)} timeframes are left; --resume goes on"
    if report.ok:
        return "All timeframes are done." if not report.ended else "A processor has ended the run."
    n = len(report.quarantined)
    return f"{n} timeframe{'s' * (n > 1)} failed and {'were' if n > 1 else 'was'} set aside; the others are done."


def _tiles(report: RunReport) -> list[tuple[str, str, str]]:
    """Return what matters most: number, name and what it is to be compared with."""
    done = len(report.committed)
    tiles = [(f"{done} / {report.n_timeframes}", "timeframes", _before(report))]
    tiles.append((_duration(report.wall_s), "wall time", f"{report.n_workers} workers, {report.backend}"))
    if done and report.wall_s:
        tiles.append((f"{done / report.wall_s:.2f} / s", "timeframes", f"{report.wall_s / done:.3g} s each"))
    tiles.append((f"{report.busy_fraction:.1%}", "workers busy", f"{report.overhead_fraction:.1%} outside processors"))
    tiles.append((str(report.peak_in_flight), "in flight at most", ""))
    if peak := report.history.peak_measured:
        of = f"of {report.memory_bytes / MIB:.0f} MiB" if report.memory_bytes else ""
        tiles.append((f"{peak / MIB:.0f} MiB", "held by workers at most", of))
    return tiles


def _measured(report: RunReport) -> dict[str, tuple[float, str]]:
    """Return share of the time and a line for the drawing, for each processor that ran."""
    return {
        p["name"]: (p["share"], f"{p['per_timeframe_ms']:.3g} ms · {p['share']:.0%}" + " · lost" * bool(p["losses"]))
        for p in _processors(report)
    }


def _before(report: RunReport) -> str:
    return f"{len(report.already_done)} by an earlier run" if report.already_done else ""


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = int(seconds) // 60
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 120 else f"{minutes} min {int(seconds) % 60:02d} s"


def _processors(report: RunReport) -> list[dict[str, Any]]:
    """Return a row for each processor, the slowest first."""
    total = sum(report.seconds.values()) or 1.0
    n = max(1, len(report.committed))
    return [
        {
            "name": name,
            "seconds": seconds,
            "per_timeframe_ms": 1e3 * seconds / n,
            "share": seconds / total,
            "counters": {k.partition(".")[2]: v for k, v in report.counters.items() if k.startswith(f"{name}.")},
            "losses": report.losses.get(name),
        }
        for name, seconds in sorted(
            {**dict.fromkeys(report.losses, 0.0), **report.seconds}.items(), key=lambda item: -item[1]
        )
    ]
