"""Services by type: what they do, how long they live, and where they come from."""

import logging
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from toy_specs import REFS, compiled, nothing, ran, task

from o2dask.errors import ConfigError, MissingExtraError, SpecError, WorkflowError
from o2dask.monitoring.events import Metric as MetricEvent
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.services import (
    Conditions,
    DeviceContext,
    Metric,
    Monitoring,
    ScratchFiles,
    ServiceSpec,
    ThreadPool,
    device,
    list_services,
    register_service,
    registry,
    service,
)
from o2dask.specs import ConfigParamSpec, WorkflowSpec
from o2dask.workflow import compile_workflow
from o2dask.workflow.serialise import workflow_from_json, workflow_to_json


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
    flow = WorkflowSpec("w", (task(nothing, services=(brought, Geometry)),))
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
        gate = threading.Barrier(3, timeout=120)  # passes only if three run at once
        names.update(pool.map(lambda _: (gate.wait(), threading.current_thread().name)[1], range(3)))
        assert pool.submit(pow, 2, 5).result() == 32

    assert ran(task(run), refs=REFS[:2]).ok
    assert pools[0] is pools[1] and pools[0].n_threads == 3
    assert len(names) == 3 and all(name.startswith("o2dask") for name in names)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pools[0].submit(pow, 2, 5)
