"""A ZeroMQ channel to a foreign device: what a user writes for it, and the socket, bounded in every direction.

    tcp://127.0.0.1:5555                          as whoever uses it is used to: a source listens, a sender connects
    tcp://127.0.0.1:5555?type=sub&method=connect  the same words as FairMQ's channel configuration
    ipc://feed?hwm=10&timeout=30                  a socket in the current folder

Knows pyzmq, imported on first use; no header and no timeframe. There is no authentication: who may connect may feed, so
a socket listens on the loopback interface unless ``remote=true`` says otherwise.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from o2dask.errors import ConfigError

if TYPE_CHECKING:
    import zmq

__all__ = ["PULLERS", "PUSHERS", "Channel", "require_zmq"]

PUSHERS, PULLERS = ("push", "pub"), ("pull", "sub")
"""Types that send, and types that receive."""
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One end of a channel.

    Attributes
    ----------
    address : str
        ``tcp://HOST:PORT``, ``ipc://PATH`` or, within a process, ``inproc://NAME``.
    type : str
        ``push`` and ``pub`` send, ``pull`` and ``sub`` receive. A push waits for a slow receiver, a pub loses.
    method : str
        ``bind`` listens, ``connect`` goes to who does; one end of each is needed.
    hwm : int
        High-water mark: messages that wait in this end at most. A message is a timeframe: too high takes memory, too
        low makes the sender wait for each.
    timeout : float
        How long to try to send before it is an error, and to wait for the last message to leave when closing [s].
    max_bytes : int
        Most in one part of a message; a sender of more is disconnected.
    remote : bool
        Whether it may listen on other interfaces than loopback.
    """

    address: str
    type: str = "pull"
    method: str = "bind"
    hwm: int = 16
    timeout: float = 10.0
    max_bytes: int = 4 << 30
    remote: bool = False

    def __post_init__(self) -> None:
        scheme, _, rest = self.address.partition("://")
        if scheme not in ("tcp", "ipc", "inproc") or not rest:
            raise ConfigError(f"channel: want tcp://HOST:PORT or ipc://PATH, got {self.address!r}")
        port = rest.rpartition(":")[2]
        if scheme == "tcp" and not (port.isdigit() and 0 < int(port) < 1 << 16):
            raise ConfigError(f"channel {self.address}: want a port, 1 to 65535, tcp://127.0.0.1:5555")
        for name, choices in (("type", PUSHERS + PULLERS), ("method", ("bind", "connect"))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"channel {self.address}: want {name}={'|'.join(choices)}, got {getattr(self, name)}")
        for name in ("hwm", "timeout", "max_bytes"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"channel {self.address}: want {name} over 0, got {getattr(self, name)}")
        if scheme == "tcp" and self.method == "bind" and not self.remote and not _is_loopback(rest.rpartition(":")[0]):
            raise ConfigError(
                f"channel {self.address}: anyone in the network could feed or read it, there is no password; listen on "
                "127.0.0.1, or say ?remote=true"
            )

    @classmethod
    def parse(cls, text: str, **defaults: Any) -> "Channel":
        """Return the channel written as ``ADDRESS?type=...&hwm=...``; `defaults` stand for what is left out."""
        address, _, query = text.partition("?")
        values: dict[str, Any] = dict(defaults)
        known = {item.name: item for item in fields(cls) if item.name != "address"}
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name not in known:
                raise ConfigError(f"channel {address}: no setting {name!r}; there are {', '.join(known)}")
            values[name] = _converted(address, name, value, known[name].default)
        return cls(address=address, **values)

    def check_type(self, allowed: tuple[str, ...]) -> "Channel":
        """Return self; ConfigError if the type is not one of `allowed`."""
        if self.type not in allowed:
            raise ConfigError(f"channel {self.address}: want type={'|'.join(allowed)} here, got {self.type}")
        return self

    @contextmanager
    def open(self, context: "zmq.Context[Any] | None" = None) -> Iterator["zmq.Socket[Any]"]:
        """Give the socket; what was sent leaves within `timeout` when the block ends, the rest is dropped.

        Raises
        ------
        ConfigError
            If pyzmq is missing, or the address cannot be used.
        """
        zmq = require_zmq()
        own = zmq.Context() if context is None else context
        socket = own.socket(getattr(zmq, self.type.upper()))
        try:
            self._settle(socket, zmq)
            yield socket
        finally:
            socket.close(linger=int(1000 * self.timeout) if self.type in PUSHERS else 0)
            if context is None:
                own.term()

    def _settle(self, socket: "zmq.Socket[Any]", zmq: Any) -> None:
        socket.setsockopt(zmq.SNDHWM, self.hwm)
        socket.setsockopt(zmq.RCVHWM, self.hwm)
        socket.setsockopt(zmq.SNDTIMEO, int(1000 * self.timeout))
        socket.setsockopt(zmq.MAXMSGSIZE, self.max_bytes)
        if self.type == "push" and self.method == "connect":
            socket.setsockopt(zmq.IMMEDIATE, 1)  # else messages pile up for a peer that is not there
        if self.type == "sub":
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        if self.method == "connect" and self.address.startswith("tcp://"):
            _check_host(self.address)  # ZeroMQ would try again for ever, without a word
        try:
            getattr(socket, self.method)(self.address)
        except zmq.ZMQError as error:
            is_taken = error.errno == zmq.EADDRINUSE
            remedy = "another process listens there; choose another port" if is_taken else "check it"
            raise ConfigError(f"channel {self.address}: cannot {self.method}: {error}; {remedy}") from None

    def shifted(self, by: int) -> "Channel":
        """Return the channel `by` ports further, or at ``PATH-<by>``; itself for 0."""
        if by == 0:
            return self
        scheme, _, rest = self.address.partition("://")
        host, _, port = rest.rpartition(":")
        address = f"tcp://{host}:{int(port) + by}" if scheme == "tcp" else f"{self.address}-{by}"
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return Channel(**{**values, "address": address})

    def __str__(self) -> str:
        return f"{self.address} ({self.type}, {self.method})"


def require_zmq() -> Any:
    """Return the module zmq; ConfigError with the remedy if it is not installed."""
    try:
        import zmq
    except ImportError:
        raise ConfigError("ZeroMQ channels need pyzmq: pip install 'o2dask[stream]'") from None
    return zmq


def _is_loopback(host: str) -> bool:
    host = host.strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "lo")


def _check_host(address: str) -> None:
    """Raise ConfigError if a name stands for no host."""
    import socket

    host, _, port = address.removeprefix("tcp://").rpartition(";")[2].rpartition(":")
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except OSError as error:
        raise ConfigError(f"channel {address}: no host {host}: {error.strerror}; check the name") from None


def _converted(address: str, name: str, value: str, default: Any) -> Any:
    if isinstance(default, bool):
        if value.lower() not in _TRUE + _FALSE:
            raise ConfigError(f"channel {address}: want {name}=true or false, got {value!r}")
        return value.lower() in _TRUE
    try:
        return type(default)(value)
    except ValueError:
        raise ConfigError(f"channel {address}: want {name}={type(default).__name__}, got {value!r}") from None


def as_text(channel: Channel) -> str:
    """Return what `Channel.parse` reads."""
    shown: Mapping[str, Any] = {item.name: getattr(channel, item.name) for item in fields(channel)}
    rest = "&".join(f"{name}={str(value).lower()}" for name, value in shown.items() if name != "address")
    return f"{channel.address}?{rest}"
