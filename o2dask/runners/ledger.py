"""The book of one run: which timeframes are to do, done, set aside or left; what every runner shares.

Knows the journal, the sink's word and the progress callback; no Dask, no graph. That inline and batch treat resume,
quarantine and a full disk alike follows from this.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from o2dask.errors import CommitError, ConfigError
from o2dask.monitoring.events import (
    Event,
    Notice,
    OutputLost,
    ProcessorRestarted,
    Progress,
    RunFinished,
    RunStarted,
    TimeframeCommitted,
    TimeframeQuarantined,
    TimeframeStarted,
)
from o2dask.runners import quarantine
from o2dask.runners.journal import Journal
from o2dask.runners.quarantine import Failure
from o2dask.runners.report import Losses, Quarantined, RunReport
from o2dask.runners.tally import Tally
from o2dask.runners.timeline import Timeline
from o2dask.services import QuitBook
from o2dask.sink import Receipt, Sink
from o2dask.timeframe import TimeframeId, TimeframeRef
from o2dask.workflow.topology import Topology

__all__ = ["Ledger", "StopToken", "advice", "configuration"]


class StopToken(Protocol):
    """What asks a run to stop, such as a `threading.Event`: what is in flight is finished, nothing new is begun."""

    def is_set(self) -> bool:
        """Return whether to stop."""
        ...


class Ledger:
    """Opens the journal and the sink, decides what is to do, keeps count.

    Parameters
    ----------
    topology : Topology
        The workflow that runs.
    refs : sequence of TimeframeRef, optional
        All timeframes, in the order in which they should be done; each id once. None: a stream, of which nobody knows
        what will come; then counts and the last of each kind are kept, however long it lasts.
    sink : Sink
        Where results go.
    journal : Path, optional
        Folder of the journal and of ``quarantine/``. Without it the sink alone decides what is done.
    resume : bool
        Whether committed timeframes are skipped; without it there must be none.
    progress : callable, optional
        Is told of every event.

    Attributes
    ----------
    is_over : bool
        A processor has ended the run, so that what is not yet begun is not to be done.
    timeline : Timeline
        Takes samples of the run for the report.
    todo : tuple of TimeframeRef
        Neither committed nor found so by the sink; includes what an earlier run quarantined. Empty for a stream.
    """

    def __init__(
        self,
        topology: Topology,
        refs: Sequence[TimeframeRef] | None,
        sink: Sink,
        *,
        journal: "Path | str | None" = None,
        resume: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.is_stream = refs is None
        self.refs = tuple(refs or ())
        self.sink = sink
        self.failure = ""
        self.interrupted = False
        self.is_over = False
        self.tally = Tally(None if self.is_stream else self.refs)
        self._resume, self._is_first = resume, True
        self._quits = QuitBook(p.name for p in topology.processors if p.is_source)
        self._progress = progress
        self._counters: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._losses: dict[str, Losses] = {}
        self._start = self._last = time.monotonic()
        self.timeline = Timeline()
        if not self.is_stream:
            _check_unique(self.refs)
        told = configuration(topology, sink)
        self._journal = Journal(Path(journal), told, resume=resume, keep=not self.is_stream) if journal else None
        try:
            sink.prepare()
            self.tally.find_done(self._find_done(resume))
        except BaseException:
            self.close()
            raise
        self.todo = tuple(ref for ref in self.refs if not self.tally.is_settled(ref.id))

    def _find_done(self, resume: bool) -> tuple[TimeframeRef, ...]:
        """Return what the sink has. What the journal has and the sink lost is done again; the reverse is written in."""
        done = tuple(ref for ref in self.refs if self.sink.is_committed(ref))
        if done and not resume:
            raise ConfigError(
                f"{len(done)} of {len(self.refs)} timeframes are already in the output, the first is {done[0].id}; "
                "use --resume to go on, or another output"
            )
        if done:
            self._check_known(len(done))
        for ref in done:
            self._write_in(ref)
        return done

    def _check_known(self, n_done: int) -> None:
        if self._journal is not None and self._journal.is_new:
            raise ConfigError(
                f"{self._journal.path} is missing or empty, so nobody knows how the {n_done} timeframes in the "
                "output were made; use another output"
            )

    def _write_in(self, ref: TimeframeRef) -> None:
        """Note what the sink has and the journal has not: killed between commit and journal."""
        if self._journal is not None:
            entry = self._journal.entries.get(ref.id)
            if entry is None or not entry.is_committed:
                self._journal.write_committed(Receipt(timeframe=ref.id))

    def admit(self, ref: TimeframeRef) -> bool:
        """Return whether a timeframe of a stream is to be done: not if it was, in this run or in one that it resumes.

        Raises
        ------
        CommitError
            If the journal cannot be written.
        ConfigError
            If the output holds timeframes that no run to be resumed has made.
        """
        if self.tally.is_settled(ref.id):
            return False
        if not (self._resume or self._is_first) or not self.sink.is_committed(ref):
            self._is_first = False
            return True
        if not self._resume:
            raise ConfigError(f"{ref.id} is already in the output; use --resume to go on, or another output")
        self._check_known(1)
        self._write_in(ref)
        self.tally.find_done([ref])
        return False

    def done_before(self) -> Iterator[TimeframeId]:
        """Give what an earlier run of a stream has committed, by the word of the journal and of the output."""
        for id_, entry in self._journal.entries.items() if self._journal is not None and self._resume else ():
            if entry.is_committed and self.sink.is_committed(TimeframeRef(id=id_, url="", index=0)):
                yield id_

    def left_out(self, ids: Iterable[TimeframeId]) -> None:
        """Count what is not given again because it is done."""
        self.tally.find_done(TimeframeRef(id=id_, url="", index=0) for id_ in ids)

    @property
    def n_left(self) -> int:
        """How many of the timeframes given are neither committed nor set aside."""
        tally = self.tally
        return len(self.refs) - tally.n_committed - tally.n_already_done - tally.n_quarantined

    def tell(self, event: Event) -> None:
        """Pass an event on to the progress callback."""
        if self._progress is not None:
            self._progress(event)

    def notice(self, text: str) -> None:
        """Tell the user something that stops nothing."""
        self.tell(Notice(text=text))

    def begin(self, n_workers: int = 1, backend: str = "inline") -> None:
        """Start the clock and say so."""
        self._start = self._last = time.monotonic()
        self.timeline = Timeline()
        self._n_workers, self._backend = n_workers, backend
        self.tell(
            RunStarted(
                n_timeframes=len(self.refs),
                n_already_done=self.tally.n_already_done,
                n_workers=n_workers,
                backend=backend,
                is_stream=self.is_stream,
            )
        )

    def started(self, ref: TimeframeRef, in_flight: int = 1) -> None:
        """Say that a timeframe is on its way."""
        if self._progress is not None:
            self._progress(TimeframeStarted(timeframe=ref.id, in_flight=in_flight))

    def committed(
        self,
        receipts: "Receipt | Sequence[tuple[Receipt, float]]",
        counters: Mapping[str, int],
        seconds: Mapping[str, float],
        spans: Iterable[tuple[float, float]] = (),
    ) -> None:
        """Enter a committed timeframe, or a group of them with the time in processors of each [s].

        CommitError if the journal cannot be written.
        """
        if isinstance(receipts, Receipt):
            receipts = [(receipts, sum(seconds.values()))]
        if self._journal is not None:
            before = [self._journal.entries.get(receipt.timeframe) for receipt, _ in receipts]
            self._journal.write_all_committed([receipt for receipt, _ in receipts])
            for entry in before:
                if entry is not None and entry.reason:
                    quarantine.forget_quarantined(self._journal.folder, entry.timeframe)
        self.told(counters, seconds)
        for start, end in spans:
            self.timeline.busy(start, end)
        self._last = time.monotonic()
        for receipt, took in receipts:
            self.tally.commit(receipt)
            if self._progress is not None:
                rows = dict(receipt.rows)
                self._progress(
                    TimeframeCommitted(timeframe=receipt.timeframe, n_bytes=receipt.n_bytes, seconds=took, rows=rows)
                )

    def told(self, counters: Mapping[str, int], seconds: Mapping[str, float]) -> None:
        """Enter what processors counted, and how long they took [s]."""
        self._counters.update(counters)
        for name, value in seconds.items():
            self._seconds[name] = self._seconds.get(name, 0.0) + value

    def heard(self, metrics: Iterable[Event], requests: Iterable[str]) -> None:
        """Pass on what processors sent to monitoring, and enter what they lost and what they asked of the run."""
        for metric in metrics:
            if isinstance(metric, OutputLost | ProcessorRestarted):
                self._losses[metric.processor] = self._losses.get(metric.processor, Losses()).after(metric)
            self.tell(metric)
        if self._quits.take(requests) and not self.is_over:
            self.is_over = True
            self.notice("a processor has ended the run")

    def quarantined(self, ref: TimeframeRef, failure: Failure) -> None:
        """Set a timeframe aside; CommitError if its story cannot be written. One that is skipped leaves no story."""
        file = ""
        if self._journal is not None and failure.is_skipped:
            self._journal.write_quarantined(ref.id, failure.reason)
        elif self._journal is not None:
            file = str(quarantine.write_quarantined(self._journal.folder, ref.id, failure))
            self._journal.write_quarantined(ref.id, failure.reason)
        self.tally.quarantine(
            Quarantined(ref=ref, reason=failure.reason, file=file, text=failure.text, is_skipped=failure.is_skipped)
        )
        self.tell(TimeframeQuarantined(timeframe=ref.id, reason=failure.reason, file=file))

    def fail(self, reason: str) -> None:
        """Note what stops the run; the first reason stays."""
        self.failure = self.failure or reason

    def finish(self, *, left: Sequence[TimeframeRef] = (), **figures: Any) -> RunReport:
        """Finish the output if the run came to its end, and return the report.

        `left` are timeframes of a stream that were taken and neither committed nor set aside.
        """
        wall = self._last - self._start
        abandoned = tuple(r for r in (left if self.is_stream else self.refs) if not self.tally.is_settled(r.id))
        if (self.is_over or not abandoned) and not self.failure:
            try:
                self.sink.finalize(self._all_committed())
            except CommitError as error:
                self.fail(advice(error))
        report = RunReport(
            committed=self.tally.committed(),
            already_done=self.tally.already_done(),
            quarantined=self.tally.quarantined(),
            unlisted=self.tally.unlisted(),
            abandoned=abandoned,
            counters=dict(sorted(self._counters.items())),
            seconds=dict(sorted(self._seconds.items())),
            losses=dict(sorted(self._losses.items())),
            wall_s=wall,
            history=self.timeline.history(self._n_workers, wall),
            n_workers=self._n_workers,
            backend=self._backend,
            interrupted=self.interrupted,
            ended=self.is_over,
            failure=self.failure,
            **figures,
        )
        self.tell(
            RunFinished(
                ok=report.ok,
                n_committed=report.n_committed + report.n_already_done,
                n_quarantined=report.n_quarantined,
                n_abandoned=len(report.abandoned),
                wall_s=wall,
                failure=report.failure,
            )
        )
        return report

    def _all_committed(self) -> tuple[TimeframeRef, ...]:
        """Return every timeframe that is in the output; of a stream in the order of their ids."""
        if not self.is_stream:
            committed = set(self.tally.ids())
            return tuple(ref for ref in self.refs if ref.id in committed)
        ids = self.tally.ids() if self._journal is None else self._journal.committed()
        return tuple(TimeframeRef(id=id_, url="", index=0) for id_ in sorted(set(ids)))

    def close(self) -> None:
        """Give up the journal's lock."""
        if self._journal is not None:
            self._journal.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def advice(error: BaseException) -> str:
    """Return in one line what stopped the run and what to do."""
    remedy = (
        "make room and go on with --resume"
        if isinstance(error, CommitError)
        else "correct that, then go on with --resume"
    )
    return f"{error}{quarantine.whose(error)}; what is committed is safe: {remedy}"


def configuration(topology: Topology, sink: Sink) -> dict[str, str]:
    """Return what the results depend on, as the journal notes it; where they are written is not part of it."""
    return {"topology": topology.fingerprint, "sink": f"{type(sink).__name__}({','.join(sink.patterns)})"}


def _check_unique(refs: Sequence[TimeframeRef]) -> None:
    if not refs:
        raise ConfigError("no timeframes given")
    seen: dict[TimeframeId, TimeframeRef] = {}
    for ref in refs:
        if ref.id in seen:
            raise ConfigError(
                f"{ref.id} is given twice, in {seen[ref.id].url}#{seen[ref.id].index} and {ref.url}#{ref.index}; "
                "leave one out"
            )
        seen[ref.id] = ref
