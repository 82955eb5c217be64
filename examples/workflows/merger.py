"""Merger: copies of a source, one per sector, and a processor that merges what they make.

o2dask run examples/workflows/merger.py:workflow --timeframes 3 --sectors 18
"""

import numpy as np

import o2dask as o2
from o2dask.services import ParallelContext


def digitise(ctx):
    """Make as many digits as the number of the sector."""
    sector = ctx.services[ParallelContext].index
    ctx.outputs.make("digits", {"sector": np.full(sector, sector, np.int16)})


def merge(ctx):
    sectors = [digits["sector"] for digits in ctx.inputs["all"].values()]
    ctx.counters["digits"] = sum(map(len, sectors))
    ctx.outputs.make("merged", {"sector": np.concatenate(sectors)})


@o2.customize(sectors=o2.Option(4, "how many", minimum=1, maximum=36))
def workflow(cfg):
    digitiser = o2.DataProcessorSpec("digitiser", inputs="", outputs="digits:TST/DIGITS/0", algorithm=digitise)
    merger = o2.DataProcessorSpec("merger", inputs="all:TST/DIGITS/*", outputs="merged:TST/MERGED", algorithm=merge)
    return [*o2.parallel(digitiser, cfg.options["sectors"]), merger]
