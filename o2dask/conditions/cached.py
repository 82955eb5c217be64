"""A store with a memory: an object is asked for once per worker and interval, not once per timeframe."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from o2dask.conditions.model import Condition, ConditionHeader, ConditionStore, Limits
from o2dask.errors import ConfigError

__all__ = ["CacheCounters", "CachedStore"]


@dataclass(slots=True)
class CacheCounters:
    """How often the cache had the answer, had not, and let an object go for want of room."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0


class CachedStore:
    """`store`, asked only for times at which no object at hand `holds` (see `Condition`). Threads may share it.

    What another process puts meanwhile is not seen inside those intervals: a run sees the conditions of its beginning.
    Set ``created_not_after`` to have that on every worker alike.

    Parameters
    ----------
    store : ConditionStore
        Who is asked.
    max_bytes : int
        Most that is kept, encoded [bytes]; those used longest ago go first. Too low, and objects are fetched again and
        again; the last one is always kept.
    """

    def __init__(self, store: ConditionStore, max_bytes: int = 256 << 20) -> None:
        if max_bytes < 0:
            raise ConfigError(f"cache of conditions: want max_bytes of 0 or more, got {max_bytes}")
        self.store, self.max_bytes = store, max_bytes
        self.counters = CacheCounters()
        self._kept: OrderedDict[tuple[str, Limits, int, int], Condition] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedStore, (self.store, self.max_bytes)

    @property
    def url(self) -> str:
        """That of the store."""
        return self.store.url

    @property
    def n_bytes(self) -> int:
        """What is kept now, encoded [bytes]."""
        return self._n_bytes

    def get(
        self,
        path: str,
        timestamp: int,
        *,
        created_not_after: int | None = None,
        created_not_before: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Condition:
        """Return the object of `path` that wins at `timestamp` [ms], from memory where that is certain."""
        limits = Limits.of(created_not_after, created_not_before, metadata)
        with self._lock:  # also while the store is asked: threads that want the same wait for one answer
            for key, condition in self._kept.items():
                if key[:2] == (path, limits) and key[2] <= timestamp < key[3]:
                    self._kept.move_to_end(key)
                    self.counters.hits += 1
                    return condition
            self.counters.misses += 1
            condition = self.store.get(
                path,
                timestamp,
                created_not_after=created_not_after,
                created_not_before=created_not_before,
                metadata=metadata,
            )
            self._keep((path, limits, *condition.holds), condition)
            return condition

    def list(self, pattern: str = "*") -> tuple[ConditionHeader, ...]:
        """Return what the store lists."""
        return self.store.list(pattern)

    def _keep(self, key: tuple[str, Limits, int, int], condition: Condition) -> None:
        for other in [k for k in self._kept if k[:2] == key[:2] and k[2] < key[3] and k[3] > key[2]]:
            self._drop(other)  # answers for one moment that overlap: the newer one counts
        self._kept[key] = condition
        self._n_bytes += len(condition.payload)
        while self._n_bytes > self.max_bytes and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))
            self.counters.evictions += 1

    def _drop(self, key: tuple[str, Limits, int, int]) -> None:
        self._n_bytes -= len(self._kept.pop(key).payload)
