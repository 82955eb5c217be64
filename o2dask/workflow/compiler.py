"""From declarations to a topology: matched, ordered, options converted, or refused before anything runs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from o2dask.errors import WorkflowError
from o2dask.options import settle
from o2dask.services.registry import ServiceSpec, is_service, missing_service
from o2dask.specs import DataProcessorSpec, WorkflowSpec
from o2dask.workflow.completion import find_uncertain
from o2dask.workflow.matching import check_conditions, execution_order, match_routes
from o2dask.workflow.names import did_you_mean, listed
from o2dask.workflow.topology import Route, Topology, with_defaults

if TYPE_CHECKING:
    from o2dask.conditions import ConditionFetcher

__all__ = ["compile_workflow", "set_options"]


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
        datum needed in every timeframe that is made only in some. Names the culprit and the remedy.
    SpecError
        Unknown option, or a value that is not of its type.
    """
    name, processors = workflow.name, workflow.processors
    if not processors:
        raise WorkflowError(f"workflow {name!r} has no processors; give it at least one")
    _check_names(name, processors)
    _check_services(name, processors)
    check_conditions(name, processors, has_conditions=conditions is not None)
    routes, feedback = match_routes(name, processors)
    ordered = execution_order(name, processors, routes)
    return Topology(
        name=name,
        processors=ordered,
        options=_settle(name, ordered, options or {}),
        routes=_sorted(ordered, routes),
        feedback=_sorted(ordered, feedback),
        uncertain=find_uncertain(name, ordered, routes),
        on_error=workflow.on_error,
        conditions=conditions,
    )


def _check_services(workflow: str, processors: tuple[DataProcessorSpec, ...]) -> None:
    for processor in processors:
        for kind in processor.services:
            if not isinstance(kind, ServiceSpec) and not is_service(kind):
                raise WorkflowError(f"workflow {workflow!r}: processor {processor.name!r}: {missing_service(kind)}")


def set_options(workflow: WorkflowSpec, options: Mapping[str, Mapping[str, Any]]) -> WorkflowSpec:
    """Return the workflow with these options as the new defaults; its ends may dangle."""
    chosen = _settle(workflow.name, workflow.processors, options)
    return replace(workflow, processors=tuple(with_defaults(p, chosen[p.name]) for p in workflow.processors))


def _check_names(workflow: str, processors: tuple[DataProcessorSpec, ...]) -> None:
    if twice := sorted(n for n, count in Counter(p.name for p in processors).items() if count > 1):
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
    return {p.name: settle(f"processor {p.name!r}", p.options, given.get(p.name, {})) for p in processors}


def _sorted(processors: tuple[DataProcessorSpec, ...], routes: tuple[Route, ...]) -> tuple[Route, ...]:
    """Order routes by consumer, then producer, in execution order: equal workflows give equal topologies."""
    rank = {p.name: i for i, p in enumerate(processors)}
    return tuple(sorted(routes, key=lambda r: (rank[r.consumer], rank[r.producer], r.binding, r.ref)))
