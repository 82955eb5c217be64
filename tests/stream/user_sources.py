"""Sources of users, for the tests: each is called in a process of its own."""

import os
import time
from itertools import count
from pathlib import Path

import numpy as np
from stream_tools import payloads, timeframe

from o2dask.columns import Columns, Schema
from o2dask.specs import DataRef


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


def hangs(readout, n_readouts):
    """A device that gives one timeframe and then hangs."""
    yield timeframe(0), _share(0, readout, n_readouts)
    hangs.counters["asked"] += 1
    time.sleep(1000)


hangs.live = True
hangs.counters = {"asked": 0}


def endless(readout, n_readouts):
    """Timeframes without end, each readout at its own pace."""
    for i in count():
        time.sleep(0.001 * readout)
        yield timeframe(i), _share(i % 7, readout, n_readouts)


def draws(readout, n_readouts):
    """A random number of each readout."""
    arrays = {"x": np.random.random(1)}  # noqa: NPY002  (the one that processes might share)
    yield timeframe(0), {DataRef("TST", "X", readout): Columns(Schema.infer("TST/X", arrays), arrays)}
