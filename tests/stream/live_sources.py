"""Devices that cannot be asked again, for the processes of a stream."""

import time
from collections.abc import Iterator

from stream_tools import payloads, timeframe

from o2dask.columns import Columns
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId

Item = tuple[TimeframeId, dict[DataRef, Columns]] | None


def _mine(i: int, readout: int, n_readouts: int) -> Item:
    return timeframe(i), {ref: c for k, (ref, c) in enumerate(payloads(i).items()) if k % n_readouts == readout}


def lagging(readout: int, n_readouts: int) -> Iterator[Item]:
    """Give a timeframe every 10 ms; the second readout is half a second behind."""
    begun = time.monotonic() + 0.5 * readout
    for i in range(100_000):
        while time.monotonic() < begun + 0.01 * i:
            time.sleep(0.005)
            yield None
        yield _mine(i, readout, n_readouts)


def dumb(readout: int, n_readouts: int) -> Iterator[Item]:
    """Give five timeframes, of which the second readout has but three; nothing more."""
    for i in range(5 - 2 * readout):
        yield _mine(i, readout, n_readouts)
    while True:
        time.sleep(0.05)
        yield None


lagging.live = dumb.live = True  # type: ignore[attr-defined]
