"""Declarations become a checked graph: compiled, planned into physical tasks, run one task at a time, drawn."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from o2dask.workflow.compiler import compile_workflow
    from o2dask.workflow.execute import TaskResult, run_task
    from o2dask.workflow.loading import list_workflows, load_workflow
    from o2dask.workflow.planner import PhysicalTask, plan
    from o2dask.workflow.topology import Route, Topology
    from o2dask.workflow.views import show

# Looked up when first used: the command line needs `workflow.names` alone, and numpy takes 0.1 s.
_LAZY = {
    "PhysicalTask": "o2dask.workflow.planner",
    "Route": "o2dask.workflow.topology",
    "TaskResult": "o2dask.workflow.execute",
    "Topology": "o2dask.workflow.topology",
    "compile_workflow": "o2dask.workflow.compiler",
    "list_workflows": "o2dask.workflow.loading",
    "load_workflow": "o2dask.workflow.loading",
    "plan": "o2dask.workflow.planner",
    "run_task": "o2dask.workflow.execute",
    "show": "o2dask.workflow.views",
}

__all__ = [
    "PhysicalTask",
    "Route",
    "TaskResult",
    "Topology",
    "compile_workflow",
    "list_workflows",
    "load_workflow",
    "plan",
    "run_task",
    "show",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'o2dask.workflow' has no attribute {name!r}")
    # Kept, so that it is looked up once.
    found = globals()[name] = getattr(import_module(_LAZY[name]), name)
    return found
