"""A run as a command makes it: signals, a face, the runner, the summary, the exit status.

`reco` and `simulate` share it. Knows runners and their reports; no file format, no workflow.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from o2dask.cli.boundary import BAD_DATA
from o2dask.cli.faces import JsonFace, choose_face, rate_text
from o2dask.errors import ConfigError
from o2dask.monitoring.metrics import MetricBook

if TYPE_CHECKING:
    from o2dask.monitoring.events import Event, Progress
    from o2dask.runners.report import RunReport
    from o2dask.runners.settings import BatchSettings
    from o2dask.sink import Sink
    from o2dask.stream.settings import StreamSettings
    from o2dask.timeframe import TimeframeRef
    from o2dask.workflow import Topology

_DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""What workers run when they start: Ctrl-C is for the driver."""

__all__ = ["Interrupts", "carry_out", "parse_options", "size_text"]


class Interrupts:
    """A stop token set by Ctrl-C or SIGTERM; the second one kills this process and its workers.

    A terminal sends SIGINT to workers as well, where it would end the timeframe at hand: so it is blocked in this
    thread, and processes started from it inherit that. A thread of its own learns of signals through Python's wake-up
    socket, at once, even while this thread is deep in a kernel. Batch systems send SIGTERM to this process before the
    wall time ends: it drains as well.
    """

    def __init__(self) -> None:
        self.say: Callable[[str], None] = lambda text: None
        self.told = "stopping: what is in flight is finished and committed; once more to kill it"
        self.status = 0
        self._stop = threading.Event()
        self._is_main = threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}

    def is_set(self) -> bool:
        """Return whether to stop."""
        return self._stop.is_set()

    def __enter__(self) -> Self:
        if not self._is_main:
            return self
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._thread = threading.Thread(target=self._listen, name="interrupts", daemon=True)
        self._thread.start()  # before SIGINT is blocked here: one thread must take it
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, lambda number, frame: None)
        self._fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        resource_tracker.ensure_running()  # Python < 3.12 unblocks SIGINT when it starts this one for a first worker
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_main:
            return
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        signal.set_wakeup_fd(self._fd)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._writer.send(b"\0")
        self._thread.join()
        self._reader.close()
        self._writer.close()

    def _listen(self) -> None:
        while number := self._reader.recv(1)[0]:
            if number in self._before:
                self._caught(number)

    def _caught(self, number: int) -> None:
        self.status = 128 + number
        if self._stop.is_set():
            _kill_children()
            os._exit(self.status)
        self._stop.set()
        self.say(self.told)


def carry_out(
    topology: "Topology",
    refs: "Sequence[TimeframeRef]",
    sink: "Sink",
    settings: "BatchSettings",
    *,
    where: str,
    inline: bool = False,
    log_json: bool = False,
    lost: Sequence[str] = (),
    with_counters: bool = False,
    page: Path | None = None,
    source: "StreamSettings | None" = None,
) -> int:
    """Run all timeframes and return the exit status; progress goes to stderr, the summary to stdout.

    Parameters
    ----------
    topology, refs, sink, settings
        As for the runners; with `inline` only the journal and the resume of `settings` count.
    where : str
        What the user calls the output; "": nothing is kept.
    inline, log_json : bool
        Run in this process; write JSON lines to stderr and nothing to stdout.
    lost : sequence of str
        What the input has lost already: one line each; makes the status 1.
    with_counters : bool
        Show in the summary what processors counted.
    page : Path, optional
        Where to write a page on the run.
    source : StreamSettings, optional
        Where timeframes come from as a stream, instead of `refs`.
    """
    with Interrupts() as stop, choose_face(topology.name, log_json) as face:
        stop.say = face.say
        book = MetricBook()
        for text in lost:
            face.say(f"lost: {text}")
        if page is not None and not page.absolute().parent.is_dir():
            raise ConfigError(f"--report {page}: there is no folder {page.absolute().parent}; make it first")
        sink.prepare()  # what is wrong with the output is told before workers start
        progress = face if page is None else _both(face, book)
        if source is None:
            report = _run(topology, refs, sink, settings, inline, progress, stop)
        else:
            report = _stream(topology, source, sink, settings, progress, stop)
            lost = [*lost, *report.lost]
    if page is not None:
        _write_page(page, report, topology, book)
    status = 0 if report.ok and not lost else BAD_DATA
    if report.interrupted:
        status = stop.status
    if isinstance(face, JsonFace):
        face.write(_summary_json(report, where, lost, status))
    else:
        lines = _summary(report, where, lost) + (_counted(report) if with_counters else [])
        sys.stdout.write("\n".join(lines) + "\n")
    return status


def parse_options(given: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return ``processor.option=value`` texts as processor to option to value.

    >>> parse_options(["tpc-tracker.min_clusters=50"])
    {'tpc-tracker': {'min_clusters': '50'}}
    """
    options: dict[str, dict[str, str]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        processor, dot, option = name.strip().partition(".")
        if not (equals and dot and processor and option):
            raise ConfigError(f"option {text!r}: want processor.option=value, such as tpc-tracker.min_clusters=50")
        options.setdefault(processor, {})[option] = value
    return options


def size_text(n_bytes: float) -> str:
    """Return a size as people read it.

    >>> size_text(1536), size_text(2.5e9)
    ('1.5 kB', '2.5 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def _run(
    topology: "Topology",
    refs: "Sequence[TimeframeRef]",
    sink: "Sink",
    settings: "BatchSettings",
    inline: bool,
    progress: "Progress",
    stop: Interrupts,
) -> "RunReport":
    if inline:
        from o2dask.runners.inline import run_inline

        return run_inline(
            topology,
            refs,
            sink,
            journal=settings.journal,
            progress=progress,
            resume=settings.resume,
            stop=stop,
            isolate=settings.isolate,
        )
    from o2dask.runners.batch import run_batch

    with _deaf_workers():
        return run_batch(topology, refs, sink, settings=settings, progress=progress, stop=stop)


def _stream(
    topology: "Topology",
    source: "StreamSettings",
    sink: "Sink",
    settings: "BatchSettings",
    progress: "Progress",
    stop: Interrupts,
) -> "RunReport":
    from o2dask.runners.stream import run_stream

    def opened(address: str, stream: Any) -> None:
        stop.say(
            f"stream of {source.n_readouts} readouts on the scheduler at {address}; o2.connect({address!r}) shows it"
        )

    stop.told = "stopping: the source ends, what it has given is finished and committed; once more to kill it"
    with _deaf_workers():
        return run_stream(topology, source, sink, settings=settings, progress=progress, stop=stop, opened=opened)


@contextmanager
def _deaf_workers() -> Iterator[None]:
    """Have workers that are started take no notice of Ctrl-C."""
    import dask

    preload = dask.config.get("distributed.worker.preload", [])
    with dask.config.set({"distributed.worker.preload": [*preload, _DEAF]}):
        yield


def _summary(report: "RunReport", where: str, lost: Sequence[str]) -> list[str]:
    n_bytes, n_done = report.n_bytes, report.n_committed
    rate = f", {rate_text(n_done / report.wall_s)}" if report.wall_s and n_done else ""
    files = f"{report.n_files} files, " if Path(where).is_dir() or "://" in where else ""
    workers = f" on {report.n_workers} workers" if report.n_workers > 1 else ""
    kept = f": {files}{size_text(n_bytes)}" if where else "; nothing is kept (--out, --keep)"
    lines = [
        f"{n_done} of {report.n_timeframes} timeframes {f'committed to {where}' if where else 'done'} "
        f"in {report.wall_s:.1f} s{rate}{workers}{kept}"
    ]
    if report.n_already_done:
        lines.append(f"{report.n_already_done} were committed by an earlier run")
    if report.seconds:
        lines.append(f"time: {_shares(report.seconds)}")
    skipped = [q for q in report.quarantined if q.is_skipped]
    aside = [q for q in report.quarantined if not q.is_skipped]
    for failed, what in ((skipped, "skipped"), (aside, "set aside")):
        if failed:
            lines.append(f"{len(failed)} failed and were {what}:")
            lines += _listed([(q.reason, f"  {q.ref.id}: {q.reason}" + f" ({q.file})" * bool(q.file)) for q in failed])
    if aside and not any(q.file for q in aside):
        lines.append("their whole stories are kept where there is an output (--out)")
    if report.unlisted.n_quarantined:
        lines.append(f"  and {report.unlisted.n_quarantined} more before these, in the journal")
    lines += [f"processor {name}: {losses}" for name, losses in report.losses.items()]
    if lost:
        lines.append(f"{len(lost)} times the input has lost something:")
        lines += [f"  {text}" for text in lost]
    if report.ended:
        lines.append(f"a processor has ended the run; {len(report.abandoned)} timeframes were not begun")
    elif report.abandoned:
        lines.append(f"{len(report.abandoned)} are left; the same command with --resume does them")
    if report.failure:
        lines.append(f"stopped: {report.failure}")
    return lines


def _counted(report: "RunReport") -> list[str]:
    width = max(map(len, report.counters), default=0)
    return [f"  {name:{width}}  {count}" for name, count in report.counters.items()]


def _shares(seconds: Mapping[str, float]) -> str:
    total = sum(seconds.values()) or 1.0
    largest = Counter(seconds).most_common(6)
    return ", ".join(f"{name} {100 * s / total:.0f} %" for name, s in largest)


def _listed(told: Sequence[tuple[str, str]], per_reason: int = 3) -> list[str]:
    """Return lines, no more than a few of one reason."""
    lines, seen = [], Counter[str]()
    for reason, line in told:
        seen[reason] += 1
        if seen[reason] <= per_reason:
            lines.append(line)
    return lines + [f"  and {n - per_reason} more: {reason}" for reason, n in seen.items() if n > per_reason]


def _summary_json(report: "RunReport", where: str, lost: Sequence[str], status: int) -> dict[str, Any]:
    return {
        "event": "summary",
        "at": time.time(),
        "status": status,
        "output": where,
        "n_timeframes": report.n_timeframes,
        "n_committed": report.n_committed,
        "n_already_done": report.n_already_done,
        "n_quarantined": report.n_quarantined,
        "n_left": len(report.abandoned),
        "quarantined": [
            {"timeframe": str(q.ref.id), "source": f"{q.ref.url}#{q.ref.index}", "reason": q.reason, "file": q.file}
            for q in report.quarantined
        ],
        "lost": list(lost),
        "failure": report.failure,
        "interrupted": report.interrupted,
        "wall_s": report.wall_s,
        "n_workers": report.n_workers,
        "busy_fraction": report.busy_fraction,
        "n_bytes": report.n_bytes,
        "source": dict(report.source),
        "losses": {n: {"causes": dict(x.causes), "restarts": x.n_restarts} for n, x in report.losses.items()},
        "counters": dict(report.counters),
        "seconds": dict(report.seconds),
    }


def _both(first: "Progress", second: "Progress") -> "Progress":
    def tell(event: "Event") -> None:
        first(event)
        second(event)

    return tell


def _write_page(path: Path, report: "RunReport", topology: "Topology", book: MetricBook) -> None:
    """Write the page; the results are safe, so that a full disk is only told."""
    from o2dask.web.run_page import run_page

    try:
        path.write_text(run_page(report, topology.name, topology, book.summaries()), encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"--report {path}: cannot be written: {error.strerror}\n")


def _kill_children() -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
