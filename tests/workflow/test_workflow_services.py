"""Services by type: what they do, how long they live, what a run makes of them; and copies of processors."""

import logging
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from toy_specs import source, spec

from o2dask.context import WorkerState
from o2dask.errors import ConfigError, MissingExtraError, SpecError, WorkflowError
from o2dask.monitoring.events import Metric as MetricEvent
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.services import (
    CallbackId,
    CallbackService,
    Conditions,
    ControlService,
    DeviceContext,
    Metric,
    Monitoring,
    ParallelContext,
    QuitBook,
    QuitRequest,
    ScratchFiles,
    ServiceSpec,
    ThreadPool,
    device,
    list_services,
    register_service,
    registry,
    service,
)
from o2dask.specs import ConfigParamSpec, DataRef, Task, WorkflowSpec
from o2dask.timeframe import enumerated
from o2dask.workflow import compile_workflow, plan, run_task
from o2dask.workflow.builders import forward, input_proxy, merge_inputs, output_proxy, parallel, time_pipeline
from o2dask.workflow.lifecycle import finish
from o2dask.workflow.matching import Outlets
from o2dask.workflow.serialise import workflow_from_json, workflow_to_json
from o2dask.workflow.subset import sub_workflow

REFS = enumerated(8)


def compiled(*processors):
    return compile_workflow(WorkflowSpec("w", processors))


def ran(*processors, refs=REFS, **more):
    return run_inline(compiled(*processors), refs, NoSink(), **more)


def task(run, name="p", **more):
    return spec(name, "", "", run, **more)


@service
class Geometry:
    """Counts how often it is made."""

    made = closed = 0

    def __init__(self):
        type(self).made += 1

    def close(self):
        type(self).closed += 1


@service(per="processor")
class Notes:
    """Knows whose it is."""

    def __init__(self, name):
        self.name = name

    @classmethod
    def create(cls, ctx):
        return cls(ctx.spec.name)


def test_a_service_of_ones_own_lives_as_long_as_it_says():
    names = []

    def run(ctx):
        assert ctx.services[Geometry] is ctx.services[Geometry]
        names.append(ctx.services[Notes].name)

    Geometry.made = Geometry.closed = 0
    assert ran(task(run, "a", services=(Geometry,)), task(run, "b"), refs=REFS[:3]).ok
    assert (Geometry.made, Geometry.closed) == (1, 1)
    assert names == ["a", "b"] * 3
    assert list_services()["Geometry"] == "Counts how often it is made."


def test_a_service_that_there_is_not_is_named_before_anything_runs():
    class Nowhere:
        pass

    with pytest.raises(WorkflowError, match=r"'p': no service Nowhere; there are .*Monitoring.*@o2dask\.service"):
        compiled(task(print, services=(Nowhere,)))
    report = ran(task(lambda ctx: ctx.services[Nowhere]), refs=REFS[:1])
    assert "no service Nowhere" in report.quarantined[0].reason
    with pytest.raises(SpecError, match="want one per worker"):
        service(per="run")


def test_metrics_reach_the_progress_of_the_run_with_their_tags():
    def run(ctx):
        ctx.services[Monitoring].send("tracks", np.int64(ctx.timeframe.tf_counter), sector="A03")
        ctx.services[Monitoring].send_vector("pt", np.array([1.0, 2.0]))

    seen = []
    ran(task(run), refs=REFS[:2], progress=seen.append)
    metrics = [e for e in seen if isinstance(e, MetricEvent)]
    assert Metric is MetricEvent
    assert [(m.name, m.value, m.tags, m.timeframe.tf_counter) for m in metrics] == [
        ("tracks", 0.0, {"sector": "A03"}, 0),
        ("pt", (1.0, 2.0), {}, 0),
        ("tracks", 1.0, {"sector": "A03"}, 1),
        ("pt", (1.0, 2.0), {}, 1),
    ]
    assert metrics[0].as_json()["tf_counter"] == 0
    report = ran(task(lambda ctx: ctx.services[Monitoring].send_vector("x", range(2000))), refs=REFS[:1])
    assert "at most 1000 values" in report.quarantined[0].reason


def at(n, deed):
    def run(ctx):
        ctx.counters["runs"] = 1
        if ctx.timeframe.tf_counter == n:
            deed(ctx.services[ControlService])

    return run


def test_quit_all_ends_the_run_in_good_order():
    report = ran(task(at(2, lambda c: c.quit_all())))
    assert report.ok and report.ended
    assert len(report.committed) == 3 and len(report.abandoned) == 5


def test_quit_me_ends_the_processor_alone_unless_others_need_it():
    report = ran(task(at(2, lambda c: c.quit_me()), "a"), task(at(-1, None), "b"))
    assert report.ok and not report.ended
    assert (report.counters["a.runs"], report.counters["b.runs"]) == (3, 8)

    def run(ctx):
        ctx.outputs.make("x", {"v": np.zeros(1)})
        at(2, lambda c: c.quit())(ctx)

    report = ran(spec("a", "", "x:TST/X", run), spec("b", "x:TST/X", "", lambda ctx: None))
    assert report.ended and len(report.committed) == 3


def test_the_run_ends_when_all_sources_are_ready():
    ready = [task(at(n, lambda c: c.ready_to_quit()), f"s{n}") for n in (1, 4)]
    report = ran(*ready)
    assert report.ended and len(report.committed) == 5
    book = QuitBook(["a"])
    assert not book.take(["ready:b"]) and book.take(["ready:a"]) and book.take([])
    assert QuitBook([]).take(["quit"])
    assert QuitRequest("all") is QuitRequest.ALL


def test_callbacks_are_called_at_the_turns_of_a_processor():
    calls = []

    class Chatty(Task):
        def init(self, ctx):
            for when in CallbackId:
                ctx.services[CallbackService].set(when, lambda ctx, when=when: calls.append(when))

        def run(self, ctx):
            calls.append("run")
            if ctx.timeframe.tf_counter == 2:
                raise ValueError("x")

        def end_of_stream(self, ctx):
            calls.append("task end")

    ran(spec("p", "t:TST/T?lifetime=timer&every=2", "", Chatty), refs=REFS[:3])
    tick, end, stop = "clock-tick", "end-of-stream", "stop"
    assert calls == ["start", tick, "run", "idle", tick, "run", "reset", "task end", end, stop]


def test_an_end_that_fails_keeps_no_other_from_ending(logged):
    ended = []

    class Bad(Task):
        def run(self, ctx):
            pass

        def end_of_stream(self, ctx):
            ended.append(ctx.spec.name)
            ctx.outputs.make("x", {})

    assert ran(task(Bad, "a"), task(Bad, "b"), refs=REFS[:1]).ok
    assert ended == ["a", "b"]
    assert "end of processor 'a': SpecError: output 'x' is not declared" in logged.text


def test_scratch_threads_device_random_numbers_and_logger_are_there(logged):
    paths, drawn = [], []

    def run(ctx):
        path = ctx.services[ScratchFiles].path("deep/fit.txt")
        path.write_text("x")
        paths.append(path)
        assert ctx.services[ThreadPool].map(pow, [2, 3], [3, 2]) == [8, 9]
        assert "CPU" in ctx.services[DeviceContext].kinds
        drawn.append(ctx.services[np.random.Generator].integers(1 << 60))
        ctx.services[logging.LoggerAdapter].warning("odd")

    assert ran(task(run), refs=REFS[:2]).ok
    assert paths[0] == paths[1] and not paths[0].parents[1].exists()
    assert drawn[0] != drawn[1]
    assert logged.messages == ["odd", "odd"]
    again = list(drawn)
    ran(task(run), refs=REFS[:2])
    assert drawn[2:] == again


def test_conditions_are_there_by_path_if_there_is_a_store(tmp_path):
    from o2dask.conditions import ConditionFetcher, LocalStore

    store = LocalStore(tmp_path)
    store.put("TPC/Calib/VDrift", {"velocity": 2.58}, 0, 1 << 50)
    seen = []
    ask = task(lambda ctx: seen.append(ctx.services[Conditions].get("TPC/Calib/VDrift")["velocity"]))
    topology = compile_workflow(WorkflowSpec("w", (ask,)), conditions=ConditionFetcher(store))
    assert run_inline(topology, REFS[:2], NoSink()).ok
    assert seen == [2.58, 2.58]
    assert "no store of conditions" in ran(ask, refs=REFS[:1]).quarantined[0].reason


def test_random_numbers_differ_between_copies_with_long_names():
    seen = {}
    long = task(lambda ctx: seen.update({ctx.spec.name: ctx.rng.random()}), "a-name-of-more-than-sixteen-letters")
    ran(*parallel(long, 3), refs=REFS[:1])
    assert len(set(seen.values())) == 3


def place(ctx):
    p = ctx.services[ParallelContext]
    ctx.outputs.make("x", {"v": np.array([p.index, p.size, p.slot, p.n_slots])})


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


def chain():
    return WorkflowSpec(
        "w",
        (
            source(),
            spec("a", "n:TST/NUMBERS", "a:TST/A"),
            spec("b", "a:TST/A", "b:TST/B"),
            spec("qc", "a:TST/A;b:TST/B?lifetime=optional", "q:QC/H"),
            spec("end", "b:TST/B", "e:AOD/E"),
        ),
    )


@pytest.mark.parametrize(
    ("part", "left"),
    [
        ({"only": ["TST/A"]}, ["numbers", "a"]),
        ({"only": ["AOD/*"]}, ["numbers", "a", "b", "end"]),
        ({"until": ["b"]}, ["numbers", "a", "b"]),
        ({"until": ["b", "qc"]}, ["numbers", "a", "b", "qc"]),
        ({"skip": ["b"]}, ["numbers", "a", "qc"]),
        ({"skip": ["qc", "end"]}, ["numbers", "a", "b"]),
        ({"until": ["qc"], "skip": ["b"]}, ["numbers", "a", "qc"]),
    ],
    ids=str,
)
def test_a_part_of_a_workflow_is_what_is_needed(part, left):
    made = sub_workflow(chain(), **part)
    assert [p.name for p in made.processors] == left
    compile_workflow(made)


@pytest.mark.parametrize("part", [{"only": ["TST/Z"]}, {"until": ["bb"]}, {"skip": ["zz"]}, {"skip": ["numbers"]}])
def test_a_part_that_there_is_not_is_refused(part):
    with pytest.raises(WorkflowError, match=r"has no (processor|datum)|nothing is left"):
        sub_workflow(chain(), **part)


def test_outlets_find_what_a_slow_search_finds():
    workflow = chain()
    outlets = Outlets("w", workflow.processors)
    for consumer in workflow.processors:
        for wanted in spec("x", "a:*/*/*;b:T?T/A/*;c:TST/B/0;d:QC/H/*", "").inputs:
            slow = [(p, o) for p in workflow.processors for o in p.outputs if wanted.matches(o.ref)]
            assert outlets.of(wanted, consumer) == [x for x in slow if not (wanted.is_wildcard and x[0] is consumer)]


class Fitter:
    """Of another package: knows nothing of services."""

    def __init__(self, seed):
        self.seed = seed


def make_fitter(ctx):
    return Fitter(ctx.options["seed"])


def test_a_class_of_others_comes_as_a_service_with_its_processor(tmp_path):
    seen = []

    def run(ctx):
        assert Fitter in ctx.services and ctx.services[Fitter] is ctx.services[Fitter]
        seen.append(ctx.services[Fitter].seed)

    seed = ConfigParamSpec(name="seed", default=7)
    brought = ServiceSpec(Fitter, make_fitter, per="processor")
    assert ran(task(run, services=(brought,), options=(seed,)), refs=REFS[:2]).ok
    assert seen == [7, 7]
    with pytest.raises(WorkflowError, match=r"no service Fitter.*give a ServiceSpec"):
        compiled(task(run, services=(Fitter,)))
    flow = WorkflowSpec("w", (task(place, services=(brought, Geometry)),))
    assert workflow_from_json(workflow_to_json(flow)) == flow
    for bad in ({"kind": 5}, {"kind": Fitter, "build": 5}, {"kind": Fitter, "per": "run"}):
        with pytest.raises(SpecError, match="service"):
            ServiceSpec(**bad)


def test_services_of_installed_packages_are_found_by_entry_point(monkeypatch):
    class Entry:
        def __init__(self, name, found):
            self.name, self.value, self.found = name, f"somewhere:{name}", found

        def load(self):
            if isinstance(self.found, Exception):
                raise self.found
            return self.found

    class Installed(Fitter):
        """Made by a package."""

    installed = [Entry("a", Geometry), Entry("b", lambda: register_service(Installed, make_fitter, "timeframe"))]
    monkeypatch.setattr(registry, "entry_points", lambda group: installed if group == "o2dask.services" else [])
    registry._load_installed.cache_clear()
    try:
        compiled(task(print, services=(Installed,)))
        assert list_services()["Installed"] == "Made by a package."
        installed[:] = [Entry("broken", ImportError("no libfit"))]
        registry._load_installed.cache_clear()
        with pytest.raises(ConfigError, match=r"service 'broken' .*somewhere:broken cannot be loaded: .*no libfit"):
            list_services()
    finally:
        registry._others.pop(Installed, None), registry._known.pop("Installed", None)
        monkeypatch.undo()
        registry._load_installed.cache_clear()


def test_the_device_context_tells_of_a_gpu_and_frees_its_pool(monkeypatch):
    class Pool:
        freed = 0

        def free_all_blocks(self):
            type(self).freed += 1

    pool = Pool()
    cupy = SimpleNamespace(
        get_default_memory_pool=lambda: pool,
        cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=OSError)),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(device, "find_spec", lambda name: name == "cupy")
    device._count_gpus.cache_clear()
    ran_on = []

    def on_gpu(ctx):
        assert ctx.services[DeviceContext].has_gpu and ctx.services[DeviceContext].memory_pool is pool
        ran_on.append("GPU")

    try:
        both = {"CPU": lambda ctx: ran_on.append("CPU"), "GPU": on_gpu}
        assert ran(task(both), refs=REFS[:1]).ok
        monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 0)
        device._count_gpus.cache_clear()
        assert ran(task(both), refs=REFS[:1]).ok
        with pytest.raises(MissingExtraError, match=r"o2dask\[gpu\]"):
            _ = DeviceContext().memory_pool
    finally:
        device._count_gpus.cache_clear()
    assert ran_on == ["GPU", "CPU"]
    assert Pool.freed == 1, "at the end of the worker that had one"


def test_what_is_logged_has_the_processor_and_the_timeframe():
    records = []

    class Keep(logging.Handler):
        def emit(self, record):
            records.append((record.name, record.processor, record.timeframe))

    handler = Keep()
    logging.getLogger("o2dask").addHandler(handler)
    try:
        ran(task(lambda ctx: ctx.services[logging.LoggerAdapter].warning("odd"), "finder"), refs=REFS[1:2])
    finally:
        logging.getLogger("o2dask").removeHandler(handler)
    assert records == [("o2dask.processor.finder", "finder", str(REFS[1].id))]


def test_the_thread_pool_has_the_threads_of_the_worker_and_ends_with_it(monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    names, pools = set(), []

    def run(ctx):
        pool = ctx.services[ThreadPool]
        pools.append(pool)
        gate = threading.Barrier(3, timeout=10)  # passes only if three run at once
        names.update(pool.map(lambda _: (gate.wait(), threading.current_thread().name)[1], range(3)))
        assert pool.submit(pow, 2, 5).result() == 32

    assert ran(task(run), refs=REFS[:2]).ok
    assert pools[0] is pools[1] and pools[0].n_threads == 3
    assert len(names) == 3 and all(name.startswith("o2dask") for name in names)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pools[0].submit(pow, 2, 5)
