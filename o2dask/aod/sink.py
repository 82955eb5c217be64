"""The sink of AOD tables: every timeframe becomes a dataframe of Parquet files, committed as a whole and once.

Knows timeframes, addresses and the settings of a run; how bytes reach the storage is in `store`.
"""

import json
import logging
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from o2dask import __version__
from o2dask.aod.model import tree_name
from o2dask.aod.relations import check_relations
from o2dask.aod.store import (
    ASIDE,
    CONFIG,
    DF_NAME,
    Manifest,
    Store,
    commit_dataframe,
    folder_name,
    reason_of,
    write_small,
)
from o2dask.columns import Columns
from o2dask.errors import ConfigError
from o2dask.sink import Receipt
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeRef

__all__ = ["AodSink"]

log = logging.getLogger(__name__)

_STALE_S = 3600.0


class AodSink:
    """Writes ``<out>/DF_<number>/<tree>.parquet`` for each timeframe; see `o2dask.sink` for the laws it keeps.

    Parameters
    ----------
    out : str or path
        Folder, local or behind an fsspec URL; made if it is not there.
    config : mapping, optional
        What the results depend on (workflow, options), as JSON values. A folder holds results of one configuration.
    metadata : mapping of str to str, optional
        Entries of AO2D.root's metaData that the user knows better (RecoPassName, AnchorProduction, ...).
    """

    patterns: tuple[str, ...] = ("AOD/*",)

    def __init__(
        self,
        out: "str | os.PathLike[str]",
        config: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.out = os.fspath(out)
        try:
            self.config: dict[str, Any] = json.loads(json.dumps(dict(config or {})))
        except TypeError as error:
            raise ConfigError(f"configuration of {self.out}: want JSON values: {error}") from None
        self.metadata = {str(key): str(value) for key, value in (metadata or {}).items()}

    def __repr__(self) -> str:
        return f"AodSink({self.out!r})"

    def prepare(self) -> None:
        """Make the folder and note the configuration in it; remove what killed workers left aside.

        Raises
        ------
        ConfigError
            If it cannot be made, or already holds results of another configuration; says which setting differs.
        """
        store = self._store()
        if store.is_local and Path(store.path).exists() and not Path(store.path).is_dir():
            raise ConfigError(f"{self.out}: is a file; want a folder for the AOD: give another --out")
        names = store.names()
        if CONFIG in names:
            self._check_same(_config(store))
            self._clear()
            return
        if any(DF_NAME.match(name) for name in names):
            raise ConfigError(f"{self.out}: holds dataframes but no {CONFIG}, so they are not ours: give another --out")
        try:
            store.fs.makedirs(store.path, exist_ok=True)
            write_small(store, CONFIG, self._content())
        except OSError as error:
            raise ConfigError(f"{self.out}: cannot be made: {reason_of(error)}; give another --out") from error

    def commit(self, ref: TimeframeRef, outputs: Mapping[DataRef, Columns]) -> Receipt:
        """Write the AOD tables of a timeframe, atomically; a timeframe that is there already is left as it is.

        Raises
        ------
        DataError
            If the tables break a relation of the data model, naming table and column.
        CommitError
            If the storage refuses (disk full, permission).
        """
        store = self._store()
        number = ref.id.df_number
        if store.has(number):
            return _receipt(ref, store.manifest(number))
        kept = sorted(address for address in outputs if any(fnmatchcase(str(address), p) for p in self.patterns))
        dataframe = {tree_name(address): outputs[address] for address in kept}
        check_relations(dataframe)
        return _receipt(ref, commit_dataframe(store, number, dataframe, _identity(ref)))

    def is_committed(self, ref: TimeframeRef) -> bool:
        """Return whether the dataframe of a timeframe is wholly there."""
        return self._store().has(ref.id.df_number)

    def finalize(self, refs: Sequence[TimeframeRef]) -> None:
        """Remove what killed workers left aside."""
        self._clear()

    def _clear(self) -> None:
        """Remove copies of committed dataframes, and leftovers of an hour ago: others may be under way elsewhere."""
        store = self._store()
        if not store.is_local:
            return
        for name in store.names():
            match = ASIDE.match(name)
            path = Path(store.join(name))
            if match and (store.has(int(match[1])) or _age_s(path) > _STALE_S):
                log.info("%s: leftover of a worker that died, removed", path)
                shutil.rmtree(path, ignore_errors=True)

    def _store(self) -> Store:
        return Store(self.out)

    def _content(self) -> dict[str, Any]:
        versions = {"o2dask": __version__, "python": platform.python_version()}
        return {"format": 1, "config": self.config, "versions": versions, "metadata": self.metadata}

    def _check_same(self, there: Mapping[str, Any]) -> None:
        differing = _differences(there.get("config", {}), self.config)
        if differing:
            raise ConfigError(
                f"{self.out}: made with another configuration: {'; '.join(differing)}; "
                "give another --out or the same settings"
            )
        version = there.get("versions", {}).get("o2dask")
        if version != __version__:
            log.warning("%s: begun with o2dask %s, goes on with %s", self.out, version, __version__)


def _config(store: Store) -> dict[str, Any]:
    """Return what `prepare` noted in the folder; an unreadable note is an error of configuration."""
    path = store.join(CONFIG)
    try:
        content = json.loads(store.fs.cat_file(path))
    except ValueError as error:
        raise ConfigError(f"{path}: damaged ({error}); give another --out") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: want a JSON object, got {type(content).__name__}; give another --out")
    return content


def _identity(ref: TimeframeRef) -> dict[str, int]:
    tf = ref.id
    return {"run": tf.run, "tf_counter": tf.tf_counter, "first_orbit": tf.first_orbit, "n_orbits": tf.n_orbits}


def _receipt(ref: TimeframeRef, manifest: Manifest) -> Receipt:
    folder = folder_name(manifest.number)
    return Receipt(
        timeframe=ref.id,
        files=tuple(f"{folder}/{tree}.parquet" for tree in manifest.rows),
        n_bytes=sum(manifest.n_bytes.values()),
        rows=dict(manifest.rows),
    )


def _differences(there: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return every setting that differs, as ``options.tpc-tracker.min-clusters was 60, is 50``."""
    found = []
    for key in sorted({*there, *now}):
        old, new = there.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new or (key in there) != (key in now):
            was = json.dumps(old) if key in there else "not set"
            found.append(f"{prefix}{key} was {was}, is {json.dumps(new) if key in now else 'not set'}")
    return found


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
