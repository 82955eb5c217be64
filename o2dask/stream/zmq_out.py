"""Data to a foreign device over ZeroMQ: a processor at the end of any workflow, and the sender that replay uses.

At least once: a timeframe that is tried again, because its worker died, is sent again; the device tells by its id. What
waits in a socket of a process that is killed is lost with it. `docs/streaming.md` says what follows.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

from o2dask.columns import Columns
from o2dask.dataspecs import DataRef, Lifetime
from o2dask.errors import ConfigError, ProcessorError
from o2dask.options import ConfigParamSpec, Option
from o2dask.specs import DataProcessorSpec, Task
from o2dask.stream.channel import PUSHERS, Channel, require_zmq
from o2dask.stream.messages import end_message, timeframe_message
from o2dask.timeframe import TimeframeId
from o2dask.workflow.builders import output_proxy

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = ["SendTimeoutError", "Sender", "ZmqOutput", "zmq_output"]


TELL_AFTER_S, LOOK_MS = 2.0, 100
"""How long a sender waits before it says so [s]; how often it looks whether it is to stop [ms]."""


class SendTimeoutError(ProcessorError, TimeoutError):
    """Nobody took a message within the channel's time."""


class Sender:
    """Sends timeframes into a channel, within ``with``; belongs to the thread that uses it.

    Parameters
    ----------
    channel : Channel or str
        Of type push (default) or pub; connects by default.
    split_bytes : int, optional
        Payloads over it are sent in shares.
    """

    def __init__(self, channel: Channel | str, *, split_bytes: int | None = None) -> None:
        if isinstance(channel, str):
            channel = Channel.parse(channel, type="push", method="connect")
        self.channel = channel.check_type(PUSHERS)
        self.n_bytes = self.n_sent = 0
        self._split_bytes = split_bytes
        self._stack = ExitStack()
        self._socket: Any = None

    def __enter__(self) -> "Sender":
        zmq = require_zmq()
        self._again, self._poll_out = zmq.Again, zmq.POLLOUT
        self._socket = self._stack.enter_context(self.channel.open())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, timeframe: TimeframeId, data: Mapping[DataRef, Columns]) -> None:
        """Send a timeframe as one message; an empty one needs none.

        Raises
        ------
        SendTimeoutError
            If the receiver is not there, or too slow.
        """
        parts = timeframe_message(timeframe, data, split_bytes=self._split_bytes)
        if parts:
            self._send(parts)
        self.n_bytes += sum(memoryview(part).nbytes for part in parts)
        self.n_sent += 1

    def wait(
        self, timeout_s: float, tell: Callable[[str], None], is_stopped: Callable[[], bool] = lambda: False
    ) -> bool:
        """Return True as soon as a message can leave, False once `is_stopped`; `tell` is told if it takes long.

        Raises
        ------
        SendTimeoutError
            If nobody takes one in time.
        """
        begun, is_told = time.monotonic(), False
        while not self._socket.poll(LOOK_MS, self._poll_out):
            waited_s = time.monotonic() - begun
            if is_stopped():
                return False
            if waited_s > timeout_s:
                raise self._nobody(timeout_s)
            if waited_s > TELL_AFTER_S and not is_told:
                is_told = True
                what = "the receiver is slow or gone" if self.n_sent else "no receiver is there yet"
                tell(f"{self.channel.address}: {what}; waiting up to {timeout_s:g} s")
        return True

    def end(self) -> None:
        """Say that nothing more comes."""
        self._send(end_message())

    def close(self) -> None:
        """Let the last messages leave and close."""
        self._stack.close()

    def _send(self, parts: list[Any]) -> None:
        try:
            self._socket.send_multipart(parts, copy=False)
        except self._again:
            raise self._nobody(self.channel.timeout) from None

    def _nobody(self, timeout_s: float) -> SendTimeoutError:
        return SendTimeoutError(
            f"channel {self.channel}: nobody took a message within {timeout_s:g} s; is a receiver there, and fast "
            "enough? raise ?timeout= or ?hwm="
        )


class ZmqOutput(Task):
    """Sends its inputs, each timeframe one message."""

    to = Option("", "channel, tcp://127.0.0.1:5556?type=push&method=connect")
    when_full = Option("fail", "what a receiver that is too slow costs", choices=("fail", "drop"))
    split_bytes = Option(0, "send payloads over it in shares; 0: whole [bytes]", minimum=0)
    end = Option(True, "say at the end of the run that nothing more comes, once per worker that sent")

    def init(self, ctx: "ProcessingContext") -> None:
        """Open the socket; each worker has its own."""
        to, split_bytes = str(ctx.options["to"]), int(ctx.options["split_bytes"])
        if not to:
            raise ConfigError(f"processor {ctx.spec.name!r}: where to? -o {ctx.spec.name}.to=tcp://127.0.0.1:5556")
        self._sender = Sender(to, split_bytes=split_bytes or None).__enter__()

    def run(self, ctx: "ProcessingContext") -> None:
        """Send one timeframe."""
        before = self._sender.n_bytes
        try:
            self._sender.send(ctx.timeframe, dict(_data(ctx)))
        except SendTimeoutError:
            if ctx.options["when_full"] == "fail":
                raise
            ctx.counters["dropped"] = 1
            return
        ctx.counters |= {"sent": 1, "bytes": self._sender.n_bytes - before}

    def end_of_stream(self, ctx: "ProcessingContext") -> None:
        """Say so, and close."""
        try:
            if self.end:
                self._sender.end()
        finally:
            self._sender.close()


def zmq_output(name: str, inputs: str, to: str = "", *, when_full: str = "fail", **more: Any) -> DataProcessorSpec:
    """Return a processor that sends its inputs to a foreign device; wildcards send whatever matches.

    Parameters
    ----------
    name, inputs : str
        As of any processor: ``zmq_output("to-qc", "tracks:TPC/TRACKS;pid:TPC/*")``.
    to : str
        The channel; it connects, for there are many workers and one receiver. Can be set with ``-o NAME.to=``.
    when_full : str
        ``fail``: a receiver that does not take a timeframe within the channel's time-out costs it. ``drop``: the
        timeframe goes on, and the loss is counted.
    """
    options = (
        ConfigParamSpec(name="to", default=to, help="channel to send to"),
        ConfigParamSpec(name="when_full", default=when_full, help="fail or drop", choices=("fail", "drop")),
    )
    if to:
        Channel.parse(to, type="push", method="connect").check_type(PUSHERS)
    return output_proxy(name, inputs, cast(Any, ZmqOutput), options=options, **more)


def _data(ctx: "ProcessingContext") -> "list[tuple[DataRef, Columns]]":
    """Return what there is of the inputs, with its addresses."""
    found: list[tuple[DataRef, Columns]] = []
    for spec in ctx.spec.inputs:
        value = ctx.inputs[spec.binding]
        if spec.lifetime is Lifetime.CONDITION or value is None:
            continue
        if isinstance(value, Mapping) and not isinstance(value, Columns):
            found += value.items()
        else:
            found.append((DataRef(spec.origin, spec.description, int(spec.subspec)), value))
    return found
