"""Conditions: objects with a path, an interval of validity and a creation time, of which the latest created wins.

CCDB's model (`model`), kept in a folder (`LocalStore`), on a CCDB server (`CcdbStore`) or in one file (`snapshot`),
cached per worker (`CachedStore`), and given to inputs with ``lifetime=condition`` (`ConditionFetcher`).
"""

from o2dask.conditions.cached import CachedStore
from o2dask.conditions.ccdb import CcdbStore
from o2dask.conditions.errors import ConditionError, ConditionNotFoundError, ConditionServerError
from o2dask.conditions.fetcher import ConditionFetcher
from o2dask.conditions.http import Http
from o2dask.conditions.local import LocalStore
from o2dask.conditions.model import FOREVER_MS, Condition, ConditionHeader, ConditionStore, WritableStore
from o2dask.conditions.opening import open_store
from o2dask.conditions.runinfo import RunInfo, load_run_info, put_run_info
from o2dask.conditions.snapshot import SnapshotStore, snapshot

__all__ = [
    "FOREVER_MS",
    "CachedStore",
    "CcdbStore",
    "Condition",
    "ConditionError",
    "ConditionFetcher",
    "ConditionHeader",
    "ConditionNotFoundError",
    "ConditionServerError",
    "ConditionStore",
    "Http",
    "LocalStore",
    "RunInfo",
    "SnapshotStore",
    "WritableStore",
    "load_run_info",
    "open_store",
    "put_run_info",
    "snapshot",
]
