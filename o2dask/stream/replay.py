"""Timeframes of a source sent to a foreign device at a pace. Knows sources and senders; no queue, no command line."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from o2dask.ctf.batch import decode_timeframe
from o2dask.errors import DataError
from o2dask.stream.sources import Reading, Source
from o2dask.stream.zmq_out import Sender

__all__ = ["Replayed", "replay"]

NAP_S = 0.1
"""Longest sleep between two looks at a stop [s]."""


@dataclass(slots=True)
class Replayed:
    """What was sent: timeframes, bytes in messages, timeframes that could not be read, and the time it took [s]."""

    n_sent: int = 0
    n_bytes: int = 0
    n_lost: int = 0
    wall_s: float = 0.0

    def __str__(self) -> str:
        seconds = max(self.wall_s, 1e-9)
        rate = f"{self.n_sent / seconds:.1f} TF/s, {self.n_bytes / seconds / 1e6:.1f} MB/s"
        lost = f", {self.n_lost} could not be read" if self.n_lost else ""
        return f"{self.n_sent} timeframes sent in {self.wall_s:.1f} s ({rate}){lost}"


def replay(
    source: Source,
    sender: Sender,
    done: Replayed,
    *,
    rate: float = 0.0,
    most: int | None = None,
    only: Sequence[str] = (),
    tell: Callable[[str], None] = lambda text: None,
    is_stopped: Callable[[], bool] = lambda: False,
    first_wait_s: float = 0.0,
) -> None:
    """Send what a source gives, decoded, until it ends.

    Parameters
    ----------
    source, sender
        From where to where.
    done : Replayed
        Is kept up to date, so that an interrupted caller knows.
    rate : float
        Timeframes per second; 0 as fast as the receiver takes them.
    most : int, optional
        Stop after so many.
    only : sequence of str
        Patterns of data to send, ``TPC/*``; all by default.
    tell : callable
        Is told of a timeframe that is lost, in one line.
    is_stopped : callable
        Asked between timeframes, a message being sent whole or not at all.
    first_wait_s : float
        How long to wait for the first receiver, if longer than the channel's time-out [s].
    """
    start = time.monotonic()
    patterns = [pattern if pattern.count("/") == 2 else f"{pattern}/*" for pattern in only]
    try:
        for number, reading in enumerate(filter(None, source.readings(0))):
            if most is not None and number >= most:
                return
            while not is_stopped() and rate and (left := start + number / rate - time.monotonic()) > 0:
                time.sleep(min(left, NAP_S))
            limit_s = sender.channel.timeout if number else max(first_wait_s, sender.channel.timeout)
            if is_stopped() or not sender.wait(limit_s, tell, is_stopped):
                return
            _send(reading, sender, done, patterns, tell)
            done.wall_s = time.monotonic() - start
    finally:
        done.n_bytes = sender.n_bytes


def _send(
    reading: Reading, sender: Sender, done: Replayed, patterns: Sequence[str], tell: Callable[[str], None]
) -> None:
    try:
        if reading.error:
            raise DataError(reading.error)
        data = {} if reading.batch is None else decode_timeframe(reading.batch, None, str(reading.timeframe))
    except DataError as error:
        done.n_lost += 1
        tell(str(error))
        return
    if patterns:
        data = {ref: columns for ref, columns in data.items() if any(fnmatchcase(str(ref), p) for p in patterns)}
    sender.send(reading.timeframe, data)
    done.n_sent += 1
