"""The figures of `quality` as lines of text: tables, and what has a target beside it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from o2dask.reco.tpc.quality import PULLS

__all__ = ["quality_lines", "target_lines"]

DEDX_TARGET, DEDX_CLUSTERS = 0.055, 145
"""Resolution of dE/dx wanted with about 150 clusters."""
PULL_TOLERANCE = 0.05
BYTES_TARGET, SLOWDOWN_TARGET = 150.0, 1.3


def quality_lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield the tables of `quality.evaluate`."""
    yield f"{result['clusters']} clusters, {result['tracks']} tracks"
    if "stages_us" in result:
        stages = "  ".join(f"{k} {v:.3f}" for k, v in result["stages_us"].items())
        yield f"CPU us per cluster: {sum(result['stages_us'].values()):.3f}; {stages}"
    yield f"{'percent of findable particles':>58} {'n':>6} {'eff':>7} {'clone':>6} {'fake':>6}"
    for name, r in result["rates"].items():
        if r["n"]:
            cells = " ".join(f"{100 * r[k]:>6.2f}" for k in ("efficiency", "clones", "fakes"))
            yield f"{name:>58} {r['n']:>6} {cells}"
    yield "fake tracks, percent: " + ", ".join(f"{k} {100 * v:.2f}" for k, v in result["fake tracks"].items())
    kinds = ", ".join(f"{k} {n}" for k, n in result["failures"].items()) or "none"
    yield f"primaries above 0.2 GeV/c that were not found: {kinds}"
    yield from _crossing_lines(result["crossing"])
    yield "clusters, percent:"
    for name, share in result["attachment"].items():
        yield f"{name:>58} {100 * share:>6.2f}"
    yield f"{'of those on tracks, of another particle or noise':>58} {100 * result['wrong clusters']:>6.2f}"
    yield "dE/dx of pions of 0.4-0.6 GeV/c: clusters, tracks, resolution of q_tot and of q_max [%]"
    for r in result["dedx"]:
        if "dedx_tot" in r:
            yield f"{r['from']:>6}-{r['to']:<4} {r['n']:>6} {100 * r['dedx_tot']:>6.2f} {100 * r['dedx_max']:>6.2f}"
    yield f"{'pulls, width (median)':>24} " + " ".join(f"{name:>13}" for name in PULLS)
    for r in result["pulls"]:
        if "width_y" in r:
            cells = "  ".join(f"{r[f'width_{name}']:>5.2f} ({r[f'median_{name}']:>5.2f})" for name in PULLS)
            yield f"{r['from']:>8}-{r['to']:<6} {r['n']:>6} {cells}"


def _crossing_lines(r: dict[str, float]) -> Iterator[str]:
    text = f"across the central electrode: {r['n']} particles"
    if "joined" in r:
        text += f", one track {100 * r['joined']:.1f} %; wrong tracks {r['wrong']:.0f}"
    if "time_width" in r:
        text += f"; their time: {r['time_width']:.0f} ns wide, median {r['time_median']:.0f} ns, "
        text += f"{100 * r['in_time']:.1f} % within bounds"
    yield text


def target_lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield what has a target: the figure, the target, met or missed."""
    yield f"{'':>58} {'ours':>9} {'target':>10}"
    best = [r for r in result["dedx"] if r["from"] >= DEDX_CLUSTERS and "dedx_tot" in r]
    if best:
        yield _line("dE/dx resolution with 145-152 clusters [%]", 100 * best[-1]["dedx_tot"], 100 * DEDX_TARGET, 2)
    overall = result["pulls"][-1]
    if "width_y" in overall:
        for name in PULLS:
            width = overall[f"width_{name}"]
            is_met = round(abs(width - 1), 2) <= PULL_TOLERANCE
            text = f"pull of {name} above 0.2 GeV/c"
            yield f"{text:>58} {width:>9.3f} {'0.95-1.05':>10}  {'met' if is_met else 'MISSED'}"
    full = result.get("full timeframe")
    if full:
        text = f"{full['clusters'] / 1e6:.1f} M clusters in one go: peak bytes per cluster"
        yield _line(text, full["peak_bytes_per_cluster"], BYTES_TARGET, 0)
        text = f"time per cluster over that of {full['small_clusters'] / 1e6:.1f} M clusters"
        yield _line(text, full["slowdown"], SLOWDOWN_TARGET, 2)


def _line(text: str, ours: float, target: float, digits: int) -> str:
    is_met = bool(np.round(ours, digits) <= target)
    return f"{text:>58} {ours:>9.{digits}f} {'<= ' + format(target, '.4g'):>10}  {'met' if is_met else 'MISSED'}"
