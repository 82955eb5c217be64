"""One child process, watched: started, asked, killed when it takes too long or too much, and its story told.

Knows no policy: what a loss costs, and when to start again, is `isolation`'s to say.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from multiprocessing.connection import wait
from typing import Any

from o2dask.columns import Columns
from o2dask.errors import ConfigError, ProcessorError
from o2dask.runners.child import BEGUN, COMMAND, own_memory
from o2dask.runners.payload import anonymous_file, receive, send
from o2dask.specs import DataProcessorSpec, DataRef
from o2dask.timeframe import TimeframeRef

__all__ = ["START_S", "ChildProcess", "LostError"]

MIB = 1 << 20
START_S = 120.0
"""Time to import, compile and initialise a processor [s]: a first compilation of kernels takes up to 60 s."""
END_S = 10.0
"""Time for ``end_of_stream`` [s]; Dask's nanny has no more patience with a worker that closes."""
WATCH_S = 0.02
"""How often memory is looked at [s]: at 2 GB/s of fresh pages a runaway gets 40 MB further than its limit."""
SIGNAL_S = 0.2
"""Time for a process to write down where it is, before it is killed [s]."""


class LostError(ProcessorError):
    """The output of one timeframe did not come back.

    Attributes
    ----------
    cause : str
        ``crash``, ``deadline``, ``memory``, ``start`` or ``back-off``.
    story : str
        Where its threads were, as far as the process could tell.
    """

    def __init__(self, cause: str, text: str, story: str = "") -> None:
        super().__init__(text)
        self.cause, self.story = cause, story


class ChildProcess:
    """The process of one expendable processor.

    Parameters
    ----------
    topology : bytes
        Pickled, so that it is pickled once for all children.
    spec : DataProcessorSpec
        Which processor of it, with its memory limit.
    """

    command = COMMAND

    def __init__(self, topology: bytes, spec: DataProcessorSpec) -> None:
        self._limit = int((spec.memory_mib or 0) * MIB)
        self._fault = anonymous_file()
        self._fed_back: dict[DataRef, Columns] = {}
        self._sock, theirs = socket.socketpair()
        self._sock.settimeout(START_S)
        try:
            numbers = [theirs.fileno(), self._fault, os.getpid(), self._limit]
            command = [sys.executable, "-c", self.command, json.dumps(sys.path), *map(str, numbers)]
            self._process = _starter().submit(_start, command, (theirs.fileno(), self._fault)).result()
        except OSError as error:
            self._sock.close()
            os.close(self._fault)
            raise LostError("start", f"its process cannot be started: {error}") from error
        finally:
            theirs.close()
        self.peak_bytes = 0
        with suppress(OSError):  # if it is gone already, `run` tells
            self._greet(topology, spec)

    def _greet(self, topology: bytes, spec: DataProcessorSpec) -> None:
        send(self._sock, (topology, spec.name))

    @property
    def is_over_memory(self) -> bool:
        """Whether it holds more now than it may."""
        return bool(self._limit) and self._measured() > self._limit

    def run(
        self,
        source: TimeframeRef,
        inputs: Mapping[DataRef, Columns],
        limit_s: float,
        feedback: Mapping[DataRef, Columns] | None = None,
    ) -> Any:
        """Return the `TaskResult` of a timeframe, or the O2DaskError to be raised; LostError if neither came.

        `feedback` is what feedback inputs see; it is sent if it is other than before.
        """
        try:
            self._feed_back(feedback or {})
            send(self._sock, (source, dict(inputs)))
        except OSError:
            raise self._died() from None
        begun = self._answer(START_S, "start")
        if begun != BEGUN:
            raise ConfigError(f"expendable processors run in processes of their own: {begun}")
        made, told = self._answer(limit_s, "deadline")
        _log(told)
        self._measured()
        return made

    def _feed_back(self, feedback: Mapping[DataRef, Columns]) -> None:
        before = self._fed_back
        if feedback.keys() != before.keys() or any(before[ref] is not columns for ref, columns in feedback.items()):
            self._fed_back = dict(feedback)
            # A message of its own: the memory of a message is held for as long as any array in it.
            send(self._sock, (None, self._fed_back))

    def finish(self) -> None:
        """Let the processor end (``end_of_stream``), if it does within a while."""
        try:
            send(self._sock, None)
            _log(self._answer(END_S, "deadline"))
        except (OSError, LostError) as error:
            logging.getLogger(__name__).warning("end of an expendable processor: %s", error)

    def kill(self) -> None:
        """Kill it with all that it has started, and forget it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._sock.close()
        os.close(self._fault)

    def _answer(self, limit_s: float, cause: str) -> Any:
        """Return the next message; watch time and memory until it comes."""
        end = time.monotonic() + limit_s
        while True:
            left_s = end - time.monotonic()
            if wait([self._sock], max(0.0, min(left_s, WATCH_S))):
                try:
                    return receive(self._sock)
                except (EOFError, OSError):
                    raise self._died() from None
            if self._process.poll() is not None and not wait([self._sock], 0):  # its own children hold the socket
                raise self._died()
            if self._measured() > self._limit > 0:
                text = f"took {self.peak_bytes / MIB:.0f} MiB, over its limit of {self._limit / MIB:.0f} MiB"
                raise LostError("memory", text, self._where())
            if left_s <= 0:
                what = "was not initialised after" if cause == "start" else "was not done after"
                raise LostError(cause, f"{what} {limit_s:g} s", self._where())

    def _measured(self) -> int:
        held = own_memory(self._process.pid)
        self.peak_bytes = max(self.peak_bytes, held)
        return held

    def _died(self) -> LostError:
        try:
            status = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return LostError("crash", "closed its connection", self._where())
        if status >= 0:
            return LostError("crash", f"its process ended with status {status}", self._story())
        name = signal.Signals(-status).name
        more = ", perhaps by the system for want of memory" if name == "SIGKILL" else ""
        return LostError("crash", f"its process was killed by {name}{more}", self._story())

    def _where(self) -> str:
        """Have the process write down where it is; return that."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)
            time.sleep(SIGNAL_S)
        return self._story()

    def _story(self) -> str:
        n_bytes = os.fstat(self._fault).st_size
        return os.pread(self._fault, n_bytes, 0).decode(errors="replace")


def _start(command: list[str], fds: tuple[int, ...]) -> "subprocess.Popen[bytes]":
    # Nothing but these two descriptors is inherited: none of Dask's sockets, none of the user's files.
    return subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL, start_new_session=True)


@cache
def _starter() -> ThreadPoolExecutor:
    """Return a thread that lives as long as this process: children are killed when the thread that began them ends."""
    return ThreadPoolExecutor(1, thread_name_prefix="o2dask-starter")


def _log(told: list[tuple[str, int, str]]) -> None:
    for name, level, text in told:
        logging.getLogger(name).log(level, "%s", text)
