"""The builder process: completes timeframes from the parts that readouts announce.

``python -m o2dask.stream.builder '<BuilderSettings as JSON>'``, started by `o2dask.stream.supervisor`; commands and
exit status: `o2dask.stream.process`. It keeps nothing: parts are leased to it until the timeframe that they make is
put, in one step with their acknowledgement; killed and started again it is given them again, with their age.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from o2dask.errors import ConfigError
from o2dask.stream.descriptor import LOST, Built, Key, Wire, key_of
from o2dask.stream.leases import Group
from o2dask.stream.process import READY, Control, connect, main
from o2dask.stream.queue import LEASE_S, AsyncLeaseQueue, Leased
from o2dask.stream.settings import INCOMPLETE
from o2dask.stream.spool import Spool
from o2dask.timeframe import ENUMERATED, TimeframeId, TimeframeRef

__all__ = ["BuilderSettings", "build", "start"]

MAX_ITEMS = 8192
"""Most parts to take at once."""
LOOK_S = 2.0
"""How often to look at the time when nothing comes [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderSettings:
    """What the builder is told; travels as JSON.

    Attributes
    ----------
    scheduler, parts, timeframes : str
        Address of the scheduler, names of the queues.
    root, spill_root : str
        The spool.
    timeout_s : float
        How long a timeframe may wait for its parts, from the first one on [s].
    incomplete : str
        ``drop`` them or ``pass`` them on marked.
    control : str
        ``stdin``, or ``none`` to begin at once.
    """

    scheduler: str
    parts: str
    timeframes: str
    root: str
    spill_root: str = ""
    timeout_s: float = 30.0
    incomplete: str = "drop"
    control: str = "stdin"

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON values."""
        return asdict(self)


@dataclass(slots=True)
class _Open:
    """A timeframe that is not complete: since when it waits, how many parts it has, and which came."""

    since: float
    n_readouts: int
    parts: dict[int, Leased] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        return len(self.parts) == self.n_readouts


async def build(values: dict[str, Any], control: Control) -> None:
    """Build timeframes until the queue of parts is over."""
    try:
        settings = BuilderSettings(**values)
    except TypeError as error:
        raise ConfigError(f"settings of the builder: {error}") from None
    if settings.incomplete not in INCOMPLETE or not settings.timeout_s > 0:
        raise ConfigError(
            f"builder: want a time-out over 0 and incomplete timeframes to {' or '.join(INCOMPLETE)}, "
            f"got {settings.timeout_s} and {settings.incomplete!r}"
        )
    client = await connect(settings.scheduler)
    builder = _Builder(settings, control, AsyncLeaseQueue(client, settings.parts))
    await builder.sweep()
    print(READY, flush=True)  # noqa: T201
    await control.wait_running()
    await builder.run()


class _Builder:
    """The work of the process."""

    def __init__(self, settings: BuilderSettings, control: Control, queue: AsyncLeaseQueue) -> None:
        self._settings, self._control, self._queue = settings, control, queue
        self._spool = Spool(settings.root, settings.spill_root)
        self._open: dict[Key, _Open] = {}

    async def sweep(self) -> None:
        """Remove parts of timeframes that were dropped just before the last builder died."""
        found = list(self._spool.leftovers())
        for timeframe, standing in zip(found, await self._queue.standing([*map(key_of, found)]), strict=True):
            if standing == "closed":
                self._spool.settle(timeframe)

    async def run(self) -> None:
        """Take parts, forward what is complete or overdue."""
        while True:
            leased, state = await self._queue.get(MAX_ITEMS, LEASE_S, self._wait_s(), until_ended=True)
            complete = self._sort_in(leased)
            if state == "over":
                return
            if state == "ended":  # no part will come any more
                overdue = list(self._open)
            else:
                overdue = self._overdue()
            if complete or overdue:
                await self._forward(complete, overdue)
            elif not leased and self._open:
                await self._queue.renew(LEASE_S)

    def _sort_in(self, leased: Iterable[Leased]) -> list[Key]:
        """Take parts in; return which timeframes are complete now."""
        now, complete = time.monotonic(), []
        for item in leased:
            wire = item.item
            key = wire[:4]
            entry = self._open.get(key)
            if entry is None:
                entry = self._open[key] = _Open(now - item.age_s, wire[7])
            entry.since = min(entry.since, now - item.age_s)
            entry.parts[wire[6]] = item
            if len(entry.parts) == entry.n_readouts:
                complete.append(key)
        return complete

    # -- time

    def _wait_s(self) -> float:
        """Return how long to wait for parts [s]: to the next time-out, or a while."""
        if not self._open or not self._control.is_running:
            return LOOK_S
        first = min(map(self._begun, self._open.values()))
        return min(max(0.0, first + self._settings.timeout_s - time.monotonic()), LOOK_S)

    def _begun(self, entry: _Open) -> float:
        """Return when a timeframe began to wait: while readouts pause, nobody is late."""
        return max(entry.since, self._control.resumed_at)

    def _overdue(self) -> list[Key]:
        if not self._control.is_running:
            return []
        latest = time.monotonic() - self._settings.timeout_s
        return [key for key, entry in self._open.items() if self._begun(entry) <= latest and not entry.is_complete]

    # -- what goes on

    async def _forward(self, complete: list[Key], overdue: list[Key]) -> None:
        entries = [(key, self._open.pop(key)) for key in (*complete, *overdue) if key in self._open]
        groups = [self._group(key, entry) for key, entry in entries]
        refused = set(await self._queue.forward(self._settings.timeframes, groups))
        for i, (key, _) in enumerate(entries):  # refused: leased to others, or soon to us again
            if i not in refused and groups[i][1] is None:
                await asyncio.to_thread(self._spool.settle, _timeframe(key))

    def _group(self, key: Key, entry: _Open) -> Group:
        """Return the tokens of a timeframe, what it becomes, and what it is counted as."""
        parts = {readout: entry.parts[readout].item for readout in sorted(entry.parts)}
        tokens = tuple(item.token for item in entry.parts.values())
        lost = any(wire[8] == LOST for wire in parts.values())
        missing = tuple(r for r in range(entry.n_readouts) if r not in parts or parts[r][8] == LOST)
        if not missing:
            return tokens, self._built(key, parts, ()), "built"
        if len(missing) == entry.n_readouts:
            return tokens, None, "lost"
        if self._settings.incomplete == "drop":
            return tokens, None, "lost" if lost else "incomplete_dropped"
        return tokens, self._built(key, parts, missing), "incomplete_passed"

    def _built(self, key: Key, parts: dict[int, Wire], missing: tuple[int, ...]) -> Wire:
        timeframe = _timeframe(key)
        n_bytes = sum(wire[4] for readout, wire in parts.items() if readout not in missing)
        is_bulk = any(wire[8] not in (ENUMERATED, LOST) for wire in parts.values())
        url = self._spool.folder(timeframe) if is_bulk else ENUMERATED
        index = 0 if is_bulk else timeframe.tf_counter
        return Built(TimeframeRef(id=timeframe, url=url, index=index, n_bytes=n_bytes, missing=missing)).to_wire()


def _timeframe(key: Key) -> TimeframeId:
    run, tf_counter, first_orbit, n_orbits = key
    return TimeframeId(run=run, tf_counter=tf_counter, first_orbit=first_orbit, n_orbits=n_orbits)


def start() -> None:
    """Do it with the settings of the command line."""
    main(build, "builder")


if __name__ == "__main__":
    start()
