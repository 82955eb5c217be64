"""The cluster codec as processors: before the CTF writer and after the CTF reader."""

from o2dask.context import ProcessingContext
from o2dask.reco.tpc.codec import COMPCLUSTERS, COMPROWS, compress_clusters, decompress_clusters
from o2dask.reco.tpc.schema import CLUSTERNATIVE
from o2dask.specs import DataProcessorSpec, parse_outputs

__all__ = ["tpc_compressor", "tpc_decompressor"]

_SCHEMAS = {s.name: s for s in (COMPCLUSTERS, COMPROWS, CLUSTERNATIVE)}
_COMPRESSED = "compclusters:TPC/COMPCLUSTERS;comprows:TPC/COMPROWS"


def tpc_compressor() -> DataProcessorSpec:
    """Return the processor that makes TPC/COMPCLUSTERS and TPC/COMPROWS of TPC/CLUSTERNATIVE."""
    return DataProcessorSpec(
        name="tpc-compressor",
        inputs="clusters:TPC/CLUSTERNATIVE",
        outputs=parse_outputs(_COMPRESSED, _SCHEMAS),
        algorithm=_compress,
        cost_ms=20.0,
    )


def tpc_decompressor() -> DataProcessorSpec:
    """Return the processor that makes TPC/CLUSTERNATIVE of TPC/COMPCLUSTERS and TPC/COMPROWS."""
    return DataProcessorSpec(
        name="tpc-decompressor",
        inputs=_COMPRESSED,
        outputs=parse_outputs("clusters:TPC/CLUSTERNATIVE", _SCHEMAS),
        algorithm=_decompress,
        cost_ms=20.0,
    )


def _compress(ctx: ProcessingContext) -> None:
    clusters, rows = compress_clusters(ctx.inputs["clusters"])
    ctx.outputs.make("compclusters", clusters)
    ctx.outputs.make("comprows", rows)
    ctx.counters["clusters"] = clusters.n_rows


def _decompress(ctx: ProcessingContext) -> None:
    clusters = decompress_clusters(ctx.inputs["compclusters"], ctx.inputs["comprows"])
    ctx.outputs.make("clusters", clusters)
    ctx.counters["clusters"] = clusters.n_rows
