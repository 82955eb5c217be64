"""Which processors run beside the graph of a timeframe, each in a process of its own, and which within it.

Beside it run those that see one timeframe after the other (policy ``ordered``): aggregators and calibrators, whose
state is one for all workers; and those that are labelled ``asynchronous``, which take the newest timeframe when they
have time. They get what they need after the timeframe's graph. What they make reaches feedback inputs of later
timeframes; what ordered ones make goes to the sink too, if it keeps that (`late`). Knows topologies, no process and no
Dask.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from o2dask.errors import ConfigError
from o2dask.specs import CompletionPolicy, DataProcessorSpec, DataRef
from o2dask.workflow.names import listed
from o2dask.workflow.topology import Route, Topology

__all__ = ["ASYNCHRONOUS", "BesideUnit", "split"]

ASYNCHRONOUS = "asynchronous"
"""Label of processors that take the newest timeframe when they have time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideUnit:
    """Processors that share a process beside the graph.

    Attributes
    ----------
    name : str
        That of the first processor.
    processors : tuple of str
        In execution order: one, or ordered ones that feed each other.
    inputs : tuple of DataRef
        What the graph of a timeframe has to hand on to them.
    outputs : tuple of DataRef
        What of theirs is fed back to later timeframes.
    is_ordered : bool
        Whether they see every timeframe, in order, or the newest only.
    kept : tuple of DataRef
        What of theirs the sink keeps.
    is_expendable : bool
        Whether a timeframe is committed without `kept` if they fail.
    has_feedback : bool
        Whether any of them wants what others feed back.
    """

    name: str
    processors: tuple[str, ...]
    inputs: tuple[DataRef, ...]
    outputs: tuple[DataRef, ...]
    is_ordered: bool
    kept: tuple[DataRef, ...] = ()
    is_expendable: bool = False
    has_feedback: bool = False


def split(topology: Topology, kept: Sequence[str] = ()) -> tuple[Topology, tuple[BesideUnit, ...]]:
    """Return what is left for the graph, and what runs beside it.

    Parameters
    ----------
    topology : Topology
        The whole workflow.
    kept : sequence of str
        Patterns of what the sink keeps, which has to come out of the graph.

    Raises
    ------
    ConfigError
        If the graph, or something else that runs beside it, would have to wait for what runs beside it; or the sink for
        something asynchronous.
    """
    beside = {p.name: p for p in topology.processors if _is_beside(p)}
    if not beside:
        return topology, ()
    _check_routes(topology, beside)
    chosen = {str(ref) for ref in topology.select(kept)}
    for p in (p for p in beside.values() if not _is_ordered(p)):
        if lost := [str(o.ref) for o in p.outputs if str(o.ref) in chosen]:
            raise ConfigError(
                f"{listed(lost)} of processor {p.name!r} cannot go to the output: {_why(p)}; leave it out of what is "
                "kept (--keep), or use the inline runner"
            )
    units = tuple(_unit(topology, names, chosen) for names in _components(topology, beside))
    inside = tuple(p for p in topology.processors if p.name not in beside)
    if not inside:
        raise ConfigError(
            f"workflow {topology.name!r}: all processors run beside the graph of a timeframe, which is empty; "
            "use the inline runner"
        )
    graph = replace(
        topology,
        processors=inside,
        routes=tuple(r for r in topology.routes if r.consumer not in beside),
        feedback=tuple(r for r in topology.feedback if r.consumer not in beside),
    )
    return graph, units


def _is_beside(processor: DataProcessorSpec) -> bool:
    return processor.policy is CompletionPolicy.ORDERED or ASYNCHRONOUS in processor.labels


def _is_ordered(processor: DataProcessorSpec) -> bool:
    return processor.policy is CompletionPolicy.ORDERED


def _why(processor: DataProcessorSpec) -> str:
    if _is_ordered(processor):
        return "it wants timeframes in order (policy ordered), so it runs beside the graph of a timeframe"
    return "it is asynchronous and takes timeframes when it has time"


def _check_routes(topology: Topology, beside: dict[str, DataProcessorSpec]) -> None:
    for route in topology.routes:
        producer, consumer = beside.get(route.producer), beside.get(route.consumer)
        if producer is None or (consumer is not None and _is_ordered(producer) and _is_ordered(consumer)):
            continue
        raise ConfigError(
            f"processor {route.consumer!r} needs {route.ref} of {producer.name!r} for the same timeframe, but "
            f"{_why(producer)}; take it of an earlier timeframe ({route.binding}:{route.ref}?lifetime=optional&"
            f"feedback=true), make {route.consumer!r} ordered too, or use the inline runner"
        )


def _components(topology: Topology, beside: dict[str, DataProcessorSpec]) -> list[tuple[str, ...]]:
    """Return processors that feed each other together, in execution order."""
    group = {name: {name} for name in beside}
    for route in topology.routes:
        if route.producer in beside and route.consumer in beside:
            merged = group[route.producer] | group[route.consumer]
            for name in merged:
                group[name] = merged
    found = dict.fromkeys(
        tuple(n for n in topology.names if n in group[name]) for name in topology.names if name in group
    )
    return list(found)


def _unit(topology: Topology, names: tuple[str, ...], chosen: set[str]) -> BesideUnit:
    def comes_in(route: Route) -> bool:
        return route.consumer in names and route.producer not in names

    fed_back = {r.ref: None for r in topology.feedback if r.producer in names}
    return BesideUnit(
        name=names[0],
        processors=names,
        inputs=tuple(dict.fromkeys(r.ref for r in topology.routes if comes_in(r))),
        outputs=tuple(fed_back),
        is_ordered=_is_ordered(topology[names[0]]),
        kept=tuple(o.ref for name in names for o in topology[name].outputs if str(o.ref) in chosen),
        is_expendable=all(topology[name].expendable for name in names),
        has_feedback=any(r.consumer in names and r.producer not in names for r in topology.feedback),
    )
