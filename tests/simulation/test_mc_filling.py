"""Bunch crossings and rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2dask.errors import ConfigError
from o2dask.reco.simulation.filling import (
    ABORT_GAP,
    FILLING,
    bunch_slots,
    colliding_bcs,
    mean_per_crossing,
    parse_rate,
    place_collisions,
)

SEED = 5


@pytest.mark.parametrize(("scheme", "spacing", "low", "high"), [("pbpb", 2, 1100, 1300), ("pp", 1, 2200, 2500)])
def test_default_schemes_have_trains_an_abort_gap_and_as_many_collisions_as_run_3(scheme, spacing, low, high):
    slots = bunch_slots(scheme)
    assert np.diff(slots).min() == spacing
    assert slots.max() < 3564 - ABORT_GAP
    assert low < len(colliding_bcs(scheme)) < high


@pytest.mark.parametrize("scheme", [*FILLING, "0:10x3*2+891"])
def test_colliding_bcs_are_those_where_both_beams_are(scheme):
    slots = set(bunch_slots(scheme).tolist())
    want = [bc for bc in range(3564) if (bc - 344) % 3564 in slots and (bc - 3017) % 3564 in slots]
    assert colliding_bcs(scheme).tolist() == want


def test_nested_repeats_multiply():
    assert bunch_slots("5:2x1*2+10*2+100").tolist() == [5, 6, 15, 16, 105, 106, 115, 116]


@pytest.mark.parametrize("scheme", ["", "56x2", "0:56", "0:2x2;", "0:3x1*99999+1", "lhc"])
def test_a_scheme_that_cannot_be_read_is_a_config_error(scheme):
    with pytest.raises(ConfigError, match="filling scheme"):
        bunch_slots(scheme)


def test_a_scheme_without_collisions_at_point_2_is_a_config_error():
    with pytest.raises(ConfigError, match="no bunches meet"):
        colliding_bcs("0:10x1")


def test_the_mean_number_of_collisions_is_rate_times_time():
    rng, rate, n_timeframes = np.random.default_rng(SEED), 50e3, 400
    n = np.array([len(place_collisions(rng, "pbpb", 32, rate_hz=rate)) for _ in range(n_timeframes)])
    want = rate * 32 * 3564 * 10 / 400.789e6
    assert abs(n.mean() - want) < 5 * np.sqrt(want / n_timeframes)
    assert abs(n.var() / want - 1) < 5 * np.sqrt(2 / n_timeframes)


def test_each_colliding_crossing_has_a_poisson_number_of_collisions():
    rate, n_orbits = 20e6, 200
    bc = place_collisions(np.random.default_rng(SEED), "pp", n_orbits, rate_hz=rate)
    per_bc = np.bincount(np.unique(bc, return_counts=True)[1], minlength=4)[:4]
    mu, n = mean_per_crossing(rate, "pp"), n_orbits * len(colliding_bcs("pp"))
    for k, want in enumerate(n * np.exp(-mu) * np.array([mu, mu**2 / 2, mu**3 / 6]), start=1):
        assert abs(per_bc[k] - want) < 5 * np.sqrt(want)


@given(st.integers(0, 300), st.integers(1, 8), st.integers(0, 2**31))
def test_collisions_lie_in_colliding_bcs_of_the_timeframe_in_order(n, n_orbits, seed):
    bc = place_collisions(np.random.default_rng(seed), "pbpb", n_orbits, collisions=n)
    assert len(bc) == n
    assert np.isin(bc % 3564, colliding_bcs("pbpb")).all()
    assert ((bc >= 0) & (bc < n_orbits * 3564)).all()
    assert (np.diff(bc) >= 0).all()


def test_collisions_spread_over_the_whole_timeframe():
    bc = place_collisions(np.random.default_rng(SEED), "pp", 32, collisions=20_000)
    per_orbit = np.bincount(bc // 3564, minlength=32)
    assert ((per_orbit - 625) ** 2 / 625).sum() < 31 + 5 * np.sqrt(62)


@pytest.mark.parametrize(
    ("text", "rate"), [("50kHz", 5e4), ("50 khz", 5e4), ("0.5MHz", 5e5), ("12", 12.0), (3e5, 3e5), ("1e3Hz", 1e3)]
)
def test_rates_are_read_with_their_units(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "-5kHz", "5GHz", "1.2.3", "5 k m"])
def test_a_rate_that_cannot_be_read_is_a_config_error(text):
    with pytest.raises(ConfigError, match="interaction rate"):
        parse_rate(text)
