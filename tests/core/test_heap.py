"""Arrays that are freed stay with the process and cost no page faults."""

import os
import resource
import subprocess
import sys

import pytest

from o2dask.heap import keep_freed_arrays

PAGE_FAULTS = """
import resource, sys
import numpy as np
from o2dask.heap import keep_freed_arrays
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
    usual = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}  # Dask leaves its workers'
    for keep in (True, False):
        words = [sys.executable, "-c", PAGE_FAULTS.format(keep=keep)]
        done = subprocess.run(words, capture_output=True, check=True, env=usual)
        found[keep] = int(done.stdout)
    assert found[True] < 2 * 2_000_000 / resource.getpagesize()  # two arrays' worth, over 50 rounds
    assert found[False] > found[True]
