"""The bodies of TPC tracking: properties, and compiled against plain Python or a slow and obvious version."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.reco.geometry.tpc import BZ_KG
from o2dask.reco.tpc.field import O2_FIELD_5KG
from o2dask.reco.tpc.grid import make_detector, make_gas, sort_clusters
from o2dask.reco.tpc.kernels_dedx import charge_scale, crossed_rows, select_lowest, truncated_mean
from o2dask.reco.tpc.kernels_following import trim
from o2dask.reco.tpc.kernels_grid import nearest
from o2dask.reco.tpc.kernels_helix import (
    B2C,
    advance,
    advance_about,
    advance_state,
    gas_step,
    propagate,
    rotate,
    transport,
)
from o2dask.reco.tpc.kernels_merging import chi2_5
from o2dask.reco.tpc.kernels_plane import (
    advance_planes,
    load_planes,
    rotate_planes,
    store_planes,
    update_planes,
)
from o2dask.reco.tpc.kernels_update import cluster_variances, update, widened
from o2dask.reco.tpc.params import GasModel, TpcTrackingParams
from o2dask.reco.tpc.timing import z_at_beam_line

F4 = np.float32
CURV = F4(-B2C * BZ_KG)
_LOWER = np.tril_indices(5)


def floats(low: float, high: float) -> st.SearchStrategy[np.float32]:
    return st.floats(low, high).map(F4)


# y z snp tgl q2pt at an x of 100 cm, and a step that does not turn the track back
states = st.tuples(floats(-15, 15), floats(-200, 200), floats(-0.6, 0.6), floats(-1.5, 1.5), floats(-8, 8))
steps = floats(0.25, 4)


def covariance(seed: int) -> tuple[np.float32, ...]:
    """Return a random covariance of a track: widths of a track in the TPC, and correlations."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((5, 8)) * np.array([0.1, 0.1, 0.01, 0.01, 0.1])[:, None]
    return tuple((a @ a.T)[_LOWER].astype(F4))


def full(c: tuple[np.float32, ...]) -> np.ndarray:
    """Return the 5 x 5 matrix of a tuple of 15."""
    m = np.zeros((5, 5))
    m[_LOWER] = c
    return m + np.tril(m, -1).T


def is_positive(c: tuple[np.float32, ...]) -> bool:
    m = full(c)
    d = np.sqrt(np.diag(m))
    return bool(np.linalg.eigvalsh(m / np.outer(d, d)).min() > -1e-4)


@settings(max_examples=40, deadline=None)
@given(states, steps)
def test_a_step_there_and_back_is_the_identity(state, dx) -> None:
    c = covariance(1)
    ok, y, z, snp, there, path = transport(*state, c, dx, CURV)
    assert ok
    ok, y, z, snp, back, path_back = transport(y, z, snp, state[3], state[4], there, F4(-dx), CURV)
    assert ok
    np.testing.assert_allclose([y, z, snp], state[:3], rtol=1e-5, atol=2e-5)
    assert path_back == pytest.approx(-path, rel=1e-5)
    # linear transport: the second order of the step is left over
    np.testing.assert_allclose(np.sqrt(np.diag(full(back))), np.sqrt(np.diag(full(c))), rtol=0.15)


@settings(max_examples=40, deadline=None)
@given(states, steps)
def test_two_half_steps_make_one_whole(state, dx) -> None:
    c = covariance(2)
    _, y1, z1, s1, c1, path = transport(*state, c, dx, CURV)
    half = F4(dx / 2)
    _, y, z, snp, c2, first = transport(*state, c, half, CURV)
    _, y, z, snp, c2, second = transport(y, z, snp, state[3], state[4], c2, half, CURV)
    np.testing.assert_allclose([y, z, snp, first + second], [y1, z1, s1, path], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(np.sqrt(np.diag(full(c2))), np.sqrt(np.diag(full(c1))), rtol=0.1)


def test_a_long_way_ends_on_the_circle_and_the_arc() -> None:
    pt, tgl, x0, x1 = 0.5, 0.7, 90.0, 200.0
    k = CURV / pt
    y, z, snp, c = F4(0), F4(0), F4(0), covariance(3)
    detector = make_detector(TpcTrackingParams(gas=GasModel(is_on=False)))
    start = (F4(x0), y, z, snp, F4(tgl), F4(1 / pt), c)
    ok, y, z, snp, tgl_there, q2pt, _ = propagate(*start, F4(x1), detector)
    turn = math.asin(k * (x1 - x0))
    assert ok
    assert (y, snp, z) == pytest.approx(((1 - math.cos(turn)) / k, math.sin(turn), tgl * turn / k), rel=1e-5)
    assert (tgl_there, q2pt) == (F4(tgl), F4(1 / pt))


def rotated(x: float, y: float, angle: float) -> tuple[float, float]:
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)


@pytest.mark.parametrize("sector", [0, 4, 31])
def test_a_field_with_ends_moves_a_track_as_its_equation_of_motion_does(sector: int) -> None:
    """Runge-Kutta of dp/ds = q v x B in double precision is the slow and obvious version."""
    pt, tgl, x0, x1 = 0.3, 0.9, 90.0, 160.0
    f, angle = O2_FIELD_5KG, math.radians(10 + 20 * (sector % 18))

    def slope(v: np.ndarray) -> np.ndarray:
        position, p = v[:3], v[3:]
        x, y, z = position
        gx, gy = rotated(x, y, angle)
        b = f @ np.array([1, gx, gy, z, gx * gx, gx * gy, gx * z, gy * gy, gy * z, z * z])
        b[:2] = rotated(b[0], b[1], -angle)
        return np.concatenate([p, 0.000299792458 * np.cross(p, b)]) / p[0]

    v, n = np.array([x0, 3.0, 80.0, pt * math.cos(0.2), pt * math.sin(0.2), pt * tgl]), 700
    h = (x1 - x0) / n
    for _ in range(n):
        k1 = slope(v)
        k2 = slope(v + h / 2 * k1)
        k3 = slope(v + h / 2 * k2)
        v = v + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(v + h * k3))
    gas = GasModel(is_on=False)
    detector = make_detector(TpcTrackingParams(is_absolute=True, gas=gas), O2_FIELD_5KG)
    state = (F4(3), F4(80), F4(math.sin(0.2)), F4(tgl), F4(1 / pt), covariance(3))
    for x in np.arange(x0, x1, 1.0):
        ok, *state = propagate(F4(x), *state, F4(x + 1), detector, sector)
        assert ok
    y, z, snp, tgl_there, q2pt, _ = state
    pt_there = math.hypot(v[3], v[4])
    assert (y, z) == pytest.approx(v[1:3], abs=5e-3)
    assert (snp, tgl_there, q2pt) == pytest.approx((v[4] / pt_there, v[5] / pt_there, 1 / pt_there), rel=2e-4)
    uniform = make_detector(TpcTrackingParams(gas=gas))
    without = propagate(F4(x0), F4(3), F4(80), F4(math.sin(0.2)), F4(tgl), F4(1 / pt), covariance(3), F4(x1), uniform)
    assert abs(without[1] - v[1]) > 0.05, "the ends of the field must matter here, or this test shows nothing"


def test_a_track_that_turns_back_is_refused_and_unchanged() -> None:
    state = (F4(1), F4(2), F4(0.9), F4(0.5), F4(15))
    ok, y, z, snp, c, _ = transport(*state, covariance(4), F4(10), CURV)
    assert not ok
    assert (y, z, snp, c) == (*state[:3], covariance(4))


@settings(max_examples=40, deadline=None)
@given(states, floats(-0.35, 0.35))
def test_a_rotation_there_and_back_is_the_identity(state, angle) -> None:
    y, _, snp, tgl, _ = state
    c = covariance(5)
    cos, sin = F4(math.cos(angle)), F4(math.sin(angle))
    ok, x1, y1, snp1, c1 = rotate(F4(100), y, snp, tgl, c, cos, sin)
    if not ok:  # only tracks that run back in the new frame are refused
        assert math.sqrt(1 - snp**2) * cos + snp * sin < 0.031
        return
    assert is_positive(c1)
    _, x2, y2, snp2, c2 = rotate(x1, y1, snp1, tgl, c1, cos, F4(-sin))
    np.testing.assert_allclose([x2, y2, snp2], [100, y, snp], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(full(c2), full(c), rtol=0.02, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(states, steps, floats(-0.3, 0.3), floats(-0.3, 0.3))
def test_a_kalman_step_equals_matrices_in_double_precision_and_stays_positive(state, dx, dy, dz) -> None:
    c = covariance(6)
    vy, vz = F4(0.01), F4(0.02)
    chi2, *new, c_new = update(*state, c, dy, dz, vy, vz, F4(1e9))
    h = np.eye(5)[:2]
    p = full(c)
    gain = p @ h.T @ np.linalg.inv(h @ p @ h.T + np.diag([vy, vz]))
    residual = np.array([dy, dz], float)
    np.testing.assert_allclose(np.array(new, float), np.array(state, float) + gain @ residual, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(full(c_new), p - gain @ h @ p, rtol=1e-3, atol=1e-6)
    assert chi2 == pytest.approx(residual @ np.linalg.inv(h @ p @ h.T + np.diag([vy, vz])) @ residual, rel=1e-3)
    assert is_positive(c_new)
    assert is_positive(transport(*new, c_new, dx, CURV)[4])


def test_a_cluster_beyond_the_cut_changes_nothing() -> None:
    state, c = (F4(0), F4(0), F4(0.1), F4(0.2), F4(1)), covariance(7)
    chi2, *new, c_new = update(*state, c, F4(5), F4(0), F4(0.01), F4(0.01), F4(16))
    assert chi2 > 16
    assert (*new, c_new) == (*state, c)


def test_only_clusters_clearly_too_wide_get_larger_errors() -> None:
    detector = make_detector(TpcTrackingParams())
    row, z, snp, tgl = 70, F4(0), F4(0.3), F4(0.5)
    drift = detector.drift_length - abs(tgl) * detector.row_x[row]
    normal_y, normal_z = cluster_variances(detector.widths, row, drift, snp, tgl)
    vy, vz = F4(0.01), F4(0.02)
    just_below = F4(0.99) * detector.merged
    assert widened(detector, row, z, snp, tgl, vy, vz, just_below * normal_y, F4(0)) == (vy, vz)
    wide_y, wide_z = widened(detector, row, z, snp, tgl, vy, vz, F4(3) * normal_y, F4(4) * normal_z)
    assert wide_y == pytest.approx(vy + 2 * normal_y, rel=1e-5)
    assert wide_z == pytest.approx(vz + 3 * normal_z, rel=1e-5)


def test_gas_takes_energy_on_the_way_out_and_adds_noise_both_ways() -> None:
    gas, c = make_gas(GasModel()), covariance(8)
    out, c_out = gas_step(F4(0.1), F4(0.5), F4(5), c, F4(10), gas)
    back, c_back = gas_step(F4(0.1), F4(0.5), F4(5), c, F4(-10), gas)
    assert 5 < out < 5.05
    assert 4.95 < back < 5
    assert np.diag(full(c_out))[2] > c[5]
    assert c_back == c_out
    # 1.4 keV/cm for a minimum-ionising pion: p = 0.5 GeV/c, tgl 0, over 1 m
    lost = 1 / 2.0 - 1 / float(gas_step(F4(0), F4(0), F4(2), c, F4(100), gas)[0])
    assert lost == pytest.approx(1.4e-4, rel=0.1)


def test_compiled_bodies_equal_plain_python() -> None:
    state, c = (F4(3), F4(50), F4(0.3), F4(-0.6), F4(2)), covariance(9)
    gas = make_gas(GasModel())
    detector = make_detector(TpcTrackingParams())
    for function, arguments in (
        (transport, (*state, c, F4(1.5), CURV)),
        (rotate, (F4(100), *state[:1], state[2], state[3], c, F4(0.94), F4(0.34))),
        (gas_step, (state[2], state[3], state[4], c, F4(1), gas)),
        (update, (*state, c, F4(0.1), F4(-0.1), F4(0.01), F4(0.02), F4(25))),
        (cluster_variances, (detector.errors, 70, F4(120), F4(0.3), F4(0.5))),
        (chi2_5, ((F4(0.1), F4(0.1), F4(0.01), F4(0.01), F4(0.1)), c)),
    ):
        compiled, plain = function(*arguments), function.py_func(*arguments)
        np.testing.assert_allclose(_flat(compiled), _flat(plain), rtol=2e-4, atol=1e-7, err_msg=function.__name__)


def _flat(values) -> np.ndarray:
    parts = values if isinstance(values, tuple) else (values,)
    return np.concatenate([_flat(p) if isinstance(p, tuple) else np.array([p], float) for p in parts])


def test_sparse_ends_are_trimmed_and_dense_ones_are_not() -> None:
    hits, sectors = np.full(152, -1, np.int32), np.zeros(152, np.int32)
    hits[20:60] = 1
    hits[[63, 67, 72]] = 1
    assert trim(hits, sectors, 72, -1, 20) == 63, "eight of the twelve rows from 63 inwards have a cluster"
    assert (hits[64:] == -1).all() and (hits[20:60] == 1).all()
    assert trim(hits, sectors, 20, 1, 63) == 20
    hits[10] = 1
    sectors[10] = 1
    assert trim(hits, sectors, 10, 1, 63) == 10, "the state at the end is in the frame of that sector"


def test_chi2_of_five_parameters_equals_numpy_and_is_infinite_without_a_positive_covariance() -> None:
    c, d = covariance(10), np.array([0.1, -0.2, 0.01, 0.02, -0.1], F4)
    assert chi2_5(tuple(d), c) == pytest.approx(d @ np.linalg.inv(full(c)) @ d, rel=1e-3)
    assert chi2_5(tuple(d), (*c[:14], F4(-1))) == np.inf


def test_the_grid_keeps_every_cluster_and_finds_the_nearest() -> None:
    rng = np.random.default_rng(11)
    n = 3000
    sector = rng.integers(0, 36, n).astype(np.uint8)
    row = rng.choice([0, 70, 151], n).astype(np.uint8)
    y = rng.uniform(-14, 14, n).astype(F4)
    z = (rng.uniform(-400, 250, n) * np.where(sector < 18, 1, -1)).astype(F4)
    detector = make_detector(TpcTrackingParams())
    sorted_ = sort_clusters(sector, row, y, z, detector)
    grid = sorted_.grid
    assert sorted(sorted_.source) == list(range(n))
    np.testing.assert_array_equal(grid.yz, np.stack([y, z], 1)[sorted_.source])
    assert (np.diff(grid.cell_start) >= 0).all() and grid.cell_start[-1] == n
    for _ in range(300):
        i = rng.integers(n)
        s, r = int(sector[i]), int(row[i])
        at_y, at_z = F4(y[i] + rng.normal(0, 2)), F4(z[i] + rng.normal(0, 5))
        wy, wz = F4(rng.uniform(0.1, 8)), F4(rng.uniform(0.1, 30))
        found = nearest(grid, s, r, detector.row_half[r], at_y, at_z, wy, wz, F4(1), F4(4))
        dy, dz = y - at_y, z - at_z
        distance = np.where((sector == s) & (row == r) & (abs(dy) < wy) & (abs(dz) < wz), dy**2 + dz**2 / 4, np.inf)
        best = int(distance.argmin()) if np.isfinite(distance.min()) else -1
        assert (sorted_.source[found] if found >= 0 else -1) == best


def test_the_truncated_mean_is_that_of_the_lowest_part() -> None:
    rng = np.random.default_rng(12)
    charge = rng.integers(1, 1000, 150).astype(np.uint16)
    path = rng.uniform(0.7, 2, 150).astype(F4)
    path[::10] = 0
    scale = np.array([charge_scale(p, F4(0), F4(0), F4(0)) for p in path])
    value = truncated_mean(charge, scale, 0, 150, F4(0.6), np.zeros(150, F4))
    per_cm = np.sort(charge[path > 0] / path[path > 0])
    assert value == pytest.approx(per_cm[: int(0.6 * len(per_cm))].mean(), rel=1e-5)


def test_a_charge_is_scaled_to_one_centimetre_and_no_drift() -> None:
    path, drift, attachment, power = 1.7, 200.0, 5e-4, 0.15
    scale = charge_scale(F4(path), F4(drift), F4(attachment), F4(power))
    # what is left after the drift of what 1.7 cm of path give
    assert path ** (1 + power) * math.exp(-attachment * drift) * scale == pytest.approx(1, rel=3e-4)
    assert charge_scale(F4(1), F4(0), F4(attachment), F4(power)) == 1
    assert charge_scale(F4(0), F4(drift), F4(attachment), F4(power)) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.data())
def test_the_lowest_come_first_ties_included(values, data) -> None:
    n_low = data.draw(st.integers(1, len(values)))
    numbers = np.array([-1, *values, -1], F4)
    select_lowest(numbers, 1, len(values), n_low)
    assert sorted(numbers[1 : 1 + n_low]) == sorted(values)[:n_low]
    assert sorted(numbers[1:-1]) == sorted(values)
    assert numbers[0] == numbers[-1] == -1, "only the given range is touched"


def test_crossed_rows_count_those_within_two_rows_of_a_cluster() -> None:
    row = np.array([3, 4, 5, 9, 20, 21], np.uint8)
    used = np.array([1, 1, 1, 1, 1, 1], F4)
    near = {r for r in range(3, 22) if min(abs(r - k) for k in row.tolist()) <= 2}
    assert crossed_rows(row, used, 0, 6) == len(near)
    used[3] = 0
    near = {r for r in range(3, 22) if min(abs(r - k) for k in (3, 4, 5, 20, 21)) <= 2}
    assert crossed_rows(row, used, 0, 6) == len(near)


@pytest.mark.parametrize("charge", [-1, 1])
def test_a_helix_from_the_beam_line_points_back_to_its_vertex(charge) -> None:
    pt, tgl, phi, arc = 0.6, -0.8, 0.2, 130.0
    k = float(CURV) * charge / pt
    x, y = (math.sin(phi + k * arc) - math.sin(phi)) / k, -(math.cos(phi + k * arc) - math.cos(phi)) / k
    par = np.array([[x, y, 7.0 + tgl * arc, math.sin(phi + k * arc), tgl, charge / pt]])
    assert z_at_beam_line(par)[0] == pytest.approx(7.0, abs=1e-6)


@pytest.mark.parametrize(("q2pt", "step", "error"), [(20.0, 0.75, 2e-4), (20.0, 1.5, 1e-3), (5.0, 4.0, 1e-3)])
def test_the_search_takes_the_direction_half_way_and_is_off_by_microns(q2pt: float, step: float, error: float) -> None:
    detector = make_detector(TpcTrackingParams(gas=GasModel(is_on=False)))
    cov = np.zeros(15, F4)
    cov[[0, 2, 5, 9, 14]] = 0.1
    state = (F4(2), F4(30), F4(0.1), F4(0.4), F4(q2pt))
    exact = advance(F4(90), *state, tuple(cov), F4(90 - step), detector, -1, F4(0))
    search = advance_planes(F4(90), *state, load_planes(cov), F4(90 - step), detector, F4(0))
    assert exact[0] and search[0]
    np.testing.assert_allclose(search[1:3], exact[1:3], rtol=0, atol=error)
    np.testing.assert_allclose(search[3:6], exact[3:6], rtol=1e-5)


def test_the_filter_of_the_search_is_that_of_the_fit_where_the_planes_are_apart() -> None:
    """Nine covariances against fifteen with zeros between the planes, on a straight track along z = const."""
    detector = make_detector(TpcTrackingParams())
    full = np.zeros(15, F4)
    full[[0, 2, 3, 5, 7, 9, 10, 12, 14]] = 0.3, 0.4, 0.01, 0.002, 0.01, 0.003, 0.02, 0.001, 0.5
    state = (F4(2), F4(30), F4(0.3), F4(0.0), F4(0.0))
    nine = load_planes(full)
    ok, *far, c15, wait15 = advance(F4(90), *state, tuple(full), F4(98), detector, -1, F4(0))
    ok9, *far9, c9, wait9 = advance_planes(F4(90), *state, nine, F4(98), detector, F4(0))
    assert ok and ok9
    np.testing.assert_allclose(far9, far, rtol=1e-5, atol=1e-7)
    assert wait9 == pytest.approx(wait15, rel=1e-5)
    measured = (F4(0.2), F4(-0.3), F4(0.05), F4(0.07), F4(50))
    chi2, *updated, u15 = update(*far, c15, *measured)
    chi2_9, *updated9, u9 = update_planes(*far9, c9, *measured)
    assert chi2_9 == pytest.approx(chi2, rel=1e-5)
    np.testing.assert_allclose(updated9, updated, rtol=1e-5)
    ok, *turned, r15 = rotate(F4(98), *updated[:1], *updated[2:4], u15, F4(math.cos(0.35)), F4(math.sin(0.35)))
    ok9, *turned9, r9 = rotate_planes(F4(98), *updated9[:1], *updated9[2:4], u9, F4(math.cos(0.35)), F4(math.sin(0.35)))
    np.testing.assert_allclose(turned9, turned, rtol=1e-5)
    out = np.full(15, np.nan, F4)
    store_planes(out, r9)
    between = [1, 4, 6, 8, 11, 13]
    np.testing.assert_array_equal(out[between], 0)
    kept = np.delete(np.arange(15), between)
    np.testing.assert_allclose(out[kept], np.array(r15)[kept], rtol=2e-4)


@given(st.floats(-0.6, 0.6), st.floats(-1.0, 1.0), st.floats(-3.0, 3.0), st.floats(-6.0, 6.0))
@settings(max_examples=20, deadline=None)
def test_deviations_are_carried_like_the_difference_of_two_tracks(snp, tgl, q2pt, dx) -> None:
    detector = make_detector(TpcTrackingParams(gas=GasModel(is_on=False)))
    state = tuple(F4(v) for v in (1.0, 20.0, snp, tgl, q2pt))
    c = tuple(F4(v) for v in np.eye(5)[np.tril_indices(5)])
    shift = (F4(0.02), F4(-0.03), F4(0.002), F4(0.003), F4(0.01))
    x, there = F4(100.0), F4(100.0 + dx)
    ok, *far, d, c_about, _ = advance_about(x, *state, shift, c, there, detector, -1, F4(0))
    ok2, *alone, c_alone, _ = advance(x, *state, c, there, detector, -1, F4(0))
    ok3, *moved, _, _ = advance(x, *(a + b for a, b in zip(state, shift, strict=True)), c, there, detector, -1, F4(0))
    assert ok and ok2 and ok3
    np.testing.assert_allclose(far, alone, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(c_about, c_alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(d, np.array(moved) - np.array(alone), atol=2e-3, rtol=0)
    ok4, *bare, _ = advance_state(x, *state, there, detector, -1, F4(0))
    assert ok4
    np.testing.assert_allclose(bare, alone, rtol=1e-6, atol=1e-6)
