"""Analysis: an AOD under O2's names, ``o2.open_aod("aod/")[0].tracks.pt()``, columns read when first touched.

Imports `o2dask`, never `reco`: it works on any AOD, ours or O2's. Names are imported when asked for; those of O2's
tables (``Tracks``, ``Join[Tracks, TracksExtra]``, ``Collision``) are for the arguments of tasks.
"""

from importlib import import_module
from typing import Any

_LAZY = {
    "AnalysisTask": "o2dask.analysis.task",
    "Aod": "o2dask.analysis.aod",
    "Builds": "o2dask.analysis.producing",
    "Configurable": "o2dask.analysis.configuration",
    "ConfigurableAxis": "o2dask.analysis.configuration",
    "ConfigurableGroup": "o2dask.analysis.configuration",
    "Dataframe": "o2dask.analysis.frames",
    "Dataframes": "o2dask.analysis.dataframes",
    "Filter": "o2dask.analysis.task",
    "Filtered": "o2dask.analysis.declarations",
    "Hist": "hist",
    "HistogramRegistry": "o2dask.analysis.histograms",
    "Join": "o2dask.analysis.declarations",
    "Output": "o2dask.analysis.outputs",
    "Partition": "o2dask.analysis.task",
    "Preslice": "o2dask.analysis.slicing",
    "ProcessSwitch": "o2dask.analysis.configuration",
    "Produces": "o2dask.analysis.producing",
    "Result": "o2dask.analysis.result",
    "Row": "o2dask.analysis.table",
    "Service": "o2dask.analysis.task",
    "SmallGroups": "o2dask.analysis.declarations",
    "Spawns": "o2dask.analysis.producing",
    "Table": "o2dask.analysis.table",
    "col": "o2dask.analysis.expressions",
    "declare_index_table": "o2dask.analysis.declarations",
    "declare_table": "o2dask.analysis.declarations",
    "dynamic_column": "o2dask.analysis.dynamic",
    "extend_table": "o2dask.analysis.declarations",
    "overlay": "o2dask.analysis.overlays",
    "open_aod": "o2dask.analysis.aod",
    "read_results": "o2dask.analysis.results_file",
    "run_tasks": "o2dask.analysis.running",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name[:1].isupper():
        from o2dask.analysis.declarations import table_named

        return table_named(name)
    raise AttributeError(f"module 'o2dask.analysis' has no attribute {name!r}")


def __dir__() -> list[str]:
    from o2dask.analysis.declarations import table_names

    return sorted([*globals(), *_LAZY, *table_names()])
