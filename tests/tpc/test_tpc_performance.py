"""Judging tracks against truth: counts by hand, and the benchmark's small run."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gun import N_BCS, shoot
from typer.testing import CliRunner

from o2dask.cli.main import app
from o2dask.columns import Columns
from o2dask.errors import ConfigError
from o2dask.reco.geometry.tpc import pad_rows
from o2dask.reco.simulation.schema import MC_PARTICLES
from o2dask.reco.tpc.bench import BenchSettings, dead_blocks
from o2dask.reco.tpc.failures import Ownership, explain, failed
from o2dask.reco.tpc.labels import label_tracks
from o2dask.reco.tpc.performance import attachment, judge
from o2dask.reco.tpc.pictures import draw_failures
from o2dask.reco.tpc.quality import crossing_figures, evaluate
from o2dask.reco.tpc.quality_report import quality_lines, target_lines
from o2dask.reco.tpc.reconstruct import reconstruct
from o2dask.reco.tpc.schema import CLUSTERLABEL, MC_TPCREFS, TRACKCLUSTERS, TRACKLABEL, TRACKS
from o2dask.reco.tpc.simulation import simulate_tpc

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
    clusters = columns(CLUSTERLABEL, 8, mc=[0, 0, 2, 3, 3, -1, 0, 2], mc_other=[-1] * 6 + [2, -1])
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
    assert shares["noise"] == shares["findable particles, missed"] == 1 / 8
    assert shares["found particles, left out (kinks, edges, outliers)"] == 1 / 8
    assert shares["found particles, merged with a neighbour's"] == 1 / 8


def owned(track: list[int]) -> Ownership:
    """Return who owns the clusters of `event`: its labels, and these tracks."""
    truth, labels = event()
    label = truth["TPC/CLUSTERLABEL"]["mc"]
    return Ownership(label, np.array(track), np.zeros(8, bool), labels["mc"], labels["purity"])


@pytest.mark.parametrize(
    ("track", "particle", "kind"),
    [
        pytest.param([0, 1, 2, -1, -1, -1, 0, 2], 3, "not seen", id="free"),
        pytest.param([0, 1, 2, 3, 3, 3, 0, 2], 3, "decays in the TPC", id="decays"),
        pytest.param([0, 0, 2, 2, 2, 2, 1, 2], 0, "mixed track", id="its own track is not pure"),
        pytest.param([2, 2, 2, 2, 2, 2, 2, 2], 0, "taken by another track", id="another's track"),
    ],
)
def test_why_a_particle_failed_is_told_by_where_its_clusters_went(track: list[int], particle: int, kind: str) -> None:
    truth, labels = event()
    failure = explain(truth, owned(track), judge(truth, labels), particle)
    assert failure.kind == kind
    assert "%" in failure.reason


def test_only_findable_primaries_without_a_good_track_count_as_failed() -> None:
    truth, labels = event()
    assert failed(judge(truth, labels)).tolist() == [3]


def test_a_daughter_is_named_in_what_a_track_is_made_of() -> None:
    truth, labels = event()
    owners = owned([0, 0, 2, 2, 2, 2, 0, 2])
    particles = dict(truth["MC/PARTICLES"])
    particles["mother"] = np.array([-1, -1, 3, -1], np.int32)
    truth["MC/PARTICLES"] = Columns(MC_PARTICLES, particles)
    assert "its daughter 2" in explain(truth, owners, judge(truth, labels), 3).reason


@pytest.fixture(scope="module")
def simulated() -> tuple[dict[str, Columns], Columns, Columns, Columns]:
    """Return truth of 24 pions, 8 of them through the central electrode, with their tracks, members and labels."""
    n = 24
    eta, vertex = np.linspace(-0.8, 0.8, n), np.zeros((n, 3))
    eta[:8], vertex[:8, 2] = -0.05, 6.0
    charge = np.where(np.arange(n) % 2 == 0, 211, -211)
    collisions, particles = shoot(charge, 0.5, eta, 0.26 * np.arange(n), vertex=vertex)
    truth = {"MC/COLLISIONS": collisions, "MC/PARTICLES": particles}
    truth |= simulate_tpc(collisions, particles, n_bcs=N_BCS).payloads
    tracks, members, _ = reconstruct(truth["TPC/CLUSTERNATIVE"])
    return truth, tracks, members, label_tracks(tracks, members, truth["TPC/CLUSTERLABEL"])


def test_tracks_through_the_central_electrode_are_joined_and_know_their_time(simulated) -> None:
    truth, tracks, _, labels = simulated
    figures = crossing_figures(truth, tracks, judge(truth, labels))
    assert figures["n"] >= 6
    assert figures["joined"] > 0.8
    one_sided = Columns(TRACKS, dict(tracks) | {"sides": np.ones(tracks.n_rows, np.uint8)})
    assert crossing_figures(truth, one_sided, judge(truth, labels))["joined"] == 0


def test_figures_of_a_timeframe_are_complete_and_print_beside_their_targets(simulated, tmp_path: Path) -> None:
    truth, tracks, members, labels = simulated
    result = json.loads(json.dumps(evaluate(truth, tracks, members, labels)))
    assert result["rates"]["primaries, pt 0.5-1.0"]["efficiency"] == 1.0
    assert sum(result["attachment"].values()) == pytest.approx(1.0)
    assert result["failures"] == {}
    result["full timeframe"] = {
        "clusters": 31e6, "small_clusters": 1e6, "peak_bytes_per_cluster": 151.0, "slowdown": 1.3,
    }  # fmt: skip
    text = "\n".join((*quality_lines(result), *target_lines(result)))
    assert "across the central electrode" in text
    assert [line.split()[-1] for line in text.splitlines()[-2:]] == ["MISSED", "met"]
    assert draw_failures(tmp_path / "none.png", *simulated) == 0


def test_a_picture_shows_particles_whose_tracks_were_spoilt(simulated, tmp_path: Path) -> None:
    truth, tracks, members, labels = simulated
    spoilt = Columns(TRACKLABEL, dict(labels) | {"purity": np.full(labels.n_rows, 0.5, np.float32)})
    assert draw_failures(tmp_path / "spoilt.png", truth, tracks, members, spoilt) == 6
    assert (tmp_path / "spoilt.png").read_bytes()[:4] == b"\x89PNG"


def test_dead_blocks_cover_about_the_share_asked_for() -> None:
    pads = 36 * int(pad_rows().n_pads.sum())
    assert len(dead_blocks(0.02)) * 8 * 16 == pytest.approx(0.02 * pads, rel=0.01)
    assert dead_blocks(0.0) == ()
    with pytest.raises(ConfigError, match="dead in"):
        BenchSettings(dead=0.7)


def test_o2dask_bench_tpc_prints_stages_and_figures(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    ran = CliRunner().invoke(app, ["bench", "tpc", "--collisions", "1", "--runs", "1", "--json", str(out)])
    assert ran.exit_code == 0, ran.output
    assert "CPU us per cluster" in ran.output
    assert json.loads(out.read_text())["stages_us"]["finding"] > 0


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
