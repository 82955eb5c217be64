"""Splitter: a processor makes any number of data, TST/PART/*, and copies of another share them out.

Each part is sent when it is ready, so that the copy that has its share works before the next part is made.

o2dask run examples/workflows/splitter.py:workflow --timeframes 3 --workers 2
"""

import numpy as np

import o2dask as o2


def split(ctx):
    """Make a datum for each of 12 links."""
    for link in range(12):
        ctx.outputs.make("part", {"value": np.arange(link + 1)}, subspec=link)


def total(ctx):
    for ref, part in ctx.inputs["part"].items():
        ctx.outputs.make("sum", {"value": part["value"].sum(keepdims=True)}, subspec=ref.subspec)


def join(ctx):
    sums = {ref.subspec: int(columns["value"][0]) for ref, columns in ctx.inputs.parts("sums")}
    ctx.counters["right"] = sum(value == link * (link + 1) // 2 for link, value in sums.items())


def workflow():
    worker = o2.DataProcessorSpec("worker", inputs="part:TST/PART/*", outputs="sum:TST/SUM/*", algorithm=total)
    return [
        o2.DataProcessorSpec("splitter", inputs="", outputs="part:TST/PART/*", algorithm=split, dispatch="when-ready"),
        *o2.parallel(worker, 3, subspecs=range(12)),
        o2.DataProcessorSpec("joiner", inputs="sums:TST/SUM/*", outputs="", algorithm=join),
    ]
