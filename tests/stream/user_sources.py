"""Sources of users, for the tests: each is called in a process of its own."""

import os
import time
from pathlib import Path

from stream_tools import payloads, timeframe


def _share(i, readout, n_readouts):
    return {ref: c for k, (ref, c) in enumerate(payloads(i).items()) if k % n_readouts == readout}


def whole(readout, n_readouts):
    """30 timeframes of which all parts come."""
    for i in range(30):
        yield timeframe(i), _share(i, readout, n_readouts)


def gaps(readout, n_readouts):
    """12 timeframes; the second readout never has every third."""
    for i in range(12):
        if readout == 0 or i % 3:
            yield timeframe(i), _share(i, readout, n_readouts)


def waits(readout, n_readouts):
    """A device that gives when a file is there."""
    yield timeframe(0), _share(0, readout, n_readouts)
    while not Path(os.environ["STREAM_TEST_FILE"]).exists():
        time.sleep(0.02)
        yield None
    yield timeframe(1), _share(1, readout, n_readouts)


def breaks(readout, n_readouts):
    """Raises whatever it is asked."""
    yield timeframe(0), {}
    raise RuntimeError("the device is on fire")


def device(readout, n_readouts):
    """As `waits`, and what it gave is gone."""
    yield from waits(readout, n_readouts)


device.live = True


def nothing(readout, n_readouts):
    """A device that is off."""
    yield None


nothing.live = True
