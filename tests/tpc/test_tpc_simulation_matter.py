"""Energy loss, scattering and random numbers: against formulas, known values and distributions."""

import math

import numpy as np
import pytest
from gun import shoot
from numba import njit
from scipy import stats

from o2dask.reco.geometry.material import GAS, LAYERS, SOLID, layer_arrays
from o2dask.reco.tpc import simulation_matter_kernels as matter
from o2dask.reco.tpc import simulation_random_kernels as random
from o2dask.reco.tpc.simulation import simulate_tpc
from o2dask.reco.tpc.simulation_constants import transport
from o2dask.reco.tpc.simulation_params import TpcSimParams

PION = 0.13957039


@njit
def drawn(seed, n, shape):
    """n of each: uniform, normal, quick normal, gamma of `shape`."""
    out = np.empty((4, n))
    for i in range(n):
        state = random.hashed(np.uint64(seed), np.uint64(i))
        state, out[0, i] = random.uniform(state)
        state, out[1, i], _ = random.normal(state)
        state, out[2, i] = random.quick_normal(state)
        state, out[3, i] = random.gamma_variate(state, shape)
    return out


@pytest.mark.parametrize("shape", [0.02, 0.7, 30.0])
def test_random_numbers_have_their_distributions(shape):
    uniform, normal, quick, gamma = drawn(7, 20_000, shape)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    assert stats.kstest(gamma, stats.gamma(shape).cdf).pvalue > 1e-3
    assert abs(quick.mean()) < 4 / math.sqrt(20_000)
    assert quick.var() == pytest.approx(1, abs=4 * math.sqrt(1.7 / 20_000))
    assert np.abs(quick).max() < 3.47


def test_streams_of_neighbours_are_independent():
    a = drawn(7, 5000, 1.0)[0]
    b = drawn(8, 5000, 1.0)[0]
    assert abs(np.corrcoef(a[:-1], a[1:])[0, 1]) < 0.06
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.06


def test_minimum_ionisation_of_carbon_is_that_of_the_tables():
    losses = [matter.bethe_bloch(bg, PION, SOLID) for bg in (1.0, 3.5, 30.0)]
    assert losses[1] == pytest.approx(1.742e-3, rel=0.01)  # PDG: 1.742 MeV cm2/g for graphite
    assert losses[0] > 1.4 * losses[1] and losses[2] > losses[1]


def test_gas_is_as_light_as_neon():
    assert GAS.density == pytest.approx(0.95e-3, rel=0.03)
    assert 28_000 < GAS.radiation_length < 35_000


@njit
def losses(n, mean, xi, beta2, top, par):
    out = np.empty(n)
    for i in range(n):
        state = random.hashed(np.uint64(5), np.uint64(i))
        _, out[i] = matter.straggled_loss(state, mean, xi, beta2, top, par)
    return out


@pytest.mark.parametrize(("p", "grams"), [(1.0, 0.3), (0.3, 0.1), (5.0, 0.3), (0.02, 1.0)], ids=str)
def test_straggling_has_the_mean_loss_and_landaus_most_probable_one(p, grams):
    par = transport(TpcSimParams())
    bg, beta2 = p / PION, p * p / (p * p + PION * PION)
    mean = grams * matter.bethe_bloch(bg, PION, par)
    xi, top = 0.153538e-3 * par.z_over_a / beta2 * grams, matter.largest_transfer(bg, PION)
    got = losses(40_000, mean, xi, beta2, top, par)
    assert got.mean() == pytest.approx(mean, abs=4 * got.std() / 200)
    if xi / top < 0.01:
        middle, _ = matter.landau_bounds(beta2, xi / top, par.landau_cuts)
        peak = mean + xi * (-0.22278 - middle)
        density, edges = np.histogram(got, np.linspace(peak - 3 * xi, peak + 5 * xi, 41))
        assert edges[density.argmax()] == pytest.approx(peak, abs=1.2 * xi)
        assert got.max() < mean + top


def in_front(p, mass):
    """Return X/X0 and the mean loss [GeV] at normal incidence in front of the first pad row."""
    par, layers = transport(TpcSimParams()), layer_arrays()
    gas = (85.2 - 79.0) * par.gas_loss
    return layers, gas + layers[:, 3].sum() * matter.bethe_bloch(p / mass, mass, par)


def references(pdg, pt, n, seed):
    phi = np.deg2rad(10 + 20 * np.arange(n) % 360)
    collisions, particles = shoot(pdg, pt, 0.0, phi)
    result = simulate_tpc(collisions, particles, TpcSimParams(noise_rate=0.0), seed, n_bcs=100_000)
    return result.payloads["MC/TPCREFS"]


@pytest.mark.parametrize("p", [0.5, 2.0])
def test_momentum_lost_before_the_first_row_is_the_mean_loss(p):
    found = references(211, p, 3000, 5)
    lost = p - np.sqrt(sum(found[n].astype(float) ** 2 for n in ("px", "py", "pz")))
    _, loss = in_front(p, PION)
    want = loss * math.hypot(p, PION) / p  # dp = dE / beta
    assert lost.mean() == pytest.approx(want, rel=0.06)
    assert np.median(lost) < lost.mean()  # Landau's tail


def test_scattering_before_the_first_row_is_highlands():
    p = 1.0
    found = references(211, p, 3000, 6)
    dip = np.arctan2(found["pz"], np.hypot(found["px"], found["py"]))
    layers, _ = in_front(p, PION)
    beta = p / math.hypot(p, PION)
    widths = [0.0136 / (beta * p) * math.sqrt(t) * (1 + 0.038 * math.log(t / beta**2)) for t in layers[:, 2]]
    assert dip.std() == pytest.approx(math.sqrt(np.square(widths).sum()), rel=4 / math.sqrt(2 * 3000))
    assert abs(dip.mean()) < 4 * dip.std() / math.sqrt(3000)


def test_matter_can_be_switched_off():
    collisions, particles = shoot(211, 0.7, 0.0, np.deg2rad(np.arange(10.0, 360, 20)))
    params = TpcSimParams(material_scale=0.0, noise_rate=0.0)
    found = simulate_tpc(collisions, particles, params, n_bcs=100_000).payloads["MC/TPCREFS"]
    np.testing.assert_allclose(np.hypot(found["px"], found["py"]), 0.7, rtol=1e-6)
    assert np.abs(found["pz"]).max() == 0


def test_electrons_radiate_a_share_of_their_energy_in_the_walls():
    found = references(11, 2.0, 4000, 7)
    p = np.sqrt(sum(found[n].astype(float) ** 2 for n in ("px", "py", "pz")))
    thickness = layer_arrays()[:, 2].sum()
    # <energy kept> = exp(-t) for Bethe and Heitler's 2^-b law: (1 + 1)^(-t / ln 2); ionisation takes 7 MeV more.
    assert (p.mean() + 0.007) / 2.0 == pytest.approx(math.exp(-thickness), abs=0.006)


def test_slow_protons_stop_in_the_walls():
    collisions, particles = shoot(2212, 0.15, 0.0, np.deg2rad(np.arange(10.0, 360, 20)))
    result = simulate_tpc(collisions, particles, n_bcs=100_000)
    assert result.counters["particles_stopped"] == 18
    assert result.payloads["MC/TPCREFS"].n_rows == 0


def test_layers_ascend_and_scale():
    radii = [layer.radius for layer in LAYERS]
    assert radii == sorted(radii) and radii[-1] < 79
    assert 0.05 < layer_arrays()[:, 2].sum() < 0.10
    np.testing.assert_allclose(layer_arrays(scale=0.5)[:, 2:], 0.5 * layer_arrays()[:, 2:])
