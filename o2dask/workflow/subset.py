"""A part of a workflow: what some data or processors need, or all but some processors. Knows specs only."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from o2dask.errors import WorkflowError
from o2dask.specs import CompletionPolicy, DataProcessorSpec, Lifetime, WorkflowSpec
from o2dask.workflow.matching import Outlets
from o2dask.workflow.names import did_you_mean, listed

__all__ = ["sub_workflow"]


def sub_workflow(
    workflow: WorkflowSpec, *, only: Sequence[str] = (), until: Sequence[str] = (), skip: Sequence[str] = ()
) -> WorkflowSpec:
    """Return the part of a workflow that is asked for; its ends may dangle where those of the whole did.

    Parameters
    ----------
    workflow : WorkflowSpec
        The whole.
    only : sequence of str
        Data, as patterns (``TPC/TRACKS``, ``AOD/*``): only what is needed to make them.
    until : sequence of str
        Processors, as patterns: these, and what they need.
    skip : sequence of str
        Processors, as patterns: all but these, and but those that cannot do without them.

    Raises
    ------
    WorkflowError
        If a pattern matches nothing, or nothing is left.
    """
    kept = {p.name: p for p in workflow.processors}
    if only or until:
        goals = _makers(workflow, only) | _named(workflow, until)
        kept = {name: kept[name] for name in _with_producers(workflow, goals)}
    lost = _with_dependents(workflow, _named(workflow, skip))
    left = tuple(p for p in workflow.processors if p.name in kept and p.name not in lost)
    if not left:
        raise WorkflowError(f"workflow {workflow.name!r}: nothing is left of it without {listed(sorted(lost))}")
    return replace(workflow, processors=left)


def _named(workflow: WorkflowSpec, patterns: Sequence[str]) -> set[str]:
    names = [p.name for p in workflow.processors]
    return {name for pattern in patterns for name in _some(workflow, pattern, names, "processor")}


def _makers(workflow: WorkflowSpec, patterns: Sequence[str]) -> set[str]:
    makers = {str(o.ref): p.name for p in workflow.processors for o in p.outputs}
    found = set()
    for pattern in patterns:
        full = pattern if pattern.count("/") != 1 else f"{pattern}/*"
        found |= {makers[ref] for ref in _some(workflow, full, list(makers), "datum")}
    return found


def _some(workflow: WorkflowSpec, pattern: str, names: list[str], kind: str) -> list[str]:
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        hint = did_you_mean(pattern, names) or f"; it has {listed(names)}"
        raise WorkflowError(f"workflow {workflow.name!r} has no {kind} {pattern!r}{hint}")
    return found


def _with_producers(workflow: WorkflowSpec, goals: Iterable[str]) -> set[str]:
    outlets = Outlets(workflow.name, workflow.processors)
    by_name = {p.name: p for p in workflow.processors}
    found: set[str] = set()
    todo = list(goals)
    while todo:
        if (name := todo.pop()) not in found:
            found.add(name)
            consumer = by_name[name]
            todo += [p.name for wanted in consumer.inputs for p, _ in outlets.of(wanted, consumer)]
    return found


def _with_dependents(workflow: WorkflowSpec, lost: set[str]) -> set[str]:
    outlets = Outlets(workflow.name, workflow.processors)
    lost = set(lost)
    while more := {p.name for p in workflow.processors if p.name not in lost and _lacks(p, outlets, lost)}:
        lost |= more
    return lost


def _lacks(consumer: DataProcessorSpec, outlets: Outlets, lost: set[str]) -> bool:
    """Return whether it had inputs, and too few are left of them."""
    before = {i.binding: [p.name for p, _ in outlets.of(i, consumer)] for i in consumer.inputs}
    gone = {binding for binding, makers in before.items() if makers and set(makers) <= lost}
    if consumer.policy in (CompletionPolicy.ALL, CompletionPolicy.ORDERED):
        return any(i.binding in gone and i.lifetime is not Lifetime.OPTIONAL for i in consumer.inputs)
    return bool(gone) and len(gone) == len([b for b, makers in before.items() if makers])
