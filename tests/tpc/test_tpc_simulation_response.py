"""From crossings to clusters: position, width, charge, flags, against truth and expectation."""

import math

import numpy as np
import pytest
from gun import N_BCS, shoot
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy import stats

from o2dask.reco.geometry.tpc import CM_PER_TIME_BIN, pad_rows
from o2dask.reco.tpc import simulation_response_kernels as answering
from o2dask.reco.tpc.schema import FLAG_EDGE
from o2dask.reco.tpc.simulation import simulate_tpc, true_crossings
from o2dask.reco.tpc.simulation_constants import geometry, response
from o2dask.reco.tpc.simulation_params import TpcSimParams
from o2dask.reco.tpc.simulation_random_kernels import hashed

ROWS = pad_rows()


@njit
def ionised(n, per_cm, length, par):
    """Electrons and centres of n ionisations."""
    out = np.empty((n, 2))
    for i in range(n):
        _, out[i, 0], out[i, 1] = answering.ionise(hashed(np.uint64(3), np.uint64(i)), per_cm, length, par)
    return out


@pytest.fixture(scope="module")
def beam():
    """Fast pions through the middle of sectors, each alone in its collision; clusters joined to their crossings."""
    n = 1440
    rng = np.random.default_rng(2)
    phi = np.deg2rad(10 + 20 * np.arange(n) + rng.uniform(-5, 5, n))
    eta = rng.uniform(-0.9, 0.9, n)
    params = TpcSimParams(material_scale=0.0, noise_rate=0.0)
    vertex = np.stack([np.zeros(n), np.zeros(n), rng.uniform(-180, 180, n)], axis=1)
    collisions, particles = shoot(211, 20.0, eta, phi, vertex=vertex, n_collisions=n, bc=np.arange(n) * 70)
    result = simulate_tpc(collisions, particles, params, 4, n_bcs=N_BCS)
    return joined(result, particles, collisions, params)


def joined(result, particles, collisions, params):
    """Return clusters next to their true crossings, for particles that cross each row once; residuals in cm."""
    truth = true_crossings(particles, params, 4)
    native, label = result.payloads["TPC/CLUSTERNATIVE"], result.payloads["TPC/CLUSTERLABEL"]
    alone = label["mc_other"] < 0
    key = (label["mc"].astype(np.int64) * 36 + native["sector"]) * 152 + native["pad_row"]
    true_key = (truth["mc"].astype(np.int64) * 36 + truth["sector"]) * 152 + truth["pad_row"]
    unique, first, times = np.unique(true_key, return_index=True, return_counts=True)
    at = np.searchsorted(unique, key)
    keep = alone & (times[at] == 1)
    c = {name: native[name][keep] for name in native}
    t = {name: truth[name][first[at[keep]]] for name in truth}
    row, side = c["pad_row"], np.where(c["sector"] < 18, 1, -1)
    c["y"] = side * (c["pad"] / 64 - (ROWS.n_pads[row] - 1) / 2) * ROWS.pad_width[row]
    bc = collisions["bc"][particles["collision"][t["mc"]]]
    drift = (c["time"] / 64 - bc / 8 - t["time"] / 24.9507846 / 8) * CM_PER_TIME_BIN
    c["z"] = side * (250 - drift)
    return c, t


def test_clusters_are_where_the_particle_was_on_average(beam):
    c, t = beam
    for got, want in ((c["y"], t["y"]), (c["z"], t["z"])):
        residual = got - want
        assert abs(residual.mean()) < 4 * residual.std() / math.sqrt(len(residual))


@pytest.mark.parametrize("roc", [0, 1, 2])
@pytest.mark.parametrize("drift", [30, 130, 220])
def test_errors_are_the_stated_ones(beam, roc, drift):
    """Intrinsic error, diffusion shared by the electrons, inclination: each from its own formula."""
    c, t = beam
    params, par = TpcSimParams(), response(TpcSimParams())
    first, last = ((0, 63), (63, 97), (97, 127))[roc]
    length = 250 - np.abs(t["z"])
    near = (c["pad_row"] >= first) & (c["pad_row"] < last) & (np.abs(length - drift) < 25) & (c["flags"] & 4 == 0)
    height = ROWS.pad_height[first]
    path = height * np.sqrt(1 + t["tan_y"][near] ** 2 + t["tan_z"][near] ** 2)
    many = ionised(4000, 14.0 * t["ionisation"][near].mean(), float(path.mean()), par)
    n = many[:, 0][many[:, 0] > 4]
    per_electron = 2.0 * (1 / n).mean() * length[near].mean()
    centre = many[:, 1].var() * height**2
    want_y = params.intrinsic_y[roc] ** 2 + 0.0209**2 * per_electron + centre * (t["tan_y"][near] ** 2).mean()
    want_z = params.intrinsic_z[roc] ** 2 + 0.0221**2 * per_electron + centre * (t["tan_z"][near] ** 2).mean()
    assert (c["y"] - t["y"])[near].std() == pytest.approx(math.sqrt(want_y), rel=0.05)
    assert (c["z"] - t["z"])[near].std() == pytest.approx(math.sqrt(want_z), rel=0.05)
    # As large as those measured on O2's clusters (facts/tpc_tracking.md, item 7): 0.05-0.16 and 0.07-0.25 cm.
    assert 0.04 < math.sqrt(want_y) < 0.16 and 0.06 < math.sqrt(want_z) < 0.25


def test_ionisation_is_that_of_single_electrons_placed_by_hand():
    """The kernel's table against a plain simulation with numpy: mean, spread, and centre of charge."""
    par = response(TpcSimParams())
    rng = np.random.default_rng(1)
    got = ionised(20_000, 14.0, 1.0, par)
    n = rng.poisson(14.0, 20_000)
    u = rng.random(n.sum())
    size = np.minimum(np.floor((20.77 * u ** (-1 / 1.2) - 20.77) / 37.3) + 1, 300)
    owner = np.repeat(np.arange(20_000), n)
    total = np.bincount(owner, size, 20_000)
    moment = np.bincount(owner, size * (rng.random(n.sum()) - 0.5), 20_000)
    assert got[:, 0].mean() == pytest.approx(total.mean(), rel=0.03)
    assert np.median(got[:, 0]) == pytest.approx(np.median(total), abs=1)
    assert got[:, 0].std() == pytest.approx(total.std(), rel=0.06)
    assert got[:, 1].std() == pytest.approx((moment[n > 0] / total[n > 0]).std(), rel=0.03)
    assert abs(got[:, 1].mean()) < 0.01


def test_dense_ionisation_by_the_normal_shortcut_has_the_mean_and_spread_of_the_long_way():
    par = response(TpcSimParams())
    short, long = ionised(4000, 410.0, 1.0, par), ionised(4000, 390.0, 1.0, par)
    assert short[:, 0].mean() / long[:, 0].mean() == pytest.approx(410 / 390, rel=0.01)
    assert short[:, 0].std() / long[:, 0].std() == pytest.approx(math.sqrt(410 / 390), rel=0.08)
    assert short[:, 1].std() == pytest.approx(long[:, 1].std(), rel=0.12)


def test_charge_per_length_follows_bethe_and_bloch():
    """Mean q_tot per cm of pions and protons of 0.5 to 1 GeV/c over the minimum, against ALEPH's curve."""
    means = []
    for pdg, p in ((211, 0.5), (2212, 0.8), (2212, 2.9)):
        collisions, particles = shoot(pdg, p, 0.0, np.deg2rad(10 + 20 * np.arange(180)), n_collisions=180)
        collisions["bc"][:] = np.arange(180) * 100
        params = TpcSimParams(material_scale=0.0, noise_rate=0.0, attachment_per_us=0.0)
        c, t = joined(simulate_tpc(collisions, particles, params, 4, n_bcs=N_BCS), particles, collisions, params)
        path = ROWS.pad_height[c["pad_row"]] * np.sqrt(1 + t["tan_y"] ** 2 + t["tan_z"] ** 2)
        whole = c["flags"] & FLAG_EDGE == 0
        means.append((c["q_tot"][whole].sum() / path[whole].sum(), t["ionisation"][whole].mean()))
    (pion, i_pion), (slow, i_slow), (mip, i_mip) = means
    assert i_mip == pytest.approx(1.0, abs=0.01)
    assert mip == pytest.approx(14.0 * 2.6388 * 3.06, rel=0.03)
    assert slow / mip == pytest.approx(i_slow / i_mip, rel=0.02)
    assert pion / mip == pytest.approx(i_pion / i_mip, rel=0.02)


def test_truncated_mean_resolution_is_that_of_a_tpc():
    collisions, particles = shoot(211, 0.6, 0.2, np.deg2rad(10 + 20 * np.arange(180)), n_collisions=180)
    collisions["bc"][:] = np.arange(180) * 100
    params = TpcSimParams(noise_rate=0.0)
    result = simulate_tpc(collisions, particles, params, 4, n_bcs=N_BCS)
    native, mc = result.payloads["TPC/CLUSTERNATIVE"], result.payloads["TPC/CLUSTERLABEL"]["mc"]
    charge = native["q_tot"] / ROWS.pad_height[native["pad_row"]]
    means = []
    for i in range(180):
        own = np.sort(charge[mc == i])
        if len(own) > 130:
            means.append(own[: int(0.6 * len(own))].mean())
    assert len(means) > 120
    assert 0.04 < np.std(means) / np.mean(means) < 0.085  # ALICE, NIM A 622 (2010): 5 to 6 %


def test_widths_grow_with_drift_and_inclination(beam):
    c, t = beam
    drift, inner = 250 - np.abs(t["z"]), c["pad_row"] < 63
    assert np.corrcoef(drift[inner], c["sigma_pad"][inner])[0, 1] > 0.4
    assert np.corrcoef(drift[inner], c["sigma_time"][inner])[0, 1] > 0.4
    outer = (c["pad_row"] >= 127) & (drift < 80)
    steep = np.abs(t["tan_z"]) > 0.8
    assert c["sigma_time"][outer & steep].mean() > 1.15 * c["sigma_time"][outer & ~steep].mean()


def test_charges_belong_together(beam):
    c, _ = beam
    assert (c["q_tot"] >= c["q_max"]).all()
    assert c["q_max"].min() >= 3
    assert np.corrcoef(c["q_max"], c["q_tot"])[0, 1] > 0.8
    ratio, narrow = c["q_tot"] / c["q_max"], c["sigma_pad"] < np.median(c["sigma_pad"])
    assert ratio[narrow].mean() < ratio[~narrow].mean()
    for first, last, low, high in ((0, 63, 50, 130), (127, 152, 110, 260)):
        rows = (c["pad_row"] >= first) & (c["pad_row"] < last)
        assert low < np.median(c["q_tot"][rows]) < high


def test_huge_charges_saturate_and_do_not_wrap():
    par, geo = response(TpcSimParams()), geometry()
    hit = np.array([0.0, 100.0, 0.0, 0.4, 900.0, 3.0], np.float32)
    for i in range(200):
        fate, _, _, _, _, q_max, q_tot, _ = answering.respond(hit, np.uint64(i), 10, 100, 0.0, 10_000.0, geo, par)
        assert fate == answering.DONE
        assert 900 < q_max <= 1023 and q_max < q_tot <= 25 * 1024 - 1


def test_compiled_response_equals_plain_python(monkeypatch):
    def keeping_state_unsigned(function):
        def called(state, *args):
            state, *values = function(np.uint64(state), *args)
            return np.uint64(state), *values

        return called

    for name in ("quick_normal", "gamma_variate"):
        monkeypatch.setattr(answering, name, keeping_state_unsigned(getattr(answering, name)))
    par, geo = response(TpcSimParams()), geometry()
    rng = np.random.default_rng(8)
    for i in range(200):
        hit = np.array([rng.uniform(-10, 10), rng.uniform(-240, 240), rng.normal(), rng.normal(), 1.5, 4.0], np.float32)
        bucket = int(rng.integers(0, 18)) * 152 + int(rng.integers(0, 152)) + (18 * 152 if hit[1] < 0 else 0)
        args = (hit, np.uint64(i), bucket, 5000, 0.1, 14256.0, geo, par)
        # Fused multiply-adds may round the other way: one unit of the packed numbers.
        np.testing.assert_allclose(answering.respond(*args), answering.respond.py_func(*args), rtol=0, atol=1)


@given(st.floats(-0.5, 3), st.floats(0.3, 1.0))
@settings(max_examples=60, deadline=None)
def test_a_cluster_at_the_edge_moves_by_what_its_lost_charge_weighed(pad, sigma):
    got, kept = answering._within_row(pad, 65.0, sigma)
    pads = np.arange(-8, 12)
    charge = np.diff(stats.norm.cdf(np.append(pads, 12) - 0.5, pad, sigma))
    seen = pads >= 0
    shift = np.average(pads[seen], weights=charge[seen]) - np.average(pads, weights=charge)
    assert kept == pytest.approx(charge[seen].sum(), abs=0.02)
    assert got == pytest.approx(max(pad + shift, 0), abs=0.12)  # the pads' width
    other, _ = answering._within_row(65.0 - pad, 65.0, sigma)
    assert other == pytest.approx(65.0 - got)


@pytest.mark.parametrize("edge", [-1, 1])
def test_clusters_at_the_edge_of_a_row_stay_in_it_and_say_so(edge):
    par, geo = response(TpcSimParams()), geometry()
    row = 40
    half = geo.half_width[row]
    for i in range(100):
        hit = np.array([edge * (half - 0.05), 20.0, 0.0, 0.1, 3.0, 3.0], np.float32)
        fate, _, pad, _, _, _, _, flags = answering.respond(hit, np.uint64(i), row, 0, 0.0, 10_000.0, geo, par)
        assert fate == answering.DONE and flags & FLAG_EDGE
        assert 0 <= pad <= 64 * (ROWS.n_pads[row] - 1)
    hit[0] = 0.0
    assert not answering.respond(hit, np.uint64(1), row, 0, 0.0, 10_000.0, geo, par)[-1] & FLAG_EDGE
