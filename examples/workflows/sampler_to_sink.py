"""Sampler to sink: a source that makes up data, a task with options and state, a sink that looks at the result.

o2dask run examples/workflows/sampler_to_sink.py:workflow --timeframes 5 --gain "--threshold 2"
"""

import o2dask as o2
from o2dask.services import Monitoring


def sample(ctx):
    """Make charges with a mean of 5."""
    ctx.outputs.make("TST/CHARGE/0", {"adc": ctx.rng.exponential(5.0, 1000)})


class Gain(o2.Task):
    """Mean charge above a threshold."""

    threshold = o2.Option(3.0, "smallest charge that counts [ADC]", minimum=0)

    def init(self, ctx):
        self.n_timeframes = 0

    def run(self, ctx):
        self.n_timeframes += 1
        adc = ctx.inputs["charge"]["adc"]
        ctx.counters["charges"] = int((adc > self.threshold).sum())
        ctx.outputs.make("TST/GAIN/0", {"mean": adc[adc > self.threshold].mean(keepdims=True)})

    def end_of_stream(self, ctx):
        ctx.log.info("%d timeframes on this worker", self.n_timeframes)


def look(ctx):
    """An exponential has no memory: above a threshold its mean is 5 more than that."""
    ctx.services[Monitoring].send("gain", ctx.inputs["gain"]["mean"][0])
    ctx.counters["good"] = int(6 < ctx.inputs["gain"]["mean"][0] < 10)


def workflow():
    return [
        o2.DataProcessorSpec("sampler", inputs="", outputs="TST/CHARGE/0", algorithm=sample),
        o2.DataProcessorSpec("gain", inputs="charge:TST/CHARGE", outputs="TST/GAIN/0", algorithm=Gain),
        o2.DataProcessorSpec("sink", inputs="gain:TST/GAIN", outputs="", algorithm=look, services=(Monitoring,)),
    ]
