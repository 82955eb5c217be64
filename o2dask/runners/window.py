"""How many timeframes may be in flight: by count, by memory, and smoothly. Plain arithmetic: no Dask, no clock.

Dask queues no task that asks for resources (distributed#9164), so this is the only throttle there is.
"""

from collections import deque
from collections.abc import Hashable, Iterable

import numpy as np

from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["Grouping", "MemoryModel", "Pacer", "Window", "is_instance_busy"]

UNKNOWN_BYTES = 256 << 20
"""First guess for a timeframe of unknown stored size [bytes]: that of 16 MiB expanded 16 times. Too low risks memory in
the first few timeframes, too high delays the second worker until the first timeframe is done."""


LINE_FROM = 8
"""Measurements before a line is drawn through them; before, and for timeframes larger than these, the worst ratio of
memory to stored size counts."""


class MemoryModel:
    """Predicts the memory of a timeframe from its stored size, and learns from those that are done.

    Parameters
    ----------
    expansion : float
        First guess: bytes in memory per stored byte.
    n_recent : int
        How many measurements count. Their maximum is taken, not their mean: an overrun kills a worker, an
        overestimate costs a little idle time. Few forget compilation soon; many see the rare large timeframe.
    """

    def __init__(self, expansion: float, n_recent: int = 16) -> None:
        self._guess = expansion
        self._pairs: deque[tuple[int, int]] = deque(maxlen=n_recent)
        self._line: tuple[float, float, float] | None = None
        self._largest = 0.0
        self._sizes: deque[int] = deque(maxlen=n_recent)

    @property
    def is_measured(self) -> bool:
        """Whether any timeframe was measured yet."""
        return bool(self._sizes)

    def estimate(self, ref: TimeframeRef) -> int:
        """Return the memory that the timeframe is expected to take [bytes]."""
        if not ref.n_bytes:
            return max(self._sizes, default=UNKNOWN_BYTES)
        if self._line is not None and ref.n_bytes <= self._largest:
            start, slope, most_above = self._line
            return int(max(ref.n_bytes, start + slope * ref.n_bytes + most_above))
        return int(ref.n_bytes * max(1.0, max((took / n for n, took in self._pairs), default=self._guess)))

    def observe(self, ref: TimeframeRef, footprint: int) -> None:
        """Learn what a timeframe took [bytes]."""
        self._sizes.append(max(1, footprint))
        if ref.n_bytes:
            self._pairs.append((ref.n_bytes, footprint))
            self._fit()

    def _fit(self) -> None:
        """Find the line through what was measured, and how far above it the worst lies.

        A small timeframe takes more in units of its size than a large one, by what every timeframe takes: a ratio
        alone would promise large ones far too much, and workers would idle under a tight budget.
        """
        stored, took = np.array(self._pairs, np.float64).T
        self._largest, self._line = stored.max(), None
        if len(stored) >= LINE_FROM and stored.max() > 1.2 * stored.min():
            slope = max(0.0, float(np.cov(stored, took, bias=True)[0, 1] / stored.var()))
            start = float(took.mean() - slope * stored.mean())
            self._line = start, slope, float((took - start - slope * stored).max())


class Window:
    """The timeframes in flight and what they are thought to take.

    A timeframe that alone is thought to take more than `max_bytes` runs alone: whether it fits is then for the
    worker's memory limit to say, and if it does not, it is quarantined like any that kills its worker.

    Parameters
    ----------
    max_count : int
        Most timeframes.
    max_bytes : int
        Most memory [bytes].
    n_workers : int
        How many may start at once; after that one more may be in flight for each that is done, up to `max_count`, so
        that workers do not march in step.
    """

    def __init__(self, max_count: int, max_bytes: int, n_workers: int, model: MemoryModel) -> None:
        self._max_count, self._max_bytes, self._model = max_count, max_bytes, model
        self._ramp = min(n_workers, max_count)
        self._inside: dict[Hashable, TimeframeRef] = {}
        self.peak_count = 0
        self.peak_bytes = 0

    def __len__(self) -> int:
        return len(self._inside)

    @property
    def max_count(self) -> int:
        """Most timeframes that may be in flight."""
        return self._max_count

    @property
    def n_bytes(self) -> int:
        """What those in flight are thought to take now [bytes]; grows and shrinks with what is learnt."""
        return sum(self._model.estimate(ref) for ref in self._inside.values())

    def admits(self, ref: TimeframeRef) -> bool:
        """Return whether one more may come in now."""
        if not self._inside:
            return True
        if len(self._inside) >= min(self._ramp, self._max_count):
            return False
        return self.n_bytes + self._model.estimate(ref) <= self._max_bytes

    def enter(self, key: Hashable, ref: TimeframeRef) -> None:
        """Take a timeframe in."""
        self._inside[key] = ref
        self.peak_count = max(self.peak_count, len(self._inside))
        self.peak_bytes = max(self.peak_bytes, self.n_bytes)

    def leave(self, key: Hashable, footprint: int = 0) -> None:
        """Let a timeframe out, with what it was measured to take [bytes] if it was."""
        ref = self._inside.pop(key)
        if footprint:
            self._model.observe(ref, footprint)
        self._ramp = min(self._ramp + 1, self._max_count)


class Pacer:
    """Spaces timeframes out: no two closer than half of what keeps all workers busy, so that bursts are spread.

    With T seconds of work per timeframe and n workers, one is done every T/n on average; half of that still lets the
    window fill twice as fast as it empties.
    """

    MAX_PAUSE_S = 2.0
    """Longest pause [s]: with long timeframes a short spacing is spread enough."""

    def __init__(self, n_workers: int) -> None:
        self._n_workers = n_workers
        self._mean_s = 0.0
        self._last = float("-inf")

    @property
    def pause_s(self) -> float:
        """Least time between two timeframes [s]."""
        return min(0.5 * self._mean_s / self._n_workers, self.MAX_PAUSE_S)

    def held_s(self, now: float) -> float:
        """Return for how long from time `now` the next timeframe is held back [s], unless a worker would idle."""
        return max(0.0, self._last + self.pause_s - now)

    def holds(self, now: float, n_in_flight: int) -> bool:
        """Return whether to hold the next timeframe back at time `now` [s]; never while a worker would idle."""
        return n_in_flight > self._n_workers and self.held_s(now) > 0

    def started(self, now: float) -> None:
        """Note that a timeframe started at `now` [s]."""
        self._last = now

    def done(self, busy_s: float) -> None:
        """Learn how long workers were busy with a timeframe [s]."""
        self._mean_s = busy_s if not self._mean_s else 0.8 * self._mean_s + 0.2 * busy_s


def is_instance_busy(ref: TimeframeRef, flying: Iterable[TimeframeId], pipelines: Iterable[int]) -> bool:
    """Return whether a timeframe has to wait for another one in the same instance of a `time_pipeline`.

    `pipelines` are the numbers of instances of each.
    """
    differences = [id_.tf_counter - ref.id.tf_counter for id_ in flying]
    return any(difference % n == 0 for difference in differences for n in pipelines)


class Grouping:
    """How many small timeframes travel together, so that sending them costs little beside what they take.

    Parameters
    ----------
    most : int
        Never more; 1: each alone.
    n_workers : int
        Those that are ready are shared out among them.
    """

    SMALL_S = 0.02
    """A timeframe that takes less is small [s]: alone, it leaves its worker idle a third of the time."""
    GROUP_S = 0.2
    """What a group is to take [s]. Shorter, and workers idle between groups; longer, and results come late."""
    N_RECENT = 7
    """Measurements whose median counts: the first, with compilation in it, says nothing."""

    def __init__(self, most: int, n_workers: int) -> None:
        self.most, self._n_workers = most, n_workers
        self._recent: deque[float] = deque(maxlen=self.N_RECENT)
        self._largest = 0
        self.mean_s = float("inf")

    @property
    def are_small(self) -> bool:
        """Whether timeframes are small now."""
        return self.most > 1 and self.mean_s < self.SMALL_S

    def fits(self, ref: TimeframeRef) -> bool:
        """Return whether a timeframe is of the size of those that were small."""
        return ref.n_bytes <= 2 * self._largest

    def size(self, n_ready: int) -> int:
        """Return how many of `n_ready` go together."""
        if not self.are_small:
            return 1
        share = -(-n_ready // (2 * self._n_workers))
        return max(1, min(self.most, int(self.GROUP_S / max(self.mean_s, 1e-6)), share))

    def take(self, ready: deque[TimeframeRef]) -> tuple[TimeframeRef, ...]:
        """Return the next that go together, taken from those that are ready."""
        n = self.size(len(ready)) if self.fits(ready[0]) else 1
        refs = [ready.popleft()]
        while len(refs) < n and self.fits(ready[0]):
            refs.append(ready.popleft())
        return tuple(refs)

    def done(self, busy_s: float, n: int, largest: int) -> None:
        """Learn that `n` timeframes, of which the `largest` has so many stored bytes, took a worker so long [s]."""
        self._recent.append(busy_s / n)
        self.mean_s = sorted(self._recent)[len(self._recent) // 2] if len(self._recent) > 2 else float("inf")
        if self.are_small:
            self._largest = max(self._largest, largest)
