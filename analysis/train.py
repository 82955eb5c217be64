"""The tasks of one pass over the data, in the order in which they can run.

Knows what tasks declare; reads nothing. A task runs after those that make the tables it reads.
"""

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from o2dask.analysis.declarations import TableSpec
from o2dask.analysis.task import AnalysisTask
from o2dask.errors import ConfigError, WorkflowError

__all__ = ["check_inputs", "in_order", "products"]

READY_MADE = "o2dask.analysis.tasks."
MAKERS = {
    "TracksDCA": "TrackPropagation",
    "TrackSelections": "TrackSelector",
    "CollisionSelections": "EventSelector",
    "Centralities": "Centrality",
    "TracksPidTpc": "PidTpc",
    "TracksPidTof": "PidTof",
    "V0Cores": "V0Builder",
}
"""Tasks of `READY_MADE` by the table that they make."""


def in_order(tasks: Iterable[AnalysisTask]) -> tuple[AnalysisTask, ...]:
    """Return the tasks so that every table is made before it is read, otherwise in the order given.

    Raises
    ------
    ConfigError
        If there is no task, or something that is none.
    WorkflowError
        If two tasks have one name, two make one table, or tasks wait for each other; names them.
    """
    listed = list(tasks)
    if not listed:
        raise ConfigError("run: want at least one task")
    for task in listed:
        if not isinstance(task, AnalysisTask):
            hint = f"; write {task.__name__}()" if isinstance(task, type) else ""
            raise ConfigError(f"run: want instances of o2.AnalysisTask, got {task!r}{hint}")
    by_name = {task.name: task for task in listed}
    if len(by_name) < len(listed):
        names = [task.name for task in listed]
        twice = next(name for name in names if names.count(name) > 1)
        raise WorkflowError(f"two tasks are called {twice!r}; give one another name: {twice}(name='...')")
    makers = _makers(listed)
    graph: dict[str, list[str]] = {task.name: [] for task in listed}
    for task in listed:
        before = {makers[tree].name for spec in task.inputs if (tree := _made_tree(spec, makers))} - {task.name}
        graph[task.name] = [name for name in by_name if name in before]
    try:
        sorter = TopologicalSorter(graph)
        sorter.prepare()
    except CycleError as error:
        ring = " -> ".join(reversed(error.args[1]))
        raise WorkflowError(f"tasks wait for each other's tables: {ring}; split one of them") from None
    return tuple(by_name[name] for name in _stable(graph))


def products(tasks: Sequence[AnalysisTask]) -> dict[str, str]:
    """Return the trees that tasks make, and the task that makes each."""
    return {tree: task.name for tree, task in _makers(tasks).items()}


def check_inputs(tasks: Sequence[AnalysisTask], stored: Iterable[str]) -> None:
    """Raise WorkflowError if a task reads a user's table that is neither made by a task nor stored, naming both."""
    makers, there = _makers(tasks), list(stored)
    for task in tasks:
        for spec in task.inputs:
            if spec.names[0] in _model_names() or _made_tree(spec, makers):
                continue
            if not any(_holds(spec, tree) for tree in there):
                ready = f", {READY_MADE}{MAKERS[spec.names[0]]}" if spec.names[0] in MAKERS else ""
                raise WorkflowError(
                    f"task {task.name!r} reads {spec}, which no task of this run makes and the AOD does not store; "
                    f"add the task that Produces it{ready}"
                )


def _makers(tasks: Iterable[AnalysisTask]) -> dict[str, AnalysisTask]:
    makers: dict[str, AnalysisTask] = {}
    for task in tasks:
        for maker in task.makers.values():
            tree = _tree_of(maker.spec)
            if tree in makers:
                raise WorkflowError(
                    f"table {maker.spec} is made by {makers[tree].name!r} and by {task.name!r}; want one"
                )
            makers[tree] = task
    return makers


def _tree_of(spec: TableSpec) -> str:
    """Return the tree that a produced table is stored as; a table of the model has the newest version."""
    if spec.schema is not None:
        return spec.tree
    from o2dask.analysis.producing import schema_for

    version = schema_for(spec, "Produces").version
    return spec.tree + (f"_{version:03d}" if version else "")


def _made_tree(spec: TableSpec, makers: Iterable[str]) -> str:
    return next((tree for tree in makers if _holds(spec, tree)), "")


def _holds(spec: TableSpec, tree: str) -> bool:
    from o2dask.analysis import naming

    (stems,), (version,) = spec.stems, spec.versions
    return naming.stem(tree) in stems and version in (None, naming.version(tree))


def _model_names() -> frozenset[str]:
    from o2dask.analysis.declarations import table_names

    return frozenset(table_names())


def _stable(graph: dict[str, list[str]]) -> list[str]:
    """Return a topological order that keeps the given one wherever it can."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name not in ordered:
            for before in graph[name]:
                visit(before)
            ordered.append(name)

    for name in graph:
        visit(name)
    return ordered
