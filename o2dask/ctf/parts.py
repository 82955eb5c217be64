"""A folder of parts as one timeframe: each ``<readout>.ctf`` in it holds some of its data.

Parts live shortly and on the node that wrote them: they are not asked onto the disk, and not kept open by readers, for
an open part keeps its memory after it is unlinked.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from o2dask.columns import Columns
from o2dask.ctf.batch import CTF_SCHEMA
from o2dask.ctf.errors import CtfError
from o2dask.ctf.reader import CtfReader
from o2dask.ctf.writer import IDENTITY_KEY, identity_to_bytes
from o2dask.errors import ConfigError
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["folder_name", "read_parts", "write_part"]

_OPTIONS = pa.ipc.IpcWriteOptions()
"""Given, or pyarrow looks into the environment for each file."""


def folder_name(timeframe: TimeframeId) -> str:
    """Return the name of the folder that holds the parts of a timeframe."""
    return f"TF_{timeframe.run}_{timeframe.tf_counter}_{timeframe.first_orbit}_{timeframe.n_orbits}"


def write_part(path: str, timeframe: TimeframeId, batch: pa.RecordBatch) -> None:
    """Write a CTF file of one timeframe to `path`, its bytes copied once; OSError if it cannot be written.

    A file that is there is overwritten in its place, which costs a third of a new one in memory.
    """
    identity = {IDENTITY_KEY: identity_to_bytes(timeframe)}
    schema = CTF_SCHEMA.with_metadata(identity)
    with _opened(path) as file, pa.ipc.new_file(file, schema, options=_OPTIONS) as writer:
        writer.write_batch(batch, custom_metadata=identity)


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    try:
        there = open(path, "r+b", buffering=0)  # noqa: PTH123, SIM115
    except FileNotFoundError:
        with pa.OSFile(path, "wb") as file:
            yield file
        return
    with there:
        yield pa.PythonFile(there, "w")
        there.truncate()


def read_parts(ref: TimeframeRef, select: Sequence[str] | None = None) -> dict[DataRef, Columns]:
    """Return the payloads of a timeframe from its folder, in the order of the readouts; as `read_timeframe`.

    Parts of readouts that `ref` calls missing came too late and are left alone, so that what is read does not depend
    on when.

    Raises
    ------
    CtfError
        If a part is damaged or gone, is of another timeframe, or two hold the same datum.
    """
    payloads: dict[DataRef, Columns] = {}
    n_bytes = 0
    for path in _parts(ref):
        try:
            reader = CtfReader(path)
        except ConfigError as error:
            raise CtfError(f"{path}: is gone or empty: {error}") from None
        if reader.damages or len(reader) != 1 or reader.timeframe_id(0) != ref.id:
            raise CtfError(f"{path}: want timeframe {ref.id}, whole, and no other")
        n_bytes += Path(path).stat().st_size
        for datum, columns in reader.read(0, select).items():
            if datum in payloads:
                raise CtfError(f"{path}: {datum} is in another part of the timeframe too")
            payloads[datum] = columns
    if ref.n_bytes and n_bytes != ref.n_bytes:
        raise CtfError(f"{ref.url}: want {ref.n_bytes} bytes of parts, got {n_bytes}; a part is gone")
    return payloads


def _parts(ref: TimeframeRef) -> list[str]:
    names: list[str] = []
    with suppress(OSError):
        names = os.listdir(ref.url)  # noqa: PTH208
    readouts = sorted(
        int(stem) for stem, dot, end in (n.partition(".") for n in names) if end == "ctf" and stem.isdigit()
    )
    if not readouts:
        raise CtfError(f"{ref.url}: no part of timeframe {ref.id} is there any more")
    return [f"{ref.url}/{readout}.ctf" for readout in readouts if readout not in ref.missing]
