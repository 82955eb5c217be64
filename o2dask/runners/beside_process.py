"""The thread that keeps one process beside the graph: hands it timeframes, starts it again, has it save its state.

Knows processes and files; which timeframe comes when is `beside`'s to say.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from o2dask.errors import CommitError, O2DaskError
from o2dask.monitoring.events import Event, OutputLost, ProcessorRestarted
from o2dask.runners.beside_child import COMMAND, included, write_file
from o2dask.runners.beside_plan import BesideUnit
from o2dask.runners.child import BEGUN
from o2dask.runners.isolation import DEADLINE_S, back_off
from o2dask.runners.payload import send
from o2dask.runners.process import END_S, START_S, ChildProcess, LostError
from o2dask.specs import DataProcessorSpec
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["BesideKeeper", "Told"]

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
    """What a keeper tells the driver: what processors counted and measured, and events."""

    counters: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class _Process(ChildProcess):
    """The process of a unit."""

    command = COMMAND
    has_begun = False

    def __init__(self, topology: bytes, spec: DataProcessorSpec, unit: BesideUnit, snapshot: str) -> None:
        self._unit, self._snapshot = unit, snapshot
        super().__init__(topology, spec)

    def _greet(self, topology: bytes, spec: DataProcessorSpec) -> None:
        send(self._sock, (topology, self._unit, self._snapshot))

    def ask(self, word: str, source: TimeframeRef | None, path: str, limit_s: float) -> Any:
        """Return the answer; LostError if the process died or took too long, ConfigError if it cannot start."""
        self.has_begun = False
        try:
            send(self._sock, (word, source, path))
        except OSError:
            raise self._died() from None
        begun = self._answer(START_S, "start")
        if begun != BEGUN:
            raise CommitError(str(begun))
        self.has_begun = True
        answer, told = self._answer(limit_s, "deadline")
        _log(told)
        return answer

    def end(self) -> None:
        """Let the processors end; LostError if the process dies of it."""
        try:
            send(self._sock, None)
        except OSError:
            raise self._died() from None
        _log(self._answer(END_S, "deadline"))


def _log(told: list[tuple[str, int, str]]) -> None:
    for name, level, text in told:
        logging.getLogger(name).log(level, "%s", text)


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
    publish : callable
        Called with the path of a file of new feedback, in the keeper's thread.
    """

    def __init__(
        self, topology: bytes, unit: BesideUnit, spec: DataProcessorSpec, folder: str, publish: Callable[[str], None]
    ) -> None:
        self.unit, self._topology, self._spec, self._folder, self._publish = unit, topology, spec, folder, publish
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
        self._is_ending = self._is_busy = False
        self._saves, self._is_ready = True, threading.Event()
        self._n_published = 0
        self._n_failures, self._saved_at = 0, time.monotonic()
        self._process: _Process | None = None
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

    def take_told(self) -> Told:
        """Return what there is to tell, and forget it."""
        with self._changed:
            told, self._told = self._told, Told()
        return told

    def close(self, *, drain: bool = True) -> None:
        """Have all that was given done, unless not to `drain`; save, end the processors and the process."""
        with self._changed:
            self._is_ending = True
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
                made = self._process.ask("run", ref, path, self._limit_s)
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

    def _done(self, ref: TimeframeRef, path: str, made: Any) -> None:
        self._deaths.pop(ref, None)
        self._unsaved.append((ref, path))
        is_new = ref not in self._reported
        self._reported.add(ref)
        if isinstance(made, O2DaskError):
            if is_new:
                self._tell_lost(ref, "exception", f"{made}\n" + "\n".join(getattr(made, "__notes__", ())))
            return
        if made.outputs:
            self._n_published += 1
            published = f"{self._folder}/feedback/{time.time_ns()}.ctf"
            write_file(published, ref.id, made.outputs)
            self._publish(published)
        if is_new:
            with self._changed:
                for name, n in made.counters.items():
                    self._told.counters[name] = self._told.counters.get(name, 0) + n
                for name, seconds in made.seconds.items():
                    self._told.seconds[name] = self._told.seconds.get(name, 0.0) + seconds
                self._told.events += made.metrics

    def _start(self) -> None:
        if self._n_failures:
            time.sleep(back_off(self._n_failures))
        self._process = _Process(self._topology, self._spec, self.unit, self.snapshot)

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
        self._tell_lost(ref, lost.cause, f"{lost}\n{lost.story}")
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
            self._deaths.pop(ref, None)
        self._unsaved.clear()
        self._saved_at = time.monotonic()
