"""Functions that a processor wants called at the turns of its life (O2's CallbackService)."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from o2dask.services.registry import service

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = ["CallbackId", "CallbackService"]

Callback = "Callable[[ProcessingContext], None]"


class CallbackId(StrEnum):
    """When.

    start: before the first timeframe on a worker. clock-tick: before each timeframe. idle: instead, when the inputs
    of a timeframe did not suffice to run. reset: after the processor has raised. end-of-stream, stop: after the last
    timeframe on this worker, in this order.
    """

    START = "start"
    CLOCK_TICK = "clock-tick"
    IDLE = "idle"
    RESET = "reset"
    END_OF_STREAM = "end-of-stream"
    STOP = "stop"


@service(per="processor")
class CallbackService:
    """Keeps callbacks, set in ``init``: ``ctx.services[CallbackService].set(CallbackId.STOP, self.close)``."""

    def __init__(self) -> None:
        self._callbacks: dict[CallbackId, Callable[[ProcessingContext], None]] = {}

    def set(self, when: CallbackId, function: "Callable[[ProcessingContext], None]") -> None:
        """Have ``function(ctx)`` called then; the last one set counts."""
        self._callbacks[CallbackId(when)] = function

    def __call__(self, when: CallbackId, ctx: "ProcessingContext") -> None:
        """Call what was set."""
        if (function := self._callbacks.get(when)) is not None:
            function(ctx)
