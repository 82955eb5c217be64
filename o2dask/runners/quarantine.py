"""The story of a failed timeframe: one line for the summary, the whole traceback for its file. Knows no Dask."""

import re
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from o2dask.errors import CommitError, MissingExtraError
from o2dask.specs import ErrorPolicy
from o2dask.timeframe import TimeframeId, TimeframeRef
from o2dask.workflow.faults import cost_of

__all__ = [
    "Failure",
    "describe",
    "forget_quarantined",
    "killed",
    "ran_out",
    "stops_the_run",
    "tell",
    "whose",
    "write_quarantined",
]

_STORY = "o2dask_story"
"""Attribute of an exception under which its traceback travels from a worker: Dask ships no chained causes."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a timeframe failed: `reason` in one line, `text` with traceback and notes; whether that is taken lightly."""

    reason: str
    text: str
    is_skipped: bool = False


def stops_the_run(error: BaseException) -> bool:
    """Return whether an error would hit every timeframe alike: no disk, no package, a wrong setting, no server."""
    return isinstance(error, (CommitError, MissingExtraError)) or cost_of(error) is ErrorPolicy.FAIL


def tell(error: Exception, ref: TimeframeRef, task: str) -> None:
    """Add to `error`, where it was raised, which timeframe and task it hit, and its traceback as text."""
    notes = "\n".join(getattr(error, "__notes__", ()))
    if str(ref) not in notes:
        error.add_note(f"timeframe: {ref}")
    if task not in notes:
        error.add_note(f"task: {task}")
    with suppress(AttributeError):  # an exception class with __slots__
        setattr(error, _STORY, "".join(traceback.format_exception(error)))


def describe(error: BaseException) -> Failure:
    """Return the failure of a timeframe out of its exception, which may have come from another process."""
    text = getattr(error, _STORY, None) or "".join(traceback.format_exception(error))
    message = str(error).partition("\n")[0]
    if isinstance(error, KeyError):
        message = f"no {message}"
    return Failure(f"{type(error).__name__}: {message}{whose(error)}", text, cost_of(error) is ErrorPolicy.SKIP)


def killed(error: BaseException, ref: TimeframeRef, task: str, where: str, limit: int) -> Failure:
    """Return the failure of a timeframe that kills its workers, which may take `limit` bytes each (0: any number)."""
    memory = f" or needs more than its {limit / 2**20:.0f} MiB" if limit else ""
    reason = f"KilledWorker: workers die in task {task}: it crashes{memory} (last on {where})"
    return Failure(reason, f"timeframe: {ref}\ntask: {task}\n{describe(error).text}")


def ran_out(message: Mapping[str, str], deadline_s: float) -> Failure:
    """Return the failure of a timeframe that took too long, by what its worker tells of it."""
    reason = f"deadline: over {deadline_s:g} s in its processors, the last in task {message['task']}"
    text = f"timeframe: {message['timeframe']}\ntask: {message['task']}\nwhere it was:\n{message['text']}"
    return Failure(reason, text)


def whose(error: BaseException) -> str:
    """Return `` (processor 'x')`` if it was one that raised the error and the message does not say so; else ""."""
    where = [note for note in getattr(error, "__notes__", ()) if re.match(r"(processor|task)\b", note)]
    return f" ({where[0].partition(',')[0]})" if where and "processor" not in str(error).partition("\n")[0] else ""


def write_quarantined(folder: Path, timeframe: TimeframeId, failure: Failure) -> Path:
    """Write the story of a timeframe to ``<folder>/quarantine/<timeframe>.txt`` and return that path."""
    path = _path(folder, timeframe)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{timeframe}\n{failure.reason}\n\n{failure.text}", encoding="utf-8")
    except OSError as error:
        raise CommitError(f"{path}: cannot write: {error.strerror}") from error
    return path


def forget_quarantined(folder: Path, timeframe: TimeframeId) -> None:
    """Remove the story of a timeframe that an earlier run set aside and that is committed now."""
    _path(folder, timeframe).unlink(missing_ok=True)


def _path(folder: Path, timeframe: TimeframeId) -> Path:
    name = f"run{timeframe.run}_tf{timeframe.tf_counter}_orbit{timeframe.first_orbit}.txt"
    return Path(folder) / "quarantine" / name
