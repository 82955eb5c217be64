"""What a stream is asked to do: where timeframes come from, how fast, and what becomes of what does not fit."""

import os
import re
import shutil
import uuid
from dataclasses import dataclass, field

from o2dask.errors import ConfigError
from o2dask.stream.descriptor import MAX_READOUTS
from o2dask.stream.leases import WHEN_FULL

__all__ = ["INCOMPLETE", "StreamSettings"]

INCOMPLETE = ("drop", "pass")
"""What becomes of a timeframe whose parts did not all come in time: dropped, or passed on marked. Both are counted."""


def _session() -> str:
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSettings:
    """How a stream is read out and built.

    Attributes
    ----------
    source : str
        See `o2dask.stream.sources.open_source`.
    n_readouts : int
        Readout processes; each has a share of every timeframe.
    rate : float
        Timeframes per second over all; 0: as fast as they go. Too high, and `when_full` says what happens.
    loop : bool
        Begin again when the source is at its end.
    when_full : str
        block: the source waits. drop: the newest timeframes are dropped, whole, and counted. spill: they wait in the
        folder `spill`.
    max_timeframes, max_bytes : int
        Room from the first announcement to the commit: timeframes, bytes on the device. 0 bytes: half of what is free
        there when it starts. Too little, and workers idle; too much, and the memory is not theirs.
    incomplete, timeout_s : str, float
        ``drop`` or ``pass`` timeframes whose parts did not all come within so many seconds after the first [s]. Too
        short, and a readout that is killed costs timeframes: it takes 1 to 2 s to start another.
    base, spill : str
        Folder of the spool, default /dev/shm; folder for what is spilled.
    session : str
        Name of the stream on its node and scheduler.
    take_over : bool
        Keep what a dead owner of the same session left in the spool.
    """

    source: str
    n_readouts: int = 1
    rate: float = 0.0
    loop: bool = False
    when_full: str = "block"
    max_timeframes: int = 64
    max_bytes: int = 0
    incomplete: str = "drop"
    timeout_s: float = 30.0
    base: str = ""
    spill: str = ""
    session: str = field(default_factory=_session)
    take_over: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.n_readouts <= MAX_READOUTS:
            raise ConfigError(f"readout: want 1 to {MAX_READOUTS} processes, got {self.n_readouts}")
        if not 0 <= self.rate < float("inf"):
            raise ConfigError(f"rate: want timeframes per second, 0 for as fast as they go, got {self.rate}")
        if self.when_full not in WHEN_FULL:
            raise ConfigError(f"when full: want one of {', '.join(WHEN_FULL)}, got {self.when_full!r}")
        if (self.when_full == "spill") != bool(self.spill):
            raise ConfigError("when full: spill needs a folder on disk to spill to, and others need none")
        if self.incomplete not in INCOMPLETE or not self.timeout_s > 0:
            raise ConfigError(
                f"incomplete timeframes: want {' or '.join(INCOMPLETE)} after more than 0 s, "
                f"got {self.incomplete!r} after {self.timeout_s} s"
            )
        if self.max_timeframes < 1 or self.max_bytes < 0:
            raise ConfigError(f"room: want 1 timeframe or more, got {self.max_timeframes}, {self.max_bytes} bytes")
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", self.session):
            raise ConfigError(f"session: want 1 to 64 letters, digits, _, - or ., got {self.session!r}")
        for name, folder in (("spool", self.base), ("spill", self.spill)):
            if folder and not (os.path.isdir(folder) and os.access(folder, os.W_OK)):  # noqa: PTH112
                raise ConfigError(f"{name} folder {folder}: want an existing folder that can be written")

    def room_bytes(self, root: str) -> int:
        """Return `max_bytes`, or half of what is free on the device of the spool at `root`."""
        return self.max_bytes or max(1, shutil.disk_usage(root).free // 2)
