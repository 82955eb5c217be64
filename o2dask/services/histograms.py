"""Histograms that a processor fills while it works, to be seen while the run goes on: ``o2.connect(address)``."""

from typing import TYPE_CHECKING

import numpy as np

from o2dask.monitoring.histograms import Axis, Histogram, HistogramFilled
from o2dask.services.registry import service

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = ["Axis", "Histograms"]


@service(per="timeframe")
class Histograms:
    """Takes what this timeframe adds: ``ctx.services[Histograms].fill("pt", Axis("pt", 100, 0, 10, "GeV/c"), pt)``.

    What was filled goes with the timeframe: it counts when that is committed, once, however often workers died and
    tasks were repeated, and not at all if the timeframe is set aside.
    """

    def __init__(self, ctx: "ProcessingContext") -> None:
        self._ctx = ctx

    @classmethod
    def create(cls, ctx: "ProcessingContext") -> "Histograms":
        """Return the service for one processor on one timeframe."""
        return cls(ctx)

    def fill(
        self, name: str, axes: Axis | tuple[Axis, ...], *values: np.ndarray, weight: np.ndarray | None = None
    ) -> None:
        """Fill values, one array (n,) per axis, each counted once or by its weight (n,)."""
        processor = self._ctx.spec.name
        self.add(Histogram.filled(name, axes, *values, weight=weight, processor=processor))

    def add(self, histogram: Histogram) -> None:
        """Add counts that are filled already."""
        if histogram.processor != self._ctx.spec.name:
            histogram = Histogram(histogram.name, histogram.axes, histogram.counts, self._ctx.spec.name)
        self._ctx.metrics.append(HistogramFilled(timeframe=self._ctx.timeframe, histogram=histogram))
