"""Decays in flight and conversions: conservation, lifetimes, masses, fractions, flags."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.reco.simulation.bunch import ParticleBunch
from o2dask.reco.simulation.conversions import SHELLS, pair_fraction
from o2dask.reco.simulation.decays import DecayParams, decay_in_flight, decaying_codes, primary_flags
from o2dask.reco.simulation.kinematics import Volume
from o2dask.reco.simulation.particles import C_CM_PER_NS, charge_of, ctau_of, is_long_lived, mass_of
from o2dask.reco.simulation.schema import FLAG_PHYSICAL_PRIMARY, FLAG_TRANSPORT

EVERYWHERE = DecayParams(volume=Volume(1e6, 1e6))


def particles(pdg, p, x=None):
    """Return a bunch of primaries with codes (n,) and momenta (3, n)."""
    pdg = np.asarray(pdg, np.int32)
    n = len(pdg)
    return ParticleBunch(
        collision=np.zeros(n, np.int64),
        pdg=pdg,
        status=np.ones(n, np.int32),
        flags=primary_flags(pdg),
        mother=np.full(n, -1),
        mass=mass_of(pdg),
        p=np.array(p, float),
        x=np.zeros((3, n)) if x is None else x,
        t=np.zeros(n),
        path=np.full(n, np.inf),
    )


def beam(code, n, pt=1.0, pz=0.3):
    phi = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return particles(np.full(n, code), np.stack((pt * np.cos(phi), pt * np.sin(phi), np.full(n, pz))))


def daughters_of(made, mothers):
    return [np.flatnonzero(made.mother == m) for m in mothers]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([s * c for c in decaying_codes() for s in (1, -1)]), min_size=1, max_size=30),
    st.integers(0, 2**31),
)
def test_every_decay_conserves_charge_energy_and_momentum(codes, seed):
    codes = [abs(c) if c in (-111, -130, -310) else c for c in codes]
    rng = np.random.default_rng(seed)
    made = decay_in_flight(particles(codes, rng.normal(0, 0.5, (3, len(codes)))), EVERYWHERE, rng)
    charge, energy = charge_of(made.pdg), made.energy
    for mother, rows in zip(m := np.unique(made.mother[made.mother >= 0]), daughters_of(made, m), strict=True):
        assert (np.diff(rows) == 1).all()
        assert charge[rows].sum() == charge[mother]
        np.testing.assert_allclose(energy[rows].sum(), energy[mother], rtol=1e-9)
        if made.pdg[mother] == 22:
            continue  # the nucleus takes the difference
        total, before = made.p[:, rows].sum(axis=1), made.p[:, mother]
        np.testing.assert_allclose(total[2], before[2], atol=1e-9)
        np.testing.assert_allclose(np.hypot(*total[:2]), np.hypot(*before[:2]), atol=1e-9)
        if charge[mother] == 0:
            np.testing.assert_allclose(total, before, atol=1e-9)


@pytest.mark.parametrize("code", [310, 3122, -3122, 3312, 3334, -321, 211, 3222, 3112])
def test_proper_decay_lengths_are_exponential_with_the_stated_mean(code):
    n = 4000
    made = decay_in_flight(beam(code, n), EVERYWHERE, np.random.default_rng(7))
    momentum = np.sqrt((made.p[:, :n] ** 2).sum(axis=0))
    proper = made.path[:n] * made.mass[:n] / momentum / ctau_of(np.array([code]))
    assert np.isfinite(proper).all()
    assert abs(proper.mean() - 1) < 5 / np.sqrt(n)
    assert abs((proper < np.log(2)).mean() - 0.5) < 5 * 0.5 / np.sqrt(n)


@pytest.mark.parametrize(("code", "pair", "fraction"), [(310, (211, -211), 0.692), (3122, (2212, -211), 0.641)])
def test_masses_and_fractions_come_back_from_the_daughters(code, pair, fraction):
    n = 4000
    made = decay_in_flight(beam(code, n), EVERYWHERE, np.random.default_rng(8))
    rows = [r for r in daughters_of(made, range(n)) if tuple(made.pdg[r]) == pair]
    share = fraction / (0.692 + 0.3069 if code == 310 else 1.0)
    assert abs(len(rows) / n - share) < 5 * np.sqrt(share * (1 - share) / n)
    first, second = np.array(rows).T
    energy, p = made.energy[first] + made.energy[second], made.p[:, first] + made.p[:, second]
    np.testing.assert_allclose(np.sqrt(energy**2 - (p**2).sum(axis=0)), mass_of(np.array([code]))[0], rtol=1e-6)


def test_neutral_mothers_decay_on_a_straight_line_at_their_path_and_time():
    n = 500
    made = decay_in_flight(beam(310, n), EVERYWHERE, np.random.default_rng(9))
    first = np.array([r[0] for r in daughters_of(made, range(n))])
    distance = np.sqrt((made.x[:, first] ** 2).sum(axis=0))
    np.testing.assert_allclose(distance, made.path[:n], rtol=1e-9)
    beta = np.sqrt((made.p[:, :n] ** 2).sum(axis=0)) / made.energy[:n]
    np.testing.assert_allclose(made.t[first], distance / beta / C_CM_PER_NS, rtol=1e-9)


def test_charged_mothers_decay_on_their_helix():
    """The chord of a circle of radius R over a transverse arc s is 2 R sin(s / 2R)."""
    n, pt, pz = 500, 0.2, 0.1
    made = decay_in_flight(beam(-3312, n, pt, pz), EVERYWHERE, np.random.default_rng(10))
    first = np.array([r[0] for r in daughters_of(made, range(n))])
    radius = pt / (0.000299792458 * 5.00668)
    arc = made.path[:n] * pt / np.hypot(pt, pz)
    chord = np.abs(2 * radius * np.sin(arc / (2 * radius)))
    np.testing.assert_allclose(np.hypot(*made.x[:2, first]), chord, atol=1e-8)
    np.testing.assert_allclose(made.x[2, first], made.path[:n] * pz / np.hypot(pt, pz), rtol=1e-9)


def test_nothing_decays_outside_the_volume_and_only_what_decays_has_a_path():
    params = DecayParams(volume=Volume(50.0, 40.0))
    made = decay_in_flight(beam(211, 3000, 0.4, 0.2), params, np.random.default_rng(11))
    has_daughters = np.isin(np.arange(made.n), made.mother)
    np.testing.assert_array_equal(np.isfinite(made.path), has_daughters)
    assert (np.hypot(made.x[0], made.x[1]) <= 50).all()
    assert (np.abs(made.x[2]) <= 40).all()
    # arc to r = 50 on this circle is 50.2 cm, in space times 1.118: decays before are 1 - exp(-s m / (p ctau))
    p, s = np.hypot(0.4, 0.2), 2 * 266.5 * np.arcsin(25 / 266.5) * np.hypot(0.4, 0.2) / 0.4
    s = min(s, 40 / (0.2 / p))
    want = 1 - np.exp(-s * 0.13957 / (p * 780.44))
    got = has_daughters[:3000].mean()
    assert abs(got - want) < 5 * np.sqrt(want / 3000)


def test_daughters_of_weak_decays_are_from_transport_and_not_physical_primaries():
    made = decay_in_flight(beam(3334, 200), EVERYWHERE, np.random.default_rng(12))
    is_daughter = made.mother >= 0
    assert (made.flags[~is_daughter] == FLAG_PHYSICAL_PRIMARY).all()
    assert (made.flags[is_daughter] == FLAG_TRANSPORT).all()


def test_photons_of_a_primary_pi0_are_physical_primaries_and_their_electrons_are_not():
    made = decay_in_flight(beam(111, 3000), EVERYWHERE, np.random.default_rng(13))
    photons = made.pdg == 22
    assert photons.any()
    assert (made.flags[photons] == FLAG_PHYSICAL_PRIMARY).all()
    assert (made.flags[:3000] == 0).all()
    converted = (np.abs(made.pdg) == 11) & (made.pdg[made.mother] == 22)
    assert converted.any()
    assert (made.flags[converted] == FLAG_TRANSPORT).all()


def test_cascades_go_on_until_all_is_stable():
    made = decay_in_flight(
        beam(3334, 300), DecayParams(volume=Volume(1e9, 1e9), conversions=False), np.random.default_rng(1)
    )
    unstable = np.isin(np.abs(made.pdg), decaying_codes())
    np.testing.assert_array_equal(np.isfinite(made.path), unstable)
    assert (made.t[made.mother >= 0] >= made.t[made.mother[made.mother >= 0]]).all()


def test_decay_products_of_the_generator_are_left_alone():
    start = beam(411, 5)
    start.path[:] = 0.01
    made = decay_in_flight(start, EVERYWHERE, np.random.default_rng(1))
    assert made.n == 5
    assert (made.path == 0.01).all()


def test_photons_convert_where_the_material_is_and_as_often_as_it_says():
    n, energy = 40_000, 2.0
    made = decay_in_flight(beam(22, n, energy, 0.0), DecayParams(), np.random.default_rng(14))
    assert (np.sort(np.unique(made.pdg)) == [-11, 11, 22]).all()
    depth = 7 / 9 * pair_fraction(np.array([energy]))[0] * sum(layer.x_over_x0 for layer in SHELLS)
    want, got = 1 - np.exp(-depth), np.isfinite(made.path[:n]).mean()
    assert abs(got - want) < 5 * np.sqrt(want * (1 - want) / n)
    radius = np.hypot(made.x[0], made.x[1])[n:]
    in_layer = [(radius > layer.r_in - 1e-6) & (radius < layer.r_out + 1e-6) for layer in SHELLS]
    assert np.any(in_layer, axis=0).all()
    share = np.mean(in_layer[4])
    assert abs(share - 0.011 / sum(layer.x_over_x0 for layer in SHELLS)) < 0.02


def test_pair_production_rises_from_threshold_to_its_limit():
    assert pair_fraction(np.array([0.001]))[0] == 0
    rise = pair_fraction(np.array([0.002, 0.01, 0.1, 1.0, 10.0, 100.0]))
    assert (np.diff(rise) > 0).all()
    np.testing.assert_allclose(rise[-1], 1)


def test_unspoilt_inputs_empty_bunches_pass_through():
    assert decay_in_flight(particles([], np.zeros((3, 0))), DecayParams(), np.random.default_rng(1)).n == 0


@pytest.mark.parametrize(
    ("code", "charge"),
    [
        *((211, 1), (-321, -1), (3112, -1), (-3222, -1), (3334, -1), (411, 1), (-521, -1), (22, 0), (3212, 0)),
        *((2224, 2), (213, 1), (1000020030, 2), (-1000010020, -1), (11, -1), (-13, 1), (413, 1), (4222, 2)),
        *((1000822080, 82), (111, 0), (2112, 0), (-511, 0)),
    ],
)
def test_charges_follow_from_the_digits(code, charge):
    assert charge_of(np.array([code]))[0] == charge


def test_long_lived_are_those_that_can_be_physical_primaries():
    codes = np.array([211, 310, 3122, 3334, 22, 11, 1000020040, 111, 411, 521, 15, 3212, 333])
    assert is_long_lived(codes).tolist() == [True] * 7 + [False] * 6
