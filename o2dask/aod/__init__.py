"""AOD at rest: the data model, its Parquet and ROOT files, and the sink that commits them.

Knows tables and files. Knows no physics: accessors are in `o2dask.analysis`, the producer in `o2dask.reco.aod`.
"""

from importlib import import_module
from typing import Any

_LAZY = {
    "AodSink": "o2dask.aod.sink",
    "TableModel": "o2dask.aod.model",
    "aod_info": "o2dask.aod.summary",
    "convert": "o2dask.aod.conversion",
    "open_dataframes": "o2dask.aod.reader",
    "table_for": "o2dask.aod.model",
    "tables": "o2dask.aod.model",
    "truncate": "o2dask.aod.model",
}

__all__ = ["AodSink", "TableModel", "aod_info", "convert", "open_dataframes", "table_for", "tables", "truncate"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'o2dask.aod' has no attribute {name!r}")
