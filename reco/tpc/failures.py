"""Why a particle that had to be found was not: which tracks took its clusters, and what else they are made of."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from o2dask.columns import Columns
from o2dask.reco.tpc.performance import Outcome

__all__ = ["Failure", "Ownership", "explain", "failed", "kinds_of_failure"]

MIN_PT = 0.2
"""Momentum from which failures are looked into [GeV/c]; below, loopers are a matter of their own."""
MIN_TAKEN = 0.3
"""Share of a particle's clusters on tracks below which it counts as not seen at all."""


class Ownership(NamedTuple):
    """Per cluster (n,) the particle it is of and the track it is on, -1 none; is_shared: of two particles.

    track_mc, purity : per track, the particle it is mostly of, and its share.
    """

    label: np.ndarray
    track: np.ndarray
    is_shared: np.ndarray
    track_mc: np.ndarray
    purity: np.ndarray

    @classmethod
    def of(cls, truth: dict[str, Columns], tracks: Columns, members: Columns, labels: Columns) -> "Ownership":
        """Return who owns the clusters of a timeframe."""
        label = truth["TPC/CLUSTERLABEL"]
        track = np.full(label.n_rows, -1)
        track[members["cluster"]] = np.repeat(np.arange(tracks.n_rows), tracks["n_clusters"])
        return cls(label["mc"], track, label["mc_other"] >= 0, labels["mc"], labels["purity"])


class Failure(NamedTuple):
    """Why a particle has no good track: a `kind` to count, the `reason`, and the `tracks` it is on, most first."""

    kind: str
    reason: str
    tracks: np.ndarray


def failed(outcome: Outcome) -> np.ndarray:
    """Return the findable primaries above `MIN_PT` without a good track."""
    return np.flatnonzero(outcome.is_findable & outcome.is_primary & (outcome.found == 0) & (outcome.pt > MIN_PT))


def explain(truth: dict[str, Columns], owners: Ownership, outcome: Outcome, particle: int) -> Failure:
    """Return why a particle was not found."""
    own = owners.label == particle
    n = int(own.sum())
    taken = owners.track[own & (owners.track >= 0)]
    takers, counts = np.unique(taken, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    takers, counts = takers[order], counts[order]
    shared = f"{100 * owners.is_shared[own].mean():.0f} % of its {n} clusters are merged with a neighbour's"
    if len(taken) < MIN_TAKEN * n:
        return Failure(
            "not seen", f"not seen: {100 * (1 - len(taken) / n):.0f} % of its clusters are free; {shared}", takers
        )
    track = int(takers[0])
    mc, path = int(owners.track_mc[track]), float(truth["MC/PARTICLES"]["path"][particle])
    if outcome.decays[particle]:
        reason = f"decays after {path:.0f} cm: the track goes on with its daughter"
        return Failure("decays in the TPC", f"{reason}; {_parts(truth, owners, track, particle)}", takers)
    if mc == particle:
        return Failure("mixed track", f"mixed: {_parts(truth, owners, track, particle)}; {shared}", takers)
    split = ", ".join(f"{c} on track {t}" for t, c in zip(takers[:3], counts[:3], strict=True))
    return Failure(
        "taken by another track",
        f"taken: of its clusters {split}; {_parts(truth, owners, track, particle)}; {shared}",
        takers,
    )


def _parts(truth: dict[str, Columns], owners: Ownership, track: int, particle: int) -> str:
    """Return what a track is made of, in words."""
    names, counts = np.unique(owners.label[owners.track == track], return_counts=True)
    mothers, parts = truth["MC/PARTICLES"]["mother"], []
    for i in np.argsort(-counts)[:3]:
        name = int(names[i])
        who = "it" if name == particle else "noise" if name < 0 else f"particle {name}"
        if name >= 0 and mothers[name] == particle:
            who = f"its daughter {name}"
        parts.append(f"{100 * counts[i] / counts.sum():.0f} % {who}")
    return f"track {track} is " + " + ".join(parts)


def kinds_of_failure(truth: dict[str, Columns], owners: Ownership, outcome: Outcome) -> dict[str, int]:
    """Return how many of the `failed` there are of each kind, most frequent first."""
    return dict(Counter(explain(truth, owners, outcome, int(p)).kind for p in failed(outcome)).most_common())
