"""The end of a timeframe's patience: a watchdog on the worker that tells the driver, then kills the worker.

A running kernel cannot be interrupted from Python, so the process has to go; its nanny starts another.
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Worker, get_worker

from o2dask.timeframe import TimeframeRef

__all__ = ["DEADLINE_TOPIC", "deadline"]

DEADLINE_TOPIC = "o2dask-deadline"
"""Topic of Dask's event log under which the driver is told which timeframe was too slow, and where."""

GRACE_S = 1.0
"""Time for the message to leave the worker, and for the driver to withdraw the timeframe so that no other worker takes
it up [s]. Too low, and a second worker dies of it; too high only delays."""


@contextmanager
def deadline(left_s: float | None, ref: TimeframeRef, key: str, task: str) -> Iterator[None]:
    """Kill this worker unless the block ends within `left_s` [s]; None: whenever it likes."""
    if left_s is None:
        yield
        return
    done = threading.Event()
    args = (get_worker(), done, threading.get_ident(), {"key": key, "task": task, "timeframe": str(ref)})
    timer = threading.Timer(max(left_s, 0.001), _expire, args)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        done.set()
        timer.cancel()


def _expire(worker: Worker, done: threading.Event, thread: int, message: dict[str, str]) -> None:
    frame = sys._current_frames().get(thread)
    message["text"] = "".join(traceback.format_stack(frame)) if frame else ""
    worker.log_event(DEADLINE_TOPIC, message)
    if not done.wait(GRACE_S):
        os.kill(os.getpid(), signal.SIGKILL)
