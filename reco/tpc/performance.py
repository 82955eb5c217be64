"""What tracking made of a simulated timeframe, against its truth: who had to be found, was found, how often, how well.

Knows columns of truth, clusters and tracks; draws and prints nothing.
"""

from typing import NamedTuple

import numpy as np

from o2dask.columns import Columns
from o2dask.reco.geometry.tpc import BZ_KG, CM_PER_TIME_BIN, TIME_BIN_BC
from o2dask.reco.simulation.schema import FLAG_PHYSICAL_PRIMARY
from o2dask.timeframe import BC_NS

__all__ = ["WEAK_MOTHERS", "Outcome", "attachment", "judge", "pulls_at_reference"]

WEAK_MOTHERS = (310, 3122, 3222, 3112, 3312, 3322, 3334)
"""PDG codes of strange hadrons that decay weakly."""
MIN_ROWS = 70
"""Pad rows of a particle that must be found (O2's criterion, for clusters)."""
LOOPER_PT = 0.2
"""Below, a pion turns back within the TPC at 0.5 T [GeV/c]."""
MIN_PURITY = 0.9
"""Share of a track's clusters that must be of one particle, or it is fake."""


class Outcome(NamedTuple):
    """Per particle (n,), and per track which are good.

    pt, eta : float64. rows : pad rows with a cluster. is_primary, is_weak : physical primary, daughter of
        `WEAK_MOTHERS`. is_findable : charged on enough rows. found : good tracks it is the particle of.
    good : (tracks,) bool. mc : (tracks,) the particle, -1 none. decays : it decays within the TPC's radius.
    """

    pt: np.ndarray
    eta: np.ndarray
    rows: np.ndarray
    is_primary: np.ndarray
    is_weak: np.ndarray
    is_findable: np.ndarray
    found: np.ndarray
    good: np.ndarray
    mc: np.ndarray
    decays: np.ndarray


def judge(truth: dict[str, Columns], labels: Columns) -> Outcome:
    """Return who was to be found and who was."""
    particles, references = truth["MC/PARTICLES"], truth["MC/TPCREFS"]
    pt = np.hypot(particles["px"], particles["py"]).astype(float)
    rows = np.zeros(particles.n_rows, int)
    rows[references["mc"]] = references["n_rows"]
    mother = particles["mother"]
    is_weak = (mother >= 0) & np.isin(np.abs(particles["pdg"][np.maximum(mother, 0)]), WEAK_MOTHERS)
    good = (labels["purity"] >= MIN_PURITY) & (labels["mc"] >= 0)
    return Outcome(
        pt,
        np.arcsinh(particles["pz"] / np.maximum(pt, 1e-9)),
        rows,
        (particles["flags"] & FLAG_PHYSICAL_PRIMARY) > 0,
        is_weak,
        (rows >= MIN_ROWS) & (pt > 0.05),
        np.bincount(labels["mc"][good], minlength=particles.n_rows),
        good,
        labels["mc"],
        particles["path"] * pt < 250.0 * np.hypot(pt, particles["pz"]),
    )


def pulls_at_reference(truth: dict[str, Columns], tracks: Columns, pick: np.ndarray, mc: np.ndarray) -> np.ndarray:
    """Return differences over errors (n, 5) of y z snp tgl q2pt, NaN where the reference point cannot be reached.

    The particle mc[i] at its first pad row is moved on a circle to the x of track pick[i], in that track's frame.
    """
    particles, references, collisions = truth["MC/PARTICLES"], truth["MC/TPCREFS"], truth["MC/COLLISIONS"]
    where = np.full(particles.n_rows, -1)
    where[references["mc"]] = np.arange(references.n_rows)
    ref = {name: references[name][where[mc]].astype(float) for name in ("x", "y", "z", "px", "py", "pz")}
    t = {name: tracks[name][pick] for name in ("alpha", "x", "y", "z", "snp", "tgl", "q2pt", "cov", "sides", "time0")}
    cos, sin = np.cos(t["alpha"].astype(float)), np.sin(t["alpha"].astype(float))
    x, y = ref["x"] * cos + ref["y"] * sin, ref["y"] * cos - ref["x"] * sin
    px, py = ref["px"] * cos + ref["py"] * sin, ref["py"] * cos - ref["px"] * sin
    pt = np.hypot(px, py)
    q2pt, tgl, snp = np.sign(t["q2pt"]) / pt, ref["pz"] / pt, py / pt
    dx = t["x"] - x
    there = snp - 0.000299792458 * BZ_KG * q2pt * dx
    near = (np.abs(dx) < 3) & (px > 0) & (np.abs(snp) < 0.9) & (np.abs(there) < 0.9)
    with np.errstate(invalid="ignore", divide="ignore"):
        dy = dx * (snp + there) / (np.sqrt(1 - snp**2) + np.sqrt(1 - there**2))
        z = ref["z"] + tgl * np.sign(dx) * np.hypot(dx, dy)
    collision = particles["collision"][mc]
    time = (collisions["bc"][collision] + collisions["t"][collision] / BC_NS) / TIME_BIN_BC
    side = np.where(t["sides"] == 3, np.sign(z), np.where(t["sides"] == 1, 1, -1))
    z_track = t["z"] + side * (time - t["time0"]) * CM_PER_TIME_BIN
    difference = np.stack([t["y"] - y - dy, z_track - z, t["snp"] - there, t["tgl"] - tgl, t["q2pt"] - q2pt], axis=1)
    difference[~near] = np.nan
    return np.asarray(difference / np.sqrt(t["cov"][:, [0, 2, 5, 9, 14]]))


def attachment(truth: dict[str, Columns], members: Columns, outcome: Outcome) -> dict[str, float]:
    """Return the share of clusters on tracks, and what the others are; together 1."""
    main = truth["TPC/CLUSTERLABEL"]["mc"]
    free = np.ones(len(main), bool)
    free[members["cluster"]] = False
    owner = np.maximum(main, 0)
    found, is_soft = outcome.found[owner] > 0, outcome.pt[owner] < LOOPER_PT
    electrons = np.abs(truth["MC/PARTICLES"]["pdg"][owner]) == 11
    shared = truth["TPC/CLUSTERLABEL"]["mc_other"] >= 0
    left = {
        "noise": main < 0,
        "below 50 MeV/c, electrons (conversions, delta rays)": (outcome.pt[owner] <= 0.05) & electrons,
        "below 50 MeV/c, others": outcome.pt[owner] <= 0.05,
        "on fewer than 20 pad rows": outcome.rows[owner] < 20,
        "found loopers (below 0.2 GeV/c), further turns": found & is_soft,
        "found particles, merged with a neighbour's": found & shared,
        "found particles, left out (kinks, edges, outliers)": found,
        "findable particles, missed": outcome.is_findable[owner],
        "on 20 to 69 pad rows, missed": np.ones(len(main), bool),
    }
    shares = {"on tracks": float(1 - free.mean())}
    for name, selected in left.items():
        shares[name] = float((free & selected).mean())
        free &= ~selected
    return shares
