"""Propagation to the vertex against an integrator of the equation of motion, and against simulated truth."""

import numpy as np
import pytest
from physics_samples import BZ, aod_tables, flown, momenta, sample, states, to_radius
from scipy.integrate import solve_ivp

from o2dask.analysis import open_aod
from o2dask.analysis.physics.kernels_helix import arc_moments, arc_to_closest, at_arc
from o2dask.analysis.physics.propagation import cov_columns, propagate_to_dca, with_tracks_at_dca
from o2dask.analysis.physics.tracks import BZ_KG, covariances_of, states_of
from o2dask.aod.store import Store, commit_dataframe
from o2dask.errors import ShapeError

LIGHT = 0.000299792458


def random_states(rng, n, pt=(0.15, 5)):
    x = rng.uniform(10, 85, n)
    q2pt = rng.choice([-1, 1], n) / rng.uniform(*pt, n)
    y, z, snp = rng.normal(0, 5, n), rng.normal(0, 20, n), rng.uniform(-0.6, 0.6, n)
    return np.stack([x, rng.uniform(-np.pi, np.pi, n), y, z, snp, rng.normal(0, 0.7, n), q2pt], axis=1)


def motion(state, bz):
    """Return start (x, y, z, ux, uy) and right-hand side of the motion, per transverse path."""
    x, alpha, y, z, snp, tgl, q2pt = state
    c, s = np.cos(alpha), np.sin(alpha)
    csp = np.sqrt(1 - snp**2)
    start = [x * c - y * s, x * s + y * c, z, csp * c - snp * s, csp * s + snp * c]

    def force(_, r):
        """Lorentz: dp/dt = q v x B, in units of pt."""
        return [r[3], r[4], tgl, LIGHT * q2pt * bz * r[4], -LIGHT * q2pt * bz * r[3]]

    return np.array(start), force


def stepped_to(state, bz, vanishes, span):
    start, force = motion(state, bz)
    found = solve_ivp(force, (0, span), start, events=vanishes, rtol=1e-11, atol=1e-11)
    return found.y_events[0][0]


def stepped_to_dca(state, vertex, bz):
    """Return the first point on the way in where the motion is at right angles to the line to the vertex."""

    def along(_, r):
        return (r[0] - vertex[0]) * r[3] + (r[1] - vertex[1]) * r[4]

    start, _ = motion(state, bz)
    along.terminal = True
    return stepped_to(state, bz, along, -300.0 if along(0, start) > 0 else 300.0)


@pytest.mark.parametrize("bz", [BZ, 2.0])
def test_states_at_the_vertex_are_those_of_the_equation_of_motion(bz):
    rng = np.random.default_rng(1)
    s, vertices = random_states(rng, 40), rng.normal(0, (1, 1, 5), (40, 3))
    found = propagate_to_dca(s, vertices, bz)
    assert found.is_propagated.all()
    for i in range(40):
        x, y, z, ux, uy = stepped_to_dca(s[i], vertices[i], bz)
        alpha = found.states[i, 1]
        c, sn = np.cos(alpha), np.sin(alpha)
        np.testing.assert_allclose([c, sn], [ux, uy], atol=1e-7)
        np.testing.assert_allclose([x * c + y * sn, y * c - x * sn, z], found.states[i, [0, 2, 3]], atol=1e-6)
        signed = (x - vertices[i, 0]) * -uy + (y - vertices[i, 1]) * ux
        np.testing.assert_allclose([found.dca_xy[i], found.dca_z[i]], [signed, z - vertices[i, 2]], atol=1e-6)
    np.testing.assert_array_equal(found.states[:, 4], 0)
    np.testing.assert_array_equal(found.states[:, [5, 6]], s[:, [5, 6]])


def test_errors_at_the_vertex_are_those_of_shifted_tracks():
    """Parameters are shifted and the track stepped to the plane of the unshifted one: the Jacobian by differences."""
    rng = np.random.default_rng(2)
    n = 6
    s, vertices = random_states(rng, n, (0.12, 1.0)), rng.normal(0, 1, (n, 3))
    root = rng.normal(size=(n, 5, 5)) * np.array([0.1, 0.1, 0.01, 0.01, 0.05])
    full = root.transpose(0, 2, 1) @ root
    rows, columns = np.tril_indices(5)
    found = propagate_to_dca(s, vertices, BZ, full[:, rows, columns])
    for i in range(n):
        jacobian = np.zeros((5, 5))
        for k, step in enumerate([1e-3, 1e-3, 1e-4, 1e-4, 1e-4]):
            ends = []
            for sign in (1, -1):
                moved = s[i].copy()
                moved[2 + k] += sign * step
                ends.append(at_plane(moved, *found.states[i, [1, 0]]))
            jacobian[:, k] = (ends[0] - ends[1]) / (2 * step)
        wanted = jacobian @ full[i] @ jacobian.T
        scale = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
        np.testing.assert_allclose(found.cov[i] / scale[rows, columns], (wanted / scale)[rows, columns], atol=2e-5)


def at_plane(state, alpha, x_plane):
    c, sn = np.cos(alpha), np.sin(alpha)

    def crosses(_, r):
        return r[0] * c + r[1] * sn - x_plane

    crosses.terminal = True
    start, _ = motion(state, BZ)
    backwards = (start[0] * c + start[1] * sn - x_plane) > 0
    x, y, z, ux, uy = stepped_to(state, BZ, crosses, -400.0 if backwards else 400.0)
    return np.array([y * c - x * sn, z, uy * c - ux * sn, state[5], state[6]])


def test_straight_tracks_and_no_field_go_straight():
    s = random_states(np.random.default_rng(3), 50)
    straight = s.copy()
    straight[:, 6] = 1e-7
    vertices = np.zeros((50, 3))
    a, b = propagate_to_dca(s, vertices, 0.0), propagate_to_dca(straight, vertices, BZ)
    np.testing.assert_allclose(a.dca_xy, b.dca_xy, atol=1e-4)
    d = np.sqrt(1 - s[:, 4] ** 2) * s[:, 2] - s[:, 4] * s[:, 0]  # distance of a straight line, by hand
    np.testing.assert_allclose(a.dca_xy, d, atol=1e-9)


def test_positive_charges_turn_as_in_o2():
    """d(snp)/dx > 0 for a positive charge at Bz = -5 kG."""
    x, _, _, phi = at_arc(0.0, 0.0, 0.0, 0.0, -LIGHT * BZ_KG * 1.0, 0.0, 10.0)
    assert x > 9.9 and phi > 0


@pytest.mark.parametrize("body", [arc_to_closest, at_arc, arc_moments], ids=lambda b: b.__name__)
def test_compiled_bodies_are_the_plain_ones(body):
    rng = np.random.default_rng(4)
    arguments = {"arc_to_closest": 6, "at_arc": 7, "arc_moments": 1}[body.__name__]
    for _ in range(50):
        values = rng.normal(0, 1, arguments) * 10.0 ** rng.integers(-6, 1)
        np.testing.assert_allclose(body(*values), body.py_func(*values), rtol=1e-12, atol=1e-14)


def test_pulls_of_the_dca_have_width_one():
    rng = np.random.default_rng(5)
    n = 4000
    p, charge = momenta(rng, n), rng.choice([-1.0, 1.0], n)
    there, p_there, reached = to_radius(np.zeros((n, 3)), p, charge)
    s = states(there, p_there, charge)[reached]
    sigma = np.array([0.05, 0.06, 0.002, 0.0015]) * np.ones((len(s), 1))
    sigma = np.concatenate([sigma, 0.01 * np.abs(s[:, 6:])], axis=1)
    s[:, 2:] += sigma * rng.normal(size=sigma.shape)
    cov = np.zeros((len(s), 15))
    cov[:, [0, 2, 5, 9, 14]] = sigma**2
    found = propagate_to_dca(s, np.zeros((len(s), 3)), BZ, cov)
    for pull in (found.dca_xy / np.sqrt(found.cov[:, 0]), found.dca_z / np.sqrt(found.cov[:, 2])):
        assert abs(pull.mean()) < 5 / np.sqrt(len(pull))
        assert 0.95 < pull.std() < 1.05


def test_the_sample_of_the_tests_obeys_the_equation_of_motion():
    rng = np.random.default_rng(6)
    p, charge = momenta(rng, 10), rng.choice([-1.0, 1.0], 10)
    there, p_there = flown(np.zeros((10, 3)), p, charge, np.full(10, 60.0))
    for i in range(10):
        pt = np.hypot(*p[i, :2])
        state = [0.0, np.arctan2(p[i, 1], p[i, 0]), 0.0, 0.0, 0.0, p[i, 2] / pt, charge[i] / pt]
        start, force = motion(state, BZ)
        end = solve_ivp(force, (0, 60.0), start, rtol=1e-11, atol=1e-11).y[:, -1]
        np.testing.assert_allclose(there[i], end[:3], atol=1e-7)
        np.testing.assert_allclose(p_there[i, :2] / pt, end[3:], atol=1e-9)


def test_rows_that_are_not_finite_stay_as_they_were():
    s = random_states(np.random.default_rng(7), 3)
    s[1, 6] = np.nan
    found = propagate_to_dca(s, np.zeros((3, 3)))
    assert found.is_propagated.tolist() == [True, False, True]
    np.testing.assert_array_equal(found.states[1], s[1])
    assert found.dca_xy[1] == found.dca_z[1] == 999


def test_wrong_shapes_are_refused():
    with pytest.raises(ShapeError, match="want states"):
        propagate_to_dca(np.zeros((3, 7)), np.zeros((2, 3)))


def test_no_tracks_are_propagated_to_none():
    assert len(propagate_to_dca(np.zeros((0, 7)), np.zeros((0, 3)), cov=np.zeros((0, 15))).states) == 0


def test_a_dataframe_gets_tracks_at_the_vertex(tmp_path):
    rng = np.random.default_rng(8)
    made = sample(rng, smear=0.0)
    commit_dataframe(Store(tmp_path), 500000 << 32, aod_tables(rng, made), {})
    before = open_aod(tmp_path)[0]
    df = with_tracks_at_dca(before)
    primary = made.mother < 0
    assert np.abs(df.tracks.dcaXY()[primary]).max() < 1e-3  # as stored: float32 at 85 cm
    assert np.median(np.abs(df.tracks.dcaXY()[~primary])) > 0.1
    np.testing.assert_allclose(df.tracks.px()[primary], made.momentum[primary, 0], atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(df.tracks.py()[primary], made.momentum[primary, 1], atol=1e-4, rtol=1e-4)
    assert (df.tracks.trackType() == 0).all()
    assert df.tracks.tpcNClsFound().shape == df.tracks.pt().shape
    np.testing.assert_array_equal(df.collisions.tracks[3].dcaZ(), df.tracks.dcaZ()[df.tracks.collisionId() == 3])
    assert (df.tracks.sigmaY() > before.tracks.sigmaY()).all()


def test_tracks_beyond_the_limit_stay(tmp_path):
    rng = np.random.default_rng(9)
    commit_dataframe(Store(tmp_path), 500000 << 32, aod_tables(rng, sample(rng)), {})
    before = open_aod(tmp_path)[0]
    after = with_tracks_at_dca(before, max_x=84.0).tracks
    far = before.tracks.x() > 84.0
    assert far.any() and not far.all()
    np.testing.assert_array_equal(after.x()[far], before.tracks.x()[far])
    assert (after.dcaXY()[far] == 999).all() and (after.dcaXY()[~far] < 999).all()
    assert (after.trackType() == far).all()
    np.testing.assert_array_equal(states_of(after)[far], states_of(before.tracks)[far])


def test_stored_covariances_come_back_within_their_precision():
    rng = np.random.default_rng(10)
    root = rng.normal(size=(50, 5, 5))
    full = root @ root.transpose(0, 2, 1)
    rows, columns = np.tril_indices(5)
    stored = cov_columns(full[:, rows, columns])
    names = ("Y", "Z", "Snp", "Tgl", "1Pt")
    getters = {}
    for i, row in enumerate(names):
        for j, column in enumerate(names[: i + 1]):
            rho = 1.0 if i == j else stored[f"fRho{row}{column}"] / 128
            key = "c1Pt21Pt2" if row == column == "1Pt" else f"c{row}{column}"
            getters[key] = rho * stored[f"fSigma{row}"] * stored[f"fSigma{column}"]
    back = covariances_of(getters)
    scale = np.sqrt(full[:, rows, rows] * full[:, columns, columns])
    assert np.abs(back - full[:, rows, columns]).max(where=scale > 0, initial=0) < (1.1 / 128 * scale).max()
