"""What travels through the queues instead of data: where a part of a timeframe is, where a built timeframe is.

On the wire both are tuples of numbers and short strings, whose first six items the queue reads: run, tf_counter,
first_orbit, n_orbits, n_bytes, and what the whole timeframe is expected to take. Knows no queue and no file.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

from o2dask.errors import SpecError
from o2dask.timeframe import ENUMERATED, TimeframeId, TimeframeRef

__all__ = ["LOST", "MAX_BYTES", "MAX_READOUTS", "Built", "Key", "Part", "Wire", "key_of"]

MAX_BYTES = 1024
"""Most bytes of a descriptor in msgpack."""
MAX_READOUTS = 128
"""Most readout processes: their numbers take two bytes each where they are missing."""
_MAX_URL = 700
LOST = "lost:"
"""Url of a part that its readout had to give up: the source was damaged, or there was no room for it."""

Wire: TypeAlias = tuple[Any, ...]
"""Run, tf_counter, first_orbit, n_orbits, n_bytes, bytes expected of the whole timeframe, and what its kind adds."""
Key: TypeAlias = tuple[int, int, int, int]
"""Run, tf_counter, first_orbit, n_orbits."""


def key_of(timeframe: TimeframeId) -> Key:
    """Return a timeframe as a queue names it."""
    return timeframe.run, timeframe.tf_counter, timeframe.first_orbit, timeframe.n_orbits


def _timeframe(wire: Wire) -> TimeframeId:
    run, tf_counter, first_orbit, n_orbits = wire[:4]
    return TimeframeId(run=run, tf_counter=tf_counter, first_orbit=first_orbit, n_orbits=n_orbits)


def _check_url(url: str, what: str) -> None:
    if len(url.encode()) > _MAX_URL:
        raise SpecError(f"{what}: want a path of at most {_MAX_URL} bytes, got {url!r}; choose a shorter spool folder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one readout has of a timeframe.

    Attributes
    ----------
    timeframe : TimeframeId
        Of which timeframe.
    readout, n_readouts : int
        Whose part it is, of how many.
    url : str
        Its file, "enumerate:" where there is no bulk, or `LOST`.
    n_bytes : int
        Size of the file [bytes].
    total_bytes : int
        What the parts of all readouts are expected to take [bytes], for which the queue keeps room; 0: not known.
    """

    timeframe: TimeframeId
    readout: int
    n_readouts: int
    url: str = ENUMERATED
    n_bytes: int = 0
    total_bytes: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.readout < self.n_readouts <= MAX_READOUTS:
            raise SpecError(f"part: want 0 <= readout < n <= {MAX_READOUTS}, got {self.readout} of {self.n_readouts}")
        _check_url(self.url, "part")

    @property
    def is_lost(self) -> bool:
        """Whether its readout had to give it up."""
        return self.url == LOST

    def to_wire(self) -> Wire:
        """Return it as a tuple of at most `MAX_BYTES` in msgpack."""
        total = self.total_bytes or self.n_readouts * self.n_bytes
        return (*key_of(self.timeframe), self.n_bytes, total, self.readout, self.n_readouts, self.url)

    @classmethod
    def from_wire(cls, wire: Wire) -> "Part":
        """Return what `to_wire` wrote."""
        *_, n_bytes, total, readout, n_readouts, url = wire
        return cls(
            timeframe=_timeframe(wire),
            readout=readout,
            n_readouts=n_readouts,
            url=url,
            n_bytes=n_bytes,
            total_bytes=total,
        )


@dataclass(frozen=True, slots=True)
class Built:
    """A timeframe that is ready: its url is a folder of parts, or "enumerate:"; it says what is `missing` of it."""

    ref: TimeframeRef

    def __post_init__(self) -> None:
        _check_url(self.ref.url, "built timeframe")

    @property
    def missing(self) -> tuple[int, ...]:
        """Readouts whose part never came."""
        return self.ref.missing

    def to_wire(self) -> Wire:
        """Return it as a tuple of at most `MAX_BYTES` in msgpack."""
        ref = self.ref
        return (*key_of(ref.id), ref.n_bytes, ref.n_bytes, ref.index, ref.url, ref.missing)

    @classmethod
    def from_wire(cls, wire: Wire) -> "Built":
        """Return what `to_wire` wrote."""
        *_, n_bytes, _, index, url, missing = wire
        ref = TimeframeRef(
            id=_timeframe(wire),
            url=url,
            index=index,
            n_bytes=n_bytes,
            missing=tuple(missing),
        )
        return cls(ref)
