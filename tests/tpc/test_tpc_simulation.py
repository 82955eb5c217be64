"""The TPC simulation as a whole: conventions, order, labels, counts, the same bytes every time."""

import math

import numba
import numpy as np
import pytest
from gun import N_BCS, shoot

from o2dask.context import DataAllocator, InputRecord, ProcessingContext, WorkerState
from o2dask.errors import ShapeError, SpecError
from o2dask.reco.geometry.tpc import CM_PER_TIME_BIN, pad_rows, sector_alpha
from o2dask.reco.simulation.schema import MC_COLLISIONS, MC_PARTICLES
from o2dask.reco.tpc import simulation
from o2dask.reco.tpc.schema import TPC_SCHEMAS
from o2dask.reco.tpc.simulation import simulate_tpc, true_crossings
from o2dask.reco.tpc.simulation_params import TpcSimParams
from o2dask.reco.tpc.simulation_tasks import tpc_simulation
from o2dask.timeframe import TimeframeId, TimeframeRef

QUIET = TpcSimParams(noise_rate=0.0)
IDEAL = TpcSimParams(noise_rate=0.0, material_scale=0.0)


def spray(n, seed=1, n_collisions=4):
    """n pions and protons of all directions and momenta in a few overlapping collisions."""
    rng = np.random.default_rng(seed)
    pdg = rng.choice([211, -211, 2212, -321, 11], n)
    return shoot(
        pdg,
        rng.exponential(0.5, n) + 0.06,
        rng.uniform(-1, 1, n),
        rng.uniform(0, 6.28, n),
        n_collisions=n_collisions,
        bc=np.sort(rng.integers(0, 6000, n_collisions)),
    )


def arrays(result):
    return {f"{name}.{column}": values for name, p in result.payloads.items() for column, values in p.items()}


def test_payloads_have_their_schemas_and_rows_in_order():
    result = simulate_tpc(*spray(150), n_bcs=20_000)
    assert {name: p.schema for name, p in result.payloads.items()} == {
        n: TPC_SCHEMAS[n] for n in ("TPC/CLUSTERNATIVE", "TPC/CLUSTERLABEL", "MC/TPCREFS")
    }
    c = result.payloads["TPC/CLUSTERNATIVE"]
    keys = [c[name].astype(np.int64) for name in ("pad", "time", "pad_row", "sector")]
    assert (np.lexsort(keys) == np.arange(c.n_rows)).all()
    assert c["sector"].max() == 35 and c["pad_row"].max() == 151
    assert (c["pad"] <= 64 * (pad_rows().n_pads[c["pad_row"]] - 1)).all()
    assert c["time"].max() < 20_000 / 8 * 64
    assert result.payloads["TPC/CLUSTERLABEL"].n_rows == c.n_rows == result.counters["clusters"]


def test_counters_add_up():
    got = simulate_tpc(*spray(150), n_bcs=20_000).counters
    assert got["particles"] == 150 == sum(v for k, v in got.items() if k.startswith("particles_") or k == "loopers")
    dropped = sum(got[f"hits_{k}"] for k in ("below_threshold", "outside_timeframe", "on_dead_pads"))
    assert got["clusters"] == got["hits"] - dropped + got["noise"] - got["merged"]
    assert got["noise"] > 0 and got["merged"] > 0 and got["hits_below_threshold"] > 0


@pytest.mark.parametrize("side", [1, -1], ids=["A", "C"])
def test_time_measures_the_drift_from_either_side(side):
    collisions, particles = shoot(211, 10.0, side * 0.5, np.deg2rad(10.0), bc=4000)
    c = simulate_tpc(collisions, particles, IDEAL, n_bcs=N_BCS).payloads["TPC/CLUSTERNATIVE"]
    assert set(c["sector"].tolist()) == {0 if side > 0 else 18}
    z = pad_rows().x[c["pad_row"]] * math.sinh(0.5)
    want = 4000 / 8 + (250 - z) / CM_PER_TIME_BIN
    flight = z / math.tanh(0.5) / 29.98 / 24.95 / 8
    assert (c["time"] / 64 - want - flight).mean() == pytest.approx(0, abs=0.1)


def test_pads_of_the_c_side_count_the_other_way():
    middle = []
    for side in (1, -1):
        collisions, particles = shoot(211, 50.0, side * 0.3, np.deg2rad(14.0))
        c = simulate_tpc(collisions, particles, IDEAL, n_bcs=N_BCS).payloads["TPC/CLUSTERNATIVE"]
        middle.append((c["pad"] / 64 - (pad_rows().n_pads[c["pad_row"]] - 1) / 2).mean())
    assert middle[0] > 5  # phi above the middle of the sector: y > 0
    assert middle[1] == pytest.approx(-middle[0], rel=0.02)


@pytest.mark.parametrize("sector", [0, 4, 8, 9, 17])
def test_sectors_are_at_their_azimuth(sector):
    collisions, particles = shoot(211, 50.0, 0.3, float(sector_alpha(sector)))
    found = simulate_tpc(collisions, particles, IDEAL, n_bcs=N_BCS).payloads["TPC/CLUSTERNATIVE"]["sector"]
    assert set(found.tolist()) == {sector}


def test_a_one_gev_pion_crosses_nearly_all_rows():
    n = 180
    collisions, particles = shoot(211, 1.0, 0.3, np.deg2rad(2 * np.arange(n) + 0.5), n_collisions=n)
    collisions["bc"][:] = np.arange(n) * 50
    refs = simulate_tpc(collisions, particles, QUIET, n_bcs=N_BCS).payloads["MC/TPCREFS"]
    assert refs.n_rows == n
    # Dead zones between sectors are 3 cm of 30 to 86 cm; a bent track loses more rows where it runs along one.
    assert np.median(refs["n_rows"]) > 138
    assert refs["n_rows"].max() >= 150
    assert (refs["n_clusters"] >= refs["n_rows"]).all()


def test_reference_is_the_first_crossing():
    collisions, particles = spray(80)
    refs = simulate_tpc(collisions, particles, QUIET, 1, n_bcs=N_BCS).payloads["MC/TPCREFS"]
    truth = true_crossings(particles, QUIET, 1)
    mc, first = np.unique(truth["mc"], return_index=True)
    first = first[np.isin(mc, refs["mc"])]
    a, x, y = sector_alpha(truth["sector"][first]), pad_rows().x[truth["pad_row"][first]], truth["y"][first]
    np.testing.assert_allclose(refs["x"], x * np.cos(a) - y * np.sin(a), atol=1e-4)
    np.testing.assert_allclose(refs["y"], x * np.sin(a) + y * np.cos(a), atol=1e-4)
    np.testing.assert_allclose(refs["z"], truth["z"][first], atol=1e-4)
    local = refs["py"] * np.cos(a) - refs["px"] * np.sin(a), refs["px"] * np.cos(a) + refs["py"] * np.sin(a)
    np.testing.assert_allclose(local[0] / local[1], truth["tan_y"][first], rtol=1e-4, atol=1e-5)
    assert (np.diff(refs["mc"]) > 0).all()


def test_a_decaying_particle_leaves_no_cluster_after_its_path():
    collisions, particles = shoot([211, 211], 1.0, 0.0, np.deg2rad([10.0, 50.0]), path=[120.0, np.inf])
    truth = true_crossings(particles, IDEAL)
    x = pad_rows().x[truth["pad_row"]]
    assert x[truth["mc"] == 0].max() < 120 < x[truth["mc"] == 1].max()
    assert simulate_tpc(collisions, particles, IDEAL, n_bcs=N_BCS).counters["particles_decayed"] == 1


def test_daughters_start_where_their_mother_decayed():
    _, particles = shoot(211, 0.8, 0.1, np.deg2rad(10.0), vertex=(140.0, 24.7, 30.0))
    truth = true_crossings(particles, IDEAL)
    assert pad_rows().x[truth["pad_row"]].min() > 140 and len(truth["mc"]) > 60


def test_loopers_leave_many_clusters_and_are_capped():
    vertex = np.array([[150.0, 26.0, 5.0], [150.0, 26.0, 5.0], [0.0, 0.0, 0.0]])
    collisions, particles = shoot([11, 11, 211], [0.04, 0.04, 0.12], [0.02, 0.9, 0.03], [0.3, 0.3, 2.0], vertex=vertex)
    result = simulate_tpc(collisions, particles, QUIET, n_bcs=N_BCS)
    refs = result.payloads["MC/TPCREFS"]
    long, short, walls = refs["n_clusters"]
    assert long > 700 > 2 * short  # the steep one spirals out through the end plate after few turns
    assert 100 < walls < 400  # one that comes back to the walls does not come back often
    assert refs["n_rows"][0] < 250 < long / 2
    assert result.counters["particles_loopers_capped"] == 1
    truth = true_crossings(particles, QUIET)
    own = truth["mc"] == 0
    assert np.abs(np.diff(np.sign(np.diff(truth["pad_row"][own])))).sum() / 2 > 16  # turns in and out
    assert np.diff(truth["time"][own]).min() >= 0


def test_clusters_outside_the_timeframe_are_dropped_and_counted():
    collisions, particles = shoot(211, 5.0, 0.5, np.deg2rad(np.arange(10.0, 360, 20)), bc=N_BCS - 2600)
    result = simulate_tpc(collisions, particles, IDEAL, n_bcs=N_BCS)
    c = result.payloads["TPC/CLUSTERNATIVE"]
    got = result.counters
    assert 0.2 < got["hits_outside_timeframe"] / got["hits"] < 0.8  # 325 of 237-400 time bins of drift are left
    assert c["time"].max() < N_BCS / 8 * 64 and got["clusters"] + got["hits_outside_timeframe"] > 2500


def test_dead_pads_give_no_clusters():
    collisions, particles = shoot(211, 50.0, 0.3, np.deg2rad([10.0, 50.0]))
    dead = TpcSimParams(noise_rate=0.0, material_scale=0.0, dead=((0, 0, 62, 0, 139), (2, 100, 100, 0, 10)))
    result = simulate_tpc(collisions, particles, dead, n_bcs=N_BCS)
    c = result.payloads["TPC/CLUSTERNATIVE"]
    assert c["pad_row"][c["sector"] == 0].min() == 63
    assert c["pad_row"][c["sector"] == 2].min() < 3
    assert 60 <= result.counters["hits_on_dead_pads"] <= 63


def test_noise_is_everywhere_and_labelled_as_such():
    params = TpcSimParams(noise_rate=3e-3)
    result = simulate_tpc(MC_COLLISIONS.empty(), MC_PARTICLES.empty(), params, n_bcs=20_000)
    expected = 3e-3 * 36 * 152 * 2500
    assert result.counters["noise"] == pytest.approx(expected, abs=5 * math.sqrt(expected))
    label = result.payloads["TPC/CLUSTERLABEL"]
    assert (label["mc"] == -1).all() and (label["mc_other"] == -1).all()
    assert result.payloads["MC/TPCREFS"].n_rows == 0


def test_an_empty_timeframe_is_valid():
    result = simulate_tpc(MC_COLLISIONS.empty(), MC_PARTICLES.empty(), QUIET, n_bcs=N_BCS)
    assert [p.n_rows for p in result.payloads.values()] == [0, 0, 0]
    neutral = simulate_tpc(*shoot([22, 310, 2112], 1.0, 0.1, 0.2), QUIET, n_bcs=N_BCS)
    assert neutral.counters["particles"] == 0 and neutral.counters["clusters"] == 0


def test_same_seed_same_bytes_whatever_the_threads_and_the_room(monkeypatch):
    inputs = spray(120)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        want = arrays(simulate_tpc(*inputs, seed=5, n_bcs=20_000))
        numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
        got = [arrays(simulate_tpc(*inputs, seed=5, n_bcs=20_000))]
    finally:
        numba.set_num_threads(before)
    monkeypatch.setattr(simulation, "_LANES", 3)
    monkeypatch.setattr(simulation, "_LANE_HITS", 4000)
    got.append(arrays(simulate_tpc(*inputs, seed=5, n_bcs=20_000)))
    for other in got:
        assert all(np.array_equal(want[name], other[name]) for name in want)
    assert not np.array_equal(
        want["TPC/CLUSTERNATIVE.q_tot"], arrays(simulate_tpc(*inputs, seed=6, n_bcs=20_000))["TPC/CLUSTERNATIVE.q_tot"]
    )


def test_a_particle_does_not_depend_on_its_company():
    _, particles = spray(60)
    alone = particles.take(np.arange(60) < 30)
    both, one = true_crossings(particles, QUIET), true_crossings(alone, QUIET)
    first = both["mc"] < 30
    assert all(np.array_equal(both[name][first], one[name]) for name in one)


def test_a_particle_with_more_hits_than_a_lane_holds_is_cut_not_lost(monkeypatch):
    monkeypatch.setattr(simulation, "_LANE_HITS", 100)
    collisions, particles = shoot(211, 1.0, 0.0, np.deg2rad([10.0, 10.0]))
    result = simulate_tpc(collisions, particles, IDEAL, n_bcs=N_BCS)
    assert result.counters["hits"] == 200 and result.counters["particles_loopers_capped"] == 2


def test_wrong_input_is_named():
    collisions, particles = spray(5)
    with pytest.raises(ShapeError, match="MC/COLLISIONS"):
        simulate_tpc(particles, particles, n_bcs=N_BCS)
    particles["collision"][-1] = 99
    with pytest.raises(ShapeError, match=r"MC/PARTICLES.collision.*99"):
        simulate_tpc(collisions, particles, n_bcs=N_BCS)
    with pytest.raises(SpecError, match="n_bcs"):
        simulate_tpc(MC_COLLISIONS.empty(), MC_PARTICLES.empty(), n_bcs=3_000_000)
    assert simulate_tpc(MC_COLLISIONS.empty(), MC_PARTICLES.empty(), QUIET, n_bcs=2_097_152).counters["clusters"] == 0


@pytest.mark.parametrize(
    "wrong",
    [{"noise_rate": -1.0}, {"bz_kg": 0.0}, {"merge_times": 9.0}, {"dead": ((36, 0, 0, 0, 0),)}, {"max_path": 0.0}],
    ids=lambda w: next(iter(w)),
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(SpecError, match=next(iter(wrong))):
        TpcSimParams(**wrong)


def context(seed, first_orbit):
    """A context in which the processor runs on a small timeframe."""
    spec = tpc_simulation()
    collisions, particles = spray(30)
    timeframe = TimeframeId(run=1, tf_counter=0, first_orbit=first_orbit, n_orbits=4)
    return ProcessingContext(
        spec=spec,
        source=TimeframeRef(id=timeframe, url="none", index=0),
        inputs=InputRecord({"collisions": collisions, "particles": particles}),
        outputs=DataAllocator(spec.outputs),
        options={o.name: o.default for o in spec.options} | {"seed": seed},
        state=WorkerState(),
    )


def test_the_processor_makes_its_outputs_and_fluctuates_from_timeframe_to_timeframe():
    made = []
    for seed, orbit in ((1, 0), (1, 0), (1, 4), (2, 0)):
        ctx = context(seed, orbit)
        ctx.spec.algorithm(ctx)
        ctx.outputs.check_complete()
        assert ctx.counters["clusters"] > 1000
        made.append(next(c for ref, c in ctx.outputs.made.items() if ref.description == "CLUSTERNATIVE"))
    assert made[0].equals(made[1])
    assert not made[0].equals(made[2]) and not made[0].equals(made[3])
