"""Tasks over dataframes, in one process: what every way of running calls, and what comes out of it.

Knows tasks and dataframes; no Dask. A dataframe counts as a whole or not at all, task by task: what a task filled
before it failed on a dataframe is thrown away.
"""

import logging
import os
import pickle
import threading
import time
import traceback
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from o2dask.analysis.binding import calls, group_of
from o2dask.analysis.declarations import IndexTable, SpawnedTable
from o2dask.analysis.dynamic import DynamicColumn, adopt, declared
from o2dask.analysis.frames import Dataframe
from o2dask.analysis.getters import Getter
from o2dask.analysis.groups import Group
from o2dask.analysis.keeping import Kept
from o2dask.analysis.outputs import absorb, clear, merged
from o2dask.analysis.overlays import Overlay
from o2dask.analysis.producing import Builds, Produces, Spawns, index_columns
from o2dask.analysis.table import Table
from o2dask.analysis.task import AnalysisTask, Service
from o2dask.analysis.train import products
from o2dask.aod.dataframe import DataFrameSource, schema_of
from o2dask.aod.parents import Parents
from o2dask.aod.store import Store, commit_dataframe
from o2dask.columns import Columns
from o2dask.errors import ConfigError, DataError, O2DaskError
from o2dask.heap import keep_freed_arrays

__all__ = ["Failure", "Job", "Partial", "Unit", "merge_partials", "pack", "run_unit", "unpack"]

log = logging.getLogger(__name__)

RETRY_AFTER_S = 0.5
"""Pause before the first retry after an I/O error [s]; each further one doubles it."""

Unit = tuple[DataFrameSource, ...] | str
"""What is run as one: some dataframes, or a file whose dataframes are found when it is opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Something that was left out: where, in which task, and why; `text` has the traceback."""

    url: str
    dataframe: str = ""
    task: str = ""
    reason: str = ""
    text: str = field(default="", repr=False)

    def __str__(self) -> str:
        where = f"{self.url}:{self.dataframe}" if self.dataframe else self.url
        if self.task:
            return f"{where}: task {self.task!r}: {self.reason}"
        named = self.reason.partition(": ")[0].endswith(self.url.removeprefix("."))  # reasons name the whole path
        return self.reason if named else f"{where}: {self.reason}"


@dataclass(slots=True, kw_only=True)
class Partial:
    """What some dataframes came to; partials add up."""

    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: list[Failure] = field(default_factory=list)
    n_dataframes: int = 0
    n_rows: int = 0
    cpu_s: float = 0.0
    n_written: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done with every dataframe.

    Attributes
    ----------
    tasks : tuple of AnalysisTask
        In order.
    save : str
        Folder for the tables that tasks make; "" for none.
    keep : tuple of Kept
        What is saved.
    conditions : object, optional
        For tasks that declare a `Service`.
    retries : int
        How often a dataframe is tried again after an I/O error.
    parents : Parents
        How far back dataframes of files are read.
    touched : dict
        Columns that were asked for in the dataframe before, by tree: the next one reads them at once.
    columns : tuple of DynamicColumn
        What users declared in the driver's process.
    """

    tasks: tuple[AnalysisTask, ...]
    save: str = ""
    keep: tuple[Kept, ...] = ()
    conditions: Any = None
    retries: int = 2
    parents: Parents = field(default_factory=Parents)
    touched: dict[str, set[str]] = field(default_factory=dict)
    columns: tuple[DynamicColumn, ...] = field(default_factory=declared)


def pack(job: Job) -> bytes:
    """Return a job as bytes for workers; classes of notebooks and of files given by path travel by value.

    They begin with a number of their own: no run meets the tasks of another.
    """
    import cloudpickle

    try:
        return uuid.uuid4().bytes + zlib.compress(cloudpickle.dumps(job), 1)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        names = ", ".join(task.name for task in job.tasks)
        remedy = "make what cannot be pickled (open files, locks) in init()"
        raise ConfigError(f"tasks {names}: cannot be sent to workers: {error}; {remedy}") from error


def unpack(packed: bytes) -> Job:
    """Return a job of one's own, with fresh tasks whose `init` was called."""
    return _unpacked(packed, os.getpid(), threading.get_ident())


@lru_cache(maxsize=8)
def _unpacked(packed: bytes, process: int, thread: int) -> Job:
    job: Job = pickle.loads(zlib.decompress(packed[16:]))  # made by `pack` in the driver of this run, never a file
    for task in job.tasks:
        for name in task.declared(Service):
            if job.conditions is not None:
                vars(task)[name] = job.conditions
        task.init()
    return job


def run_unit(packed: bytes, unit: Unit) -> Partial:
    """Return what the dataframes of a unit came to; what goes wrong is in `failed`, nothing is raised for bad data."""
    keep_freed_arrays()
    job = unpack(packed)
    adopt(job.columns)  # each time: another run on this worker may have brought others of the same names
    partial = Partial(outputs={task.name: {} for task in job.tasks})
    since = time.thread_time()
    try:
        dataframes = job.parents.of(_opened(unit, job.retries)) if isinstance(unit, str) else unit
    except (O2DaskError, OSError) as error:
        partial.failed.append(Failure(url=str(unit), reason=_reason(error), text=_text(error)))
        return partial
    for stored in dataframes:
        _run_dataframe(job, stored, partial)
    partial.cpu_s = time.thread_time() - since
    return partial


def merge_partials(packed: bytes, partials: Sequence[Partial]) -> Partial:
    """Return the sum of partials, in the order given."""
    tasks = {task.name: task for task in unpack(packed).tasks}
    return Partial(
        outputs={name: merged([p.outputs.get(name, {}) for p in partials], task) for name, task in tasks.items()},
        failed=[failure for p in partials for failure in p.failed],
        n_dataframes=sum(p.n_dataframes for p in partials),
        n_rows=sum(p.n_rows for p in partials),
        cpu_s=sum(p.cpu_s for p in partials),
        n_written=sum(p.n_written for p in partials),
    )


def _opened(unit: str, retries: int) -> Sequence[DataFrameSource]:
    from o2dask.aod.reader import open_dataframes

    for attempt in range(retries + 1):
        try:
            return open_dataframes(unit)
        except (O2DaskError, OSError) as error:
            if attempt == retries or not _is_transient(error, unit):
                raise
            _pause(unit, attempt, error)
    raise AssertionError("unreachable")


def _run_dataframe(job: Job, stored: DataFrameSource, partial: Partial) -> None:
    """Run all tasks over one dataframe; again if storage fails, as another attempt may succeed."""
    for attempt in range(job.retries + 1):
        failed: list[Failure] = []
        dataframe = Dataframe(stored.fresh(), job.touched)
        frame = Overlay(dataframe)
        try:
            n_rows = _run_tasks(job, stored, frame, failed, may_retry=attempt < job.retries)
            if job.save:
                partial.n_written += _save(job, stored, frame, failed)
            break
        except Exception as error:  # noqa: BLE001 - a failed dataframe costs itself only
            for task in job.tasks:
                _clear(task)
            if attempt < job.retries and _is_transient(error, stored.url):
                _pause(str(stored), attempt, error)
                continue
            failed = [Failure(url=stored.url, dataframe=_label(stored), reason=_reason(error), text=_text(error))]
            partial.failed += failed
            return
        finally:
            frame.forget()
    job.touched.clear()
    job.touched.update(dataframe.asked)
    for task in job.tasks:
        absorb(partial.outputs[task.name], task)
    partial.failed += failed
    partial.n_dataframes += len(failed) < len(job.tasks)
    partial.n_rows += n_rows


def _run_tasks(job: Job, stored: DataFrameSource, frame: Overlay, failed: list[Failure], *, may_retry: bool) -> int:
    """Run tasks one after the other; return the rows of the largest table that was read."""
    lost: dict[str, str] = {}
    largest = 0
    makers = products(job.tasks)
    for task in job.tasks:
        try:
            waits = {made for tree, made in makers.items() if made in lost and _reads(task, tree)}
            if waits:
                raise DataError(f"not run: reads what task {sorted(waits)[0]!r} did not make")
            largest = max(largest, run_task(task, frame))
        except Exception as error:
            _clear(task)
            if may_retry and _is_transient(error, stored.url):
                raise
            lost[task.name] = _reason(error)
            url, label = stored.url, _label(stored)
            reason = _reason(error, task)
            failed.append(Failure(url=url, dataframe=label, task=task.name, reason=reason, text=_text(error)))
    return largest


def run_task(task: AnalysisTask, frame: Overlay) -> int:
    """Run one task over one dataframe: tables it spawns and builds, its process functions, tables it fills."""
    for maker in task.makers.values():
        where = f"{maker.spec} of task {task.name!r}"
        if isinstance(maker, Spawns):
            frame.add(maker.spec.tree, _spawned(task, maker.spec, frame, where))
        elif isinstance(maker, Builds):
            frame.add(maker.spec.tree, _built(maker.spec, frame, where))
    largest = 0
    for process in task.active:
        function = getattr(task, process.name)
        for arguments in calls(task, process, frame):
            function(**arguments)
        specs = [argument.spec for argument in process.arguments]
        largest = max(largest, *(group_of(spec, frame, process.name).n_rows for spec in specs))
    for name, maker in task.makers.items():
        if isinstance(maker, Produces):
            cursor = vars(task)[name]
            frame.add(_tree(cursor), cursor.take())
    return largest


def _spawned(task: AnalysisTask, spec: SpawnedTable, frame: Overlay, where: str) -> Columns:
    group = group_of(spec.base, frame, where)
    table = Table(group, group.rows)
    assert spec.schema is not None  # of a table that a user declares
    arrays = {}
    for name, expression in spec.expressions.items():
        values = expression.evaluate(lambda getter: getattr(table, getter)(), task.settings)
        arrays[name] = np.broadcast_to(np.asarray(values, np.float32), (len(table),)).copy()
    return Columns(spec.schema, arrays)


def _built(spec: IndexTable, frame: Overlay, where: str) -> Columns:
    key = group_of(spec.key, frame, where)
    ids = {}
    for other in spec.others:
        group = group_of(other, frame, where)
        getter = _index_to(key, group)
        if getter is None:
            raise DataError(f"{where}: no index of {other} points to {spec.key}")
        ids[other.names[0]] = np.asarray(frame.load(getter.tree, [getter.column])[0])
    assert spec.schema is not None
    return Columns(spec.schema, index_columns(spec, key.n_rows, ids))


def _index_to(key: Group, group: Group) -> Getter | None:
    getters = [getter for getter in group.getters.values() if key._is_parent_of(group, getter)]
    return getters[0] if getters else None


def _tree(cursor: Any) -> str:
    from o2dask.analysis.train import _tree_of

    return _tree_of(cursor.spec)


def _reads(task: AnalysisTask, tree: str) -> bool:
    from o2dask.analysis.train import _holds

    return any(_holds(spec, tree) for spec in task.inputs)


def _save(job: Job, stored: DataFrameSource, frame: Overlay, failed: list[Failure]) -> int:
    """Write the tables that are kept; none of a dataframe on which a maker of one of them failed."""
    makers = products(job.tasks)
    if {failure.task for failure in failed} & {makers[kept.tree] for kept in job.keep if kept.tree in makers}:
        return 0
    tables = {kept.stored_as: made for kept in job.keep if (made := _kept(kept, stored, frame)) is not None}
    if not tables:
        return 0
    commit_dataframe(Store(job.save), stored.number, tables, {"parent": stored.url})
    return 1


def _kept(kept: Kept, stored: DataFrameSource, frame: Overlay) -> Columns | None:
    """Return a table as it is written; None if the dataframe has none."""
    made = frame.made.get(kept.tree)
    if made is None and kept.tree in stored.tables:
        made = stored.table(kept.tree, kept.columns or None)
    if not isinstance(made, Columns) or (not kept.columns and kept.stored_as == kept.tree):
        return made if isinstance(made, Columns) else None
    columns = [made.schema[name] for name in kept.columns or made.schema.names]
    return Columns(schema_of(kept.stored_as, columns), {c.name: made[c.name] for c in columns})


def _clear(task: AnalysisTask) -> None:
    clear(task)
    for name, maker in task.makers.items():
        if isinstance(maker, Produces):
            vars(task)[name].take()


def _label(stored: DataFrameSource) -> str:
    return f"DF_{stored.number}"


def _is_transient(error: BaseException | None, url: str) -> bool:
    """Return whether another attempt may succeed: somewhere below is an error of storage or of the network.

    Libraries raise OSError without a number for damaged bytes, and some for a network that failed: only files behind a
    URL are then tried again.
    """
    while error is not None:
        if isinstance(error, (TimeoutError, ConnectionError)):
            return True
        is_of_system = isinstance(error, OSError) and not isinstance(error, O2DaskError)
        if is_of_system and not isinstance(error, (FileNotFoundError, PermissionError)):
            return error.errno is not None or "://" in url  # type: ignore[attr-defined]
        if isinstance(error, ConfigError):
            return False
        error = error.__cause__ or error.__context__
    return False


def _pause(where: str, attempt: int, error: BaseException) -> None:
    log.info("%s: %s; trying again", where, error)
    time.sleep(RETRY_AFTER_S * 2**attempt)


def _reason(error: BaseException, task: AnalysisTask | None = None) -> str:
    """Return an error in one line, with the user's line that it came from."""
    text = " ".join(str(error).split())
    line = _line_of(error, task) if task is not None else ""
    if isinstance(error, O2DaskError):
        return f"{text}{line}"
    return f"{type(error).__name__}: {text}{line}" if text else f"{type(error).__name__}{line}"


def _line_of(error: BaseException, task: AnalysisTask) -> str:
    code = {getattr(getattr(task, process.name), "__code__", None) for process in task.active}
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code in code:
            file = frame.f_code.co_filename.rsplit("/", 1)[-1]
            return f" ({file}, line {number}, in {frame.f_code.co_name})"
    return ""


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
