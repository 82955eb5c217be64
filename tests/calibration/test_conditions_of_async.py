"""Conditions through the registered workflows: from a store, a snapshot, or none, on one worker and on several."""

import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from o2dask.cli.main import app
from o2dask.conditions import FOREVER_MS, ConditionFetcher, ConditionNotFoundError, LocalStore, RunInfo
from o2dask.context import WorkerState
from o2dask.ctf import CtfReader, CtfSink, list_timeframes
from o2dask.errors import ConfigError
from o2dask.reco.calibration.inputs import CONDITIONS
from o2dask.reco.calibration.objects import CorrectionMap, DriftVelocity, MagneticField, MeanVertex, PadGain
from o2dask.reco.simulation.timeframes import TimeframeParams, timeframe_refs
from o2dask.runners.batch import run_batch
from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.settings import BatchSettings
from o2dask.specs import DataRef
from o2dask.timeframe import BC_NS
from o2dask.workflow import compile_workflow, load_workflow
from o2dask.workflow.execute import run_task
from o2dask.workflow.planner import plan

OPTIONS = {"event-generator": {"system": "pp", "generator": "builtin", "collisions": 12, "eta-max": 0.9, "seed": 2}}
REFS = tuple(
    replace(ref, id=replace(ref.id, first_orbit=32 * ref.index))  # 2.8 ms apart: conditions know milliseconds
    for ref in timeframe_refs(TimeframeParams(n_orbits=2), 2)
)
SECOND = RunInfo.simulated(REFS[0].id.run).timestamp(REFS[1].id)
KEPT = ("TPC/TRACKS", "GLO/PVTX", "MC/COLLISIONS")
BEAM = MeanVertex(x=0.2, y=-0.1, z=2.0)


def put(store, condition, *span):
    return store.put(condition.path, condition.to_content(), *(span or (0, FOREVER_MS)))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a store that differs in all from the defaults; the drift velocity changes between the two timeframes."""
    made = LocalStore(tmp_path_factory.mktemp("conditions") / "store")
    result = CliRunner().invoke(app, ["conditions", "defaults", made.url])
    assert result.exit_code == 0, result.output
    put(made, MagneticField(l3_current=-20000.0))
    put(made, BEAM)
    put(made, PadGain(np.linspace(0.9, 1.1, 36 * 4, dtype=np.float32).reshape(36, 4)))
    put(made, CorrectionMap.from_function(lambda sector, x, y, z: (30 / x, 0 * y, 0 * z)))
    put(made, DriftVelocity(corr_fact=1.04), 0, SECOND)
    put(made, DriftVelocity(corr_fact=0.96), SECOND, FOREVER_MS)
    return made


@pytest.fixture(scope="module")
def ctf(store, tmp_path_factory):
    """Return two timeframes simulated with the conditions of the store."""
    out = tmp_path_factory.mktemp("ctf") / "tf.ctf"
    topology = compile_workflow(load_workflow("sim"), OPTIONS, conditions=ConditionFetcher(store))
    assert run_inline(topology, REFS, CtfSink(str(out))).ok
    return str(out)


def made_by(ctf, folder, conditions=None, batch=False):
    """Return the bytes of all files that reconstruction writes, by name."""
    fetcher = None if conditions is None else ConditionFetcher(conditions)
    topology = compile_workflow(load_workflow("async"), conditions=fetcher)
    args = (topology, list_timeframes([ctf]), FolderSink(str(folder), KEPT))
    report = run_batch(*args, settings=BatchSettings(workers=1)) if batch else run_inline(*args)
    assert report.ok and len(report.committed) == 2, report
    return bytes_in(folder)


def bytes_in(folder):
    found = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.arrow"))}
    assert len(found) == 2 * len(KEPT)
    return found


def table(files, timeframe, datum):
    (payload,) = (v for k, v in files.items() if f"_tf{timeframe}_" in k and datum in k)
    return pa.ipc.open_file(payload).read_all().to_pydict()


def vertex_residuals(files, timeframe):
    """Return by how much vertices of five tracks or more are off in time [ns], z and x [cm]: medians."""
    found, truth = table(files, timeframe, "GLO_PVTX"), table(files, timeframe, "MC_COLLISIONS")
    many = np.array(found["n_contributors"]) >= 5
    assert many.sum() >= 3
    t, z, x = (np.array(found[name])[many] for name in ("t", "z", "x"))
    off = np.abs(t[:, None] - np.array(truth["bc"]) * BC_NS)
    z_true, x_true = (np.array(truth[name])[off.argmin(1)] for name in ("z", "x"))
    return np.median(off.min(1)), np.median(np.abs(z - z_true)), np.median(np.abs(x - x_true))


def run_all(topology, ref, state):
    """Run what makes the tracks of one timeframe, as a runner does."""
    at_hand = {}
    for task in plan(topology, ("TPC/TRACKS",)):
        at_hand |= run_task(topology, task, ref, at_hand, state).outputs


@pytest.fixture(scope="module")
def with_store(ctf, store, tmp_path_factory):
    return made_by(ctf, tmp_path_factory.mktemp("store"), store)


@pytest.fixture(scope="module")
def with_defaults(ctf, tmp_path_factory):
    return made_by(ctf, tmp_path_factory.mktemp("defaults"))


def test_vertices_are_right_with_the_conditions_and_wrong_with_the_defaults(with_store, with_defaults):
    for timeframe in (0, 1):
        t, z, x = vertex_residuals(with_store, timeframe)
        assert t < 150 and z < 0.4 and x < 0.05, (timeframe, t, z, x)
        t_wrong, _, x_wrong = vertex_residuals(with_defaults, timeframe)
        assert x_wrong > 0.15 and t_wrong > 3 * t, (timeframe, t_wrong, x_wrong)


def test_each_timeframe_has_the_object_that_is_valid_at_its_time(ctf, store, with_store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(store.url, copy)
    one = LocalStore(copy)
    put(one, DriftVelocity(corr_fact=1.04))  # the last created wins, now in both timeframes
    always = made_by(ctf, tmp_path / "out", one)
    assert table(always, 0, "TPC_TRACKS") == table(with_store, 0, "TPC_TRACKS")
    assert table(always, 1, "TPC_TRACKS")["tgl"] != table(with_store, 1, "TPC_TRACKS")["tgl"]


def test_a_worker_on_dask_changes_its_conditions_between_timeframes_as_inline_does(ctf, store, with_store, tmp_path):
    assert made_by(ctf, tmp_path, store, batch=True) == with_store


def test_a_snapshot_of_the_run_stands_in_for_the_store(ctf, store, with_store, tmp_path):
    hidden = tmp_path / "elsewhere"
    shutil.copytree(store.url, hidden)
    frozen = tmp_path / "run.zip"
    start, end = RunInfo.simulated(REFS[0].id.run).span
    args = ["conditions", "snapshot", str(hidden), str(frozen), "--workflow", "async", "--workflow", "sim"]
    result = CliRunner().invoke(app, [*args, "--from", str(start), "--until", str(end)])
    assert result.exit_code == 0 and f"{len(CONDITIONS) + 1} objects" in result.output, result.output
    shutil.rmtree(hidden)  # there is no store to ask any more
    out = tmp_path / "out"
    args = ["reco", ctf, "--out", str(out), "--conditions", str(frozen), "--runner", "inline"]
    result = CliRunner().invoke(app, [*args, *(f"--keep={pattern}" for pattern in KEPT)])
    assert result.exit_code == 0, result.output
    assert bytes_in(out) == with_store


def test_a_store_that_lacks_an_object_is_named_with_what_to_do(ctf, tmp_path):
    lacking = LocalStore(tmp_path / "lacking")
    put(lacking, BEAM)
    topology = compile_workflow(load_workflow("async"), conditions=ConditionFetcher(lacking))
    with pytest.raises(ConditionNotFoundError, match="no GLO/Config/GRPMagField is valid") as caught:
        run_all(topology, list_timeframes([ctf])[0], WorkerState())
    assert any("o2dask conditions defaults STORE" in note for note in caught.value.__notes__)


def test_what_is_built_from_conditions_is_built_once_per_object(ctf, store):
    topology = compile_workflow(load_workflow("async"), conditions=ConditionFetcher(store))
    state, (first, second) = WorkerState(), list_timeframes([ctf])
    made = []
    for ref in (first, first, second):
        run_all(topology, ref, state)
        kept = [v for k, v in state.built().items() if k[:2] == ("built from conditions", "TpcCalibration")]
        made.append(list(kept[0]._kept.values())[-1])
    assert made[0] is made[1] and made[1] is not made[2]
    assert made[0].drift.corr_fact == 1.04 and made[2].drift.corr_fact == 0.96


def test_defaults_are_written_once(store):
    result = CliRunner().invoke(app, ["conditions", "defaults", store.url])
    assert result.exit_code == 0 and result.output.count("is there already") == len(CONDITIONS)
    assert "CorrectionMapV2" in result.output


def test_the_simulation_refuses_a_field_that_it_cannot_have(store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(store.url, copy)
    one = LocalStore(copy)
    put(one, MagneticField(is_uniform=False))
    topology = compile_workflow(load_workflow("sim"), OPTIONS, conditions=ConditionFetcher(one))
    task = plan(topology, ("MC/PARTICLES",))[0]
    with pytest.raises(ConfigError, match="GRPMagField: the simulation moves particles in a uniform field"):
        run_task(topology, task, REFS[0], {}, WorkerState())


def test_the_command_simulates_with_conditions(store, tmp_path):
    out = tmp_path / "tf.ctf"
    args = ["simulate", "--system", "pp", "--collisions", "30", "--out", str(out), "--conditions", store.url]
    args += ["-o", "event-generator.generator=builtin", "-o", "event-generator.eta-max=0.1"]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    made = CtfReader(out).read(0)[DataRef("MC", "COLLISIONS")]
    assert made["x"].mean() == pytest.approx(BEAM.x, abs=0.01)
    assert made["y"].mean() == pytest.approx(BEAM.y, abs=0.01)
