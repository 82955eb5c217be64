"""ALICE O2's computing model on Dask: compressed timeframes in, AOD tables out, `track.pt()` at the end.

Importing this package is cheap: numba, dask and uproot are imported by what uses them.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "AlgorithmSpec": "o2dask.specs",
    "Columns": "o2dask.columns",
    "CompletionOp": "o2dask.specs",
    "CompletionPolicy": "o2dask.specs",
    "ConfigContext": "o2dask.options",
    "ConfigParamSpec": "o2dask.options",
    "DataProcessorSpec": "o2dask.specs",
    "DataRef": "o2dask.specs",
    "DispatchPolicy": "o2dask.specs",
    "ErrorPolicy": "o2dask.specs",
    "FatalError": "o2dask.errors",
    "InputSpec": "o2dask.specs",
    "LabeledArray": "o2dask.options",
    "Option": "o2dask.options",
    "OptionGroup": "o2dask.options",
    "OutputSpec": "o2dask.specs",
    "ServiceSpec": "o2dask.services",
    "Task": "o2dask.specs",
    "TimeframeId": "o2dask.timeframe",
    "WorkflowSpec": "o2dask.specs",
    "connect": "o2dask.live",
    "customize": "o2dask.options",
    "forward": "o2dask.workflow.builders",
    "input_proxy": "o2dask.workflow.builders",
    "merge_inputs": "o2dask.workflow.builders",
    "open_aod": "o2dask.analysis",
    "output_proxy": "o2dask.workflow.builders",
    "parallel": "o2dask.workflow.builders",
    "register_service": "o2dask.services",
    "service": "o2dask.services",
    "time_pipeline": "o2dask.workflow.builders",
}
_ANALYSIS = (
    *("AnalysisTask", "Builds", "Configurable", "ConfigurableAxis", "ConfigurableGroup", "Filter", "Filtered", "Hist"),
    *("HistogramRegistry", "Join", "Output", "Partition", "Preslice"),
    *("ProcessSwitch", "Produces", "Service", "SmallGroups", "Spawns", "col", "declare_index_table", "declare_table"),
    *("dynamic_column", "extend_table", "overlay", "read_results", "run_tasks"),
)
_LAZY |= dict.fromkeys(_ANALYSIS, "o2dask.analysis")

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name[:1].isupper():  # a table of the data model: Tracks, TracksExtra, Collision
        return getattr(import_module("o2dask.analysis"), name)
    raise AttributeError(f"module 'o2dask' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
