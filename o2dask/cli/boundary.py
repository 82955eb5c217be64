"""The edge between Python and the shell: every exception becomes one line on stderr and an exit status.

Status 0: all done. 1: data errors, some timeframes failed. 2: wrong usage or configuration. 130: interrupted.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from o2dask.errors import ConfigError, MissingExtraError, O2DaskError

__all__ = ["BAD_DATA", "BAD_USAGE", "INTERRUPTED", "guarded"]

BAD_DATA, BAD_USAGE, INTERRUPTED = 1, 2, 130


def guarded(command: Callable[[], Any], args: Sequence[str]) -> int:
    """Return the exit status of `command`; what it raises is told in one line on stderr.

    `args` are those of the command line: ``--debug`` adds the traceback, ``--log-json`` makes the line JSON.
    """
    try:
        status = command()
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except BrokenPipeError:
        return _enough()
    except SystemExit as error:  # typer turns a broken pipe into one
        if isinstance(error.__context__, BrokenPipeError):
            return _enough()
        return error.code if isinstance(error.code, int) else BAD_DATA
    except KeyboardInterrupt:
        _tell("interrupted", INTERRUPTED, args)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - this is the edge: nothing may pass it as a traceback
        return _explain(error, args)


def _enough() -> int:
    """Return 0: the reader of ``o2dask ... | head`` has what it wants; what is still buffered goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]
    return 0


def _explain(error: Exception, args: Sequence[str]) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return BAD_USAGE
    if hasattr(error, "format_message"):  # of click, which some versions of typer bring along under another name
        return _tell(f"{_usage(error)}", BAD_USAGE, args, error)
    if isinstance(error, (ConfigError, MissingExtraError)):
        return _tell(str(error), BAD_USAGE, args, error)
    if isinstance(error, (O2DaskError, OSError)):
        return _tell(str(error), BAD_DATA, args, error)
    _tell(f"unexpected {type(error).__name__}: {error}; please report it with the lines below", BAD_DATA, args)
    traceback.print_exception(error)
    return BAD_DATA


def _usage(error: Any) -> str:
    message = str(error.format_message()).rstrip(".")
    path = error.ctx.command_path if getattr(error, "ctx", None) else "o2dask"
    return f"{message}; see {path} --help"


def _tell(text: str, status: int, args: Sequence[str], error: Exception | None = None) -> int:
    text = "; ".join(line.strip() for line in text.splitlines() if line.strip())
    if "--log-json" in args:
        sys.stderr.write(json.dumps({"event": "error", "text": text, "status": status}) + "\n")
    else:
        sys.stderr.write(f"error: {text}\n")
    if error is not None and "--debug" in args:
        traceback.print_exception(error)
    return status
