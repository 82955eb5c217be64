"""Dask workers for a run: where they come from, what is submitted to them, what comes back.

Knows Dask and futures; knows no task and no dataframe.
"""

import itertools
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from o2dask.errors import ConfigError, ProcessorError

__all__ = ["Workers", "is_death", "open_workers"]

ALLOWED_RETRIES = 3
"""How often results that were lost with a worker are made again."""


def is_death(error: Any) -> bool:
    """Return whether an error says that workers died on a task."""
    return type(error).__name__ == "KilledWorker"


class Workers:
    """Dask workers and what is expected of them."""

    def __init__(self, client: Any, n: int, supervise: Callable[[], str]) -> None:
        import distributed

        as_completed: Any = distributed.as_completed
        self.client, self.n, self._supervise = client, n, supervise
        self._session, self._count = uuid.uuid4().hex[:8], itertools.count()
        self._completed = as_completed(loop=client.loop, raise_errors=False)

    def submit(self, function: Callable[..., Any], *arguments: Any, priority: int) -> Any:
        """Return the future of a function's result."""
        key = f"{function.__name__.strip('_')}-{self._session}-{next(self._count)}"
        return self.client.submit(function, *arguments, key=key, priority=priority)

    def gather(self, parts: list[Any]) -> list[Any]:
        """Return results; those that went down with a worker that died of something else are made again."""
        for _ in range(ALLOWED_RETRIES):
            futures = [part for part in parts if hasattr(part, "key")]
            self._wait(futures)
            if not (killed := [f for f in futures if f.status == "error" and is_death(f.exception())]):
                break
            self.client.retry(killed)
        found: list[Any] = self.client.gather(parts)
        return found

    def _wait(self, futures: list[Any]) -> None:
        while any(future.status == "pending" for future in futures):
            self.check()
            time.sleep(0.01)

    def expect(self, future: Any) -> None:
        """Ask to be told when a future is done."""
        self._completed.add(future)

    def finished(self) -> list[Any]:
        """Return futures that are done, after a little while if none is."""
        done = list(self._completed.next_batch(block=False))
        if not done:
            time.sleep(0.01)
        return done

    def check(self) -> None:
        """Raise if the run cannot go on."""
        if reason := self._supervise():
            raise ProcessorError(reason)
        if self.client.status != "running":
            raise ProcessorError("lost the Dask scheduler; start it again and run once more")


@contextmanager
def open_workers(scheduler: str | None, n: int | None) -> Iterator[Workers | None]:
    """Give the workers that are asked for, None for this process."""
    if scheduler == "inline":
        if n is not None:
            raise ConfigError("workers: not with scheduler='inline', which runs in this process; leave one out")
        yield None
        return
    client = _current_client() if scheduler is None and n is None else None
    if client is not None:
        yield Workers(client, max(1, sum(client.nthreads().values())), lambda: "")
        return
    if not scheduler and n is None:
        yield None
        return
    from o2dask.runners.cluster import open_backend
    from o2dask.runners.settings import BatchSettings

    settings = BatchSettings(workers=n, scheduler=scheduler or "")
    with open_backend(settings, frozenset()) as backend:
        yield Workers(backend.client, backend.n_workers, backend.supervise)


def _current_client() -> Any:
    if "distributed" not in sys.modules:
        return None
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        return None
