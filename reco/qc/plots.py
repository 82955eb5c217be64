"""Pictures of performance and of a timeframe; matplotlib with mplhep's ALICE style, no physics."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from o2dask.reco.qc.performance import PT_EDGES, PULL_NAMES, Performance

__all__ = ["plot_performance", "plot_timeframe", "pull_widths"]

DRIFT_US = 100.0
"""A little more than the full drift of the TPC [us]: a window that shows one collision."""
_CENTRES = np.sqrt(PT_EDGES[:-1] * PT_EDGES[1:])
_SPANS = np.array([_CENTRES - PT_EDGES[:-1], PT_EDGES[1:] - _CENTRES])
"""Points of a plot against pT, and how far their bins reach to the left and right [GeV/c]."""
CLUSTERS_SHOWN = 200_000
"""Points of a picture; more only make it slower to draw."""


@contextmanager
def _style() -> Iterator[None]:
    """Style of the pictures, within: what others draw in this process is left alone."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import mplhep

    sizes: dict[str, Any] = dict.fromkeys(("font.size", "axes.labelsize", "xtick.labelsize", "ytick.labelsize"), 13)
    page = {"figure.dpi": 110, "savefig.bbox": "tight", "font.family": "DejaVu Sans", "axes.labelpad": 4.0}
    with plt.style.context([mplhep.style.ALICE, sizes | page]):
        yield


def pull_widths(performance: Performance, pt_min: float = 0.3) -> dict[str, tuple[float, float]]:
    """Return mean and width of a Gaussian fitted to the pulls of each parameter above `pt_min` [GeV/c]."""
    h = performance.histograms["pulls"]
    first = h.axes["pt"].index(pt_min * 1.0001)
    centres = h.axes["pull"].centers
    return {name: _gaussian(centres, _pulls_above(h, name, first)) for name in PULL_NAMES}


def _pulls_above(h: Any, name: str, first: int) -> np.ndarray:
    return np.asarray(h[name, first:, :].project("pull").values())


def _gaussian(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return mean and width of the core of a histogram: a Gaussian within two and a half standard deviations."""
    if y.sum() < 20:
        return float("nan"), float("nan")
    mean = float(np.average(x, weights=y))
    width = float(np.sqrt(np.average((x - mean) ** 2, weights=y)))
    for _ in range(4):
        use = np.abs(x - mean) < 2.5 * max(width, 2 * (x[1] - x[0]))
        try:
            (_, mean, width), _ = curve_fit(
                _bell, x[use], y[use], p0=(y.max(), mean, width), sigma=np.sqrt(np.maximum(y[use], 1)), maxfev=2000
            )
        except (RuntimeError, TypeError):  # no convergence, or too few bins: the moments stand
            break
        mean, width = float(mean), abs(float(width))
    return mean, width


def _half_width(edges: np.ndarray, counts: np.ndarray) -> float:
    """Return half the width of the central 68.3 % of a histogram, NaN with fewer than 20 entries."""
    if counts.sum() < 20:
        return float("nan")
    share = np.append(0, np.cumsum(counts)) / counts.sum()
    low, high = np.interp([0.15865, 0.84135], share, edges)
    return float(high - low) / 2


def _bell(x: np.ndarray, height: float, mean: float, width: float) -> np.ndarray:
    return height * np.exp(-0.5 * ((x - mean) / width) ** 2)


def _figure(size: tuple[float, float] = (7.0, 5.2)) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")


def _panels(heights: tuple[float, float]) -> tuple[Any, Any]:
    """Return a figure of two panels with a common axis."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 1, figsize=(7.0, 5.8), layout="constrained", sharex=True, height_ratios=heights)
    figure.align_ylabels(panels)
    return figure, panels


def _save(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure.savefig(path)
    plt.close(figure)
    return path


@_style()
def plot_performance(performance: Performance, folder: Path) -> dict[str, Path]:
    """Write the performance plots as PNG files into `folder`; return their paths by name."""
    return {
        "efficiency": _plot_efficiency(performance, folder / "efficiency.png"),
        "resolution": _plot_resolution(performance, folder / "resolution.png"),
        "pulls": _plot_pulls(performance, folder / "pulls.png"),
        "spectrum": _plot_spectrum(performance, folder / "spectrum.png"),
    }


def _plot_efficiency(performance: Performance, path: Path) -> Path:
    """Draw efficiency above fakes, each on the scale on which it can be read: one is near 1, the other near 0."""
    from hist.intervals import ratio_uncertainty

    h = performance.histograms
    figure, panels = _panels((1.4, 1))
    for axes, above, below, label, colour in (
        (panels[0], "found", "findable", "efficiency", "tab:blue"),
        (panels[1], "fakes", "tracks", "fake tracks", "tab:orange"),
    ):
        passed, total = h[above].values(), h[below].values()
        use = total > 0
        value = passed[use] / total[use]
        error = ratio_uncertainty(passed[use], total[use], "efficiency")
        axes.errorbar(_CENTRES[use], value, yerr=error, xerr=_SPANS[:, use], fmt="o", ms=5, color=colour)
        axes.set_ylabel(label)
        if above == "found":
            axes.axhline(1, color="grey", lw=0.8)
            axes.set_ylim(min(0.9, 0.95 * value.min(initial=1.0)), 1.015)
        else:
            axes.set_ylim(0, max(0.05, 1.1 * (value + error[1]).max(initial=0.0)))
    panels[0].set_title("primaries with at least 70 clusters, $|\\eta| < 0.9$", fontsize=12)
    panels[1].set(xscale="log", xlabel="$p_{T}$ [GeV/c]")
    return _save(figure, path)


def _plot_resolution(performance: Performance, path: Path) -> Path:
    h: Any = performance.histograms["resolution"]
    width = np.array([_half_width(h.axes["dpt"].edges, h[i, :].values()) for i in range(len(_CENTRES))])
    figure, axes = _figure()
    use = np.isfinite(width)
    axes.errorbar(_CENTRES[use], 100 * width[use], xerr=_SPANS[:, use], fmt="o", ms=5)
    axes.set(xscale="log", ylim=(0, None), xlabel="$p_{T}$ [GeV/c]", ylabel=r"$\sigma(p_{T}) / p_{T}$ [%]")
    axes.set_title("TPC alone, at its inner end; half width of the central 68 %", fontsize=12)
    return _save(figure, path)


def _plot_pulls(performance: Performance, path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(1, 5, figsize=(16, 3.6), layout="constrained", sharey=True)
    h = performance.histograms["pulls"]
    first = h.axes["pt"].index(0.3001)
    widths = pull_widths(performance)
    x = h.axes["pull"].centers
    for axes, name in zip(grid, PULL_NAMES, strict=True):
        y = _pulls_above(h, name, first)
        mean, width = widths[name]
        axes.stairs(y / max(y.sum(), 1), h.axes["pull"].edges, label="tracks")
        unit = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
        axes.plot(x, unit, lw=1, label="unit Gaussian")
        axes.set(xlim=(-5, 5), xticks=(-4, -2, 0, 2, 4), xlabel=f"pull of {name}")
        axes.set_title(f"mean {mean:+.2f}, width {width:.2f}", fontsize=11)
    grid[0].set_ylabel("share, $p_{T} > 0.3$ GeV/c")
    grid[0].set_ylim(0, 1.35 * grid[0].get_ylim()[1])
    grid[0].legend(fontsize=10, loc="upper left")
    return _save(figure, path)


def _plot_spectrum(performance: Performance, path: Path) -> Path:
    h = performance.histograms
    figure, (axes, ratio) = _panels((2.2, 1))
    n = max(performance.n_collisions, 1)
    made, true = h["spectrum"].values(), h["truth"].values()
    for counts, label in ((true, "truth, charged primaries"), (made, "tracks in a collision, secondaries included")):
        density, error = (values / np.diff(PT_EDGES) / n for values in (counts, np.sqrt(counts)))
        axes.stairs(density, PT_EDGES, label=label, lw=1.6)
        axes.errorbar(_CENTRES, density, error, fmt="none", ecolor="grey")
    axes.set(yscale="log", ylabel=r"$dN/dp_{T}$ per collision [c/GeV]")
    axes.legend(fontsize=11, title=r"$|\eta| < 0.9$", loc="lower left")
    use = (true > 0) & (made > 0)
    value = made[use] / true[use]
    error = value * np.sqrt(1 / made[use] + 1 / true[use])  # an upper bound: most particles are in both
    ratio.axhline(1, color="grey", lw=0.8)
    ratio.errorbar(_CENTRES[use], value, error, xerr=_SPANS[:, use], fmt="o", ms=5, color="tab:orange")
    ratio.set(xscale="log", xlabel="$p_{T}$ [GeV/c]", ylabel="tracks / truth", ylim=(0.5, 2.0))
    return _save(figure, path)


@_style()
def plot_timeframe(clusters: Mapping[str, np.ndarray], on_track: Mapping[str, Any], path: Path) -> Path:
    """Write a picture of a timeframe: one collision seen along the beam, and the whole timeframe over time.

    Parameters
    ----------
    clusters : mapping
        `x`, `y` [cm, global] and `time` [us since the start of the timeframe] per cluster, each (n,).
    on_track : mapping
        `cluster` (m,) rows of clusters that are on a track, `track` (m,) which one.
    path : Path
        The PNG file.
    """
    import matplotlib.pyplot as plt

    figure, (front, side) = plt.subplots(1, 2, figsize=(17, 8), width_ratios=(1, 1.1), layout="constrained")
    colour = (on_track["track"] * 7919) % 20
    start, stop = _quiet_window(clusters["time"][on_track["cluster"]], on_track["track"])
    seen = (clusters["time"] >= start) & (clusters["time"] < stop)
    taken = seen[on_track["cluster"]]
    rows = on_track["cluster"][taken]
    front.scatter(clusters["x"][seen], clusters["y"][seen], s=1.5, c="0.8", lw=0, rasterized=True)
    front.scatter(clusters["x"][rows], clusters["y"][rows], s=2.5, c=colour[taken], cmap="tab20", lw=0, rasterized=True)
    n_tracks = len(np.unique(on_track["track"][taken]))
    front.set(xlabel="x [cm]", ylabel="y [cm]", aspect="equal")
    front.set_title(f"{start:.0f} to {stop:.0f} us: {n_tracks} tracks, coloured; grey: on no track", fontsize=12)

    step = max(len(clusters["x"]) // CLUSTERS_SHOWN, 1)
    few, rows = slice(None, None, step), on_track["cluster"][::step]
    side.scatter(clusters["time"][few], clusters["y"][few], s=0.3, c="0.75", lw=0, rasterized=True)
    side.scatter(
        clusters["time"][rows], clusters["y"][rows], s=0.3, c=colour[::step], cmap="tab20", lw=0, rasterized=True
    )
    side.axvspan(start, stop, color="tab:red", alpha=0.15)
    side.set(xlabel="time in the timeframe [us]", ylabel="y [cm]")
    shown = f", one of {step} shown" if step > 1 else ""
    side.set_title(f"the whole timeframe: {len(clusters['x']):,} clusters{shown}", fontsize=12)
    return _save(figure, path)


def _quiet_window(time: np.ndarray, track: np.ndarray) -> tuple[float, float]:
    """Return the drift-time window [us] with about a hundred whole tracks, which makes the clearest picture."""
    if not len(time):
        return 0.0, DRIFT_US
    starts = np.flatnonzero(np.append(True, np.diff(track) != 0))
    first, last = np.minimum.reduceat(time, starts), np.maximum.reduceat(time, starts)
    edges = np.arange(0, time.max(), DRIFT_US / 16)
    whole = [np.count_nonzero((first >= low) & (last < low + DRIFT_US)) for low in edges]
    best = int(np.argmin(np.abs(np.log((np.array(whole) + 1) / 100))))
    return float(edges[best]), float(edges[best] + DRIFT_US)
