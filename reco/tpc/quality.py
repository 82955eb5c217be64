"""How good the tracks of a simulated timeframe are: every figure, by pt, eta, occupancy and kind of particle.

Knows columns of truth, clusters and tracks; prints and draws nothing (`quality_report`, `pictures`).
"""

from itertools import pairwise
from typing import Any

import numpy as np

from o2dask.columns import Columns
from o2dask.reco.geometry.tpc import CM_PER_TIME_BIN, DRIFT_LENGTH_CM, TIME_BIN_BC
from o2dask.reco.tpc.failures import Ownership, kinds_of_failure
from o2dask.reco.tpc.performance import Outcome, attachment, judge, pulls_at_reference
from o2dask.reco.tpc.schema import TIME_SCALE
from o2dask.timeframe import BC_NS

__all__ = ["PULLS", "crossing_figures", "dedx_figures", "evaluate", "pull_figures", "rates"]

PT_EDGES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 20.0)
ETA_EDGES = (0.0, 0.3, 0.6, 0.9, 1.2)
DEDX_EDGES = (60, 80, 100, 120, 140, 145, 153)
PULLS = ("y", "z", "snp", "tgl", "q2pt")
MIN_CROSSING_ROWS = 20
"""Clusters on each side of the central electrode of a particle that counts as crossing: as many as a track needs."""
_68 = (15.865, 50.0, 84.135)


def rates(outcome: Outcome, selected: np.ndarray, fakes: np.ndarray) -> dict[str, float]:
    """Return efficiency, clones and fakes per findable particle of a selection (n,) bool; fakes: (n,) per particle."""
    chosen = outcome.is_findable & selected
    n = int(chosen.sum())
    if not n:
        return {"n": 0}
    found = outcome.found[chosen]
    return {
        "n": n,
        "efficiency": float((found > 0).mean()),
        "clones": float(np.maximum(found - 1, 0).sum() / n),
        "fakes": float(fakes[chosen].sum() / n),
    }


def occupancy(truth: dict[str, Columns]) -> np.ndarray:
    """Return per particle the clusters within one drift time after its collision: what it overlaps with."""
    times = np.sort(truth["TPC/CLUSTERNATIVE"]["time"]) / TIME_SCALE
    start = truth["MC/COLLISIONS"]["bc"] / TIME_BIN_BC
    drift = DRIFT_LENGTH_CM / CM_PER_TIME_BIN
    n = np.searchsorted(times, start + drift) - np.searchsorted(times, start)
    return np.asarray(n[truth["MC/PARTICLES"]["collision"]])


def rate_figures(truth: dict[str, Columns], outcome: Outcome, fakes: np.ndarray) -> dict[str, dict[str, float]]:
    """Return `rates` by kind of particle and pt, eta, occupancy."""
    out = {}
    inside = np.abs(outcome.eta) < 0.9
    kinds = {"primaries": outcome.is_primary & inside, "weak decays": outcome.is_weak & inside}
    for kind, chosen in kinds.items():
        for lo, hi in pairwise(PT_EDGES):
            out[f"{kind}, pt {lo}-{hi}"] = rates(outcome, chosen & (outcome.pt >= lo) & (outcome.pt < hi), fakes)
        hard = chosen & (outcome.pt > 0.5)
        out[f"{kind}, pt > 0.5"] = rates(outcome, hard, fakes)
        out[f"{kind}, pt > 0.5, no decay in the TPC"] = rates(outcome, hard & ~outcome.decays, fakes)
    out["all particles, pt < 0.1 (loopers)"] = rates(outcome, (outcome.pt < 0.1) & inside, fakes)
    out["all particles, pt < 0.2 (loopers)"] = rates(outcome, (outcome.pt < 0.2) & inside, fakes)
    soft = outcome.is_primary & (outcome.pt > 0.2)
    for lo, hi in pairwise(ETA_EDGES):
        at = soft & (np.abs(outcome.eta) >= lo) & (np.abs(outcome.eta) < hi)
        out[f"primaries, pt > 0.2, |eta| {lo}-{hi}"] = rates(outcome, at, fakes)
    crowd = occupancy(truth)
    chosen = soft & inside & outcome.is_findable
    edges = np.quantile(crowd[chosen], (0, 0.25, 0.5, 0.75, 1.0)) if chosen.any() else np.zeros(5)
    for i, (a, b) in enumerate(pairwise(edges)):
        at = chosen & (crowd >= a) & ((crowd < b) if i < 3 else (crowd <= b))
        name = f"primaries, pt > 0.2, {a / 1e6:.2f}-{b / 1e6:.2f} M clusters in the TPC"
        out[name] = rates(outcome, at, fakes)
    return out


def dedx_figures(truth: dict[str, Columns], tracks: Columns, outcome: Outcome) -> list[dict[str, float]]:
    """Return the resolution of dE/dx of pions of 0.4 to 0.6 GeV/c for each number of clusters."""
    p = np.sqrt(1 + tracks["tgl"] ** 2) / np.abs(tracks["q2pt"])
    is_pion = np.abs(truth["MC/PARTICLES"]["pdg"][np.maximum(outcome.mc, 0)]) == 211
    chosen = outcome.good & is_pion & (p > 0.4) & (p < 0.6)
    out = []
    for lo, hi in pairwise(DEDX_EDGES):
        at = chosen & (tracks["n_clusters"] >= lo) & (tracks["n_clusters"] < hi)
        row: dict[str, float] = {"from": lo, "to": hi - 1, "n": int(at.sum())}
        if row["n"] >= 20:
            for name in ("dedx_tot", "dedx_max"):
                low, middle, high = np.percentile(tracks[name][at], _68)
                row[name] = float((high - low) / 2 / middle)
        out.append(row)
    return out


def pull_figures(truth: dict[str, Columns], tracks: Columns, outcome: Outcome) -> list[dict[str, float]]:
    """Return widths (68 %) and medians of pulls of found primaries in bins of pt, the last above 0.2 GeV/c."""
    pick = np.flatnonzero(outcome.good & (tracks["n_clusters"] >= 70))
    pick = pick[outcome.is_primary[outcome.mc[pick]] & outcome.is_findable[outcome.mc[pick]]]
    pulls, pt = pulls_at_reference(truth, tracks, pick, outcome.mc[pick]), outcome.pt[outcome.mc[pick]]
    out = []
    for lo, hi in (*pairwise(PT_EDGES), (0.2, 20.0)):
        inside = pulls[(pt >= lo) & (pt < hi) & np.isfinite(pulls).all(axis=1)]
        row: dict[str, float] = {"from": lo, "to": hi, "n": len(inside)}
        if len(inside) >= 30:
            low, middle, high = np.percentile(inside, _68, axis=0)
            row |= {f"width_{n}": float(v) for n, v in zip(PULLS, (high - low) / 2, strict=True)}
            row |= {f"median_{n}": float(v) for n, v in zip(PULLS, middle, strict=True)}
        out.append(row)
    return out


def crossing_figures(truth: dict[str, Columns], tracks: Columns, outcome: Outcome) -> dict[str, float]:
    """Return how many particles cross the central electrode, how many of these are one track, and its time.

    A particle crosses with at least `MIN_CROSSING_ROWS` clusters on either side. joined: share with a good track of
    both sides. time_width, time_median: of time0 of the joined ones against the collision's time [ns], 68 %.
    in_time: share of them within the track's own bounds. wrong: tracks of both sides that are not good, per joined one.
    """
    label, sector = truth["TPC/CLUSTERLABEL"]["mc"], truth["TPC/CLUSTERNATIVE"]["sector"]
    n = len(outcome.pt)
    counts = [np.bincount(label[(label >= 0) & side], minlength=n) for side in (sector < 18, sector >= 18)]
    # loopers reach the other side in their later turns and are compared leg by leg, not joined here
    crossing = (np.minimum(*counts) >= MIN_CROSSING_ROWS) & (outcome.pt > 0.2)
    both = tracks["sides"] == 3
    joined = np.zeros(n, bool)
    joined[outcome.mc[both & outcome.good]] = True
    rows = np.flatnonzero(both & outcome.good)
    collisions = truth["MC/COLLISIONS"]
    own = truth["MC/PARTICLES"]["collision"][outcome.mc[rows]]
    when = collisions["bc"][own] / TIME_BIN_BC + collisions["t"][own] / (BC_NS * TIME_BIN_BC)
    late = tracks["time0"][rows] - when
    out = {"n": int(crossing.sum()), "tracks": len(rows), "wrong": float((both & ~outcome.good).sum())}
    if crossing.any():
        out["joined"] = float(joined[crossing].mean())
    if len(rows) >= 20:
        low, middle, high = np.percentile(late, _68) * TIME_BIN_BC * BC_NS
        out |= {"time_width": float((high - low) / 2), "time_median": float(middle)}
        out["in_time"] = float(((late <= tracks["time_fwd"][rows]) & (-late <= tracks["time_bwd"][rows])).mean())
    return out


def evaluate(truth: dict[str, Columns], tracks: Columns, members: Columns, labels: Columns) -> dict[str, Any]:
    """Return every figure of a timeframe: what truth and clusters say of the tracks, JSON can hold it."""
    outcome = judge(truth, labels)
    owners = Ownership.of(truth, tracks, members, labels)
    fakes = np.bincount(labels["mc"][~outcome.good & (labels["mc"] >= 0)], minlength=len(outcome.pt))
    soft = np.abs(tracks["q2pt"]) > 5
    bad = ~outcome.good
    return {
        "clusters": len(owners.label),
        "tracks": tracks.n_rows,
        "rates": rate_figures(truth, outcome, fakes),
        "fake tracks": {"all": _mean(bad), "above 0.2": _mean(bad[~soft])},
        "dedx": dedx_figures(truth, tracks, outcome),
        "pulls": pull_figures(truth, tracks, outcome),
        "crossing": crossing_figures(truth, tracks, outcome),
        "attachment": attachment(truth, members, outcome),
        "wrong clusters": _mean(owners.label[members["cluster"]] != np.repeat(labels["mc"], tracks["n_clusters"])),
        "failures": kinds_of_failure(truth, owners, outcome),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
