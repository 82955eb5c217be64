"""The tasks that commit what waited for ordered processors: sent when these are done, tried again if a worker dies.

Knows Dask and the graph of such a commit; what it costs if it fails is the driver's to say.
"""

from dataclasses import dataclass
from typing import Any

from distributed import Client, Future, KilledWorker, as_completed

from o2dask.runners.graph import Committed, late_graph
from o2dask.runners.late import LateBook
from o2dask.runners.plugin import RunPlugin
from o2dask.runners.step import Account
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["Ended", "LateCommits"]


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a commit: done, with the account of the whole timeframe, or an error, or (neither) cancelled.

    `busy_s` is how long it kept a worker busy [s].
    """

    ref: TimeframeRef
    done: Committed | None = None
    error: Any = None
    busy_s: float = 0.0


class LateCommits:
    """Timeframes whose graphs are done and that are not yet committed.

    Parameters
    ----------
    client : Client
        Of the workers.
    completed : as_completed
        Is told of every task sent.
    run : RunPlugin
        What the workers run.
    book : LateBook
        Says which timeframes are ready.
    session : str
        Makes keys unique.
    """

    def __init__(self, client: Client, completed: as_completed, run: RunPlugin, book: LateBook, session: str) -> None:
        self._client, self._completed, self._run, self._book, self._session = client, completed, run, book, session
        self._accounts: dict[TimeframeId, Account] = {}
        self._sent: dict[str, tuple[TimeframeRef, Future[Any]]] = {}
        self._n_sent = 0

    @property
    def ids(self) -> set[TimeframeId]:
        """Timeframes whose graphs are done."""
        return set(self._accounts)

    @property
    def are_coming(self) -> bool:
        """Whether some are being dealt with, and will be committed if nothing fails."""
        return bool(self._sent or self._book.n_awaited)

    @property
    def futures(self) -> list["Future[Any]"]:
        """Those sent."""
        return [future for _, future in self._sent.values()]

    def expect(self, ref: TimeframeRef, account: Account) -> None:
        """Keep the account of a timeframe until it is committed."""
        self._accounts[ref.id] = account

    def conclude(self, ref: TimeframeRef) -> bool:
        """Forget a timeframe that is committed or set aside; return whether it was one of these."""
        if self._accounts.pop(ref.id, None) is None:
            return False
        self._book.concluded(ref)
        return True

    def send_ready(self) -> list[tuple[TimeframeRef, Exception]]:
        """Have committed what ordered processors are done with; return those on which one of them has failed."""
        failed = []
        for ref, error in self._book.take():
            if error is None:
                self._send(ref)
            else:
                failed.append((ref, error))
        return failed

    def _send(self, ref: TimeframeRef, again: str = "") -> None:
        graph, tail = late_graph(self._run, ref, f"{self._session}-{self._n_sent}{again}")
        self._n_sent += 1
        future = self._client.compute(graph, priority=1, optimize_graph=False)
        self._sent[tail] = ref, future
        self._completed.add(future)

    def come_back(self, tail: str, status: str, result: Any) -> Ended | None:
        """Return what became of a commit; None if it is none of these, or is tried again."""
        if tail not in self._sent:
            return None
        ref, _ = self._sent.pop(tail)
        error = result[1] if isinstance(result, tuple) else result
        if status == "finished":
            account = self._accounts[ref.id]
            account.add(result.account)
            return Ended(ref, Committed(result.receipt, account), busy_s=result.account.busy_s)
        if isinstance(error, KilledWorker) and not tail.endswith("again"):
            self._send(ref, "-again")
            return None
        return Ended(ref, error=error if status == "error" else None)

    def clear(self) -> None:
        """Forget what was sent."""
        self._sent.clear()
