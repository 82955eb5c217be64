"""Seeds followed side by side give the tracks of following them one after the other, bit by bit."""

import numpy as np
import pytest

from o2dask.reco.geometry.tpc import pad_rows
from o2dask.reco.tpc.backend import HOST, Backend
from o2dask.reco.tpc.candidates import find_by_candidate
from o2dask.reco.tpc.grid import make_detector, sort_clusters
from o2dask.reco.tpc.kernels_candidates import TAKEN, candidate_range, renew_claims, sweep
from o2dask.reco.tpc.params import ErrorModel, GasModel, TpcTrackingParams
from o2dask.reco.tpc.segments import Segments
from o2dask.reco.tpc.tracking import find_tracks, make_round, make_search, track_clusters

SIGMA = 0.08
BZ = -5.00668


class Wide(Backend):
    """The cores of this machine, used as a GPU would be, without the first guess: a loop would guess right."""

    is_wide = True

    def run(self, launcher, n, *arguments) -> None:
        if launcher is not sweep or arguments[0] < 0:
            super().run(launcher, n, *arguments)


def params(*, is_absolute: bool) -> TpcTrackingParams:
    terms = ((SIGMA**2, 0.0, 0.0),) * 4
    errors = ErrorModel(y=terms, z=terms, merging_y=1.0, merging_z=1.0)
    return TpcTrackingParams(is_absolute=is_absolute, errors=errors, gas=GasModel(is_on=False))


def crowd(n: int, *, z_range: float) -> tuple[np.ndarray, ...]:
    """Return clusters (sector, row, y, z) of stiff tracks in bundles of three: seeds compete for clusters.

    Tracks of a bundle are a millimetre or two apart; bundles are shifted in z by up to `z_range` [cm].
    """
    rng = np.random.default_rng(7)
    x = pad_rows().x.astype(np.float64)
    bundle = np.arange(n) // 3
    home = (rng.integers(0, 36, n))[3 * bundle]
    slope = np.tan(np.deg2rad(rng.uniform(-8, 8, n)))[3 * bundle] + rng.normal(0, 0.002, n)
    dip = rng.uniform(0.05, 0.9, n)[3 * bundle] + rng.normal(0, 0.002, n)
    shift = rng.uniform(0, z_range, n)[3 * bundle]
    y = slope[:, None] * x + rng.normal(0, SIGMA, (n, len(x)))
    z = dip[:, None] * x - shift[:, None] + rng.normal(0, SIGMA, (n, len(x)))
    z = np.where(home[:, None] < 18, z, -z)
    sector, row = (np.broadcast_to(a, y.shape).ravel() for a in (home[:, None], np.arange(len(x))))
    order = np.lexsort((row, sector))
    columns = zip((sector, row, y.ravel(), z.ravel()), ("u1", "u1", "f4", "f4"), strict=True)
    return tuple(np.ascontiguousarray(c[order], d) for c, d in columns)


def both_ways(clusters: tuple[np.ndarray, ...], asked: TpcTrackingParams) -> tuple[Segments, Segments, list[int]]:
    detector, wide = make_detector(asked, BZ), Wide()
    rounds = [make_round(r, BZ) for r in asked.rounds]
    one_by_one = find_tracks(sort_clusters(*clusters, detector), detector, asked)
    at_once, told = find_by_candidate(
        sort_clusters(*clusters, detector, wide), detector, make_search(asked), rounds, wide
    )
    return one_by_one, at_once, told.sweeps


@pytest.mark.parametrize(
    ("z_range", "is_absolute"),
    [pytest.param(0.0, True, id="one collision"), pytest.param(900.0, False, id="continuous readout, many slabs")],
)
def test_seeds_at_once_find_the_tracks_of_one_after_the_other(z_range: float, is_absolute: bool) -> None:
    clusters = crowd(450, z_range=z_range)
    one_by_one, at_once, sweeps = both_ways(clusters, params(is_absolute=is_absolute))
    assert len(one_by_one.par) > 300
    assert max(sweeps) > 3, "no seed took what another wanted: nothing is tested"
    np.testing.assert_array_equal(at_once.par, one_by_one.par)
    np.testing.assert_array_equal(at_once.cov, one_by_one.cov)
    for name in ("first", "cluster", "y", "z", "row", "sector"):
        np.testing.assert_array_equal(getattr(at_once.hits, name), getattr(one_by_one.hits, name))


def test_the_whole_chain_gives_the_same_bits_on_a_wide_backend() -> None:
    clusters = crowd(240, z_range=300.0)
    asked = params(is_absolute=False)
    narrow, wide = (track_clusters(*clusters, asked, BZ, backend=b) for b in (HOST, Wide()))
    for a, b in zip(narrow[:-1], wide[:-1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_clusters_give_no_tracks() -> None:
    nothing = tuple(np.zeros(0, d) for d in ("u1", "u1", "f4", "f4"))
    found = track_clusters(*nothing, params(is_absolute=True), BZ, backend=Wide())
    assert len(found.par) == len(found.clusters) == 0


def test_claims_are_dropped_unless_taken_and_kept_when_a_round_ends() -> None:
    old, new = np.array([0, 5, TAKEN], np.int32), np.empty(3, np.int32)
    renew_claims(1, old, new)
    assert new.tolist() == [0, 0, TAKEN]
    renew_claims(2, old, new)
    assert new.tolist() == [0, TAKEN, TAKEN]


def test_the_earliest_seed_has_a_cluster_whatever_was_claimed_before() -> None:
    """A sweep from wrong claims ends where one from none does, once claims stay."""
    clusters, asked = crowd(120, z_range=0.0), params(is_absolute=True)
    detector, wide = make_detector(asked, BZ), Wide()
    grid = sort_clusters(*clusters, detector, wide).grid
    seeding, search = make_round(asked.rounds[0], BZ), make_search(asked)
    n_rows = (int(seeding.row_first) - 2 * int(seeding.gap)) // int(seeding.row_step) + 1
    steps = (1, n_rows, int(grid.nz))
    ranges = np.empty((12 * n_rows, 2), np.int32)
    for r in range(len(ranges)):
        candidate_range(r, 0, steps, grid, seeding, ranges)
    rank_start = np.concatenate([[0], np.cumsum(np.diff(ranges, axis=1)[:, 0])]).astype(np.int32)
    scratch = (np.empty(6, "f4"), np.empty(15, "f4"), np.empty(5, "f4"), np.empty(152, "i4"), np.empty(152, "i4"))
    count = np.empty(rank_start[-1], np.int32)
    ends = []
    for start in (np.zeros(len(grid.yz), np.int32), np.random.default_rng(1).integers(0, len(count), len(grid.yz))):
        old = start.astype(np.int32)
        for _ in range(100):
            new = np.zeros_like(old)
            at = (-1, 0, steps, grid._replace(used=old), detector, search, seeding, rank_start, ranges, scratch)
            sweep(*at, new, count)
            if np.array_equal(old, new):
                break
            old = new
        ends.append(old)
    assert ends[0].any()
    np.testing.assert_array_equal(*ends)
