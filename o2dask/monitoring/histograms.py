"""Histograms that travel: axes and counts, filled per timeframe, merged by adding, shown as `hist.Hist`.

Knows numbers and names; no runner, no Dask. Nothing is pickled: `to_wire` gives numbers, texts and bytes. Counts are
integers unless there are weights, so that the order of merging makes no difference.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from o2dask.errors import DataError, ShapeError, SpecError
from o2dask.monitoring.events import Event
from o2dask.timeframe import TimeframeId

if TYPE_CHECKING:
    import hist

__all__ = ["MAX_BINS", "Axis", "Histogram", "HistogramFilled", "HistogramSet"]

MAX_BINS = 1 << 20
"""Most bins of one histogram, all axes together: it travels with every timeframe; what is larger is an output."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of `bins` equal bins from `start` to `stop` [unit]; what lies outside goes to its under- and overflow."""

    name: str
    bins: int
    start: float
    stop: float
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise SpecError("axis: want a name")
        if not 1 <= self.bins <= MAX_BINS:
            raise SpecError(f"axis {self.name!r}: want 1 to {MAX_BINS} bins, got {self.bins}")
        if not (math.isfinite(self.start) and math.isfinite(self.stop) and self.start < self.stop):
            raise SpecError(f"axis {self.name!r}: want start < stop, got {self.start} and {self.stop}")

    @property
    def label(self) -> str:
        """Name and unit, for a plot."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name

    def indices(self, values: np.ndarray) -> np.ndarray:
        """Return the bin of each value, 0 for underflow, ``bins + 1`` for overflow and NaN; int64."""
        width = self.stop - self.start
        array = np.nan_to_num(np.asarray(values, np.float64), nan=np.inf, posinf=np.inf, neginf=-np.inf)
        inside = np.clip(array, self.start - width, self.stop + width)  # far values would overflow below
        share = np.clip((inside - self.start) / width, -1.0 / self.bins, 1.0)  # in boost-histogram's order: same edges
        return np.floor(share * self.bins).astype(np.int64) + 1


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts in bins, under- and overflow included: shape ``(bins + 2, ...)``, int64, or float64 with weights.

    `processor` is whose it is; two processors may use the same name.
    """

    name: str
    axes: tuple[Axis, ...]
    counts: np.ndarray
    processor: str = ""

    def __post_init__(self) -> None:
        shape = tuple(axis.bins + 2 for axis in self.axes)
        if not self.name or not 1 <= len(self.axes) <= 3 or math.prod(shape) > MAX_BINS * 2:
            raise SpecError(
                f"histogram {self.name!r}: want a name, 1 to 3 axes and {MAX_BINS} bins at most, got {shape}"
            )
        if self.counts.shape != shape or self.counts.dtype.name not in ("int64", "float64"):
            got = f"{self.counts.dtype} {self.counts.shape}"
            raise ShapeError(f"histogram {self.name!r}: want counts int64 or float64 of shape {shape}, got {got}")

    @classmethod
    def filled(
        cls,
        name: str,
        axes: "Axis | tuple[Axis, ...]",
        *values: np.ndarray,
        weight: np.ndarray | None = None,
        processor: str = "",
    ) -> "Histogram":
        """Return a histogram of values, one array (n,) per axis, each counted once or by its weight (n,)."""
        axes = (axes,) if isinstance(axes, Axis) else tuple(axes)
        arrays = [np.ravel(array) for array in values]
        if len(arrays) != len(axes) or len({len(array) for array in arrays}) > 1:
            got = [len(array) for array in arrays]
            raise ShapeError(f"histogram {name!r}: want {len(axes)} arrays of one length, got lengths {got}")
        shape = tuple(axis.bins + 2 for axis in axes)
        flat = np.ravel_multi_index([axis.indices(array) for axis, array in zip(axes, arrays, strict=True)], shape)
        counts = np.bincount(flat, None if weight is None else np.ravel(weight), math.prod(shape))
        return cls(name, axes, counts.astype(np.int64 if weight is None else np.float64).reshape(shape), processor)

    @property
    def key(self) -> str:
        """``processor/name``."""
        return f"{self.processor}/{self.name}"

    def __add__(self, other: "Histogram") -> "Histogram":
        if self.axes != other.axes:
            raise ShapeError(f"histogram {self.key}: axes differ, {self.axes} and {other.axes}; give it another name")
        return Histogram(self.name, self.axes, self.counts + other.counts, self.processor)

    def to_hist(self) -> "hist.Hist[Any]":
        """Return it as `hist.Hist`, for plots and fits."""
        import hist

        axes = [hist.axis.Regular(a.bins, a.start, a.stop, name=a.name, label=a.label) for a in self.axes]
        is_weighted = self.counts.dtype.kind == "f"
        made = hist.Hist(*axes, storage=hist.storage.Double() if is_weighted else hist.storage.Int64(), name=self.name)
        made.view(flow=True)[...] = self.counts
        return made

    def to_wire(self) -> dict[str, Any]:
        """Return it as msgpack knows values."""
        axes = [[a.name, a.bins, float(a.start), float(a.stop), a.unit] for a in self.axes]
        counts = np.ascontiguousarray(self.counts)
        return {
            "name": self.name,
            "processor": self.processor,
            "axes": axes,
            "dtype": counts.dtype.name,
            "counts": counts.astype(counts.dtype.newbyteorder("<")).tobytes(),
        }

    @classmethod
    def from_wire(cls, values: Mapping[str, Any]) -> "Histogram":
        """Return what `to_wire` made; DataError if it is not that."""
        try:
            if values["dtype"] not in ("int64", "float64"):
                raise ShapeError(f"want counts of int64 or float64, got {values['dtype']!r}")
            axes = tuple(Axis(str(n), int(b), float(low), float(high), str(u)) for n, b, low, high, u in values["axes"])
            dtype = np.dtype(values["dtype"])
            counts = np.frombuffer(values["counts"], dtype.newbyteorder("<")).astype(dtype)
            shape = tuple(axis.bins + 2 for axis in axes)
            return cls(str(values["name"]), axes, counts.reshape(shape), str(values["processor"]))
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"histogram: not one that was sent: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramFilled(Event):
    """What a processor filled into one histogram on one timeframe; a log names it, without the counts."""

    kind: ClassVar[str] = "histogram"
    timeframe: TimeframeId
    histogram: Histogram

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON values: its name and the sum of its counts."""
        values = Event(at=self.at).as_json() | {"event": self.kind}
        tf = self.timeframe
        values |= {"run": tf.run, "tf_counter": tf.tf_counter, "first_orbit": tf.first_orbit}
        return values | {"histogram": self.histogram.key, "sum": self.histogram.counts.sum().item()}


class HistogramSet:
    """Sums of histograms by ``processor/name``: what a driver keeps over all committed timeframes.

    >>> some = HistogramSet()
    >>> for values in ([0.5, 1.5], [1.6]):
    ...     _ = some.add(Histogram.filled("x", Axis("x", 2, 0.0, 2.0), np.array(values), processor="p"))
    >>> some["p/x"].counts.tolist()
    [0, 1, 2, 0]
    """

    def __init__(self) -> None:
        self._sums: dict[str, Histogram] = {}
        self.faults: dict[str, str] = {}

    def add(self, histogram: Histogram) -> bool:
        """Add one; False, and its fault noted, if its axes are others than before."""
        have = self._sums.get(histogram.key)
        try:
            self._sums[histogram.key] = histogram if have is None else have + histogram
        except ShapeError as error:
            self.faults[histogram.key] = str(error)
            return False
        return True

    def update(self, events: Iterable[Event]) -> set[str]:
        """Add those among events; return the keys that changed."""
        filled = [event.histogram for event in events if isinstance(event, HistogramFilled)]
        return {histogram.key for histogram in filled if self.add(histogram)}

    def __getitem__(self, key: str) -> Histogram:
        return self._sums[key]

    def __iter__(self) -> "Any":
        return iter(self._sums)

    def __len__(self) -> int:
        return len(self._sums)

    def values(self) -> Iterable[Histogram]:
        """Return the sums."""
        return self._sums.values()
