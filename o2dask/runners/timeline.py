"""A run over time: timeframes in flight, memory, busy workers, in a fixed number of bins however long it lasts.

Plain arithmetic and one thread that reads memory; no Dask.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["History", "MemoryWatch", "Timeline"]

N_BINS = 512
"""Most bins: more than a plot has pixels for. When they are full, two become one."""
FIRST_WIDTH_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A run over time, in bins of `width_s` from its first timeframe on.

    Attributes
    ----------
    width_s : float
        Width of a bin [s].
    in_flight : tuple of int
        Most timeframes in flight within each bin.
    promised, measured : tuple of int
        Most memory that these were thought to take, and most that the workers were seen to hold [bytes]; -1 where
        nobody could measure.
    busy : tuple of float
        Share of the workers' time that went into tasks.
    """

    width_s: float = FIRST_WIDTH_S
    in_flight: tuple[int, ...] = ()
    promised: tuple[int, ...] = ()
    measured: tuple[int, ...] = ()
    busy: tuple[float, ...] = ()

    @property
    def peak_measured(self) -> int:
        """Most memory that workers were seen to hold [bytes]; 0 if nobody could measure."""
        return max(0, *self.measured, 0)


class _Bin:
    __slots__ = ("busy_s", "in_flight", "measured", "promised")

    def __init__(self) -> None:
        self.in_flight, self.promised, self.measured, self.busy_s = -1, -1, -1, 0.0

    def take(self, other: "_Bin") -> None:
        for name in ("in_flight", "promised", "measured"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        self.busy_s += other.busy_s


class Timeline:
    """Takes samples and gives a `History`; a sample costs a microsecond.

    Parameters
    ----------
    start : float
        When the run began, on the clock of `time.time` [s].
    """

    def __init__(self, start: float | None = None) -> None:
        self._start = time.time() if start is None else start
        self._width = FIRST_WIDTH_S
        self._bins: list[_Bin] = []
        self._sampled = float("-inf")

    def is_due(self, now: float) -> bool:
        """Return whether the last sample was taken a while before `now` [s], or none was."""
        return not self._bins or now - self._sampled >= self._width / 2

    def sample(self, now: float, in_flight: int, promised: int, measured: int = -1) -> None:
        """Enter what is in flight at `now` [s], what it is thought to take, and what workers hold [bytes]."""
        one, self._sampled = self._at(now), now
        one.in_flight, one.promised = max(one.in_flight, in_flight), max(one.promised, promised)
        one.measured = max(one.measured, measured)

    def busy(self, start: float, end: float) -> None:
        """Enter that a worker was busy from `start` to `end` [s], on the clock of its machine."""
        self._at(end)  # makes the bins, and may make them wider
        first, last = (int(max(0.0, t - self._start) / self._width) for t in (start, end))
        for i in range(first, last + 1):
            low = self._start + i * self._width
            self._bins[i].busy_s += max(0.0, min(end, low + self._width) - max(start, low))

    def history(self, n_workers: int, wall_s: float) -> History:
        """Return what was entered, up to `wall_s` [s] after the start; a bin without sample is as the one before."""
        n = min(len(self._bins), max(1, -int(-wall_s // self._width)))
        filled: dict[str, list[int]] = {"in_flight": [], "promised": [], "measured": []}
        for name, values in filled.items():
            for one in self._bins[:n]:
                value = getattr(one, name)
                values.append(value if value >= 0 or not values else values[-1])
        ends = [min(self._width, wall_s - i * self._width) for i in range(n)]
        busy = [min(1.0, b.busy_s / (t * n_workers)) if t > 0 else 0.0 for b, t in zip(self._bins, ends, strict=False)]
        return History(width_s=self._width, busy=tuple(busy), **{k: tuple(v) for k, v in filled.items()})

    def _at(self, t: float) -> _Bin:
        while (i := int(max(0.0, t - self._start) / self._width)) >= N_BINS:
            self._widen()
        while len(self._bins) <= i:
            self._bins.append(_Bin())
        return self._bins[i]

    def _widen(self) -> None:
        self._width *= 2
        for even, odd in zip(self._bins[::2], self._bins[1::2], strict=False):
            even.take(odd)
        self._bins = self._bins[::2]


class MemoryWatch:
    """Reads the memory of workers now and then, in a thread: a slow answer must not hold up the driver.

    Parameters
    ----------
    measure : callable
        Returns bytes, or -1.
    every_s : float
        How often [s].
    """

    def __init__(self, measure: Callable[[], int], every_s: float = 0.5) -> None:
        self.n_bytes = -1
        self._measure, self._every_s = measure, every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="o2dask-memory", daemon=True)

    def _look(self) -> None:
        while True:
            self.n_bytes = self._measure()
            if self._done.wait(self._every_s):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(timeout=5)
