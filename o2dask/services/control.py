"""How a processor ends itself or the run (O2's ControlService), and the book in which a runner keeps such requests."""

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from o2dask.services.registry import service

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = ["ControlService", "QuitBook", "QuitRequest"]


class QuitRequest(StrEnum):
    """Who is to quit."""

    ME = "me"
    ALL = "all"


@service(per="timeframe")
class ControlService:
    """Ends a processor, or the run: what is in flight is finished and committed, nothing new is begun.

    Without a processor that others need the run cannot go on either, so that a sampler which quits ends it. Where
    several workers run side by side, timeframes after the one that asked may have been done.
    """

    def __init__(self, ctx: "ProcessingContext") -> None:
        self._ctx = ctx

    @classmethod
    def create(cls, ctx: "ProcessingContext") -> "ControlService":
        """Return the service for one processor on one timeframe."""
        return cls(ctx)

    def quit(self, who: QuitRequest = QuitRequest.ME) -> None:
        """Quit after this timeframe: this processor on this worker, or all of them everywhere."""
        self._ctx.requests.add("quit" if who == QuitRequest.ALL else f"quit:{self._ctx.spec.name}")

    def ready_to_quit(self, who: QuitRequest = QuitRequest.ME) -> None:
        """Say that this processor has nothing more to do; when all sources have said so, the run ends."""
        self._ctx.requests.add("quit" if who == QuitRequest.ALL else f"ready:{self._ctx.spec.name}")

    def quit_me(self) -> None:
        """Quit this processor on this worker."""
        self.quit(QuitRequest.ME)

    def quit_all(self) -> None:
        """End the run."""
        self.quit(QuitRequest.ALL)


class QuitBook:
    """What processors have asked for so far; lives with the runner.

    >>> book = QuitBook(["sampler", "clock"])
    >>> book.take(["ready:sampler"]), book.take(["ready:clock"])
    (False, True)
    """

    def __init__(self, sources: Iterable[str]) -> None:
        self._waits = {f"ready:{name}" for name in sources}
        self._is_over = False

    def take(self, requests: Iterable[str]) -> bool:
        """Enter requests of a timeframe; return whether the run is to end."""
        asked = set(requests)
        if asked & self._waits and not self._waits - asked:
            self._is_over = True
        self._waits -= asked
        self._is_over |= "quit" in asked
        return self._is_over
