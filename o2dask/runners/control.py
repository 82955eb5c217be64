"""What a user wants of a running stream: to go on, to pause, to stop. Safe to use from any thread."""

import threading
from collections.abc import Callable

__all__ = ["StreamControl"]


class StreamControl:
    """The states of a stream: it runs, it pauses (nothing is read out, nothing begun), it stops (and drains).

    Parameters
    ----------
    is_stopped : callable, optional
        Something else that may ask for a stop, such as a signal.
    """

    def __init__(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        self._is_stopped, self._lock = is_stopped, threading.Lock()
        self._stop, self._pause = threading.Event(), threading.Event()
        self._listeners: list[Callable[[bool], None]] = []

    def stop(self) -> None:
        """Have the source end, and what is on its way done."""
        self._stop.set()
        self.resume()

    def pause(self) -> None:
        """Hold everything where it is; what is in flight is finished."""
        self._turn(True)

    def resume(self) -> None:
        """Go on."""
        self._turn(False)

    def is_set(self) -> bool:
        """Return whether a stop was asked for."""
        return self._stop.is_set() or self._is_stopped()

    def is_paused(self) -> bool:
        """Return whether to hold."""
        return self._pause.is_set() and not self.is_set()

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Have `listener` called with True when it pauses and with False when it goes on; at once if it pauses."""
        with self._lock:
            self._listeners.append(listener)
            if self._pause.is_set():
                listener(True)

    def _turn(self, to_pause: bool) -> None:
        with self._lock:
            if self._pause.is_set() == to_pause:
                return
            (self._pause.set if to_pause else self._pause.clear)()
            for listener in self._listeners:
                listener(to_pause)
