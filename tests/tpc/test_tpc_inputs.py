"""One interface for what is to be tracked: native clusters, and those whose place is known."""

import numpy as np
import pytest
from gun import N_BCS, shoot

from o2dask.columns import Columns
from o2dask.errors import DataError
from o2dask.reco.geometry.tpc import CM_PER_TIME_BIN, TIME_BIN_BC
from o2dask.reco.tpc.reconstruct import cluster_positions, reconstruct
from o2dask.reco.tpc.schema import CLUSTERLABEL, CLUSTERNATIVE, CLUSTERXYZ
from o2dask.reco.tpc.simulation import simulate_tpc

BC = 20_000


@pytest.fixture(scope="module")
def native() -> Columns:
    """Return the clusters of 18 pions of one collision."""
    n = 18
    collisions, particles = shoot([211, -211] * 9, 0.8, np.linspace(-0.8, 0.8, n), 0.35 * np.arange(n), bc=BC)
    return simulate_tpc(collisions, particles, n_bcs=N_BCS).payloads["TPC/CLUSTERNATIVE"]


@pytest.fixture(scope="module")
def located(native: Columns) -> Columns:
    """Return the same clusters with their true z: the time of the collision is known."""
    y, z, _ = cluster_positions(native)
    drift = np.float32(BC / TIME_BIN_BC * CM_PER_TIME_BIN)
    z = z + np.where(native["sector"] < 18, drift, -drift)
    same = {name: native[name] for name in ("sector", "pad_row", "q_max", "q_tot")}
    return Columns(CLUSTERXYZ, same | {"y": y, "z": z.astype(np.float32)})


def test_native_and_located_clusters_give_the_same_tracks(native: Columns, located: Columns) -> None:
    (a, a_members, _), (b, b_members, _) = reconstruct(native), reconstruct(located)
    assert a.n_rows == b.n_rows == 18
    shared = np.isin(a_members["cluster"], b_members["cluster"])
    assert shared.mean() > 0.98
    first, second = np.argsort(a["tgl"]), np.argsort(b["tgl"])
    sigma = np.sqrt(a["cov"][first, 14])
    # the fit knows other errors where z is true, and merged clusters by their widths where these are given
    assert np.abs((a["q2pt"][first] - b["q2pt"][second]) / sigma).max() < 3
    np.testing.assert_allclose(a["dedx_tot"][first], b["dedx_tot"][second], rtol=0.05)


def test_tracks_of_located_clusters_have_no_doubt_about_their_time(located: Columns) -> None:
    tracks, _, _ = reconstruct(located)
    for name in ("time0", "time_fwd", "time_bwd"):
        assert not tracks[name].any()
    at_beam = tracks["z"] - tracks["tgl"] * tracks["x"]
    assert np.abs(at_beam).max() < 3


def test_other_columns_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="or TPC/CLUSTERXYZ"):
        reconstruct(CLUSTERLABEL.empty(3))


@pytest.mark.parametrize("schema", [CLUSTERNATIVE, CLUSTERXYZ], ids=str)
def test_an_empty_timeframe_passes(schema) -> None:
    tracks, members, _ = reconstruct(schema.empty())
    assert tracks.n_rows == members.n_rows == 0
