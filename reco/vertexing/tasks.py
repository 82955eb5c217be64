"""The processor that finds primary vertices; names and payloads, no physics."""

from o2dask.context import ProcessingContext
from o2dask.reco.calibration.inputs import calibration, condition_inputs
from o2dask.reco.vertexing.schema import VERTEX_SCHEMAS
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, parse_inputs, parse_outputs

__all__ = ["primary_vertexing"]


def primary_vertexing() -> DataProcessorSpec:
    """Return the processor ``primary-vertexing``: TPC/TRACKS in, GLO/PVTX and GLO/PVTXTRACK out."""
    return DataProcessorSpec(
        name="primary-vertexing",
        inputs=(*parse_inputs("tracks:TPC/TRACKS"), *condition_inputs("field", "beam", "drift")),
        outputs=parse_outputs("vertices:GLO/PVTX;members:GLO/PVTXTRACK", VERTEX_SCHEMAS),
        algorithm=_run,
        options=(
            ConfigParamSpec(name="min-tracks", default=2, help="tracks that a vertex needs"),
            ConfigParamSpec(name="n-sigma", default=6.0, help="window in which a track belongs to a vertex"),
        ),
        cost_ms=30.0,
    )


def _run(ctx: ProcessingContext) -> None:
    from o2dask.reco.vertexing.params import VertexParams
    from o2dask.reco.vertexing.primary import find_primary_vertices

    params = VertexParams(min_tracks=ctx.options["min-tracks"], n_sigma_members=ctx.options["n-sigma"])
    field, beam, drift = (calibration(ctx, name) for name in ("field", "beam", "drift"))
    vertices, members = find_primary_vertices(ctx.inputs["tracks"], params, field.bz_kg, beam, drift)
    ctx.outputs.make("vertices", vertices)
    ctx.outputs.make("members", members)
    ctx.counters["vertices"] = vertices.n_rows
