"""What became of the timeframes of a run: all of it, or in an endless stream counts and the last of each kind.

Knows receipts and failures; no journal, no sink.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from o2dask.runners.report import Quarantined, Unlisted
from o2dask.sink import Receipt
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["N_LISTED", "N_REMEMBERED", "Tally"]

N_LISTED = 1000
"""Timeframes of each kind that a stream's report lists. Fewer, and a failure of an hour ago is a number only; more cost
1 kB each."""
N_REMEMBERED = 1 << 14
"""Settled timeframes that a stream recognises when they are delivered again. A queue delivers again what was in flight
when a lease ran out: as many as were, and that is far fewer."""


class Tally:
    """Keeps what is told of timeframes.

    Parameters
    ----------
    refs : sequence of TimeframeRef, optional
        All timeframes of the run, whose order the lists then have; None: a stream, of which the last ones are listed,
        in the order in which they were done.
    """

    def __init__(self, refs: Sequence[TimeframeRef] | None) -> None:
        self._refs = refs
        most = N_LISTED if refs is None else None
        self._receipts: deque[Receipt] = deque(maxlen=most)
        self._quarantined: deque[Quarantined] = deque(maxlen=most)
        self._already_done: deque[TimeframeRef] = deque(maxlen=most)
        self._settled: dict[TimeframeId, None] = {}
        self.n_committed = self.n_already_done = self.n_quarantined = 0
        self._n_skipped = self._n_files = self._n_bytes = 0

    def commit(self, receipt: Receipt) -> None:
        """Enter a timeframe as committed by this run."""
        self._receipts.append(receipt)
        self.n_committed += 1
        self._n_files += len(receipt.files)
        self._n_bytes += receipt.n_bytes
        self._settle(receipt.timeframe)

    def quarantine(self, failed: Quarantined) -> None:
        """Enter a timeframe as set aside."""
        self._quarantined.append(failed)
        self.n_quarantined += 1
        self._n_skipped += failed.is_skipped
        self._settle(failed.ref.id)

    def find_done(self, refs: Iterable[TimeframeRef]) -> None:
        """Enter timeframes as committed by an earlier run."""
        for ref in refs:
            self._already_done.append(ref)
            self.n_already_done += 1
            self._settle(ref.id)

    def is_settled(self, timeframe: TimeframeId) -> bool:
        """Return whether a timeframe was entered; a stream forgets long ago."""
        return timeframe in self._settled

    def committed(self) -> tuple[Receipt, ...]:
        """Return the receipts of this run."""
        if self._refs is None:
            return tuple(self._receipts)
        by_id = {receipt.timeframe: receipt for receipt in self._receipts}
        return tuple(by_id[ref.id] for ref in self._refs if ref.id in by_id)

    def quarantined(self) -> tuple[Quarantined, ...]:
        """Return what was set aside."""
        if self._refs is None:
            return tuple(self._quarantined)
        by_id = {failed.ref.id: failed for failed in self._quarantined}
        return tuple(by_id[ref.id] for ref in self._refs if ref.id in by_id)

    def already_done(self) -> tuple[TimeframeRef, ...]:
        """Return what was committed before."""
        return tuple(self._already_done)

    def unlisted(self) -> Unlisted:
        """Return how many there are beyond those listed."""
        return Unlisted(
            n_committed=self.n_committed - len(self._receipts),
            n_already_done=self.n_already_done - len(self._already_done),
            n_quarantined=self.n_quarantined - len(self._quarantined),
            n_skipped=self._n_skipped - sum(q.is_skipped for q in self._quarantined),
            n_files=self._n_files - sum(len(r.files) for r in self._receipts),
            n_bytes=self._n_bytes - sum(r.n_bytes for r in self._receipts),
        )

    def ids(self) -> Iterator[TimeframeId]:
        """Give the timeframes whose results are in the output, as far as they are known."""
        yield from (ref.id for ref in self._already_done)
        yield from (receipt.timeframe for receipt in self._receipts)

    def _settle(self, timeframe: TimeframeId) -> None:
        self._settled[timeframe] = None
        if self._refs is None and len(self._settled) > N_REMEMBERED:
            del self._settled[next(iter(self._settled))]
