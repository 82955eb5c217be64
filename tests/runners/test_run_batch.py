"""The batch runner on shared workers: equality with inline, window, quarantine, retry, stop and bad settings."""

import os
import pickle
import threading
import time
from pathlib import Path

import cloudpickle
import numpy as np
import psutil
import pytest
from distributed import Client
from distributed.protocol import deserialize, serialize
from runner_flows import PATTERNS, CountingSink, StopAfter, eventually, flow, timeframes

from o2dask.columns import Columns, Jagged, Schema
from o2dask.context import WorkerState
from o2dask.errors import CommitError, ConfigError
from o2dask.monitoring.events import TimeframeCommitted, TimeframeStarted
from o2dask.runners.batch import run_batch
from o2dask.runners.cluster import open_backend
from o2dask.runners.folder import FolderSink
from o2dask.runners.graph import Errand, Parcel, timeframe_graph
from o2dask.runners.inline import run_inline
from o2dask.runners.journal import Journal
from o2dask.runners.plugin import RunPlugin
from o2dask.runners.settings import WORKER_BASE_BYTES, BatchSettings
from o2dask.runners.step import Account, run_step
from o2dask.runners.testing import RunnerContract, contents
from o2dask.specs import DataProcessorSpec, DataRef, WorkflowSpec
from o2dask.workflow.compiler import compile_workflow
from o2dask.workflow.planner import plan


class TestSmallWorkflow(RunnerContract):
    def topology(self):
        return flow()

    def timeframes(self, folder: Path):
        return timeframes(6)

    def patterns(self):
        return PATTERNS


def sink_at(path: Path, **options: int) -> CountingSink:
    return CountingSink(str(path / "out"), PATTERNS, **options)


def test_bad_timeframes_are_set_aside_as_inline_does_and_the_others_finish(tmp_path, scheduler_address) -> None:
    refs = timeframes(6, special={1: "corrupt", 3: "broken", 4: "missing=/no/such/file"})
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log")
    batch = run_batch(flow(), refs, sink_at(tmp_path), settings=settings)
    inline = run_inline(flow(), refs, FolderSink(str(tmp_path / "inline"), PATTERNS), journal=tmp_path / "log2")
    assert [r.timeframe.tf_counter for r in batch.committed] == [0, 2, 5]
    assert not batch.ok and not batch.abandoned and not batch.failure
    assert [(q.ref, q.reason) for q in batch.quarantined] == [(q.ref, q.reason) for q in inline.quarantined]
    text = Path(batch.quarantined[1].file).read_text()
    for want in ("KeyError: 'alpha'", "ZeroDivisionError: deep in the code", "in _broken", "processor 'reader'"):
        assert want in text
    assert contents(tmp_path / "out") == contents(tmp_path / "inline")
    assert (tmp_path / "out.final").read_text() == "0 2 5"


def test_a_resumed_batch_run_goes_on_after_an_inline_one(tmp_path, scheduler_address) -> None:
    run_inline(flow(), timeframes(2), sink_at(tmp_path), journal=tmp_path / "log")
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log", resume=True)
    report = run_batch(flow(), timeframes(5), sink_at(tmp_path), settings=settings)
    assert report.ok and len(report.already_done) == 2
    assert sorted(sink_at(tmp_path).commits) == [0, 1, 2, 3, 4]
    report = run_batch(flow(), timeframes(5), sink_at(tmp_path), settings=settings)
    assert report.ok and len(report.already_done) == 5 and not report.committed


@pytest.mark.parametrize("window", [1, 3])
def test_no_more_timeframes_are_in_flight_than_the_window_has_room_for(tmp_path, scheduler_address, window) -> None:
    in_flight, seen = [], []

    def see(event) -> None:
        seen.append(event)
        started = sum(isinstance(e, TimeframeStarted) for e in seen)
        in_flight.append(started - sum(isinstance(e, TimeframeCommitted) for e in seen))

    settings = BatchSettings(scheduler=scheduler_address, window=window)
    report = run_batch(flow(), timeframes(8, "sleep=0.05"), sink_at(tmp_path), settings=settings, progress=see)
    assert report.ok
    assert max(in_flight) == report.peak_in_flight == window
    order = [e.timeframe.tf_counter for e in seen if isinstance(e, TimeframeStarted)]
    assert order == sorted(order), "older timeframes first"


def test_no_more_memory_is_promised_than_there_is(tmp_path, scheduler_address) -> None:
    budget = 300 << 20
    settings = BatchSettings(
        scheduler=scheduler_address, window=8, memory=2 * WORKER_BASE_BYTES + budget, expansion=20.0
    )
    # 10 MB stored, 100 MB in memory: measured, three fit; guessed, one.
    refs = timeframes(8, "big=100,sleep=0.1", n_bytes=10_000_000)
    report = run_batch(flow(), refs, sink_at(tmp_path), settings=settings)
    assert report.ok
    assert report.peak_bytes <= budget
    assert 1 <= report.peak_in_flight <= 3


def test_a_timeframe_whose_worker_is_killed_is_done_again_and_committed_once(tmp_path, scheduler_address) -> None:
    refs = timeframes(6, special={2: f"once={tmp_path}"})
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log")
    report = run_batch(flow(), refs, sink_at(tmp_path), settings=settings)
    assert report.ok
    assert (tmp_path / "killed-2").exists()
    assert set(sink_at(tmp_path).commits) == set(range(6))
    run_inline(flow(), refs, FolderSink(str(tmp_path / "inline"), PATTERNS))
    assert contents(tmp_path / "out") == contents(tmp_path / "inline")
    assert (tmp_path / "log/journal.jsonl").read_text().count("committed") == 6


def test_a_full_disk_stops_the_run_in_good_order(tmp_path, scheduler_address) -> None:
    refs = timeframes(12, "sleep=0.05")
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log", window=2)
    report = run_batch(flow(), refs, sink_at(tmp_path, full_at=4), settings=settings)
    assert "no space left on device" in report.failure and "make room and go on with --resume" in report.failure
    assert not report.ok and not report.quarantined and report.abandoned
    assert {r.timeframe.tf_counter for r in report.committed} <= {0, 1, 2, 3}
    assert not (tmp_path / "out.final").exists()
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log", resume=True)
    report = run_batch(flow(), refs, sink_at(tmp_path), settings=settings)
    assert report.ok
    assert sorted(sink_at(tmp_path).commits) == list(range(12))


def test_a_journal_that_cannot_be_written_stops_the_run(tmp_path, scheduler_address, monkeypatch) -> None:
    def fail(self, receipt) -> None:
        raise CommitError("journal.jsonl: cannot write the journal: No space left on device")

    monkeypatch.setattr(Journal, "write_all_committed", fail)
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log")
    report = run_batch(flow(), timeframes(5), sink_at(tmp_path), settings=settings)
    assert "cannot write the journal" in report.failure and len(report.abandoned) == 5


def test_a_stop_drains_what_is_in_flight_and_the_rest_can_be_resumed(tmp_path, scheduler_address) -> None:
    stop = StopAfter(2)
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log", window=3)
    refs = timeframes(12, "sleep=0.1")
    report = run_batch(flow(), refs, sink_at(tmp_path), settings=settings, progress=stop.see, stop=stop)
    assert report.interrupted and not report.ok and not report.failure
    assert 2 <= len(report.committed) <= 5, "two, and what was in flight with them"
    assert len(report.committed) + len(report.abandoned) == 12
    assert sorted(sink_at(tmp_path).commits) == [r.timeframe.tf_counter for r in report.committed]
    assert not (tmp_path / "out.final").exists()
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log", resume=True)
    report = run_batch(flow(), refs, sink_at(tmp_path), settings=settings)
    assert report.ok and sorted(sink_at(tmp_path).commits) == list(range(12))


def test_a_stop_before_the_start_does_nothing(tmp_path, scheduler_address) -> None:
    stop = threading.Event()
    stop.set()
    settings = BatchSettings(scheduler=scheduler_address)
    report = run_batch(flow(), timeframes(3), sink_at(tmp_path), settings=settings, stop=stop)
    assert report.interrupted and len(report.abandoned) == 3 and not report.committed


def test_after_a_run_the_workers_keep_nothing_of_it(tmp_path, cluster, scheduler_address) -> None:
    report = run_batch(flow(), timeframes(4), sink_at(tmp_path), settings=BatchSettings(scheduler=scheduler_address))
    assert report.ok
    with Client(cluster, set_as_default=False) as client:
        plugins = client.run(lambda dask_worker: [n for n in dask_worker.plugins if n.startswith("o2dask")])
        assert set(map(tuple, plugins.values())) == {()}
        eventually(lambda: not any(client.has_what().values()))
    assert not cluster.scheduler.tasks


def test_state_is_built_once_per_worker(tmp_path, scheduler_address) -> None:
    refs = timeframes(8, f"note={tmp_path}")
    assert run_batch(flow(), refs, sink_at(tmp_path), settings=BatchSettings(scheduler=scheduler_address)).ok
    lines = (tmp_path / "runs.txt").read_text().split("\n")[:-1]
    assert len(lines) == 8 and 1 <= len({line.split()[1] for line in lines}) <= 2


def test_a_resource_that_no_worker_has_is_a_config_error_unless_it_is_a_gpu(tmp_path, scheduler_address) -> None:
    settings = BatchSettings(scheduler=scheduler_address)
    with pytest.raises(ConfigError, match=r"has the resource DISK; start one: dask worker .* --resources"):
        run_batch(flow({"DISK": 1}), timeframes(2), sink_at(tmp_path), settings=settings)
    seen = []
    report = run_batch(flow({"GPU": 1}), timeframes(2), sink_at(tmp_path), settings=settings, progress=seen.append)
    assert report.ok
    assert any("running on CPUs" in getattr(event, "text", "") for event in seen)


def test_a_scheduler_that_is_not_there_is_a_config_error_within_seconds(tmp_path) -> None:
    start = time.monotonic()
    settings = BatchSettings(scheduler="tcp://127.0.0.1:9", connect_timeout_s=0.5)
    with pytest.raises(ConfigError, match=r"no scheduler at tcp://127\.0\.0\.1:9: .*leave out --scheduler") as caught:
        run_batch(flow(), timeframes(2), sink_at(tmp_path), settings=settings)
    assert time.monotonic() - start < 30
    assert "\n" not in str(caught.value)


def test_an_address_that_is_none_is_a_config_error(tmp_path) -> None:
    settings = BatchSettings(scheduler="nonsense://x:y", connect_timeout_s=0.5)
    with pytest.raises(ConfigError, match="no scheduler at nonsense"):
        run_batch(flow(), timeframes(2), sink_at(tmp_path), settings=settings)


def test_a_workflow_that_cannot_be_sent_is_a_config_error(tmp_path, scheduler_address) -> None:
    lock = threading.Lock()

    def locked(ctx) -> None:
        with lock:
            ctx.outputs.make("tracks", {"x": np.zeros(1)})

    spec = DataProcessorSpec(name="locked", inputs="", outputs="tracks:TST/TRACKS", algorithm=locked)
    topology = compile_workflow(WorkflowSpec("w", (spec,)))
    with pytest.raises(ConfigError, match="cannot be sent to workers"):
        run_batch(topology, timeframes(1), sink_at(tmp_path), settings=BatchSettings(scheduler=scheduler_address))


def test_without_gpus_a_gpu_run_falls_back_to_cpus_and_says_so(tmp_path) -> None:
    with open_backend(BatchSettings(workers=1, gpu=True, memory="1GiB"), frozenset({"GPU"})) as backend:
        assert backend.name == "LocalCluster"
        assert backend.without == {"GPU"}
        assert "GPUs are not used" in backend.notices[0]
        env = backend.client.run(lambda: {k: os.environ.get(k) for k in ("NUMBA_NUM_THREADS", "MALLOC_ARENA_MAX")})
        listening = {
            connection.laddr.ip
            for pid in [os.getpid(), *backend.client.run(os.getpid).values()]
            for connection in psutil.Process(pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
    values = next(iter(env.values()))
    assert values["MALLOC_ARENA_MAX"] == "2"
    assert 1 <= int(values["NUMBA_NUM_THREADS"]) <= (os.cpu_count() or 1)
    assert listening <= {"127.0.0.1", "::1"}, "nothing can be reached from other machines"


def test_columns_travel_out_of_band_and_stay_read_only() -> None:
    rng = np.random.default_rng(1)
    offsets = np.arange(100_001, dtype=np.int32)
    arrays = {"x": rng.random(100_000), "cov": rng.random((100_000, 15)), "hits": Jagged(offsets, rng.random(100_000))}
    columns = Columns(Schema.infer("T", arrays), arrays).freeze()
    header, frames = serialize(Parcel({DataRef("TST", "T"): columns}, {"a": Account()}))
    assert header["serializer"] == "pickle"
    in_band = [f for f in frames if not isinstance(f, (pickle.PickleBuffer, memoryview)) or memoryview(f).nbytes < 8192]
    assert sum(memoryview(f).nbytes for f in in_band) < 8192
    views = [np.frombuffer(f, np.uint8) for f in frames if memoryview(f).nbytes > 8192]
    assert any(np.shares_memory(view, columns["x"]) for view in views), "the array itself is sent, not a copy"
    back = deserialize(header, frames).outputs[DataRef("TST", "T")]
    assert back.equals(columns)
    assert not back["x"].flags.writeable and not back["hits"].content.flags.writeable


def strided(ctx) -> None:
    block = np.random.default_rng(1).random((50_000, 4))
    offsets = np.arange(50_001, dtype=np.int32) // 2
    ctx.outputs.make("tracks", {"x": block[:, 1], "hits": Jagged(offsets, block[::2, 0])})


def test_columns_that_do_not_lie_in_one_piece_are_packed_before_they_travel() -> None:
    spec = DataProcessorSpec(name="strided", inputs="", outputs="tracks:TST/TRACKS", algorithm=strided)
    topology = compile_workflow(WorkflowSpec("w", (spec,)))
    (task,) = plan(topology, ("*",))
    step = run_step(topology, task, timeframes(1)[0], {}, WorkerState())
    (columns,) = step.outputs.values()
    assert columns["x"].flags.c_contiguous and not columns["x"].flags.writeable
    assert columns["hits"].content.flags.c_contiguous
    np.testing.assert_array_equal(columns["x"], np.random.default_rng(1).random((50_000, 4))[:, 1])
    assert step.account.payload_bytes == columns.nbytes


def test_a_graph_holds_names_only_however_large_the_workflow_is() -> None:
    table = np.zeros(1_000_000)

    def heavy(ctx) -> None:
        ctx.outputs.make("tracks", {"x": table})

    spec = DataProcessorSpec(name="heavy", inputs="", outputs="tracks:TST/TRACKS", algorithm=heavy)
    topology = compile_workflow(WorkflowSpec("w", (spec,)))
    run = RunPlugin(topology, plan(topology, ("*",)), FolderSink("out"))
    graph, tail = timeframe_graph(run, Errand(timeframes(1)[0]), "s-0")
    assert len(cloudpickle.dumps(run)) > 8_000_000
    assert len(cloudpickle.dumps(dict(graph.__dask_graph__()))) < 5_000
    assert set(graph.__dask_graph__()) == {f"heavy-{tail}", f"commit-{tail}"}
