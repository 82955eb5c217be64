"""ALICE O2's computing model on Dask: compressed timeframes in, AOD tables out, `track.pt()` at the end.

Importing this package is cheap: numba, dask and uproot are imported by what uses them.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "Columns": "o2dask.columns",
    "DataProcessorSpec": "o2dask.specs",
    "InputSpec": "o2dask.specs",
    "Option": "o2dask.specs",
    "OutputSpec": "o2dask.specs",
    "Task": "o2dask.specs",
    "WorkflowSpec": "o2dask.specs",
    "open_aod": "o2dask.analysis",
}
_ANALYSIS = (
    *("AnalysisTask", "Builds", "Configurable", "Filter", "Filtered", "Hist", "Join", "Output", "Preslice"),
    *("ProcessSwitch", "Produces", "Service", "Spawns", "col", "declare_index_table", "declare_table"),
    *("extend_table", "read_results", "run_tasks"),
)
_LAZY |= dict.fromkeys(_ANALYSIS, "o2dask.analysis")

__all__ = ["Columns", "DataProcessorSpec", "InputSpec", "Option", "OutputSpec", "Task", "WorkflowSpec", "open_aod"]
__all__ += _ANALYSIS


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name[:1].isupper():  # a table of the data model: Tracks, TracksExtra, Collision
        return getattr(import_module("o2dask.analysis"), name)
    raise AttributeError(f"module 'o2dask' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
