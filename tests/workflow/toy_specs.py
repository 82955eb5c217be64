"""A toy workflow and random ones, shared by the tests of workflow; imported from beside them."""

import numpy as np
from hypothesis import strategies as st

from o2dask.columns import Column, Schema
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, Option, Task, WorkflowSpec, parse_outputs
from o2dask.timeframe import TimeframeId, TimeframeRef, enumerated
from o2dask.workflow import compile_workflow

NUMBERS = Schema("TST/NUMBERS", (Column(name="x", dtype="int64", text="a number"),))
REFS = enumerated(8)
REF = TimeframeRef(id=TimeframeId(run=7, tf_counter=3, first_orbit=96), url="toy://", index=3)


def make_numbers(ctx):
    n = ctx.options["n"]
    ctx.outputs.make("numbers", {"x": np.arange(n) + ctx.timeframe.tf_counter})
    ctx.counters["rows"] = n


class Power(Task):
    """Raises numbers to a power that it learns once."""

    exponent = Option(2, "exponent")
    inits = 0

    def init(self, ctx):
        type(self).inits += 1

    def run(self, ctx):
        ctx.outputs.make("powers", {"y": ctx.inputs["numbers"]["x"] ** self.exponent})


def add_up(ctx):
    ctx.outputs.make("sums", {"total": np.array([ctx.inputs["powers"]["y"].sum()])})


def nothing(ctx):
    """Make no output: for specs that are never run."""


def spec(name, inputs, outputs, algorithm=nothing, **more):
    return DataProcessorSpec(name=name, inputs=inputs, outputs=outputs, algorithm=algorithm, **more)


def source(**more):
    outputs = parse_outputs("numbers:TST/NUMBERS", {"TST/NUMBERS": NUMBERS})
    option = ConfigParamSpec(name="n", default=5, help="rows")
    return spec("numbers", "", outputs, make_numbers, options=(option,), **more)


def power(**more):
    return spec("power", "numbers:TST/NUMBERS", "powers:TST/POWERS", Power, **more)


def total(**more):
    return spec("total", "powers:TST/POWERS", "sums:AOD/SUMS", add_up, **more)


def toy_workflow():
    return WorkflowSpec("toy", (source(), power(), total()))


def task(run, name="p", **more):
    """Return a processor that is given nothing and makes nothing."""
    return spec(name, "", "", run, **more)


def compiled(*processors, **more):
    return compile_workflow(WorkflowSpec("w", processors), **more)


def ran(*processors, refs=REFS, **more):
    """Run a workflow of these processors in this process and keep nothing of it; return the report."""
    return run_inline(compiled(*processors), refs, NoSink(), **more)


@st.composite
def random_workflows(draw):
    """Return a workflow over a random acyclic graph, declared in random order, with random costs and resources."""
    n = draw(st.integers(1, 12))
    links = [draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else set() for i in range(n)]
    processors = [
        spec(
            f"p{i}",
            ";".join(f"i{j}:RND/D{j}" for j in sorted(links[i])),
            f"out:RND/D{i}",
            cost_ms=draw(st.sampled_from([0, 5, 20, 45, 50, 300])),
            resources=draw(st.sampled_from([{}, {}, {"GPU": 1}])),
        )
        for i in range(n)
    ]
    return WorkflowSpec("random", tuple(draw(st.permutations(processors))))
