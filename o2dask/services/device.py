"""Which devices a worker has, and the memory pool of its GPU. Imports cupy only where it is installed."""

from functools import cache
from importlib.util import find_spec
from typing import Any

from o2dask.errors import MissingExtraError
from o2dask.services.registry import service

__all__ = ["DeviceContext"]


@service
class DeviceContext:
    """The devices of a worker: ``ctx.services[DeviceContext].has_gpu``.

    Attributes
    ----------
    kinds : frozenset of str
        ``CPU``, and ``GPU`` where cupy finds one; algorithms declared for several devices are chosen by these.
    """

    def __init__(self) -> None:
        self.kinds = frozenset({"CPU", "GPU"}) if _count_gpus() else frozenset({"CPU"})

    @property
    def has_gpu(self) -> bool:
        """Whether there is a GPU that cupy can use."""
        return "GPU" in self.kinds

    @property
    def memory_pool(self) -> Any:
        """cupy's memory pool of this worker's GPU."""
        if not self.has_gpu:
            raise MissingExtraError("no GPU, or no cupy to use it with: pip install 'o2dask[gpu]'; ask has_gpu first")
        import cupy

        return cupy.get_default_memory_pool()

    def close(self) -> None:
        """Give the pool's memory back."""
        if self.has_gpu:
            self.memory_pool.free_all_blocks()


@cache
def _count_gpus() -> int:
    if find_spec("cupy") is None:
        return 0
    import cupy

    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:  # no driver, or no device
        return 0
