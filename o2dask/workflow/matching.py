"""Who feeds whom: outputs matched to inputs by address, and everything that can be wrong with that.

Knows specs only. Every error names the culprit and what to do about it.
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from o2dask.columns import Column, Schema
from o2dask.errors import WorkflowError
from o2dask.specs import CompletionPolicy, DataProcessorSpec, DataRef, InputSpec, Lifetime, OutputSpec
from o2dask.workflow.names import did_you_mean, listed
from o2dask.workflow.topology import Route

__all__ = ["check_lifetimes", "execution_order", "match_routes", "schema_difference"]

SUPPORTED = (Lifetime.TIMEFRAME, Lifetime.OPTIONAL)
"""What runners that see one timeframe at a time can deliver; conditions, timers and sporadic data need the stream."""

Made = dict[DataRef, tuple[DataProcessorSpec, OutputSpec]]


def match_routes(workflow: str, processors: Sequence[DataProcessorSpec]) -> tuple[Route, ...]:
    """Return the route of every datum to every input that asks for it.

    A wildcard takes all that match except its own processor's outputs. An optional input may match nothing.

    Raises
    ------
    WorkflowError
        If a datum has two producers, an input none, or a schema differs.
    """
    made = _producers(workflow, processors)
    routes = []
    for consumer in processors:
        for wanted in consumer.inputs:
            if wanted.lifetime is Lifetime.CONDITION:
                continue  # comes from the store of conditions
            found = [
                (producer, output)
                for producer, output in made.values()
                if wanted.matches(output.ref) and not (wanted.is_wildcard and producer is consumer)
            ]
            if not found and wanted.lifetime is not Lifetime.OPTIONAL:
                raise _dangling(workflow, consumer, wanted, made)
            for producer, output in found:
                _check_pair(workflow, producer, output, consumer, wanted)
                routes.append(Route(producer.name, output.ref, consumer.name, wanted.binding))
    return tuple(routes)


def check_lifetimes(workflow: str, processors: Sequence[DataProcessorSpec], *, has_conditions: bool = False) -> None:
    """Raise WorkflowError for a lifetime that no runner delivers yet, or a condition without a store of them."""
    for processor in processors:
        for kind, specs in (("input", processor.inputs), ("output", processor.outputs)):
            for spec in specs:
                if isinstance(spec, InputSpec) and spec.lifetime is Lifetime.CONDITION:
                    _check_condition(workflow, processor, spec, has_conditions)
                elif spec.lifetime not in SUPPORTED:
                    raise WorkflowError(
                        f"workflow {workflow!r}: {kind} {spec} of {processor.name!r} has lifetime {spec.lifetime}, "
                        f"which the runners do not deliver; use {' or '.join(SUPPORTED)}"
                    )


def execution_order(
    workflow: str, processors: Sequence[DataProcessorSpec], routes: Sequence[Route]
) -> tuple[DataProcessorSpec, ...]:
    """Return the processors with producers before consumers, otherwise in the order declared.

    Raises
    ------
    WorkflowError
        If they form a loop, which it names.
    """
    rank = {p.name: i for i, p in enumerate(processors)}
    waits = {p.name: {r.producer for r in routes if r.consumer == p.name} for p in processors}
    ready = [rank[name] for name, on in waits.items() if not on]
    heapq.heapify(ready)
    ordered: list[DataProcessorSpec] = []
    while ready:
        done = processors[heapq.heappop(ready)]
        ordered.append(done)
        for name, on in waits.items():
            if done.name in on:
                on.discard(done.name)
                if not on:
                    heapq.heappush(ready, rank[name])
    if len(ordered) < len(processors):
        raise _loop(workflow, {name: on for name, on in waits.items() if on}, routes)
    return tuple(ordered)


def schema_difference(wanted: Schema, got: Schema) -> str:
    """Return how `got` falls short of the columns of `wanted`, or ``""``; more columns than wanted are fine."""
    have = {c.name: c for c in got.columns}
    for column in wanted.columns:
        other = have.get(column.name)
        if other is None:
            return f"want column {column.name!r}, got {listed(got.names)}"
        if (column.dtype, column.shape, column.is_jagged) != (other.dtype, other.shape, other.is_jagged):
            return f"column {column.name!r}: want {_kind(column)}, got {_kind(other)}"
    return ""


def _check_condition(workflow: str, processor: DataProcessorSpec, spec: InputSpec, has_conditions: bool) -> None:
    what = f"workflow {workflow!r}: input {spec} of {processor.name!r} is a condition"
    if spec.is_wildcard:
        raise WorkflowError(f"{what} with a wildcard; name one object for each input")
    if not has_conditions:
        raise WorkflowError(
            f"{what}, but there is no store of conditions; give one (--conditions FOLDER, snapshot.zip or URL; "
            "compile_workflow(..., conditions=ConditionFetcher(open_store(...))))"
        )


def _kind(column: Column) -> str:
    return f"{column.dtype}{list(column.shape) or ''}{' jagged' * column.is_jagged}"


def _producers(workflow: str, processors: Sequence[DataProcessorSpec]) -> Made:
    made: Made = {}
    for processor in processors:
        for output in processor.outputs:
            if output.ref in made:
                raise WorkflowError(
                    f"workflow {workflow!r}: {output.ref} is made by both {made[output.ref][0].name!r} and "
                    f"{processor.name!r}; remove one, or give one output another subspecification"
                )
            made[output.ref] = (processor, output)
    return made


def _dangling(workflow: str, consumer: DataProcessorSpec, wanted: InputSpec, made: Made) -> WorkflowError:
    address = f"{wanted.origin}/{wanted.description}/{wanted.subspec}"
    others = {str(ref): p.name for ref, (p, _) in made.items() if p is not consumer}
    hint = did_you_mean(address, others)
    return WorkflowError(
        f"workflow {workflow!r}: input {wanted} of {consumer.name!r} is made by no processor"
        f"{hint or f' (made are {listed(others)});'} add one that makes it, merge with a workflow that has one "
        f"(w1 | w2), or write {wanted.binding}:{address}?lifetime=optional"
    )


def _check_pair(
    workflow: str, producer: DataProcessorSpec, output: OutputSpec, consumer: DataProcessorSpec, wanted: InputSpec
) -> None:
    maybe = output.lifetime is Lifetime.OPTIONAL and not wanted.is_wildcard
    if maybe and wanted.lifetime is not Lifetime.OPTIONAL and consumer.policy is CompletionPolicy.ALL:
        raise WorkflowError(
            f"workflow {workflow!r}: input {wanted} of {consumer.name!r} is needed in every timeframe, but "
            f"{producer.name!r} makes it only in some; mark the input ?lifetime=optional"
        )
    if wanted.schema is None or output.schema is None:
        return
    difference = schema_difference(wanted.schema, output.schema)
    if not difference and wanted.schema.version != output.schema.version:
        difference = f"want version {wanted.schema.version}, got {output.schema.version}"
    if difference:
        raise WorkflowError(
            f"workflow {workflow!r}: input {wanted} of {consumer.name!r} does not fit what {producer.name!r} makes: "
            f"{difference}; change the schema of one of them"
        )


def _loop(workflow: str, waits: dict[str, set[str]], routes: Sequence[Route]) -> WorkflowError:
    """Walk backwards from any stuck processor until one comes again: that is the loop."""
    seen: list[str] = []
    name = min(waits)
    while name not in seen:
        seen.append(name)
        name = min(p for p in waits[name] if p in waits)
    loop = [*seen[seen.index(name) :], name][::-1]
    refs = defaultdict(list)
    for route in routes:
        refs[route.producer, route.consumer].append(str(route.ref))
    steps = "".join(f" -[{refs[a, b][0]}]-> {b}" for a, b in pairwise(loop))
    return WorkflowError(
        f"workflow {workflow!r}: processors wait for each other: {loop[0]}{steps}; break the loop by dropping one "
        "input, or by splitting a processor in two"
    )
