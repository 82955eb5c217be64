"""A sink that keeps nothing: for workflows that hand their results on themselves, and for a look at counters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from o2dask.columns import Columns
from o2dask.sink import Receipt
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeRef

__all__ = ["NoSink"]


@dataclass(frozen=True, slots=True)
class NoSink:
    """Wants no data; a timeframe is committed when its processors have run."""

    patterns: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Nothing to make ready."""

    def commit(self, ref: TimeframeRef, outputs: Mapping[DataRef, Columns]) -> Receipt:
        """Return a receipt of nothing."""
        return Receipt(timeframe=ref.id)

    def is_committed(self, ref: TimeframeRef) -> bool:
        """Return False: nobody can tell."""
        return False

    def finalize(self, refs: Sequence[TimeframeRef]) -> None:
        """Nothing to finish."""
