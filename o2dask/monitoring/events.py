"""What a runner tells while it runs: one small record per happening, for a progress bar or a JSON log.

Knows no runner and no sink. Records hold names and numbers only, so that `as_json` never fails.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from o2dask.timeframe import TimeframeId

__all__ = [
    "Event",
    "Metric",
    "Notice",
    "OutputLost",
    "ProcessorRestarted",
    "Progress",
    "RunFinished",
    "RunStarted",
    "TimeframeCommitted",
    "TimeframeQuarantined",
    "TimeframeStarted",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at `at` [s since 1970]."""

    kind: ClassVar[str] = "event"
    at: float = field(default_factory=time.time)

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON values, with its kind."""
        values: dict[str, Any] = {"event": self.kind}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, TimeframeId):
                values |= {"run": value.run, "tf_counter": value.tf_counter, "first_orbit": value.first_orbit}
            else:
                values[item.name] = dict(value) if isinstance(value, dict) else value
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run begins: `n_timeframes` in all, of which `n_already_done` were committed by an earlier run.

    Of a stream nobody knows how many will come: `n_timeframes` is 0.
    """

    kind: ClassVar[str] = "started"
    n_timeframes: int
    n_already_done: int = 0
    n_workers: int = 1
    backend: str = "inline"
    is_stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """Something the user should know and that stops nothing: no GPU found, a worker was replaced."""

    kind: ClassVar[str] = "notice"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeframeStarted(Event):
    """A timeframe entered the window; `in_flight` counts it."""

    kind: ClassVar[str] = "timeframe_started"
    timeframe: TimeframeId
    in_flight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeframeCommitted(Event):
    """The results of a timeframe are in their place; `seconds` is the time inside its processors [s]."""

    kind: ClassVar[str] = "timeframe_committed"
    timeframe: TimeframeId
    n_bytes: int = 0
    seconds: float = 0.0
    rows: dict[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeframeQuarantined(Event):
    """A timeframe failed and was set aside; `file` has the whole traceback ("" without a journal folder)."""

    kind: ClassVar[str] = "timeframe_quarantined"
    timeframe: TimeframeId
    reason: str
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Event):
    """One value, or a vector of them, that a processor sent while it worked on a timeframe."""

    kind: ClassVar[str] = "metric"
    timeframe: TimeframeId
    processor: str
    name: str
    value: "float | int | str | tuple[float, ...]"
    tags: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLost(Event):
    """An expendable processor failed on a timeframe, which goes on without its outputs.

    `cause` is ``exception``, ``crash``, ``deadline``, ``memory``, ``start``, or ``back-off`` of a processor that waits
    to be started again; `text` says more in its first line, and where it was in the others.
    """

    kind: ClassVar[str] = "output_lost"
    timeframe: TimeframeId
    processor: str
    cause: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorRestarted(Event):
    """The process of an expendable processor was started again, because of `cause`."""

    kind: ClassVar[str] = "processor_restarted"
    processor: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A run ended; `ok` only if every timeframe is committed; `failure` is what stopped it before its end."""

    kind: ClassVar[str] = "finished"
    ok: bool
    n_committed: int
    n_quarantined: int
    n_abandoned: int
    wall_s: float
    failure: str = ""


Progress = Callable[[Event], None]
"""What a face gives a runner to be told of events, in the order in which they happen, in the driver's thread."""
