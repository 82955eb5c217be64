"""Metrics that processors send (O2's Monitoring): they reach the run's progress, and its log with ``--log-json``."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from o2dask.errors import SpecError
from o2dask.monitoring.events import Metric
from o2dask.services.registry import service

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = ["Metric", "Monitoring"]

MAX_VALUES = 1000
"""Most values in a vector metric: a metric is for a plot, what is longer is data and an output."""


@service(per="timeframe")
class Monitoring:
    """Takes metrics: ``ctx.services[Monitoring].send("tracks", 812, sector="A03")``."""

    def __init__(self, ctx: "ProcessingContext") -> None:
        self._ctx = ctx

    @classmethod
    def create(cls, ctx: "ProcessingContext") -> "Monitoring":
        """Return the service for one processor on one timeframe."""
        return cls(ctx)

    def send(self, name: str, value: "float | int | str", **tags: str) -> None:
        """Send one value."""
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            value = float(value)  # numpy's scalars
        self._add(name, value, tags)

    def send_vector(self, name: str, values: Sequence[float], **tags: str) -> None:
        """Send a vector, such as the occupancies of 36 sectors."""
        if len(values) > MAX_VALUES:
            raise SpecError(f"metric {name!r}: want at most {MAX_VALUES} values, got {len(values)}; make it an output")
        self._add(name, tuple(float(v) for v in values), tags)

    def _add(self, name: str, value: "float | int | str | tuple[float, ...]", tags: Mapping[str, str]) -> None:
        ctx, told = self._ctx, {key: str(tag) for key, tag in tags.items()}
        ctx.metrics.append(Metric(name=name, value=value, processor=ctx.spec.name, timeframe=ctx.timeframe, tags=told))
