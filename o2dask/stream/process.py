"""What the processes of a stream have in common: their commands, their connection, and how they end.

A process is started with its settings as JSON and told what to do by lines on its standard input: ``run``, ``pause``,
``stop``, ``rate X``. When that input ends its supervisor is gone, and it goes too, whatever it does at the time. It
says ``ready`` on its standard output when it waits for ``run``, and why it fails, in one line, on its standard error.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import dask
from distributed import Client

from o2dask.errors import ConfigError, O2DaskError
from o2dask.stream.errors import SchedulerGoneError

__all__ = ["CONNECT_S", "DONE", "GONE", "READY", "WRONG", "Control", "connect", "main"]

CONNECT_S = 5.0
"""Time to reach the scheduler [s]; longer, and it takes longer to learn that it is gone."""
READY = "ready"
DONE, FAILED, WRONG, GONE = 0, 1, 2, 3
"""Exit status: its work is done; it failed, another may do better; its settings cannot work; the scheduler is gone."""


class Control:
    """What the supervisor wants now; lives on the loop of the process.

    Attributes
    ----------
    rate : float
        Timeframes per second over all, 0 for as fast as may be.
    is_stopping : bool
        Whether to come to an end.
    resumed_at : float
        When it last began to run (`time.monotonic`).
    """

    def __init__(self, rate: float = 0.0) -> None:
        self.rate, self.is_stopping = rate, False
        self.resumed_at = 0.0
        self._running, self._changed, self._stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @property
    def is_running(self) -> bool:
        """Whether to work."""
        return self._running.is_set()

    async def wait_running(self) -> None:
        """Return when there is work to do, or an end to come to."""
        await self._running.wait()

    async def wait_stopping(self) -> None:
        """Return when there is an end to come to."""
        await self._stopping.wait()

    async def sleep(self, seconds: float) -> None:
        """Sleep, until a command comes."""
        self._changed.clear()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    def obey(self, line: str) -> None:
        """Do what a line says; unknown lines do nothing."""
        word, _, value = line.strip().partition(" ")
        if word == "run" and not self._running.is_set():
            self.resumed_at = time.monotonic()
            self._running.set()
        elif word == "pause" and not self.is_stopping:
            self._running.clear()
        elif word == "stop":
            self.is_stopping = True
            self._running.set()
            self._stopping.set()
        elif word == "rate":
            with suppress(ValueError):
                self.rate = max(0.0, float(value))
        self._changed.set()


def _listen(control: Control, loop: asyncio.AbstractEventLoop) -> None:
    """Hand lines of the standard input to `control`; end the process when there are no more."""

    def listen() -> None:
        for line in sys.stdin:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(control.obey, line)
        os._exit(DONE)  # whatever it does: nobody wants it any more

    threading.Thread(target=listen, daemon=True, name="control").start()


async def connect(address: str) -> Client:
    """Return a client of the scheduler at `address`; SchedulerGoneError if there is none."""
    dask.config.set({"distributed.comm.timeouts.connect": CONNECT_S})
    try:
        return await Client(address, asynchronous=True, set_as_default=False, timeout=CONNECT_S, name="o2dask-stream")
    except (OSError, TimeoutError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SchedulerGoneError(f"no scheduler at {address}: {reason}") from error


Work = Callable[[dict[str, Any], Control], Coroutine[Any, Any, None]]


def main(work: Work, who: str) -> None:
    """Run `work` with the settings of the command line, and leave with a status that says how it went."""
    try:
        settings = json.loads(sys.argv[1])
        if not isinstance(settings, dict):
            raise ValueError(f"got {type(settings).__name__}")
    except (IndexError, ValueError) as error:
        os._exit(_told(WRONG, f"{who}: want its settings as JSON: {error}"))
    try:
        status = asyncio.run(_run(work, settings))
    except KeyboardInterrupt:
        status = DONE
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # not through Dask's and Python's own good-byes, which take a second and may talk


async def _run(work: Work, settings: dict[str, Any]) -> int:
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("distributed", "tornado", "asyncio")):  # a scheduler that is gone is told once, and by us
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    control = Control(float(settings.get("rate", 0.0)))
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver
    loop.add_signal_handler(signal.SIGTERM, control.obey, "stop")
    if settings.get("control", "stdin") == "stdin":
        _listen(control, loop)
    else:
        control.obey("run")
    try:
        await work(settings, control)
    except SchedulerGoneError as error:
        return _told(GONE, str(error))
    except ConfigError as error:
        return _told(WRONG, str(error))
    except O2DaskError as error:
        return _told(FAILED, str(error))
    except Exception as error:  # noqa: BLE001 - a user's source may raise anything; its supervisor starts another
        import traceback

        where = traceback.extract_tb(error.__traceback__)[-1]
        return _told(FAILED, f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")
    return DONE


def _told(status: int, text: str) -> int:
    print(" ".join(text.split()), file=sys.stderr, flush=True)  # noqa: T201
    return status
