"""Tracks fitted side by side are fitted as one by one, and do not see who is beside them."""

import numpy as np
import pytest
from helix_gun import shoot

from o2dask.reco.geometry.tpc import BZ_KG, pad_rows
from o2dask.reco.tpc.field import O2_FIELD_5KG
from o2dask.reco.tpc.grid import make_detector
from o2dask.reco.tpc.kernels_fit import fit_tracks
from o2dask.reco.tpc.kernels_lanes import LANE_INTEGERS, LANE_ROWS, LANES, fit_lanes
from o2dask.reco.tpc.kernels_types import Detector
from o2dask.reco.tpc.params import TpcTrackingParams

F4, I4 = np.float32, np.int32
FIELDS = {
    "constant": BZ_KG,
    "without azimuth": BZ_KG * np.array([1.0, -4e-8, -3e-7, 1e-6, 2e-7]),
    "map": O2_FIELD_5KG,
}
N_TRACKS, CHI2 = 43, F4(16)


@pytest.fixture(scope="module")
def tracks() -> tuple:
    """Return (first, hits, par) of tracks at their outermost cluster; some have strangers' clusters, gaps and NaN."""
    shots = shoot(N_TRACKS, seed=5, min_pt=0.3)
    rng = np.random.default_rng(1)
    order = np.lexsort((shots.row, shots.mc))
    row, sector, mc = shots.row[order], shots.sector[order], shots.mc[order]
    y, z = shots.y[order].copy(), shots.z[order].copy()
    # outliers; a track that jumps by 3 cm half-way: no single fit has most of its clusters; clusters set free; a gap
    y[rng.random(len(y)) < 0.03] += 1.5
    y[(mc == 7) & (row > 100)] += 3
    y[(mc == 3) & (row % 9 == 0)] = np.nan
    keep = ~((mc == 11) & (row > 60) & (row < 140))
    row, sector, mc, y, z = (part[keep] for part in (row, sector, mc, y, z))
    width = np.where(rng.random((len(y), 1)) < 0.2, 0.4, 0.0).astype(F4) * np.ones((1, 2), F4)
    first = np.searchsorted(mc, np.arange(N_TRACKS + 1)).astype(I4)
    outer = first[1:] - 1
    curvature = -0.000299792458 * BZ_KG * shots.charge / shots.pt
    x = pad_rows().x[row[outer]].astype(float)
    alpha = np.deg2rad(10 + 20 * (sector[outer] % 18.0))
    snp = np.sin(shots.phi - alpha) + curvature * x
    par = np.stack([x, np.nan_to_num(y[outer]), z[outer], np.clip(snp, -0.9, 0.9), shots.tgl, shots.charge / shots.pt])
    return first, (y, z, row, sector, width), np.ascontiguousarray(par.T, F4)


def _empty(n: int, m: int) -> tuple:
    nothing = F4(np.nan)
    return np.full((n, 15), nothing), np.full(n, nothing), np.full((n, 3), -9, I4), np.full(m, nothing)


def _in_lanes(tracks: tuple, detector: Detector, order: np.ndarray, n_chunks: int) -> tuple:
    first, hits, par = tracks
    out = (par.copy(), *_empty(len(par), len(hits[0])))
    work = np.full((n_chunks, LANE_ROWS * LANES), np.nan, F4), np.full((n_chunks, LANE_INTEGERS * LANES), -7, I4)
    fit_lanes(order.astype(I4), first, hits, detector, CHI2, out, *work)
    return out


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("is_absolute", [True, False], ids=["true z", "free z"])
def test_a_fit_in_lanes_is_the_fit_of_one_track(tracks: tuple, field: "float | np.ndarray", is_absolute: bool) -> None:
    detector = make_detector(TpcTrackingParams(is_absolute=is_absolute or not np.isscalar(field)), field)
    first, hits, par = tracks
    alone = (par.copy(), *_empty(len(par), len(hits[0])))
    fit_tracks(first, *hits, detector, CHI2, *alone)
    beside = _in_lanes(tracks, detector, np.argsort(-np.diff(first), kind="stable"), 3)
    errors = np.sqrt(alone[1][:, [0, 2, 5, 9, 14]])
    assert (alone[3][:, 0] > 20).all()
    assert (alone[3][:, 0] < np.diff(first)).any(), "no cluster was left out: the comparison says little"
    np.testing.assert_array_equal(beside[3], alone[3])
    np.testing.assert_array_equal(beside[0][:, 0], alone[0][:, 0])
    assert (np.abs(beside[0][:, 1:] - alone[0][:, 1:]) < 0.05 * errors).all()
    np.testing.assert_allclose(np.sqrt(beside[1][:, [0, 2, 5, 9, 14]]), errors, rtol=0.01)
    np.testing.assert_allclose(beside[2], alone[2], rtol=0.01)
    np.testing.assert_allclose(beside[4], alone[4], rtol=1e-3)


def test_a_lane_does_not_see_the_others(tracks: tuple) -> None:
    detector = make_detector(TpcTrackingParams(is_absolute=True), O2_FIELD_5KG)
    one = _in_lanes(tracks, detector, np.arange(N_TRACKS), 1)
    for n_chunks, order in ((5, np.arange(N_TRACKS)[::-1]), (2, np.random.default_rng(3).permutation(N_TRACKS))):
        for a, b in zip(one, _in_lanes(tracks, detector, order, n_chunks), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_track_without_clusters_has_none_used() -> None:
    detector = make_detector(TpcTrackingParams())
    nothing = np.zeros(0, F4)
    hits = (nothing, nothing, np.zeros(0, np.uint8), np.zeros(0, np.uint8), np.zeros((0, 2), F4))
    out = _in_lanes((np.zeros(3, I4), hits, np.full((2, 6), 0.1, F4)), detector, np.arange(2), 1)
    np.testing.assert_array_equal(out[3], [[0, -1, -1]] * 2)


@pytest.mark.parametrize("pt", [0.15, 1.0])
def test_variances_stay_positive_over_a_long_gap_after_few_clusters(pt: float) -> None:
    shots = shoot(12, seed=9, min_pt=pt)
    keep = np.zeros(len(shots.row), bool)
    for i in range(12):
        rows = np.flatnonzero(shots.mc == i)
        rows = rows[np.argsort(shots.row[rows])]
        keep[rows[-3:]] = keep[rows[: max(len(rows) - 90, 25)]] = True
    order = np.flatnonzero(keep)
    order = order[np.lexsort((shots.row[order], shots.mc[order]))]
    hits = (shots.y[order], shots.z[order], shots.row[order], shots.sector[order], np.zeros((len(order), 2), F4))
    first = np.searchsorted(shots.mc[order], np.arange(13)).astype(I4)
    outer = first[1:] - 1
    x = pad_rows().x[hits[2][outer]].astype(float)
    alpha = np.deg2rad(10 + 20 * (hits[3][outer] % 18.0))
    snp = np.sin(shots.phi - alpha) - 0.000299792458 * BZ_KG * shots.charge / shots.pt * x
    par = np.stack([x, hits[0][outer], hits[1][outer], np.clip(snp, -0.9, 0.9), shots.tgl, shots.charge / shots.pt])
    detector = make_detector(TpcTrackingParams(is_absolute=True), O2_FIELD_5KG)
    out = _in_lanes((first, hits, np.ascontiguousarray(par.T, F4)), detector, np.arange(12), 2)
    used = out[3][:, 0] > 0
    assert used.sum() >= 8
    assert (out[1][used][:, [0, 2, 5, 9, 14]] > 0).all()
