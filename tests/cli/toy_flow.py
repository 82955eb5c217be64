"""A toy reconstruction for the tests of the command line: read by path, as a user's own file would be."""

import os
import time

import numpy as np

from o2dask.ctf import ctf_reader
from o2dask.errors import ConfigError, DataError
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, WorkflowSpec

OPTIONS = (
    ConfigParamSpec(name="factor", default=2, help="what digits are multiplied with"),
    ConfigParamSpec(name="fail", default="", help="comma-separated timeframe counters that fail, or 'all'"),
    ConfigParamSpec(name="die", default=-1, help="timeframe counter that kills its process"),
)


def scale(ctx):
    o = ctx.options
    time.sleep(float(os.environ.get("TOY_SLEEP", "0")))  # no option: it must not change the configuration
    if o["fail"] == "all" or str(ctx.timeframe.tf_counter) in o["fail"].split(","):
        raise DataError(f"timeframe {ctx.timeframe.tf_counter} is rotten")
    if o["die"] == ctx.timeframe.tf_counter:
        os._exit(11)
    ctx.counters["digits"] = ctx.inputs["digits"].n_rows
    ctx.outputs.make("scaled", {"value": ctx.inputs["digits"]["value"] * np.int64(o["factor"])})


def flow():
    scaler = DataProcessorSpec(
        name="scaler", inputs="digits:TST/DIGITS", outputs="scaled:TST/SCALED", algorithm=scale, options=OPTIONS
    )
    return WorkflowSpec("toy", (ctf_reader("digits:TST/DIGITS"), scaler))


def generate(ctx):
    n = max(ctx.options["collisions"], 1)
    ctx.outputs.make("collisions", {"v": np.full(n, ctx.options["seed"] * 1000 + ctx.source.index)})


def sim():
    options = tuple(
        ConfigParamSpec(name=name, default=default, help="")
        for name, default in (
            ("system", "pbpb"),
            ("rate", ""),
            ("collisions", -1),
            ("events", ""),
            ("seed", 1),
        )
    )
    source = DataProcessorSpec(
        name="event-generator", inputs="", outputs="collisions:MC/TOYS", algorithm=generate, options=options
    )
    return WorkflowSpec("toysim", (source,))


def loop():
    def spec(name, a, b):
        return DataProcessorSpec(name=name, inputs=f"i:TST/{a}", outputs=f"o:TST/{b}", algorithm=scale)

    return WorkflowSpec("loop", (spec("one", "A", "B"), spec("two", "B", "A")))


def broken():
    raise ConfigError("the calibration is not there; fetch it first")


def head():
    return WorkflowSpec("head", (ctf_reader("digits:TST/DIGITS"),))


def tail():
    return WorkflowSpec("tail", (flow().processors[1],))
