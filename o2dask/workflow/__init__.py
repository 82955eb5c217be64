"""Declarations become a checked graph: compiled, planned into physical tasks, run one task at a time, drawn."""

from o2dask.workflow.compiler import compile_workflow
from o2dask.workflow.execute import TaskResult, run_task
from o2dask.workflow.loading import list_workflows, load_workflow
from o2dask.workflow.planner import PhysicalTask, plan
from o2dask.workflow.show import show
from o2dask.workflow.topology import Route, Topology

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
