"""Threads of a worker that its processors share, for work that releases the GIL."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from o2dask.services.registry import service

__all__ = ["ThreadPool"]

T = TypeVar("T")


@service
class ThreadPool:
    """As many threads as the worker may use: what its kernels use (NUMBA_NUM_THREADS), else one per core."""

    def __init__(self) -> None:
        self.n_threads = int(os.environ.get("NUMBA_NUM_THREADS", "0")) or os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(self.n_threads, thread_name_prefix="o2dask")

    def map(self, function: Callable[..., T], *items: Iterable[Any]) -> list[T]:
        """Return ``function`` of each item, in order."""
        return list(self._executor.map(function, *items))

    def submit(self, function: Callable[..., T], *args: Any) -> "Future[T]":
        """Start ``function(*args)`` and return its future; it has to end within the timeframe."""
        return self._executor.submit(function, *args)

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)
