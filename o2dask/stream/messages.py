"""Timeframes as messages of many parts, [header stack][payload] after another, and back. Knows bytes; no socket.

As DPL reads them (AliceO2 ``Framework/Core/src/{DataProcessingDevice,ExternalFairMQDeviceProxy}.cxx``): shares of a
split payload are pairs one after the other, or one header whose index equals the number of shares and then the
payloads. The end of a stream is a header ``DPL/EOS/0`` with a `SourceInfoHeader` that says COMPLETED, and an empty
payload.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from o2dask.columns import Columns
from o2dask.dataspecs import DataRef
from o2dask.errors import DataError, SpecError
from o2dask.stream.arrow_payload import RAW_SCHEMA, bytes_to_columns, columns_to_ipc, ipc_to_columns
from o2dask.stream.headers import (
    ARROW,
    COMPLETED,
    NONE,
    DataHeader,
    DataProcessingHeader,
    HeaderStack,
    SourceInfoHeader,
    TimeframeLength,
    pack_stack,
    unpack_stack,
)
from o2dask.timeframe import ORBITS_PER_TIMEFRAME, TimeframeId

__all__ = ["END_OF_STREAM", "Share", "end_message", "joined", "read_message", "timeframe_message"]

END_OF_STREAM = DataRef("DPL", "EOS", 0)
Buffer = Any
"""Anything with the buffer protocol."""


@dataclass(frozen=True, slots=True)
class Share:
    """A payload, or share `index` of `of`, of one datum of one timeframe."""

    timeframe: TimeframeId
    ref: DataRef
    serialization: bytes
    index: int
    of: int
    payload: Buffer


def timeframe_message(
    timeframe: TimeframeId, data: Mapping[DataRef, Columns], *, split_bytes: int | None = None
) -> list[Buffer]:
    """Return the parts of one message that holds a timeframe; payloads over `split_bytes` are split into pairs.

    Columns travel as an Arrow stream; those of `RAW_SCHEMA` (bytes that came from a foreign device) as they are.
    """
    when = DataProcessingHeader(start_time=timeframe.tf_counter, duration=1, creation=time.time_ns() // 1_000_000)
    length = () if timeframe.n_orbits == ORBITS_PER_TIMEFRAME else (TimeframeLength(n_orbits=timeframe.n_orbits),)
    parts: list[Buffer] = []
    for ref, columns in data.items():
        is_raw = columns.schema == RAW_SCHEMA
        payload = _view(columns["bytes"] if is_raw else columns_to_ipc(columns))
        shares = _split(payload, split_bytes)
        for i, share in enumerate(shares):
            header = DataHeader(
                ref=ref,
                payload_size=len(share),
                serialization=NONE if is_raw else ARROW,
                split_index=i,
                split_parts=len(shares),
                first_orbit=timeframe.first_orbit,
                tf_counter=timeframe.tf_counter,
                run=timeframe.run,
            )
            parts += [pack_stack(header, when, *length), share]
    return parts


def end_message() -> list[Buffer]:
    """Return the message that ends a stream."""
    done = SourceInfoHeader(state=COMPLETED)
    return [pack_stack(DataHeader(ref=END_OF_STREAM), DataProcessingHeader(), done), b""]


def read_message(parts: Sequence[Buffer]) -> tuple[list[Share], bool]:
    """Return the shares in a message, and whether it ends the stream.

    Raises
    ------
    DataError
        If anything in it is malformed; then nothing of it is used.
    """
    shares: list[Share] = []
    is_end, at = False, 0
    if not parts:
        raise DataError("message: want [header][payload] parts, got none")
    while at < len(parts):
        stack = unpack_stack(memoryview(parts[at]).cast("B"))
        state = stack.get(SourceInfoHeader)
        if state is not None and state.state == COMPLETED:
            is_end = True
            at += 2
            continue
        found, n = _shares(stack, parts, at)
        shares += found
        at += n
    return shares, is_end


def _shares(stack: HeaderStack, parts: Sequence[Buffer], at: int) -> tuple[list[Share], int]:
    """Return what the header at part `at` announces, and how many parts it took."""
    header = stack.get(DataHeader)
    if header is None:
        raise DataError(f"message, part {at}: want an O2 DataHeader in the stack")
    n = header.split_parts if header.is_sequence else 1
    if at + n >= len(parts):
        raise DataError(f"message, part {at}: {header.ref} announces {n} payloads, got {len(parts) - at - 1}")
    timeframe = _timeframe(header, stack)
    payloads = parts[at + 1 : at + 1 + n]
    if header.is_sequence:
        found = [Share(timeframe, header.ref, header.serialization, i, n, one) for i, one in enumerate(payloads)]
        return found, n + 1
    size = memoryview(payloads[0]).nbytes
    if header.payload_size != size:
        raise DataError(f"message, part {at}: {header.ref} announces {header.payload_size} bytes, got {size}")
    of = max(1, header.split_parts)
    if header.split_index >= of:
        raise DataError(f"message, part {at}: {header.ref} is share {header.split_index} of {of}")
    return [Share(timeframe, header.ref, header.serialization, header.split_index, of, payloads[0])], 2


def _timeframe(header: DataHeader, stack: HeaderStack) -> TimeframeId:
    length = stack.get(TimeframeLength)
    try:
        return TimeframeId(
            run=header.run,
            tf_counter=header.tf_counter,
            first_orbit=header.first_orbit,
            n_orbits=length.n_orbits if length else ORBITS_PER_TIMEFRAME,
        )
    except SpecError as error:
        raise DataError(f"message: {header.ref}: {error}") from None


def joined(ref: DataRef, serialization: bytes, payloads: Sequence[Buffer]) -> Columns:
    """Return the columns of a datum whose shares are all there, without a copy if it was not split.

    Raises
    ------
    DataError
        If it says that it is Arrow and is not.
    """
    payload: Any = payloads[0] if len(payloads) == 1 else b"".join(payloads)
    if serialization == ARROW:
        return ipc_to_columns(_aligned(payload), ref)
    return bytes_to_columns(payload)


def _view(payload: Buffer) -> memoryview:
    return (np.ascontiguousarray(payload).data if isinstance(payload, np.ndarray) else memoryview(payload)).cast("B")


def _aligned(payload: Buffer) -> pa.Buffer:
    """Return the bytes at an address that numbers may have; a message part may begin anywhere."""
    buffer = pa.py_buffer(payload)
    return buffer if buffer.address % 8 == 0 else pa.py_buffer(buffer.to_pybytes())


def _split(payload: memoryview, n_bytes: int | None) -> list[memoryview]:
    if n_bytes is None or len(payload) <= n_bytes:
        return [payload]
    return [payload[i : i + n_bytes] for i in range(0, len(payload), n_bytes)]
