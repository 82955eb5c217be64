"""Raw timeframe files: [O2 header stack][payload] one after the other, as DataDistribution writes them. A source.

What StfBuilder and TfBuilder record (DataDistribution ``src/common/SubTimeFrameFileWriter.cxx``, read back by AliceO2
``Detectors/Raw/TFReaderDD``): for each timeframe a block ``FLP/FILE_STF_META`` that tells its size, an index, and the
data. Without these two it is any file of O2's messages end to end. Files of several FLPs hold shares of the same
timeframes and are put together. Payloads are Arrow streams or bytes, as over ZeroMQ (`messages.joined`).
"""

import mmap
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from o2dask.columns import Columns
from o2dask.dataspecs import DataRef
from o2dask.errors import ConfigError, DataError, SpecError
from o2dask.stream.headers import DATA_HEADER, DataHeader, TimeframeLength, stack_size, unpack_stack
from o2dask.stream.listed import ListedSource, Reading, split_evenly
from o2dask.stream.messages import joined
from o2dask.timeframe import ORBITS_PER_TIMEFRAME, TimeframeId

__all__ = ["Block", "RawFile", "RawSource"]

META, INDEX = b"FILE_STF_META", b"FILE_STF_INDEX"
"""Descriptions of the blocks that precede the data of a timeframe (``SubTimeFrameFile.cxx``)."""
_META = struct.Struct("<QQQ")
"""Version of the format, size of the timeframe in the file with all its headers [bytes], when written [ms]."""


@dataclass(frozen=True, slots=True)
class Block:
    """Where a payload, or share `index` of `of`, of a datum is: file, first byte, size [bytes]."""

    ref: DataRef
    path: str
    at: int
    size: int
    serialization: bytes
    index: int
    of: int


@dataclass(slots=True)
class _Raw:
    """A timeframe that is in files: its blocks, and why it is lost."""

    blocks: list[Block] = field(default_factory=list)
    error: str = ""


class RawFile:
    """One file, looked through once, header by header: payloads are skipped.

    Attributes
    ----------
    timeframes : dict of TimeframeId to list of Block
        In order. Their length is not told, but by our own `TimeframeLength`.
    fault : str
        Where it cannot be read any more and why; "" if it is whole.
    broken : TimeframeId, optional
        Of which timeframe not all can be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.timeframes: dict[TimeframeId, list[Block]] = {}
        self.fault = ""
        self.broken: TimeframeId | None = None
        self._last: TimeframeId | None = None
        self._end = 0  # of the timeframe at hand, as its META says
        try:
            with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                view = memoryview(data)
                try:
                    self._scan(view)
                finally:
                    view.release()
        except (OSError, ValueError) as error:
            raise ConfigError(f"raw file {path}: {getattr(error, 'strerror', None) or error}") from None

    def _scan(self, data: memoryview) -> None:
        at = 0
        try:
            while at < len(data):
                at = self._block(data, at)
        except DataError as error:
            self.fault = f"raw file {self.path}, byte {at}: {error}; what comes after is lost"
            if at != self._end:
                self.broken = self._last

    def _block(self, data: memoryview, at: int) -> int:
        """Take note of the block at a byte; return where the next one is."""
        n_header = stack_size(data, at)
        raw = bytes(data[at : at + n_header])
        description, n_payload = _described(raw)
        begin, end = at + n_header, at + n_header + n_payload
        if end > len(data):
            raise DataError(f"a payload of {n_payload} bytes ends behind the end of the file")
        if description == META and n_payload >= _META.size:
            self._end, self._last = at + _META.unpack_from(data, begin)[1], None
            return end
        if description == INDEX:
            return end
        stack = unpack_stack(raw)
        header = stack.get(DataHeader)
        assert header is not None
        length = stack.get(TimeframeLength)
        id_ = _id(header, length.n_orbits if length else ORBITS_PER_TIMEFRAME)
        if self._end > at and self._last is None and id_ in self.timeframes:
            raise DataError(f"{id_} comes a second time: its headers do not tell timeframes apart")
        self._last = id_
        shares = header.split_index, max(1, header.split_parts)
        block = Block(header.ref, self.path, begin, n_payload, header.serialization, *shares)
        self.timeframes.setdefault(id_, []).append(block)
        return end


def _described(raw: bytes) -> tuple[bytes, int]:
    """Return description and size of the payload that a header stack announces."""
    import numpy as np

    if len(raw) < DATA_HEADER.itemsize or not raw[16:24].startswith(b"DataHead"):
        raise DataError("want an O2 DataHeader first")
    header = np.frombuffer(raw, DATA_HEADER, 1)[0]
    return bytes(header["data_description"]), int(header["payload_size"])


def _id(header: DataHeader, n_orbits: int) -> TimeframeId:
    try:
        counter, orbit = header.tf_counter, header.first_orbit
        return TimeframeId(run=header.run, tf_counter=counter, first_orbit=orbit, n_orbits=n_orbits)
    except SpecError as error:
        raise DataError(f"{header.ref}: {error}") from None


class RawSource(ListedSource):
    """The timeframes of raw files, this readout's data of each.

    The length of timeframes, which O2's headers do not tell, is taken from the orbits of those that follow each other.

    Parameters
    ----------
    paths : sequence of str
        Files, globs and ``@lists``.
    readout, n_readouts : int
        Whose share, of how many.
    loop, done
        See `ListedSource`.

    Raises
    ------
    ConfigError
        If a file is missing, or there is no timeframe, or a datum of one is in two files.
    """

    def __init__(
        self,
        paths: Sequence[str],
        readout: int = 0,
        n_readouts: int = 1,
        *,
        loop: bool = False,
        done: Sequence[Sequence[int]] = (),
    ) -> None:
        from o2dask.ctf.listing import expand

        files = [RawFile(url) for url in dict.fromkeys(url for path in paths for url in expand(path))]
        notices = [file.fault for file in files if file.fault]
        found: dict[TimeframeId, _Raw] = {}
        for file in files:
            for id_, blocks in file.timeframes.items():
                one = found.setdefault(id_, _Raw())
                _check_apart(id_, one.blocks, blocks)
                one.blocks += blocks
            if file.broken is not None:
                found[file.broken].error = file.fault
        if not found:
            what = notices[0] if notices else "they hold no timeframe"
            raise ConfigError(f"source {', '.join(paths)}: nothing to replay: {what}")
        self._raws = [found[id_] for id_ in sorted(found)]
        super().__init__(_with_length(sorted(found)), loop=loop, done=done, notices=notices)
        self._readout, self._n_readouts = readout, n_readouts
        self._maps: dict[str, memoryview] = {}

    def _reading(self, k: int, timeframe: TimeframeId) -> Reading:
        from o2dask.ctf.batch import encode_timeframe

        one = self._raws[k]
        if one.error:
            return Reading(timeframe, error=one.error)
        by_ref: dict[DataRef, list[Block]] = {}
        for block in one.blocks:
            by_ref.setdefault(block.ref, []).append(block)
        sizes = [sum(block.size for block in blocks) for blocks in by_ref.values()]
        starts = split_evenly(sizes, self._n_readouts)
        mine = list(by_ref)[starts[self._readout] : starts[self._readout + 1]]
        try:
            data = {ref: self._columns(ref, by_ref[ref]) for ref in mine}
        except DataError as error:
            return Reading(timeframe, error=f"{one.blocks[0].path}: {error}")
        return Reading(timeframe, encode_timeframe(data, raw=True), sum(sizes))

    def _columns(self, ref: DataRef, blocks: list[Block]) -> Columns:
        of = max(block.of for block in blocks)
        if of > 1:
            blocks = sorted(blocks, key=lambda block: block.index)
            indices = [block.index for block in blocks]
            if indices not in (list(range(of)), [of] * of):  # the second: one header for a sequence, written with each
                raise DataError(f"{ref} is in {of} shares, of which {len(blocks)} are there")
        elif len(blocks) > 1 and blocks[0].serialization not in (b"", b"NONE"):
            raise DataError(f"{ref} is there {len(blocks)} times")
        payloads = [self._map(block.path)[block.at : block.at + block.size] for block in blocks]
        return joined(ref, blocks[0].serialization, payloads)

    def _map(self, path: str) -> memoryview:
        if path not in self._maps:
            try:
                with Path(path).open("rb") as file:
                    self._maps[path] = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            except (OSError, ValueError) as error:
                raise DataError(f"cannot be read any more: {error}") from None
        return self._maps[path]


def _check_apart(id_: TimeframeId, ours: Iterable[Block], theirs: Iterable[Block]) -> None:
    """Raise ConfigError if two files have the same datum of a timeframe."""
    known: dict[DataRef, Any] = {block.ref: block.path for block in ours}
    for block in theirs:
        if block.ref in known:
            raise ConfigError(
                f"{block.ref} of {id_} is in {known[block.ref]} and in {block.path}; leave one of the files out"
            )


def _with_length(ids: list[TimeframeId]) -> list[TimeframeId]:
    """Return ids with the orbits from each to the next per counter, if that is the same between all."""
    if any(id_.n_orbits != ORBITS_PER_TIMEFRAME for id_ in ids):
        return ids
    lengths = set()
    for one, next_ in pairwise(ids):
        if one.run == next_.run and next_.tf_counter > one.tf_counter:
            lengths.add(divmod(next_.first_orbit - one.first_orbit, next_.tf_counter - one.tf_counter))
    (length, rest) = lengths.pop() if len(lengths) == 1 else (0, 0)
    return [replace(id_, n_orbits=length) for id_ in ids] if length > 0 and rest == 0 else ids
