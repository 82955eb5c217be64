"""Wide values as an exponent with a few significant bits (a symbol) and raw low bits: value = symbol << n | low bits.

With `significant` bits kept, values below 2^significant are their own symbols and each octave above has
2^(significant - 1). The low bits of all values follow each other, lowest bit first, in little-endian bytes.
Arrays and scalars only.
"""

import numpy as np
from numba import njit

from o2dask.ctf.bits_kernels import bit_length, load_u64, store_u64

__all__ = [
    "LOOK_AHEAD",
    "SIGNIFICANT",
    "fold_cost",
    "fold_values",
    "n_folded",
    "room_for",
    "split_cost",
    "unfold_values",
]

SIGNIFICANT = 6
"""Over an octave cut in 32 a smooth density is flat: facts/entropy_coding.md measured it beside a 20-bit dictionary."""
LOOK_AHEAD = 16
"""Bytes beyond the stream that the loops may load or overwrite."""
_CHUNK = 2048
"""Values per pass: each step of the work is a simple loop, which the compiler vectorises, over what the L1 holds."""


def n_folded(largest: int) -> int:
    """Return the number of symbols that values up to `largest` fold to."""
    shift = max(largest.bit_length() - SIGNIFICANT, 0)
    return (shift << (SIGNIFICANT - 1)) + (largest >> shift) + 1


def room_for(n_bits: int) -> int:
    """Return the bytes that a stream of n_bits needs while it is written or read."""
    return (n_bits + 7) // 8 + LOOK_AHEAD


@njit(cache=True, nogil=True)
def fold_values(values, widest, symbols, low):
    """Fold values (n,) unsigned into symbols (n,) uint16 and raw bits, to low uint8; return the number of bits.

    `widest` is the most raw bits of a value; low must have `room_for` n times as many.
    """
    shifts, lows = np.zeros(_CHUNK, np.uint64), np.zeros(_CHUNK, np.uint64)
    first = np.int64(low.ctypes.data)
    at, acc, n_acc = first, np.uint64(0), np.uint64(0)
    for begin in range(0, values.shape[0], _CHUNK):
        m = min(_CHUNK, values.shape[0] - begin)
        for i in range(m):
            value = np.uint64(values[begin + i])
            shift = np.uint64(max(bit_length(value | np.uint64(1)) - SIGNIFICANT, 0))
            symbols[begin + i] = (shift << np.uint64(SIGNIFICANT - 1)) + (value >> shift)
            shifts[i] = shift
            lows[i] = value & ((np.uint64(1) << shift) - np.uint64(1))
        group = 1  # what waits from the last store and what a store adds must fit 64 bits
        while group < 8 and 2 * group * widest <= 56:
            half = (m + 1) // 2
            if m % 2:
                shifts[m], lows[m] = 0, 0
            for i in range(half):
                lows[i] = lows[2 * i] | lows[2 * i + 1] << shifts[2 * i]
                shifts[i] = shifts[2 * i] + shifts[2 * i + 1]
            m = half
            group *= 2
        for i in range(m):
            bits, width = lows[i], shifts[i]
            if width > np.uint64(56):
                acc |= (bits & np.uint64(0xFFFFFFFF)) << n_acc
                store_u64(at, acc)
                at += 4
                acc >>= np.uint64(32)
                bits >>= np.uint64(32)
                width -= np.uint64(32)
            acc |= bits << n_acc
            n_acc += width
            store_u64(at, acc)
            at += np.int64(n_acc >> np.uint64(3))
            acc >>= n_acc & np.uint64(56)
            n_acc &= np.uint64(7)
    return 8 * (at - first) + np.int64(n_acc)


@njit(cache=True, nogil=True)
def unfold_values(symbols, n_bits, low, out):
    """Undo `fold_values` into out (n,); return whether symbols and the n_bits of low fit together.

    LOOK_AHEAD bytes behind low must be readable.
    """
    shifts, bases = np.zeros(_CHUNK, np.int64), np.zeros(_CHUNK, np.uint64)
    first = np.int64(low.ctypes.data)
    at = 0
    for begin in range(0, symbols.shape[0], _CHUNK):
        m = min(_CHUNK, symbols.shape[0] - begin)
        total, widest = 0, 0
        for i in range(m):
            symbol = np.int64(symbols[begin + i])
            shift = max((symbol >> (SIGNIFICANT - 1)) - 1, 0)
            shifts[i] = shift
            bases[i] = np.uint64(symbol - (shift << (SIGNIFICANT - 1))) << np.uint64(shift & 63)
            total += shift
            widest = max(widest, shift)
        if at + total > n_bits or widest > 64 - SIGNIFICANT:
            return False
        for i in range(m):
            raw = load_u64(first + (at >> 3)) >> np.uint64(at & 7)
            out[begin + i] = bases[i] | raw & ((np.uint64(1) << np.uint64(shifts[i])) - np.uint64(1))
            at += shifts[i]
        if widest > 57:
            at -= total
            for i in range(m):
                if shifts[i] > 57:
                    raw = load_u64(first + (at >> 3)) >> np.uint64(at & 7)
                    raw |= load_u64(first + (at >> 3) + 7) << np.uint64(56 - (at & 7))
                    out[begin + i] = bases[i] | raw & ((np.uint64(1) << np.uint64(shifts[i])) - np.uint64(1))
                at += shifts[i]
    return at == n_bits


@njit(cache=True, nogil=True)
def split_cost(values, weights, shift):
    """Return the bits that values (n,), ascending, each weights (n,) times, cost with `shift` low bits stored raw."""
    total, bits, n_used, here = 0, 0.0, 0, 0
    for i in range(values.shape[0]):
        here += weights[i]
        total += weights[i]
        if i + 1 == values.shape[0] or values[i + 1] >> shift != values[i] >> shift:
            bits -= here * np.log2(here)
            n_used += 1
            here = 0
    return bits + total * (np.log2(total) + shift) + 3.0 * n_used  # 3 bits: an entry of the dictionary


@njit(cache=True, nogil=True)
def fold_cost(values, weights):
    """Return the bits that values (n,), each weights (n,) times, cost when folded: entropy of symbols, and raw bits."""
    counts = np.zeros(4096, np.int64)
    total, bits = 0, 0.0
    for i in range(values.shape[0]):
        value = np.uint64(values[i])
        shift = max(bit_length(value) - SIGNIFICANT, 0)
        counts[(shift << (SIGNIFICANT - 1)) + np.int64(value >> np.uint64(shift))] += weights[i]
        bits += shift * weights[i]
        total += weights[i]
    n_used = 0
    for k in range(counts.shape[0]):
        if counts[k]:
            n_used += 1
            bits -= counts[k] * np.log2(counts[k] / total)
    return bits + 0.72 * (n_used - 1)  # G. Miller's correction of the entropy of a sample, (k - 1) / (2 ln 2) bits
