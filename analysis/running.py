"""Tasks over an AOD: inline, or on Dask workers, with a bounded number of dataframes at once.

Knows units and partials; what is done with a dataframe is `execute`'s business. Partials are added up by a tree whose
shape depends on the number of units only: the sum is the same bit for bit wherever and in whatever order they ran.
"""

import itertools
import logging
import os
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from o2dask.analysis.execute import Failure, Job, Partial, Unit, merge_partials, pack, run_unit, unpack
from o2dask.analysis.outputs import outputs_of
from o2dask.analysis.result import Result
from o2dask.analysis.saving import Saving
from o2dask.analysis.task import AnalysisTask
from o2dask.analysis.train import check_inputs, in_order
from o2dask.errors import ConfigError, DataError, O2DaskError, ProcessorError

if TYPE_CHECKING:
    from rich.console import Console

    from o2dask.analysis.aod import Aod

__all__ = ["Progress", "Stop", "run_tasks"]

log = logging.getLogger(__name__)

FAN_IN = 4
"""Partials added up at a time."""
PER_UNIT = 16
"""Most dataframes of a unit: more keep little to distribute, fewer travel alone."""
HOPELESS = 20
"""Dataframes that may fail before the first succeeds; then the error is the task's, and the run stops."""

Progress = Callable[[int, int, int], None]
"""Called as ``progress(n_done, n_total, n_failed)``, in units of dataframes, or of files where they are not open."""


class Stop(Protocol):
    """Something that says when to stop."""

    def is_set(self) -> bool:
        """Return whether to stop."""
        ...


def run_tasks(
    tasks: Iterable[AnalysisTask],
    source: "Aod | str | os.PathLike[str] | Sequence[str | os.PathLike[str]]",
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: "bool | Progress" = True,
    save: "str | os.PathLike[str]" = "",
    keep: Sequence[str] | None = None,
    conditions: Any = None,
    retries: int = 2,
    on_error: str = "skip",
    stop: Stop | None = None,
) -> Result:
    """Return what tasks make of an AOD, all tasks in one pass over it.

    Parameters
    ----------
    tasks : iterable of AnalysisTask
        Run in the order in which they make and read each other's tables.
    source : Aod, or what `open_aod` takes
        An open AOD, or names of files: files that are not open yet are opened by who reads them, and a bad one costs
        itself only.
    scheduler : str, optional
        ``"inline"``: in this process. An address (``tcp://host:8786``): there. Default: the Dask client of this
        process if there is one, else inline.
    workers : int, optional
        Start so many worker processes on this machine.
    progress : bool or callable
        Show a bar, in a terminal or in Jupyter; or call ``progress(n_done, n_total, n_failed)``.
    save : str or path
        Where tables that tasks make go: a folder of Parquet, or ``derived.root``; left out: nowhere.
    keep : sequence of str, optional
        Trees to save; default: all that are made.
    conditions : object, optional
        With ``get(path, timestamp)``, for tasks that declare ``Service("conditions")``.
    retries : int
        How often a dataframe is tried again after an I/O error.
    on_error : str
        ``"skip"``: bad dataframes and files are left out and listed in ``result.failed``. ``"raise"``: the first one
        ends the run.
    stop : Stop, optional
        When set, what is in flight is finished and nothing new begun.

    Raises
    ------
    WorkflowError, ConfigError
        Before anything runs, if the tasks or the settings cannot work.
    ProcessorError
        If the first 20 dataframes fail, or any does and `on_error` is "raise".
    """
    if on_error not in ("skip", "raise"):
        raise ConfigError(f"on_error: want skip or raise, got {on_error!r}")
    ordered = in_order(tasks)
    units = _units(source)
    _check_first(ordered, units)
    saving = Saving.of(save, ordered, keep)
    job = Job(tasks=ordered, save=saving.folder, keep=saving.trees, conditions=conditions, retries=retries)
    since = time.monotonic()
    with saving, _told(progress) as tell, _workers(scheduler, workers) as where:
        driver = _Driver(pack(job), units, tell, on_error, stop)
        whole = driver.run_inline() if where is None else driver.run_on(where)
        saving.finish(whole.n_written)
    _log_failures(whole.failed)
    return Result(
        outputs=_ended(job, whole),
        failed=whole.failed,
        n_dataframes=whole.n_dataframes,
        n_rows=whole.n_rows,
        cpu_s=whole.cpu_s,
        wall_s=time.monotonic() - since,
        settings={task.name: task.settings for task in ordered},
        saved=saving.target if whole.n_written else "",
        interrupted=driver.interrupted,
    )


def _units(source: Any) -> list[Unit]:
    """Return what is run as one: dataframes that are open in groups of neighbours, files one by one."""
    from o2dask.analysis.aod import Aod

    if isinstance(source, Aod):
        return _grouped(source.stored)
    from o2dask.aod.reader import list_urls, open_dataframes

    units: list[Unit] = []
    for url in list_urls(source):
        if url.split("?")[0].endswith(".root"):
            units.append(url)
            continue
        try:
            units += _grouped(open_dataframes(url))
        except DataError:
            units.append(url)  # is opened again where it runs, and fails there for all to see
    return units


def _grouped(dataframes: Sequence[Any]) -> list[Unit]:
    size = max(1, min(PER_UNIT, len(dataframes) // 64))
    return [tuple(dataframes[i : i + size]) for i in range(0, len(dataframes), size)]


def _weight(unit: Unit) -> int:
    return 1 if isinstance(unit, str) else len(unit)


def _check_first(tasks: Sequence[AnalysisTask], units: Sequence[Unit]) -> None:
    """Raise WorkflowError if a user's table comes from nowhere, as the first dataframes that can be opened tell."""
    from o2dask.aod.reader import open_dataframes

    stored: list[str] = []
    for unit in units[:3]:
        try:
            dataframes = open_dataframes(unit) if isinstance(unit, str) else unit
        except (O2DaskError, OSError):
            continue  # told when it runs
        stored += [tree for dataframe in dataframes for tree in dataframe.tables]
    if stored:
        check_inputs(tasks, stored)


def _ended(job: Job, whole: Partial) -> dict[str, dict[str, Any]]:
    """Return the outputs after every task's `end`, called with the outputs of the whole run in place."""
    found = {}
    for task in unpack(pack(Job(tasks=job.tasks, conditions=job.conditions))).tasks:
        for name, value in whole.outputs.get(task.name, {}).items():
            outer, slash, inner = name.partition("/")
            if slash:
                getattr(task, outer)[inner] = value
            else:
                setattr(task, name, value)
        task.end()
        found[task.name] = outputs_of(task)
    return found


def _log_failures(failed: Sequence[Failure]) -> None:
    for failure in failed[:3]:
        log.warning("left out: %s", failure)
    if len(failed) > 3:
        log.warning("left out: %d more; see result.failed", len(failed) - 3)


class _Sums:
    """A tree of sums over numbered parts: part i of n goes with its neighbours, whatever the order they come in."""

    def __init__(self, n: int, add: Callable[[list[Any]], Any]) -> None:
        self._add, self._n = add, [max(n, 1)]
        while self._n[-1] > 1:
            self._n.append(-(-self._n[-1] // FAN_IN))
        self._there: list[dict[int, Any]] = [{} for _ in self._n]

    def put(self, i: int, part: Any, level: int = 0) -> None:
        """Add part i."""
        there = self._there[level]
        there[i] = part
        if level == len(self._n) - 1:
            return
        first = i - i % FAN_IN
        siblings = range(first, min(first + FAN_IN, self._n[level]))
        if all(k in there for k in siblings):
            self.put(i // FAN_IN, self._add([there.pop(k) for k in siblings]), level + 1)

    def rest(self) -> list[Any]:
        """Return what is there: one sum when all parts came, else several, in order."""
        return [there[i] for there in reversed(self._there) for i in sorted(there)]


class _Driver:
    """Runs all units once and adds up what they give."""

    def __init__(
        self, packed: bytes, units: Sequence[Unit], tell: Progress | None, on_error: str, stop: Stop | None
    ) -> None:
        self._packed, self._units, self._tell, self._on_error, self._stop = packed, units, tell, on_error, stop
        self._n_total = sum(map(_weight, units))
        self._n_done = self._n_good = self._n_failed = 0
        self.interrupted = False

    def run_inline(self) -> Partial:
        """Run in this process."""
        sums = _Sums(len(self._units), lambda parts: merge_partials(self._packed, parts))
        self._note(0, 0, [])
        for i, unit in enumerate(self._units):
            if self._is_stopped():
                break
            partial = run_unit(self._packed, unit)
            self._note(_weight(unit), partial.n_dataframes, partial.failed)
            sums.put(i, partial)
        return merge_partials(self._packed, sums.rest())

    def run_on(self, workers: "_Workers") -> Partial:
        """Run on Dask workers: a window of units in flight, sums made where the parts are."""
        client, session, count = workers.client, uuid.uuid4().hex[:8], itertools.count()
        add = lambda parts: client.submit(  # noqa: E731
            merge_partials, self._packed, parts, key=f"sum-{session}-{next(count)}", priority=10
        )
        sums, todo = _Sums(len(self._units), add), deque(enumerate(self._units))
        flights: dict[str, tuple[int, Unit, Any]] = {}
        self._note(0, 0, [])
        try:
            while flights or (todo and not self._is_stopped()):
                while todo and len(flights) < 2 * workers.n + 2 and not self._is_stopped():
                    i, unit = todo.popleft()
                    part = client.submit(run_unit, self._packed, unit, key=f"analyse-{session}-{i}", priority=-i)
                    note = client.submit(_note_of, part, key=f"note-{session}-{i}", priority=-i)
                    flights[note.key] = (i, unit, part)
                    workers.expect(note)
                for note in workers.finished():
                    i, unit, part = flights.pop(note.key)
                    sums.put(i, self._landed(unit, part, note))
                workers.check()
            parts = client.gather(sums.rest())
        finally:
            client.cancel([part for _, _, part in flights.values()])
        return merge_partials(self._packed, parts)

    def _landed(self, unit: Unit, part: Any, note: Any) -> Any:
        """Take note of a unit that is done; what killed its workers is left out, as bad input is."""
        if note.status == "finished":
            n_good, failed = note.result()
            self._note(_weight(unit), n_good, failed)
            return part
        error = note.exception()
        if isinstance(error, ConfigError):
            raise error
        reason = f"its worker died or could not run it: {type(error).__name__}: {error}".splitlines()[0]
        frames = [unit] if isinstance(unit, str) else list(unit)
        failed = [
            Failure(url=f if isinstance(f, str) else f.url, dataframe="" if isinstance(f, str) else f"DF_{f.number}",
                    reason=reason)
            for f in frames
        ]  # fmt: skip
        self._note(_weight(unit), 0, failed)
        return Partial(failed=failed)

    def _note(self, n_done: int, n_good: int, failed: Sequence[Failure]) -> None:
        self._n_done += n_done
        self._n_good += n_good
        self._n_failed += len(failed)
        if self._tell:
            self._tell(self._n_done, self._n_total, self._n_failed)
        if failed and self._on_error == "raise":
            raise ProcessorError(f"{failed[0]}\n{failed[0].text}".rstrip())
        if self._n_failed >= HOPELESS and not self._n_good:
            raise ProcessorError(f"none of the first {self._n_failed} dataframes succeeded; the last: {failed[-1]}")

    def _is_stopped(self) -> bool:
        if self._stop is not None and self._stop.is_set() and self._n_done < self._n_total:
            self.interrupted = True
        return self.interrupted


def _note_of(partial: Partial) -> tuple[int, list[Failure]]:
    """Return what the driver wants to know of a partial at once."""
    return partial.n_dataframes, partial.failed


class _Workers:
    """Dask workers and what is expected of them."""

    def __init__(self, client: Any, n: int, supervise: Callable[[], str]) -> None:
        import distributed

        as_completed: Any = distributed.as_completed
        self.client, self.n, self._supervise = client, n, supervise
        self._completed = as_completed(loop=client.loop, raise_errors=False)

    def expect(self, future: Any) -> None:
        """Ask to be told when a future is done."""
        self._completed.add(future)

    def finished(self) -> list[Any]:
        """Return futures that are done, after a little while if none is."""
        done = list(self._completed.next_batch(block=False))
        if not done:
            time.sleep(0.01)
        return done

    def check(self) -> None:
        """Raise if the run cannot go on."""
        if reason := self._supervise():
            raise ProcessorError(reason)
        if self.client.status != "running":
            raise ProcessorError("lost the Dask scheduler; start it again and run once more")


@contextmanager
def _workers(scheduler: str | None, n: int | None) -> Iterator[_Workers | None]:
    """Give the workers that are asked for, None for this process."""
    if scheduler == "inline":
        if n is not None:
            raise ConfigError("workers: not with scheduler='inline', which runs in this process; leave one out")
        yield None
        return
    client = _current_client() if scheduler is None and n is None else None
    if client is not None:
        yield _Workers(client, max(1, sum(client.nthreads().values())), lambda: "")
        return
    if not scheduler and n is None:
        yield None
        return
    from o2dask.runners.cluster import open_backend
    from o2dask.runners.settings import BatchSettings

    settings = BatchSettings(workers=n, scheduler=scheduler or "")
    with open_backend(settings, frozenset()) as backend:
        yield _Workers(backend.client, backend.n_workers, backend.supervise)


def _current_client() -> Any:
    if "distributed" not in sys.modules:
        return None
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        return None


@contextmanager
def _told(progress: "bool | Progress") -> Iterator[Progress | None]:
    if not isinstance(progress, bool):
        yield progress
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not progress or not (console.is_terminal or console.is_jupyter):
        yield None
        return
    with ExitStack() as stack:
        yield _bar(stack, console)


def _bar(stack: ExitStack, console: "Console") -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("analysis"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"))
    failed = TextColumn("{task.fields[failed]}", style="red")
    bar = stack.enter_context(Bar(*columns, TimeRemainingColumn(), failed, console=console))
    line = bar.add_task("analysis", total=None, failed="")

    def tell(n_done: int, n_total: int, n_failed: int) -> None:
        bar.update(line, completed=n_done, total=n_total, failed=f"{n_failed} failed" if n_failed else "")

    return tell
