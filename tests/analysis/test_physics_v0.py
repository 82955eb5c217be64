"""V0s: helices that meet, and closures on simulated K0S and Lambda decays."""

from itertools import pairwise

import numba
import numpy as np
import pytest
from physics_samples import BZ, aod_tables, flown, momenta, sample, states
from scipy.optimize import minimize

import o2dask as o2
from o2dask.analysis import open_aod
from o2dask.analysis.physics.kernels_helix import helix_rows
from o2dask.analysis.physics.kernels_v0 import CONVERGED, meet, meet_rows, start
from o2dask.analysis.physics.kinematics import MASSES, armenteros, invariant_mass
from o2dask.analysis.physics.v0 import V0Params, find_v0s, with_v0s
from o2dask.aod.store import Store, commit_dataframe
from o2dask.errors import ConfigError, ShapeError

OPEN = V0Params(min_pt=0, min_tpc_clusters=0, min_dca=0, min_cos_pa=0.99, min_radius=1, max_daughter_dca=1.0)


def helices_of(s):
    helices = np.empty((len(s), 6))
    helix_rows(s, BZ, helices)
    return helices


def truth_of(made):
    """Return a function of pairs of rows that gives the mother both have in common, or -1."""

    def common(rows):
        first, second = made.mother[rows].T
        return np.where((first == second) & (first >= 0), first, -1)

    return common


def test_helices_meet_where_a_minimiser_says():
    rng = np.random.default_rng(1)
    n = 25
    point = rng.normal(0, 10, (n, 3))
    near = [point + rng.normal(0, 0.3, (n, 3)) for _ in range(2)]
    a, b = (
        states(*flown(start, momenta(rng, n), charge, np.full(n, 40.0)), charge)
        for start, charge in zip(near, (np.ones(n), -np.ones(n)), strict=True)
    )
    h = helices_of(np.concatenate([a, b]))
    rows = np.stack([np.arange(n), np.arange(n) + n], axis=1)
    arcs = np.full((n, 2), -38.0)
    points, directions, statuses = np.empty((n, 2, 3)), np.empty((n, 2, 3)), np.zeros(n, np.int8)
    meet_rows(h, rows, arcs, points, directions, statuses)
    assert (statuses == CONVERGED).all()
    for i in range(n):
        best = minimize(lambda s, i=i: ((at(h[i], s[0]) - at(h[n + i], s[1])) ** 2).sum(), [-38, -38], tol=1e-13)
        np.testing.assert_allclose(((points[i, 0] - points[i, 1]) ** 2).sum(), best.fun, rtol=1e-4, atol=1e-8)


def at(h, s):
    """Return the point of a helix by summing 400 short chords."""
    step = s / 400
    phi = h[3] + h[4] * step * (np.arange(400) + 0.5)
    return np.array([h[0] + step * np.cos(phi).sum(), h[1] + step * np.sin(phi).sum(), h[2] + h[5] * s])


def test_perfect_tracks_give_back_vertex_and_mass():
    made = sample(np.random.default_rng(2), n_primaries=0, smear=0.0)
    found = find_v0s(made.states, made.collision, made.vertices, OPEN)
    mother = truth_of(made)(found.rows)
    true = mother >= 0
    is_k0s = true & (made.mother_pdg[mother] == 310)
    assert is_k0s.sum() > 20
    np.testing.assert_allclose(found.mass("pion", "pion")[is_k0s], MASSES["k0s"], atol=1e-5)
    np.testing.assert_allclose(found.mass("proton", "pion")[true & ~is_k0s], MASSES["lambda"], atol=1e-5)
    assert found.daughter_dca[true].max() < 1e-4
    assert found.cos_pa[true].min() > 1 - 1e-8
    np.testing.assert_allclose(found.momenta[true, 0], made.momentum[found.rows[true, 0]], rtol=1e-6, atol=1e-7)


def test_every_decay_within_the_cuts_is_found():
    made = sample(np.random.default_rng(3), n_collisions=60, n_primaries=0, n_lambda=0, smear=0.0)
    found = find_v0s(made.states, made.collision, made.vertices, OPEN)
    mother = truth_of(made)(found.rows)
    both = np.bincount(made.mother, minlength=len(made.mother_pdg)) == 2
    radius = decay_radius(made)
    wanted = np.flatnonzero(both & (radius > 1.01) & (radius < 80))
    assert len(wanted) > 60
    assert np.isin(wanted, mother).mean() == 1.0
    values, counts = np.unique(mother[mother >= 0], return_counts=True)
    assert (counts == 1).all() and len(values)


def decay_radius(made):
    """Return the decay radius of each mother, from where its tracks' exact helices meet."""
    radius = np.full(len(made.mother_pdg), np.nan)
    everything = V0Params(min_cos_pa=-1, min_radius=0, max_radius=200, max_dz_crossing=200)
    found = find_v0s(made.states, made.collision, made.vertices, everything)
    mother = truth_of(made)(found.rows)
    radius[mother[mother >= 0]] = np.hypot(*found.decay[mother >= 0, :2].T)
    return radius


def test_the_k0s_peak_stands_where_it_should():
    rng = np.random.default_rng(4)
    made = sample(rng, n_collisions=150, n_primaries=20, n_k0s=6, n_lambda=0)
    found = find_v0s(made.states, made.collision, made.vertices, V0Params(min_cos_pa=0.99))
    mass = found.mass("pion", "pion")
    true = truth_of(made)(found.rows) >= 0
    n = true.sum()
    assert n > 150
    width = 1.4826 * np.median(np.abs(mass[true] - np.median(mass[true])))
    assert 0.002 < width < 0.010
    assert abs(np.median(mass[true]) - MASSES["k0s"]) < 5 * 1.25 * width / np.sqrt(n)
    # In the peak true ones dominate; far from it there are none.
    near = np.abs(mass - MASSES["k0s"]) < 3 * width
    assert true[near].sum() > 0.9 * n


def test_pairs_are_made_within_one_collision_and_of_opposite_charge():
    made = sample(np.random.default_rng(5), n_collisions=8)
    found = find_v0s(made.states, made.collision, made.vertices, V0Params(min_cos_pa=-1, min_radius=0))
    assert len(found.rows) > 100
    np.testing.assert_array_equal(made.collision[found.rows[:, 0]], made.collision[found.rows[:, 1]])
    assert (made.states[found.rows[:, 0], 6] > 0).all() and (made.states[found.rows[:, 1], 6] < 0).all()
    without = made.collision.copy()
    without[:] = -1
    assert len(find_v0s(made.states, without, made.vertices).rows) == 0


def test_order_of_tracks_does_not_matter():
    made = sample(np.random.default_rng(6), n_collisions=6)
    order = np.random.default_rng(7).permutation(len(made.states))
    a = find_v0s(made.states, made.collision, made.vertices, OPEN)
    b = find_v0s(made.states[order], made.collision[order], made.vertices, OPEN)
    assert {tuple(r) for r in a.rows} == {tuple(r) for r in order[b.rows]}


def test_v0s_of_a_dataframe_lead_to_their_tracks(tmp_path):
    rng = np.random.default_rng(8)
    made = sample(rng, n_collisions=40)
    commit_dataframe(Store(tmp_path), 500000 << 32, aod_tables(rng, made), {})
    df = with_v0s(open_aod(tmp_path)[0], V0Params(min_dca=0.3))
    v0s = df.v0s
    assert len(v0s) > 20
    rows = np.stack([v0s.posTrackId(), v0s.negTrackId()], axis=1)
    mother = truth_of(made)(rows)
    k0s = (mother >= 0) & (made.mother_pdg[mother] == 310)
    assert k0s.sum() > 10
    assert abs(np.median(v0s.mK0Short()[k0s]) - MASSES["k0s"]) < 0.005
    assert (np.asarray(v0s.posTrack().signed1Pt()) > 0).all()
    np.testing.assert_array_equal(v0s.collisionId(), made.collision[rows[:, 0]])
    assert (np.abs(v0s.dcapostopv()) > 0.3).all() and (np.diff(v0s.collisionId()) >= 0).all()
    np.testing.assert_allclose(np.asarray(v0s.p4(0.4976).pt), v0s.pt(), rtol=1e-5)
    assert v0s.qtarm()[k0s].max() < 0.206 + 0.05  # the momentum of the decay at rest
    assert np.median(v0s.v0cosPA()[k0s]) > 0.999


def test_an_empty_dataframe_has_no_v0s(aod):
    assert len(with_v0s(aod[1]).v0s) == 0


def test_armenteros_of_k0s_lies_on_its_ellipse():
    """qT^2 = p*^2 - (m alpha / 2)^2-like: for equal masses (alpha/a)^2 + (qT/p*)^2 = 1, with a = 2 p*/m for v = c."""
    rng = np.random.default_rng(9)
    p_star = np.sqrt(MASSES["k0s"] ** 2 / 4 - MASSES["pion"] ** 2)
    cosine = rng.uniform(-1, 1, 500)
    gamma_beta = 200.0
    energy = MASSES["k0s"] / 2
    q = p_star * np.stack([np.sqrt(1 - cosine**2), np.zeros(500), cosine], axis=1)
    along = gamma_beta * energy
    gamma = np.hypot(1, gamma_beta)
    positive = np.stack([q[:, 0], q[:, 1], along + gamma * q[:, 2]], axis=1)
    negative = np.stack([-q[:, 0], -q[:, 1], along - gamma * q[:, 2]], axis=1)
    alpha, qt = armenteros(positive, negative)
    np.testing.assert_allclose((alpha * MASSES["k0s"] / (2 * p_star)) ** 2 + (qt / p_star) ** 2, 1, atol=1e-3)
    mass = invariant_mass([positive.T, negative.T], [MASSES["pion"]] * 2)
    np.testing.assert_allclose(mass, MASSES["k0s"], rtol=1e-6)


def test_wrong_settings_and_shapes_are_refused():
    with pytest.raises(ConfigError, match="min_radius < max_radius"):
        V0Params(min_radius=5, max_radius=2)
    with pytest.raises(ConfigError, match="min_cos_pa"):
        V0Params(min_cos_pa=1.1)
    with pytest.raises(ShapeError, match="want states"):
        find_v0s(np.zeros((3, 5)), np.zeros(3), np.zeros((1, 3)))
    with pytest.raises(ShapeError, match="one mass per particle"):
        invariant_mass([np.zeros((3, 1))], [0.1, 0.2])


def test_threads_change_nothing():
    made = sample(np.random.default_rng(10), n_collisions=10)
    one, many = [], []
    before = numba.get_num_threads()
    for n_threads, found in ((1, one), (before, many)):
        numba.set_num_threads(n_threads)
        found += find_v0s(made.states, made.collision, made.vertices, OPEN)
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)


def test_compiled_bodies_are_the_plain_ones():
    made = sample(np.random.default_rng(11), n_collisions=3, n_primaries=10)
    h = helices_of(made.states)
    cuts = np.array([1.0, 8.0, 0.0, 150.0, 5.0])
    n_found = 0
    for a, b in pairwise(h):
        assert start.py_func(a, b, cuts) == pytest.approx(start(a, b, cuts), abs=1e-9)
        ok, s_a, s_b = start(a, b, cuts)
        if ok:
            assert meet.py_func(a, b, s_a, s_b) == pytest.approx(meet(a, b, s_a, s_b), abs=1e-6)
            n_found += 1
    assert n_found > 5


def test_v0s_are_made_inside_a_task(tmp_path):
    rng = np.random.default_rng(12)
    for i in range(2):
        tables = aod_tables(rng, sample(rng, n_collisions=20))
        commit_dataframe(Store(tmp_path), (500000 << 32) + 32 * i, tables, {})

    class K0s(o2.AnalysisTask):
        """Masses of K0S candidates."""

        h_mass = o2.Hist.new.Reg(50, 0.45, 0.55).Double()

        def process(self, collisions: o2.Collisions, tracks: o2.Tracks):
            self.h_mass.fill(with_v0s(tracks).v0s.mK0Short())

    result = o2.open_aod(tmp_path).run(K0s(), progress=False)
    wanted = sum(np.histogram(with_v0s(df).v0s.mK0Short(), 50, (0.45, 0.55))[0].sum() for df in o2.open_aod(tmp_path))
    assert result.h_mass.sum() == wanted > 10
