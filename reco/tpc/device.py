"""The tracker on a GPU: `Device` sends arrays there and launches the CPU's bodies by numba.cuda.

Geometry, field and scratch stay on the device from timeframe to timeframe: keep one `Device` per worker, in its state.
Imported only where there is a device or a simulator. Needs numba-cuda (extra `gpu`); NUMBA_ENABLE_CUDASIM=1 with
NUMBA_DISABLE_JIT=1 runs the same kernels without a GPU.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from o2dask.errors import MissingExtraError
from o2dask.reco.tpc.backend import Backend
from o2dask.reco.tpc.kernels_types import Detector

__all__ = ["THREADS_PER_BLOCK", "Device", "has_device"]

THREADS_PER_BLOCK = 64
"""A fit needs about 100 registers: small blocks keep the multiprocessors busy."""
_GROWTH = 1.2
"""By how much scratch is made larger than asked for: timeframes differ in size."""


def has_device() -> bool:
    """Return whether this process can use a GPU (or the simulator)."""
    try:
        from numba import cuda
    except ImportError:
        return False
    return bool(cuda.is_available())  # type: ignore[no-untyped-call]


class Device(Backend):
    """The current CUDA device with what stays on it."""

    def __init__(self) -> None:
        super().__init__()
        try:
            from numba import cuda

            from o2dask.reco.tpc.kernels_device import KERNELS
        except ImportError as error:
            raise MissingExtraError("tracking on a GPU needs numba-cuda: pip install 'o2dask[gpu]'") from error
        self._cuda, self._kernels = cuda, KERNELS
        self._arena: dict[str, Any] = {}

    def run(self, launcher: Callable[..., None], n: int, *arguments: Any) -> None:
        """Launch the kernel of a CPU launcher over `n` items."""
        if n:
            blocks = (n + THREADS_PER_BLOCK - 1) // THREADS_PER_BLOCK
            self._kernels[launcher][blocks, THREADS_PER_BLOCK](*arguments)

    def send(self, values: Any) -> Any:
        """Return arrays, in tuples or alone, on the device; what is there or no array stays as it is."""
        if isinstance(values, tuple):
            parts = [self.send(part) for part in values]
            return type(values)(*parts) if hasattr(values, "_fields") else tuple(parts)
        if isinstance(values, np.ndarray) and values.ndim:
            return self._cuda.to_device(np.ascontiguousarray(values))
        return values

    def resident(self, detector: Detector) -> Detector:
        """Return the detector on the device, sent once."""
        _, on_device = self.once(("resident", id(detector)), lambda: (detector, self.send(detector)))
        return on_device

    def fetch(self, array: Any) -> np.ndarray:
        """Return an array copied to the host."""
        return array if isinstance(array, np.ndarray) else array.copy_to_host()

    def empty(self, shape: "int | tuple[int, ...]", dtype: "type | str") -> Any:
        """Return a new array on the device."""
        return self._cuda.device_array(shape, np.dtype(dtype))

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
