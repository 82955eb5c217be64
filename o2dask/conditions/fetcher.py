"""Conditions for processors: which object an input means, at which time, kept on the worker.

What a `Topology` carries to workers. Knows stores and runs; no graph, no runner.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from o2dask.conditions.cached import CachedStore
from o2dask.conditions.errors import ConditionNotFoundError
from o2dask.conditions.model import Condition, ConditionStore, Limits, check_path
from o2dask.conditions.opening import open_store
from o2dask.conditions.runinfo import RunInfo, run_info_or_simulated
from o2dask.conditions.snapshot import SnapshotStore
from o2dask.errors import ConfigError
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId

if TYPE_CHECKING:
    from o2dask.context import WorkerState

__all__ = ["ConditionFetcher"]


@dataclass(frozen=True, slots=True)
class ConditionFetcher:
    """Answers inputs with ``lifetime=condition``.

    Attributes
    ----------
    store : ConditionStore
        Where the objects are; must be readable from every worker.
    mapping : mapping of DataRef to str
        Path of a datum, where neither the input's own ``path=`` nor ``ORIGIN/DESCRIPTION`` is meant.
    created_not_after : int, optional
        Ignore objects created later [ms]: the same job next month sees the same conditions.
    run_info : RunInfo, optional
        The clock of the run; default: what the store knows of it, else `RunInfo.simulated`.
    decoders : mapping of str to callable
        Path to ``decode(condition)``, for contents that are not Arrow, JSON or npz, such as ROOT objects. Must be
        importable on workers.
    max_bytes : int
        Most that a worker keeps [bytes].
    """

    store: ConditionStore
    mapping: Mapping[DataRef, str] = field(default_factory=dict, hash=False)
    created_not_after: int | None = None
    run_info: RunInfo | None = None
    decoders: Mapping[str, Callable[[Condition], Any]] = field(default_factory=dict, hash=False)
    max_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        Limits.of(self.created_not_after, None, None)
        for path in (*self.mapping.values(), *self.decoders):
            check_path(path)

    def path_of(self, ref: DataRef, path: str = "") -> str:
        """Return where the object that an input means is in the store; `path` is what the input itself says."""
        return path or self.mapping.get(ref) or f"{ref.origin}/{ref.description}"

    def fetch(
        self,
        ref: DataRef,
        timeframe: TimeframeId,
        state: "WorkerState",
        *,
        path: str = "",
        decoder: Callable[[Condition], Any] | None = None,
    ) -> Any:
        """Return the content of the object that an input means for a timeframe.

        Contents are kept on the worker and shared: arrays are read-only, JSON is given to each caller anew. `decoder`
        is the input's own, for a ROOT object.

        Raises
        ------
        ConditionNotFoundError
            If none is valid then.
        ConditionError, ConditionServerError
            If it cannot be had.
        """
        condition = self.condition(ref, timeframe, state, path=path)
        decode = self.decoders.get(condition.header.path) or (decoder if condition.payload[:4] == b"root" else None)
        if decode is None:
            return condition.content
        decoded: dict[str, tuple[str, Any]] = state.get(("decoded conditions", self.identity), dict)
        etag, path = condition.header.etag, condition.header.path
        if decoded.get(path, ("", None))[0] != etag:  # one for each path: the one before is not needed again
            decoded[path] = (etag, decode(condition))
        return decoded[path][1]

    def condition(self, ref: DataRef, timeframe: TimeframeId, state: "WorkerState", *, path: str = "") -> Condition:
        """Return the object with its header, as `fetch` finds it."""
        cache = self.cache(state)
        run = timeframe.run
        info = self.run_info or state.get(
            ("run information", self.identity, run), lambda: run_info_or_simulated(cache, run, self.created_not_after)
        )
        timestamp = info.timestamp(timeframe)
        try:
            return cache.get(self.path_of(ref, path), timestamp, created_not_after=self.created_not_after)
        except ConditionNotFoundError as error:
            raise ConditionNotFoundError(f"condition {ref} of {timeframe}: {error}") from None

    def cache(self, state: "WorkerState") -> CachedStore:
        """Return the worker's cache, with its counters."""
        return state.get(("conditions", self.identity), lambda: CachedStore(self.store, self.max_bytes))

    @property
    def identity(self) -> str:
        """What decides which objects are found, for fingerprints; a snapshot is known by its contents."""
        store = f"snapshot {self.store.digest}" if isinstance(self.store, SnapshotStore) else self.store.url
        paths = sorted((str(ref), path) for ref, path in self.mapping.items())
        run = self.run_info.to_json() if self.run_info else None
        decoders = sorted((path, f"{d.__module__}:{d.__qualname__}") for path, d in self.decoders.items())
        told = json.dumps([store, paths, self.created_not_after, run, decoders])
        return hashlib.sha256(told.encode()).hexdigest()[:24]

    def to_json(self) -> dict[str, Any]:
        """Return the fetcher for JSON: the store by its URL."""
        if self.decoders:
            raise ConfigError(
                f"conditions: decoders of {', '.join(self.decoders)} are functions, which JSON cannot hold"
            )
        return {
            "store": self.store.url,
            "paths": {str(ref): path for ref, path in self.mapping.items()},
            "created_not_after": self.created_not_after,
            "run_info": self.run_info.to_json() if self.run_info else None,
        }

    @classmethod
    def from_json(cls, described: Mapping[str, Any]) -> "ConditionFetcher":
        """Return the fetcher that `to_json` gave."""
        run = described.get("run_info")
        return cls(
            open_store(described["store"]),
            {DataRef.parse(ref): path for ref, path in (described.get("paths") or {}).items()},
            described.get("created_not_after"),
            RunInfo.from_json(run) if run else None,
        )
