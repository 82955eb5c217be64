"""What viewers ask of a running stream: pause, resume, stop, another rate. Knows a topic of Dask's and a control.

Messages come on the loop of the client; a thread of its own obeys them, for to pause may take a moment.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from o2dask.errors import O2DaskError
from o2dask.monitoring.board import CONTROL_TOPIC
from o2dask.runners.control import StreamControl

__all__ = ["Commands", "commanded"]


class Commands:
    """Obeys, one word after the other.

    Parameters
    ----------
    run : str
        Which run it is; words for another one are passed over.
    control : StreamControl
        Of the run.
    set_rate : callable
        Sets the rate [timeframes/s], 0 for as fast as may be.
    tell : callable
        Is told in a line what was asked for.
    """

    def __init__(
        self, run: str, control: StreamControl, set_rate: Callable[[float], None], tell: Callable[[str], None]
    ) -> None:
        self._run, self._control, self._set_rate, self._tell = run, control, set_rate, tell

    def obey(self, message: object) -> None:
        """Do what a message says; what is no command does nothing."""
        if not isinstance(message, Mapping) or message.get("run") != self._run:
            return
        word, value = message.get("word"), message.get("value")
        try:
            if word == "rate" and isinstance(value, int | float) and 0 <= value < float("inf"):
                self._set_rate(float(value))
                self._tell(f"rate: {value:g} TF/s" if value else "rate: as fast as may be")
            elif word in ("pause", "resume", "stop"):
                getattr(self._control, word)()
                self._tell(f"{word}: asked for by a viewer")
        except O2DaskError as error:
            self._tell(f"{word}: {error}")


@contextmanager
def commanded(client: Any, commands: Commands) -> Iterator[None]:
    """Have a run obey what comes over the scheduler of `client` until the block ends."""
    words: SimpleQueue[Any] = SimpleQueue()

    def serve() -> None:
        while (message := words.get()) is not _END:
            commands.obey(message)

    thread = threading.Thread(target=serve, name="o2dask-commands", daemon=True)
    thread.start()
    client.subscribe_topic(CONTROL_TOPIC, lambda event: words.put(event[1]))
    try:
        yield
    finally:
        if client.status == "running":
            client.unsubscribe_topic(CONTROL_TOPIC)
        words.put(_END)
        thread.join(5.0)


_END = object()
