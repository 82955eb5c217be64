"""Processors made of others: copies, pipelines in time, proxies, forwarders."""

import numpy as np
import pytest
from toy_specs import REFS, compiled, ran, source, spec, task

from o2dask.context import WorkerState
from o2dask.errors import SpecError
from o2dask.services import (
    ParallelContext,
)
from o2dask.specs import DataRef, Task
from o2dask.workflow import plan, run_task
from o2dask.workflow.builders import forward, input_proxy, merge_inputs, output_proxy, parallel, time_pipeline
from o2dask.workflow.lifecycle import finish


def place(ctx):
    p = ctx.services[ParallelContext]
    ctx.outputs.make("x", {"v": np.array([p.index, p.size, p.slot, p.n_slots])})


def test_random_numbers_differ_between_copies_with_long_names():
    seen = {}
    long = task(lambda ctx: seen.update({ctx.spec.name: ctx.rng.random()}), "a-name-of-more-than-sixteen-letters")
    ran(*parallel(long, 3), refs=REFS[:1])
    assert len(set(seen.values())) == 3


def test_parallel_copies_make_subspecifications_of_their_own_and_merge_again():
    copies = parallel(spec("finder", "n:TST/NUMBERS", "x:TST/X", place), 3)
    assert [p.name for p in copies] == ["finder-0", "finder-1", "finder-2"]

    def merge(ctx):
        ctx.counters["sum"] = sum(int(c["v"][0]) for c in ctx.inputs.values())
        assert all(c["v"][1] == 3 for c in ctx.inputs.values())

    merger = spec("merger", merge_inputs("x:TST/X", 3), "", merge)
    assert ran(source(), *copies, merger, refs=REFS[:2]).counters["merger.sum"] == 6
    amended = parallel(copies[0], 2, lambda p, i: forward(f"f-{i}", "n:TST/NUMBERS", f"TST/N{i}"))
    assert [str(p.outputs[0].ref) for p in amended] == ["TST/N0/0", "TST/N1/0"]


def test_parallel_shares_out_ranges_of_subspecifications():
    def split(ctx):
        for i in range(10):
            ctx.outputs.make("part", {"v": np.array([i])}, subspec=i)

    def double(ctx):
        for ref, columns in ctx.inputs["part"].items():
            ctx.outputs.make("twice", {"v": 2 * columns["v"]}, subspec=ref.subspec)

    copies = parallel(spec("double", "part:TST/PART/*", "twice:TST/TWICE/*", double), 3, subspecs=range(10))
    assert [len(p.outputs) for p in copies] == [3, 3, 4]
    topology = compiled(spec("split", "", "part:TST/PART/*", split), *copies)
    (joined,) = plan(topology, ["TST/TWICE/*"], 1e9)
    outputs = run_task(topology, joined, REFS[0], {}, WorkerState()).outputs
    assert {ref.subspec: c["v"][0] for ref, c in outputs.items()} == {i: 2 * i for i in range(10)}
    with pytest.raises(SpecError, match="too few"):
        parallel(copies[0], 20, subspecs=range(10))
    with pytest.raises(SpecError, match="say how outputs"):
        parallel(spec("p", "", "x:TST/X/*"), 2)


def test_instances_of_a_time_pipeline_take_timeframes_in_turn_and_keep_apart():
    class Sum(Task):
        def init(self, ctx):
            self.seen = []

        def run(self, ctx):
            self.seen.append(ctx.timeframe.tf_counter)
            assert len({i % 3 for i in self.seen}) == 1
            place(ctx)

    piped = time_pipeline(spec("p", "", "x:TST/X", Sum), 3)
    topology, state = compiled(piped), WorkerState()
    (one,) = plan(topology, ["*"])
    slots = [run_task(topology, one, ref, {}, state).outputs[DataRef("TST", "X")]["v"][2] for ref in REFS]
    assert slots == [0, 1, 2, 0, 1, 2, 0, 1]
    finish(topology, state)
    assert state.built() == {}
    with pytest.raises(SpecError, match="3 instances already"):
        time_pipeline(piped, 2)


def test_proxies_and_forwarders_connect_to_the_outside():
    sent = []
    flow = (
        input_proxy("in", "x:TST/X", lambda ctx: {"x": {"v": np.array([ctx.timeframe.tf_counter])}}),
        forward("rename", "x:TST/X", "y:AOD/X"),
        output_proxy("out", "y:AOD/X", lambda ctx: sent.append(int(ctx.inputs["y"]["v"][0]))),
    )
    assert ran(*flow, refs=REFS[:3]).ok
    assert sent == [0, 1, 2]
    with pytest.raises(SpecError, match="an output for each input"):
        forward("f", "x:TST/X;y:TST/Y", "z:TST/Z")
