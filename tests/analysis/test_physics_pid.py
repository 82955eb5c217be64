"""PID: formulas against O2's, one track at a time, and closures of the fit."""

import math

import numpy as np
import pytest

from o2dask.analysis.formulas.constants import MASSES
from o2dask.analysis.physics.pid_tof import TofResponse, tof_beta, tof_mass, tof_n_sigma, tof_signal
from o2dask.analysis.physics.pid_tpc import (
    TpcResponse,
    bethe_bloch_aleph,
    fit_tpc_response,
    species_of_pdg,
    tpc_n_sigma,
)
from o2dask.errors import ConfigError, DataError

C = 0.0299792458
ALEPH = TpcResponse().bethe_bloch


def o2_bethe_bloch(bg, p):
    """BetheBlochAleph.h, written as there."""
    beta = bg / math.sqrt(1 + bg * bg)
    aa = beta ** p[3]
    bb = math.log(p[2] + (1 / bg) ** p[4])
    return (p[1] - aa - bb) * p[0] / aa


def test_the_energy_loss_is_that_of_aleph_and_has_its_shape():
    bg = np.geomspace(0.1, 1000, 200)
    loss = bethe_bloch_aleph(bg, ALEPH)
    np.testing.assert_allclose(loss, [o2_bethe_bloch(x, ALEPH) for x in bg], rtol=1e-12)
    assert 2.5 < bg[np.argmin(loss)] < 5  # minimum ionising
    assert 0.9 < loss.min() < 1.1
    assert 1.3 < loss[-1] / loss.min() < 2  # relativistic rise


def tpc_sample(rng, n, response):
    names = rng.choice(["El", "Pi", "Ka", "Pr"], n)
    p = rng.uniform(0.2, 1.0, n) ** -1.5 * 0.3
    n_clusters = rng.integers(70, 153, n)
    mean = np.zeros(n)
    for name in np.unique(names):
        mean = np.where(names == name, response.expected(p, name), mean)
    signal = mean * (1 + response.relative_width(n_clusters) * rng.normal(size=n))
    return {
        "tpcInnerParam": p.astype(np.float32),
        "tpcSignal": signal.astype(np.float32),
        "tpcNClsFound": n_clusters,
        "hasTPC": np.ones(n, bool),
    }, names


def test_the_right_hypothesis_is_centred_with_width_one():
    table, names = tpc_sample(np.random.default_rng(1), 20000, TpcResponse())
    for name in ("El", "Pi", "Ka", "Pr"):
        pull = tpc_n_sigma(table, name)[names == name]
        assert abs(pull.mean()) < 5 / math.sqrt(len(pull))
        assert abs(pull.std() - 1) < 5 / math.sqrt(2 * len(pull))
    slow = (names == "Pr") & (table["tpcInnerParam"] < 0.6)
    assert tpc_n_sigma(table, "Pi")[slow].min() > 5


def test_sigmas_are_those_of_o2_for_one_track():
    track = {"tpcInnerParam": 0.7, "tpcSignal": 63.0, "tpcNClsFound": 120, "hasTPC": True}
    table = {name: np.array([value]) for name, value in track.items()}
    response = TpcResponse(resolution=(0.05, 60.0))
    for name, charge in (("Pi", 1), ("He", 2)):
        expected = 50 * o2_bethe_bloch(0.7 / MASSES[name], ALEPH) * charge**2.299999952316284
        sigma = expected * 0.05 * math.sqrt(1 + 60 / 120)
        np.testing.assert_allclose(tpc_n_sigma(table, name, response), (63 - expected) / sigma, rtol=1e-5)


def test_tracks_without_tpc_get_minus_999():
    table, _ = tpc_sample(np.random.default_rng(2), 10, TpcResponse())
    table["hasTPC"][3] = False
    found = tpc_n_sigma(table, "Ka")
    assert found[3] == -999 and (np.delete(found, 3) != -999).all()


def test_the_fit_gives_back_the_response_that_made_the_data():
    truth = TpcResponse(bethe_bloch=(0.028, 22.0, 1e-12, 2.4, 5.5), resolution=(0.05, 60.0))
    rng = np.random.default_rng(3)
    table, names = tpc_sample(rng, 40000, truth)
    names = names.copy()
    wrong = rng.random(len(names)) < 0.01
    names[wrong] = "Pr"  # mislabelled
    found = fit_tpc_response(table["tpcInnerParam"], table["tpcSignal"], names, table["tpcNClsFound"])
    p = np.geomspace(0.35, 3, 30)
    for name in ("Pi", "Ka", "Pr"):
        np.testing.assert_allclose(found.expected(p, name) / truth.expected(p, name), 1, atol=0.015)
    n = np.array([80, 110, 150])
    np.testing.assert_allclose(found.relative_width(n) / truth.relative_width(n), 1, atol=0.08)


def test_a_fit_needs_tracks():
    with pytest.raises(DataError, match="want 200 tracks of known species, got 3"):
        fit_tpc_response(np.ones(3), np.ones(3), np.array(["Pi"] * 3), np.ones(3))


def test_species_follow_from_pdg_codes():
    pdg = np.array([211, -211, 2212, -11, 22, 1000010020])
    assert species_of_pdg(pdg).tolist() == ["Pi", "Pi", "Pr", "El", "", "De"]


def tof_sample(rng, n, species, event_time=0.0, resolution=60.0):
    """Return tracks whose time was stored as O2 does: measured minus expected for the pion hypothesis."""
    p = rng.uniform(0.5, 2.5, n)
    length = rng.uniform(370, 450, n)
    mass = MASSES[species]
    arrival = event_time + length * np.hypot(1, mass / p) / C + resolution * rng.normal(size=n)
    pion = length * np.hypot(1, MASSES["Pi"] / p) / C
    return {
        "p": p,
        "length": length,
        "tofExpMom": p,
        "trackTime": (arrival - pion) / 1000,
        "hasTOF": np.ones(n, bool),
        "pidForTracking": np.full(n, 2, np.uint32),
    }


@pytest.mark.parametrize("species", ["Pi", "Ka", "Pr"])
def test_time_of_flight_identifies_the_particle(species):
    table = tof_sample(np.random.default_rng(4), 5000, species, event_time=120.0)
    beta = table["p"] / np.hypot(table["p"], MASSES[species])
    found = tof_beta(table, event_time=120.0)
    assert abs((found - beta).mean()) < 1e-3
    slow = table["p"] < 1.0
    if species != "Pi":
        assert abs(np.median(tof_mass(table, 120.0)[slow]) / MASSES[species] - 1) < 0.01
    response = TofResponse(momentum=(0.0, 0.0, 0.0, 0.0))
    pull = tof_n_sigma(table, species, response, event_time=120.0)
    assert abs(pull.mean()) < 5 / math.sqrt(5000) and abs(pull.std() - 1) < 5 / math.sqrt(10000)


def test_tof_sigmas_are_those_of_o2_for_one_track():
    """ExpTimes::GetSeparation and GetExpectedSigma with TOFResoParamsV2's defaults, written as there."""
    p, length, time, m = 1.2, 400.0, 0.35, MASSES["Ka"]
    table = {
        "p": np.array([p]),
        "length": np.array([length]),
        "tofExpMom": np.array([p]),
        "trackTime": np.array([time]),
        "hasTOF": np.array([True]),
        "pidForTracking": np.array([2], np.uint32),
    }
    signal = time * 1000 + length * math.sqrt(MASSES["Pi"] ** 2 + p * p) / (C * p)
    expected = length * math.sqrt(m * m + p * p) / (C * p)
    dpp = 0.008 + 0.008 * p + 0.002 * m / p
    sigma = dpp * signal / (1 + p * p / (m * m))
    total = math.sqrt(sigma * sigma + 40.0 * 40.0 / p / p + 60.0 * 60.0 + 20.0**2)
    np.testing.assert_allclose(tof_signal(table), signal, rtol=1e-6)
    found = tof_n_sigma(table, "Ka", event_time=10.0, event_time_error=20.0)
    np.testing.assert_allclose(found, (signal - 10 - expected) / total, rtol=1e-4)


def test_tracks_without_tof_get_minus_999():
    table = tof_sample(np.random.default_rng(5), 4, "Pi")
    table["hasTOF"][1], table["tofExpMom"][1] = False, 0
    for values in (tof_signal(table), tof_beta(table), tof_mass(table), tof_n_sigma(table, "Pi")):
        assert values[1] == -999 and np.isfinite(values).all() and (np.delete(values, 1) != -999).all()


def test_columns_of_a_table_are_taken_by_their_getters(aod):
    tracks = aod[0].tracks
    assert tpc_n_sigma(tracks, "Pi").shape == tof_n_sigma(tracks, "Pi").shape == (len(tracks),)
    assert (tof_beta(tracks)[~tracks.hasTOF()] == -999).all()


def test_unknown_species_and_settings_are_refused():
    with pytest.raises(ConfigError, match="want one of El, Mu, Pi"):
        TpcResponse().expected(np.ones(1), "pion")
    with pytest.raises(ConfigError, match="positive mip"):
        TpcResponse(mip=0)
    with pytest.raises(ConfigError, match="4 parameters"):
        TofResponse(momentum=(0.1,))
