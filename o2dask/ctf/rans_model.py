"""From a histogram to frequencies in slots: which symbols get some, how many, and at which precision.

Minimises the coded size: sum over symbols of count * (precision - log2(frequency)), raw bits of escapes, and the
dictionary. Arrays and scalars only.
"""

import numpy as np
from numba import njit

from o2dask.ctf.rans_kernels import N_CLASSES, class_bits, escape_class

__all__ = ["MAX_PRECISION", "PRECISIONS", "choose_model", "compact", "parse_dictionary", "write_dictionary"]

PRECISIONS = (12, 14, 16)
MAX_PRECISION = PRECISIONS[-1]
_LOG2 = np.log2(np.maximum(np.arange((1 << MAX_PRECISION) + 1), 1)).astype(np.float32)
_ESCAPE_BITS = 0.3
"""What an escape beyond one in a hundred is made to cost: each takes as long as twenty symbols."""
_GAIN = 0.0004
"""Relative gain that a larger decoding table must bring: it costs cache."""


@njit(cache=True, nogil=True)
def compact(tables, symbols, counts, total):
    """Add up tables (4, n_alphabet) in total (n_alphabet,); list what occurs in symbols and counts; return how many."""
    n = 0
    for s in range(tables.shape[1]):
        total[s] = tables[0, s] + tables[1, s] + tables[2, s] + tables[3, s]
        if total[s]:
            symbols[n] = s
            counts[n] = total[s]
            n += 1
    return n


@njit(cache=True, nogil=True)
def _quantise(symbols, counts, precision, threshold, freqs, classes):
    """Fill freqs (n,) (0: escape) and classes (32,); return the size in bits, inf if there are too few slots.

    A symbol of less than `threshold` slots escapes. Rounding to nearest of counts * scale with a common scale is the
    optimum up to the curvature of the logarithm; symbols below one and a half slots get one, which lowers the scale.
    """
    n_slots = 1 << precision
    total = 0
    for i in range(counts.shape[0]):
        total += counts[i]
    limit = threshold * total / n_slots
    of_class = np.zeros(N_CLASSES, np.int64)
    n_entries, n_escapes, bits, last = 0, 0, 0.0, -1
    for i in range(counts.shape[0]):
        freqs[i] = 1
        if counts[i] < limit:
            k = escape_class(symbols[i])
            freqs[i] = 0
            of_class[k] += counts[i]
            n_escapes += counts[i]
            bits += counts[i] * class_bits(k)
        else:
            n_entries += 1
            # measured: a deflated entry costs 2 to 5 bits where neighbours are alike, 8 to 15 in scattered alphabets
            bits += 3.0 + 1.5 * _LOG2[symbols[i] - last]
            last = symbols[i]
    for k in range(N_CLASSES):
        n_entries += of_class[k] > 0
    if n_entries * 10 > n_slots * 9:
        return np.inf
    scale = _scale(counts, freqs, of_class, n_slots, total)
    used, largest = 0, 0
    for i in range(counts.shape[0]):
        if freqs[i]:
            freqs[i] = max(1, int(counts[i] * scale + 0.5))
            used += freqs[i]
            largest = max(largest, freqs[i])
    for k in range(N_CLASSES):
        classes[k] = max(1, int(of_class[k] * scale + 0.5)) if of_class[k] else 0
        used += classes[k]
        largest = max(largest, classes[k])
    _settle(freqs, classes, n_slots - used, largest)
    bits += total * precision + max(n_escapes - 0.01 * total, 0.0) * _ESCAPE_BITS
    for i in range(counts.shape[0]):
        bits -= counts[i] * _LOG2[freqs[i]]
    for k in range(N_CLASSES):
        bits -= of_class[k] * _LOG2[classes[k]]
    return bits


@njit(cache=True, nogil=True)
def _scale(counts, freqs, of_class, n_slots, total):
    """Return slots per count such that the rounded frequencies fill the slots, but for rounding."""
    scale = n_slots / total
    for _ in range(20):
        n_single, mass = 0, 0
        for i in range(counts.shape[0]):
            if freqs[i]:
                if counts[i] * scale < 1.5:
                    n_single += 1
                else:
                    mass += counts[i]
        for k in range(N_CLASSES):
            if of_class[k]:
                if of_class[k] * scale < 1.5:
                    n_single += 1
                else:
                    mass += of_class[k]
        better = (n_slots - n_single) / max(mass, 1)
        if abs(better - scale) < 1e-4 * scale:
            return better
        scale = better
    return scale


@njit(cache=True, nogil=True)
def _settle(freqs, classes, left, largest):
    """Hand out (or take back) the `left` slots of rounding, one each to the large entries, where it costs least."""
    step = 1 if left > 0 else -1
    share = largest // 2 + 1
    while left != 0:
        before = left
        for i in range(freqs.shape[0]):
            if left != 0 and freqs[i] >= share and freqs[i] + step >= 1:
                freqs[i] += step
                left -= step
        for k in range(classes.shape[0]):
            if left != 0 and classes[k] >= share and classes[k] + step >= 1:
                classes[k] += step
                left -= step
        if left == before or share > 2:
            share = max(2, share // 2)


@njit(cache=True, nogil=True)
def choose_model(symbols, counts, freqs, classes):
    """Fill freqs (n,) and classes (32,) with the best model found; return its precision and its size in bits."""
    precision, threshold, best = 12, 0.5, _quantise(symbols, counts, 12, 0.5, freqs, classes)
    for finer in PRECISIONS[1:]:
        bits = _quantise(symbols, counts, finer, 0.5, freqs, classes)
        if not bits < best * (1.0 - _GAIN):
            break
        precision, best = finer, bits
    for other in (0.25, 1.0, 2.0):
        bits = _quantise(symbols, counts, precision, other, freqs, classes)
        if bits < best:
            threshold, best = other, bits
    while True:  # too many symbols for the slots: let more of them escape
        bits = _quantise(symbols, counts, precision, threshold, freqs, classes)
        if bits < np.inf:
            return precision, bits
        threshold *= 2.0


@njit(cache=True, nogil=True)
def _put(value, out, at):
    while value >= 128:
        out[at] = (value & 127) | 128
        value >>= 7
        at += 1
    out[at] = value
    return at + 1


@njit(cache=True, nogil=True)
def write_dictionary(symbols, freqs, classes, out):
    """Write entries with a frequency as varints to out uint8, index differences first; return the number of bytes.

    Layout: number of entries, differences, frequencies; number of classes, then class and frequency of each.
    """
    n = 0
    for i in range(freqs.shape[0]):
        n += freqs[i] > 0
    at = _put(n, out, 0)
    last = 0
    for i in range(freqs.shape[0]):
        if freqs[i]:
            at = _put(symbols[i] - last, out, at)
            last = symbols[i]
    for i in range(freqs.shape[0]):
        if freqs[i]:
            at = _put(freqs[i], out, at)
    n_classes = 0
    for k in range(N_CLASSES):
        n_classes += classes[k] > 0
    at = _put(n_classes, out, at)
    for k in range(N_CLASSES):
        if classes[k]:
            at = _put(k, out, at)
            at = _put(classes[k], out, at)
    return at


@njit(cache=True, nogil=True)
def _get(text, at):
    """Return the varint at `at` and what follows, position -1 where the text ends within it."""
    value, shift = 0, 0
    while 0 <= at < text.shape[0] and shift < 28:
        byte = np.int64(text[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    return 0, -1


@njit(cache=True, nogil=True)
def parse_dictionary(text, n_alphabet, symbols, freqs, classes):
    """Undo `write_dictionary`; return the number of entries, -1 if the text is not one.

    symbols, freqs hold n_alphabet entries at most, classes 32.
    """
    n, at = _get(text, 0)
    if n > n_alphabet:
        return -1
    symbol = 0
    for i in range(n):
        step, at = _get(text, at)
        symbol += step
        if symbol >= n_alphabet or (i > 0 and step == 0):
            return -1
        symbols[i] = symbol
    for i in range(n):
        freqs[i], at = _get(text, at)
        if not 0 < freqs[i] < 1 << MAX_PRECISION:
            return -1
    n_classes, at = _get(text, at)
    for _ in range(n_classes):
        k, at = _get(text, at)
        freq, at = _get(text, at)
        if k >= N_CLASSES or not 0 < freq < 1 << MAX_PRECISION or at < 0:
            return -1
        classes[k] = freq
    return n if at == text.shape[0] else -1
