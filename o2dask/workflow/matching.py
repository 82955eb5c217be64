"""Who feeds whom: outputs matched to inputs by address, and everything that can be wrong with that.

Knows specs only. Every error names the culprit and what to do about it.
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from o2dask.columns import Column, Schema
from o2dask.errors import WorkflowError
from o2dask.specs import DataProcessorSpec, DataRef, InputSpec, Lifetime, OutputSpec
from o2dask.workflow.names import did_you_mean, listed
from o2dask.workflow.topology import Route

__all__ = ["Outlets", "check_conditions", "execution_order", "match_routes", "schema_difference"]


class Outlets:
    """Who makes what: finds the outputs that an input asks for, without a look at all the others."""

    def __init__(self, workflow: str, processors: Sequence[DataProcessorSpec]) -> None:
        self.made: dict[DataRef, tuple[DataProcessorSpec, OutputSpec]] = {}
        self._kin: dict[DataRef, list[tuple[DataProcessorSpec, OutputSpec]]] = defaultdict(list)
        for processor in processors:
            for output in processor.outputs:
                if output.lifetime is Lifetime.TRANSIENT:
                    continue  # never sent
                kin = self._kin[output.ref.family]
                for other, before in kin:
                    if before.ref.covers(output.ref) or output.ref.covers(before.ref):
                        raise WorkflowError(
                            f"workflow {workflow!r}: {output.ref} is made by both {other.name!r} and "
                            f"{processor.name!r}; remove one, or give one output another subspecification"
                        )
                kin.append((processor, output))
                self.made[output.ref] = processor, output

    def of(self, wanted: InputSpec, consumer: DataProcessorSpec) -> list[tuple[DataProcessorSpec, OutputSpec]]:
        """Return the outputs that the input asks for, in the order declared; a wildcard leaves out its own."""
        if not any(c in wanted.origin + wanted.description for c in "*?"):
            kin = self._kin.get(DataRef(wanted.origin, wanted.description).family, [])
            found = [(p, o) for p, o in kin if wanted.matches(o.ref)]
        else:
            found = [(p, o) for p, o in self.made.values() if wanted.matches(o.ref)]
        return [(p, o) for p, o in found if not (wanted.is_wildcard and p is consumer)]


def match_routes(workflow: str, processors: Sequence[DataProcessorSpec]) -> tuple[tuple[Route, ...], tuple[Route, ...]]:
    """Return the route of every datum to every input that asks for it, and those of declared feedback apart.

    A wildcard takes all that match except its own processor's outputs. An optional input may match nothing; a clock
    is delivered by the framework, a condition by its store.

    Raises
    ------
    WorkflowError
        If a datum has two producers, an input none, or a schema differs.
    """
    outlets = Outlets(workflow, processors)
    routes: list[Route] = []
    feedback: list[Route] = []
    for consumer in processors:
        for wanted in consumer.inputs:
            if wanted.lifetime is Lifetime.CONDITION or wanted.is_clock:
                continue
            found = outlets.of(wanted, consumer)
            if not found and wanted.lifetime is not Lifetime.OPTIONAL:
                raise _dangling(workflow, consumer, wanted, outlets)
            for producer, output in found:
                _check_schemas(workflow, producer, output, consumer, wanted)
                route = Route(producer.name, output.ref, consumer.name, wanted.binding)
                (feedback if wanted.feedback else routes).append(route)
    return tuple(routes), tuple(feedback)


def check_conditions(workflow: str, processors: Sequence[DataProcessorSpec], *, has_conditions: bool) -> None:
    """Raise WorkflowError for a condition that is a wildcard, or without a default where there is no store of them."""
    for processor in processors:
        for wanted in processor.inputs:
            if wanted.lifetime is not Lifetime.CONDITION:
                continue
            what = f"workflow {workflow!r}: input {wanted} of {processor.name!r} is a condition"
            if wanted.is_wildcard:
                raise WorkflowError(f"{what} with a wildcard; name one object for each input")
            if not has_conditions and not wanted.default:
                raise WorkflowError(
                    f"{what}, but there is no store of conditions; give one (--conditions FOLDER, snapshot.zip or URL; "
                    "compile_workflow(..., conditions=ConditionFetcher(open_store(...))))"
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
    waits: dict[str, set[str]] = {p.name: set() for p in processors}
    feeds: dict[str, set[str]] = {p.name: set() for p in processors}
    for route in routes:
        waits[route.consumer].add(route.producer)
        feeds[route.producer].add(route.consumer)
    ready = [rank[name] for name, on in waits.items() if not on]
    heapq.heapify(ready)
    ordered: list[DataProcessorSpec] = []
    while ready:
        done = processors[heapq.heappop(ready)]
        ordered.append(done)
        for name in feeds[done.name]:
            waits[name].discard(done.name)
            if not waits[name]:
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


def _kind(column: Column) -> str:
    return f"{column.dtype}{list(column.shape) or ''}{' jagged' * column.is_jagged}"


def _dangling(workflow: str, consumer: DataProcessorSpec, wanted: InputSpec, outlets: Outlets) -> WorkflowError:
    address = f"{wanted.origin}/{wanted.description}/{wanted.subspec}"
    others = {str(ref): p.name for ref, (p, _) in outlets.made.items() if p is not consumer}
    hint = did_you_mean(address, others)
    clock = "; a clock says when it ticks, ?lifetime=timer&every=10 or &period=1s" * (wanted.lifetime is Lifetime.TIMER)
    return WorkflowError(
        f"workflow {workflow!r}: input {wanted} of {consumer.name!r} is made by no processor"
        f"{hint or f' (made are {listed(others)});'} add one that makes it, merge with a workflow that has one "
        f"(w1 | w2), or write {wanted.binding}:{address}?lifetime=optional{clock}"
    )


def _check_schemas(
    workflow: str, producer: DataProcessorSpec, output: OutputSpec, consumer: DataProcessorSpec, wanted: InputSpec
) -> None:
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
        "input, by splitting a processor in two, or by declaring the way back (?lifetime=optional&feedback=true)"
    )
