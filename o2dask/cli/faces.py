"""What a run looks like while it runs: a bar on a terminal, lines in a log file, JSON for machines.

A face is told of events by the runner and of log messages by Python; it writes to stderr. Knows no runner.
"""

import json
import logging
import sys
import time
from types import TracebackType
from typing import Any, Self

from o2dask.monitoring.events import (
    Event,
    Notice,
    OutputLost,
    RunFinished,
    RunStarted,
    TimeframeCommitted,
    TimeframeQuarantined,
)

__all__ = ["BarFace", "Face", "JsonFace", "LineFace", "choose_face", "rate_text"]

SHOWN = 5
"""Failures told one by one while it runs; more are only counted until the summary."""


class Face:
    """Base: counts; a context in which warnings of the `logging` module come out through `say`."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.is_stream = False
        self.n_total = self.n_done = self.n_failed = self.n_before = self.n_lost = 0
        self._since = time.monotonic()
        self._handler = _Handler(self)

    def __call__(self, event: Event) -> None:
        """Take an event of the runner."""
        if isinstance(event, RunStarted):
            self.n_total, self.n_done = event.n_timeframes, event.n_already_done
            self.n_before, self.is_stream = event.n_already_done, event.is_stream
            self._since = time.monotonic()
            self.started(event)
        elif isinstance(event, TimeframeCommitted):
            self.n_done += 1
            self.advanced()
        elif isinstance(event, TimeframeQuarantined):
            self.n_failed += 1
            if self.n_failed <= SHOWN:
                self.say(f"failed {event.timeframe}: {event.reason}")
            elif self.n_failed == SHOWN + 1:
                self.say("more failures follow; the summary lists them")
            self.advanced()
        elif isinstance(event, OutputLost):
            self.n_lost += 1
            if self.n_lost <= SHOWN:
                first = event.text.partition("\n")[0]
                self.say(f"lost the output of {event.processor}, {event.timeframe}: {first}")
            elif self.n_lost == SHOWN + 1:
                self.say("more losses follow; the summary counts them")
        elif isinstance(event, Notice):
            self.say(f"note: {event.text}")
        elif isinstance(event, RunFinished):
            self.finished()

    def started(self, event: RunStarted) -> None:
        """The run begins."""

    def advanced(self) -> None:
        """A timeframe is committed or set aside."""

    def finished(self) -> None:
        """The run is over."""

    def say(self, text: str) -> None:
        """Tell the user a line."""
        sys.stderr.write(text + "\n")

    def rate(self) -> float:
        """Timeframes per second of this run."""
        return (self.n_done - self.n_before + self.n_failed) / max(time.monotonic() - self._since, 1e-6)

    def __enter__(self) -> Self:
        logging.getLogger("o2dask").addHandler(self._handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger("o2dask").removeHandler(self._handler)


class LineFace(Face):
    """For log files: a line now and then, at most every ten seconds."""

    every_s = 10.0

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._told = time.monotonic()

    def started(self, event: RunStarted) -> None:
        """Say what begins."""
        more = f", {event.n_already_done} already done" if event.n_already_done else ""
        workers = f"{event.n_workers} worker{'s' if event.n_workers > 1 else ''} ({event.backend})"
        what = "a stream" if event.is_stream else f"{event.n_timeframes} timeframes"
        self.say(f"{self.title}: {what}{more}, {workers}")

    def advanced(self) -> None:
        """Say how far it is, if that was a while ago."""
        now = time.monotonic()
        if now - self._told < self.every_s:
            return
        self._told = now
        done, rate = self.n_done + self.n_failed, self.rate()
        left = (self.n_total - done) / rate if rate else 0.0
        failed = f", {self.n_failed} failed" if self.n_failed else ""
        if self.is_stream:
            self.say(f"{self.title}: {done} timeframes{failed}, {rate_text(rate)}")
            return
        self.say(f"{self.title}: {done}/{self.n_total} timeframes{failed}, {rate_text(rate)}, {left:.0f} s left")


class BarFace(Face):
    """For a terminal: a bar with rate and time left; failures are told above it."""

    def __init__(self, title: str, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        super().__init__(title)
        self.console = console or Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None, complete_style="green", finished_style="green"),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", style="cyan"),
            TimeElapsedColumn(),
            TextColumn("[dim]left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[failed]}", style="red"),
            console=self.console,
            expand=True,
        )
        self._task = self._progress.add_task(f"{title}: starting", total=None, rate="", failed="")

    def started(self, event: RunStarted) -> None:
        """Show the bar."""
        self._progress.remove_task(self._task)
        title = f"{self.title} on {event.n_workers} workers" if event.n_workers > 1 else self.title
        self._task = self._progress.add_task(
            title,
            total=None if event.is_stream else event.n_timeframes,
            completed=event.n_already_done,
            rate="",
            failed="",
        )

    def advanced(self) -> None:
        """Move the bar."""
        failed = f"{self.n_failed} failed" if self.n_failed else ""
        self._progress.update(self._task, advance=1, rate=rate_text(self.rate()), failed=failed)

    def finished(self) -> None:
        """Leave the bar where it is."""
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print above the bar."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        super().__exit__(kind, error, trace)


class JsonFace(Face):
    """For machines: one JSON object per line, every event."""

    def __call__(self, event: Event) -> None:
        """Write the event."""
        self.write(event.as_json())

    def say(self, text: str) -> None:
        """Write a line as a notice."""
        self.write({"event": "notice", "at": time.time(), "text": text})

    def write(self, values: dict[str, Any]) -> None:
        """Write one object; numbers that JSON does not know become null."""
        sys.stderr.write(json.dumps(values, default=str) + "\n")
        sys.stderr.flush()


def choose_face(title: str, log_json: bool) -> Face:
    """Return the face that fits: JSON if asked for, a bar if stderr is a terminal, else lines."""
    if log_json:
        return JsonFace(title)
    return BarFace(title) if sys.stderr.isatty() else LineFace(title)


def rate_text(rate: float) -> str:
    """Return a rate [1/s] as people read it: ``3.2 TF/s``, or ``4.1 s/TF`` when slow."""
    if rate <= 0:
        return ""
    return f"{rate:.1f} TF/s" if rate >= 1 else f"{1 / rate:.1f} s/TF"


class _Handler(logging.Handler):
    """Passes warnings on to a face."""

    def __init__(self, face: Face) -> None:
        super().__init__(logging.WARNING)
        self._face = face

    def emit(self, record: logging.LogRecord) -> None:
        """Tell the message."""
        self._face.say(f"{record.levelname.lower()}: {record.getMessage()}")
