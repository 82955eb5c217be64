"""Helpers of the tests of the command line, imported by name: a conftest of another folder may hide this one's."""

import numpy as np

from o2dask.columns import Columns, Schema
from o2dask.ctf import CtfWriter
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId

DIGITS = DataRef("TST", "DIGITS")


def write_ctf(path, n=4, first=0, run=7):
    """Write a CTF file of `n` timeframes with a hundred digits each."""
    with CtfWriter(path) as writer:
        for i in range(first, first + n):
            arrays = {"value": np.arange(100, dtype=np.int64) * (i + 1)}
            columns = Columns(Schema.infer(str(DIGITS), arrays), arrays)
            writer.write(TimeframeId(run=run, tf_counter=i, first_orbit=32 * i), {DIGITS: columns})
    return path


def one_line(result, status, *words):
    """Assert that `result` is an error in one line that has all `words`."""
    assert result.status == status, result.err or result.out
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
