"""All of a stream up to the driver's door: queues, spool, processes and feed, begun and ended together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from distributed import Client

from o2dask.errors import ConfigError
from o2dask.stream.announcer import producer_name
from o2dask.stream.builder import BuilderSettings
from o2dask.stream.descriptor import Part
from o2dask.stream.errors import StreamError
from o2dask.stream.feed import QueueFeed
from o2dask.stream.numbers import ranges_of
from o2dask.stream.queue import LeaseQueue, install
from o2dask.stream.readout import ReadoutSettings
from o2dask.stream.settings import StreamSettings
from o2dask.stream.sources import UNKNOWN, open_source
from o2dask.stream.spool import Spool
from o2dask.stream.supervisor import ProcessSpec, Supervisor
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["Stream", "open_stream"]

MOST_AHEAD = 1024
"""Most timeframes that the driver leases ahead: small ones go to workers in groups, and those have to be there."""

LEFT = "left"
"""Who announces parts of a dead owner."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What a driver has of a stream: `feed` to take from, `supervisor` to command, queues and spool to look at."""

    settings: StreamSettings
    spool: Spool
    parts: LeaseQueue
    timeframes: LeaseQueue
    supervisor: Supervisor
    feed: QueueFeed
    keep: Callable[[], None]
    """Call it for the spool to stay when the stream ends, if it holds what cannot be read again."""
    left_out: tuple[TimeframeId, ...] = ()
    """Timeframes that the source does not give because they are done."""


@contextmanager
def open_stream(
    client: Client,
    settings: StreamSettings,
    *,
    is_done: Callable[[TimeframeRef], bool] | None = None,
    on_ready: Callable[[], None] | None = None,
    done: Iterable[TimeframeId] = (),
) -> Iterator[Stream]:
    """Give a stream whose processes are connected and wait: ``stream.supervisor.start()`` lets them run.

    When the block ends, its processes, its queues and its spool are gone.

    Parameters
    ----------
    client : Client
        Of the scheduler, reachable by processes on this node.
    settings : StreamSettings
        What to do.
    is_done, on_ready : callable, optional
        See `QueueFeed`.
    done : iterable of TimeframeId
        What need not be read out again, if the source knows it beforehand; so a run that resumes is quick.

    Raises
    ------
    ConfigError
        If it cannot work: source, folder, scheduler.
    """
    sources = [
        open_source(settings.source, readout, settings.n_readouts, loop=settings.loop)
        for readout in {0, settings.n_readouts - 1}
    ]
    assert client.scheduler is not None
    address = str(client.scheduler.address)
    if address.startswith("inproc"):
        raise ConfigError(f"the scheduler at {address} is for threads only; start it with protocol='tcp://'")
    is_live = sources[0].live
    known = {number: id_ for id_ in done if (number := sources[0].number_of(id_)) != UNKNOWN}
    ranges = ranges_of(known)
    left_out = tuple(known[number] for first, end in ranges for number in range(first, end))
    with ExitStack() as stack:
        spool = Spool.create(
            settings.session, base=settings.base, spill=settings.spill, take_over=settings.take_over, keep=is_live
        )
        is_kept = Event()
        stack.callback(lambda: None if is_kept.is_set() else spool.remove())
        install(client)
        parts, timeframes = (LeaseQueue(client, f"{settings.session}/{name}") for name in ("parts", "timeframes"))
        parts.create(
            max_timeframes=settings.max_timeframes,
            max_bytes=settings.room_bytes(spool.root),
            when_full=settings.when_full,
            n_producers=settings.n_readouts,
        )
        stack.callback(_destroy, parts)
        timeframes.create(n_producers=0, after=parts.name)
        stack.callback(_destroy, timeframes)
        left = _take_over(spool, parts, settings, is_live=is_live)
        specs = [_builder(settings, address, spool, parts, timeframes)]
        specs += [_readout(settings, address, spool, parts, k, ranges) for k in range(settings.n_readouts)]
        supervisor = Supervisor(specs, _Progress(parts))
        supervisor.notices.extend(left)
        stack.callback(supervisor.close)
        ahead = min(settings.max_timeframes, MOST_AHEAD)
        feed = QueueFeed(timeframes, spool, is_done=is_done, on_ready=on_ready, on_stop=supervisor.stop, ahead=ahead)
        stack.callback(feed.close)
        supervisor.configure()
        keep = is_kept.set if is_live else _nothing
        yield Stream(settings, spool, parts, timeframes, supervisor, feed, keep, left_out)


def _nothing() -> None:
    """Let the spool go: what is in it can be read again."""


def _take_over(spool: Spool, parts: LeaseQueue, settings: StreamSettings, *, is_live: bool) -> list[str]:
    """Announce the parts that a dead owner of the session left, if they cannot be had again; return what to tell.

    A part whose timeframe was committed is settled as soon as it comes to the driver. Parts that a source gives again
    are removed: readouts may now be others.
    """
    if not is_live:
        spool.clear()
        return []
    n, found = settings.n_readouts, []
    for id_, readouts in spool.leftovers().items():
        for k in readouts if max(readouts, default=n) < n else ():
            url = spool.part(id_, k)
            found.append(Part(timeframe=id_, readout=k, n_readouts=n, url=url, n_bytes=Path(url).stat().st_size))
    answer = parts.put(LEFT, 0, [part.to_wire() for part in found], 0.0)
    taken = {part.timeframe for seq, part in enumerate(found) if seq <= answer.accepted_until} - {
        found[seq].timeframe for seq in answer.refused
    }
    lost = [id_ for id_ in spool.leftovers() if id_ not in taken]
    for id_ in lost:
        spool.settle(id_)
    told = [f"{len(taken)} timeframes of the last run are taken over"] if taken else []
    return told + ([f"{len(lost)} timeframes of the last run find no place and are lost"] if lost else [])


def _destroy(queue: LeaseQueue) -> None:
    with suppress(StreamError):
        queue.destroy()


class _Progress:
    """How far readouts have announced, and how much has been built."""

    def __init__(self, parts: LeaseQueue) -> None:
        self._parts = parts

    def __call__(self, name: str) -> int:
        status = self._parts.status()
        return int(status["counts"].get("done", 0) if name == "builder" else status["last_seq"].get(name, -1))


def _builder(
    settings: StreamSettings, scheduler: str, spool: Spool, parts: LeaseQueue, timeframes: LeaseQueue
) -> ProcessSpec:
    values = BuilderSettings(
        scheduler=scheduler,
        parts=parts.name,
        timeframes=timeframes.name,
        root=spool.root,
        spill_root=spool.spill_root,
        timeout_s=settings.timeout_s,
        incomplete=settings.incomplete,
    )
    return ProcessSpec("builder", "o2dask.stream.builder", values.to_json())


def _readout(
    settings: StreamSettings,
    scheduler: str,
    spool: Spool,
    parts: LeaseQueue,
    k: int,
    done: Sequence[Sequence[int]],
) -> ProcessSpec:
    values = ReadoutSettings(
        scheduler=scheduler,
        queue=parts.name,
        source=settings.source,
        readout=k,
        n_readouts=settings.n_readouts,
        root=spool.root,
        spill_root=spool.spill_root,
        loop=settings.loop,
        rate=settings.rate,
        when_full=settings.when_full,
        done=done,
    )
    return ProcessSpec(producer_name(k), "o2dask.stream.readout", values.to_json())
