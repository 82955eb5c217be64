"""`o2dask.ctf.fold` for values below 2^24, twice as fast: 32-bit lanes, and exponents out of float32 conversions.

Gives the same symbols and the same bytes. Arrays and scalars only.
"""

import numpy as np
from numba import njit

from o2dask.ctf.bits_kernels import load_u64, store_u64

__all__ = ["NARROW_BITS", "fold_narrow", "unfold_narrow"]

NARROW_BITS = 24
"""Integers below 2^24 are exact in float32."""
_SIGNIFICANT = 6
_CHUNK = 2048


@njit(cache=True, nogil=True)
def _fold_chunk(values, symbols, shifts, lows):
    for i in range(values.shape[0]):
        value = np.uint32(values[i])
        exponent = np.int32(np.float32(np.int32(value | np.uint32(1))).view(np.int32) >> 23) - 127
        shift = np.uint32(max(exponent - (_SIGNIFICANT - 1), 0))
        symbols[i] = (shift << np.uint32(_SIGNIFICANT - 1)) + (value >> shift)
        shifts[i] = shift
        lows[i] = value & ((np.uint32(1) << shift) - np.uint32(1))


@njit(cache=True, nogil=True)
def _join_pairs(shifts, lows, pair_shifts, pair_lows):
    for i in range(pair_shifts.shape[0]):
        shift = shifts[2 * i]
        pair_lows[i] = np.uint64(lows[2 * i]) | np.uint64(lows[2 * i + 1]) << np.uint64(shift)
        pair_shifts[i] = shift + shifts[2 * i + 1]


@njit(cache=True, nogil=True)
def _put(shifts, lows, at, acc, n_acc):
    """Append bits to the stream at address `at`, where n_acc < 8 bits wait in acc."""
    for i in range(shifts.shape[0]):
        acc |= lows[i] << n_acc
        n_acc += np.uint64(shifts[i])
        store_u64(at, acc)
        at += np.int64(n_acc >> np.uint64(3))
        acc >>= n_acc & np.uint64(56)
        n_acc &= np.uint64(7)
    return at, acc, n_acc


@njit(cache=True, nogil=True)
def fold_narrow(values, widest, symbols, low):
    """Do what `fold.fold_values` does for values (n,) uint32 below 2^24."""
    shifts, lows = np.zeros(_CHUNK, np.uint32), np.zeros(_CHUNK, np.uint32)
    shifts2, lows2 = np.zeros(_CHUNK // 2, np.uint32), np.zeros(_CHUNK // 2, np.uint64)
    shifts4, lows4 = np.zeros(_CHUNK // 4, np.uint32), np.zeros(_CHUNK // 4, np.uint64)
    first = np.int64(low.ctypes.data)
    at, acc, n_acc = first, np.uint64(0), np.uint64(0)
    for begin in range(0, values.shape[0], _CHUNK):
        end = min(begin + _CHUNK, values.shape[0])
        shifts[end - begin :] = 0
        lows[end - begin :] = 0
        _fold_chunk(values[begin:end], symbols[begin:end], shifts, lows)
        _join_pairs(shifts, lows, shifts2, lows2)
        if widest <= 14:  # four of them fit the 57 bits that can be put at a time, else two
            _join_pairs(shifts2, lows2, shifts4, lows4)
            at, acc, n_acc = _put(shifts4, lows4, at, acc, n_acc)
        else:
            at, acc, n_acc = _put(shifts2, lows2, at, acc, n_acc)
    return 8 * (at - first) + np.int64(n_acc)


@njit(cache=True, nogil=True)
def _split_chunk(symbols, shifts, bases):
    total, widest = np.uint32(0), np.uint32(0)
    for i in range(symbols.shape[0]):
        symbol = np.uint32(symbols[i])
        shift = max(symbol >> np.uint32(_SIGNIFICANT - 1), np.uint32(1)) - np.uint32(1)
        shifts[i] = shift
        bases[i] = (symbol - (shift << np.uint32(_SIGNIFICANT - 1))) << (shift & np.uint32(31))
        total += shift
        widest = max(widest, shift)
    return np.int64(total), np.int64(widest)


@njit(cache=True, nogil=True)
def unfold_narrow(symbols, n_bits, low, out):
    """Do what `fold.unfold_values` does, into out (n,) uint32; False also where a value is not narrow."""
    shifts, bases = np.zeros(_CHUNK, np.uint32), np.zeros(_CHUNK, np.uint32)
    first = np.int64(low.ctypes.data)
    at = 0
    for begin in range(0, symbols.shape[0], _CHUNK):
        end = min(begin + _CHUNK, symbols.shape[0])
        total, widest = _split_chunk(symbols[begin:end], shifts, bases)
        if at + total > n_bits or widest > NARROW_BITS - _SIGNIFICANT:
            return False
        part = out[begin:end]
        for i in range(part.shape[0]):
            shift = np.uint64(shifts[i])
            raw = load_u64(first + (at >> 3)) >> np.uint64(at & 7)
            part[i] = bases[i] | np.uint32(raw & ((np.uint64(1) << shift) - np.uint64(1)))
            at += np.int64(shift)
    return at == n_bits
