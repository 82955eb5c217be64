"""What free memory costs: the heap of the C library keeps it for the next arrays, or gives it back to the system.

Knows the C library only. By default glibc gives arrays above 128 kB back as soon as they are free and takes new ones
from the system, which faults in and zeroes each page: a quarter of the time of a simple analysis, a fifth of that of
the reconstruction of a timeframe under a Dask worker, which has it give back even more.
"""

import ctypes
import sys
from functools import cache

__all__ = ["give_back", "keep_freed_arrays"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt (malloc.h)."""
KEPT_BYTES = 256 << 20
"""Free memory at the top of the heap that a process keeps [bytes]."""
LARGEST_BYTES = 32 << 20
"""Arrays up to this size come from the heap [bytes]; the most that glibc allows on 64 bits."""


@cache
def _library(name: str) -> "ctypes._NamedFuncPointer | None":
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):  # musl has none of these
        return None


@cache
def keep_freed_arrays() -> bool:
    """Let this process keep up to 256 MiB of freed arrays; return whether the C library can (glibc does).

    An idle process holds that much more; what a run needs at most does not change.
    """
    mallopt = _library("mallopt")
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))


def give_back() -> None:
    """Give free memory back to the system."""
    malloc_trim = _library("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)
