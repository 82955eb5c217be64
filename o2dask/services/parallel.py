"""Which of several copies a processor is (O2's ParallelContext)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from o2dask.services.registry import service

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = ["ParallelContext"]


@service(per="timeframe")
@dataclass(frozen=True, slots=True)
class ParallelContext:
    """Copy `index` of `size` made by `parallel`, and instance `slot` of `n_slots` made by `time_pipeline`."""

    index: int
    size: int
    slot: int
    n_slots: int

    @classmethod
    def create(cls, ctx: "ProcessingContext") -> "ParallelContext":
        """Return the place of the processor at hand."""
        return cls(*ctx.spec.copy, ctx.timeframe.tf_counter % ctx.spec.pipeline, ctx.spec.pipeline)
