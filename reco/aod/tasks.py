"""The processor that makes the AOD tables; names and payloads, no physics."""

from o2dask.context import ProcessingContext
from o2dask.specs import DataProcessorSpec, Lifetime, OutputSpec, parse_inputs

__all__ = ["aod_producer"]


def aod_producer() -> DataProcessorSpec:
    """Return the processor ``aod-producer``: tracks, vertices and truth in, AOD/* out."""
    from o2dask.aod.model import data_ref, tables
    from o2dask.reco.aod.producer import MC_TABLES, TABLES
    from o2dask.reco.calibration.inputs import condition_inputs

    model = tables()
    outputs = tuple(
        OutputSpec(
            binding=tree.lower(),
            ref=data_ref(tree),
            schema=model[tree].schema,
            lifetime=Lifetime.OPTIONAL if tree in MC_TABLES else Lifetime.TIMEFRAME,
        )
        for tree in TABLES + MC_TABLES
    )
    return DataProcessorSpec(
        name="aod-producer",
        inputs=(
            *parse_inputs(
                "tracks:TPC/TRACKS;vertices:GLO/PVTX;members:GLO/PVTXTRACK;labels:TPC/TRACKLABEL?lifetime=optional;"
                "collisions:MC/COLLISIONS?lifetime=optional;particles:MC/PARTICLES?lifetime=optional"
            ),
            *condition_inputs("drift"),
        ),
        outputs=outputs,
        algorithm=_run,
        cost_ms=30.0,
    )


def _run(ctx: ProcessingContext) -> None:
    from o2dask.reco.aod.producer import produce_aod
    from o2dask.reco.calibration.inputs import calibration

    drift = calibration(ctx, "drift")
    for tree, columns in produce_aod(ctx.timeframe, ctx.inputs, drift.cm_per_time_bin).items():
        ctx.outputs.make(tree.lower(), columns)
        if tree == "O2collision_001":
            ctx.counters["collisions"] = columns.n_rows
