"""Where the tracker's kernels run: on this machine's cores, or (`o2dask.reco.tpc.device`) on a GPU.

Knows how arrays and launches get there; the stages are written once, against `Backend`.
"""

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

__all__ = ["HOST", "Backend"]

_ROOM = 1.3
"""Memory of an array with room over its own; what is never written costs no memory (pages come on first use)."""


class Backend:
    """The cores of this machine; a device overrides what differs. What is built once lives here: geometry and field."""

    is_wide: bool = False
    """Thousands of threads: seeds are followed side by side (`candidates`), not a sector's one after the other."""

    has_lanes: bool = True
    """Tracks are fitted side by side in SIMD lanes (`kernels_lanes`), not each by a thread of its own."""

    def __init__(self) -> None:
        self._built: dict[Hashable, Any] = {}

    @property
    def claim_dtype(self) -> type:
        """What marks a cluster as used: a flag, or (int32) how early the seed comes whose track has it."""
        return np.int32 if self.is_wide else np.uint8

    def once(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """Return what `build` makes, made once per backend."""
        if key not in self._built:
            self._built[key] = build()
        return self._built[key]

    def run(self, launcher: Callable[..., None], n: int, *arguments: Any) -> None:
        """Run a launcher over its `n` items."""
        launcher(*arguments)

    def send(self, values: Any) -> Any:
        """Return arrays, in tuples or alone, where kernels can read them."""
        return values

    def resident(self, values: Any) -> Any:
        """Return arrays, in tuples or alone, where kernels can read them, for many timeframes: conditions."""
        return values

    def fetch(self, array: Any) -> np.ndarray:
        """Return an array on the host; not to be written to."""
        return np.asarray(array)

    def empty(self, shape: "int | tuple[int, ...]", dtype: "type | str") -> Any:
        """Return an array for kernels to fill, the caller's own."""
        return np.empty(shape, dtype)

    def room(self, shape: "int | tuple[int, ...]", dtype: "type | str") -> Any:
        """Return an array for kernels to fill that `extend` can go on behind."""
        n, *rest = (shape,) if isinstance(shape, int) else shape
        return np.empty((int(n * _ROOM), *rest), dtype)[:n]

    def take(self, array: Any, index: Any) -> Any:
        """Return the rows `index` of an array, both where kernels read them; with room behind."""
        out = self.room((len(index), *array.shape[1:]), array.dtype)
        np.take(array, index, axis=0, out=out, mode="clip")
        return out

    def extend(self, a: Any, b: Any) -> Any:
        """Return `a` followed by `b`; written behind `a` where its memory has room (`room`), else a copy."""
        buffer, n = a.base, len(a) + len(b)
        if (
            isinstance(buffer, np.ndarray)
            and buffer.dtype == a.dtype
            and buffer.shape[1:] == a.shape[1:]
            and buffer.ctypes.data == a.ctypes.data
            and len(buffer) >= n
        ):
            buffer[len(a) : n] = b
            return buffer[:n]
        return np.concatenate([a, b])

    def scratch(self, name: str, shape: "int | tuple[int, ...]", dtype: "type | str") -> Any:
        """Return an array that is used until the next timeframe; `name` tells it from others."""
        return np.empty(shape, dtype)

    def zero(self, array: Any) -> Any:
        """Fill an array with 0 and return it."""
        array[...] = 0
        return array


HOST = Backend()
"""The cores of this machine."""
