"""Loopers: legs made by hand on one helix, strangers beside them, and simulated soft pions."""

import math

import numpy as np
import pytest
from gun import N_BCS, shoot

from o2dask.errors import ConfigError
from o2dask.reco.geometry.tpc import BZ_KG, sector_alpha
from o2dask.reco.tpc.kernels_helix import B2C
from o2dask.reco.tpc.loopers import chains_of_legs
from o2dask.reco.tpc.params import LooperParams, TpcTrackingParams
from o2dask.reco.tpc.reconstruct import reconstruct
from o2dask.reco.tpc.simulation import simulate_tpc


@pytest.fixture(scope="module")
def looping() -> tuple:
    """Return tracks of six soft pions with and without merging, and the truth of their clusters."""
    eta = np.array([0.15, -0.2, 0.3, -0.1, 0.25, -0.3])
    pdg = np.array([211, -211] * 3)
    made = simulate_tpc(*shoot(pdg, 0.14, eta, np.arange(6.0)), n_bcs=N_BCS)
    clusters = made.payloads["TPC/CLUSTERNATIVE"]
    merged = reconstruct(clusters)
    apart = reconstruct(clusters, TpcTrackingParams(loopers=LooperParams(max_pt=0.0)))
    return merged, apart, made.payloads["TPC/CLUSTERLABEL"]


def test_legs_of_a_looper_become_one_track_with_all_their_clusters(looping: tuple) -> None:
    (tracks, members, _), (before, members_before, _), _ = looping
    assert before.n_rows > tracks.n_rows + 6, "no loopers here, or none joined"
    assert np.array_equal(np.sort(members["cluster"]), np.sort(members_before["cluster"]))
    assert int(tracks["n_clusters"].sum()) == members.n_rows
    assert np.array_equal(tracks["first_cluster"], np.cumsum(tracks["n_clusters"]) - tracks["n_clusters"])


def test_no_looper_takes_clusters_of_another_particle(looping: tuple) -> None:
    (tracks, members, _), _, labels = looping
    owner = labels["mc"][members["cluster"]]
    for first, n in zip(tracks["first_cluster"], tracks["n_clusters"], strict=True):
        of_one = owner[first : first + n]
        assert (of_one == np.bincount(of_one[of_one >= 0]).argmax()).mean() > 0.95


def test_the_first_leg_gives_the_track(looping: tuple) -> None:
    (tracks, _, _), (before, _, _), _ = looping
    long = tracks["n_clusters"] > 152
    assert long.any()
    side = np.where(tracks["sides"] == 1, 1, -1)
    assert (side[long] * tracks["tgl"][long] > 0).mean() > 0.8, "outward legs point away from the electrode"
    assert np.isin(tracks["q2pt"], before["q2pt"]).all(), "a looper's parameters are those of one of its legs"


def test_hard_tracks_are_never_taken_for_loopers() -> None:
    par = np.tile(np.array([85.0, 0.0, 10.0, 0.1, 0.3, 2.0], np.float32), (4, 1))
    offsets, chosen = chains_of_legs(par, np.zeros(4, np.uint8), BZ_KG, LooperParams())
    assert offsets.tolist() == [0]
    assert len(chosen) == 0


def test_legs_of_different_circles_stay_apart() -> None:
    one = np.array([85.0, 0.0, 10.0, 0.3, 0.3, 8.0])
    other = np.array([85.0, 0.0, 40.0, -0.3, -0.3, -8.0])
    for sector in range(18):
        par, sectors = np.array([one, other], np.float32), np.array([0, sector], np.uint8)
        offsets, _ = chains_of_legs(par, sectors, BZ_KG, LooperParams())
        joined = len(offsets) > 1
        centre = []
        for p, s in zip(par.astype(float), sectors, strict=True):
            k, alpha = float(-B2C * BZ_KG) * p[5], float(sector_alpha(np.array([s]))[0])
            x, y = p[0] - p[3] / k, p[1] + math.sqrt(1 - p[3] ** 2) / k
            centre.append((x * math.cos(alpha) - y * math.sin(alpha), x * math.sin(alpha) + y * math.cos(alpha)))
        distance = math.dist(*centre) * abs(float(B2C) * BZ_KG * 8.0)
        assert not joined or distance < LooperParams().centre


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ConfigError, match="loopers"):
        LooperParams(centre=-0.1)
