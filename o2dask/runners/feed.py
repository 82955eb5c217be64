"""Where a run's timeframes come from: a list in batch, a queue in a stream. Knows timeframes only; no Dask.

The driver takes what is ready, and settles what is committed or set aside. What it took and never settled is taken
again by whoever goes on, so a feed has to give it again; that the effect is still exactly once is the sink's and the
ledger's business.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from o2dask.timeframe import TimeframeRef

__all__ = ["Feed", "ListFeed"]


@runtime_checkable
class Feed(Protocol):
    """Gives timeframes in the order of their priority; used by one thread."""

    @property
    def is_over(self) -> bool:
        """Whether no timeframe will come any more and all that came are settled."""
        ...

    @property
    def failure(self) -> str:
        """Why none will come though the feed is not over, in one line; "" while all is well."""
        ...

    def take(self, limit: int) -> Sequence[TimeframeRef]:
        """Return up to `limit` timeframes that are ready now, without waiting for others."""
        ...

    def settle(self, refs: Sequence[TimeframeRef]) -> None:
        """Note that these are committed or set aside, so that they need not be given again and their bytes may go."""
        ...

    def stop(self) -> None:
        """Take in nothing new, because a stop was asked for; may be called again.

        A list drops what was not taken: it is all there for another run. A stream stops its source and goes on to give
        what is on its way.
        """
        ...

    def status(self) -> Mapping[str, int]:
        """Return what there is to count, for the live view."""
        ...


class ListFeed:
    """Timeframes that are all known before the run.

    >>> from o2dask.timeframe import enumerated
    >>> feed = ListFeed(enumerated(3))
    >>> len(feed.take(2)), len(feed.take(2)), feed.is_over
    (2, 1, False)
    """

    def __init__(self, refs: Iterable[TimeframeRef]) -> None:
        self._refs = deque(refs)
        self._out = 0
        self.failure = ""
        self.n_dropped = 0

    @property
    def is_over(self) -> bool:
        """Whether all were taken and settled."""
        return not self._refs and not self._out

    def take(self, limit: int) -> Sequence[TimeframeRef]:
        """Return the next timeframes."""
        taken = [self._refs.popleft() for _ in range(min(limit, len(self._refs)))]
        self._out += len(taken)
        return taken

    def settle(self, refs: Sequence[TimeframeRef]) -> None:
        """Count them."""
        self._out -= len(refs)

    def stop(self) -> None:
        """Drop what was not taken."""
        self.n_dropped += len(self._refs)
        self._refs.clear()

    def status(self) -> Mapping[str, int]:
        """Return how many wait and how many are out."""
        return {"waiting": len(self._refs), "out": self._out}
