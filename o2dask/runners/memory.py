"""The memory that this process's children hold: workers, and what they have started. Knows processes only."""

from contextlib import suppress

import psutil

from o2dask.runners.child import own_memory

__all__ = ["held_by_children"]


def held_by_children() -> int:
    """Return what all processes below this one hold of memory of their own [bytes]; takes some milliseconds."""
    n_bytes = 0
    with suppress(psutil.Error):
        for process in psutil.Process().children(recursive=True):
            n_bytes += own_memory(process.pid)
    return n_bytes
