"""Primary vertexing of dense collisions: who wins the competition for tracks, and what time bounds are worth."""

import numpy as np
import pytest

from o2dask.columns import Columns
from o2dask.errors import ConfigError
from o2dask.reco.calibration.objects import DriftVelocity, MeanVertex
from o2dask.reco.geometry.tpc import BZ_KG, TIME_BIN_BC
from o2dask.reco.tpc.schema import TRACKS
from o2dask.reco.vertexing.beamline import B2C
from o2dask.reco.vertexing.mixture import assign, close_pairs
from o2dask.reco.vertexing.params import VertexParams
from o2dask.reco.vertexing.performance import judge_vertices
from o2dask.reco.vertexing.primary import find_primary_vertices
from o2dask.reco.vertexing.seeding import Candidates, find_candidates
from o2dask.reco.vertexing.seen import see

V = DriftVelocity().cm_per_time_bin
X_IN, X_OUT = 85.0, 245.0


def collisions(rng, n, spacing, multiplicity):
    """Return t [time bins], z [cm] and tracks of collisions `spacing` time bins apart on average."""
    return np.cumsum(rng.exponential(spacing, n)) + 600, rng.normal(0, 6, n), 2 + rng.poisson(multiplicity, n)


def straight_tracks(rng, t, z, n_each):
    """Return TPC/TRACKS, labels and truth: stiff tracks from the beam line, errors and time bounds as the TPC has."""
    of = np.repeat(np.arange(len(t)), n_each)
    tgl, phi = np.sinh(rng.uniform(-1.5, 1.5, len(of))), rng.uniform(-np.pi, np.pi, len(of))
    z_in, z_out = z[of] + X_IN * tgl, z[of] + X_OUT * tgl
    stays = (z_in * z_out > 0) & (np.abs(z_in) < 240)
    of, tgl, phi, z_in, z_out = (part[stays] for part in (of, tgl, phi, z_in, z_out))
    n, side = len(of), np.where(z_in > 0, 1, -1)
    sigma = rng.choice([0.2, 0.5, 0.9], n)
    # the tracker's guess points to z = 0
    time0 = t[of] - side * z[of] / V + rng.normal(0, sigma) / V
    # the last cluster of a track that leaves is up to a row, 3 time bins, before the pads
    last = 250 - V * rng.uniform(0, 3.8, n)
    x_out = np.where(np.abs(z_out) > last, X_IN + (last - np.abs(z_in)) / np.abs(tgl), X_OUT + 0.6)
    depth_in, depth_out = np.abs(z_in), np.minimum(np.abs(z_out), last)
    k = B2C * BZ_KG * 0.05  # 20 GeV/c
    columns = dict(TRACKS.empty(n))
    columns |= {
        "alpha": phi,
        "x": np.full(n, X_IN),
        "y": np.full(n, k * X_IN**2 / 2),
        "z": z_in + side * V * (time0 - t[of]) + rng.normal(0, sigma),
        "snp": np.full(n, k * X_IN),
        "tgl": tgl,
        "q2pt": np.full(n, 0.05),
        "time0": time0,
        "time_fwd": (250 - depth_out) / V + t[of] - time0,
        "time_bwd": depth_in / V + time0 - t[of],
        "n_clusters": np.full(n, 120),
        "sides": np.where(side > 0, 1, 2),
        "x_out": x_out,
    }
    cov = np.zeros((n, 15))
    cov[:, 2] = sigma**2
    cov[:, [0, 5, 9, 14]] = [0.01, 1e-5, 1e-8, 1e-6]
    tracks = Columns(
        TRACKS, {name: np.asarray(v).astype(TRACKS[name].dtype) for name, v in (columns | {"cov": cov}).items()}
    )
    truth = {
        "MC/COLLISIONS": {"bc": t * TIME_BIN_BC, "t": np.zeros(len(t)), "z": z},
        "MC/PARTICLES": {"collision": of},
    }
    return tracks, {"mc": np.arange(n)}, truth


@pytest.fixture(scope="module")
def dense():
    """120 collisions, 10 time bins apart: 500 kHz."""
    rng = np.random.default_rng(3)
    return straight_tracks(rng, *collisions(rng, 120, 10.0, 12.0))


def judged(dense, params=None, **changed):
    tracks, labels, truth = dense
    columns = {name: tracks[name] for name in TRACKS.names} | changed
    found = find_primary_vertices(Columns(TRACKS, columns), params)
    return judge_vertices(truth, tracks, labels, found, params)


def test_dense_collisions_are_found_with_their_place(dense):
    outcome = judged(dense)
    assert outcome.efficiency() > 0.8
    assert outcome.efficiency(within_cm=1.0) > 0.75
    assert np.nanmean(outcome.purity) > 0.8


def test_tracks_that_leave_through_the_pads_tell_which_peaks_belong_together(dense):
    tracks, _, truth = dense
    seen = see(tracks, VertexParams(), BZ_KG, MeanVertex(), DriftVelocity())
    t_true = truth["MC/COLLISIONS"]["bc"][truth["MC/PARTICLES"]["collision"]] / TIME_BIN_BC
    off = (seen.time - t_true)[seen.leaves]
    assert seen.leaves.mean() > 0.25 and np.percentile(np.abs(off), 90) < 2.5
    ends = judged(dense).efficiency(within_cm=1.0)
    no_ends = judged(dense, VertexParams(exit_min_tgl=100.0)).efficiency(within_cm=1.0)
    n = tracks.n_rows
    wide = {name: np.full(n, 600, np.float32) for name in ("time_fwd", "time_bwd")}
    nothing = judged(dense, VertexParams(exit_min_tgl=100.0), **wide).efficiency(within_cm=1.0)
    assert ends > no_ends + 0.1 and no_ends > nothing + 0.1


def test_a_track_that_ended_for_another_reason_is_not_lost(dense):
    tracks, labels, truth = dense
    columns = {name: tracks[name].copy() for name in TRACKS.names}
    early = np.flatnonzero((columns["x_out"] > X_OUT) & (np.abs(columns["tgl"]) > 0.6))[::3]
    columns["x_out"][early] = 200.0
    columns["time_fwd"][early] += 60.0
    found = find_primary_vertices(Columns(TRACKS, columns))
    assert np.isin(early, found[1]["track"]).mean() > 0.9
    assert judge_vertices(truth, tracks, labels, found).efficiency(within_cm=1.0) > 0.7


def test_a_toll_of_many_tracks_leaves_only_large_vertices(dense):
    tracks, _, _ = dense
    few, _ = find_primary_vertices(tracks, VertexParams(toll=12.0))
    many, _ = find_primary_vertices(tracks)
    assert 0 < few.n_rows < 0.7 * many.n_rows
    assert few["n_contributors"].mean() > many["n_contributors"].mean()


def test_the_luminous_region_decides_where_tracks_of_one_side_come_from():
    rng = np.random.default_rng(5)
    tracks, _, _ = straight_tracks(rng, np.array([1000.0]), np.array([12.0]), np.array([40]))
    one_side = Columns(TRACKS, {name: tracks[name][tracks["sides"] == 1] for name in TRACKS.names})
    for z in (3.0, 12.0):
        blind = VertexParams(exit_min_tgl=100.0)  # none has a time of its own
        vertices, _ = find_primary_vertices(one_side, blind, beam=MeanVertex(z=z, sigma_z=0.5))
        assert vertices.n_rows == 1
        assert vertices["z"][0] == pytest.approx(z, abs=0.5)
        assert np.sqrt(vertices["cov"][0, 5]) == pytest.approx(0.5, rel=0.1)


def test_vertices_lie_on_the_beam_line_though_it_is_inclined():
    rng = np.random.default_rng(6)
    t, z = np.array([900.0, 1500.0]), np.array([-9.0, 11.0])
    tracks, _, _ = straight_tracks(rng, t, z, np.array([60, 60]))
    vertices, _ = find_primary_vertices(
        tracks, beam=MeanVertex(slope_x=0.02, slope_y=-0.01, sigma_x=1e-3, sigma_y=1e-3)
    )
    assert vertices["x"] == pytest.approx(0.02 * vertices["z"], abs=0.005)
    assert vertices["y"] == pytest.approx(-0.01 * vertices["z"], abs=0.005)
    assert vertices["z"] == pytest.approx(z, abs=0.5)


def test_pairs_are_all_vertices_within_the_window_at_times_that_the_track_allows(dense):
    tracks, _, _ = dense
    params = VertexParams()
    seen = see(tracks, params, BZ_KG, MeanVertex(), DriftVelocity())
    candidates = find_candidates(seen, params)
    rows = np.arange(0, tracks.n_rows, 7)
    pairs = close_pairs(seen, rows, candidates.t, candidates.z, params)
    made = set(zip(pairs.track.tolist(), pairs.vertex.tolist(), strict=True))
    slow = set()
    for i in rows.tolist():
        for k, (t, z) in enumerate(zip(candidates.t, candidates.z, strict=True)):
            chi2 = ((z - seen.side[i] * seen.v * t - seen.u[i]) / seen.sigma[i]) ** 2
            if seen.leaves[i]:
                flat = params.exit_outliers
                near = np.exp(-0.5 * ((t - seen.time[i]) / params.exit_sigma) ** 2)
                chi2 -= 2 * np.log((near + flat) / (1 + flat))
            if chi2 < params.n_sigma**2 and seen.early[i] <= t <= seen.late[i]:
                slow.add((i, k))
    assert made == slow and len(slow) > 1000


def test_a_track_goes_to_the_likeliest_vertex_not_the_nearest(dense):
    tracks, _, _ = dense
    seen = see(tracks, VertexParams(), BZ_KG, MeanVertex(), DriftVelocity())
    i = int(np.flatnonzero((seen.side == 1) & (seen.sigma < 0.5) & ~seen.leaves)[0])
    t = np.full(2, 0.5 * (seen.early[i] + seen.late[i]))
    z = seen.u[i] + seen.v * t + seen.sigma[i] * np.array([0.5, -1.0])
    for weight, winner in (((1.0, 1.0), 0), ((1.0, 5.0), 1)):
        members = assign(seen, Candidates(t, z, np.array(weight)), VertexParams())
        (row,) = np.flatnonzero(members.track == i)
        assert members.vertex[row] == winner
        assert members.chi2[row] == pytest.approx((0.25, 1.0)[winner])
        assert (np.diff(members.track) > 0).all()


def test_a_judge_that_is_given_the_truth_finds_nothing_wrong(dense):
    tracks, labels, truth = dense
    of, t = truth["MC/PARTICLES"]["collision"], truth["MC/COLLISIONS"]["bc"] / TIME_BIN_BC
    members = {"track": np.arange(tracks.n_rows)}
    vertices = {"t": t * 199.606277, "z": truth["MC/COLLISIONS"]["z"], "n_tracks": np.bincount(of, minlength=len(t))}
    outcome = judge_vertices(truth, tracks, labels, (vertices, members))
    assert outcome.efficiency(1) == 1.0 and outcome.splits() == 0.0 and np.nanmin(outcome.purity) == 1.0
    assert np.nanmax(np.abs(outcome.t_off)) < 30
    nothing = judge_vertices(truth, tracks, labels, ({"t": [], "z": [], "n_tracks": np.zeros(0, int)}, {"track": []}))
    assert nothing.efficiency(1) == 0.0


def test_settings_without_sense_are_refused():
    with pytest.raises(ConfigError, match="windows and errors above 0"):
        VertexParams(n_sigma=0.0)
    with pytest.raises(ConfigError, match="1 round and row or more"):
        VertexParams(rounds=0)


@pytest.mark.parametrize(("n", "away", "stays"), [(2, 200.0, False), (4, 400.0, True), (30, 200.0, True)])
def test_a_few_tracks_far_from_a_central_collision_are_its_tail(n, away, stays):
    rng = np.random.default_rng(8)
    tracks, _, _ = straight_tracks(rng, np.array([1500.0, 1500.0 + away]), np.zeros(2), np.array([7000, 2 * n]))
    vertices, _ = find_primary_vertices(tracks)
    assert (np.abs(vertices["t"] / 199.606277 - 1500 - away) < 3).any() == stays
    assert vertices["n_contributors"].max() > 2000
