"""Primary vertexing: closure on tracks of collisions with known time and place."""

import numpy as np
import pytest

from o2dask.columns import Columns
from o2dask.reco.geometry.tpc import BZ_KG, CM_PER_TIME_BIN
from o2dask.reco.tpc.schema import TRACKS
from o2dask.reco.vertexing.beamline import B2C, closest_approach
from o2dask.reco.vertexing.params import VertexParams
from o2dask.reco.vertexing.primary import TIME_BIN_NS, find_primary_vertices

X_INNER = 85.0


def outward(vertex, phi, pt, tgl, charge, arc):
    """Return global point, direction angle of a helix from `vertex` after `arc` [cm]: the obvious formula."""
    c = B2C * BZ_KG * charge / pt
    x = vertex[0] + (np.sin(phi + c * arc) - np.sin(phi)) / c
    y = vertex[1] - (np.cos(phi + c * arc) - np.cos(phi)) / c
    return x, y, vertex[2] + tgl * arc, phi + c * arc


def tracks_of(rng, t, z, n):
    """Return TPC tracks (as columns) of one collision at time t [time bins], z [cm], smeared by their errors."""
    phi, pt = rng.uniform(-np.pi, np.pi, n), rng.exponential(0.5, n) + 0.3
    tgl, charge = rng.uniform(-0.9, 0.9, n), rng.choice([-1, 1], n)
    x, y, z_out, angle = outward((0.0, 0.0, z), phi, pt, tgl, charge, X_INNER)
    alpha = np.deg2rad(10 + 20 * (np.rad2deg(np.arctan2(y, x)) // 20))
    columns = dict(TRACKS.empty(n))
    sigma_z, sigma_tgl = 0.1, 0.002
    side = np.where(z_out > 0, 1, -1)
    # the tracker's first guess: the time at which the track points to z = 0 at the beam line
    time0 = t - side * z / CM_PER_TIME_BIN + rng.normal(0, 2, n)
    columns |= {
        "alpha": alpha,
        "x": x * np.cos(alpha) + y * np.sin(alpha),
        "y": -x * np.sin(alpha) + y * np.cos(alpha),
        "z": z_out + side * CM_PER_TIME_BIN * (time0 - t) + rng.normal(0, sigma_z, n),
        "snp": np.sin(angle - alpha),
        "tgl": tgl + rng.normal(0, sigma_tgl, n),
        "q2pt": charge / pt,
        "time0": time0,
        "time_fwd": np.full(n, 200.0),  # a track of no length, anywhere in the drift volume
        "time_bwd": np.full(n, 200.0),
        "n_clusters": np.full(n, 120),
        "sides": np.where(side > 0, 1, 2),
    }
    cov = np.zeros((n, 15))
    cov[:, [0, 2, 5, 9, 14]] = [0.01, sigma_z**2, 1e-5, sigma_tgl**2, 1e-4]
    columns["cov"] = cov
    return {k: np.asarray(v).astype(TRACKS[k].dtype) for k, v in columns.items()}


def joined(parts):
    return Columns(TRACKS, {k: np.concatenate([p[k] for p in parts]) for k in TRACKS.names})


def test_a_helix_from_the_beam_line_comes_back_to_its_start():
    rng = np.random.default_rng(1)
    n = 500
    phi, pt, tgl = rng.uniform(-np.pi, np.pi, n), rng.uniform(0.15, 20, n), rng.uniform(-1, 1, n)
    charge = rng.choice([-1, 1], n)
    x, y, z, angle = outward((0.0, 0.0, 3.0), phi, pt, tgl, charge, 80.0)
    alpha = np.arctan2(y, x)
    local = (np.hypot(x, y), np.zeros(n), z, np.sin(angle - alpha), tgl, charge / pt, alpha)
    near = closest_approach(*local, bz=BZ_KG)
    np.testing.assert_allclose(near.z, 3.0, atol=1e-4)
    np.testing.assert_allclose(np.hypot(near.x, near.y), 0, atol=1e-5)
    np.testing.assert_allclose(near.path, -80.0, atol=1e-4)


def test_collisions_are_found_at_their_time_and_place():
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.uniform(150, 400, 20))
    places = rng.normal(0, 6, 20).clip(-15, 15)
    tracks = joined([tracks_of(rng, t, z, 60) for t, z in zip(times, places, strict=True)])
    vertices, members = find_primary_vertices(tracks)
    assert vertices.n_rows == 20
    pull_z = (vertices["z"] - places) / np.sqrt(vertices["cov"][:, 5])
    pull_t = (vertices["t"] / TIME_BIN_NS - times) / (vertices["t_res"] / TIME_BIN_NS)
    assert np.abs(vertices["z"] - places).max() < 0.5
    assert np.abs(vertices["t"] / TIME_BIN_NS - times).max() < 1.0
    # the multiple scattering that the errors allow for is not in these tracks: widths below 1, never above
    assert np.std(pull_z) < 1.3 and np.std(pull_t) < 1.3
    truth = np.repeat(np.arange(20), 60)
    owner = np.repeat(np.arange(20), vertices["n_tracks"])
    assert (truth[members["track"]] == owner).mean() > 0.98
    assert members.n_rows > 0.97 * tracks.n_rows


def test_overlapping_drifts_are_told_apart():
    rng = np.random.default_rng(3)
    times, places = np.array([1000.0, 1060.0, 1130.0]), np.array([8.0, -7.0, 2.0])
    tracks = joined([tracks_of(rng, t, z, n) for t, z, n in zip(times, places, (300, 80, 150), strict=True)])
    vertices, _ = find_primary_vertices(tracks)
    assert vertices.n_rows == 3
    np.testing.assert_allclose(vertices["z"], places, atol=0.6)


def test_each_track_belongs_to_one_vertex_at_most():
    rng = np.random.default_rng(4)
    tracks = joined([tracks_of(rng, t, 0.0, 30) for t in (500.0, 530.0, 900.0)])
    vertices, members = find_primary_vertices(tracks)
    assert len(np.unique(members["track"])) == members.n_rows
    assert vertices["n_tracks"].sum() == members.n_rows
    assert (vertices["n_contributors"] <= vertices["n_tracks"]).all()


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_tracks_make_no_vertex(n):
    tracks = Columns(TRACKS, tracks_of(np.random.default_rng(5), 100.0, 0.0, n))
    vertices, members = find_primary_vertices(tracks)
    assert vertices.n_rows == 0
    assert members.n_rows == 0


def test_tracks_far_from_the_beam_line_do_not_make_a_vertex():
    rng = np.random.default_rng(6)
    columns = tracks_of(rng, 100.0, 0.0, 50)
    columns["y"] = columns["y"] + np.float32(30)
    vertices, _ = find_primary_vertices(Columns(TRACKS, columns), VertexParams(max_dca=4.0))
    assert vertices.n_rows == 0
