"""Integers of any width as a block: mapped to small unsigned values, these to symbols and raw bits.

Maps: ``delta`` (difference to the value before, `first` apart), then ``zigzag`` (0, -1, 1, -2 become 0, 1, 2, 3) where
there are negatives, or ``offset`` subtracted. Codecs of the unsigned values: ``rans`` (values are the symbols),
``split`` (the high bytes are, the low byte is stored), ``fold`` (`o2dask.ctf.fold`), ``bitpack`` (fixed width).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from o2dask.ctf import bits, fold
from o2dask.ctf.errors import CtfError
from o2dask.ctf.rans import build_model, decode_symbols, encode_symbols

__all__ = ["CODECS", "decode_integers", "encode_integers"]

CODECS = ("rans", "split", "fold", "bitpack")
_N_SAMPLE = 8192
_SPLIT = 8
"""Bits of the low part of ``split``."""
_GAIN = 0.97
"""Size that differences must come down to: they cost a pass more."""
_Coded = tuple[str, dict[str, Any], list[bytes]]


@dataclass(frozen=True, slots=True)
class _Map:
    """How values become unsigned: see the module."""

    first: int | None = None
    is_zigzag: bool = False
    offset: int = 0

    @property
    def is_identity(self) -> bool:
        return self.first is None and not self.is_zigzag and not self.offset

    def to_json(self) -> dict[str, Any]:
        json: dict[str, Any] = {} if self.first is None else {"delta": self.first}
        return json | ({"zigzag": True} if self.is_zigzag else {}) | ({"offset": self.offset} if self.offset else {})

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> "_Map":
        return cls(json.get("delta"), bool(json.get("zigzag")), int(json.get("offset", 0)))


def encode_integers(values: np.ndarray, use_vectors: bool | None = None) -> _Coded:
    """Return codec, parameters and the parts of the payload of values (n,), n > 0, of any integer dtype."""
    if values.dtype == np.uint64:
        values = values.view(np.int64)  # maps wrap at 64 bits
    chosen = _choose_map(values)
    unsigned, largest = _apply(chosen, values)
    codec, parameters, parts = _encode_unsigned(unsigned, largest, use_vectors)
    return codec, parameters if chosen.is_identity else parameters | {"map": chosen.to_json()}, parts


def decode_integers(
    codec: str, parameters: dict[str, Any], payload: Any, out: np.ndarray, use_vectors: bool | None = None
) -> np.ndarray:
    """Return the integers of a payload; they are in `out` (n,), an array of the wanted dtype to be overwritten.

    Raises
    ------
    CtfError
        If the payload does not match.
    """
    chosen = _Map.from_json(parameters.get("map", {}))
    raw = memoryview(payload).cast("B")
    native = out.view(f"u{out.itemsize}")
    target = native if chosen.is_identity else np.empty(len(out), np.uint64)
    if codec == "rans":
        symbols = _buffer(target, np.dtype(parameters["symbols"]))
        decode_symbols(parameters, raw, symbols, use_vectors)
        unsigned = symbols
    elif codec == "bitpack":
        unsigned = _decode_bitpack(parameters, raw, target)
    else:
        unsigned = _decode_wide(codec, parameters, raw, target, use_vectors)
    if unsigned is not target:
        np.copyto(target, unsigned, casting="unsafe")
    if not chosen.is_identity:
        _unmap(target, chosen.first is not None, chosen.first or 0, chosen.is_zigzag, chosen.offset)
        np.copyto(native, target, casting="unsafe")
    return out


def _buffer(target: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Return an array of `kind` as long as target: target itself where that is its dtype."""
    return target if target.dtype == kind else np.empty(len(target), kind)


# ---- maps


def _choose_map(values: np.ndarray) -> _Map:
    """Return the map that makes the middle of the block cheapest, judged by its folded size."""
    direct = _map_of_range(int(values.min()), int(values.max()))
    start = max(0, (len(values) - _N_SAMPLE) // 2)
    sample = values[start : start + _N_SAMPLE].astype(np.int64)
    cost = _cost(direct, sample)
    step_map = _map_of_range(*_range(np.diff(sample)))
    if len(values) < 16 or _cost(step_map, np.diff(sample)) > _GAIN * cost:
        return direct
    steps = np.diff(values.astype(np.int64))
    whole = _map_of_range(*_range(steps))
    if whole != step_map and _cost(whole, steps[start : start + _N_SAMPLE]) > _GAIN * cost:
        return direct
    return _Map(int(values[0]), whole.is_zigzag, whole.offset)


def _range(values: np.ndarray) -> tuple[int, int]:
    return int(values.min(initial=0)), int(values.max(initial=0))


def _map_of_range(low: int, high: int) -> _Map:
    """Return the map for values from low to high: zigzag only where both signs matter, it costs the others a bit."""
    if low < 0 and -low * 64 > high > 0:
        return _Map(is_zigzag=True)
    if low < 0 or (high - low).bit_length() + 1 < high.bit_length():
        return _Map(offset=low)
    return _Map()


def _cost(chosen: _Map, values: np.ndarray) -> float:
    mapped = np.empty(len(values), np.uint64)
    _to_unsigned(values, False, 0, chosen.is_zigzag, chosen.offset, mapped)
    return float(fold.fold_cost(mapped, np.ones(len(values), np.int64)))


def _apply(chosen: _Map, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the unsigned values and the largest; without a map the values themselves."""
    if chosen.is_identity:
        unsigned = values.view(f"u{values.itemsize}")
    else:
        unsigned = np.empty(len(values), np.uint64)
        wide = values.astype(np.int64)
        _to_unsigned(wide, chosen.first is not None, chosen.first or 0, chosen.is_zigzag, chosen.offset, unsigned)
    return unsigned, int(unsigned.max())


@njit(cache=True, nogil=True)
def _to_unsigned(values, is_delta, first, is_zigzag, offset, out):
    """Map values (n,) int64 to out (n,) uint64, wrapping at 64 bits."""
    before = first
    for i in range(values.shape[0]):
        value = values[i]
        if is_delta:
            value, before = value - before, value
        if is_zigzag:
            value = (value << 1) ^ (value >> 63)
        else:
            value -= offset
        out[i] = np.uint64(value)


@njit(cache=True, nogil=True)
def _unmap(values, is_delta, first, is_zigzag, offset):
    """Undo `_to_unsigned` in place, values (n,) uint64."""
    before = first
    for i in range(values.shape[0]):
        value = np.int64(values[i])
        if is_zigzag:
            value = np.int64(values[i] >> np.uint64(1)) ^ -(value & 1)
        else:
            value += offset
        if is_delta:
            value += before
            before = value
        values[i] = np.uint64(value)


# ---- codecs of unsigned values


def _encode_unsigned(values: np.ndarray, largest: int, use_vectors: bool | None) -> _Coded:
    width = max(largest.bit_length(), 1)
    packed_bits = width * len(values)
    if largest < 1 << 16:
        symbols = values.astype(np.uint8 if largest < 1 << 8 else np.uint16, copy=False)
        model = build_model(symbols)
        if model is not None and model.bits < 0.999 * packed_bits:
            if largest >= 1 << 10 and model.bits > 1.001 * _fold_bits(model):
                return _encode_fold(values, largest, use_vectors)
            parameters, parts = encode_symbols(symbols, model, use_vectors)
            return "rans", {"symbols": symbols.dtype.name} | parameters, parts
        return _encode_bitpack(values, width)
    sample = values[:: max(1, len(values) // (4 * _N_SAMPLE))].astype(np.uint64)
    fold_bits = fold.fold_cost(sample, np.ones(len(sample), np.int64)) * len(values) / len(sample)
    if largest < 1 << (16 + _SPLIT):
        symbols = np.right_shift(values, _SPLIT).astype(np.uint16)
        model = build_model(symbols)
        if model is not None and model.bits + _SPLIT * len(values) < min(0.999 * packed_bits, 1.0005 * fold_bits):
            parameters, parts = encode_symbols(symbols, model, use_vectors)
            return "split", {"rans": parameters}, [values.astype(np.uint8).tobytes(), *parts]
    if fold_bits < 0.999 * packed_bits:
        return _encode_fold(values, largest, use_vectors)
    return _encode_bitpack(values, width)


def _fold_bits(model: Any) -> float:
    counts = model.counts[model.symbols].astype(np.int64)
    return float(fold.fold_cost(model.symbols.astype(np.uint64), counts))


def _encode_bitpack(values: np.ndarray, width: int) -> _Coded:
    words = np.zeros(bits.words_for(width * len(values)), np.uint32)
    bits.pack_fixed(values if values.itemsize >= 4 else values.astype(np.uint32), width, words)
    return "bitpack", {"width": width}, [words.tobytes()]


def _decode_bitpack(parameters: dict[str, Any], raw: memoryview, target: np.ndarray) -> np.ndarray:
    width = int(parameters["width"])
    if not 0 < width <= 64 or len(raw) != 4 * bits.words_for(width * len(target)):
        raise CtfError(f"bitpack: {len(target)} values of {width} bits are not in {len(raw)} bytes")
    out = _buffer(target, np.dtype(np.uint64 if width > 32 or target.itemsize == 8 else np.uint32))
    bits.unpack_fixed(_aligned(raw).view(np.uint32), width, out)
    return out


def _encode_fold(values: np.ndarray, largest: int, use_vectors: bool | None) -> _Coded:
    widest = max(largest.bit_length() - fold.SIGNIFICANT, 0)
    symbols, low = np.empty(len(values), np.uint16), np.empty(fold.room_for(widest * len(values)), np.uint8)
    n_bits = fold.fold_values(values, widest, symbols, low)
    model = build_model(symbols)
    if model is None:
        return _encode_bitpack(values, largest.bit_length())
    parameters, parts = encode_symbols(symbols, model, use_vectors)
    stream = low[: (n_bits + 7) // 8].tobytes()
    return "fold", {"bits": n_bits, "rans": parameters}, [stream, bytes(-len(stream) % 8), *parts]


def _decode_wide(
    codec: str, parameters: dict[str, Any], raw: memoryview, target: np.ndarray, use_vectors: bool | None
) -> np.ndarray:
    n_bits = _SPLIT * len(target) if codec == "split" else int(parameters["bits"])
    n_low = len(target) if codec == "split" else -(-n_bits // 64) * 8
    if not 0 <= n_low <= len(raw) - fold.LOOK_AHEAD:
        raise CtfError(f"{codec}: want {n_low} bytes of low bits, got {len(raw)}")
    symbols = np.empty(len(target), np.uint16)
    decode_symbols(parameters["rans"], raw[n_low:], symbols, use_vectors)
    low = np.frombuffer(raw, np.uint8)[:n_low]  # the states behind it are its room to look ahead
    out = _buffer(target, np.dtype(np.uint64 if target.itemsize == 8 else np.uint32))
    if codec == "split":
        return np.add(np.left_shift(symbols, _SPLIT, out=out, dtype=out.dtype), low, out=out)
    if not fold.unfold_values(symbols, n_bits, low, out):
        raise CtfError("fold: symbols and low bits do not fit together")
    return out


def _aligned(raw: memoryview) -> np.ndarray:
    array = np.frombuffer(raw, np.uint8)
    return array.copy() if array.ctypes.data % 8 else array
