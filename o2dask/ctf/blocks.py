"""One block: a run of values of one column as bytes, and back; whichever of the codecs makes it smallest.

Knows arrays and bytes, no payload and no file. Codecs: ``empty``, ``constant`` (the value is a parameter), ``stored``
(little-endian values), ``raw`` (the same for parts that live shortly: of any length, read without a copy), ``zstd``,
``planes`` (the bytes of equal significance of floats side by side, each plane a block of its own), and those of
integers (`o2dask.ctf.integers`).
"""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from o2dask.ctf import integers
from o2dask.ctf.errors import CtfError

__all__ = ["BY_ROW", "MAX_COUNT", "Block", "decode_block", "encode_block", "raw_block"]

MAX_COUNT = 1 << 21
"""Most values in a block."""
BY_ROW = "by_row"
"""Parameter of raw blocks whose column of row shape is stored row by row, as it is in memory."""
_ALIGNED = 8
"""Raw blocks are padded to a multiple of this, as Arrow pads buffers: so values lie where compiled code wants them."""
_ZSTD_LEVEL = 3
_FEW = 4096
"""Below so many values every codec is tried; above, entropy coding of integers always wins."""
_Params = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Block:
    """`count` values as `n_bytes` of `data` under `codec` with JSON-able `params`."""

    codec: str
    count: int
    data: bytes = b""
    params: _Params = field(default_factory=dict)

    @property
    def cost(self) -> int:
        """Size with parameters [bytes], what codecs compete in."""
        return len(self.data) + len(json.dumps(self.params))


def encode_block(values: np.ndarray) -> Block:
    """Return `values` (n,), n <= MAX_COUNT, any plain dtype, as the smallest block."""
    n = len(values)
    if n == 0:
        return Block("empty", 0)
    values = np.ascontiguousarray(values)
    if _is_constant(values):
        return Block("constant", n, params={"value": values[:1].tobytes().hex()})
    if values.dtype.kind in "iu":
        return _encode_integers(values)
    return _encode_floats(values)


def raw_block(values: np.ndarray, *, by_row: bool = False) -> Block:
    """Return `values` (n,), any plain dtype, as a block of their bytes, which it shares where they need no padding."""
    data = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
    if short := -len(data) % _ALIGNED:
        data = np.concatenate([data, np.zeros(short, np.uint8)])
    return Block("raw", len(values), data.data, {BY_ROW: True} if by_row else {})  # type: ignore[arg-type]


def decode_block(block: Block, dtype: np.dtype) -> np.ndarray:
    """Return the values (count,) of a block, a new array; of a raw block a view of its bytes.

    Raises
    ------
    CtfError
        If parameters or bytes are not those of the codec.
    """
    if not 0 <= block.count <= MAX_COUNT and not (block.codec == "raw" and block.count > 0):
        raise CtfError(f"want a count of 0 to {MAX_COUNT}, got {block.count}")
    try:
        decode = _DECODERS[block.codec]
    except KeyError:
        raise CtfError(f"unknown codec {block.codec!r}; this version knows {', '.join(_DECODERS)}") from None
    try:
        values = decode(block, dtype)
    except CtfError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError, pa.ArrowException) as error:
        raise CtfError(f"codec {block.codec}: {error}") from error
    if values.shape != (block.count,):
        raise CtfError(f"codec {block.codec}: want {block.count} values, got {values.shape}")
    return values


def _is_constant(values: np.ndarray) -> bool:
    """Return whether all values have the same bits."""
    if values.itemsize > 8:
        values = values.view(np.uint64).reshape(len(values), -1)
        return bool((values == values[0]).all())
    words = values.view(f"u{values.itemsize}")
    return bool(words[0] == words[-1] and words.min() == words.max())


def _encode_integers(values: np.ndarray) -> Block:
    codec, parameters, parts = integers.encode_integers(values)
    block = Block(codec, len(values), b"".join(parts), parameters)
    rivals = (
        [_stored(values), _zstd(values)] if len(values) < _FEW else [_stored(values)][: block.cost >= values.nbytes]
    )
    return min((block, *rivals), key=lambda b: b.cost)


def _encode_floats(values: np.ndarray) -> Block:
    return min((_planes(values), _zstd(values), _stored(values)), key=lambda b: b.cost)


def _stored(values: np.ndarray) -> Block:
    return Block("stored", len(values), values.tobytes())


def _zstd(values: np.ndarray) -> Block:
    data = pa.Codec("zstd", compression_level=_ZSTD_LEVEL).compress(values.tobytes(), asbytes=True)
    return Block("zstd", len(values), data)


def _planes(values: np.ndarray) -> Block:
    if values.dtype.itemsize == 1:
        return _zstd(values)
    raw = values.view(np.uint8).reshape(len(values), -1)
    parts = [encode_block(raw[:, i].copy()) for i in range(raw.shape[1])]
    table = [[p.codec, len(p.data), p.params] for p in parts]
    return Block("planes", len(values), b"".join(p.data for p in parts), {"planes": table})


def _decode_empty(block: Block, dtype: np.dtype) -> np.ndarray:
    return np.zeros(0, dtype)


def _decode_constant(block: Block, dtype: np.dtype) -> np.ndarray:
    return np.repeat(np.frombuffer(bytes.fromhex(block.params["value"]), dtype), block.count)


def _decode_stored(block: Block, dtype: np.dtype) -> np.ndarray:
    return np.frombuffer(block.data, dtype).copy()


def _decode_raw(block: Block, dtype: np.dtype) -> np.ndarray:
    n_bytes = block.count * dtype.itemsize
    if len(block.data) != n_bytes + -n_bytes % _ALIGNED:
        raise CtfError(f"codec raw: want {n_bytes} bytes and padding, got {len(block.data)}")
    values = np.frombuffer(block.data, dtype, block.count)
    if not values.flags.aligned:
        values = values.copy()
    values.flags.writeable = False  # pages of a file that is mapped for reading: who writes there dies
    return values


def _decode_zstd(block: Block, dtype: np.dtype) -> np.ndarray:
    n = block.count * dtype.itemsize
    return np.frombuffer(pa.Codec("zstd").decompress(block.data, n, asbytes=True), dtype).copy()


def _decode_integers(block: Block, dtype: np.dtype) -> np.ndarray:
    return integers.decode_integers(block.codec, block.params, block.data, np.empty(block.count, dtype))


def _decode_planes(block: Block, dtype: np.dtype) -> np.ndarray:
    raw = np.empty((block.count, dtype.itemsize), np.uint8)
    at = 0
    table = block.params["planes"]
    if len(table) != dtype.itemsize:
        raise CtfError(f"codec planes: want {dtype.itemsize} planes, got {len(table)}")
    for i, (codec, n_bytes, params) in enumerate(table):
        part = Block(codec, block.count, block.data[at : at + n_bytes], params)
        raw[:, i] = decode_block(part, np.dtype(np.uint8))
        at += n_bytes
    return raw.reshape(-1).view(dtype)


_DECODERS = {
    "empty": _decode_empty,
    "constant": _decode_constant,
    "stored": _decode_stored,
    "raw": _decode_raw,
    "zstd": _decode_zstd,
    "planes": _decode_planes,
    **dict.fromkeys(integers.CODECS, _decode_integers),
}
