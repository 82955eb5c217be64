"""What a task's temporary arrays cost: the heap of the C library keeps them for the next ones.

Knows the C library only. By default glibc gives arrays above 128 kB back to the system as soon as they are free and
takes new ones from it, each page of which is faulted in and zeroed: a quarter of the time of a simple analysis.
"""

import ctypes
import sys
from functools import cache

__all__ = ["keep_freed_arrays"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt (malloc.h)."""
KEPT_BYTES = 256 << 20
"""Free memory at the top of the heap that a process keeps [bytes]."""
LARGEST_BYTES = 32 << 20
"""Arrays up to this size come from the heap [bytes]; the most that glibc allows on 64 bits."""


@cache
def keep_freed_arrays() -> bool:
    """Let this process keep up to 256 MiB of freed arrays; return whether the C library can (glibc does).

    An idle process holds that much more; what a run needs at most does not change.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
