"""Processors made of others, or of a few words: copies, pipelines, merged inputs, forwarders and proxies.

As O2's WorkflowSpec.h (parallel, timePipeline, mergeInputs) and ExternalFairMQDeviceProxy.h. Knows specs only.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from o2dask.dataspecs import DataRef, InputSpec, OutputSpec, parse_inputs, parse_outputs
from o2dask.errors import SpecError
from o2dask.specs import DataProcessorSpec

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = ["forward", "input_proxy", "merge_inputs", "output_proxy", "parallel", "time_pipeline"]


def parallel(
    spec: DataProcessorSpec,
    n: int,
    amend: Callable[[DataProcessorSpec, int], DataProcessorSpec] | None = None,
    *,
    subspecs: Sequence[int] | None = None,
) -> tuple[DataProcessorSpec, ...]:
    """Return `n` copies of a processor, ``name-0`` to ``name-<n-1>``; which one it is says `ParallelContext`.

    Parameters
    ----------
    spec : DataProcessorSpec
        What to copy.
    n : int
        How many.
    amend : callable, optional
        Returns copy `i` as it should be; default: the subspecifications of its outputs are raised by `i`.
    subspecs : sequence of int, optional
        What is shared out among the copies, in contiguous ranges: inputs and outputs with subspecification ``*`` are
        then those of its range. ``parallel(spec, 4, subspecs=range(36))``: nine sectors each.
    """
    if n < 1:
        raise SpecError(f"parallel {spec.name!r}: want 1 copy or more, got {n}")
    copies = tuple(replace(spec, name=f"{spec.name}-{i}", copy=(i, n)) for i in range(n))
    if amend is not None:
        return tuple(amend(copy, i) for i, copy in enumerate(copies))
    if subspecs is None:
        return tuple(_raised(copy, i) for i, copy in enumerate(copies))
    if len(subspecs) < n:
        raise SpecError(f"parallel {spec.name!r}: {len(subspecs)} subspecifications are too few for {n} copies")
    cuts = [len(subspecs) * i // n for i in range(n + 1)]
    return tuple(_ranged(copy, subspecs[cuts[i] : cuts[i + 1]]) for i, copy in enumerate(copies))


def time_pipeline(spec: DataProcessorSpec, n: int) -> DataProcessorSpec:
    """Return the processor with `n` instances on each worker, which take timeframes in turn: counter modulo `n`.

    Each instance has a state of its own, which so sees every n-th timeframe.
    """
    if spec.pipeline != 1:
        raise SpecError(f"time_pipeline {spec.name!r}: it has {spec.pipeline} instances already")
    return replace(spec, pipeline=n)


def merge_inputs(wanted: "InputSpec | str", n: int) -> tuple[InputSpec, ...]:
    """Return an input for each of `n` subspecifications: ``clusters:TPC/CLUSTERS`` gives clusters_0, clusters_1, ..."""
    one = parse_inputs(wanted)[0] if isinstance(wanted, str) else wanted
    return tuple(replace(one, binding=f"{one.binding}_{i}", subspec=i) for i in range(n))


def forward(name: str, inputs: str, outputs: str) -> DataProcessorSpec:
    """Return a processor that passes its inputs on under other addresses, in the order written, without a copy."""
    ins, outs = parse_inputs(inputs), parse_outputs(outputs)
    if len(ins) != len(outs) or any(i.is_wildcard for i in ins):
        raise SpecError(f"forward {name!r}: want an output for each input, and no wildcards, got {inputs} -> {outputs}")
    renamed = tuple(replace(o, lifetime=i.lifetime) for i, o in zip(ins, outs, strict=True))
    return DataProcessorSpec(name, inputs=ins, outputs=renamed, algorithm=_forward, cost_ms=0.1)


def input_proxy(name: str, outputs: str, read: "Callable[[ProcessingContext], Any]", **more: Any) -> DataProcessorSpec:
    """Return a source that lets data of another system in: ``read(ctx)`` returns a dict of binding to columns.

    What `read` leaves out is absent, so outputs that it may leave out are ``?lifetime=sporadic``.
    """
    return DataProcessorSpec(name, inputs="", outputs=outputs, algorithm=read, labels=("input-proxy",), **more)


def output_proxy(
    name: str, inputs: str, write: "Callable[[ProcessingContext], None]", **more: Any
) -> DataProcessorSpec:
    """Return a processor that hands its inputs to another system: ``write(ctx)`` sends ``ctx.inputs``.

    A timeframe may be sent twice, when a worker dies after it: the other system has to tell them by their id.
    """
    return DataProcessorSpec(name, inputs=inputs, outputs="", algorithm=write, labels=("output-proxy",), **more)


def _forward(ctx: "ProcessingContext") -> None:
    for output, columns in zip(ctx.spec.outputs, ctx.inputs.values(), strict=True):
        if columns is not None:
            ctx.outputs.make(output.binding, columns)


def _raised(spec: DataProcessorSpec, i: int) -> DataProcessorSpec:
    if any(o.ref.is_family for o in spec.outputs):
        raise SpecError(f"parallel {spec.name!r}: say how outputs * are shared out, with subspecs=range(...) or amend")
    raised = (replace(o, ref=DataRef(o.ref.origin, o.ref.description, o.ref.subspec + i)) for o in spec.outputs)
    return replace(spec, outputs=tuple(raised))


def _ranged(spec: DataProcessorSpec, mine: Sequence[int]) -> DataProcessorSpec:
    text = ",".join(map(str, mine))
    inputs = (replace(i, metadata={**i.metadata, "subspecs": text}) if i.subspec == "*" else i for i in spec.inputs)
    outputs: list[OutputSpec] = []
    for o in spec.outputs:
        if not o.ref.is_family:
            raise SpecError(f"parallel {spec.name!r}: with subspecs, want outputs with subspecification *, got {o}")
        refs = [DataRef(o.ref.origin, o.ref.description, s) for s in mine]
        outputs += [replace(o, binding=f"{o.binding}_{r.subspec}", ref=r) for r in refs]
    return replace(spec, inputs=tuple(inputs), outputs=tuple(outputs))
