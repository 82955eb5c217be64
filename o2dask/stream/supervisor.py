"""Starts the processes of a stream, tells them what to do, and starts others for those that die.

One thread holds them: it hands on what they tell, and restarts at once what was killed, then later and later as long
as it gets nowhere. Knows processes; what they do is theirs.
"""

import logging
import os
import selectors
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from o2dask.errors import ConfigError
from o2dask.stream.errors import StreamError
from o2dask.stream.process import DONE, GONE, READY, WRONG
from o2dask.stream.starter import Forked, acquire, release

__all__ = ["ProcessSpec", "State", "Supervisor"]

log = logging.getLogger(__name__)

FIRST_DELAY_S, MAX_DELAY_S = 0.1, 5.0
"""Pause before the second restart in a row without progress [s], doubled each time, up to the last."""
GIVE_UP_AFTER = 20
"""Restarts in a row without progress after which it is no accident."""
MAX_NOTICES = 1000
END_S = 3.0
"""Time for a process to go by itself before it is killed [s]."""


class State(StrEnum):
    """Of a stream: made; its processes wait; they run; they wait again; all have ended."""

    NEW = "new"
    CONFIGURED = "configured"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process: its name, its module (with a function ``start``), its settings."""

    name: str
    module: str
    settings: Mapping[str, Any]


@dataclass(slots=True)
class _Child:
    """A process and its story: `vain` restarts since it got anywhere, `due_s` when to start the next."""

    spec: ProcessSpec
    process: Forked | None = None
    is_ready: bool = False
    is_done: bool = False
    vain: int = 0
    progress: int = -1
    due_s: float = 0.0
    n_starts: int = 0
    rest: dict[int, bytes] = field(default_factory=dict)


class Supervisor:
    """The processes of one stream.

    Parameters
    ----------
    specs : list of ProcessSpec
        What to run.
    progress : callable, optional
        Gives how far the process of a name has come, any number that grows; so it is known who restarts in vain.
    """

    def __init__(self, specs: list[ProcessSpec], progress: Callable[[str], int] | None = None) -> None:
        self._children = {spec.name: _Child(spec) for spec in specs}
        self._progress = progress
        self._lock = threading.Condition()
        self._state = State.NEW
        self._is_stopping = self._is_closing = False
        self._rate = ""
        self.notices: deque[str] = deque(maxlen=MAX_NOTICES)
        """What processes told and what became of them, for the user."""
        self._tell: Callable[[str], None] = lambda text: None
        self.n_restarts = 0
        self._failure = ""
        self._starter = acquire()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._watch, name="o2dask-supervisor", daemon=True)

    # -- what a driver asks for

    @property
    def state(self) -> State:
        """Where the stream is."""
        with self._lock:
            return self._state

    @property
    def pids(self) -> dict[str, int]:
        """Process numbers of those that run, by name."""
        with self._lock:
            return {name: c.process.pid for name, c in self._children.items() if c.process is not None}

    @property
    def ready(self) -> list[str]:
        """Names of the processes that are connected."""
        with self._lock:
            return [name for name, c in self._children.items() if c.is_ready]

    def check(self) -> str:
        """Return why the stream cannot go on, "" if it can."""
        return self._failure

    def listen(self, tell: Callable[[str], None]) -> None:
        """Have `tell` called with what was noted so far, and then with each notice, in the supervisor's thread."""
        with self._lock:
            for text in self.notices:
                tell(text)
            self._tell = tell

    def configure(self, timeout_s: float = 60.0) -> None:
        """Start the processes; return when all are connected and wait.

        Raises
        ------
        ConfigError
            If one finds that its settings cannot work, or they take too long.
        """
        self._thread.start()
        with self._lock:
            waits = lambda: self._failure or all(c.is_ready or c.is_done for c in self._children.values())  # noqa: E731
            if not self._lock.wait_for(waits, timeout_s):
                late = ", ".join(name for name, c in self._children.items() if not c.is_ready)
                self._failure = f"{late}: not ready after {timeout_s:g} s"
            if self._failure:
                raise ConfigError(self._failure)
            self._state = State.CONFIGURED

    def start(self) -> None:
        """Let them run."""
        self._go(State.RUNNING, "run")

    def pause(self) -> None:
        """Let them wait where they are; what is announced goes on."""
        self._go(State.PAUSED, "pause")

    def resume(self) -> None:
        """Let them run again."""
        self._go(State.RUNNING, "run")

    def stop(self) -> None:
        """Let readouts come to an end, all after the same timeframe; the builder ends when nothing is left to build."""
        with self._lock:
            self._is_stopping = True
            self._send("stop")

    def set_rate(self, rate: float) -> None:
        """Read out so many timeframes per second from now on, 0 for as fast as they go."""
        with self._lock:
            self._rate = f"rate {float(rate)}"
            self._send(self._rate)

    def close(self) -> None:
        """End what still runs."""
        with self._lock:
            if self._is_closing:
                return
            self._is_closing = True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._selector.close()
        for fd in (self._wake_read, self._wake_write):
            with suppress(OSError):
                os.close(fd)
        release()

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- commands

    def _go(self, state: State, word: str) -> None:
        with self._lock:
            if self._state in (State.NEW, State.STOPPED):
                raise StreamError(f"a stream that is {self._state} cannot {word}; configure it first")
            self._state = state
            self._send(word)

    def _send(self, line: str) -> None:
        for child in self._children.values():
            self._send_to(child, line)

    def _send_to(self, child: _Child, *lines: str) -> None:
        if child.process is not None and lines:
            with suppress(OSError):  # it is gone; its successor is told when it is ready
                child.process.write("".join(f"{line}\n" for line in lines))

    def _wake(self) -> None:
        with suppress(OSError):
            os.write(self._wake_write, b"w")

    # -- the thread

    def _watch(self) -> None:
        try:
            self._serve()
        except Exception as error:
            log.exception("the supervisor of a stream failed")
            self._fail(f"the supervisor of the stream failed: {type(error).__name__}: {error}")
        finally:
            self._end_all()

    def _serve(self) -> None:
        while True:
            with self._lock:
                if self._is_closing or all(c.is_done for c in self._children.values()):
                    break
                wait_s = self._start_due()
            for key, _ in self._selector.select(wait_s):
                if key.data is None:
                    os.read(self._wake_read, 4096)
                else:
                    self._hear(key.data, key.fd)

    def _start_due(self) -> float | None:
        """Start what is due; return how long until the next is [s]."""
        now = time.monotonic()
        waiting = []
        for child in self._children.values():
            if child.process is None and not child.is_done:
                if child.due_s <= now:
                    self._start(child)
                else:
                    waiting.append(child.due_s - now)
        return min(waiting, default=None)

    def _start(self, child: _Child) -> None:
        try:
            child.process = self._starter.start(child.spec.module, child.spec.settings)
        except OSError as error:
            self._later(child, f"cannot be started: {error}")
            return
        child.n_starts += 1
        for fd in (child.process.stdout, child.process.stderr):
            os.set_blocking(fd, False)
            self._selector.register(fd, selectors.EVENT_READ, child)
            child.rest[fd] = b""

    def _hear(self, child: _Child, fd: int) -> None:
        """Take in what a process wrote; when it has closed both pipes it has ended."""
        try:
            text = os.read(fd, 1 << 16)
        except BlockingIOError:
            return
        assert child.process is not None
        lines = (child.rest[fd] + text).split(b"\n")
        child.rest[fd] = lines.pop()[-(1 << 16) :]
        if not text and child.rest[fd]:
            lines.append(child.rest[fd])
        for line in lines:
            self._heard(child, line.decode(errors="replace").strip(), fd == child.process.stderr)
        if not text:
            self._selector.unregister(fd)
            del child.rest[fd]
            if not child.rest:
                self._ended(child, child.process)

    def _heard(self, child: _Child, line: str, is_error: bool) -> None:
        if line == READY and not is_error:
            with self._lock:
                child.is_ready = True
                lines = [self._rate] if self._rate else []
                if self._is_stopping:
                    lines.append("stop")
                elif self._state is State.RUNNING:
                    lines.append("run")
                self._send_to(child, *lines)
                self._lock.notify_all()
        elif line:
            self._note(f"{child.spec.name}: {line}")

    def _note(self, text: str) -> None:
        with self._lock:
            self.notices.append(text)
            self._tell(text)
        log.info("%s", text)

    def _ended(self, child: _Child, process: Forked) -> None:
        process.close()
        status = self._starter.status(process.pid, END_S)
        with self._lock:
            child.process, child.is_ready = None, False
            if status == DONE or self._is_closing:
                child.is_done = True
            elif status in (WRONG, GONE):
                child.is_done = True
                self._fail(self._last_words(child) or f"{child.spec.name}: ended with status {status}")
            else:
                self._later(child, _story(status))
            if all(c.is_done for c in self._children.values()):
                self._state = State.STOPPED
            self._lock.notify_all()

    def _last_words(self, child: _Child) -> str:
        own = [notice for notice in self.notices if notice.startswith(f"{child.spec.name}: ")]
        return own[-1] if own else ""

    def _later(self, child: _Child, why: str) -> None:
        """Have a process started again: at once if it had got anywhere, else after a while."""
        progress = self._how_far(child.spec.name)
        child.vain = 0 if progress > child.progress else child.vain + 1
        child.progress = progress
        if child.vain > GIVE_UP_AFTER:
            child.is_done = True
            words = self._last_words(child)
            self._fail(f"{child.spec.name}: {why}, {child.vain} times in a row without getting anywhere; last: {words}")
            return
        delay_s = min(FIRST_DELAY_S * 2.0 ** (child.vain - 1), MAX_DELAY_S) if child.vain else 0.0
        child.due_s = time.monotonic() + delay_s
        self.n_restarts += 1
        self._note(f"{child.spec.name}: {why} and is started again")

    def _how_far(self, name: str) -> int:
        if self._progress is None:
            return 0
        try:
            return self._progress(name)
        except (StreamError, TimeoutError):
            return 0

    def _fail(self, text: str) -> None:
        self._failure = self._failure or text

    def _end_all(self) -> None:
        with self._lock:
            running = [c.process for c in self._children.values() if c.process is not None]
            for child in self._children.values():
                child.process = None
        for process in running:
            process.close_input()
        for process in running:
            if self._starter.status(process.pid, END_S) is None:
                with suppress(OSError):
                    os.kill(process.pid, signal.SIGKILL)
            process.close()
        with self._lock:
            self._state = State.STOPPED
            self._lock.notify_all()


def _story(status: int | None) -> str:
    if status is None:
        return "ended, nobody knows how,"
    if status >= 0:
        return f"ended with status {status}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"
