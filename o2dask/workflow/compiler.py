"""From declarations to a topology: matched, ordered, options converted, or refused before anything runs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from o2dask.errors import SpecError, WorkflowError
from o2dask.specs import DataProcessorSpec, WorkflowSpec
from o2dask.workflow.matching import check_lifetimes, execution_order, match_routes
from o2dask.workflow.names import did_you_mean, listed
from o2dask.workflow.topology import Topology

if TYPE_CHECKING:
    from o2dask.conditions import ConditionFetcher

__all__ = ["compile_workflow"]


def compile_workflow(
    workflow: WorkflowSpec,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    conditions: "ConditionFetcher | None" = None,
) -> Topology:
    """Return the workflow checked, ordered and with its options settled.

    Parameters
    ----------
    workflow : WorkflowSpec
        Processors in any order; ``w1 | w2`` where the ends of one are in the other.
    options : mapping of processor to mapping of option to value, optional
        Text or numbers; every other option keeps its default.
    conditions : ConditionFetcher, optional
        Where inputs with ``lifetime=condition`` come from; workers fetch and keep them.

    Raises
    ------
    WorkflowError
        Input that nobody makes, datum made twice, loop, processor named twice, unknown processor, schemas that differ,
        lifetime that no runner delivers. Names the culprit and the remedy.
    SpecError
        Unknown option, or a value that is not of its type.
    """
    name, processors = workflow.name, workflow.processors
    if not processors:
        raise WorkflowError(f"workflow {name!r} has no processors; give it at least one")
    _check_names(name, processors)
    check_lifetimes(name, processors, has_conditions=conditions is not None)
    routes = match_routes(name, processors)
    ordered = execution_order(name, processors, routes)
    return Topology(
        name=name,
        processors=ordered,
        options=_settle(name, ordered, options or {}),
        routes=_sorted(ordered, routes),
        conditions=conditions,
    )


def _check_names(workflow: str, processors: tuple[DataProcessorSpec, ...]) -> None:
    names = [p.name for p in processors]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise WorkflowError(
            f"workflow {workflow!r}: two processors are called {listed(twice)}; rename one (dataclasses.replace)"
        )


def _settle(
    workflow: str, processors: tuple[DataProcessorSpec, ...], given: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    names = [p.name for p in processors]
    for name in given:
        if name not in names:
            hint = did_you_mean(name, names) or f"; it has {listed(names)}"
            raise WorkflowError(f"workflow {workflow!r} has no processor {name!r} to set options of{hint}")
    return {p.name: _settle_one(p, given.get(p.name, {})) for p in processors}


def _settle_one(processor: DataProcessorSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    declared = [o.name for o in processor.options]
    by_key = {name.replace("_", "-"): name for name in declared}  # either is fine: Task options are identifiers
    chosen = {}
    for name, value in given.items():
        known = name if name in declared else by_key.get(name.replace("_", "-"))
        if known is None:
            hint = did_you_mean(name, declared) or f"; it has {listed(declared)}"
            raise SpecError(f"processor {processor.name!r} has no option {name!r}{hint}")
        chosen[known] = value
    try:
        return {o.name: o.convert(chosen.get(o.name, o.default)) for o in processor.options}
    except SpecError as error:
        raise SpecError(f"processor {processor.name!r}: {error}") from None


def _sorted(processors: tuple[DataProcessorSpec, ...], routes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Order routes by consumer, then producer, in execution order: equal workflows give equal topologies."""
    rank = {p.name: i for i, p in enumerate(processors)}
    return tuple(sorted(routes, key=lambda r: (rank[r.consumer], rank[r.producer], r.binding, r.ref)))
