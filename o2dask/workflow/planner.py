"""Which processors travel together: the logical topology grouped into a few physical tasks.

A task of 10 ms keeps a Dask worker busy 36-72 % of the time, one of 100 ms 94-98 %: so neighbours are fused until
nothing under 50 ms travels alone. Knows the topology only.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from o2dask.errors import WorkflowError
from o2dask.specs import CompletionPolicy, DataRef
from o2dask.workflow.fusion import fuse
from o2dask.workflow.names import listed
from o2dask.workflow.topology import Route, Topology

__all__ = ["MIN_TASK_MS", "PhysicalTask", "plan", "shown_tasks"]

MIN_TASK_MS = 50.0
"""Shortest task worth sending to a worker [ms]: lower, and the scheduler is the bottleneck; higher, and fewer workers
can share a timeframe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalTask:
    """Processors that run one after the other on one worker, as one Dask task per timeframe.

    Attributes
    ----------
    name : str
        Unique in a plan: ``a+b``, or ``first..last`` of more than three.
    processors : tuple of str
        In execution order.
    inputs : tuple of DataRef
        What earlier tasks must deliver.
    outputs : tuple of DataRef
        What later tasks need or the sink keeps; all else is freed as soon as it is used.
    resources : tuple of (str, float)
        Dask resources, the same for all its processors; ``dict(task.resources)``.
    cost_ms : float
        Sum of the declared costs [ms].
    is_beside : bool
        For the eye only (`shown_tasks`): it is no task, but a process of its own beside the graphs of timeframes.
    """

    name: str
    processors: tuple[str, ...]
    inputs: tuple[DataRef, ...]
    outputs: tuple[DataRef, ...]
    resources: tuple[tuple[str, float], ...] = ()
    cost_ms: float = 0.0
    is_beside: bool = False

    def __str__(self) -> str:
        needs = "".join(f" {k}={v:g}" for k, v in self.resources)
        ins, outs = " ".join(map(str, self.inputs)), " ".join(map(str, self.outputs))
        return f"{'+'.join(self.processors)} ({self.cost_ms:g} ms{needs}): {ins or '(timeframe)'} -> {outs or '(end)'}"


def plan(topology: Topology, kept: Sequence[str] = (), min_ms: float = MIN_TASK_MS) -> tuple[PhysicalTask, ...]:
    """Return the physical tasks of one timeframe, producers before consumers.

    Each processor is in exactly one task; all processors of a task need the same resources; tasks form no loop. A task
    under `min_ms` is left only where no other can take it.

    Parameters
    ----------
    topology : Topology
        What to run.
    kept : sequence of str
        Patterns of the data that leave through the sink, such as ``AOD/*``.
    min_ms : float
        Shortest task [ms]; 0 keeps every processor alone.

    Raises
    ------
    WorkflowError
        If `kept` is not empty and nothing matches it: the run would write nothing.
    """
    leaving = set(topology.select(kept))
    if kept and not leaving:
        made = listed(o.ref for o in topology.outputs())
        raise WorkflowError(
            f"workflow {topology.name!r} makes nothing of what is to be written ({', '.join(kept)}); it makes {made}. "
            "Choose another workflow or another output"
        )
    names, rank = topology.names, {p.name: i for i, p in enumerate(topology.processors)}
    groups = fuse(
        [p.cost_ms for p in topology.processors],
        [_resources(p.resources) for p in topology.processors],
        {(rank[r.producer], rank[r.consumer]) for r in topology.routes},
        min_ms,
    )
    into, out_of = defaultdict(list), defaultdict(list)
    for route in topology.routes:
        into[route.consumer].append(route)
        out_of[route.producer].append(route)
    return tuple(_task(topology, tuple(names[i] for i in members), leaving, into, out_of) for members in groups)


def shown_tasks(topology: Topology, kept: Sequence[str] = ()) -> tuple[PhysicalTask, ...]:
    """Return the plan as people should see it: what sees timeframes in order, or when it has time, is set apart.

    Runners keep those (policy ``ordered``, label ``asynchronous``) in processes of their own beside the graph.
    """
    apart = [p for p in topology.processors if p.policy is CompletionPolicy.ORDERED or "asynchronous" in p.labels]
    if not apart or len(apart) == len(topology.processors):
        return plan(topology, kept)
    names = {p.name for p in apart}
    graph = replace(
        topology,
        processors=tuple(p for p in topology.processors if p.name not in names),
        routes=tuple(r for r in topology.routes if not names & {r.consumer, r.producer}),
        feedback=tuple(r for r in topology.feedback if not names & {r.consumer, r.producer}),
    )
    beside = (
        PhysicalTask(
            name=p.name,
            processors=(p.name,),
            inputs=tuple(dict.fromkeys(r.ref for r in topology.routes if r.consumer == p.name)),
            outputs=tuple(o.ref for o in p.outputs),
            cost_ms=p.cost_ms,
            is_beside=True,
        )
        for p in apart
    )
    return (*plan(graph, kept if graph.select(kept) else ()), *beside)


def _resources(resources: Any) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((str(k), float(v)) for k, v in resources.items() if v))  # an amount of 0 asks for nothing


def _task(
    topology: Topology,
    members: tuple[str, ...],
    leaving: set[DataRef],
    into: Mapping[str, Sequence[Route]],
    out_of: Mapping[str, Sequence[Route]],
) -> PhysicalTask:
    """Return the task of these processors; `into` and `out_of` are the routes of each processor."""
    inside = set(members)
    inputs = {r.ref: None for name in members for r in into.get(name, ()) if r.producer not in inside}
    passed = {r.ref for name in members for r in out_of.get(name, ()) if r.consumer not in inside}
    made = [o.ref for name in members for o in topology[name].outputs]
    name = "+".join(members) if len(members) <= 3 else f"{members[0]}..{members[-1]}"
    return PhysicalTask(
        name=name,
        processors=members,
        inputs=tuple(inputs),
        outputs=tuple(ref for ref in made if ref in passed or ref in leaving),
        resources=_resources(topology[members[0]].resources),
        cost_ms=sum(topology[n].cost_ms for n in members),
    )
