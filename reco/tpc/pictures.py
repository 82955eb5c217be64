"""Pictures of particles that were missed or became fake tracks: where their clusters went, and why."""

from pathlib import Path
from typing import Any

import numpy as np

from o2dask.columns import Columns
from o2dask.reco.geometry.tpc import pad_rows, sector_alpha
from o2dask.reco.tpc.failures import Ownership, explain, failed
from o2dask.reco.tpc.performance import judge
from o2dask.reco.tpc.reconstruct import cluster_positions

__all__ = ["draw_failures"]

SHOWN = 6
"""Particles in one picture."""
NEAR_CM = 3.0
"""How close in drift a stranger's cluster must be to be drawn."""


class _Points:
    """Clusters in the plane, in their rows, and along the drift."""

    def __init__(self, clusters: Columns) -> None:
        self.y, self.z, _ = cluster_positions(clusters)
        self.row = clusters["pad_row"].astype(int)
        self.sector = clusters["sector"].astype(int)
        x, alpha = pad_rows().x[self.row], sector_alpha(self.sector)
        self.gx, self.gy = x * np.cos(alpha) - self.y * np.sin(alpha), x * np.sin(alpha) + self.y * np.cos(alpha)

    def near(self, own: np.ndarray) -> np.ndarray:
        """Return the clusters of others close in drift to those of a particle, in the sectors that it crosses."""
        order = np.argsort(self.row[own])
        line = np.interp(self.row, self.row[own][order], self.z[own][order])
        return ~own & np.isin(self.sector, np.unique(self.sector[own])) & (np.abs(self.z - line) < NEAR_CM)


def draw_failures(path: Path, truth: dict[str, Columns], tracks: Columns, members: Columns, labels: Columns) -> int:
    """Write a PNG of findable primaries without a good track; return how many of them it shows.

    A line per particle: in the transverse plane, y and drift against pad row. Its clusters have the colour of the track
    that they are on, black those on none; rings are other clusters of these tracks, grey dots those of others nearby.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    outcome, owners = judge(truth, labels), Ownership.of(truth, tracks, members, labels)
    points, chosen = _Points(truth["TPC/CLUSTERNATIVE"]), failed(outcome)
    # what decays within the TPC has a kink that explains it: last
    chosen = chosen[np.lexsort((-outcome.pt[chosen], outcome.decays[chosen]))][:SHOWN]
    figure, axes = plt.subplots(max(len(chosen), 1), 3, figsize=(18, 4.6 * max(len(chosen), 1)), squeeze=False)
    for particle, line in zip(chosen, axes, strict=False):
        failure = explain(truth, owners, outcome, int(particle))
        _draw_clusters(line, points, owners, int(particle), failure.tracks[:4])
        line[0].set_title(_title(truth, outcome, int(particle)), fontsize=10, loc="left")
        line[1].set_title(failure.reason, fontsize=10, loc="left")
    if not len(chosen):
        axes[0, 0].set_title("every findable primary above 0.2 GeV/c has a good track")
    figure.tight_layout()
    figure.savefig(path, dpi=75)
    plt.close(figure)
    return len(chosen)


def _title(truth: dict[str, Columns], outcome: Any, particle: int) -> str:
    pdg = truth["MC/PARTICLES"]["pdg"][particle]
    return (
        f"particle {particle}: pdg {pdg}, pt {outcome.pt[particle]:.2f} GeV/c, eta {outcome.eta[particle]:.2f}, "
        f"{outcome.rows[particle]} rows"
    )


def _draw_clusters(axes: Any, points: _Points, owners: Ownership, particle: int, takers: np.ndarray) -> None:
    own = owners.label == particle
    close = points.near(own)
    views = ((points.gx, points.gy), (points.row, points.y), (points.row, points.z))
    for axis, (h, v) in zip(axes, views, strict=True):
        axis.scatter(h[close], v[close], s=2, c="0.8", label=f"others within {NEAR_CM:.0f} cm in drift")
        free = own & ~np.isin(owners.track, takers)
        axis.scatter(h[free], v[free], s=16, c="k", label=f"its clusters on no track: {free.sum()}")
        for i, taker in enumerate(takers):
            at = own & (owners.track == taker)
            rest = ~own & (owners.track == taker)
            text = f"its clusters on track {taker}: {at.sum()} ({100 * owners.purity[taker]:.0f} % pure)"
            axis.scatter(h[at], v[at], s=16, color=f"C{i}", label=text)
            axis.scatter(
                h[rest], v[rest], s=30, facecolors="none", edgecolors=f"C{i}", lw=0.7, label="rest of that track"
            )
    axes[0].set(xlabel="x [cm]", ylabel="y [cm]", aspect="equal")
    axes[1].set(xlabel="pad row", ylabel="y in the sector [cm]")
    axes[2].set(xlabel="pad row", ylabel="z + drift of the collision's time [cm]")
    axes[0].legend(fontsize=7)
