"""Performance against truth: what is counted, and truth carried to the track."""

import numpy as np
import pytest

from o2dask.reco.geometry.tpc import BZ_KG
from o2dask.reco.qc.performance import PULL_NAMES, Performance
from o2dask.reco.qc.plots import _half_width, plot_performance, plot_timeframe, pull_widths
from o2dask.reco.qc.propagation import B2C, truth_at_track


def stepped(point, momentum, charge, dx, steps=20000):
    """Carry a particle by small straight steps until its x grew by dx (alpha = 0): slow and obvious."""
    p = np.array(momentum, float)
    r = np.array(point, float)
    pt = np.hypot(p[0], p[1])
    length = dx / steps
    for _ in range(steps):
        angle = np.arctan2(p[1], p[0])
        ds = length / np.cos(angle)
        bend = B2C * BZ_KG * charge / pt * ds
        r += np.array([np.cos(angle + bend / 2), np.sin(angle + bend / 2), p[2] / pt]) * ds
        p[:2] = pt * np.cos(angle + bend), pt * np.sin(angle + bend)
    return r, p


@pytest.mark.parametrize("charge", [-1, 1])
@pytest.mark.parametrize("dx", [5.0, -3.0])
def test_truth_follows_the_circle(charge, dx):
    point, momentum = np.array([[85.0, 3.0, 20.0]]), np.array([[0.4, 0.1, 0.3]])
    state, arrived = truth_at_track(point, momentum, np.array([charge]), np.zeros(1), np.array([85.0 + dx]), bz=BZ_KG)
    r, p = stepped(point[0], momentum[0], charge, dx)
    pt = np.hypot(*p[:2])
    assert arrived.all()
    np.testing.assert_allclose(state[0], [r[1], r[2], p[1] / pt, p[2] / pt, charge / pt], rtol=1e-5)


def test_an_inward_particle_is_described_as_its_antiparticle_outward():
    point, momentum = np.array([[85.0, 3.0, 20.0]]), np.array([[0.4, 0.1, 0.3]])
    args = (np.zeros(1), np.array([88.0]))
    outward, _ = truth_at_track(point, momentum, np.array([1]), *args, bz=BZ_KG)
    inward, _ = truth_at_track(point, -momentum, np.array([-1]), *args, bz=BZ_KG)
    np.testing.assert_allclose(inward, outward)


def test_a_turn_before_the_plane_does_not_arrive():
    _, arrived = truth_at_track(
        np.array([[85.0, 0, 0]]), np.array([[0.05, 0.1, 0]]), np.array([1]), np.zeros(1), np.array([180.0]), bz=BZ_KG
    )
    assert not arrived.any()


def tables(labels, masks, pt_tracks, pt_true):
    """Return a dataframe with particles of momentum `pt_true` along x and tracks that were found of them."""
    n, m = len(pt_tracks), len(pt_true)
    f = np.float32
    zeros = np.zeros(n, f)
    return {
        "O2track_iu": {
            "fIndexCollisions": np.zeros(n, np.int32),
            "fX": zeros + 85, "fAlpha": zeros, "fY": zeros, "fZ": zeros + 9, "fSnp": zeros, "fTgl": zeros + f(0.1),
            "fSigned1Pt": (1 / np.array(pt_tracks)).astype(f),
        },
        "O2trackcov_iu": {k: zeros + f(0.1) for k in ("fSigmaY", "fSigmaZ", "fSigmaSnp", "fSigmaTgl", "fSigma1Pt")},
        "O2trackextra_001": {"fTPCNClsFindable": np.full(n, 120, np.uint8), "fTrackTime": zeros},
        "O2mctracklabel": {"fIndexMcParticles": np.array(labels, np.int32), "fMcMask": np.array(masks, np.uint16)},
        "O2mcparticle_001": {
            "fPx": np.array(pt_true, f), "fPy": np.zeros(m, f), "fPz": 0.1 * np.array(pt_true, f),
            "fFlags": np.full(m, 4, np.uint8), "fPdgCode": np.full(m, 211, np.int32),
            "fIndexMcCollisions": np.zeros(m, np.int32),
        },
        "O2bc_001": {"fGlobalBC": np.array([100], np.uint64)},
        "O2collision_001": {"fIndexBCs": np.zeros(1, np.int32), "fPosX": np.zeros(1, f)},
        "O2mccollision_001": {"fIndexBCs": np.zeros(1, np.int32), "fT": np.zeros(1, f), "fPosX": np.zeros(1, f)},
        "O2ambiguoustrack": {"fIndexTracks": np.zeros(0, np.int32), "fIndexSliceBCs": np.zeros((0, 2), np.int32)},
    }  # fmt: skip


def refs(pt_true, n_clusters):
    m = len(pt_true)
    zeros = np.zeros(m)
    return {
        "mc": np.arange(m), "n_clusters": np.array(n_clusters), "x": zeros + 85, "y": zeros, "z": zeros + 9,
        "px": np.array(pt_true), "py": zeros, "pz": 0.1 * np.array(pt_true),
    }  # fmt: skip


def test_found_clones_fakes_and_the_unfindable_are_counted_apart():
    pt = [0.6, 0.8, 1.2, 2.5]
    made = tables([0, 0, 1, 3, -1], [0, 0, 1 << 15, 0, 0], [0.6, 0.6, 0.8, 2.5, 4], pt)
    judged = Performance().fill(made, refs(pt, [100, 90, 80, 69]))
    assert judged.efficiency(0.5) == pytest.approx(1 / 3)
    assert judged.clone_rate(0.5) == pytest.approx(1 / 3)
    assert judged.fake_rate(0.5) == pytest.approx(2 / 5)


def test_perfect_tracks_have_pulls_of_zero():
    pt = [0.6, 0.8]
    judged = Performance().fill(tables([0, 1], [0, 0], pt, pt), refs(pt, [100, 100]))
    pulls = judged.histograms["pulls"]
    assert pulls.sum() == 10
    for name in pulls.axes["parameter"]:
        mean = np.average(pulls.axes["pull"].centers, weights=pulls[name, :, :].project("pull").values())
        assert abs(mean) <= 0.1


def test_performance_adds_up_over_timeframes():
    pt = [0.6, 0.8]
    one = Performance().fill(tables([0, 1], [0, 0], pt, pt), refs(pt, [100, 100]))
    both = one + one
    assert both.n_timeframes == 2
    assert both.histograms["found"].sum() == 2 * one.histograms["found"].sum()


def test_pull_widths_and_resolution_are_those_put_in():
    rng = np.random.default_rng(7)
    judged = Performance()
    n = 20_000
    for name in PULL_NAMES:
        judged.histograms["pulls"].fill(name, np.full(n, 0.8), rng.normal(0.1, 1.2, n))
    for mean, width in pull_widths(judged).values():
        assert mean == pytest.approx(0.1, abs=5 * 1.2 / n**0.5)
        assert width == pytest.approx(1.2, rel=0.03)
    values, edges = np.histogram(rng.normal(0, 0.02, n), 400, (-0.2, 0.2))
    assert _half_width(edges, values) == pytest.approx(0.02, rel=0.03)
    assert np.isnan(_half_width(edges, np.zeros(400)))


def test_every_picture_is_drawn(tmp_path):
    pt = [0.6, 0.8]
    judged = Performance().fill(tables([0, 1], [0, 0], pt, pt), refs(pt, [100, 100]))
    for path in plot_performance(judged, tmp_path).values():
        assert path.read_bytes().startswith(b"\x89PNG")
    clusters = {"x": np.arange(9.0), "y": np.arange(9.0), "time": np.arange(9.0)}
    on_track = {"cluster": np.arange(6), "track": np.repeat([0, 1], 3)}
    assert plot_timeframe(clusters, on_track, tmp_path / "tf.png").stat().st_size > 1000
    nothing = {"cluster": np.zeros(0, int), "track": np.zeros(0, int)}
    plot_timeframe({k: v[:0] for k, v in clusters.items()}, nothing, tmp_path / "empty.png")
