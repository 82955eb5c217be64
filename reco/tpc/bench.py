"""One simulated timeframe, tracked and judged: what `o2dask bench tpc` and `benchmarks/tpc_performance.py` run."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from o2dask.columns import Columns
from o2dask.errors import ConfigError
from o2dask.reco.geometry.tpc import N_ROWS, N_SECTORS, pad_rows
from o2dask.timeframe import BCS_PER_ORBIT

__all__ = ["BenchSettings", "dead_blocks", "orbits_at_50_khz", "run_bench", "simulate"]

_BLOCK_ROWS, _BLOCK_PADS = 8, 16
"""Pads that die together: about one front-end card's."""
_SIMULATION_SEED = 3
_DRIFT_ORBITS = 2
"""Readout goes on behind the last collision: electrons drift for 1.1 orbits; short timeframes would be half edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """What is simulated and how often it is tracked.

    collisions, seed : of Pb-Pb, spread as at 50 kHz. dead : share of dead pads. noise : clusters per pad row and time
        bin. runs : whose median time is told. picture : PNG of missed and fake tracks.
    """

    collisions: int = 16
    seed: int = 3
    dead: float = 0.0
    noise: float = 1e-4
    runs: int = 5
    picture: Path | None = None

    def __post_init__(self) -> None:
        if self.collisions < 1 or self.runs < 1 or not 0 <= self.dead <= 0.5 or self.noise < 0:
            raise ConfigError(f"bench: want collisions, runs >= 1, dead in [0, 0.5], noise >= 0, got {self}")


def orbits_at_50_khz(collisions: int) -> int:
    """Return the orbits over which collisions are as dense as 140 in a timeframe of 32."""
    return max(round(collisions * 32 / 140), 1)


def dead_blocks(share: float, seed: int = 5) -> tuple[tuple[int, int, int, int, int], ...]:
    """Return random blocks of rows and pads that cover about a share of all pads; see `TpcSimParams.dead`."""
    rng, n_pads = np.random.default_rng(seed), pad_rows().n_pads
    n = round(share * N_SECTORS * int(n_pads.sum()) / (_BLOCK_ROWS * _BLOCK_PADS))
    rows = _BLOCK_ROWS * rng.integers(0, N_ROWS // _BLOCK_ROWS, n)
    pads = (_BLOCK_PADS * rng.integers(0, n_pads[rows] // _BLOCK_PADS)).astype(int)
    sectors = rng.integers(0, N_SECTORS, n)
    last_row, last_pad = _BLOCK_ROWS - 1, _BLOCK_PADS - 1
    return tuple(
        (int(s), int(r), int(r) + last_row, int(p), int(p) + last_pad)
        for s, r, p in zip(sectors, rows, pads, strict=True)
    )


def simulate(settings: BenchSettings) -> dict[str, Columns]:
    """Return truth and clusters of a timeframe, by description."""
    from o2dask.reco.simulation.timeframes import TimeframeParams, build_timeframe
    from o2dask.reco.tpc.simulation import simulate_tpc
    from o2dask.reco.tpc.simulation_params import TpcSimParams

    n_orbits = orbits_at_50_khz(settings.collisions)
    timeframe = TimeframeParams(collisions=settings.collisions, seed=settings.seed, n_orbits=n_orbits)
    truth = build_timeframe(timeframe, 0)
    params = TpcSimParams(noise_rate=settings.noise, dead=dead_blocks(settings.dead))
    n_bcs = (n_orbits + _DRIFT_ORBITS) * BCS_PER_ORBIT
    made = simulate_tpc(truth["MC/COLLISIONS"], truth["MC/PARTICLES"], params, _SIMULATION_SEED, n_bcs=n_bcs)
    return {**truth, **made.payloads}


def run_bench(settings: BenchSettings) -> dict[str, Any]:
    """Return `quality.evaluate` of a simulated timeframe, with `stages_us`: CPU time per cluster of each stage."""
    from o2dask.reco.tpc.labels import label_tracks
    from o2dask.reco.tpc.quality import evaluate
    from o2dask.reco.tpc.reconstruct import reconstruct

    truth = simulate(settings)
    clusters = truth["TPC/CLUSTERNATIVE"]
    tracks, members, _ = reconstruct(clusters)  # compiles, or reads what was compiled
    laps = [reconstruct(clusters)[2] for _ in range(settings.runs)]
    labels = label_tracks(tracks, members, truth["TPC/CLUSTERLABEL"])
    result = evaluate(truth, tracks, members, labels)
    per_cluster = 1e6 / max(clusters.n_rows, 1)
    result["stages_us"] = {k: per_cluster * statistics.median(lap[k] for lap in laps) for k in laps[0]}
    if settings.picture:
        from o2dask.reco.tpc.pictures import draw_failures

        draw_failures(settings.picture, truth, tracks, members, labels)
    return result
