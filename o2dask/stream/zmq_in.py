"""Timeframes from a foreign device over ZeroMQ: a source for readout processes, as replay is one.

What the device sends is O2's: multipart messages of [header stack][payload]. Nothing is unpickled, nothing that it
sends ends the stream but O2's own end; malformed messages are counted and told.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from o2dask.columns import Columns
from o2dask.dataspecs import DataRef
from o2dask.errors import ConfigError
from o2dask.stream.assembly import Assembly
from o2dask.stream.channel import PULLERS, Channel, require_zmq
from o2dask.timeframe import TimeframeId

__all__ = ["ZmqSource"]

log = logging.getLogger(__name__)

IDLE_MS = 100
"""Longest wait for a message before the caller gets a word [ms]. Too long, and a pause or stop waits; too short costs
CPU."""
TELL_EVERY_S = 10.0
"""Shortest time between two warnings on malformed messages [s]."""


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


_IN_ADDRESS: dict[str, tuple[str, Any]] = {
    "outputs": ("outputs", _listed),
    "senders": ("n_senders", int),
    "complete": ("complete_s", float),
    "open": ("max_open", int),
    "incomplete": ("incomplete", str),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ZmqSource:
    """Timeframes that come in at a channel; what it is made of is text and numbers, so it travels as JSON.

    Attributes
    ----------
    address : str
        As `Channel.parse` reads it: ``tcp://127.0.0.1:5555`` listens for whoever pushes. Readout process k of several
        listens k ports further. The settings below may stand in it, ``?outputs=TPC/CLUSTERS,TPC/*&senders=2``, as
        `outputs`, `senders`, `complete`, `open` and `incomplete`.
    outputs : tuple of str
        What a timeframe has, ``TPC/COMPCLUSTERS/0``; families are allowed. Without, it is what one message holds.
    n_senders : int
        How many ends of stream make the end; a device that never says so feeds until it is stopped.
    complete_s, max_open : float, int
        How long [s], and how many, timeframes may wait to be complete.
    incomplete : str
        ``drop`` them, or ``pass`` on what has come.
    counters : Counter
        What came so far; filled while a readout runs, no part of the settings.
    """

    address: str
    outputs: tuple[str, ...] = ()
    n_senders: int = 1
    complete_s: float = 5.0
    max_open: int = 64
    incomplete: str = "drop"
    counters: Counter[str] = field(default_factory=Counter, compare=False, repr=False)

    live: ClassVar[bool] = True
    """What was missed cannot be read again: a readout that is started anew goes on where the devices are."""

    def __post_init__(self) -> None:
        self._take_from_address()
        object.__setattr__(self, "outputs", tuple(str(DataRef.parse(text)) for text in self.outputs))
        if self.incomplete not in ("drop", "pass"):
            raise ConfigError(f"source {self.address}: want incomplete=drop or pass, got {self.incomplete!r}")
        for name in ("n_senders", "complete_s", "max_open"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"source {self.address}: want {name} over 0, got {getattr(self, name)}")
        _ = self.channel

    def _take_from_address(self) -> None:
        """Take the settings of the source out of the address, which keeps those of its channel."""
        where, mark, query = self.address.partition("?")
        rest = []
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name not in _IN_ADDRESS:
                rest.append(f"{name}={value}")
                continue
            attribute, kind = _IN_ADDRESS[name]
            try:
                object.__setattr__(self, attribute, kind(value))
            except ValueError:
                raise ConfigError(f"source {where}: want {name}=NUMBER, got {value!r}") from None
        object.__setattr__(self, "address", where + (mark if rest else "") + "&".join(rest))

    @property
    def channel(self) -> Channel:
        """The channel of the first readout process."""
        return Channel.parse(self.address, type="pull", method="bind").check_type(PULLERS)

    def probe(self, n_readouts: int) -> None:
        """Raise ConfigError if one of so many readout processes could not open its channel now."""
        for readout in range(n_readouts):
            with self.channel.shifted(readout).open():
                pass

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        values = asdict(self)
        del values["counters"]
        return values | {"outputs": list(self.outputs)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ZmqSource":
        """Return the source that `to_json` described."""
        return cls(**{**values, "outputs": tuple(values["outputs"])})

    def __call__(
        self, readout: int = 0, n_readouts: int = 1
    ) -> Iterator[tuple[TimeframeId, dict[DataRef, Columns]] | None]:
        """Give timeframes as they come, None whenever none came for `IDLE_MS`, until all senders have ended.

        Parameters
        ----------
        readout, n_readouts : int
            Which readout process of how many this is.

        Raises
        ------
        ConfigError
            Before the first: pyzmq is missing, or the address is taken.
        """
        zmq = require_zmq()
        refs = [DataRef.parse(text) for text in self.outputs]
        assembly = Assembly(refs, complete_s=self.complete_s, max_open=self.max_open, passes=self.incomplete == "pass")
        assembly.counters = self.counters
        told = -TELL_EVERY_S
        with self.channel.shifted(readout).open() as socket:
            while self.counters["ends"] < self.n_senders:
                if socket.poll(IDLE_MS):
                    frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
                    faults = self.counters["malformed"]
                    yield from assembly.take([frame.buffer for frame in frames], time.monotonic())
                    if self.counters["malformed"] > faults and time.monotonic() - told > TELL_EVERY_S:
                        told = time.monotonic()
                        log.warning(
                            "%s: %d malformed of %d messages, the last: %s",
                            *(self.address, self.counters["malformed"], self.counters["messages"], assembly.last_fault),
                        )
                else:
                    yield None
                yield from assembly.overdue(time.monotonic())
            yield from assembly.flush()
