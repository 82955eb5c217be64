"""The live view of a run as a piece of HTML for notebooks. Knows states and histograms, no client."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from o2dask.monitoring.histograms import Histogram

__all__ = ["live_table"]

COLOURS = {"RUNNING": "#3f9d62", "PAUSED": "#e0a339", "DRAINING": "#3b7dd8", "LOST": "#c0392b"}
WIDTH, HEIGHT = 260, 36
TOLD = ("lost", "dropped_full", "incomplete_dropped", "incomplete_passed", "redelivered", "expired")
"""Counts of a queue that are shown if there are any: what a shifter should know."""
SHOWN_STATES, SHOWN_HISTOGRAMS = 120, 8
"""Most points of the curve, and most histograms, that are drawn; the rest is counted."""


def live_table(
    *,
    address: str,
    status: str,
    rate: float,
    history: Sequence[Mapping[str, Any]],
    histograms: Sequence[Histogram],
) -> str:
    """Return a table of how the run stands, with the rate over time and small pictures of its histograms.

    Parameters
    ----------
    address, status : str
        Of the scheduler; in a word.
    rate : float
        Timeframes per second now.
    history : sequence of mapping
        States as announced, oldest first.
    histograms : sequence of Histogram
        As they stand.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("o2dask.web", ""), autoescape=True, undefined=StrictUndefined)
    state = history[-1] if history else {}
    return environment.get_template("live_table.html.j2").render(
        address=address,
        status=status,
        colour=COLOURS.get(status, "#8a96a3"),
        workflow=state.get("workflow", ""),
        rows=_rows(state, rate) if state else [],
        queues=_queues(state),
        curve=_polyline(_rates(history[-SHOWN_STATES:])),
        pictures=[(one.key, f"{int(one.counts.sum()):,}", _bars(one)) for one in histograms[:SHOWN_HISTOGRAMS]],
        n_more=max(0, len(histograms) - SHOWN_HISTOGRAMS),
        width=WIDTH,
        height=HEIGHT,
    )


def _rows(state: Mapping[str, Any], rate: float) -> list[tuple[str, str]]:
    rows = [
        ("committed", f"{state.get('committed', 0):,}"),
        ("rate", f"{rate:.1f} TF/s"),
        ("in flight", _in_flight(state)),
        ("workers", f"{state.get('n_workers', 0)}, {100 * state.get('busy_fraction', 0.0):.0f} % busy"),
    ]
    if state.get("lag_s"):
        rows.append(("oldest uncommitted", f"{state['lag_s']:.1f} s"))
    names = ("quarantined", "dropped", "incomplete", "redelivered")
    return rows + [(name, f"{state[name]:,}") for name in names if state.get(name)]


def _in_flight(state: Mapping[str, Any]) -> str:
    """Return how many timeframes are in flight, and how many of the places in the window they take in groups."""
    n, places, window = state.get("in_flight", 0), state.get("places"), state.get("window", 0)
    return f"{n:,} of {window}" if places in (None, n) else f"{n:,}, in {places} of {window} places"


def _queues(state: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each queue with how much is in it, and what it has counted."""
    found = []
    for name, status in dict(state.get("queues", {})).items():
        parts = [f"{status.get('ready', 0):,} ready", f"{status.get('leased', 0):,} leased"]
        if status.get("max_timeframes"):
            parts.append(f"{status.get('timeframes', 0):,} of {status['max_timeframes']:,} timeframes in its room")
        if status.get("max_bytes"):
            parts.append(f"{status.get('bytes', 0) / 1e6:,.0f} of {status['max_bytes'] / 1e6:,.0f} MB")
        counts = {**dict(status.get("counts", {}))}
        parts += [f"{counts[key]:,} {key.replace('_', ' ')}" for key in TOLD if counts.get(key)]
        found.append((name.rpartition("/")[2], ", ".join(parts)))
    return found


def _rates(history: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return timeframes per second between each two states."""
    pairs = pairwise(history)
    return [
        max(0.0, (b.get("committed", 0) - a.get("committed", 0)) / (b["at"] - a["at"]))
        for a, b in pairs
        if b["at"] > a["at"]
    ]


def _polyline(values: Sequence[float]) -> str:
    """Return the points of a curve in a box of WIDTH x HEIGHT."""
    if len(values) < 2:
        return ""
    top = max(values) or 1.0
    step = WIDTH / (len(values) - 1)
    return " ".join(f"{i * step:.1f},{HEIGHT - 2 - (HEIGHT - 4) * v / top:.1f}" for i, v in enumerate(values))


def _bars(histogram: Histogram) -> str:
    """Return the path of a histogram's outline, its first axis, without under- and overflow, in WIDTH x HEIGHT."""
    counts = histogram.counts.sum(axis=tuple(range(1, histogram.counts.ndim)))[1:-1]
    n = len(counts)
    top = float(counts.max()) if n and counts.max() > 0 else 1.0
    path = f"M0,{HEIGHT}"
    for i in range(n):
        y = HEIGHT - (HEIGHT - 2) * max(0.0, float(counts[i])) / top
        path += f" V{y:.1f} H{WIDTH * (i + 1) / n:.1f}"
    return f"{path} V{HEIGHT} Z"
