"""The processors of TPC reconstruction: tracker and track labels. Payloads in, payloads out; no physics."""

from typing import TYPE_CHECKING

from o2dask.context import ProcessingContext
from o2dask.reco.tpc.schema import TPC_SCHEMAS
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, parse_inputs, parse_outputs

if TYPE_CHECKING:
    from o2dask.reco.tpc.backend import Backend

__all__ = ["run_tpc_track_labels", "run_tpc_tracker", "run_tpc_tracker_on_gpu", "tpc_track_labels", "tpc_tracker"]


def run_tpc_tracker(ctx: ProcessingContext) -> None:
    """Find and fit the tracks of one timeframe."""
    from o2dask.reco.tpc.backend import HOST

    _track(ctx, HOST)


def run_tpc_tracker_on_gpu(ctx: ProcessingContext) -> None:
    """Find and fit the tracks of one timeframe on the worker's GPU; geometry, field and scratch stay there."""
    from o2dask.reco.tpc.device import Device

    _track(ctx, ctx.state.get("tpc-device", Device))


def _track(ctx: ProcessingContext, backend: "Backend") -> None:
    from o2dask.reco.tpc.calibration import tpc_calibration
    from o2dask.reco.tpc.params import TpcTrackingParams
    from o2dask.reco.tpc.reconstruct import reconstruct

    params = TpcTrackingParams(min_clusters=ctx.options["min_clusters"])
    tracks, members, _ = reconstruct(ctx.inputs["clusters"], params, tpc_calibration(ctx), backend)
    ctx.outputs.make("tracks", tracks)
    ctx.outputs.make("trackclusters", members)
    for name, count in (("clusters", ctx.inputs["clusters"].n_rows), ("tracks", tracks.n_rows)):
        ctx.counters[name] = ctx.counters.get(name, 0) + count
    ctx.counters["attached_clusters"] = ctx.counters.get("attached_clusters", 0) + members.n_rows


def tpc_tracker() -> DataProcessorSpec:
    """Return the processor ``tpc-tracker``: native clusters to tracks with their clusters."""
    from o2dask.reco.calibration.inputs import condition_inputs

    return DataProcessorSpec(
        name="tpc-tracker",
        inputs=(
            *parse_inputs("clusters:TPC/CLUSTERNATIVE"),
            *condition_inputs("field", "drift", "gain", "corrections", "beam"),
        ),
        outputs=parse_outputs("tracks:TPC/TRACKS;trackclusters:TPC/TRACKCLUSTERS", TPC_SCHEMAS),
        algorithm={"CPU": run_tpc_tracker, "GPU": run_tpc_tracker_on_gpu},
        options=(ConfigParamSpec(name="min_clusters", default=20, help="clusters that a track must have"),),
        cost_ms=2000.0,
    )


def run_tpc_track_labels(ctx: ProcessingContext) -> None:
    """Label the tracks of a simulated timeframe; real ones have no labels, and get none."""
    from o2dask.reco.tpc.labels import label_tracks

    labels = ctx.inputs["labels"]
    if labels is not None:
        made = label_tracks(ctx.inputs["tracks"], ctx.inputs["members"], labels)
        ctx.outputs.make("tracklabel", made)
        ctx.counters["fake_tracks"] = ctx.counters.get("fake_tracks", 0) + int((made["purity"] < 0.9).sum())


def tpc_track_labels() -> DataProcessorSpec:
    """Return the processor ``tpc-track-labels``: which particle each track is, where clusters have labels."""
    return DataProcessorSpec(
        name="tpc-track-labels",
        inputs="tracks:TPC/TRACKS;members:TPC/TRACKCLUSTERS;labels:TPC/CLUSTERLABEL?lifetime=optional",
        outputs=parse_outputs("tracklabel:TPC/TRACKLABEL?lifetime=optional", TPC_SCHEMAS),
        algorithm=run_tpc_track_labels,
        cost_ms=50.0,
    )
