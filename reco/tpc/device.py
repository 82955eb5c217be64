"""The tracker on a GPU: `Device` sends arrays there and launches the CPU's bodies by numba.cuda.

Geometry, field, calibration and scratch stay on the device from timeframe to timeframe: keep one `Device` per worker,
in its state. Clusters go there once and their positions, the grid and the hits of tracks stay; the host sees states of
tracks, decides which are joined, and gets the clusters of tracks when all is done.
Imported only where there is a device or a simulator. Needs numba-cuda (extra `gpu`); NUMBA_ENABLE_CUDASIM=1 with
NUMBA_DISABLE_JIT=1 runs the same kernels without a GPU.
"""

import weakref
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from o2dask.errors import MissingExtraError
from o2dask.reco.tpc.backend import Backend

__all__ = ["THREADS_PER_BLOCK", "Device", "has_device"]

THREADS_PER_BLOCK = 64
"""A fit needs about 100 registers: small blocks keep the multiprocessors busy."""
_GROWTH = 1.2
"""By how much scratch is made larger than asked for: timeframes differ in size."""
_RESIDENTS = 32
"""Conditions that stay: detectors of a few settings, maps of a few periods."""


def has_device() -> bool:
    """Return whether this process can use a GPU (or the simulator)."""
    try:
        from numba import cuda
    except ImportError:
        return False
    return bool(cuda.is_available())  # type: ignore[no-untyped-call]


class Device(Backend):
    """The current CUDA device with what stays on it.

    A host array that `fetch` made can be sent again at no cost: it is read-only, and the device keeps its own as long
    as the host's lives.
    """

    is_wide = True
    has_lanes = False

    def __init__(self) -> None:
        super().__init__()
        try:
            from numba import cuda

            from o2dask.reco.tpc.kernels_device import KERNELS, take_kernel
        except ImportError as error:
            raise MissingExtraError("tracking on a GPU needs numba-cuda: pip install 'o2dask[gpu]'") from error
        self._cuda, self._kernels, self._take = cuda, KERNELS, take_kernel
        self._arena: dict[str, Any] = {}
        self._twins: dict[int, tuple[weakref.ref[np.ndarray], Any]] = {}
        self._resident: dict[int, tuple[Any, Any]] = {}
        self.copied = {"up": 0, "down": 0}
        """Bytes that went to the device and came from it."""

    def run(self, launcher: Callable[..., None], n: int, *arguments: Any) -> None:
        """Launch the kernel of a CPU launcher over `n` items."""
        self._launch(self._kernels[launcher], n, *arguments)

    def _launch(self, kernel: Any, n: int, *arguments: Any) -> None:
        if n:
            blocks = (n + THREADS_PER_BLOCK - 1) // THREADS_PER_BLOCK
            kernel[blocks, THREADS_PER_BLOCK](*arguments)

    def send(self, values: Any) -> Any:
        """Return arrays, in tuples or alone, on the device; what is there or no array stays as it is."""
        if isinstance(values, tuple):
            parts = [self.send(part) for part in values]
            return type(values)(*parts) if hasattr(values, "_fields") else tuple(parts)
        if isinstance(values, np.ndarray) and values.ndim:
            host, twin = self._twins.get(id(values), (None, None))
            if host is not None and host() is values:
                return twin
            self.copied["up"] += values.nbytes
            return self._cuda.to_device(np.ascontiguousarray(values))
        return values

    def resident(self, values: Any) -> Any:
        """Return arrays, in tuples or alone, on the device, sent once; the least recently used of many are dropped."""
        _, there = kept = self._resident.pop(id(values), None) or (values, self.send(values))
        self._resident[id(values)] = kept
        while len(self._resident) > _RESIDENTS:
            self._resident.pop(next(iter(self._resident)))
        return there

    def fetch(self, array: Any) -> np.ndarray:
        """Return an array copied to the host, read-only."""
        if isinstance(array, np.ndarray):
            return array
        host: np.ndarray = array.copy_to_host()
        self.copied["down"] += host.nbytes
        host.flags.writeable = False
        key = id(host)
        self._twins[key] = weakref.ref(host, lambda _: self._twins.pop(key, None)), array
        return host

    def empty(self, shape: "int | tuple[int, ...]", dtype: "type | str") -> Any:
        """Return a new array on the device."""
        return self._cuda.device_array(shape, np.dtype(dtype))

    def room(self, shape: "int | tuple[int, ...]", dtype: "type | str") -> Any:
        """Return a new array on the device; what is appended to it is copied with it."""
        return self.empty(shape, dtype)

    def take(self, array: Any, index: Any) -> Any:
        """Return the rows `index` of an array, both on the device or sent there."""
        array, index = self.send(array), self.send(index)
        n = index.shape[0]
        out = self.empty((n, *array.shape[1:]), array.dtype)
        flat = (n, int(prod(array.shape[1:])))
        self._launch(self._take, n, array.reshape((array.shape[0], flat[1])), index, out.reshape(flat))
        return out

    def extend(self, a: Any, b: Any) -> Any:
        """Return `a` followed by `b` in a new array."""
        n, m = a.shape[0], b.shape[0]
        out = self.empty((n + m, *a.shape[1:]), a.dtype)
        for part, at in ((a, slice(0, n)), (b, slice(n, n + m))):
            if part.shape[0]:
                out[at].copy_to_device(part)
        return out

    def scratch(self, name: str, shape: "int | tuple[int, ...]", dtype: "type | str") -> Any:
        """Return memory of this device that is kept under `name`, and made larger where it is too small."""
        shape = (shape,) if isinstance(shape, int) else shape
        size = int(prod(shape))
        held = self._arena.get(name)
        if held is None or held.dtype != np.dtype(dtype) or held.size < size:
            self._arena.pop(name, None)
            held = self._arena[name] = self.empty(max(int(size * _GROWTH), 1), dtype)
        return held[:size].reshape(shape)

    def zero(self, array: Any) -> Any:
        """Fill an array on the device with 0 and return it."""
        if array.size:
            array[:] = np.zeros((), array.dtype)
        return array
