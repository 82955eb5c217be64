"""The processor that begins a reconstruction: a stored timeframe becomes the declared data."""

from o2dask.context import ProcessingContext
from o2dask.ctf.errors import CtfError
from o2dask.ctf.listing import read_timeframe
from o2dask.specs import DataProcessorSpec, Lifetime, OutputSpec

__all__ = ["ctf_reader"]


def ctf_reader(outputs: str | tuple[OutputSpec, ...], name: str = "ctf-reader") -> DataProcessorSpec:
    """Return the source that reads `outputs` of its timeframe from the CTF file that holds it.

    Only the blocks of these data are decoded. A datum that is not in the file is an error, unless its lifetime is
    ``optional``: then it is left out. A family (``TPC/RAWDATA/*``) is all of it that is there.
    """
    return DataProcessorSpec(name=name, inputs="", outputs=outputs, algorithm=_read, cost_ms=100.0)


def _read(ctx: ProcessingContext) -> None:
    wanted = ctx.spec.outputs
    payloads = read_timeframe(ctx.source, [str(output.ref) for output in wanted])
    ctx.counters["ctf_bytes"] = ctx.source.n_bytes
    for output in wanted:
        found = {ref: columns for ref, columns in payloads.items() if output.ref.covers(ref)}
        if not found and output.lifetime is not Lifetime.OPTIONAL:
            raise CtfError(f"{ctx.source.url}, timeframe {ctx.timeframe}: has no {output.ref}")
        n_rows = 0
        for ref, columns in found.items():
            subspec = ref.subspec if output.ref.is_family else None
            n_rows += ctx.outputs.make(output.binding, columns, subspec).n_rows
        if found:
            ctx.counters[output.binding] = n_rows
