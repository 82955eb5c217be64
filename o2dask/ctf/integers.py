"""Integers of any width as a block: mapped to small unsigned values, these to symbols and raw bits.

Maps: ``delta`` (difference to the value before, `first` apart), then ``zigzag`` (0, -1, 1, -2 become 0, 1, 2, 3) where
there are negatives, or ``offset`` subtracted. Codecs of the unsigned values: ``rans`` (values are the symbols),
``split`` (the high bits are, 4 or 8 low bits are stored), ``fold`` (`o2dask.ctf.fold`), ``bitpack`` (fixed width).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from o2dask.ctf import bits_kernels, fold, fold_narrow
from o2dask.ctf.errors import CtfError
from o2dask.ctf.rans import (
    Counts,
    Model,
    build_model,
    count_symbols,
    decode_symbols,
    encode_symbols,
    model_of_counts,
    without_low_bits,
)

__all__ = ["CODECS", "decode_integers", "encode_integers"]

CODECS = ("rans", "split", "fold", "bitpack")
_N_SAMPLE = 4096
_SPLITS = (4, 8)
"""How many low bits ``split`` may store raw."""
_WIDE_ALPHABET = 512
"""Symbols from which on a dictionary is long enough to think of splitting."""
_ALIKE, _MUCH_LESS = 0.9995, 0.998
"""Ratios of sizes."""
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
    elif codec == "split":
        unsigned = _decode_split(parameters, raw, target, use_vectors)
    else:
        unsigned = _decode_fold(parameters, raw, target, use_vectors)
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
def _to_unsigned(values, is_delta, first, is_zigzag, offset, out):  # type: ignore[no-untyped-def]
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
def _unmap(values, is_delta, first, is_zigzag, offset):  # type: ignore[no-untyped-def]
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
    """Return the smallest; where sizes are alike the fastest, which is the order of `CODECS` but for bitpack."""
    n, width = len(values), max(largest.bit_length(), 1)
    if largest < 1 << 16:
        symbols = values.astype(np.uint8 if largest < 1 << 8 else np.uint16, copy=False)
        counts = count_symbols(symbols)
        shift = _best_shift(counts) if len(counts.symbols) > _WIDE_ALPHABET else 0
        if shift < 0:
            return _encode_fold(values, largest, use_vectors)
        model = model_of_counts(without_low_bits(counts, shift) if shift else counts)
        if model is None or model.bits + shift * n > _ALIKE * width * n:
            return _encode_bitpack(values, width)
        if shift:
            return _encode_split(values, _high_bits(symbols, shift, largest), shift, model, use_vectors)
        parameters, parts = encode_symbols(symbols, model, use_vectors)
        return "rans", {"symbols": symbols.dtype.name} | parameters, parts
    sample = values[:: max(1, n // (4 * _N_SAMPLE))].astype(np.uint64)
    fold_bits = fold.fold_cost(sample, np.ones(len(sample), np.int64)) * n / len(sample)
    if largest < 1 << 24:
        high = _high_bits(values, 8, largest)
        model = build_model(high)
        if model is not None and model.bits + 8 * n < min(_ALIKE * width * n, fold_bits / _MUCH_LESS):
            return _encode_split(values, high, 8, model, use_vectors)
    if fold_bits < _ALIKE * width * n:
        return _encode_fold(values, largest, use_vectors)
    return _encode_bitpack(values, width)


def _best_shift(counts: Counts) -> int:
    """Return how many low bits of a wide alphabet to split off, -1 to fold instead."""
    best, bits = 0, fold.split_cost(counts.symbols, counts.counts, 0)
    for shift in _SPLITS:
        cost = fold.split_cost(counts.symbols, counts.counts, shift)
        if cost < bits:
            best, bits = shift, cost
    return -1 if fold.fold_cost(counts.symbols.astype(np.uint64), counts.counts) < _MUCH_LESS * bits else best


def _high_bits(values: np.ndarray, shift: int, largest: int) -> np.ndarray:
    kind = np.dtype(np.uint8 if largest >> shift < 1 << 8 else np.uint16)
    return np.right_shift(values, shift, out=np.empty(len(values), kind), dtype=values.dtype, casting="unsafe")


def _encode_split(
    values: np.ndarray, symbols: np.ndarray, shift: int, model: Model, use_vectors: bool | None
) -> _Coded:
    """Return high bits coded by `model` and low bits stored: a byte each, or the nibbles of both halves in one."""
    low = values.astype(np.uint8)
    if shift == 4:
        low &= 15
        half = (len(low) + 1) // 2
        low[: len(low) - half] |= low[half:] << 4
        low = low[:half]
    parameters, parts = encode_symbols(symbols, model, use_vectors)
    stream = low.tobytes()
    json = {"shift": shift, "symbols": symbols.dtype.name, "rans": parameters}
    return "split", json, [stream, bytes(-len(stream) % 8), *parts]


def _encode_bitpack(values: np.ndarray, width: int) -> _Coded:
    words = np.zeros(bits_kernels.words_for(width * len(values)), np.uint32)
    bits_kernels.pack_fixed(values if values.itemsize >= 4 else values.astype(np.uint32), width, words)
    return "bitpack", {"width": width}, [words.tobytes()]


def _decode_bitpack(parameters: dict[str, Any], raw: memoryview, target: np.ndarray) -> np.ndarray:
    width = int(parameters["width"])
    if not 0 < width <= 64 or len(raw) != 4 * bits_kernels.words_for(width * len(target)):
        raise CtfError(f"bitpack: {len(target)} values of {width} bits are not in {len(raw)} bytes")
    out = _buffer(target, np.dtype(np.uint64 if width > 32 or target.itemsize == 8 else np.uint32))
    bits_kernels.unpack_fixed(_aligned(raw).view(np.uint32), width, out)
    return out


def _encode_fold(values: np.ndarray, largest: int, use_vectors: bool | None) -> _Coded:
    widest = max(largest.bit_length() - fold.SIGNIFICANT, 0)
    symbols, low = np.empty(len(values), np.uint16), np.empty(fold.room_for(widest * len(values)), np.uint8)
    if largest < 1 << fold_narrow.NARROW_BITS:
        n_bits = fold_narrow.fold_narrow(values.astype(np.uint32, copy=False), widest, symbols, low)
    else:
        n_bits = fold.fold_values(values.astype(np.uint64, copy=False), widest, symbols, low)
    model = build_model(symbols)
    if model is None:
        return _encode_bitpack(values, largest.bit_length())
    parameters, parts = encode_symbols(symbols, model, use_vectors)
    stream = low[: (n_bits + 7) // 8].tobytes()
    json = {"bits": n_bits, "largest": largest, "rans": parameters}
    return "fold", json, [stream, bytes(-len(stream) % 8), *parts]


def _decode_split(
    parameters: dict[str, Any], raw: memoryview, target: np.ndarray, use_vectors: bool | None
) -> np.ndarray:
    shift = int(parameters["shift"])
    if shift not in _SPLITS:
        raise CtfError(f"split: impossible shift {shift}")
    n = len(target)
    n_low = n if shift == 8 else (n + 1) // 2
    low, coded = _cut(raw, n_low)
    symbols = np.empty(n, np.dtype(parameters["symbols"]))
    decode_symbols(parameters["rans"], coded, symbols, use_vectors)
    np.left_shift(symbols, shift, out=target, dtype=target.dtype, casting="unsafe")
    if shift == 8:
        target |= low[:n]
    else:
        target[:n_low] |= low[:n_low] & 15
        target[n_low:] |= low[: n - n_low] >> 4
    return target


def _decode_fold(
    parameters: dict[str, Any], raw: memoryview, target: np.ndarray, use_vectors: bool | None
) -> np.ndarray:
    n_bits = int(parameters["bits"])
    low, coded = _cut(raw, (n_bits + 7) // 8)
    symbols = np.empty(len(target), np.uint16)
    decode_symbols(parameters["rans"], coded, symbols, use_vectors)
    is_narrow = int(parameters["largest"]) < 1 << fold_narrow.NARROW_BITS
    out = _buffer(target, np.dtype(np.uint32 if is_narrow else np.uint64))
    unfold = fold_narrow.unfold_narrow if is_narrow else fold.unfold_values
    if not unfold(symbols, n_bits, low, out):
        raise CtfError("fold: symbols and low bits do not fit together")
    return out


def _cut(raw: memoryview, n_low: int) -> tuple[np.ndarray, memoryview]:
    """Return the low bits with all that follows (room for loops to look ahead), and what follows."""
    n_padded = -(-n_low // 8) * 8
    if not 0 <= n_padded <= len(raw) - fold.LOOK_AHEAD:
        raise CtfError(f"want {n_padded} bytes of low bits and symbols behind them, got {len(raw)} bytes")
    return np.frombuffer(raw, np.uint8), raw[n_padded:]


def _aligned(raw: memoryview) -> np.ndarray:
    array = np.frombuffer(raw, np.uint8)
    return array.copy() if array.ctypes.data % 8 else array
