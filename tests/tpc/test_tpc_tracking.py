"""TPC tracking closes: helices and simulated timeframes come back as tracks, whatever the number of threads."""

import os
import subprocess
import sys
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from helix_gun import Shots, shoot

from o2dask.columns import Columns
from o2dask.context import DataAllocator, InputRecord, ProcessingContext, WorkerState
from o2dask.errors import ConfigError, DataError, ShapeError
from o2dask.reco.geometry.tpc import BZ_KG, CM_PER_TIME_BIN, DRIFT_LENGTH_CM, pad_rows, sector_alpha
from o2dask.reco.tpc.labels import label_tracks
from o2dask.reco.tpc.params import ErrorModel, GasModel, SeedRound, TpcTrackingParams
from o2dask.reco.tpc.reconstruct import cluster_positions, reconstruct
from o2dask.reco.tpc.schema import CLUSTERLABEL, CLUSTERNATIVE, TRACKCLUSTERS, TRACKS
from o2dask.reco.tpc.tasks import tpc_track_labels, tpc_tracker
from o2dask.reco.tpc.tracking import TrackResult, shared_out, track_clusters
from o2dask.specs import AlgorithmSpec
from o2dask.timeframe import TimeframeId, TimeframeRef

F4 = np.float32
SIGMA = 0.08
GUN_ERRORS = ((SIGMA**2, 0.0, 0.0),) * 4


def gun_params(*, is_absolute: bool = True) -> TpcTrackingParams:
    """Return settings that know the gun's errors and that it has no material."""
    errors = ErrorModel(y=GUN_ERRORS, z=GUN_ERRORS, merging_y=1.0, merging_z=1.0)
    return TpcTrackingParams(is_absolute=is_absolute, errors=errors, gas=GasModel(is_on=False))


class Matched(NamedTuple):
    """Per track: the particle with most of its clusters, and its share."""

    mc: np.ndarray
    purity: np.ndarray


def match(found: TrackResult, mc: np.ndarray) -> Matched:
    best, purity = [], []
    for begin, end in zip(found.first[:-1], found.first[1:], strict=True):
        count = np.bincount(mc[found.clusters[begin:end]])
        best.append(count.argmax())
        purity.append(count.max() / (end - begin))
    return Matched(np.array(best, int), np.array(purity))


@pytest.fixture(scope="module")
def shots() -> Shots:
    return shoot(150, seed=1, sigma=SIGMA)


@pytest.fixture(scope="module")
def found(shots: Shots) -> TrackResult:
    return track_clusters(*shots[:4], gun_params())


def test_every_particle_of_a_gun_is_one_pure_track(shots: Shots, found: TrackResult) -> None:
    matched = match(found, shots.mc)
    assert sorted(matched.mc) == list(range(150))
    assert (matched.purity > 0.97).all()
    assert len(found.clusters) > 0.97 * len(shots.mc)


def test_pulls_of_a_gun_are_of_unit_width(shots: Shots, found: TrackResult) -> None:
    mc = match(found, shots.mc).mc
    charge, pt, tgl, phi = (values[mc] for values in (shots.charge, shots.pt, shots.tgl, shots.phi))
    k = -0.000299792458 * BZ_KG * charge / pt
    # where the true helix crosses the track's plane, by Newton's method along the arc
    alpha, x = sector_alpha(found.sector), found.par[:, 0].astype(float)
    arc = x.copy()
    for _ in range(20):
        ahead = (np.sin(phi - alpha + k * arc) - np.sin(phi - alpha)) / k
        arc -= (ahead - x) / np.cos(phi - alpha + k * arc)
    truth = np.stack(
        [
            -(np.cos(phi - alpha + k * arc) - np.cos(phi - alpha)) / k,
            tgl * arc,
            np.sin(phi - alpha + k * arc),
            tgl,
            charge / pt,
        ],
        axis=1,
    )
    pulls = (found.par[:, 1:] - truth) / np.sqrt(found.cov[:, [0, 2, 5, 9, 14]])
    n = len(pulls)
    assert (np.abs(pulls.mean(0)) < 5 / np.sqrt(n)).all(), pulls.mean(0)
    # four standard errors of a width
    assert (np.abs(pulls.std(0) - 1) < 4 / np.sqrt(2 * n)).all(), pulls.std(0)
    assert found.chi2.sum() / (2 * len(found.clusters) - 5 * n) == pytest.approx(1, abs=0.05)


def test_clusters_are_taken_once_and_innermost_first(shots: Shots, found: TrackResult) -> None:
    assert len(np.unique(found.clusters)) == len(found.clusters)
    for begin, end in zip(found.first[:-1], found.first[1:], strict=True):
        rows = shots.row[found.clusters[begin:end]].astype(int)
        assert (np.diff(rows) > 0).all()
    assert (found.path >= pad_rows().pad_height[shots.row[found.clusters]] - 1e-6).all()


def test_tracks_do_not_depend_on_a_common_shift_in_time(shots: Shots, found: TrackResult) -> None:
    moved = shoot(150, seed=1, sigma=SIGMA, z_shift=2000.0)
    later = track_clusters(*moved[:4], gun_params(is_absolute=False))
    matched = match(later, moved.mc)
    assert sorted(matched.mc) == list(range(150))
    ours, theirs = np.argsort(matched.mc), np.argsort(match(found, shots.mc).mc)
    difference = (later.par[ours, 5] - found.par[theirs, 5]) / np.sqrt(found.cov[theirs, 14])
    assert np.abs(difference).max() < 1.5  # rounding at z = 2000 cm, and clusters at the edge of a window


def test_tracks_across_the_central_electrode_are_joined_and_timed() -> None:
    shift = 700.0
    given = shoot(120, seed=4, sigma=SIGMA, z_shift=shift, z_vertex=25.0)
    side = np.stack([np.bincount(given.mc[mask], minlength=120) for mask in (given.sector < 18, given.sector >= 18)])
    both = np.flatnonzero((side >= 35).all(0))
    assert len(both) >= 5
    found = track_clusters(*given[:4], gun_params(is_absolute=False))
    matched = match(found, given.mc)
    assert (matched.purity > 0.97).all()
    joined = np.isfinite(found.shift)
    assert set(both) <= set(matched.mc[joined])
    np.testing.assert_allclose(found.shift[joined], shift, atol=0.3)
    # z of a joined track is the true one
    truth = 25.0 + given.tgl[matched.mc] * np.hypot(found.par[:, 0], found.par[:, 1])
    assert np.abs(found.par[joined, 2] - truth[joined]).max() < 2.0


_THREADS = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from helix_gun import shoot
from o2dask.reco.tpc.tracking import track_clusters
found = track_clusters(*shoot(60, seed=6)[:4])
print(hashlib.sha256(b"".join(part.tobytes() for part in found[:-1])).hexdigest())
"""


def test_the_number_of_threads_changes_no_bit() -> None:
    folder = os.path.dirname(__file__)  # noqa: PTH120
    digests = set()
    for threads in ("1", "4"):
        done = subprocess.run(
            [sys.executable, "-c", _THREADS, folder],
            env=os.environ | {"NUMBA_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1


@pytest.mark.parametrize("n", [0, 1, 19])
def test_too_few_clusters_make_no_track(n: int, shots: Shots) -> None:
    one = np.flatnonzero(shots.mc == 0)[:n]
    found = track_clusters(*(part[one] for part in shots[:4]), gun_params())
    assert len(found.par) == 0 and len(found.clusters) == 0
    assert found.first.tolist() == [0]


def test_twenty_clusters_in_a_row_make_a_track(shots: Shots) -> None:
    one = np.flatnonzero(shots.mc == 0)[:30]
    assert len(track_clusters(*(part[one] for part in shots[:4]), gun_params()).par) == 1


def test_noise_alone_makes_no_track() -> None:
    rng = np.random.default_rng(7)
    n = 50_000
    sector, row = rng.integers(0, 36, n).astype(np.uint8), rng.integers(0, 152, n).astype(np.uint8)
    half = np.tan(np.deg2rad(10)) * pad_rows().x[row]
    y = (rng.uniform(-1, 1, n) * half).astype(F4)
    z = (rng.uniform(0, 250, n) * np.where(sector < 18, 1, -1)).astype(F4)
    assert len(track_clusters(sector, row, y, z).par) <= 1


def test_wrong_arrays_and_settings_are_named() -> None:
    u1 = np.zeros(2, np.uint8)
    with pytest.raises(ShapeError, match="y: want float32"):
        track_clusters(u1, u1, np.zeros(2), np.zeros(2, F4))
    with pytest.raises(ShapeError, match="sectors below 36"):
        track_clusters(u1 + 36, u1, np.zeros(2, F4), np.zeros(2, F4))
    with pytest.raises(ConfigError, match="field"):
        track_clusters(u1, u1, np.zeros(2, F4), np.zeros(2, F4), field=0.0)
    with pytest.raises(ConfigError, match="min_clusters"):
        TpcTrackingParams(min_clusters=2)
    with pytest.raises(ConfigError, match="dedx_power"):
        TpcTrackingParams(dedx_power=-0.1)
    with pytest.raises(ConfigError, match="gap"):
        SeedRound(gap=80)


# --- columns ---------------------------------------------------------------------------------------------------------


def native(shots: Shots, collision_bin: float) -> Columns:
    """Return a gun's clusters in native form, from a collision at `collision_bin` [time bin]."""
    rows = pad_rows()
    side = np.where(shots.sector < 18, 1.0, -1.0)
    pad = side * shots.y / rows.pad_width[shots.row] + 0.5 * (rows.n_pads[shots.row] - 1)
    time = collision_bin + (DRIFT_LENGTH_CM - np.abs(shots.z)) / CM_PER_TIME_BIN
    keep = np.flatnonzero((pad >= 0) & (pad < rows.n_pads[shots.row]))
    columns = CLUSTERNATIVE.empty(len(keep))
    arrays = {name: columns[name] for name in columns} | {
        "sector": shots.sector[keep],
        "pad_row": shots.row[keep],
        "pad": np.round(pad[keep] * 64).astype(np.uint16),
        "time": np.round(time[keep] * 64).astype(np.uint32),
        "q_tot": np.full(len(keep), 100, np.uint16),
        "q_max": np.full(len(keep), 40, np.uint16),
    }
    return Columns(CLUSTERNATIVE, arrays)


def test_native_positions_are_the_guns(shots: Shots) -> None:
    clusters = native(shots, 0.0)
    y, z, widths = cluster_positions(clusters)
    assert (widths == 0).all()
    assert len(y) > 0.93 * len(shots.y)  # the rest hits the gaps between sectors
    for sector in (3, 22):
        mine = clusters["sector"] == sector
        theirs = shots.sector == sector
        distance = np.abs(y[mine][:, None] - shots.y[theirs]) + np.abs(z[mine][:, None] - shots.z[theirs])
        assert distance.min(1).max() < 0.02  # half a packed pad and time bin


def test_positions_and_widths_of_native_clusters_by_hand() -> None:
    given = CLUSTERNATIVE.empty(2)
    given["sector"][:], given["pad_row"][:] = [0, 20], [0, 151]
    given["pad"][:], given["time"][:] = [64 * 40, 64 * 40], [64 * 100 + 32, 64 * 9000]
    given["sigma_pad"][:], given["sigma_time"][:] = 32, 48
    rows = pad_rows()
    y, z, widths = cluster_positions(given)
    assert y[0] == pytest.approx((40 - (rows.n_pads[0] - 1) / 2) * rows.pad_width[0])
    assert y[1] == pytest.approx(-(40 - (rows.n_pads[151] - 1) / 2) * rows.pad_width[151])
    assert z == pytest.approx([250 - 100.5 * CM_PER_TIME_BIN, -(250 - 9000 * CM_PER_TIME_BIN)], rel=1e-6)
    assert widths[:, 0] == pytest.approx(rows.pad_width[[0, 151]] ** 2)
    assert widths[:, 1] == pytest.approx([(1.5 * CM_PER_TIME_BIN) ** 2] * 2)


def test_a_track_knows_its_time_from_pointing_to_the_beam_line(shots: Shots) -> None:
    clusters = native(shots, 5000.0)
    tracks, members, _ = reconstruct(clusters, gun_params(is_absolute=False))
    assert tracks.schema == TRACKS and members.schema == TRACKCLUSTERS
    assert tracks.n_rows == 150
    # all come from z = 0: the estimate is as good as z and tgl at the innermost cluster
    assert np.abs(tracks["time0"] - 5000).max() < 3
    inside = (tracks["time_bwd"] >= 0) & (tracks["time_fwd"] >= 0)
    assert inside.all()
    lowest = np.array([np.inf] * 150)
    for i in range(150):
        mine = members["cluster"][tracks["first_cluster"][i] :][: tracks["n_clusters"][i]]
        time = clusters["time"][mine] / 64
        for edge, bound in ((tracks["time_fwd"][i], 1), (-tracks["time_bwd"][i], -1)):
            depth = DRIFT_LENGTH_CM - (time - tracks["time0"][i] - edge) * CM_PER_TIME_BIN
            at_edge = depth.max() - DRIFT_LENGTH_CM if bound > 0 else depth.min()
            lowest[i] = min(lowest[i], abs(at_edge))
            assert at_edge == pytest.approx(0, abs=0.05)
    assert tracks["n_clusters"].sum() == members.n_rows


def test_dedx_is_charge_per_length_whatever_the_pad(shots: Shots) -> None:
    params = replace(gun_params(is_absolute=False), dedx_power=0.0)
    tracks, _, _ = reconstruct(native(shots, 100.0), params)
    steep = np.sqrt(1 + tracks["tgl"] ** 2)
    # equal charges everywhere: the lowest 60 % are those on the longest pads
    assert (tracks["dedx_tot"] <= 100 / 0.75 / steep * 1.001).all()
    assert (tracks["dedx_tot"] >= 0.5 * 100 / 1.5 / steep).all()
    np.testing.assert_allclose(tracks["dedx_max"] / tracks["dedx_tot"], 0.4, rtol=1e-5)
    assert (tracks["n_crossed_rows"] >= tracks["n_clusters"]).all()
    assert (tracks["x_out"] > tracks["x"]).all()


def test_an_empty_timeframe_has_no_tracks() -> None:
    tracks, members, _ = reconstruct(CLUSTERNATIVE.empty())
    assert (tracks.n_rows, members.n_rows) == (0, 0)
    assert label_tracks(tracks, members, CLUSTERLABEL.empty()).n_rows == 0


def test_columns_of_another_kind_are_refused() -> None:
    with pytest.raises(DataError, match="want the columns of TPC/CLUSTERNATIVE"):
        reconstruct(CLUSTERLABEL.empty())
    damaged = CLUSTERNATIVE.empty(1)
    damaged["pad_row"][0] = 200
    with pytest.raises(DataError, match="pad rows below 152"):
        reconstruct(damaged)


def test_labels_are_the_majority_and_count_second_contributors() -> None:
    tracks = Columns(TRACKS, {c: TRACKS.empty(3)[c] for c in TRACKS.names})
    tracks["first_cluster"][:] = [0, 4, 6]
    tracks["n_clusters"][:] = [4, 2, 2]
    members = Columns(TRACKCLUSTERS, {"cluster": np.arange(8, dtype=np.int32)})
    labels = Columns(
        CLUSTERLABEL,
        {
            "mc": np.array([7, 7, 5, 7, -1, -1, 9, 8], np.int32),
            "mc_other": np.array([-1, -1, 7, -1, -1, -1, -1, -1], np.int32),
        },
    )
    made = label_tracks(tracks, members, labels)
    assert made["mc"].tolist() == [7, -1, 8]
    assert made["purity"].tolist() == [1.0, 0.0, 0.5]
    with pytest.raises(ShapeError, match="same timeframe"):
        label_tracks(tracks, members, labels.take(np.arange(3)))


def run(spec, inputs: dict[str, Columns | None]) -> ProcessingContext:
    ref = TimeframeRef(id=TimeframeId(run=1, tf_counter=0, first_orbit=0), url="", index=0)
    options = {option.name: option.default for option in spec.options}
    context = ProcessingContext(
        spec=spec,
        source=ref,
        inputs=InputRecord(inputs),
        outputs=DataAllocator(spec.outputs),
        options=options,
        state=WorkerState(),
    )
    algorithm = spec.algorithm
    run_it = algorithm.on(frozenset({"CPU"})) if isinstance(algorithm, AlgorithmSpec) else algorithm
    run_it(context)
    context.outputs.check_complete()
    return context


def test_processors_make_what_they_declare_with_and_without_labels(shots: Shots) -> None:
    clusters = native(shots, 50.0)
    made = run(tpc_tracker(), {"clusters": clusters})
    tracks, members = made.outputs.made.values()
    assert made.counters["tracks"] == tracks.n_rows == 150
    labels = Columns(CLUSTERLABEL, {n: np.zeros(clusters.n_rows, np.int32) for n in CLUSTERLABEL.names})
    inputs = {"tracks": tracks, "members": members, "labels": labels}
    assert run(tpc_track_labels(), inputs).counters["fake_tracks"] == 0
    assert not run(tpc_track_labels(), inputs | {"labels": None}).outputs.made


@pytest.mark.parametrize("n_threads", [1, 2, 3, 5, 16])
def test_costs_are_shared_out_evenly(n_threads: int) -> None:
    cost = np.random.default_rng(4).integers(100, 200, 12)
    order = shared_out(cost, n_threads)
    np.testing.assert_array_equal(np.sort(order), np.arange(12))
    if 12 % n_threads == 0:
        shares = cost[order].reshape(n_threads, -1).sum(1)
        assert np.ptp(shares) <= np.ptp(cost), "dealt to and fro, no two shares differ by more than one round does"
