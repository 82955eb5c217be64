"""The registered workflows, found by name through the entry points of `o2dask.workflows`."""

from o2dask.specs import WorkflowSpec

__all__ = ["async_workflow"]


def async_workflow() -> WorkflowSpec:
    """Return the asynchronous reconstruction: from a compressed timeframe to its AOD tables."""
    return WorkflowSpec("async", ())
