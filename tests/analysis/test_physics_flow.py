"""Centrality against ranks; flow against what was put in."""

import json

import numpy as np
import pytest

from o2dask.analysis.physics.centrality import CentralityCalibration, calibrate_centrality, load_centrality
from o2dask.analysis.physics.flow import (
    event_plane,
    full_resolution,
    q_vectors,
    resolution_two,
    v_event_plane,
    v_scalar_product,
)
from o2dask.errors import ConfigError, DataError, ShapeError


def test_percentiles_of_the_calibrating_sample_are_flat():
    amplitude = np.random.default_rng(1).exponential(100, 20000)
    percentile = calibrate_centrality(amplitude).percentile(amplitude)
    counts, _ = np.histogram(percentile, bins=20, range=(0, 100))
    assert np.abs(counts - 1000).max() <= 20  # the events between two of the 1000 stored points
    assert percentile[np.argmax(amplitude)] < 0.2 and percentile[np.argmin(amplitude)] > 99.8


def test_percentiles_count_larger_events_and_half_of_the_equal_ones():
    amplitude = np.array([3, 1, 2, 2, 5, 2, 0, 9])
    found = calibrate_centrality(amplitude).percentile(amplitude)
    wanted = [100 * ((amplitude > a).sum() + (amplitude == a).sum() / 2) / 8 for a in amplitude]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_allclose(found.mean(), 50)


def test_events_below_the_anchor_are_outside():
    amplitude = np.random.default_rng(2).uniform(0, 100, 50000)
    calibration = calibrate_centrality(amplitude, anchor=20.0, anchor_percentile=90.0)
    found = calibration.percentile([100.0, 60.0, 20.0, 19.9, np.nan])
    np.testing.assert_allclose(found, [0, 45, 90, 101, 101], atol=0.5)
    np.testing.assert_allclose(calibration.amplitude_at([0, 45, 90]), [100, 60, 20], atol=0.5)


def test_a_calibration_is_kept_as_json(tmp_path):
    amplitude = np.random.default_rng(3).gamma(1.5, 100, 5000)
    for anchor in (None, 50.0):
        calibration = calibrate_centrality(amplitude, "multFT0M", anchor=anchor, n_points=200)
        calibration.save(tmp_path / "centrality.json")
        assert load_centrality(tmp_path / "centrality.json") == calibration
        assert len(calibration.amplitudes) <= 200
        full = calibrate_centrality(amplitude, anchor=anchor, n_points=10**6)
        assert np.abs(calibration.percentile(amplitude) - full.percentile(amplitude)).max() < 0.6


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', json.dumps({"format": "o2dask-centrality-1"})])
def test_another_file_is_no_calibration(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(DataError, match=r"c\.json: want a centrality calibration"):
        load_centrality(tmp_path / "c.json")


def test_contradictions_of_a_calibration_are_refused():
    with pytest.raises(ConfigError, match="growing amplitudes"):
        CentralityCalibration(estimator="x", amplitudes=(1, 1), percentiles=(100, 0))
    with pytest.raises(DataError, match="want events, got none"):
        calibrate_centrality([1.0, 2.0], anchor=5.0)


def toy(rng, n_events, n_tracks, v2, n=2):
    """Return azimuths (with dN/dphi = 1 + 2 v2 cos n(phi - Psi)), events, etas and planes."""
    plane = rng.uniform(-np.pi, np.pi, n_events)
    event = np.repeat(np.arange(n_events), n_tracks)
    phi = rng.uniform(-np.pi, np.pi, len(event) * 2)
    keep = rng.random(len(phi)) * (1 + 2 * v2) < 1 + 2 * v2 * np.cos(n * (phi - np.tile(plane[event], 2)))
    phi, event = phi[keep], np.tile(event, 2)[keep]
    return phi, event, rng.uniform(-0.8, 0.8, len(phi)), plane


@pytest.mark.parametrize("v2", [0.05, 0.12])
def test_the_flow_that_was_put_in_comes_back(v2):
    n_events = 3000
    phi, event, eta, plane = toy(np.random.default_rng(4), n_events, 300, v2)
    third = np.digitize(eta, [-0.3, 0.3])
    (q_a, n_a), (q_b, n_b) = (q_vectors(phi[third == k], event[third == k], n_events) for k in (0, 2))
    of_interest = third == 1
    resolution = resolution_two(q_a, q_b)
    true_resolution = np.mean(np.cos(2 * (event_plane(q_a) - plane)))
    assert abs(resolution / true_resolution - 1) < 0.05
    for found in (
        v_event_plane(phi[of_interest], event[of_interest], q_a, resolution),
        v_scalar_product(phi[of_interest], event[of_interest], q_a / n_a, q_b / n_b),
    ):
        assert abs(found.value - v2) < 5 * found.error + 0.02 * v2  # and the resolution's own error
        assert found.error < 0.05 * v2


def test_both_subevents_together_resolve_better_as_the_formula_says():
    n_events = 20000
    phi, event, eta, plane = toy(np.random.default_rng(5), n_events, 100, 0.08)
    (q_a, _), (q_b, _) = (q_vectors(phi[side], event[side], n_events) for side in (eta < 0, eta > 0))
    wanted = np.mean(np.cos(2 * (event_plane(q_a + q_b) - plane)))
    assert abs(full_resolution(resolution_two(q_a, q_b)) / wanted - 1) < 0.03
    assert abs(full_resolution(0.5, 1.0) - 0.5) < 1e-9


def test_tracks_without_an_event_count_nowhere():
    q, weights = q_vectors(np.array([0.0, 1.0, 0.0]), np.array([0, -1, 2]), 3, weights=np.array([2.0, 5.0, 1.0]))
    np.testing.assert_allclose(q, [2, 0, 1])
    assert weights.tolist() == [2, 0, 1]
    assert np.isnan(event_plane(q)[1])


def test_errors_are_those_of_the_spread_over_experiments():
    rng, values, errors = np.random.default_rng(6), [], []
    for _ in range(40):
        phi, event, _, plane = toy(rng, 200, 50, 0.1)
        found = v_event_plane(phi, event, np.exp(2j * plane), 1.0)
        values.append(found.value)
        errors.append(found.error)
    assert 0.7 < np.std(values) / np.mean(errors) < 1.35


def test_no_flow_has_no_resolution():
    q = np.exp(1j * np.array([0.0, 0.0, 0.0]))
    with pytest.raises(DataError, match="not correlated"):
        resolution_two(q, -q)
    with pytest.raises(DataError, match="at least 2 events"):
        v_event_plane(np.zeros(1), np.zeros(1, int), np.ones(3, complex), 0.5)
    with pytest.raises(DataError, match="between 0 and 1"):
        full_resolution(1.5)
    with pytest.raises(ShapeError, match="equal length"):
        q_vectors(np.zeros(2), np.zeros(3, int), 4)
