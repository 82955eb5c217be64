"""The built-in generator against the numbers that it states."""

import numpy as np
import pytest

from o2dask.errors import ConfigError
from o2dask.reco.simulation import generator
from o2dask.reco.simulation.generator import MEAN_DNDETA, centrality, dndeta_mean, eta_shape, generate, mean_pt
from o2dask.reco.simulation.particles import charge_of


def make(system, n, **kwargs):
    return generate(system, n, np.random.default_rng(21), **kwargs)


def multiplicity(sample, eta_max=0.5):
    seen = (charge_of(sample.pdg) != 0) & (np.abs(sample.eta) < eta_max)
    return np.add.reduceat(np.append(seen, 0), sample.offsets[:-1]) * (np.diff(sample.offsets) > 0)


@pytest.fixture(scope="module")
def pp():
    return make("pp", 8000)


@pytest.fixture(scope="module")
def pbpb():
    return make("pbpb", 400)


def test_pp_multiplicity_is_the_stated_negative_binomial(pp):
    n = multiplicity(pp)
    mean, k = MEAN_DNDETA["pp"], 1.3
    variance = mean + mean**2 / k
    assert abs(n.mean() - mean) < 5 * np.sqrt(variance / len(n))
    assert abs((n == 0).mean() - (1 + mean / k) ** -k) < 5 * 0.5 / np.sqrt(len(n))
    assert abs(n.var() / variance - 1) < 0.15


def test_pbpb_multiplicity_averages_to_500_and_follows_the_impact_parameter(pbpb):
    impact = np.sqrt(767 / np.pi * np.linspace(0, 1, 10_001))
    assert abs(dndeta_mean(impact).mean() - MEAN_DNDETA["pbpb"]) < 10
    n = multiplicity(pbpb)
    want = dndeta_mean(pbpb.impact)
    width = np.sqrt(want + want**2 * 3.1 / (1.6 * want))
    pull = (n - want) / width
    assert abs(pull.mean()) < 5 / np.sqrt(len(n))
    assert abs(pull.std() - 1) < 0.25
    assert 1700 < n.max() < 2600


def test_impact_parameters_fill_centrality_evenly(pbpb):
    c = centrality(pbpb.impact)
    assert abs(c.mean() - 0.5) < 5 / np.sqrt(12 * len(c))


def test_eta_is_the_stated_shape_within_the_cut(pp):
    eta = pp.eta[charge_of(pp.pdg) != 0]
    assert np.abs(eta).max() <= 1.6
    edges = np.linspace(-1.6, 1.6, 9)
    n = np.histogram(eta, edges)[0]
    fine = np.linspace(-1.6, 1.6, 801)
    want = eta_shape(fine)[:-1].reshape(8, 100).sum(axis=1)
    want *= n.sum() / want.sum()
    assert ((n - want) ** 2 / want).sum() < 7 + 5 * np.sqrt(14)


@pytest.mark.parametrize(("code", "stated"), [(211, 0.485), (321, 0.80), (2212, 0.94), (3122, 1.07), (310, 0.80)])
def test_pp_mean_pt_is_as_stated(pp, code, stated):
    pt = np.hypot(pp.px, pp.py)[np.abs(pp.pdg) == code]
    assert abs(pt.mean() - stated) < 0.01 + 5 * pt.std() / np.sqrt(len(pt))


def test_heavier_particles_gain_more_from_radial_flow_in_central_collisions():
    gain = [mean_pt(i, 0) / mean_pt(i, 5) for i in (0, 1, 2, 3)]
    assert (np.diff(gain) > 0).all()


@pytest.mark.parametrize(("code", "ratio"), [(321, 0.131), (2212, 0.058), (310, 0.0655), (3122, 0.038), (111, 0.5)])
def test_pp_ratios_to_pions_are_as_stated(pp, code, ratio):
    n, pions = (np.abs(pp.pdg) == code).sum(), (np.abs(pp.pdg) == 211).sum()
    assert abs(n / pions - ratio) < 5 * ratio / np.sqrt(n)


def test_particles_and_antiparticles_are_even_and_weak_hadrons_decay(pp):
    n = (np.abs(pp.pdg) == 211).sum()
    assert abs((pp.pdg == 211).sum() - n / 2) < 5 * np.sqrt(n) / 2
    np.testing.assert_array_equal(pp.status == 2, np.isin(np.abs(pp.pdg), (310, 3122, 3312, 111)))


def test_elliptic_flow_has_its_stated_size_and_can_be_left_out(pbpb):
    def v2(sample):
        """Two-particle cumulant: <|Q|^2 - n> / <n (n - 1)> summed over events."""
        phi = 2 * np.arctan2(sample.py, sample.px)
        use = (sample.offsets[1:] - sample.offsets[:-1]) > 500
        q2, pairs = 0.0, 0.0
        for first, last in zip(sample.offsets[:-1][use], sample.offsets[1:][use], strict=True):
            n = last - first
            q2 += (np.abs(np.exp(1j * phi[first:last]).sum()) ** 2 - n) / n
            pairs += n - 1
        return np.sign(q2) * np.sqrt(abs(q2) / pairs)

    assert 0.04 < v2(pbpb) < 0.09
    assert abs(v2(make("pbpb", 100, flow=False))) < 0.015


def test_flow_averages_to_the_integrated_one():
    pt = np.hypot(*(getattr(make("pbpb", 50), a) for a in ("px", "py")))
    assert abs(generator._flow_of_pt(pt).mean() - 1) < 0.25


def test_an_unknown_system_is_a_config_error():
    with pytest.raises(ConfigError, match="system: want pp or pbpb"):
        make("xexe", 1)


def test_no_events_is_a_sample_of_none():
    assert make("pbpb", 0).n_events == 0
