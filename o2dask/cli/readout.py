"""``o2dask readout``: timeframes of CTF files to whoever listens, a stream started elsewhere or a foreign device."""

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from o2dask.cli.boundary import BAD_DATA
from o2dask.cli.parameters import LogJson

if TYPE_CHECKING:
    from o2dask.stream.zmq_out import Sender

__all__ = ["readout"]

FIRST_WAIT_S = 60.0
"""How long to wait for the first receiver, which may take its time to start, unless the channel says otherwise [s]."""
LAST_WAIT_S = 1.0
"""After Ctrl-C, how long to wait for the receiver to take the end [s]."""

_TO = typer.Option(metavar="CHANNEL", help="tcp://127.0.0.1:5555: pushes and connects, unless ?type=pub&method=bind.")
_RATE = typer.Option(min=0.0, help="Timeframes per second; default: as fast as they are taken.")
_LOOP = typer.Option("--loop", help="Again and again, under new ids, until Ctrl-C.")
_MOST = typer.Option("--timeframes", min=1, help="Stop after so many.")
_ONLY = typer.Option(metavar="DATA", help="Only these data (TPC/*); repeat it.")
_SPLIT = typer.Option(metavar="SIZE", help="Send payloads over it in shares, 1MiB; default: whole.")
_END = typer.Option("--end/--no-end", help="Say at the end that nothing more comes: the stream then ends too.")


def readout(
    files: Annotated[list[str], typer.Argument(metavar="CTF", help="Files, globs, URLs, or @list.txt, one per line.")],
    to: Annotated[str, _TO],
    rate: Annotated[float, _RATE] = 0.0,
    loop: Annotated[bool, _LOOP] = False,
    timeframes: Annotated[int | None, _MOST] = None,
    only: Annotated[list[str], _ONLY] = [],  # noqa: B006 - typer wants a list
    split: Annotated[str, _SPLIT] = "",
    end: Annotated[bool, _END] = True,
    log_json: LogJson = False,
) -> None:
    """Send the timeframes of CTF files as O2's messages: [DataHeader, DataProcessingHeader][Arrow stream], one per TF.

    A stream takes them with --source; so does any device that knows O2's headers. A receiver that is slow holds the
    sender back; one that is gone is an error after the channel's time-out (?timeout=10), one that has not come yet
    after a minute.

    [b]Examples[/b]

    \b
    o2dask stream --workflow async --source tcp://127.0.0.1:5555 --out aod/ &
    o2dask readout tf.ctf --to tcp://127.0.0.1:5555 --rate 20
    o2dask readout 'run5/*.ctf' --to 'tcp://127.0.0.1:5555?timeout=60' --loop
    """
    from o2dask.cli.running import Interrupts
    from o2dask.runners.settings import parse_size
    from o2dask.stream.replay import Replayed, replay
    from o2dask.stream.sources import ReplaySource
    from o2dask.stream.zmq_out import Sender

    source, done = ReplaySource(list(files), loop=loop), Replayed()
    for notice in source.notices:
        _tell(f"note: {notice}", log_json)
    tell = partial(_tell, log_json=log_json)
    with Interrupts() as stop, Sender(to, split_bytes=parse_size(split) if split else None) as sender:
        first_wait_s = 0.0 if "timeout=" in to else FIRST_WAIT_S
        options: dict[str, Any] = {"tell": tell, "is_stopped": stop.is_set, "first_wait_s": first_wait_s}
        replay(source, sender, done, rate=rate, most=timeframes, only=only, **options)
        if end and _takes_end(sender, stop.is_set()):
            sender.end()
    _tell(f"{done} to {sender.channel.address}", log_json, stdout=True)
    if stop.status and not loop:
        raise typer.Exit(stop.status)
    if done.n_lost:
        raise typer.Exit(BAD_DATA)


def _takes_end(sender: "Sender", is_stopped: bool) -> bool:
    """Return whether somebody is there to be told the end, who is not waited for after Ctrl-C."""
    from o2dask.stream.zmq_out import SendTimeoutError

    try:
        return sender.wait(LAST_WAIT_S, lambda text: None) if is_stopped else True
    except SendTimeoutError:
        return False


def _tell(text: str, log_json: bool, *, stdout: bool = False) -> None:
    if log_json:
        import json
        import time

        sys.stderr.write(json.dumps({"event": "notice", "at": time.time(), "text": text}) + "\n")
    else:
        (sys.stdout if stdout else sys.stderr).write(text + "\n")
