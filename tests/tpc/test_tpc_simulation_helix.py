"""Steps along a circle, and whole transports, against analytic circles and against a slow walk."""

import math

import numpy as np
import pytest
from gun import shoot
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.reco.geometry.tpc import BZ_KG, pad_rows, sector_alpha
from o2dask.reco.tpc import simulation_helix_kernels as helix
from o2dask.reco.tpc.simulation import true_crossings
from o2dask.reco.tpc.simulation_params import TpcSimParams

NO_MATTER = TpcSimParams(material_scale=0.0)

curvatures = st.one_of(st.floats(1e-6, 0.2), st.floats(-0.2, -1e-6))
azimuths = st.floats(-3.1, 3.1)


def walked(x, y, phi, k, arc):
    """Return the point and azimuth after `arc` on a circle: the definition."""
    end = phi + k * arc
    return x + (math.sin(end) - math.sin(phi)) / k, y - (math.cos(end) - math.cos(phi)) / k, end


def agrees(x, y, phi, k, got):
    """Whether (x1, y1, s1, c1, arc) is what a walk over `arc` gives; tolerance: rounding of the plain formula."""
    x1, y1, s1, c1, arc = got
    wx, wy, end = walked(x, y, phi, k, arc)
    tolerance = 1e-7 + 1e-9 / abs(k)
    assert (x1, y1) == pytest.approx((wx, wy), abs=tolerance)
    assert (s1, c1) == pytest.approx((math.sin(end), math.cos(end)), abs=1e-7)
    assert arc >= 0


@settings(max_examples=60, deadline=None)
@given(x=st.floats(80, 240), dx=st.floats(0.01, 4), phi=st.floats(-1.5, 1.5), k=curvatures, outward=st.booleans())
def test_a_step_to_a_plane_ends_on_the_circle_and_on_the_plane(x, dx, phi, k, outward):
    phi = phi if outward else math.pi - phi
    target = x + dx if outward else x - dx
    ok, y1, s1, c1, arc = helix.plane_step(x, 3.0, math.sin(phi), math.cos(phi), k, target, outward)
    assert ok == (abs(math.sin(phi) + k * (target - x)) < 1)
    if ok:
        agrees(x, 3.0, phi, k, (target, y1, s1, c1, arc))


@settings(max_examples=60, deadline=None)
@given(phi=st.floats(-1.5, 1.5), k=curvatures, outward=st.booleans())
def test_a_turning_step_ends_where_x_has_its_extremum(phi, k, outward):
    phi = phi if outward else math.pi - phi
    x1, y1, s1, c1, arc = helix.turning_step(100.0, 3.0, math.sin(phi), math.cos(phi), k, outward)
    agrees(100.0, 3.0, phi, k, (x1, y1, s1, c1, arc))
    assert abs(c1) < 1e-8
    assert (x1 >= 100.0) == outward
    assert arc <= math.pi / abs(k) * 1.0001


@settings(max_examples=60, deadline=None)
@given(phi=st.floats(0.3, 2.8), k=st.one_of(st.floats(1e-5, 0.01), st.floats(-0.01, -1e-5)), up=st.booleans())
def test_a_step_to_the_edge_of_a_sector_ends_on_its_line(phi, k, up):
    angle = math.pi / 18 if up else -math.pi / 18
    phi = angle + phi if up else angle - phi
    x, y = 100.0, 0.97 * 100.0 * math.tan(angle)  # half a centimetre from the edge, moving towards it
    u, s1, c1, arc = helix.line_step(x, y, math.sin(phi), math.cos(phi), k, math.sin(angle), math.cos(angle), up)
    c1, s1 = c1 * math.cos(angle) - s1 * math.sin(angle), s1 * math.cos(angle) + c1 * math.sin(angle)
    agrees(x, y, phi, k, (u * math.cos(angle), u * math.sin(angle), s1, c1, arc))


@settings(max_examples=80, deadline=None)
@given(phi=azimuths, k=curvatures, r0=st.floats(0.0, 40.0), radius=st.floats(1.0, 80.0), outward=st.booleans())
def test_a_step_to_a_cylinder_ends_on_it_in_the_right_direction(phi, k, r0, radius, outward):
    ok, x1, y1, s1, c1, arc = helix.cylinder_step(r0, 0.0, math.sin(phi), math.cos(phi), k, radius, outward)
    xc, yc = r0 - math.sin(phi) / k, math.cos(phi) / k
    nearest, farthest = abs(math.hypot(xc, yc) - 1 / abs(k)), math.hypot(xc, yc) + 1 / abs(k)
    assert ok == (nearest < radius < farthest)
    if ok and nearest < 0.99 * radius and farthest > 1.01 * radius:
        agrees(r0, 0.0, phi, k, (x1, y1, s1, c1, arc))
        assert math.hypot(x1, y1) == pytest.approx(radius, abs=1e-6)
        assert (x1 * c1 + y1 * s1 > 0) == outward


def slow_crossings(p, charge, z0, length, step=0.004):
    """Return the (sector, pad_row) that a helix from (0, 0, z0) crosses: tiny steps, every sector's frame, no trick."""
    pt = math.hypot(p[0], p[1])
    k, phi = -0.000299792458 * BZ_KG * charge / pt, math.atan2(p[1], p[0])
    arc = np.arange(0.0, length, step)
    x = (np.sin(phi + k * arc) - math.sin(phi)) / k
    y = -(np.cos(phi + k * arc) - math.cos(phi)) / k
    z = z0 + arc * p[2] / pt
    gone = (np.hypot(x, y) > 256) | (np.abs(z) >= 250)
    end = int(np.argmax(gone)) if gone.any() else len(arc)
    x, y, z = x[:end], y[:end], z[:end]
    rows, found = pad_rows(), []
    half = 0.5 * rows.n_pads * rows.pad_width
    for sector in range(18):
        a = sector_alpha(sector)
        lx, ly = x * np.cos(a) + y * np.sin(a), -x * np.sin(a) + y * np.cos(a)
        row = np.searchsorted(rows.x, lx, side="right")  # rows below lx
        near = np.flatnonzero((np.diff(row) != 0) & (lx[1:] > 80) & (lx[1:] < 250))
        # Outside x = 250 the simulation lets go of a particle, in whatever sector: it has left the wedge's outer plane.
        for i in near:
            crossed = max(row[i], row[i + 1]) - 1
            if abs(ly[i]) <= half[crossed]:
                found.append((i, sector + (0 if z[i] >= 0 else 18), int(crossed)))
    return [(s, r) for _, s, r in sorted(found)]


@pytest.mark.parametrize(
    ("pt", "eta", "phi", "pdg"),
    [
        (1.0, 0.3, 0.1, 211),
        (5.0, -0.5, 1.7, -211),
        (0.4, 0.1, 2.9, 211),
        (0.16, 0.05, -2.0, -211),
        (0.11, -0.3, 0.9, 11),
    ],
    ids=["1 GeV", "5 GeV", "0.4 GeV", "looper", "tight looper"],
)
def test_rows_crossed_are_those_of_a_slow_walk_along_the_helix(pt, eta, phi, pdg):
    p = (pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta))
    _, particles = shoot(pdg, pt, eta, phi, vertex=(0, 0, 2.0))
    params = TpcSimParams(material_scale=0.0, max_path=900.0)
    got = true_crossings(particles, params)
    want = slow_crossings(p, np.sign(pdg) * (-1 if abs(pdg) == 11 else 1), 2.0, 900.0 / math.cosh(eta))
    assert len(want) > 100
    assert list(zip(got["sector"].tolist(), got["pad_row"].tolist(), strict=True)) == want


def test_hits_lie_on_the_helix_and_carry_its_slopes():
    rng = np.random.default_rng(3)
    pt, eta, phi = rng.uniform(0.3, 3, 40), rng.uniform(-0.8, 0.8, 40), rng.uniform(0, 6.28, 40)
    charge = np.where(rng.random(40) < 0.5, 1, -1)
    _, particles = shoot(211 * charge, pt, eta, phi)
    hits = true_crossings(particles, NO_MATTER)
    px, py = particles["px"].astype(float), particles["py"].astype(float)  # as stored: rounded to float32
    pt, phi, mc = np.hypot(px, py), np.arctan2(py, px), hits["mc"]
    k = -0.000299792458 * BZ_KG * charge / pt
    a, x = sector_alpha(hits["sector"]), pad_rows().x[hits["pad_row"]]
    gx, gy = x * np.cos(a) - hits["y"] * np.sin(a), x * np.sin(a) + hits["y"] * np.cos(a)
    xc, yc = -np.sin(phi) / k, np.cos(phi) / k
    assert np.abs(np.hypot(gx - xc[mc], gy - yc[mc]) - 1 / np.abs(k[mc])).max() < 3e-5
    azimuth = np.arctan2((gx - xc[mc]) * k[mc], -(gy - yc[mc]) * k[mc])
    turned = np.angle(np.exp(1j * (azimuth - phi[mc]))) / k[mc]
    first_turn = (turned > 0) & (turned < np.pi / np.abs(k[mc])) & (hits["time"] < 15)
    assert first_turn.mean() > 0.9
    z = turned * np.sinh(eta[mc])
    np.testing.assert_allclose(hits["z"][first_turn], z[first_turn], atol=5e-5)
    np.testing.assert_allclose(hits["tan_y"][first_turn], np.tan(azimuth - a)[first_turn], rtol=2e-3, atol=1e-5)
    mass, p = 0.13957, pt * np.cosh(eta)
    flight = turned * np.cosh(eta[mc]) * np.hypot(p, mass)[mc] / p[mc] / 29.9792458
    np.testing.assert_allclose(hits["time"][first_turn], flight[first_turn], rtol=1e-5)


def test_a_straight_track_through_a_sector_crosses_all_rows_and_a_dead_zone_none():
    _, particles = shoot(211, 50.0, 0.3, np.deg2rad([10.0, 20.0]))
    hits = true_crossings(particles, NO_MATTER)
    assert (hits["mc"] == 0).sum() == 152
    assert (hits["mc"] == 1).sum() < 30
