"""Freed arrays stay with the process: the next ones cost no page faults."""

import resource
import subprocess
import sys

import pytest

from o2dask.analysis.heap import keep_freed_arrays

CODE = """
import resource, sys
import numpy as np
from o2dask.analysis.heap import keep_freed_arrays
keep_freed_arrays() if {keep} else None
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        one = np.ones(500_000, np.float32)
        three = one + one + one
        del one, three
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(not keep_freed_arrays(), reason="the C library is not glibc")
def test_temporary_arrays_of_a_task_are_not_faulted_in_again_and_again():
    found = {}
    for keep in (True, False):
        done = subprocess.run([sys.executable, "-c", CODE.format(keep=keep)], capture_output=True, check=True)
        found[keep] = int(done.stdout)
    assert found[True] < 2 * 2_000_000 / resource.getpagesize()  # two arrays' worth, over 50 rounds
    assert found[False] > found[True]
