"""The errors of a stream."""

from o2dask.errors import O2DaskError

__all__ = ["SchedulerGoneError", "SpoolFullError", "StreamError"]


class StreamError(O2DaskError, RuntimeError):
    """The stream cannot go on: a queue that is not there, a gap in a producer's numbers, a process that keeps dying."""


class SchedulerGoneError(StreamError, ConnectionError):
    """The scheduler, or who made the queues there, is gone; what is committed is safe."""


class SpoolFullError(StreamError, OSError):
    """There is no room for a part on its device; it waits, is dropped or spilled, as `when_full` says."""
