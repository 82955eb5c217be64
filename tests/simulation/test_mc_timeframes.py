"""Timeframes: structure, times and places, flags, determinism, and the processor around them."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from o2dask.context import DataAllocator, InputRecord, ProcessingContext, WorkerState
from o2dask.errors import ConfigError
from o2dask.reco.calibration.objects import MeanVertex
from o2dask.reco.simulation.filling import colliding_bcs
from o2dask.reco.simulation.particles import charge_of, is_long_lived, mass_of
from o2dask.reco.simulation.schema import FLAG_PHYSICAL_PRIMARY, FLAG_TRANSPORT, MC_SCHEMAS
from o2dask.reco.simulation.tasks import event_generator
from o2dask.reco.simulation.timeframes import TimeframeParams, build_timeframe, load_sample, timeframe_refs
from o2dask.timeframe import InteractionRecord

CASES = {
    "pbpb": TimeframeParams(system="pbpb", collisions=6, seed=3),
    "pp": TimeframeParams(system="pp", collisions=200, seed=3),
    "pbpb-builtin": TimeframeParams(system="pbpb", collisions=6, generator="builtin", seed=3),
    "pp-builtin": TimeframeParams(system="pp", collisions=200, generator="builtin", seed=3),
}


@pytest.fixture(scope="module", params=CASES)
def made(request):
    params = CASES[request.param]
    timeframe = build_timeframe(params, 0)
    return params, timeframe["MC/COLLISIONS"], timeframe["MC/PARTICLES"]


def test_collisions_lie_in_colliding_bcs_of_the_timeframe(made):
    params, collisions, _ = made
    bc = collisions["bc"]
    assert collisions.n_rows == params.collisions
    assert ((bc >= 0) & (bc < params.n_orbits * 3564) & (np.diff(bc, prepend=0) >= 0)).all()
    assert np.isin(bc % 3564, colliding_bcs(params.system)).all()
    ref = timeframe_refs(params, 3)[2]
    assert all(InteractionRecord.from_global_bc(ref.id.first_bc + b) in ref.id for b in bc.tolist())


def test_particles_of_a_collision_are_contiguous_and_counted(made):
    _, collisions, particles = made
    first, n = collisions["first_particle"], collisions["n_particles"]
    assert (first == np.cumsum(n) - n).all()
    assert n.sum() == particles.n_rows
    np.testing.assert_array_equal(particles["collision"], np.repeat(np.arange(len(n)), n))


def test_mothers_come_first_in_their_collision_and_daughters_together(made):
    _, _, particles = made
    rows = np.flatnonzero(particles["mother"] >= 0)
    mother = particles["mother"][rows]
    assert len(rows)
    assert (mother < rows).all()
    assert (particles["collision"][mother] == particles["collision"][rows]).all()
    starts = np.flatnonzero(np.diff(mother, prepend=-1) | (np.diff(rows, prepend=-2) != 1))
    assert len(np.unique(mother)) == len(starts)


def test_generator_particles_come_before_transport_within_a_collision(made):
    _, _, particles = made
    is_prompt_decay = (particles["mother"] >= 0) & (particles["flags"] & FLAG_TRANSPORT == 0)
    rank = np.where(particles["mother"] < 0, 0, np.where(is_prompt_decay, 0, 1))
    by_transport = particles["flags"] & FLAG_TRANSPORT
    assert (rank[by_transport > 0] == 1).all()
    generator_last = np.maximum.reduceat(
        np.where(particles["mother"] < 0, np.arange(len(rank)), -1), _starts(particles)
    )
    transport_first = np.minimum.reduceat(np.where(rank == 1, np.arange(len(rank)), len(rank)), _starts(particles))
    assert (generator_last < transport_first).all()


def _starts(particles):
    return np.flatnonzero(np.diff(particles["collision"], prepend=-1))


def test_physical_primaries_are_long_lived_and_not_from_weak_decays(made):
    _, _, particles = made
    primary = particles["flags"] & FLAG_PHYSICAL_PRIMARY > 0
    transport = particles["flags"] & FLAG_TRANSPORT > 0
    assert not (primary & transport).any()
    assert is_long_lived(particles["pdg"][primary]).all()
    ancestor = particles["mother"][primary]
    while (ancestor >= 0).any():
        ancestor = ancestor[ancestor >= 0]
        assert not is_long_lived(particles["pdg"][ancestor]).any()
        ancestor = particles["mother"][ancestor]
    weak = (particles["mother"] >= 0) & is_long_lived(particles["pdg"][particles["mother"]])
    assert weak.any() and transport[weak].all()


def test_everything_charged_is_there_and_neutrals_only_with_charged_descendants_or_strangeness(made):
    _, _, particles = made
    charged = charge_of(particles["pdg"]) != 0
    has_charged = charged.copy()
    for row in range(particles.n_rows - 1, -1, -1):
        if has_charged[row] and particles["mother"][row] >= 0:
            has_charged[particles["mother"][row]] = True
    extra = np.abs(particles["pdg"][~has_charged])
    assert np.isin(extra, (310, 3122, 3322, 421, 511, 531, 5122)).all()


def test_primaries_start_at_their_vertex_and_daughters_where_their_mother_ends(made):
    _, collisions, particles = made
    prompt = (particles["mother"] < 0) & (np.abs(particles["pdg"]) != 22)
    for axis, name in (("vx", "x"), ("vy", "y"), ("vz", "z")):
        away = particles[axis][prompt] - collisions[name][particles["collision"][prompt]]
        assert np.median(np.abs(away)) < 1e-6
        assert np.abs(away).max() < 2.0
    rows = np.flatnonzero(particles["flags"] & FLAG_TRANSPORT)
    mother = particles["mother"][rows]
    distance = np.sqrt(sum((particles[a][rows] - particles[a][mother]) ** 2 for a in ("vx", "vy", "vz")))
    path = particles["path"][mother]
    neutral = charge_of(particles["pdg"][mother]) == 0
    assert np.isfinite(path).all()
    np.testing.assert_allclose(distance[neutral], path[neutral], rtol=1e-3, atol=1e-3)
    assert (distance[~neutral] <= path[~neutral] * 1.001 + 1e-3).all()
    assert (particles["vt"][rows] >= particles["vt"][mother]).all()


def test_momenta_are_on_the_mass_shell_and_within_the_cut(made):
    params, _, particles = made
    p2 = sum(particles[a].astype(np.float64) ** 2 for a in ("px", "py", "pz"))
    known = np.isfinite(mass_of(particles["pdg"]))
    np.testing.assert_allclose(particles["e"][known] ** 2, (p2 + mass_of(particles["pdg"]) ** 2)[known], rtol=1e-5)
    generated = particles["mother"] < 0
    eta = np.arcsinh(particles["pz"] / np.hypot(particles["px"], particles["py"]))
    short = ~is_long_lived(particles["pdg"])
    assert (np.abs(eta[generated & ~short]) < params.eta_max * 1.0001).all()


def test_vertices_and_times_have_the_stated_spreads():
    params = TimeframeParams(system="pp", collisions=4000, eta_max=0.05, conversions=False)
    collisions = build_timeframe(params, 0)["MC/COLLISIONS"]
    for name, sigma in (("x", 0.01), ("y", 0.01), ("z", 6.0), ("t", 0.2)):
        values = collisions[name]
        assert abs(values.mean()) < 5 * sigma / np.sqrt(4000)
        assert abs(values.std() / sigma - 1) < 5 / np.sqrt(8000)


def test_repeated_events_are_turned_and_half_of_them_end_for_end():
    params = TimeframeParams(system="pbpb", collisions=150, eta_max=0.3, conversions=False)
    sample = load_sample(params)
    timeframe = build_timeframe(params, 0, sample)
    collisions, particles = timeframe["MC/COLLISIONS"], timeframe["MC/PARTICLES"]
    impacts, n = np.unique(collisions["impact"], return_counts=True)
    same = np.flatnonzero(collisions["impact"] == impacts[n.argmax()])
    assert len(same) > 3
    first = collisions["first_particle"][same]
    pt = np.hypot(particles["px"][first], particles["py"][first])
    np.testing.assert_allclose(pt, pt[0], rtol=1e-5)
    assert len(np.unique(particles["px"][first].round(4))) > len(same) // 2
    assert (particles["pz"][first] > 0).any() and (particles["pz"][first] < 0).any()


def test_events_are_drawn_in_proportion_to_their_weight():
    params = TimeframeParams(system="pbpb", collisions=4000, eta_max=1e-3, conversions=False)
    sample = load_sample(params)
    impact = build_timeframe(params, 0, sample)["MC/COLLISIONS"]["impact"]
    want = 4000 * sample.weight / sample.weight.sum()
    got = np.array([(impact == b).sum() for b in sample.impact])
    assert ((got - want) ** 2 / want).sum() < 39 + 5 * np.sqrt(78)


def test_the_rate_closes_over_timeframes():
    params = TimeframeParams(system="pbpb", rate_hz=50e3, eta_max=1e-3, conversions=False)
    sample = load_sample(params)
    n = [build_timeframe(params, i, sample)["MC/COLLISIONS"].n_rows for i in range(100)]
    want = 50e3 * 32 * 3564 * 10 / 400.789e6
    assert abs(np.mean(n) - want) < 5 * np.sqrt(want / 100)


@pytest.mark.parametrize("generator", ["sample", "builtin"])
def test_an_empty_timeframe_is_valid(generator):
    made = build_timeframe(TimeframeParams(collisions=0, generator=generator), 5)
    assert {name: columns.n_rows for name, columns in made.items()} == {"MC/COLLISIONS": 0, "MC/PARTICLES": 0}


def test_a_collision_without_particles_is_valid():
    made = build_timeframe(TimeframeParams(system="pp", collisions=300, eta_max=0.01, conversions=False), 0)
    assert (made["MC/COLLISIONS"]["n_particles"] == 0).any()


def digest(made):
    sha = hashlib.sha256()
    for columns in made.values():
        for array in columns.values():
            sha.update(array.tobytes())
    return sha.hexdigest()


@pytest.mark.parametrize("name", ["pbpb", "pp-builtin"])
def test_same_seed_and_counter_give_the_same_bytes_in_any_order_and_process(name):
    params = replace(CASES[name], collisions=3)
    sample = load_sample(params)
    forward = [digest(build_timeframe(params, i, sample)) for i in range(3)]
    backward = [digest(build_timeframe(params, i)) for i in (2, 1, 0)][::-1]
    assert forward == backward
    assert len(set(forward)) == 3
    code = (
        "import hashlib\n"
        "from o2dask.reco.calibration.objects import MeanVertex\n"
        "from o2dask.reco.simulation.timeframes import *\n"
        f"made = build_timeframe({params!r}, 1)\n"
        "sha = hashlib.sha256()\n"
        "[sha.update(a.tobytes()) for c in made.values() for a in c.values()]\n"
        "print(sha.hexdigest())\n"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert elsewhere.stdout.strip() == forward[1]


def test_another_seed_gives_other_collisions():
    bcs = [build_timeframe(TimeframeParams(collisions=3, seed=s), 0)["MC/COLLISIONS"]["bc"].tolist() for s in (1, 2)]
    assert bcs[0] != bcs[1]


def test_timeframes_follow_each_other():
    refs = timeframe_refs(TimeframeParams(run=300123, first_orbit=256, n_orbits=128), 3)
    assert [(r.id.run, r.id.tf_counter, r.id.first_orbit, r.id.n_orbits, r.url, r.index) for r in refs] == [
        (300123, i, 256 + 128 * i, 128, "sim:", i) for i in range(3)
    ]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"system": "xexe"}, "system: want pbpb or pp"),
        ({"generator": "hijing"}, "generator: want sample or builtin"),
        ({"generator": "builtin", "events": "e.parquet"}, "reads no events"),
        ({"rate_hz": -1.0}, "interaction rate"),
        ({"rate_hz": float("nan")}, "interaction rate"),
        ({"collisions": -1}, "collisions per timeframe"),
        ({"seed": -1}, "seed"),
        ({"eta_max": 0.0}, "eta_max"),
        ({"sigma_t": -1.0}, "spread of the collision time"),
        ({"filling": "1x2"}, "filling scheme"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_settings_that_cannot_work_are_config_errors(settings, says):
    with pytest.raises(ConfigError, match=says):
        TimeframeParams(**settings)


def run_processor(state, index=1, **options):
    spec = event_generator()
    values = {o.name: o.convert(options.get(o.name.replace("-", "_"), o.default)) for o in spec.options}
    ref = timeframe_refs(TimeframeParams(), index + 1)[index]
    outputs = DataAllocator(spec.outputs)
    ctx = ProcessingContext(spec=spec, source=ref, inputs=InputRecord({}), outputs=outputs, options=values, state=state)
    spec.algorithm(ctx)
    outputs.check_complete()
    return ctx


def test_the_processor_makes_what_build_timeframe_makes():
    state = WorkerState()
    ctx = run_processor(state, system="pp", collisions="40", seed="9", eta_max=1.0, rate="1MHz")
    want = build_timeframe(TimeframeParams(system="pp", collisions=40, seed=9, eta_max=1.0), 1)
    made = {f"{ref.origin}/{ref.description}": columns for ref, columns in ctx.outputs.made.items()}
    assert all(made[name].equals(want[name]) for name in MC_SCHEMAS)
    assert ctx.counters == {"collisions": 40, "particles": want["MC/PARTICLES"].n_rows}


def test_the_processor_keeps_its_sample_on_the_worker(monkeypatch):
    state = WorkerState()
    run_processor(state, collisions=1)
    monkeypatch.setattr("o2dask.reco.simulation.tasks.load_sample", lambda _: pytest.fail("read again"))
    run_processor(state, index=2, collisions=1)


def test_the_processor_takes_a_rate_with_a_unit_and_every_option_is_used():
    ctx = run_processor(WorkerState(), rate="2kHz", eta_max=0.1)
    want = 2e3 * 32 * 3564 * 10 / 400.789e6
    assert ctx.counters["collisions"] < want + 6 * np.sqrt(want)
    other = {"sigma_t": 5.0, "conversions": False, "flow": False}
    base = {"collisions": 1, "eta_max": 0.5, "generator": "builtin", "seed": 4}
    plain = digest_of(run_processor(WorkerState(), **base))
    for name, value in {**other, "filling": "0:1x1*4+891"}.items():
        assert digest_of(run_processor(WorkerState(), **base, **{name: value})) != plain, name


def digest_of(ctx):
    return digest(ctx.outputs.made)


def test_vertices_are_where_the_beam_is():
    beam = MeanVertex(x=0.3, y=-0.2, z=4.0, sigma_x=0.02, sigma_y=0.03, sigma_z=5.0, slope_x=0.01)
    params = TimeframeParams(system="pp", collisions=400, generator="builtin", eta_max=0.1, n_orbits=4, beam=beam)
    made = build_timeframe(params, 0)["MC/COLLISIONS"]
    along = made["x"] - 0.3 - 0.01 * (made["z"] - 4.0)
    for residual, sigma in ((along, 0.02), (made["y"] + 0.2, 0.03), (made["z"] - 4.0, 5.0)):
        assert abs(residual.mean()) < 5 * sigma / 20
        assert residual.std() == pytest.approx(sigma, rel=5 / 28)
    assert np.corrcoef(along, made["z"])[0, 1] < 0.25
