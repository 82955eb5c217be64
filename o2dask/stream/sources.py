"""Where a readout process gets its share of each timeframe: files to replay, nothing at all, or a user's function.

A source numbers its timeframes; a readout that was killed goes on at the number after its last announcement, so a
source that can be read again gives the same timeframe for the same number. Knows files and columns; no queue, no spool.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from o2dask.errors import ConfigError, DataError, SpecError
from o2dask.stream.listed import N_ORBITS, UNKNOWN, ListedSource, Reading, split_evenly
from o2dask.stream.numbers import Numbers
from o2dask.timeframe import ORBITS_PER_TIMEFRAME, TimeframeId, TimeframeRef

if TYPE_CHECKING:
    import pyarrow as pa

    from o2dask.ctf.reader import CtfReader, Damage

__all__ = [
    "UNKNOWN",
    "EnumeratedSource",
    "Reading",
    "ReplaySource",
    "Source",
    "UserSource",
    "open_source",
    "probe_source",
]

_PER_RUN = N_ORBITS // ORBITS_PER_TIMEFRAME


class Source(Protocol):
    """What a readout reads.

    Attributes
    ----------
    blocks : bool
        Whether it may wait for data (a device); it is then asked in a thread of its own.
    live : bool
        Whether what it gave once cannot be had again.
    notices : list of str
        What the user should know before it begins.
    counts : mapping of str to int
        What it counted so far, for the status.
    """

    @property
    def blocks(self) -> bool:
        """Whether it may wait for data."""
        ...

    @property
    def live(self) -> bool:
        """Whether what it gave once cannot be had again."""
        ...

    @property
    def notices(self) -> list[str]:
        """What the user should know."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """What it counted so far."""
        ...

    def readings(self, first: int) -> Iterator[Reading | None]:
        """Give the timeframes from number `first` on; None whenever nothing came for a while.

        A source that cannot be read again goes on where it is, whatever `first`.
        """
        ...

    def number_of(self, timeframe: TimeframeId) -> int:
        """Return under which number it gives a timeframe, `UNKNOWN` if under none; what is done is not counted here."""
        ...


@dataclass(slots=True)
class EnumeratedSource:
    """Timeframes without bulk, `n` of them or without end: for workflows whose sources make up their data.

    Numbers in the ranges `done` are left out.
    """

    n: int
    loop: bool = False
    run: int = 0
    done: Sequence[Sequence[int]] = ()
    blocks: bool = False
    live: bool = False
    notices: list[str] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)

    def readings(self, first: int) -> Iterator[Reading | None]:
        """Give them from number `first` on."""
        for i in Numbers(self.done).since(first):
            if i >= self.n and not self.loop:
                return
            yield Reading(self._id(i))

    def _id(self, number: int) -> TimeframeId:
        runs, counter = divmod(number, _PER_RUN)
        return TimeframeId(run=self.run + runs, tf_counter=counter, first_orbit=counter * ORBITS_PER_TIMEFRAME)

    def number_of(self, timeframe: TimeframeId) -> int:
        """Return its number."""
        number = (timeframe.run - self.run) * _PER_RUN + timeframe.tf_counter
        is_given = number >= 0 and (number < self.n or self.loop)
        return number if is_given and self._id(number) == timeframe else UNKNOWN


class ReplaySource(ListedSource):
    """The timeframes of CTF files, this readout's data of each: their blocks as they are, nothing decoded.

    Data are shared out among readouts whole, those that follow each other in the file together, so that their bytes
    are equal as far as may be; the same in every process. A block that is damaged goes through: whoever reads it
    learns. A timeframe that cannot be read at all is given with its error.

    Parameters
    ----------
    paths : list of str
        As `o2dask.ctf.list_timeframes` takes them.
    readout, n_readouts : int
        Whose share, of how many.
    loop : bool
        Go through them again and again; the ids of later rounds go on where the round before ended.
    raw : bool
        Decode the blocks and give them uncompressed, as a detector would.
    done : sequence of pairs
        Ranges [first, end) of numbers to leave out.
    """

    def __init__(
        self,
        paths: list[str],
        readout: int = 0,
        n_readouts: int = 1,
        *,
        loop: bool = False,
        raw: bool = False,
        done: Sequence[Sequence[int]] = (),
    ) -> None:
        from o2dask.ctf.listing import list_timeframes

        damages: list[Damage] = []
        self._refs: list[TimeframeRef] = list_timeframes(paths, damages)
        notices = [str(damage) for damage in damages]
        if not self._refs:
            what = notices[0] if notices else "they hold no timeframe"
            raise ConfigError(f"source {', '.join(paths)}: nothing to replay: {what}")
        super().__init__([ref.id for ref in self._refs], loop=loop, done=done, notices=notices)
        self._readout, self._n_readouts, self._raw = readout, n_readouts, raw
        self._readers: dict[str, CtfReader] = {}
        self._cuts: dict[int, tuple[int, int]] = {}  # rows of this readout, by timeframe that was looked at

    def _reading(self, k: int, timeframe: TimeframeId) -> Reading:
        ref = self._refs[k]
        try:
            batch = self._batch(ref, is_known=k in self._cuts)
        except DataError as error:
            return Reading(timeframe, error=str(error))
        if k not in self._cuts:
            self._cuts[k] = shares(batch, self._n_readouts)[self._readout]
        first, last = self._cuts[k]
        return Reading(timeframe, batch.slice(first, last - first), ref.n_bytes)

    def _batch(self, ref: TimeframeRef, *, is_known: bool) -> "pa.RecordBatch":
        from o2dask.ctf.batch import check_layout, encode_timeframe
        from o2dask.ctf.reader import CtfReader

        if ref.url not in self._readers:
            self._readers = {ref.url: CtfReader(ref.url)}  # one open file is enough: they are read in order
        reader = self._readers[ref.url]
        if self._raw:
            return encode_timeframe(reader.read(ref.index), raw=True)
        batch = reader.batch(ref.index)
        return batch if is_known else check_layout(batch, reader.where(ref.index))


def shares(batch: "pa.RecordBatch", n: int) -> list[tuple[int, int]]:
    """Return the rows [first, last) of each of `n` shares: whole data, in order, of bytes as equal as may be."""
    import numpy as np

    from o2dask.ctf.batch import data_of_rows

    names, sizes = data_of_rows(batch)
    if not names or n == 1:
        return [(0, len(names))] * n
    starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    ends = np.cumsum(sizes)[[*(i - 1 for i in starts[1:]), len(names) - 1]]
    firsts = split_evenly(np.diff(ends, prepend=0).tolist(), n)
    rows = [*starts, len(names)]
    return [(rows[firsts[k]], rows[firsts[k + 1]]) for k in range(n)]


class UserSource:
    """A user's function or class: ``source(readout, n_readouts)`` gives (TimeframeId, mapping of DataRef to Columns).

    Called with ``first`` too if it has a parameter of that name, and else read from its beginning and what was
    announced before is passed over; set an attribute ``live = True`` for what cannot be read again, which then goes on
    where it is. A mapping ``counters`` of it is shown with the stream. Its columns are stored as they are,
    uncompressed. An item of None says that nothing came for a while.
    """

    blocks = True

    def __init__(self, make: Callable[..., Any], readout: int, n_readouts: int, name: str) -> None:
        self._make, self._readout, self._n_readouts, self._name = make, readout, n_readouts, name
        self.notices: list[str] = []
        self.live = bool(getattr(make, "live", False))
        counters = getattr(make, "counters", {})
        self.counts: Mapping[str, int] = counters if isinstance(counters, Mapping) else {}

    def readings(self, first: int) -> Iterator[Reading | None]:
        """Give what it gives, from number `first` on."""
        from o2dask.ctf.batch import encode_timeframe

        options, skip = {}, 0 if self.live else first
        if "first" in _parameters(self._make):
            options, skip = {"first": first}, 0
        for item in self._make(self._readout, self._n_readouts, **options):
            if item is None:
                yield None
                continue
            try:
                timeframe, payloads = item
            except (TypeError, ValueError):
                raise ConfigError(
                    f"source {self._name}: want pairs of TimeframeId and data, got {type(item).__name__}"
                ) from None
            if not isinstance(timeframe, TimeframeId) or not isinstance(payloads, Mapping):
                raise ConfigError(
                    f"source {self._name}: want (TimeframeId, mapping of DataRef to Columns), got {item!r}"
                )
            if skip:
                skip -= 1
            else:
                yield Reading(timeframe, encode_timeframe(payloads, raw=True))

    def number_of(self, timeframe: TimeframeId) -> int:
        """Return `UNKNOWN`: what it will give only the user knows."""
        return UNKNOWN


def _parameters(make: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(make).parameters)
    except (TypeError, ValueError):
        return set()


def open_source(
    text: str, readout: int = 0, n_readouts: int = 1, *, loop: bool = False, done: Sequence[Sequence[int]] = ()
) -> Source:
    """Return the source that a user names, checked as far as it can be without data.

    Parameters
    ----------
    text : str
        ``replay:tf.ctf`` (files, globs, @lists, URLs, separated by commas), ``replay-raw:`` the same uncompressed,
        ``raw:*.tf`` (files of O2's headers and payloads, as DataDistribution writes them),
        ``enumerate:1000``, ``tcp://host:port`` and ``ipc://path`` (ZeroMQ), ``module:function``, ``file.py:function``.
    readout, n_readouts : int
        Whose share, of how many.
    loop : bool
        Without end.
    done : sequence of pairs
        Ranges [first, end) of numbers to leave out; a source whose `number_of` knows none takes none.

    Raises
    ------
    ConfigError
        If there is no such source.
    """
    kind, colon, rest = text.partition(":")
    if kind in ("replay", "replay-raw") and rest:
        return ReplaySource(rest.split(","), readout, n_readouts, loop=loop, raw=kind == "replay-raw", done=done)
    if kind == "raw" and rest:
        from o2dask.stream.raw_files import RawSource

        return RawSource(rest.split(","), readout, n_readouts, loop=loop, done=done)
    if kind == "enumerate":
        try:
            n = int(rest)
        except ValueError:
            raise ConfigError(f"source {text!r}: want a number, as in enumerate:1000") from None
        return EnumeratedSource(n, loop=loop, done=done)
    if loop:
        raise ConfigError(f"source {text!r}: only replay:, raw: and enumerate: can loop; leave out --loop")
    if rest.startswith("//"):
        from o2dask.stream.zmq_in import ZmqSource

        return UserSource(ZmqSource(address=text), readout, n_readouts, text)
    if not colon or not rest:
        raise ConfigError(
            f"source {text!r}: want replay:FILES, raw:FILES, enumerate:N, tcp://HOST:PORT or module:function"
        )
    from o2dask.workflow.loading import locate

    try:
        made = locate(text, f"source {text!r}")
    except SpecError as error:
        raise ConfigError(f"source {text!r}: {error}") from error
    if not callable(made):
        raise ConfigError(f"source {text!r}: want a function or class, got {type(made).__name__}")
    return UserSource(made, readout, n_readouts, text)


def probe_source(text: str, n_readouts: int) -> None:
    """Raise ConfigError if it cannot be opened, or its address not listened at: told before workers are started."""
    if text.partition(":")[2].startswith("//"):
        from o2dask.stream.zmq_in import ZmqSource

        ZmqSource(address=text).probe(n_readouts)
    else:
        open_source(text, 0, n_readouts)
