"""The thread that keeps one process beside the graph: hands it timeframes, starts it again, has it save its state.

Knows processes and files; which timeframe comes when is `beside`'s to say.
"""

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from o2dask.errors import CommitError, O2DaskError
from o2dask.monitoring.events import Event, OutputLost, ProcessorRestarted
from o2dask.runners.beside_child import file_of, included, write_file
from o2dask.runners.beside_plan import BesideUnit
from o2dask.runners.beside_socket import BesideProcess
from o2dask.runners.isolation import DEADLINE_S, back_off
from o2dask.runners.process import START_S, LostError
from o2dask.specs import DataProcessorSpec, DataRef
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["BesideKeeper", "Reports", "Told"]

log = logging.getLogger(__name__)

SAVE_EVERY = 64
"""Timeframes between two snapshots; what came after the last one is done again when the process dies."""
SAVE_EVERY_S = 2.0
"""Longest time between two snapshots while there is something new [s]."""
TRIES = 2
"""How often a timeframe may kill its process before it is left out."""
MOST_FAILURES = 20
"""Deaths of a process in a row, without a timeframe done in between, after which it is no accident."""
PATIENCE_S = 10.0
"""How long the end of a run waits for an asynchronous processor [s]."""


@dataclass(slots=True)
class Told:
    """What a keeper tells the driver: what processors counted and measured, events, and what they ask of the run."""

    counters: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    requests: set[str] = field(default_factory=set)


class Reports(Protocol):
    """Whom keepers tell, in their threads."""

    def feedback(self) -> tuple[str, ...]:
        """Return the files of what was fed back last."""
        ...

    def published(self, name: str, path: str) -> None:
        """Take note of a file of new feedback."""
        ...

    def made(self, name: str, timeframe: TimeframeId, error: Exception | None) -> None:
        """Take note of what the sink keeps of a timeframe, which lies in its file, or why it does not."""
        ...


def _last_of(snapshot: str) -> TimeframeRef | None:
    """Return a timeframe that a snapshot includes, None if there is none."""
    rows = included(snapshot).rows()
    if not rows:
        return None
    run, n_orbits, offset, _, end = rows[-1]
    id_ = TimeframeId(run=run, tf_counter=end - 1, first_orbit=offset + (end - 1) * n_orbits, n_orbits=n_orbits)
    return TimeframeRef(id=id_, url=snapshot, index=0)


class BesideKeeper:
    """Keeps the process of one unit, in a thread of its own.

    Parameters
    ----------
    topology : bytes
        The pickled topology.
    unit : BesideUnit
        What runs there.
    spec : DataProcessorSpec
        Its first processor, for limits of time and memory.
    folder : str
        Where its timeframes and its snapshot lie.
    reports : Reports
        Whom to tell of what is new, in the keeper's thread.
    """

    def __init__(
        self, topology: bytes, unit: BesideUnit, spec: DataProcessorSpec, folder: str, reports: "Reports"
    ) -> None:
        self.unit, self._topology, self._spec, self._folder, self._reports = unit, topology, spec, folder, reports
        self.snapshot = f"{folder}/snapshot.npz"
        self._ended = f"{folder}/ended"
        self._last: TimeframeRef | None = None
        self.failure = ""
        self._limit_s = spec.deadline_s or DEADLINE_S
        self._queue: deque[tuple[TimeframeRef, str]] = deque()
        self._unsaved: list[tuple[TimeframeRef, str]] = []
        self._reported: set[TimeframeRef] = set()
        self._deaths: dict[TimeframeRef, int] = {}
        self._told = Told()
        self._changed = threading.Condition()
        self._is_ending = self._is_dropping = self._is_busy = False
        self._concluded: set[TimeframeId] = set()
        self._saves, self._is_ready = True, threading.Event()
        self._n_failures, self._saved_at = 0, time.monotonic()
        self._process: BesideProcess | None = None
        self._thread = threading.Thread(target=self._live, name=f"o2dask-beside-{unit.name}", daemon=True)
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether all that a snapshot has was seen to its end, by this run or an earlier one."""
        return not Path(self.snapshot).exists() or Path(self._ended).exists()

    @property
    def n_waiting(self) -> int:
        """How many timeframes wait or are at hand."""
        return len(self._queue) + self._is_busy

    def wait_ready(self) -> None:
        """Return when the process has been started, or cannot be."""
        self._is_ready.wait(START_S)

    def give(self, ref: TimeframeRef, path: str) -> None:
        """Hand over a timeframe that has left its data in `path`."""
        with self._changed:
            self._queue.append((ref, path))
            self._changed.notify()

    def conclude(self, timeframe: TimeframeId) -> None:
        """Note that a timeframe is committed, or set aside: only then may a snapshot include it.

        Of what the sink keeps nothing else is waited for, as there a timeframe is committed before it is given.
        """
        with self._changed:
            self._concluded.add(timeframe)
            self._changed.notify()

    def take_told(self) -> Told:
        """Return what there is to tell, and forget it."""
        with self._changed:
            told, self._told = self._told, Told()
        return told

    def close(self, *, drain: bool = True) -> None:
        """Have all that was given done, unless not to `drain`; save, end the processors and the process."""
        with self._changed:
            self._is_ending = True
            self._is_dropping |= not drain
            if not (drain and self.unit.is_ordered):
                self._drop_queue()
            self._changed.notify()
        self._thread.join(None if drain and self.unit.is_ordered else PATIENCE_S)
        if self._thread.is_alive() and self._process is not None:  # an asynchronous one that takes its time
            with suppress(OSError):
                self._process.kill()
            self._thread.join(PATIENCE_S)

    def _drop_queue(self) -> None:
        if not self.unit.is_ordered:
            for _, path in self._queue:
                Path(path).unlink(missing_ok=True)
        self._queue.clear()

    # -- in the thread

    def _live(self) -> None:
        try:
            self._start()
            with suppress(LostError):  # then the first timeframe tells
                assert self._process is not None
                self._process.ask("ready", None, "", START_S)
            self._is_ready.set()
            while (item := self._next()) is not None:
                self._one(*item)
                self._is_busy = False
                self._save(SAVE_EVERY)
            self._end()
        except (CommitError, OSError) as error:
            self.failure = f"processor {self.unit.name!r} beside the graph: {error}"
        finally:
            self._is_ready.set()
            self._is_busy = False
            if self._process is not None:
                with suppress(OSError):
                    self._process.kill()

    def _end(self) -> None:
        """Save, and have the processors end (``end_of_stream``) with all they have got, whoever is killed meanwhile."""
        for _ in range(TRIES + 1):
            try:
                if self._process is None:
                    self._start()
                    if self._replay():
                        continue
                self._save(1)
                if self._is_dropping and self._unsaved and self.unit.kept:
                    return  # not committed: the run that resumes does them again
                if self._process is None or (self.unit.is_ordered and self._unsaved):
                    continue
                if (source := self._last or _last_of(self.snapshot)) is not None and self.unit.is_ordered:
                    self._process.ask("restore", source, "", self._limit_s)
                self._process.end()
                Path(self._ended).touch()
                return
            except LostError as lost:
                self._lost_process(lost)
        log.warning("processor %s beside the graph dies when it is to end", self.unit.name)

    def _next(self) -> tuple[TimeframeRef, str] | None:
        while True:
            with self._changed:
                if not self._queue and not self._is_ending:
                    self._changed.wait(SAVE_EVERY_S if self._unsaved else None)
                if self._queue:
                    self._is_busy = True
                    return self._queue.popleft()
                if self._is_ending:
                    return None
            self._save(1)

    def _one(self, ref: TimeframeRef, path: str) -> None:
        """Have one timeframe done, as often as its process dies of something else."""
        self._last = ref
        Path(self._ended).unlink(missing_ok=True)
        while True:
            try:
                if self._process is None:
                    self._start()
                    if self._replay():
                        continue
                assert self._process is not None
                made = self._process.ask("run", ref, path, self._limit_s, self._feedback)
            except LostError as lost:
                self._blame(ref)
                self._lost_process(lost)
                if self._deaths.get(ref, 0) >= TRIES or not self.unit.is_ordered:
                    self._leave_out(ref, path, lost)
                    return
                continue
            self._n_failures = 0
            self._done(ref, path, made)
            return

    @property
    def _feedback(self) -> tuple[str, ...]:
        return self._reports.feedback() if self.unit.has_feedback else ()

    def _done(self, ref: TimeframeRef, path: str, made: Any) -> None:
        self._deaths.pop(ref, None)
        self._unsaved.append((ref, path))
        is_new = ref not in self._reported
        self._reported.add(ref)
        if isinstance(made, O2DaskError):
            self._failed(ref, made)
            if is_new and self._costs_output_only:
                self._tell_lost(ref, "exception", f"{made}\n" + "\n".join(getattr(made, "__notes__", ())))
            return
        fed_back, kept = ({r: c for r, c in made.outputs.items() if r.is_in(set(which))} for which in self._leaving)
        if fed_back:
            published = f"{self._folder}/feedback/{time.time_ns()}.ctf"
            write_file(published, ref.id, fed_back)
            self._reports.published(self.unit.name, published)
        if self.unit.kept:
            write_file(file_of(f"{self._folder}/made", ref.id), ref.id, kept)
            self._reports.made(self.unit.name, ref.id, None)
        if is_new:
            with self._changed:
                for name, n in made.counters.items():
                    self._told.counters[name] = self._told.counters.get(name, 0) + n
                for name, seconds in made.seconds.items():
                    self._told.seconds[name] = self._told.seconds.get(name, 0.0) + seconds
                self._told.events += made.metrics
                self._told.requests |= made.requests

    @property
    def _leaving(self) -> tuple[tuple[DataRef, ...], tuple[DataRef, ...]]:
        return self.unit.outputs, self.unit.kept

    @property
    def _costs_output_only(self) -> bool:
        """Whether a failure costs a contribution; else the timeframe is set aside, as it would be in the graph."""
        return not self.unit.kept or self.unit.is_expendable

    def _failed(self, ref: TimeframeRef, error: Exception) -> None:
        self._reports.made(self.unit.name, ref.id, None if self._costs_output_only else error)

    def _start(self) -> None:
        if self._n_failures:
            time.sleep(back_off(self._n_failures))
        self._process = BesideProcess(self._topology, self._spec, self.unit, self.snapshot)

    def _replay(self) -> bool:
        """Do again what a new process has not got, which died after its snapshot; return whether that killed it."""
        assert self._process is not None
        for ref, path in list(self._unsaved):
            try:
                word = "skip" if self._deaths.get(ref, 0) >= TRIES else "run"
                if self._saves:
                    self._process.ask(word, ref, path, self._limit_s)
            except LostError as lost:
                self._blame(ref)
                self._lost_process(lost)
                return True
        return False

    def _blame(self, ref: TimeframeRef) -> None:
        """Count a death against a timeframe, unless the process had not come to it yet."""
        if self._process is not None and self._process.has_begun:
            self._deaths[ref] = self._deaths.get(ref, 0) + 1

    def _lost_process(self, lost: LostError) -> None:
        if self._n_failures >= MOST_FAILURES:
            raise CommitError(f"its process dies {self._n_failures} times in a row: {lost}")
        if self._process is not None:
            self._process.kill()
            self._process = None
        self._n_failures += 1
        with self._changed:
            self._told.events.append(ProcessorRestarted(processor=self.unit.name, cause=lost.cause))

    def _leave_out(self, ref: TimeframeRef, path: str, lost: LostError) -> None:
        if self._costs_output_only:
            self._tell_lost(ref, lost.cause, f"{lost}\n{lost.story}")
        lost.add_note(f"processor {self.unit.name!r}, in a process beside the graph\n{lost.story}")
        self._failed(ref, lost)
        self._deaths[ref] = TRIES
        self._unsaved.append((ref, path))
        self._reported.add(ref)
        if self.unit.is_ordered and self._process is None:
            self._start()
            self._replay()

    def _tell_lost(self, ref: TimeframeRef, cause: str, text: str) -> None:
        with self._changed:
            key = f"{self.unit.name}.failed"
            self._told.counters[key] = self._told.counters.get(key, 0) + 1
            self._told.events.append(OutputLost(timeframe=ref.id, processor=self.unit.name, cause=cause, text=text))

    def _save(self, at_least: int) -> None:
        """Save the state if enough is new, then forget the files of what it includes."""
        n = len(self._unsaved)
        if not n or (n < at_least and time.monotonic() - self._saved_at < SAVE_EVERY_S):
            return
        if not self._may_save(is_urgent=self._is_ending or n >= SAVE_EVERY):
            return
        if self.unit.is_ordered and self._process is not None:
            try:
                answer = self._process.ask("save", None, "", self._limit_s)
            except LostError as lost:
                self._lost_process(lost)
                return
            if isinstance(answer, Exception):
                raise CommitError(f"its snapshot cannot be written: {answer}")
            self._saves = bool(answer)
        for ref, path in self._unsaved:
            Path(path).unlink(missing_ok=True)
            self._reported.discard(ref)
            self._concluded.discard(ref.id)
            self._deaths.pop(ref, None)
        self._unsaved.clear()
        self._saved_at = time.monotonic()

    def _may_save(self, *, is_urgent: bool) -> bool:
        """Return whether all that a snapshot would include is committed or set aside; wait for that if `is_urgent`."""
        with self._changed:
            while self.unit.kept and any(ref.id not in self._concluded for ref, _ in self._unsaved):
                if self._is_dropping or (self._queue and not is_urgent):
                    return False
                self._changed.wait(SAVE_EVERY_S)
        return True
