"""``o2dask control``: a running stream, from another terminal: how it is, pause, resume, stop, another rate."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from o2dask.errors import ConfigError

__all__ = ["control"]


class Word(StrEnum):
    """What can be asked."""

    STATUS = "status"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    RATE = "rate"


_ADDRESS = typer.Argument(metavar="ADDRESS", help="Of the scheduler, as o2dask stream prints it.")
_WORD = typer.Argument(help="What to do.")
_VALUE = typer.Argument(metavar="[TF/S]", help="With rate: timeframes per second, 0 for as fast as they are taken.")


def control(
    address: Annotated[str, _ADDRESS],
    word: Annotated[Word, _WORD] = Word.STATUS,
    value: Annotated[float | None, _VALUE] = None,
) -> None:
    """Look after a running stream from another terminal: status, pause, resume, stop, rate.

    pause holds what is not yet begun; stop ends the source and has all that it has given done, as Ctrl-C does. In
    Python the same: o2.connect(ADDRESS).pause().

    [b]Examples[/b]

    \b
    o2dask control tcp://127.0.0.1:34567
    o2dask control tcp://127.0.0.1:34567 pause
    o2dask control tcp://127.0.0.1:34567 rate 50
    """
    from o2dask.live import connect

    if (value is None) == (word is Word.RATE):
        raise ConfigError("rate: how many timeframes per second?" if value is None else f"{word}: takes no number")
    with connect(address) as view:
        if word is Word.RATE:
            view.set_rate(value or 0.0)
        elif word is not Word.STATUS:
            getattr(view, str(word))()
        sys.stdout.write(f"{view}\n")
