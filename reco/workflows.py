"""The registered workflows, found by name through the entry points of `o2dask.workflows`."""

from o2dask.ctf import ctf_reader
from o2dask.specs import OutputSpec, WorkflowSpec, parse_outputs

__all__ = ["async_workflow", "sim_workflow"]


def sim_workflow() -> WorkflowSpec:
    """Return the simulation: collisions of a timeframe, what the detectors see of them, compressed."""
    from o2dask.reco.simulation.tasks import event_generator
    from o2dask.reco.tpc.codec_tasks import tpc_compressor
    from o2dask.reco.tpc.simulation_tasks import tpc_simulation

    return WorkflowSpec("sim", (event_generator(), tpc_simulation(), tpc_compressor()))


def async_workflow() -> WorkflowSpec:
    """Return the asynchronous reconstruction: from a compressed timeframe to its AOD tables."""
    from o2dask.reco.aod.tasks import aod_producer
    from o2dask.reco.tpc.codec_tasks import tpc_decompressor
    from o2dask.reco.tpc.tasks import tpc_track_labels, tpc_tracker
    from o2dask.reco.vertexing.tasks import primary_vertexing

    return WorkflowSpec(
        "async",
        (
            ctf_reader(_ctf_contents()),
            tpc_decompressor(),
            tpc_tracker(),
            tpc_track_labels(),
            primary_vertexing(),
            aod_producer(),
        ),
    )


def _ctf_contents() -> tuple[OutputSpec, ...]:
    """Return what reconstruction reads of a CTF; truth is there for simulated timeframes only."""
    from o2dask.reco.simulation.schema import MC_SCHEMAS
    from o2dask.reco.tpc.codec import COMPCLUSTERS, COMPROWS
    from o2dask.reco.tpc.schema import TPC_SCHEMAS

    text = (
        "TPC/COMPCLUSTERS;TPC/COMPROWS;TPC/CLUSTERLABEL?lifetime=optional;"
        "MC/COLLISIONS?lifetime=optional;MC/PARTICLES?lifetime=optional"
    )
    compressed = {schema.name: schema for schema in (COMPCLUSTERS, COMPROWS)}
    return parse_outputs(text, TPC_SCHEMAS | compressed | MC_SCHEMAS)
