"""Tasks over an AOD: inline, or on Dask workers, with a bounded number of dataframes at once.

Knows units and partials; what is done with a dataframe is `execute`'s business. Partials are added up by a tree whose
shape depends on the number of units only: the sum is the same bit for bit wherever and in whatever order they ran.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from o2dask.analysis.execute import Failure, Job, Partial, Unit, merge_partials, pack, run_unit, unpack
from o2dask.analysis.outputs import outputs_of
from o2dask.analysis.progress import Progress, shown
from o2dask.analysis.result import Result
from o2dask.analysis.saving import Saving
from o2dask.analysis.task import AnalysisTask
from o2dask.analysis.train import check_inputs, in_order
from o2dask.analysis.workers import Workers, is_death, open_workers
from o2dask.aod.parents import Parents
from o2dask.errors import ConfigError, DataError, O2DaskError, ProcessorError

if TYPE_CHECKING:
    from o2dask.analysis.aod import Aod

__all__ = ["Progress", "Stop", "run_tasks"]

log = logging.getLogger(__name__)

FAN_IN = 4
"""Partials added up at a time."""
PER_UNIT = 16
"""Most dataframes of a unit: more keep little to distribute, fewer travel alone."""
HOPELESS = 20
"""Dataframes that may fail before the first succeeds; then the error is the task's, and the run stops."""


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
    parents: Parents = Parents(),
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
        Tables to save, made by tasks or stored in the AOD; default: all that are made. As trees, tables, O2's
        ``AOD/TRACK/0:name:fX/fY``, or the JSON file of ``--aod-writer-json``, which also says where.
    conditions : str, path or object, optional
        For tasks that declare ``Service("conditions")``: a store by its folder, snapshot or URL, which every worker
        then opens and caches; or anything that has ``get(path, timestamp)`` and can be pickled.
    retries : int
        How often a dataframe is tried again after an I/O error.
    on_error : str
        ``"skip"``: bad dataframes and files are left out and listed in ``result.failed``. ``"raise"``: the first one
        ends the run.
    stop : Stop, optional
        When set, what is in flight is finished and nothing new begun.
    parents : Parents
        Of derived data that are given by name: how far back they are read. An open AOD has its own.

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
    units = _units(source, parents)
    saving = Saving.of(save, ordered, keep, _check_first(ordered, units, parents))
    job = Job(
        tasks=ordered,
        save=saving.folder,
        keep=saving.trees,
        conditions=_store(conditions),
        retries=retries,
        parents=parents,
    )
    since = time.monotonic()
    with saving, shown(progress) as tell, open_workers(scheduler, workers) as where:
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


def _store(conditions: Any) -> Any:
    """Return the store of conditions that tasks are given."""
    if not isinstance(conditions, (str, os.PathLike)):
        return conditions
    from o2dask.conditions import CachedStore, open_store

    return CachedStore(open_store(os.fspath(conditions)))


def _units(source: Any, parents: Parents) -> list[Unit]:
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
            units += _grouped(parents.of(open_dataframes(url)))
        except DataError:
            units.append(url)  # is opened again where it runs, and fails there for all to see
    return units


def _grouped(dataframes: Sequence[Any]) -> list[Unit]:
    size = max(1, min(PER_UNIT, len(dataframes) // 64))
    return [tuple(dataframes[i : i + size]) for i in range(0, len(dataframes), size)]


def _weight(unit: Unit) -> int:
    return 1 if isinstance(unit, str) else len(unit)


def _check_first(tasks: Sequence[AnalysisTask], units: Sequence[Unit], parents: Parents) -> list[str]:
    """Return the trees of the first dataframes that can be opened.

    Raises
    ------
    WorkflowError
        If a user's table comes from nowhere, as they tell.
    """
    from o2dask.aod.reader import open_dataframes

    stored: list[str] = []
    for unit in units[:3]:
        try:
            dataframes = parents.of(open_dataframes(unit)) if isinstance(unit, str) else unit
            stored += [tree for dataframe in dataframes for tree in dataframe.tables]
        except (O2DaskError, OSError):
            continue  # told when it runs
    if stored:
        check_inputs(tasks, stored)
    return stored


def _ended(job: Job, whole: Partial) -> dict[str, dict[str, Any]]:
    """Return the outputs after every task's `end`, called with the outputs of the whole run in place."""
    found = {}
    for task in unpack(pack(job)).tasks:
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

    def run_on(self, workers: Workers) -> Partial:
        """Run on Dask workers: a window of units in flight, sums made where the parts are."""
        client = workers.client
        sums = _Sums(len(self._units), lambda parts: workers.submit(merge_partials, self._packed, parts, priority=10))
        todo, suspects = deque(enumerate(self._units)), deque[tuple[int, Unit]]()
        flights: dict[str, tuple[int, Unit, Any]] = {}
        self._note(0, 0, [])
        try:
            while flights or (todo and not self._is_stopped()):
                while todo and len(flights) < 2 * workers.n + 2 and not self._is_stopped():
                    i, unit = todo.popleft()
                    part, note = self._sent(workers, unit, -i)
                    flights[note.key] = (i, unit, part)
                for note in workers.finished():
                    i, unit, part = flights.pop(note.key)
                    told = _told_by(note)
                    if is_death(told):
                        suspects.append((i, unit))
                    else:
                        sums.put(i, self._landed(unit, part, told))
                workers.check()
            for i, unit in suspects:
                sums.put(i, self._run_alone(workers, unit))
            parts = workers.gather(sums.rest())
        finally:
            client.cancel([part for _, _, part in flights.values()])
        return merge_partials(self._packed, parts)

    def _sent(self, workers: Workers, unit: Unit, priority: int) -> tuple[Any, Any]:
        """Submit a unit; return the future of its part, which stays where it is, and of what is told of it."""
        part = workers.submit(run_unit, self._packed, unit, priority=priority)
        note = workers.submit(_note_of, part, priority=priority)
        workers.expect(note)
        return part, note

    def _run_alone(self, workers: Workers, unit: Unit) -> Any:
        """Run again what was near when workers died, one dataframe at a time: only the culprit is left out."""
        parts = []
        for one in [unit] if isinstance(unit, str) else [(dataframe,) for dataframe in unit]:
            part, note = self._sent(workers, one, 0)
            while not workers.finished():
                workers.check()
            parts.append(self._landed(one, part, _told_by(note)))
        return parts[0] if len(parts) == 1 else workers.submit(merge_partials, self._packed, parts, priority=10)

    def _landed(self, unit: Unit, part: Any, told: "tuple[int, list[Failure]] | Exception") -> Any:
        """Take note of a unit that is done; what killed its workers is left out, as bad input is."""
        if not isinstance(told, Exception):
            self._note(_weight(unit), *told)
            return part
        if isinstance(told, ConfigError):
            raise told
        reason = f"{type(told).__name__}: {told}".splitlines()[0]
        if is_death(told):
            reason = "KilledWorker: workers die on it: it crashes, or needs more memory than they have"
        whole = isinstance(unit, str)
        frames = [(unit, "")] if whole else [(stored.url, f"DF_{stored.number}") for stored in unit]  # type: ignore[union-attr]
        failed = [Failure(url=str(url), dataframe=label, reason=reason) for url, label in frames]
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


def _told_by(note: Any) -> "tuple[int, list[Failure]] | Exception":
    """Return what a note says, or the error it ended in; one that was lost with its worker is waited for."""
    try:
        told: tuple[int, list[Failure]] = note.result()
    except Exception as error:  # noqa: BLE001 - of the workers, of Dask, or of the network
        return error
    return told


def _note_of(partial: Partial) -> tuple[int, list[Failure]]:
    """Return what the driver wants to know of a partial at once."""
    return partial.n_dataframes, partial.failed
