"""The tasks that come with the package make what the functions of physics make, in a train with a user's own."""

import numpy as np
import pytest

import o2dask as o2
from o2dask.analysis import tasks
from o2dask.analysis.cli import load_tasks
from o2dask.analysis.errors import UnknownNameError
from o2dask.analysis.physics.centrality import calibrate_centrality
from o2dask.analysis.physics.pid_tof import tof_beta, tof_n_sigma
from o2dask.analysis.physics.pid_tpc import TpcResponse, tpc_n_sigma
from o2dask.analysis.physics.propagation import with_tracks_at_dca
from o2dask.analysis.physics.selection import EventSelection, tpc_only_selection
from o2dask.analysis.physics.v0 import V0Params, with_v0s
from o2dask.conditions import LocalStore
from o2dask.conditions.runinfo import RunInfo, put_run_info
from o2dask.errors import ProcessorError, SpecError, WorkflowError
from o2dask.timeframe import BC_NS


def run(aod, *made, **options):
    return aod.run(*made, scheduler="inline", progress=False, on_error="raise", **options)


def collector(name, spec, getters):
    """Return a task that keeps getters of a table."""

    class Collects(o2.AnalysisTask):
        found = o2.Output([])

        def process(self, table: spec):
            self.found += [{getter: getattr(table, getter)() for getter in getters}]

    return Collects(name=name)


def found(result, name):
    parts = result[name].found
    return {getter: np.concatenate([part[getter] for part in parts]) for getter in parts[0]}


@pytest.fixture(scope="module")
def whole_train(physics_aod):
    """All tasks in one pass, the consumers named first."""
    aod = o2.open_aod(physics_aod)
    tracks = o2.Join[o2.Tracks, o2.TracksExtra, tasks.TracksDca, tasks.TrackSelections]
    v0s = ("mK0Short", "mLambda", "collisionId", "posTrackId", "v0radius")
    result = run(
        aod,
        collector("tracks", tracks, ("pt", "dcaXY", "dcaZ", "isSelected", "tpcSignal")),
        collector("tpc", tasks.TracksPidTpc, ("tpcNSigmaPi", "tpcNSigmaPr")),
        collector("tof", tasks.TracksPidTof, ("tofNSigmaKa", "beta")),
        collector("v0s", o2.Join[o2.V0s, tasks.V0Cores], v0s),
        collector("collisions", o2.Join[o2.Collisions, tasks.CollisionSelections], ("posZ", "isSelected")),
        tasks.V0Builder(min_dca=0.5),
        tasks.TrackSelector(max_dca_z=1.0),
        tasks.PidTpc(resolution=[0.08, 0.0]),
        tasks.PidTof(time_resolution=80),
        tasks.EventSelector(max_abs_z=5, min_contributors=0),
        tasks.TrackPropagation(),
    )
    return aod, result


def test_propagated_and_selected_tracks_are_those_of_the_functions(whole_train):
    aod, result = whole_train
    told = found(result, "tracks")
    frames = [with_tracks_at_dca(df) for df in aod]
    for getter in ("pt", "dcaXY", "dcaZ", "tpcSignal"):
        want = np.concatenate([getattr(f.tracks, getter)() for f in frames])
        np.testing.assert_array_equal(told[getter], want)
    cuts = tpc_only_selection(max_dca_z=1.0)
    np.testing.assert_array_equal(told["isSelected"], np.concatenate([cuts.mask(f.tracks) for f in frames]))
    assert 0 < told["isSelected"].sum() < len(told["isSelected"])
    flow = cuts.flow(frames[0].tracks) + cuts.flow(frames[1].tracks)
    assert result["track-selector"].flow == flow and flow.after[-1] == told["isSelected"].sum()


def test_sigmas_are_those_of_the_functions(whole_train):
    aod, result = whole_train
    frames = [with_tracks_at_dca(df) for df in aod]
    response = TpcResponse(resolution=(0.08, 0.0))
    for species in ("Pi", "Pr"):
        want = np.concatenate([tpc_n_sigma(f.tracks, species, response) for f in frames])
        np.testing.assert_array_equal(found(result, "tpc")[f"tpcNSigma{species}"], want)
    tof = found(result, "tof")
    want = np.concatenate([tof_beta(f.tracks) for f in frames]).astype(np.float32)
    np.testing.assert_array_equal(tof["beta"], want)
    assert tof["tofNSigmaKa"].shape == want.shape and tof_n_sigma(frames[0].tracks, "Ka").dtype == np.float32


def test_v0s_are_those_of_the_function(whole_train):
    aod, result = whole_train
    told, frames = found(result, "v0s"), [with_v0s(df, V0Params(min_dca=0.5)) for df in aod]
    assert len(told["mK0Short"]) > 20
    for getter, values in told.items():
        np.testing.assert_array_equal(values, np.concatenate([getattr(f.v0s, getter)() for f in frames]))


def test_collisions_are_selected(whole_train):
    _, result = whole_train
    told = found(result, "collisions")
    want = EventSelection(max_abs_z=5, min_contributors=None).mask({"posZ": told["posZ"]})
    np.testing.assert_array_equal(told["isSelected"], want)
    assert result["event-selector"].flow.after[-1] == told["isSelected"].sum()


def test_centrality_is_calibrated_in_one_run_and_used_in_the_next(physics_aod, tmp_path):
    aod = o2.open_aod(physics_aod)
    calibration = run(aod, tasks.Centrality()).calibration
    n = aod.collisions.numContrib()
    assert calibration == calibrate_centrality(n, "numContrib")
    calibration.save(tmp_path / "centrality.json")
    second = tasks.Centrality(calibration_file=str(tmp_path / "centrality.json"))
    result = run(aod, second, collector("used", tasks.Centralities, ("centrality",)))
    np.testing.assert_array_equal(found(result, "used")["centrality"], calibration.percentile(n))


def test_bunch_crossings_get_the_time_of_the_runs_clock(physics_aod, tmp_path):
    aod = o2.open_aod(physics_aod)
    store = LocalStore(tmp_path / "conditions")
    reset = 1_600_000_000_000_000
    for number in np.unique(aod.bcs.runNumber()).tolist():
        put_run_info(store, RunInfo(run=number, start_ms=1, end_ms=2, orbit_reset_us=reset))
    made = collector("times", o2.BCsWithTimestamps, ("timestamp", "globalBC"))
    told = found(run(aod, tasks.TimestampMaker(), made, conditions=store), "times")
    want = (reset + told["globalBC"].astype(np.float64) * BC_NS / 1000) / 1000
    np.testing.assert_array_equal(told["timestamp"], want.astype(np.uint64))
    with pytest.raises(ProcessorError, match=r"RCT/Info/RunInformation was asked for, but the run has none"):
        run(aod, tasks.TimestampMaker())


def test_they_are_found_by_name_and_what_is_missing_says_who_makes_it(aod):
    (task,) = load_tasks(["o2dask.analysis.tasks:PidTpc"])
    assert isinstance(task, tasks.PidTpc) and task.name == "pid-tpc"
    with pytest.raises(UnknownNameError, match=r"has no 'dcaXY'; o2dask.analysis.tasks.TrackPropagation makes"):
        aod[0].tracks.dcaXY()
    with pytest.raises(UnknownNameError, match=r"has no table 'v0Cores'"):
        aod[0].v0Cores  # noqa: B018
    with pytest.raises(WorkflowError, match=r"reads TracksDCA, which no task of this run makes.*TrackPropagation"):
        run(aod, tasks.TrackSelector())
    with pytest.raises(SpecError, match="option 'selection': want one of tpc-only, global, none, got 'best'"):
        tasks.TrackSelector(selection="best")
