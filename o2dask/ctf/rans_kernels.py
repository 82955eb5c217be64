"""The entropy coder in plain loops: 32 interleaved rANS lanes over one stream of 16-bit words.

Symbol i belongs to lane i % 32. States are in [2^16, 2^32). Encoding runs backward and writes words from the end of
the array, decoding runs forward; where several lanes of a group need a word, the lowest lane's comes first.
Knows arrays and scalars only. Source: J. Duda, arXiv:1311.2540; interleaving: F. Giesen, arXiv:1402.3392; the layout
is that of facts/entropy_coding.md.

Tables: an encoding entry (by symbol) is ``freq | start << 16 | reciprocal << 32``, a decoding entry (by slot)
``freq | (slot - start) << 16 | symbol << 32``; both uint64, freq in 1..65535.
Escapes: slots from `escape` on belong to magnitude classes: a value of e bits is coded as class 2 (e - 1) + its second
bit, its e - 2 low bits follow raw in a stream of their own.
"""

import numpy as np
from numba import njit

from o2dask.ctf.bits_kernels import bit_length

__all__ = [
    "LOWER",
    "N_CLASSES",
    "N_LANES",
    "class_bits",
    "decode_plain",
    "encode_plain",
    "escape_bits",
    "escape_class",
    "fill_decode_table",
    "fill_encode_table",
    "histogram",
    "read_escapes",
    "write_escapes",
]

N_LANES = 32
LOWER = 1 << 16
"""Smallest state, and the state that encoding starts from: decoding must end there."""
N_CLASSES = 32


@njit(cache=True, nogil=True)
def escape_class(value):
    """Return the magnitude class of a 16-bit value: bit length and one more bit."""
    if value < 2:
        return value
    e = bit_length(value)
    return 2 * (e - 1) + ((value >> (e - 2)) & 1)


@njit(cache=True, nogil=True)
def class_bits(k):
    """Return the number of raw bits of a class."""
    return max((k >> 1) - 1, 0)


@njit(cache=True, nogil=True)
def histogram(symbols, tables):
    """Count symbols in tables (4, n_alphabet) uint32; four, so that equal neighbours do not wait for each other."""
    n = symbols.shape[0]
    whole = n - n % 4
    for i in range(0, whole, 4):
        tables[0, symbols[i]] += np.uint32(1)
        tables[1, symbols[i + 1]] += np.uint32(1)
        tables[2, symbols[i + 2]] += np.uint32(1)
        tables[3, symbols[i + 3]] += np.uint32(1)
    for i in range(whole, n):
        tables[0, symbols[i]] += np.uint32(1)


@njit(cache=True, nogil=True)
def _entry(freq, start):
    reciprocal = (np.uint64(1) << np.uint64(32)) // np.uint64(freq) if freq > 1 else np.uint64(0xFFFFFFFF)
    return np.uint64(freq) | np.uint64(start) << np.uint64(16) | reciprocal << np.uint64(32)


@njit(cache=True, nogil=True)
def fill_encode_table(freqs, classes, counts, table):
    """Fill table (n_alphabet,) from freqs (n_alphabet,) and classes (32,); return the first slot of the classes.

    A symbol that occurs (counts > 0) without a frequency of its own gets the entry of its class.
    """
    start = 0
    for s in range(freqs.shape[0]):
        if freqs[s] > 0:
            table[s] = _entry(freqs[s], start)
            start += freqs[s]
    escape = start
    of_class = np.zeros(N_CLASSES, np.uint64)
    for k in range(N_CLASSES):
        if classes[k] > 0:
            of_class[k] = _entry(classes[k], start)
            start += classes[k]
    if start > escape:
        for s in range(freqs.shape[0]):
            if freqs[s] == 0 and counts[s] > 0:
                table[s] = of_class[escape_class(s)]
    return escape


@njit(cache=True, nogil=True)
def fill_decode_table(symbols, freqs, classes, names, table):
    """Fill table (2^precision,); return the first slot of the classes, or -1 if the frequencies do not fill the table.

    symbols, freqs (n,): the dictionary. A class decodes to its name in names (32,), a value not in the dictionary.
    """
    at = 0
    escape = 0
    for i in range(symbols.shape[0] + N_CLASSES):
        if i == symbols.shape[0]:
            escape = at
        k = i - symbols.shape[0]
        freq = np.int64(freqs[i]) if k < 0 else np.int64(classes[k])
        symbol = np.uint64(symbols[i]) if k < 0 else np.uint64(names[k])
        if at + freq > table.shape[0]:
            return -1
        base = np.uint64(freq) | symbol << np.uint64(32)
        for j in range(freq):
            table[at + j] = base | np.uint64(j) << np.uint64(16)
        at += freq
    return escape if at == table.shape[0] else -1


@njit(cache=True, nogil=True)
def encode_plain(table, symbols, n, words, n_words, states, marks, n_marks, precision, escape):
    """Encode symbols n - 1 down to 0; words (m,) uint16 hold n_words at their end already.

    Returns words written (-1: no room) and how many entries of marks are used: groups that hold an escape, last first.
    """
    at = words.shape[0] - n_words
    top, shift, mask = np.uint64(32 - precision), np.uint64(precision), np.uint64(0xFFFF)
    for group in range((n - 1) // N_LANES, -1, -1):
        part = symbols[group * N_LANES : min(n, (group + 1) * N_LANES)]
        if at < part.shape[0]:
            return -1, n_marks
        last_start = np.uint64(0)
        for i in range(part.shape[0]):
            lane = np.uint64(part.shape[0] - 1 - i)
            entry = table[part[lane]]
            freq, start = entry & mask, (entry >> np.uint64(16)) & mask
            x = np.uint64(states[lane])
            needs = np.uint64(x >= freq << top)
            words[np.uint64(at - 1)] = x & mask  # written if not needed too: a branch that is random costs more
            at -= np.int64(needs)
            x >>= needs << np.uint64(4)
            quotient = (x * (entry >> np.uint64(32))) >> np.uint64(32)
            rest = x - quotient * freq
            is_short = np.uint64(rest >= freq)
            states[lane] = ((quotient + is_short) << shift) + rest - is_short * freq + start
            last_start = max(last_start, start)
        marks[n_marks] = group
        n_marks += np.int64(last_start >= np.uint64(escape))
    return words.shape[0] - at, n_marks


@njit(cache=True, nogil=True)
def decode_plain(table, words, at, out, first, states, marks, n_marks, precision, escape):
    """Decode symbols first, first + 1, ... to the end of out, from word `at` on; first is a multiple of 32.

    Returns words used in all (-1: the stream is too short) and how many entries of marks are used.
    """
    slots, shift, mask = np.uint64((1 << precision) - 1), np.uint64(precision), np.uint64(0xFFFF)
    n_words = words.shape[0]
    if n_words == 0:
        return -1, n_marks
    for group in range(first // N_LANES, (out.shape[0] + N_LANES - 1) // N_LANES):
        part = out[group * N_LANES : min(out.shape[0], (group + 1) * N_LANES)]
        last_slot = np.uint64(0)
        for lane in range(part.shape[0]):
            x = np.uint64(states[lane])
            slot = x & slots
            entry = table[slot]
            part[lane] = entry >> np.uint64(32)
            x = (entry & mask) * (x >> shift) + ((entry >> np.uint64(16)) & mask)
            needs = np.uint64(x < np.uint64(LOWER))  # no branch, as above: the word at hand is taken or not
            word = np.uint64(words[np.uint64(min(at, n_words - 1))])
            states[lane] = (x << (needs << np.uint64(4))) | (word & (np.uint64(0) - needs))
            at += np.int64(needs)
            last_slot = max(last_slot, slot)
        if at > n_words:
            return -1, n_marks
        marks[n_marks] = group
        n_marks += np.int64(last_slot >= np.uint64(escape))
    return at, n_marks


@njit(cache=True, nogil=True)
def escape_bits(symbols, freqs, counts):
    """Return the raw bits of all escapes: symbols, freqs (n,), counts by symbol."""
    total = 0
    for i in range(symbols.shape[0]):
        if freqs[i] == 0:
            total += counts[symbols[i]] * class_bits(escape_class(symbols[i]))
    return total


@njit(cache=True, nogil=True)
def write_escapes(symbols, marks, n_marks, freqs, low):
    """Write the raw bits of all escapes, in order, to low uint32, zeroed, which has room; marks: groups, last first."""
    at = 0
    for m in range(n_marks - 1, -1, -1):
        first = np.int64(marks[m]) * N_LANES
        for i in range(first, min(first + N_LANES, symbols.shape[0])):
            value = np.int64(symbols[i])
            if freqs[value] == 0:
                width = class_bits(escape_class(value))
                word = at >> 5
                bits = np.uint64(value & ((1 << width) - 1)) << np.uint64(at & 31)
                low[word] |= np.uint32(bits & np.uint64(0xFFFFFFFF))
                low[word + 1] |= np.uint32(bits >> np.uint64(32))
                at += width


@njit(cache=True, nogil=True)
def read_escapes(out, marks, n_marks, names, low):
    """Replace the class names in out by the escaped values; return the bits used, -1 if low is too short."""
    class_of = np.full(1 << (8 * out.itemsize), np.uint8(255))
    for k in range(N_CLASSES):
        if names[k] >= 0:
            class_of[names[k]] = k
    at = 0
    for m in range(n_marks):
        first = np.int64(marks[m]) * N_LANES
        for i in range(first, min(first + N_LANES, out.shape[0])):
            k = np.int64(class_of[out[i]])
            if k == 255:
                continue
            width = class_bits(k)
            if at + width > 32 * low.shape[0]:
                return -1
            value = k
            if k >= 2:
                raw = np.uint64(0)
                if width:
                    word = at >> 5
                    raw = np.uint64(low[word])
                    if word + 1 < low.shape[0]:
                        raw |= np.uint64(low[word + 1]) << np.uint64(32)
                    raw = (raw >> np.uint64(at & 31)) & np.uint64((1 << width) - 1)
                value = ((2 | (k & 1)) << width) | np.int64(raw)
            out[i] = value
            at += width
    return at
