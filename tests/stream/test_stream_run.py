"""The stream runner as a whole: what it commits, in the order of trouble."""

import shutil
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from distributed import Client
from stream_flows import PATTERNS, FillingSink, flow

from o2dask.ctf import list_timeframes
from o2dask.errors import ConfigError
from o2dask.monitoring.events import TimeframeCommitted
from o2dask.runners.control import StreamControl
from o2dask.runners.inline import run_inline
from o2dask.runners.report import RunReport
from o2dask.runners.settings import BatchSettings
from o2dask.runners.stream import run_stream
from o2dask.runners.testing import contents
from o2dask.stream.settings import StreamSettings

N = 40
FLOWS = Path(__file__).with_name("stream_flows.py")


@pytest.fixture(scope="module")
def want(ctf, tmp_path_factory) -> dict[str, bytes]:
    """What inline makes of them."""
    out = str(tmp_path_factory.mktemp("inline") / "out")
    assert run_inline(flow(), list_timeframes([ctf]), FillingSink(out, PATTERNS)).ok
    return contents(out)


@pytest.fixture
def stream(tmp_path, cluster, ctf):
    """Run a stream over them; the spool is empty afterwards."""
    base = tmp_path / "shm"
    base.mkdir()

    with Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)

    def run(
        resume=False, full_at=1 << 30, progress=None, stop=None, settings=(), options=(), left_over=False, **source
    ):
        sink = FillingSink(str(tmp_path / "out"), PATTERNS, full_at)
        chosen = BatchSettings(
            scheduler=cluster.scheduler_address, journal=tmp_path / "log", resume=resume, **dict(settings)
        )
        source = {"source": f"replay:{ctf}", "n_readouts": 2, "base": str(base), **source}
        report = run_stream(
            flow(str(tmp_path), **dict(options)),
            StreamSettings(**source),
            sink,
            settings=chosen,
            progress=progress,
            stop=stop,
        )
        assert bool(list(base.iterdir())) == left_over, "the spool is gone"
        return report

    return run


def order(tmp_path: Path) -> list[int]:
    return [int(word) for word in (tmp_path / "order.txt").read_text().split()]


def test_a_stream_commits_the_bytes_of_inline_and_ends_by_itself(stream, tmp_path, want) -> None:
    report = stream()
    assert report.ok and report.n_committed == N and not report.interrupted
    assert contents(tmp_path / "out") == want
    assert report.counters["work.timeframes"] == N and report.source["built"] == N
    assert order(tmp_path) == list(range(N)), "the ordered processor had each once, in order, and was ended"


def test_what_fails_and_what_crashes_is_set_aside_and_the_rest_is_not_touched(stream, tmp_path, want) -> None:
    report = stream(options={"bad": "5 20", "crash": "30"})
    assert sorted(q.ref.id.tf_counter for q in report.quarantined) == [5, 20, 30]
    assert not report.ok and report.n_committed == N - 3
    got = contents(tmp_path / "out")
    assert got == {name: want[name] for name in got} and len(got) == len(want) // N * (N - 3)
    assert order(tmp_path) == [i for i in range(N) if i not in (5, 20, 30)]


def test_a_full_disk_stops_it_in_good_order_and_resume_does_the_rest(stream, tmp_path, want) -> None:
    first = stream(full_at=25)
    assert "no space left" in first.failure and 0 < first.n_committed <= 25
    second = stream(resume=True)
    assert second.ok and second.n_committed + second.n_already_done == N
    assert contents(tmp_path / "out") == want
    assert order(tmp_path) == list(range(N))


def test_output_of_another_run_is_not_mixed_with(stream) -> None:
    assert stream().ok
    with pytest.raises(ConfigError, match="already committed there; use --resume"):
        stream()


def test_an_endless_stream_is_drained_when_it_is_stopped(stream, tmp_path) -> None:
    control, seen = StreamControl(), []

    def see(event) -> None:
        seen.append(event)
        if sum(isinstance(e, TimeframeCommitted) for e in seen) == 2 * N + 5:
            control.stop()

    report = stream(loop=True, progress=see, stop=control, max_timeframes=16)
    assert report.ok and report.n_committed > 2 * N
    counters = sorted(e.timeframe.tf_counter for e in seen if isinstance(e, TimeframeCommitted))
    assert counters == list(range(len(counters))), "everything up to the last one read out"
    assert order(tmp_path) == counters


def test_a_loop_that_is_resumed_goes_on_where_it_was_and_reads_nothing_out_again(stream, tmp_path) -> None:
    def some(n: int, resume: bool) -> RunReport:
        control, seen = StreamControl(), []

        def see(event) -> None:
            seen.append(event)
            if sum(isinstance(e, TimeframeCommitted) for e in seen) >= n:
                control.stop()

        return stream(resume=resume, loop=True, progress=see, stop=control, max_timeframes=16, options={"sleep": 0.002})

    first, second = some(N + 5, False), some(N, True)
    assert first.ok and second.ok and second.n_already_done == first.n_committed > N
    total = first.n_committed + second.n_committed
    assert sorted(r.timeframe.tf_counter for r in (*first.committed, *second.committed)) == list(range(total))
    assert second.source["in"] == 2 * second.n_committed, "two parts of each new timeframe, none of those committed"
    assert order(tmp_path) == list(range(total))


def test_what_was_set_aside_or_taken_from_the_output_is_read_out_again_at_a_resume(stream, tmp_path, want) -> None:
    assert stream(options={"bad": "5"}).n_committed == N - 1
    shutil.rmtree(tmp_path / "out/run7_tf9_orbit288")
    report = stream(resume=True, options={"bad": "5"})
    assert [r.timeframe.tf_counter for r in report.committed] == [9] and report.n_already_done == N - 2
    assert [q.ref.id.tf_counter for q in report.quarantined] == [5] and report.source["in"] == 4
    got = contents(tmp_path / "out")
    assert got == {name: want[name] for name in got} and len(got) == len(want) // N * (N - 1)


def test_a_stop_before_the_end_is_an_interruption_that_resume_takes_up(stream, want, tmp_path) -> None:
    control = StreamControl()
    first = stream(rate=2.0, stop=control, progress=lambda e: isinstance(e, TimeframeCommitted) and control.stop())
    assert first.interrupted and 0 < first.n_committed < N and not first.abandoned
    second = stream(resume=True)
    assert second.ok and second.n_already_done == first.n_committed
    assert contents(tmp_path / "out") == want


def test_what_a_live_source_gave_is_not_lost_when_the_disk_fills(stream, tmp_path, want) -> None:
    """The source gives each timeframe once: what a failed run did not commit lies in the spool until it goes on."""
    first = stream(full_at=10, source=f"{FLOWS}:device", session="live", left_over=True, options={"sleep": 0.02})
    given = {int(path.name.split("_")[2]) for path in (tmp_path / "shm/o2dask-live").glob("TF_*")}
    assert "no space left" in first.failure and given and min(given) >= first.n_committed
    second = stream(resume=True, source=f"{FLOWS}:nothing", session="live", options={"sleep": 0.02})
    assert second.ok, second
    got = contents(tmp_path / "out")
    assert len(got) == len(PATTERNS) * (first.n_committed + second.n_committed)
    assert got == {name: want[name] for name in got}
    assert {r.timeframe.tf_counter for r in (*first.committed, *second.committed)} == given | set(
        range(first.n_committed)
    )
    assert order(tmp_path) == sorted(given | set(range(first.n_committed)))


def test_a_paused_stream_does_nothing_until_it_goes_on(stream) -> None:
    control, at = StreamControl(), []

    def see(event) -> None:
        if isinstance(event, TimeframeCommitted):
            at.append(time.monotonic())
            if len(at) == 5:
                control.pause()
                threading.Thread(target=resume).start()

    def resume() -> None:
        while time.monotonic() - at[-1] < 1.0:  # what was under way when it paused is still committed
            time.sleep(0.05)
        control.resume()

    report = stream(stop=control, progress=see, max_timeframes=4)
    assert report.ok and report.n_committed == N
    assert max(b - a for a, b in pairwise(at)) > 1.0


def test_what_finds_no_room_is_dropped_counted_and_told(stream) -> None:
    options = {"sleep": 0.1}
    report = stream(when_full="drop", max_timeframes=4, rate=60.0, options=options)
    dropped = report.source["dropped_full"]
    assert dropped > 0 and report.n_committed == N - dropped
    assert not report.ok and any(f"{dropped} timeframes dropped" in text for text in report.lost)


def test_a_source_that_cannot_work_is_told_before_anything_starts(stream, monkeypatch) -> None:
    monkeypatch.setattr("o2dask.runners.stream.open_backend", None)
    with pytest.raises(ConfigError, match="nowhere"):
        stream(source="replay:nowhere.ctf")
