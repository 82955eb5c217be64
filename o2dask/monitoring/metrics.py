"""What processors sent to monitoring, summed up over a run: a line per processor, name and tags. Knows events only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import fsum, isfinite

from o2dask.monitoring.events import Event, Metric

__all__ = ["MetricBook", "MetricSummary"]

MAX_LINES = 10_000
"""Most lines kept: a tag that differs in every timeframe must not fill the memory of the driver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """One metric over a run: how often it was sent, and its smallest, mean, largest and last value.

    Of a vector each element counts; of a text, and of numbers that are not finite, there is the last one alone.
    """

    processor: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    n_sent: int
    smallest: float | None
    mean: float | None
    largest: float | None
    last: str


class MetricBook:
    """Takes the events of a run as its progress does; gives `summaries`.

    Attributes
    ----------
    n_left_out : int
        Metrics that found no room.
    """

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str, tuple[tuple[str, str], ...]], _Line] = {}
        self.n_left_out = 0

    def __call__(self, event: Event) -> None:
        """Take an event; others than metrics are left alone."""
        if not isinstance(event, Metric):
            return
        key = event.processor, event.name, tuple(sorted(event.tags.items()))
        if key not in self._lines and len(self._lines) >= MAX_LINES:
            self.n_left_out += 1
            return
        self._lines.setdefault(key, _Line()).take(event.value)

    def summaries(self) -> tuple[MetricSummary, ...]:
        """Return a line for each metric, by processor, name and tags."""
        return tuple(
            MetricSummary(
                processor=processor,
                name=name,
                tags=dict(tags),
                n_sent=line.n_sent,
                smallest=line.smallest if line.n_values else None,
                mean=line.total / line.n_values if line.n_values else None,
                largest=line.largest if line.n_values else None,
                last=line.last,
            )
            for (processor, name, tags), line in sorted(self._lines.items())
        )


class _Line:
    __slots__ = ("largest", "last", "n_sent", "n_values", "smallest", "total")

    def __init__(self) -> None:
        self.n_sent = self.n_values = 0
        self.total, self.smallest, self.largest = 0.0, float("inf"), float("-inf")
        self.last = ""

    def take(self, value: "float | int | str | tuple[float, ...]") -> None:
        self.n_sent += 1
        if isinstance(value, str):
            self.last = value
            return
        values = value if isinstance(value, tuple) else (value,)
        self.last = ", ".join(f"{v:.6g}" for v in values[:4]) + ", ..." * (len(values) > 4)
        finite = [v for v in values if isfinite(v)]
        self.n_values += len(finite)
        self.total = fsum((self.total, *finite))
        self.smallest, self.largest = min((self.smallest, *finite)), max((self.largest, *finite))
