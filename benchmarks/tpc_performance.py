"""TPC tracking on our own simulation: efficiency, clones, fakes, pulls, dE/dx and where the clusters go.

    python benchmarks/tpc_performance.py [--collisions 16] [--dead 0.02] [--noise 1e-3] [--picture FILE.png]
                                         [--json FILE] [--small]

Pb-Pb collisions as dense in time as at 50 kHz, with energy loss, scattering, decays, loopers and merged clusters.
`--dead` kills that share of the pads in blocks of 8 pad rows and 16 pads (one front-end card), `--noise` adds clusters
per pad row and time bin: stress tests. Findable is a charged particle on 70 pad rows; a track is fake below 90 % of
clusters from one particle; clones are further tracks of a particle. The picture shows missed and fake tracks.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

PT_EDGES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 20.0)
ETA_EDGES = (0.0, 0.3, 0.6, 0.9, 1.2)
DEDX_EDGES = (60, 80, 100, 120, 140, 153)
PULLS = ("y", "z", "snp", "tgl", "q2pt")


def dead_blocks(share: float, seed: int = 5) -> tuple[tuple[int, int, int, int, int], ...]:
    """Return random blocks of 8 rows and 16 pads that cover about a share of all pads."""
    from o2dask.reco.geometry.tpc import N_ROWS, N_SECTORS, pad_rows

    rng, n_pads = np.random.default_rng(seed), pad_rows().n_pads
    n = round(share * N_SECTORS * int(n_pads.sum()) / (8 * 16))
    rows = 8 * rng.integers(0, N_ROWS // 8, n)
    pads = (16 * rng.integers(0, n_pads[rows] // 16)).astype(int)
    sectors = rng.integers(0, N_SECTORS, n)
    return tuple((int(s), int(r), int(r) + 7, int(p), int(p) + 15) for s, r, p in zip(sectors, rows, pads, strict=True))


def simulate(args: argparse.Namespace) -> dict[str, Any]:
    """Return truth and clusters of a timeframe."""
    from o2dask.reco.simulation.timeframes import TimeframeParams, build_timeframe
    from o2dask.reco.tpc.simulation import simulate_tpc
    from o2dask.reco.tpc.simulation_params import TpcSimParams
    from o2dask.timeframe import BCS_PER_ORBIT

    n_orbits = max(round(args.collisions * 32 / 140), 1)
    truth = build_timeframe(TimeframeParams(collisions=args.collisions, seed=args.seed, n_orbits=n_orbits), 0)
    params = TpcSimParams(noise_rate=args.noise, dead=dead_blocks(args.dead))
    made = simulate_tpc(truth["MC/COLLISIONS"], truth["MC/PARTICLES"], params, 3, n_bcs=n_orbits * BCS_PER_ORBIT)
    return truth | made.payloads


def rates(outcome: Any, selected: np.ndarray, fakes: np.ndarray) -> dict[str, float]:
    """Return efficiency, clones and fakes per findable particle of a selection."""
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


def occupancy(truth: dict[str, Any], outcome: Any) -> np.ndarray:
    """Return per particle the clusters within one drift time after its collision, over the median of particles."""
    from o2dask.reco.geometry.tpc import CM_PER_TIME_BIN, DRIFT_LENGTH_CM, TIME_BIN_BC
    from o2dask.reco.tpc.schema import TIME_SCALE

    times = np.sort(truth["TPC/CLUSTERNATIVE"]["time"]) / TIME_SCALE
    start = truth["MC/COLLISIONS"]["bc"] / TIME_BIN_BC
    drift = DRIFT_LENGTH_CM / CM_PER_TIME_BIN
    n = np.searchsorted(times, start + drift) - np.searchsorted(times, start)
    per_particle = n[truth["MC/PARTICLES"]["collision"]]
    return per_particle / np.median(per_particle[outcome.is_findable])


def dedx_table(truth: dict[str, Any], tracks: Any, outcome: Any) -> list[dict[str, float]]:
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
                low, middle, high = np.percentile(tracks[name][at], [15.87, 50, 84.13])
                row[name] = float((high - low) / 2 / middle)
        out.append(row)
    return out


def pull_table(truth: dict[str, Any], tracks: Any, outcome: Any) -> list[dict[str, float]]:
    """Return widths (68 %) and medians of pulls of found primaries in bins of pt."""
    from o2dask.reco.tpc.performance import pulls_at_reference

    chosen = outcome.good & (tracks["n_clusters"] >= 70)
    pick = np.flatnonzero(chosen)
    pick = pick[outcome.is_primary[outcome.mc[pick]] & outcome.is_findable[outcome.mc[pick]]]
    pulls, pt = pulls_at_reference(truth, tracks, pick, outcome.mc[pick]), outcome.pt[outcome.mc[pick]]
    out = []
    for lo, hi in pairwise(PT_EDGES):
        inside = pulls[(pt >= lo) & (pt < hi) & np.isfinite(pulls).all(axis=1)]
        row: dict[str, float] = {"from": lo, "to": hi, "n": len(inside)}
        if len(inside) >= 30:
            low, middle, high = np.percentile(inside, [15.87, 50, 84.13], axis=0)
            row |= {f"width_{n}": float(v) for n, v in zip(PULLS, (high - low) / 2, strict=True)}
            row |= {f"median_{n}": float(v) for n, v in zip(PULLS, middle, strict=True)}
        out.append(row)
    return out


def evaluate(truth: dict[str, Any], tracks: Any, members: Any, labels: Any) -> dict[str, Any]:
    """Return every figure."""
    from o2dask.reco.tpc.performance import attachment, judge

    outcome = judge(truth, labels)
    fake_of = labels["mc"][~outcome.good & (labels["mc"] >= 0)]
    fakes = np.bincount(fake_of, minlength=len(outcome.pt))
    everyone, inside = np.ones(len(outcome.pt), bool), np.abs(outcome.eta) < 0.9
    kinds = {"primaries": outcome.is_primary & inside, "weak decays": outcome.is_weak & inside}
    result: dict[str, Any] = {"rates": {}, "clusters": len(truth["TPC/CLUSTERLABEL"]["mc"]), "tracks": tracks.n_rows}
    for kind, chosen in kinds.items():
        for lo, hi in pairwise(PT_EDGES):
            result["rates"][f"{kind}, pt {lo}-{hi}"] = rates(
                outcome, chosen & (outcome.pt >= lo) & (outcome.pt < hi), fakes
            )
        hard = chosen & (outcome.pt > 0.5)
        result["rates"][f"{kind}, pt > 0.5"] = rates(outcome, hard, fakes)
        stable = hard & ~outcome.decays
        result["rates"][f"{kind}, pt > 0.5, no decay in the TPC"] = rates(outcome, stable, fakes)
    for lo, hi in pairwise(ETA_EDGES):
        at = outcome.is_primary & (outcome.pt > 0.2) & (np.abs(outcome.eta) >= lo) & (np.abs(outcome.eta) < hi)
        result["rates"][f"primaries, pt > 0.2, |eta| {lo}-{hi}"] = rates(outcome, at & everyone, fakes)
    crowd = occupancy(truth, outcome)
    for lo, hi in ((0.0, 0.7), (0.7, 1.0), (1.0, 1.3), (1.3, 99.0)):
        at = outcome.is_primary & inside & (outcome.pt > 0.2) & (crowd >= lo) & (crowd < hi)
        result["rates"][f"primaries, pt > 0.2, occupancy {lo}-{hi} of median"] = rates(outcome, at, fakes)
    soft = np.abs(tracks["q2pt"]) > 5
    result["fake tracks"] = {"all": float((~outcome.good).mean()), "above 0.2": float((~outcome.good)[~soft].mean())}
    result["dedx"] = dedx_table(truth, tracks, outcome)
    result["pulls"] = pull_table(truth, tracks, outcome)
    result["attachment"] = attachment(truth, members, outcome)
    return result


def report(result: dict[str, Any]) -> None:
    """Print the tables."""
    print(f"{result['clusters']} clusters, {result['tracks']} tracks")
    print(f"{'percent of findable particles':>52} {'n':>6} {'eff':>7} {'clone':>6} {'fake':>6}")
    for name, r in result["rates"].items():
        if r["n"]:
            print(
                f"{name:>52} {r['n']:>6} " + " ".join(f"{100 * r[k]:>6.2f}" for k in ("efficiency", "clones", "fakes"))
            )
    print("fake tracks, percent: " + ", ".join(f"{k} {100 * v:.2f}" for k, v in result["fake tracks"].items()))
    print("clusters, percent: " + ", ".join(f"{k} {100 * v:.1f}" for k, v in result["attachment"].items()))
    print("dE/dx of pions of 0.4-0.6 GeV/c, percent, clusters: tot / max")
    for r in result["dedx"]:
        if "dedx_tot" in r:
            print(f"{r['from']:>6}-{r['to']:<4} {r['n']:>6} {100 * r['dedx_tot']:>6.2f} {100 * r['dedx_max']:>6.2f}")
    print(f"{'pulls, width (median)':>24} " + " ".join(f"{name:>13}" for name in PULLS))
    for r in result["pulls"]:
        if "width_y" in r:
            cells = (f"{r[f'width_{name}']:>5.2f} ({r[f'median_{name}']:>5.2f})" for name in PULLS)
            print(f"{r['from']:>8}-{r['to']:<6} {r['n']:>6} " + "  ".join(cells))


def draw(path: Path, truth: dict[str, Any], tracks: Any, members: Any, labels: Any) -> None:
    """Draw findable primaries above 0.3 GeV/c that were missed or became fake: what is there and who took it."""
    import matplotlib.pyplot as plt

    from o2dask.reco.geometry.tpc import pad_rows, sector_alpha
    from o2dask.reco.tpc.performance import judge
    from o2dask.reco.tpc.reconstruct import cluster_positions

    outcome, clusters, label = judge(truth, labels), truth["TPC/CLUSTERNATIVE"], truth["TPC/CLUSTERLABEL"]["mc"]
    y, z, _ = cluster_positions(clusters)
    x = pad_rows().x[clusters["pad_row"]]
    alpha = sector_alpha(clusters["sector"])
    gx, gy = x * np.cos(alpha) - y * np.sin(alpha), x * np.sin(alpha) + y * np.cos(alpha)
    track_of = np.full(len(x), -1)
    track_of[members["cluster"]] = np.repeat(np.arange(tracks.n_rows), tracks["n_clusters"])
    missed = outcome.is_findable & outcome.is_primary & (outcome.found == 0) & (outcome.pt > 0.3)
    chosen = np.flatnonzero(missed)[:6]
    figure, axes = plt.subplots(max(len(chosen), 1), 3, figsize=(18, 4.2 * max(len(chosen), 1)), squeeze=False)
    for particle, (ax_xy, ax_row, ax_z) in zip(chosen, axes, strict=False):
        own = label == particle
        takers, counts = np.unique(track_of[own & (track_of >= 0)], return_counts=True)
        takers = takers[np.argsort(-counts)][:4]
        side = clusters["sector"][own][0] // 18
        near = (clusters["sector"] // 18 == side) & ~own
        near &= np.isin(clusters["sector"], np.unique(clusters["sector"][own]))
        near &= (z > z[own].min() - 5) & (z < z[own].max() + 5)
        order = np.argsort(clusters["pad_row"][own])
        z_line = np.interp(clusters["pad_row"], clusters["pad_row"][own][order], z[own][order])
        close = near & (np.abs(z - z_line) < 3)
        row = clusters["pad_row"]
        for axis, (h, v) in zip((ax_xy, ax_row, ax_z), ((gx, gy), (row, y), (row, z)), strict=True):
            axis.scatter(h[close], v[close], s=2, c="0.8", label="others within 3 cm in z")
            axis.scatter(h[own], v[own], s=14, c="k", label="its clusters")
            for i, taker in enumerate(takers):
                at = track_of == taker
                text = f"track {taker}: {100 * labels['purity'][taker]:.0f} % of one, n {tracks['n_clusters'][taker]}"
                axis.scatter(h[at], v[at], s=40, facecolors="none", edgecolors=f"C{i}", label=text)
        ax_xy.set(xlabel="x [cm]", ylabel="y [cm]")
        pdg, path_cm = (truth["MC/PARTICLES"][name][particle] for name in ("pdg", "path"))
        ax_xy.set_title(
            f"pdg {pdg} pt {outcome.pt[particle]:.2f} eta {outcome.eta[particle]:.2f} "
            f"rows {outcome.rows[particle]} decays after {path_cm:.0f} cm",
            fontsize=9,
        )
        ax_row.set(xlabel="pad row", ylabel="y in the sector [cm]")
        ax_z.set(xlabel="pad row", ylabel="z + drift of the collision's time [cm]")
        ax_xy.legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    """Parse arguments, simulate, track, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collisions", type=int, default=16, help="Pb-Pb collisions")
    parser.add_argument("--seed", type=int, default=3, help="of the collisions")
    parser.add_argument("--dead", type=float, default=0.0, help="share of dead pads")
    parser.add_argument("--noise", type=float, default=1e-4, help="noise clusters per pad row and time bin")
    parser.add_argument("--picture", type=Path, help="PNG of missed and fake tracks")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--small", action="store_true", help="four collisions, for CI")
    args = parser.parse_args()
    if args.small:
        args.collisions = 4
    from o2dask.reco.tpc.labels import label_tracks
    from o2dask.reco.tpc.reconstruct import reconstruct

    truth = simulate(args)
    tracks, members, _ = reconstruct(truth["TPC/CLUSTERNATIVE"])
    labels = label_tracks(tracks, members, truth["TPC/CLUSTERLABEL"])
    result = evaluate(truth, tracks, members, labels)
    report(result)
    if args.picture:
        draw(args.picture, truth, tracks, members, labels)
    if args.json:
        settings = {"collisions": args.collisions, "dead": args.dead, "noise": args.noise, "seed": args.seed}
        args.json.write_text(json.dumps({"benchmark": "tpc_performance", **settings, **result}, indent=1))


if __name__ == "__main__":
    main()
