"""Judging tracks against truth: counts by hand, and the benchmark's small run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from o2dask.columns import Columns
from o2dask.reco.simulation.schema import MC_PARTICLES
from o2dask.reco.tpc.performance import attachment, judge
from o2dask.reco.tpc.schema import CLUSTERLABEL, MC_TPCREFS, TRACKCLUSTERS, TRACKLABEL

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "tpc_performance.py"


def columns(schema, n: int, **values) -> Columns:
    made = schema.empty(n)
    for name in made:
        made[name][...] = values.get(name, 0)
    return Columns(schema, dict(made))


def event() -> tuple[dict[str, Columns], Columns]:
    """Return truth of four particles (two found once and twice, one short, one missed) and labels of four tracks."""
    px = [1.0, 0.5, 0.5, 2.0]
    particles = columns(
        MC_PARTICLES, 4, px=px, pz=0.1, pdg=[211, 3122, 211, 211], mother=[-1, -1, 1, -1], flags=[4, 4, 1, 4],
        path=[np.inf, 10, np.inf, 100],
    )  # fmt: skip
    references = columns(MC_TPCREFS, 3, mc=[0, 2, 3], n_rows=[100, 69, 70])
    labels = columns(TRACKLABEL, 4, mc=[0, 0, 2, 3], purity=[1.0, 0.9, 0.95, 0.89])
    clusters = columns(CLUSTERLABEL, 8, mc=[0, 0, 2, 3, 3, -1, 0, 2])
    return {"MC/PARTICLES": particles, "MC/TPCREFS": references, "TPC/CLUSTERLABEL": clusters}, labels


def test_findable_found_and_fake_are_told_apart_at_their_edges() -> None:
    truth, labels = event()
    outcome = judge(truth, labels)
    assert outcome.is_findable.tolist() == [True, False, False, True]
    assert outcome.found.tolist() == [2, 0, 1, 0]
    assert outcome.good.tolist() == [True, True, True, False]
    assert outcome.is_weak.tolist() == [False, False, True, False]
    assert outcome.decays.tolist() == [False, True, False, True]


def test_shares_of_clusters_add_up_to_one() -> None:
    truth, labels = event()
    members = columns(TRACKCLUSTERS, 4, cluster=[0, 1, 2, 3])
    shares = attachment(truth, members, judge(truth, labels))
    assert sum(shares.values()) == 1.0
    assert shares["on tracks"] == 0.5
    assert shares["noise"] == shares["findable, missed"] == 1 / 8
    assert shares["particle found"] == 2 / 8


def test_the_benchmark_finds_primaries_and_survives_dead_pads_and_noise(tmp_path: Path) -> None:
    out, picture = tmp_path / "out.json", tmp_path / "missed.png"
    command = [sys.executable, str(BENCHMARK), "--small", "--dead", "0.02", "--noise", "0.001", "--json", str(out)]
    subprocess.run([*command, "--picture", str(picture)], check=True, capture_output=True, timeout=200)
    result = json.loads(out.read_text())
    hard = result["rates"]["primaries, pt > 0.5"]
    assert hard["n"] > 100
    assert hard["efficiency"] > 0.98
    assert result["dead"] == 0.02
    assert picture.stat().st_size > 1000
