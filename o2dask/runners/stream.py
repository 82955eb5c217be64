"""The stream runner: timeframes come from readout processes through queues, and go through the graphs of batch.

Same driver, ledger, graph, sink as batch; only where timeframes come from differs. A timeframe is settled, and its bulk
unlinked, after its results are committed, so whatever dies in between it comes again; that it counts once follows from
an idempotent sink and from the ledger, which knows what is done.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from o2dask.monitoring.events import Progress
from o2dask.runners.announce import Announced
from o2dask.runners.batch import check_resources
from o2dask.runners.beside import Beside
from o2dask.runners.beside_plan import split
from o2dask.runners.cluster import Backend, open_backend
from o2dask.runners.control import StreamControl
from o2dask.runners.driver import Driver
from o2dask.runners.ledger import Ledger, StopToken
from o2dask.runners.plugin import RunPlugin, plan_run
from o2dask.runners.remote import Commands, commanded
from o2dask.runners.report import RunReport
from o2dask.runners.settings import BatchSettings
from o2dask.sink import Sink
from o2dask.stream.errors import StreamError
from o2dask.stream.session import Stream, open_stream
from o2dask.stream.settings import StreamSettings
from o2dask.stream.sources import probe_source
from o2dask.stream.supervisor import State
from o2dask.timeframe import TimeframeRef
from o2dask.workflow.topology import Topology

__all__ = ["is_endless", "run_stream", "session_of"]


def run_stream(
    topology: Topology,
    source: StreamSettings,
    sink: Sink,
    *,
    settings: BatchSettings | None = None,
    progress: Progress | None = None,
    stop: StopToken | None = None,
    opened: Callable[[str, Stream], None] | None = None,
) -> RunReport:
    """Return the report of a run of `topology` over all timeframes that `source` gives, on Dask workers.

    Parameters
    ----------
    topology : Topology
        From `compile_workflow`.
    source : StreamSettings
        Where timeframes come from, how fast, and what becomes of what does not fit.
    sink : Sink
        Where the results go.
    settings : BatchSettings
        Workers, window, memory, journal.
    progress : callable, optional
        Is told of every event, in this thread.
    stop : StopToken, optional
        When set, the source ends, and all that it has given is done. A `StreamControl` pauses as well.
    opened : callable, optional
        Called with the address of the scheduler and the stream when all is configured, before it starts.

    Returns
    -------
    RunReport
        Of a stream, which lists the last timeframes only; also when the run was stopped by a full disk or a lost
        scheduler: then `failure` says so, and the same command with resume goes on.

    Raises
    ------
    ConfigError
        Before the first timeframe, if the run cannot work.
    """
    settings = settings or BatchSettings()
    control = stop if isinstance(stop, StreamControl) else StreamControl(stop.is_set if stop else lambda: False)
    graph, units = split(topology, sink.patterns)
    tasks = plan_run(graph, sink, units)
    wanted = frozenset(name for task in tasks for name, _ in task.resources)
    check_resources(graph, settings)
    probe_source(source.source, source.n_readouts)
    announced = Announced(topology.name, progress)
    with Ledger(topology, None, sink, journal=settings.journal, resume=settings.resume, progress=announced) as ledger:
        folder = Path(settings.journal) / "beside" if settings.journal and units else None
        with (
            Beside(topology, units, folder, resume=settings.resume) as beside,
            open_backend(settings, wanted) as backend,
            _opened(backend.client, source, ledger, settings.resume) as (stream, feed),
        ):
            ledger.left_out(stream.left_out)
            beside.begin(None, sink.is_committed)
            run = RunPlugin(graph, tasks, sink, settings.deadline_s, settings.isolate, units, beside.folder)
            driver = Driver(feed, ledger, backend, run, settings, control, beside)
            feed.call(driver.wake)
            control.listen(lambda pauses: stream.supervisor.pause() if pauses else stream.supervisor.resume())
            if opened is not None:
                opened(backend.address, stream)
            commands = Commands(announced.run, control, stream.supervisor.set_rate, backend.notices.append)
            with (
                announced.on(backend.client, lambda: _state(stream, driver, control)),
                commanded(backend.client, commands),
            ):
                stream.supervisor.listen(backend.notices.append)
                stream.supervisor.start()
                report = driver.run(lambda: _figures(stream, feed, ledger, backend, control))
                if settings.journal and (report.failure or report.abandoned):
                    stream.keep()
                return report


def is_endless(source: StreamSettings) -> bool:
    """Return whether the source has no end of its own, so that a stop is the way to end it."""
    return source.loop or "://" in source.source


def session_of(out: "Path | str") -> str:
    """Return the name of the session that writes to an output, the same for a run that resumes."""
    return hashlib.sha256(str(Path(out).absolute()).encode()).hexdigest()[:12]


class _LiveFeed:
    """The feed of a stream, which fails when its processes do; what they tell is passed on."""

    def __init__(self) -> None:
        self._stream: Stream | None = None
        self._wake: Callable[[], None] = lambda: None
        self.was_cut = False

    def ready(self) -> None:
        """Wake the driver; is called from any thread."""
        self._wake()

    def call(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when there is something to take."""
        self._wake = wake

    def begin(self, stream: Stream) -> None:
        """Take from this stream."""
        self._stream = stream

    @property
    def stream(self) -> Stream:
        """What it takes from."""
        assert self._stream is not None
        return self._stream

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more and all is settled."""
        return self.stream.feed.is_over

    @property
    def failure(self) -> str:
        """Why nothing comes any more."""
        return self.stream.feed.failure or self.stream.supervisor.check()

    def take(self, limit: int) -> Sequence[TimeframeRef]:
        """Return what is ready."""
        return self.stream.feed.take(limit)

    def settle(self, refs: Sequence[TimeframeRef]) -> None:
        """Have their bulk unlinked."""
        self.stream.feed.settle(refs)

    def stop(self) -> None:
        """Stop the source; a source that was at its end already is not cut short."""
        self.was_cut |= self.stream.supervisor.state is not State.STOPPED
        self.stream.feed.stop()

    def status(self) -> Mapping[str, int]:
        """Return what the feed counts."""
        return self.stream.feed.status()


@contextmanager
def _opened(client: Any, source: StreamSettings, ledger: Ledger, resume: bool) -> Iterator[tuple[Stream, _LiveFeed]]:
    feed, done = _LiveFeed(), ledger.done_before()
    with open_stream(client, replace(source, take_over=resume), on_ready=feed.ready, done=done) as stream:
        feed.begin(stream)
        yield stream, feed


def _counts(stream: Stream) -> dict[str, int]:
    """Return what queues and processes have counted."""
    counts: dict[str, int] = {}
    with suppress(StreamError):
        status = stream.parts.status()
        counts |= {name: int(n) for name, n in status["counts"].items()}
        counts |= {f"peak_{name}": int(status[f"peak_{name}"]) for name in ("timeframes", "bytes")}
        for report in status["reports"].values():
            for name, value in report.items():
                if isinstance(value, int):
                    counts[f"readout_{name}"] = counts.get(f"readout_{name}", 0) + value
    counts |= {f"feed_{name}": n for name, n in stream.feed.status().items()}
    return counts | {"restarts": stream.supervisor.n_restarts}


_LOST = {
    "dropped_full": "dropped because there was no room (--when-full drop)",
    "incomplete_dropped": "dropped because parts of them did not come in time (--incomplete drop)",
    "lost": "could not be read by a readout",
}


def _figures(
    stream: Stream, feed: _LiveFeed, ledger: Ledger, backend: Backend, control: StreamControl
) -> dict[str, Any]:
    """Return what the report of a stream says beyond the ledger."""
    if feed.was_cut and control.is_set() and not is_endless(stream.settings):
        ledger.interrupted = True
    counts = _counts(stream)
    lost = [f"{counts[name]} timeframes {why}" for name, why in _LOST.items() if counts.get(name)]
    if n := counts.get("incomplete_passed"):
        ledger.notice(f"{n} timeframes were passed on without parts that did not come in time")
    while backend.notices:
        ledger.notice(backend.notices.pop(0))
    return {"source": counts, "lost": tuple(lost)}


def _state(stream: Stream, driver: Driver, control: StreamControl) -> dict[str, Any]:
    """Return what a viewer sees beyond what events tell."""
    state = str(stream.supervisor.state).upper()
    status, built, feed = stream.parts.status(), stream.timeframes.status(), dict(stream.feed.status())
    counts = status["counts"]
    shown = ("ready", "leased", "timeframes", "bytes", "max_timeframes", "max_bytes", "oldest_s", "counts")
    return driver.window | {
        "state": "DRAINING" if control.is_set() and state != "STOPPED" else state,
        "queues": {
            "parts": {name: status[name] for name in shown},
            "timeframes": feed | {"leased": feed["out"]},
        },
        "lag_s": max(status["oldest_s"], built["oldest_s"]),
        "dropped": sum(counts.get(name, 0) for name in _LOST),
        "incomplete": counts.get("incomplete_passed", 0),
    }
