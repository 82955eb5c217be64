"""The processor that begins a reconstruction: a stored timeframe becomes the declared data."""

from o2dask.context import ProcessingContext
from o2dask.ctf.errors import CtfError
from o2dask.ctf.listing import read_timeframe
from o2dask.specs import DataProcessorSpec, Lifetime, OutputSpec

__all__ = ["ctf_reader"]


def ctf_reader(outputs: str | tuple[OutputSpec, ...], name: str = "ctf-reader") -> DataProcessorSpec:
    """Return the source that reads `outputs` of its timeframe from the CTF file that holds it.

    Only the blocks of these data are decoded. A datum that is not in the file is an error, unless its lifetime is
    ``optional``: then it is left out.
    """
    return DataProcessorSpec(name=name, inputs="", outputs=outputs, algorithm=_read, cost_ms=100.0)


def _read(ctx: ProcessingContext) -> None:
    wanted = ctx.spec.outputs
    payloads = read_timeframe(ctx.source, [str(output.ref) for output in wanted])
    ctx.counters["ctf_bytes"] = ctx.source.n_bytes
    for output in wanted:
        if output.ref in payloads:
            columns = ctx.outputs.make(output.binding, payloads[output.ref])
            ctx.counters[output.binding] = columns.n_rows
        elif output.lifetime is not Lifetime.OPTIONAL:
            raise CtfError(f"{ctx.source.url}, timeframe {ctx.timeframe}: has no {output.ref}")
