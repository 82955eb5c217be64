"""Expendable: quality control that fails on every third timeframe, and costs nothing but its own histogram.

o2dask run examples/workflows/expendable.py:workflow --timeframes 6
"""

import numpy as np

import o2dask as o2


def sample(ctx):
    ctx.outputs.make("charge", {"adc": ctx.rng.exponential(5.0, 1000)})


def check(ctx):
    """Fill a histogram."""
    if ctx.timeframe.tf_counter % 3 == 2:
        raise RuntimeError("a bin is missing")
    counts, _ = np.histogram(ctx.inputs["charge"]["adc"], bins=20, range=(0, 50))
    ctx.outputs.make("hist", {"counts": counts})


def publish(ctx):
    """Go on with the histogram, or without."""
    ctx.counters["published" if ctx.inputs.is_valid("hist") else "missing"] = 1


def workflow():
    return [
        o2.DataProcessorSpec("sampler", inputs="", outputs="charge:TST/CHARGE", algorithm=sample),
        o2.DataProcessorSpec(
            "qc", inputs="charge:TST/CHARGE", outputs="hist:QC/HIST?lifetime=qa", algorithm=check, expendable=True
        ),
        o2.DataProcessorSpec("publisher", inputs="hist:QC/HIST?lifetime=optional", outputs="", algorithm=publish),
    ]
