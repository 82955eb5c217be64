"""What an exception of a processor costs: nothing, its outputs, its timeframe, or the run.

Knows specs and contexts. The cost travels on the exception, from a worker to the runner, as its attribute.
"""

import logging
import os
import pickle
import traceback
from dataclasses import fields
from pathlib import Path

import o2dask
from o2dask.columns import Columns
from o2dask.context import ErrorContext, ProcessingContext
from o2dask.errors import FatalError, MissingExtraError, O2DaskError, ProcessorError
from o2dask.monitoring.events import OutputLost
from o2dask.services import CallbackId, CallbackService
from o2dask.specs import DataRef, ErrorPolicy
from o2dask.timeframe import TimeframeRef

__all__ = ["cost_of", "explained", "recovered", "stop_for"]

log = logging.getLogger(__name__)

_PACKAGE = str(Path(o2dask.__file__).parent) + os.sep
_LIBRARY = str(Path(os.__file__).parent) + os.sep
_COST = "o2dask_cost"
_STOP = "o2dask_stop"


def stop_for(error: Exception) -> None:
    """Mark an error as one that every timeframe would meet, so that it ends the run."""
    setattr(error, _STOP, True)


def _stops(error: Exception) -> bool:
    return isinstance(error, (FatalError, MissingExtraError)) or getattr(error, _STOP, False)


def _is_server_down(error: Exception) -> bool:
    return isinstance(error, O2DaskError) and isinstance(error, ConnectionError)


def recovered(ctx: ProcessingContext, error: Exception) -> "dict[DataRef, Columns] | None":
    """Return the outputs with which the timeframe goes on after `error`, or None if it cannot.

    ``on_error`` of a processor is asked first; of an expendable one the outputs are absent.
    """
    try:
        ctx.services[CallbackService](CallbackId.RESET, ctx)
        if callable(ctx.spec.on_error) and not isinstance(error, FatalError):
            known = {f.name: getattr(ctx, f.name) for f in fields(ctx)}
            ctx.spec.on_error(ErrorContext(**known, error=error))
            return ctx.outputs.send()
    except Exception as second:
        second.__cause__ = error
        error = second
        if not ctx.spec.expendable:
            raise
    if not ctx.spec.expendable or _stops(error):
        return None
    ctx.counters.clear()
    ctx.counters["failed"] = 1
    cause = "memory" if isinstance(error, MemoryError) else "exception"
    text = "".join(traceback.format_exception(error))
    told = f"{type(error).__name__}: {error}\n{text}"
    ctx.metrics.append(OutputLost(timeframe=ctx.timeframe, processor=ctx.spec.name, cause=cause, text=told))
    log.warning("expendable processor %s, %s: %s: %s", ctx.spec.name, ctx.source, type(error).__name__, error)
    return {}


def explained(error: Exception, processor: str, source: TimeframeRef, policy: ErrorPolicy) -> O2DaskError:
    """Return the error with processor, timeframe and cost attached, in a form that another process can unpickle."""
    place = _place(error)
    where = f"processor {processor!r}{place}, {source}"
    if isinstance(error, O2DaskError) and _survives_pickling(error):
        told: O2DaskError = error
    else:
        told = ProcessorError(f"processor {processor!r} failed on {source.id}{place}: {type(error).__name__}: {error}")
        if _survives_pickling(error):
            told.__cause__ = error
        else:  # Dask has tblib send the cause along, and one that cannot be revived would take `told` with it
            told.add_note("".join(traceback.format_exception(error)))
    told.add_note(where)
    setattr(told, _COST, str(ErrorPolicy.FAIL if _stops(error) or _is_server_down(error) else policy))
    return told


def _place(error: BaseException) -> str:
    """Return `` at mine.py:17`` for the innermost line that is neither ours nor a library's; "" if there is none."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    return f" at {Path(lines[-1].filename).name}:{lines[-1].lineno}" if lines else ""


def _is_ours(file: str) -> bool:
    """Return whether a file is of the framework or of a library; reconstruction and analysis are users of it."""
    if file.startswith(_PACKAGE):
        return not file.startswith((_PACKAGE + "reco" + os.sep, _PACKAGE + "analysis" + os.sep))
    return file.startswith(("<", _LIBRARY)) or "site-packages" in file


def cost_of(error: BaseException) -> ErrorPolicy:
    """Return what an exception costs; one that no processor raised costs its timeframe."""
    return ErrorPolicy(getattr(error, _COST, ErrorPolicy.QUARANTINE))


def _survives_pickling(error: Exception) -> bool:
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:  # noqa: BLE001 - any failure of any kind means no
        return False
