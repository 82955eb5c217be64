"""Primary vertices from TPC tracks alone: efficiency, purity and time by the number of tracks of a collision.

    python benchmarks/vertexing.py [--json FILE] [--small]

Simulated pp at 50, 200 and 500 kHz and Pb-Pb at 50 kHz (--small: few orbits of pp). Baselines on the same tracks: peaks
of the two sides paired one to one by z and size, each track to the nearest vertex; and the same with the true vertices
as given, which is what tracks of their resolution allow at best without competition. "found": half of a collision's
tracks are in one vertex, of which they are at least half; "with z": and z is right within 1 cm.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment

from o2dask.columns import Columns
from o2dask.reco.calibration.objects import DriftVelocity, MeanVertex
from o2dask.reco.geometry.tpc import BZ_KG
from o2dask.reco.simulation.timeframes import TimeframeParams, build_timeframe
from o2dask.reco.tpc.labels import label_tracks
from o2dask.reco.tpc.reconstruct import reconstruct
from o2dask.reco.tpc.simulation import simulate_tpc
from o2dask.reco.vertexing.mixture import assign, close_pairs, moved
from o2dask.reco.vertexing.params import VertexParams
from o2dask.reco.vertexing.performance import VertexOutcome, judge_vertices
from o2dask.reco.vertexing.primary import find_primary_vertices, write_vertices
from o2dask.reco.vertexing.seeding import Candidates, peaks_of_side
from o2dask.reco.vertexing.seen import SeenTracks, see
from o2dask.timeframe import BC_NS, BCS_PER_ORBIT

CASES = {
    "pp 50 kHz": {"system": "pp", "rate_hz": 50e3, "n_orbits": 32},
    "pp 200 kHz": {"system": "pp", "rate_hz": 200e3, "n_orbits": 16},
    "pp 500 kHz": {"system": "pp", "rate_hz": 500e3, "n_orbits": 12},
    "Pb-Pb 50 kHz": {"system": "pbpb", "rate_hz": 50e3, "n_orbits": 6},
}
SMALL = {"pp 500 kHz": {"system": "pp", "rate_hz": 500e3, "n_orbits": 2}}
CLASSES = ((2, 4), (5, 9), (10, 24), (25, 1 << 30))
PARAMS = VertexParams()
ROUNDS = 6


class Event(NamedTuple):
    """Tracks of a simulated timeframe, and the truth."""

    truth: dict[str, Columns]
    tracks: Columns
    labels: Columns


def event(settings: dict[str, Any]) -> Event:
    """Return a timeframe, simulated and tracked."""
    params = TimeframeParams(seed=11, **settings)
    truth = build_timeframe(params, 0)
    made = simulate_tpc(truth["MC/COLLISIONS"], truth["MC/PARTICLES"], n_bcs=params.n_orbits * BCS_PER_ORBIT)
    tracks, members, _ = reconstruct(made.payloads["TPC/CLUSTERNATIVE"])
    return Event(truth, tracks, label_tracks(tracks, members, made.payloads["TPC/CLUSTERLABEL"]))


def seen_of(tracks: Columns) -> SeenTracks:
    """Return the tracks at the beam line, with the default conditions."""
    return see(tracks, PARAMS, BZ_KG, MeanVertex(), DriftVelocity())


def nearest(seen: SeenTracks, t: np.ndarray, z: np.ndarray) -> tuple[Columns, Columns]:
    """Return vertices as given, moved a few rounds by the tracks nearest to them: no competition, no times."""
    never, always = np.full_like(seen.early, -np.inf), np.full_like(seen.late, np.inf)
    blind = seen._replace(early=never, late=always, leaves=np.zeros_like(seen.leaves))
    blind = blind._replace(weight_t=np.where(seen.leaves, 0.0, seen.weight_t))
    rows = np.flatnonzero(seen.is_good)
    for _ in range(ROUNDS):
        pairs = close_pairs(blind, rows, t, z, PARAMS)
        best = np.full(len(seen.u), np.inf)
        np.minimum.at(best, pairs.track, pairs.chi2)
        t, z = moved(blind, pairs, (pairs.chi2 == best[pairs.track]) / (1 + pairs.chi2 / 4), t, z, PARAMS)
    found = Candidates(t, z, np.ones(len(t)))
    members = assign(blind, found, PARAMS)
    size = np.bincount(members.vertex[seen.is_good[members.track]], minlength=len(t))
    found = Candidates(*(part[size >= PARAMS.min_tracks] for part in found))
    return write_vertices(seen, found, assign(blind, found, PARAMS))


def one_to_one(tracks: Columns) -> tuple[Columns, Columns]:
    """Return vertices of peaks paired so that z is likely and sizes are alike, each peak at most once."""
    seen = seen_of(tracks)
    (t_a, n_a), (t_c, n_c) = (peaks_of_side(seen, sign, PARAMS) for sign in (1.0, -1.0))
    z = (t_c[None, :] - t_a[:, None]) / 2 * seen.v
    unlike = (np.sqrt(n_a)[:, None] - np.sqrt(n_c)[None, :]) ** 2 / (0.5 + 0.02 * (n_a[:, None] + n_c[None, :]))
    cost = np.minimum((z / seen.beam.sigma_z) ** 2 + unlike, 25.0)
    i, j = linear_sum_assignment(cost)
    i, j = i[cost[i, j] < 25], j[cost[i, j] < 25]
    alone = np.concatenate([np.delete(t_a, i), np.delete(t_c, j)])
    t = np.concatenate([(t_a[i] + t_c[j]) / 2, alone])
    order = np.argsort(t)
    return nearest(seen, t[order], np.concatenate([z[i, j], np.zeros(len(alone))])[order])


def given(case: Event) -> tuple[Columns, Columns]:
    """Return the vertices of a finder that is told where the collisions are."""
    seen, collisions = seen_of(case.tracks), case.truth["MC/COLLISIONS"]
    t = (collisions["bc"] + collisions["t"] / BC_NS) / 8
    return nearest(seen, np.sort(t), collisions["z"][np.argsort(t)].astype(float))


def figures(outcome: VertexOutcome, seconds: float) -> dict[str, float]:
    """Return what the table shows."""
    made = {f"found {low}": outcome.efficiency(low, high) for low, high in CLASSES}
    made |= {f"with z {low}": outcome.efficiency(low, high, within_cm=1.0) for low, high in CLASSES}
    return made | {
        "found": outcome.efficiency(),
        "with z": outcome.efficiency(within_cm=1.0),
        "purity": float(np.nanmean(outcome.purity)),
        "splits": outcome.splits(),
        "vertices": float(len(outcome.main)),
        "seconds": seconds,
    }


def measured(case: Event) -> dict[str, dict[str, float]]:
    """Return the figures of the finder and of its baselines."""
    finders = {
        "competition": lambda: find_primary_vertices(case.tracks, PARAMS),
        "one to one": lambda: one_to_one(case.tracks),
        "told the truth": lambda: given(case),
    }
    made = {}
    for name, finder in finders.items():
        seconds = []
        for _ in range(3):
            start = time.process_time()
            found = finder()
            seconds.append(time.process_time() - start)
        outcome = judge_vertices(case.truth, case.tracks, case.labels, found, PARAMS)
        made[name] = figures(outcome, statistics.median(seconds))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--small", action="store_true", help="a quick run")
    args = parser.parse_args()
    table = Table(title="share of collisions found, and found with z within 1 cm, by their tracks")
    for title in ("", "finder", *(f"{a}-{b}" if b < 1000 else f"{a}+" for a, b in CLASSES), "all", "purity", "splits"):
        table.add_column(title, justify="left" if title in ("", "finder") else "right")
    table.add_column("CPU s", justify="right")
    made = {}
    for name, settings in (SMALL if args.small else CASES).items():
        case = event(settings)
        made[name] = measured(case)
        for finder, f in made[name].items():
            cells = [f"{f[f'found {low}']:.2f} {f[f'with z {low}']:.2f}" for low, _ in CLASSES]
            cells += [f"{f['found']:.2f} {f['with z']:.2f}", f"{f['purity']:.2f}", f"{f['splits']:.2f}"]
            label = f"{name}, {case.truth['MC/COLLISIONS'].n_rows} collisions" if finder == "competition" else ""
            table.add_row(label, finder, *cells, f"{f['seconds']:.2f}")
    Console(width=max(Console().width, 118)).print(table)
    if args.json:
        args.json.write_text(json.dumps(made, indent=1))


if __name__ == "__main__":
    main()
