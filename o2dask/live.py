"""A look at a run while it goes on: ``view = o2.connect("tcp://127.0.0.1:8786")`` in a notebook or anywhere.

Knows what `monitoring.board` announces and how to ask a scheduler for it; nothing of the run itself, which never waits
for a viewer and does not notice one, unless that asks it to pause, to go on, to stop, or for another rate.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from o2dask.errors import ConfigError
from o2dask.monitoring.board import CONTROL_TOPIC, HISTOGRAM_KEY, STATE_TOPIC
from o2dask.monitoring.histograms import Histogram
from o2dask.stream.errors import StreamError
from o2dask.workflow.names import did_you_mean

if TYPE_CHECKING:
    import hist
    from matplotlib.axes import Axes

__all__ = ["LiveView", "connect"]

RATE_OVER_S = 10.0
"""The rate is that of the last so many seconds: shorter flickers, longer lags behind."""
REMEMBERED = 7200
"""States that a view keeps: an hour of them."""
STALE_AFTER_S = 5.0
"""A run that has not announced itself for longer, and did not say that it ended, has lost its driver [s]."""

OBEYS_IN_S = 10.0
"""How long a run may take to show that it did what it was asked for [s]."""


def connect(address: str, *, timeout_s: float = 5.0) -> "LiveView":
    """Return a live view of the run at a scheduler.

    Parameters
    ----------
    address : str
        Of the scheduler, as ``o2dask stream`` prints it: ``tcp://127.0.0.1:8786``.
    timeout_s : float
        How long to wait for it to answer [s].

    Raises
    ------
    ConfigError
        If nobody answers there.
    """
    from distributed import Client

    logging.getLogger("distributed.client").addFilter(_is_not_the_end)
    try:
        client = Client(address, timeout=timeout_s, set_as_default=False, name="o2dask-live")
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"no scheduler at {address}: {reason}; o2dask stream prints the address, and it lives as long as the run"
        ) from None
    return LiveView(client, address)


class LiveView:
    """What a run announces, asked for anew at each use. Shows itself as a table in notebooks.

    Parameters
    ----------
    client : distributed.Client
        Connected; closed with the view.
    address : str
        For messages.
    """

    def __init__(self, client: Any, address: str) -> None:
        self._client, self.address = client, address
        self._last: dict[str, Any] = {}
        self._history: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        client.subscribe_topic(STATE_TOPIC, self._hear)

    def _hear(self, event: tuple[float, Any]) -> None:
        """Take in what the run says when it says it: the last words of one whose scheduler goes cannot be asked for."""
        if isinstance(event[1], Mapping):
            self._remember([dict(event[1])])

    def refresh(self) -> Self:
        """Ask for what is new; done by all that shows something."""
        if self.is_connected:
            try:
                events = self._client.get_events(STATE_TOPIC)
            except (OSError, TimeoutError):
                return self
            states = [dict(message) for _, message in events or () if isinstance(message, Mapping)]
            if states:
                self._remember(states)
        return self

    def _remember(self, states: list[dict[str, Any]]) -> None:
        """Add what is new of the last run; the scheduler forgets sooner than this view."""
        run = states[-1].get("run")
        with self._lock:
            known = self._history if self._history and self._history[-1].get("run") == run else []
            last = known[-1]["at"] if known else float("-inf")
            new = [state for state in states if state.get("run") == run and state.get("at", 0.0) > last]
            self._history = (known + new)[-REMEMBERED:]

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler is there."""
        return bool(self._client.status == "running")

    @property
    def state(self) -> dict[str, Any]:
        """What the run said last: state, committed, in_flight, queues, ...; empty before it said anything."""
        self.refresh()
        return dict(self._history[-1]) if self._history else {}

    @property
    def history(self) -> list[dict[str, Any]]:
        """What the run said since this view looks at it, and somewhat before, oldest first."""
        self.refresh()
        return [dict(state) for state in self._history]

    @property
    def rate(self) -> float:
        """Timeframes committed per second, over the last ten seconds."""
        return _rate(self.history)

    @property
    def status(self) -> str:
        """In a word: the state that the run announced, ``LOST`` if it fell silent, ``WAITING`` before it spoke."""
        return _status(self.state, self.is_connected)

    @property
    def histograms(self) -> "dict[str, hist.Hist[Any]]":
        """Histograms of all committed timeframes, by ``processor/name``."""
        return {key: one.to_hist() for key, one in self._histograms().items()}

    def histogram(self, name: str) -> "hist.Hist[Any]":
        """Return one by its name, with or without the processor; KeyError, with the closest, if there is none."""
        return self._find(name).to_hist()

    def plot(self, name: str, ax: "Axes | None" = None) -> "Axes":
        """Draw a histogram as it stands and return the axes."""
        from matplotlib import pyplot

        one = self._find(name)
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        shown = one.to_hist()
        if shown.ndim == 1:
            shown.plot1d(ax=ax)
            ax.set_ylabel("entries")
        else:
            shown.project(*(axis.name for axis in shown.axes[:2])).plot2d(ax=ax)
        ax.set_title(f"{one.key}: {int(one.counts.sum()):,} entries", fontsize="medium")
        return ax

    def watch(self, seconds: float, every_s: float = 1.0) -> None:
        """Show the run again and again for a while, or until it stops: a table in notebooks, lines elsewhere."""
        show = _shower()
        until = time.monotonic() + seconds
        while True:
            show(self)
            left = until - time.monotonic()
            if left <= 0 or self.status in ("STOPPED", "LOST"):
                return
            time.sleep(min(every_s, left))

    def pause(self) -> Self:
        """Have the stream pause: nothing is read out and nothing begun, what is in flight is finished.

        Raises
        ------
        ConfigError
            If no stream runs there; by `resume`, `stop` and `set_rate` too.
        StreamError
            If it does not do so within ten seconds.
        """
        return self._ask("pause", "PAUSED")

    def resume(self) -> Self:
        """Have the stream go on."""
        return self._ask("resume", "RUNNING")

    def stop(self) -> Self:
        """Have the stream end: the source stops, all that it has given is done."""
        return self._ask("stop", "DRAINING")

    def set_rate(self, rate: float) -> Self:
        """Have so many timeframes per second read out from now on, 0 for as fast as they are taken."""
        if not 0 <= rate < float("inf"):
            raise ConfigError(f"rate: want timeframes per second, 0 for as fast as they go, got {rate}")
        return self._ask("rate", "", float(rate))

    def _ask(self, word: str, want: str, value: float = 0.0) -> Self:
        state = self.state
        if self.status in ("LOST", "STOPPED", "WAITING"):
            raise ConfigError(f"no stream runs at {self.address}: {self}")
        self._client.log_event(CONTROL_TOPIC, {"run": state["run"], "word": word, "value": value})
        until = time.monotonic() + OBEYS_IN_S
        while want and (now := self.state).get("state") not in (want, "STOPPED"):
            if time.monotonic() > until:
                raise StreamError(f"asked to {word}, the stream is still {now.get('state')} after {OBEYS_IN_S:g} s")
            time.sleep(0.1)
        return self

    def close(self) -> None:
        """Let go of the scheduler; the run goes on."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __str__(self) -> str:
        history = self.history
        state = history[-1] if history else {}
        if not state:
            return f"{self.address}: no run has announced itself yet"
        waiting = sum(int(queue.get("ready", 0)) for queue in state.get("queues", {}).values())
        parts = [
            f"{state.get('workflow', '')} {_status(state, self.is_connected)}",
            f"{state.get('committed', 0)} committed",
            f"{_rate(history):.1f} TF/s",
            f"{state.get('in_flight', 0)} in flight",
            f"{waiting} queued",
            f"{state.get('n_workers', 0)} workers",
        ]
        parts += [f"{state[name]} {name}" for name in ("quarantined", "dropped", "incomplete") if state.get(name)]
        return ", ".join(parts)

    def __repr__(self) -> str:
        return f"<LiveView of {self}>"

    def _repr_html_(self) -> str:
        from o2dask.web.live_table import live_table

        history = self.history
        state = history[-1] if history else {}
        return live_table(
            address=self.address,
            status=_status(state, self.is_connected),
            rate=_rate(history),
            history=history,
            histograms=list(self._histograms().values()),
        )

    def _histograms(self) -> dict[str, Histogram]:
        if self.is_connected:
            try:
                found = self._client.get_metadata([HISTOGRAM_KEY], default=None)
            except (OSError, TimeoutError):
                found = None
            if found:
                self._last = found
        return {key: Histogram.from_wire(wire) for key, wire in self._last.get("histograms", {}).items()}

    def _find(self, name: str) -> Histogram:
        known = self._histograms()
        found = [one for key, one in known.items() if name in (key, one.name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise KeyError(f"histogram {name!r} is filled by several: say {', '.join(one.key for one in found)}")
        hint = did_you_mean(name, list(known)) or f"; there are {', '.join(known) or 'none yet'}"
        raise KeyError(f"no histogram {name!r}{hint}")


def _is_not_the_end(record: logging.LogRecord) -> bool:
    """Return whether Dask has more to say than that a scheduler is gone, or that it was not waited for."""
    error = record.exc_info[1] if record.exc_info else None
    is_cancelled = isinstance(error, asyncio.CancelledError)
    return not is_cancelled and not str(record.msg).startswith("Failed to reconnect to scheduler")


def _status(state: Mapping[str, Any], is_connected: bool) -> str:
    if not state:
        return "WAITING" if is_connected else "LOST"
    announced = str(state.get("state", "RUNNING"))
    is_silent = not is_connected or time.time() - float(state.get("at", 0.0)) > STALE_AFTER_S
    return "LOST" if is_silent and announced != "STOPPED" else announced


def _rate(history: list[dict[str, Any]]) -> float:
    """Return timeframes per second over the last states."""
    if len(history) < 2:
        return 0.0
    last = history[-1]
    first = next(state for state in history if last["at"] - state["at"] <= RATE_OVER_S)
    if first is last:
        first = history[-2]
    seconds = float(last["at"] - first["at"])
    return (last.get("committed", 0) - first.get("committed", 0)) / seconds if seconds > 0 else 0.0


def _shower() -> Any:
    """Return what shows a view: in place in a notebook, else a line."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        get_ipython = None
    if get_ipython is None or get_ipython() is None:
        return lambda view: print(view, flush=True)  # noqa: T201 - whoever calls watch() asks for lines
    handle: Any = display(display_id=True)  # type: ignore[no-untyped-call]
    return lambda view: handle.update(view)
