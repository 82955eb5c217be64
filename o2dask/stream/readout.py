"""A readout process: reads its source at the pace that is asked for, writes parts into the spool, announces them.

``python -m o2dask.stream.readout '<ReadoutSettings as JSON>'``, started by `o2dask.stream.supervisor`; commands and
exit status: `o2dask.stream.process`. It keeps nothing: killed and started again it asks the queue how far it had come.
"""

import asyncio
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from o2dask.errors import ConfigError
from o2dask.stream.announcer import Announcer, Made, producer_name
from o2dask.stream.descriptor import LOST, Part, key_of
from o2dask.stream.errors import SpoolFullError
from o2dask.stream.process import READY, Control, connect, main
from o2dask.stream.queue import AsyncLeaseQueue
from o2dask.stream.sources import Reading, Source, open_source
from o2dask.stream.spool import Spool
from o2dask.timeframe import ENUMERATED

__all__ = ["ReadoutSettings", "read_out", "start"]

EARLY_S = 0.002
"""How much too early a timeframe may come [s]: shorter sleeps cost more than they are worth."""
BREATH_S = 0.002
"""Longest that parts are made before the announcer has its turn [s]."""
FULL_S = 1.0
"""How often a full device is tried again when nothing of ours leaves it [s]."""
TELL_VAIN = 3
"""How often a device is found full of what is not ours before that is told: once or twice, what we know may be old."""
MAX_TOLD = 100
"""Most lines that a readout says; what it counts is in its reports."""
SILENT_S = 5.0
"""How long a device may give nothing before that is told, once until it gives something again [s]."""
IN_HAND_S = 0.25
"""At a stop, how long a live source has to hand over what it may just be receiving [s]."""
LAST_S = 3.0
"""At a stop, how long a live source has to give what others have given already [s]: too short, and the last timeframes
lack its part; too long, and a device that is silent holds up the end."""
REPORT_S = 1.0
"""How often the readout tells its counters [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutSettings:
    """What a readout process is told; travels as JSON.

    Attributes
    ----------
    scheduler, queue : str
        Address of the scheduler, and name of the queue of parts.
    source : str
        As `open_source` takes it.
    readout, n_readouts : int
        Which one, of how many.
    root, spill_root : str
        The spool.
    loop : bool
        Without end.
    rate : float
        Timeframes per second over all, 0 for as fast as may be.
    when_full : str
        block, drop or spill: what becomes of a part for which there is no room on the device.
    done : sequence of pairs
        Ranges [first, end) of numbers of the source that need not be given.
    control : str
        ``stdin``, or ``none`` to begin at once.
    """

    scheduler: str
    queue: str
    source: str
    readout: int
    n_readouts: int
    root: str
    spill_root: str = ""
    loop: bool = False
    rate: float = 0.0
    when_full: str = "block"
    done: Sequence[Sequence[int]] = ()
    control: str = "stdin"

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON values."""
        return asdict(self)


async def read_out(values: dict[str, Any], control: Control) -> None:
    """Read out until the source ends, or a stop on which all readouts agree."""
    try:
        settings = ReadoutSettings(**values)
    except TypeError as error:
        raise ConfigError(f"settings of a readout: {error}") from None
    which = settings.readout, settings.n_readouts
    source = open_source(settings.source, *which, loop=settings.loop, done=settings.done)
    client = await connect(settings.scheduler)
    readout = _Readout(settings, control, AsyncLeaseQueue(client, settings.queue), source)
    await readout.begin()
    print(READY, flush=True)  # noqa: T201
    await control.wait_running()
    await readout.run()


class _Readout:
    """The work of one process."""

    def __init__(self, settings: ReadoutSettings, control: Control, queue: AsyncLeaseQueue, source: Source) -> None:
        self._settings, self._control, self._queue, self._source = settings, control, queue, source
        self._spool = Spool(settings.root, settings.spill_root)
        self._counts: Counter[str] = Counter()
        self._told: deque[str] = deque(maxlen=3)
        self._end: int | None = None
        self._newest = 0  # number of the last timeframe made, plus 1; the same in all readouts
        self._pending: asyncio.Task[Any] | None = None
        self._heard_s, self._is_silent = time.monotonic(), False
        self._patience_s = 0.0
        self._n_vain = 0

    async def begin(self) -> None:
        """Ask how far the last process came, and clear away what it had written and not announced."""
        name = producer_name(self._settings.readout)
        last, self._foremost = await self._queue.open_producer(name)
        own = [t for t, readouts in self._spool.leftovers().items() if self._settings.readout in readouts]
        for timeframe, standing in zip(own, await self._queue.standing([*map(key_of, own)]), strict=True):
            if standing != "inside":
                self._spool.discard(timeframe, self._settings.readout)
        self._announcer = Announcer(
            self._queue,
            self._spool,
            readout=self._settings.readout,
            n_readouts=self._settings.n_readouts,
            first_seq=last + 1,
            spills=self._settings.when_full == "spill" and bool(self._settings.spill_root),
        )
        if self._settings.readout == 0:
            for notice in self._source.notices:
                self._tell(notice)

    async def run(self) -> None:
        """Make parts until the end, and have all of them announced."""
        announcing, reporting = asyncio.create_task(self._announcer.run()), asyncio.create_task(self._report())
        making = asyncio.create_task(self._make())
        try:
            await self._first_of(making, announcing, reporting)
            self._announcer.end()
            await self._first_of(announcing, reporting)
        finally:
            for task in (announcing, making, reporting):
                task.cancel()
        await self._queue.report(self._announcer.producer, self._report_values("ended"))
        await self._queue.close_producer(self._announcer.producer)

    async def _first_of(self, wanted: "asyncio.Task[None]", *others: "asyncio.Task[None]") -> None:
        """Wait for one task; raise what ends another before: only errors do."""
        done, _ = await asyncio.wait({wanted, *others}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task

    async def _make(self) -> None:
        """Read, write and hand over, at the pace that is asked for."""
        self._stopping: asyncio.Task[Any] = asyncio.create_task(self._control.wait_stopping())
        self._set_pace()
        breath = time.monotonic()
        readings = self._source.readings(self._announcer.next_seq)
        while not await self._is_at_end():
            reading = await self._next(readings)
            if reading is _END:
                return
            if reading is None:
                self._heed_silence()
                continue
            assert isinstance(reading, Reading)
            self._heard_s, self._is_silent = time.monotonic(), False
            if self._source.live and self._end is not None and _number(reading) > self._end:
                return  # after the last timeframe that all have
            self._newest = _number(reading)
            await self._keep_pace()
            self._announcer.add(await self._part(reading))
            if time.monotonic() - breath > BREATH_S:
                await asyncio.sleep(0)
                breath = time.monotonic()

    async def _next(self, readings: Iterator[Reading | None]) -> Any:
        """Return the next reading, None if none came yet; a device that gives nothing is not waited for at a stop."""
        if not self._source.blocks:
            return next(readings, _END)
        if self._pending is None:
            self._pending = asyncio.create_task(asyncio.to_thread(next, readings, _END))
        waits, limit_s = {self._pending}, None
        if self._source.live and self._end is not None:
            limit_s = max(0.0, self._patience_s - time.monotonic())
        elif self._source.live:
            waits |= {self._stopping}
        await asyncio.wait(waits, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if not self._pending.done():
            return None
        reading, self._pending = self._pending, None
        return await reading

    async def _is_at_end(self) -> bool:
        """Wait while paused; return whether to come to an end, which all readouts do after the same timeframe."""
        if not self._control.is_running:
            await self._control.wait_running()
            self._set_pace()
            self._heard_s = time.monotonic()
        if not self._control.is_stopping:
            return False
        if self._source.live:  # a device: it has no numbers, and what it gave it cannot be asked to give again
            return await self._is_at_last()
        if self._end is None:
            self._end = await self._queue.agree_end(self._announcer.producer, self._announcer.next_seq)
        return self._announcer.next_seq >= self._end

    async def _is_at_last(self) -> bool:
        """Return whether this readout has made the last timeframe that any had when they were stopped, or waits for it
        in vain."""
        if self._end is None:
            if self._pending is not None:
                await asyncio.wait({self._pending}, timeout=IN_HAND_S)
                if self._pending.done():
                    return False
            self._end = await self._queue.agree_end(self._announcer.producer, self._newest)
            self._patience_s = time.monotonic() + LAST_S
        return self._newest >= self._end or time.monotonic() > self._patience_s

    def _heed_silence(self) -> None:
        if not self._is_silent and time.monotonic() - self._heard_s > SILENT_S and not self._control.is_stopping:
            self._is_silent = True
            so_far = "" if self._newest else " yet: is a device there, and does it send?"
            self._tell(f"{self._settings.source}: nothing has come for {SILENT_S:g} s{so_far}")

    # -- pace

    def _set_pace(self) -> None:
        """Count from now: the next timeframe is due at once, one behind the foremost readout before that."""
        self._rate = self._control.rate
        self._first = max(self._announcer.next_seq, self._foremost + 1)
        self._due_s = time.monotonic()

    async def _keep_pace(self) -> None:
        while self._control.rate and not self._control.is_stopping:
            if self._control.rate != self._rate:
                self._set_pace()
            seq = self._announcer.next_seq
            wait_s = self._due_s + (seq - self._first) / self._rate - time.monotonic()
            if wait_s <= EARLY_S:
                return
            await self._control.sleep(wait_s)

    def _no_pace(self, since: float) -> None:
        """Time spent waiting for room is not made up for: that would be a burst."""
        self._due_s += time.monotonic() - since

    # -- parts

    async def _part(self, reading: Reading) -> Made:
        """Write one part; return what to announce."""
        k, n = self._settings.readout, self._settings.n_readouts
        part = partial(Part, timeframe=reading.timeframe, readout=k, n_readouts=n)
        if reading.error:
            self._counts["unreadable"] += 1
            if k == 0:
                self._tell(f"lost timeframe {reading.timeframe}: {reading.error}")
            return Made(part(url=LOST).to_wire())
        if reading.batch is None or (not reading.batch.num_rows and k > 0 and reading.total_bytes):
            # No bulk; or none of it is ours, but then the first readout has a file: empty timeframes are data too.
            await self._room_for(0)
            return Made(part(url=ENUMERATED, total_bytes=reading.total_bytes).to_wire())
        size = reading.batch.nbytes
        await self._room_for(size)
        written = await self._written(reading)
        if written is None:
            self._counts["no_room"] += 1
            return Made(part(url=LOST).to_wire())
        n_bytes, here = written
        self._counts["bytes"] += n_bytes
        url = self._spool.part(reading.timeframe, k)
        total = max(reading.total_bytes, n_bytes) if reading.total_bytes else 0
        return Made(part(url=url, n_bytes=n_bytes, total_bytes=total).to_wire(), reading.timeframe, here)

    async def _room_for(self, n_bytes: int) -> None:
        if not self._announcer.may_write(n_bytes):
            since = time.monotonic()
            await self._announcer.wait_for(n_bytes)
            self._no_pace(since)

    async def _written(self, reading: Reading) -> tuple[int, int] | None:
        """Return the size of the part written and what of it is on the device [bytes]; None if it is dropped."""
        from o2dask.ctf.parts import write_part

        timeframe, batch, when_full = reading.timeframe, reading.batch, self._settings.when_full
        assert batch is not None
        spills = when_full == "spill" and bool(self._settings.spill_root)

        def write(path: str) -> None:
            write_part(path, timeframe, batch)

        total = reading.total_bytes or self._settings.n_readouts * batch.nbytes
        if not self._announcer.fits(total):
            await self._announcer.wait_room(0.0)  # what it knows of the room may be old
        while True:
            fits = self._announcer.fits(total) and not (spills and self._announcer.is_full)
            for spilled in [False] * fits + [True] * spills:
                with suppress(SpoolFullError):
                    n_bytes = self._spool.write(
                        timeframe, self._settings.readout, write, spilled=spilled, expected=batch.nbytes
                    )
                    self._counts["spilled"] += spilled
                    self._n_vain = 0
                    return n_bytes, 0 if spilled else n_bytes
            if when_full == "drop":
                return None
            if self._control.is_stopping and not self._announcer.n_inside:
                return None  # nothing of ours will make room, and nobody waits for this timeframe
            self._heed_full(total, spills=spills)
            since = time.monotonic()
            await self._announcer.wait_room(FULL_S)
            self._no_pace(since)

    def _heed_full(self, total: int, *, spills: bool) -> None:
        """Tell, once, that the device is full though nothing of ours is there; ConfigError if it is too small."""
        self._counts["waited_for_device"] += 1
        where = f"spool {self._spool.root}"
        if not spills and total > (size := self._spool.device_bytes):
            raise ConfigError(
                f"{where}: a timeframe takes {total / 1e6:.1f} MB, its device holds {size / 1e6:.1f} MB; give another "
                "folder (--spool) or --when-full spill"
            )
        self._n_vain = 0 if self._announcer.n_inside else self._n_vain + 1
        if self._n_vain == TELL_VAIN:
            also = f", and neither has {self._spool.spill_root}" if spills else ""
            self._tell(
                f"{where}: no room for a timeframe of {total / 1e6:.1f} MB, {self._spool.free_bytes / 1e6:.1f} MB are "
                f"free{also}; waiting for others to make room"
            )

    # -- what it tells

    def _tell(self, text: str) -> None:
        self._told.append(text)
        self._counts["told"] += 1
        if self._counts["told"] <= MAX_TOLD:  # a loop over a damaged file would go on for ever
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    def _report_values(self, state: str) -> dict[str, Any]:
        counts = Counter(self._counts)
        counts.update(self._announcer.counts)
        counts.update(self._source.counts)
        return {"state": state, **counts, "last_told": list(self._told)}

    async def _report(self) -> None:
        while True:
            state = "running" if self._control.is_running else "paused"
            await self._queue.report(self._announcer.producer, self._report_values(state))
            await asyncio.sleep(REPORT_S)


_END: Any = object()


def _number(reading: Reading) -> int:
    """Return a number that grows with timeframes, the same in all readouts; over 0."""
    return 1 + reading.timeframe.df_number


def start() -> None:
    """Do it with the settings of the command line."""
    main(read_out, "readout")


if __name__ == "__main__":
    start()
