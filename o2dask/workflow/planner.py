"""Which processors travel together: the logical topology grouped into a few physical tasks.

A task of 10 ms keeps a Dask worker busy 36-72 % of the time, one of 100 ms 94-98 %: so neighbours are fused until
nothing under 50 ms travels alone. Knows the topology only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from o2dask.errors import WorkflowError
from o2dask.specs import DataRef
from o2dask.workflow.names import listed
from o2dask.workflow.topology import Topology

__all__ = ["MIN_TASK_MS", "PhysicalTask", "plan"]

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
    """

    name: str
    processors: tuple[str, ...]
    inputs: tuple[DataRef, ...]
    outputs: tuple[DataRef, ...]
    resources: tuple[tuple[str, float], ...] = ()
    cost_ms: float = 0.0

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
    groups = _fuse(topology, min_ms)
    return tuple(_task(topology, members, leaving) for members in groups)


@dataclass(slots=True)
class _Group:
    """Processors under fusion, as bits; `feeds` and `fed_by` are the processors outside it next to it."""

    members: int
    cost_ms: float
    resources: tuple[tuple[str, float], ...]
    feeds: int = 0
    fed_by: int = 0


def _fuse(topology: Topology, min_ms: float) -> list[tuple[str, ...]]:
    names = topology.names
    bit = {name: 1 << i for i, name in enumerate(names)}
    groups = [_Group(bit[p.name], p.cost_ms, _resources(p.resources)) for p in topology.processors]
    by_name = dict(zip(names, groups, strict=True))
    for route in topology.routes:
        by_name[route.producer].feeds |= bit[route.consumer]
        by_name[route.consumer].fed_by |= bit[route.producer]
    owners = list(groups)  # of each processor, by its bit
    # Smallest first. One that finds no partner never will: what lies between it and the others needs other resources.
    stuck: list[_Group] = []
    while small := [g for g in groups if g.cost_ms < min_ms and not any(g is s for s in stuck)]:
        group = min(small, key=lambda g: (g.cost_ms, g.members & -g.members))
        partner = _partner(group, groups, owners)
        if partner is None:
            stuck.append(group)
            continue
        members = group.members | partner.members
        both = _Group(
            members,
            group.cost_ms + partner.cost_ms,
            group.resources,
            (group.feeds | partner.feeds) & ~members,
            (group.fed_by | partner.fed_by) & ~members,
        )
        groups = [g for g in groups if g is not group and g is not partner]
        groups.append(both)
        owners = [both if o is group or o is partner else o for o in owners]
    return [tuple(n for n in names if bit[n] & g.members) for g in _ordered(groups)]


def _partner(group: _Group, groups: list[_Group], owners: list[_Group]) -> _Group | None:
    """Return the cheapest neighbour that may join, else the cheapest other group that may, else None."""
    others = [g for g in groups if g is not group and g.resources == group.resources]
    near = [g for g in others if _touch(g, group)]
    for candidates in (near, others):
        candidates.sort(key=lambda g: (g.cost_ms, g.members & -g.members))
        found = next((g for g in candidates if not _detour(group, g, owners)), None)
        if found is not None:
            return found
    return None


def _touch(a: _Group, b: _Group) -> bool:
    return bool(a.feeds & b.members or b.feeds & a.members)


def _detour(a: _Group, b: _Group, owners: list[_Group]) -> bool:
    """Return whether a path from one to the other leads through a third group: fused, they would form a loop."""
    return _reaches(a, b, owners) or _reaches(b, a, owners)


def _reaches(start: _Group, goal: _Group, owners: list[_Group]) -> bool:
    seen = start.members | goal.members
    border = start.feeds & ~seen
    while border:
        group = owners[(border & -border).bit_length() - 1]
        if group.feeds & goal.members:
            return True
        seen |= group.members
        border = (border | group.feeds) & ~seen
    return False


def _ordered(groups: list[_Group]) -> list[_Group]:
    """Return the groups with producers first, otherwise by their first processor."""
    waiting = sorted(groups, key=lambda g: g.members & -g.members)
    done, ordered = 0, []
    while waiting:
        group = next(g for g in waiting if not g.fed_by & ~done)
        waiting.remove(group)
        ordered.append(group)
        done |= group.members
    return ordered


def _resources(resources: Any) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((str(k), float(v)) for k, v in resources.items() if v))  # an amount of 0 asks for nothing


def _task(topology: Topology, members: tuple[str, ...], leaving: set[DataRef]) -> PhysicalTask:
    inside = set(members)
    inputs = {r.ref: None for r in topology.routes if r.consumer in inside and r.producer not in inside}
    passed = {r.ref for r in topology.routes if r.producer in inside and r.consumer not in inside}
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
