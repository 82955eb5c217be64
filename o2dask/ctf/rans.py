"""Symbols of 8 or 16 bits as an entropy-coded payload, and back: histogram, model, dictionary, code.

The payload: 32 states, the words, the raw bits of escapes, the deflated dictionary. The vector path is taken where the
processor has it, the plain one elsewhere or on request; both write the same bytes.
"""

import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from o2dask.ctf import rans_kernels as plain
from o2dask.ctf import rans_model
from o2dask.ctf.bits_kernels import words_for
from o2dask.ctf.errors import CtfError
from o2dask.ctf.rans_vector import decode_groups, encode_groups, has_vectors

__all__ = [
    "Counts",
    "Model",
    "build_model",
    "count_symbols",
    "decode_symbols",
    "encode_symbols",
    "model_of_counts",
    "without_low_bits",
]

_N_STATES = 4 * plain.N_LANES
_GROUP = plain.N_LANES
_DICTIONARY_LEVEL = 6


class Counts(NamedTuple):
    """How often symbols occur: `symbols`, `counts` (n,) int64, ascending, and `dense` (n_alphabet,) uint32."""

    symbols: np.ndarray
    counts: np.ndarray
    dense: np.ndarray


@dataclass(frozen=True, slots=True)
class Model:
    """What a block is coded with.

    symbols, freqs: (n,) int64, what occurs and its slots (0: it escapes); classes: (32,) int64, slots of the escape
    classes; counts: (n_alphabet,) uint32, how often each symbol occurs; bits: expected size.
    """

    symbols: np.ndarray
    freqs: np.ndarray
    classes: np.ndarray
    counts: np.ndarray
    precision: int
    bits: float


def build_model(symbols: np.ndarray) -> Model | None:
    """Return the model of symbols (n,) uint8 or uint16; None where one symbol is all there is."""
    return model_of_counts(count_symbols(symbols))


def count_symbols(symbols: np.ndarray) -> Counts:
    """Return how often each symbol occurs."""
    tables = np.zeros((4, int(symbols.max(initial=0)) + 1), np.uint32)
    plain.histogram(symbols, tables)
    return _counts(tables)


def _counts(tables: np.ndarray) -> Counts:
    n_alphabet = tables.shape[1]
    found, counts, total = (np.empty(n_alphabet, t) for t in (np.int64, np.int64, np.uint32))
    n = rans_model.compact(tables, found, counts, total)
    return Counts(found[:n], counts[:n], total)


def without_low_bits(counts: Counts, shift: int) -> Counts:
    """Return the counts of the same symbols without their `shift` low bits."""
    n = len(counts.dense) - 1 >> shift
    padded = np.zeros(n + 1 << shift, np.uint32)
    padded[: len(counts.dense)] = counts.dense
    tables = np.zeros((4, n + 1), np.uint32)
    tables[0] = padded.reshape(-1, 1 << shift).sum(axis=1)
    return _counts(tables)


def model_of_counts(counts: Counts) -> Model | None:
    """Return the best model for counted symbols; None where one symbol is all there is."""
    n = len(counts.symbols)
    if n < 2:
        return None
    freqs, classes = np.empty(n, np.int64), np.zeros(plain.N_CLASSES, np.int64)
    precision, bits = rans_model.choose_model(counts.symbols, counts.counts, freqs, classes)
    return Model(counts.symbols, freqs, classes, counts.dense, precision, bits)


def encode_symbols(
    symbols: np.ndarray, model: Model, use_vectors: bool | None = None
) -> tuple[dict[str, Any], list[bytes]]:
    """Return parameters and the parts of the payload of symbols (n,) uint8 or uint16, C-contiguous.

    `use_vectors` forces the vector path (True) or the plain one (False).
    """
    dense = np.zeros(len(model.counts), np.int64)
    dense[model.symbols] = model.freqs
    table = np.zeros(len(dense), np.uint64)
    escape = plain.fill_encode_table(dense, model.classes, model.counts, table)
    states = np.full(_GROUP, plain.LOWER, np.uint32)
    marks = np.empty(len(symbols) // _GROUP + 2, np.uint32)
    n_room = int(model.bits / 16 * 1.01) + 4096
    vectors = has_vectors() if use_vectors is None else use_vectors
    words, n_words, n_marks = _encode(table, symbols, n_room, states, marks, (model.precision, escape), vectors)
    if n_words < 0:  # the estimate was short: every symbol writes one word at most
        states[:] = plain.LOWER
        words, n_words, n_marks = _encode(
            table, symbols, len(symbols) + 4096, states, marks, (model.precision, escape), vectors
        )
    n_bits = plain.escape_bits(model.symbols, model.freqs, model.counts)
    low = np.zeros(words_for(n_bits) if n_bits else 0, np.uint32)
    if n_bits:
        plain.write_escapes(symbols, marks, n_marks, dense, low)
    dictionary = _write_dictionary(model)
    pad = b"\0\0" if n_words % 2 else b""
    parameters = {"precision": model.precision, "words": n_words, "low": len(low), "dictionary": len(dictionary)}
    parts = [states.tobytes(), words[len(words) - n_words :].tobytes(), pad, low.tobytes(), dictionary]
    return parameters, parts


def _encode(
    table: np.ndarray,
    symbols: np.ndarray,
    n_room: int,
    states: np.ndarray,
    marks: np.ndarray,
    scale: tuple[int, int],
    vectors: bool,
) -> tuple[np.ndarray, int, int]:
    """Return the array that holds the words at its end, their number (-1: no room), and the number of marks."""
    words = np.empty(n_room, np.uint16)
    n_left, n_words, n_marks = len(symbols), 0, 0
    if vectors:
        n_whole = n_left // _GROUP
        rest = symbols[n_whole * _GROUP :]
        n_words, n_marks = plain.encode_plain(table, rest, len(rest), words, 0, states, marks, 0, *scale)
        marks[:n_marks] = n_whole
        left, n_words, more = encode_groups(table, symbols, n_whole, words, n_words, states, marks[n_marks:], *scale)
        n_left, n_marks = left * _GROUP, n_marks + more
    if n_left and n_words >= 0:
        n_words, n_marks = plain.encode_plain(table, symbols, n_left, words, n_words, states, marks, n_marks, *scale)
    return words, n_words, n_marks


def decode_symbols(parameters: dict[str, Any], payload: Any, out: np.ndarray, use_vectors: bool | None = None) -> None:
    """Fill out (n,) uint8 or uint16 with the symbols of a payload.

    Raises
    ------
    CtfError
        If the payload is not one of these parameters and this length; nothing is read or written out of bounds.
    """
    precision, n_words, n_low, n_dictionary = (
        int(parameters[key]) for key in ("precision", "words", "low", "dictionary")
    )
    n_before = _N_STATES + 2 * (n_words + n_words % 2)
    raw = np.frombuffer(payload, np.uint8)
    if precision not in rans_model.PRECISIONS or min(n_words, n_low, n_dictionary) < 0:
        raise CtfError(f"rans: impossible parameters {parameters}")
    if len(raw) != n_before + 4 * n_low + n_dictionary:
        raise CtfError(f"rans: want {n_before + 4 * n_low + n_dictionary} bytes, got {len(raw)}")
    if raw.ctypes.data % 4:
        raw = raw.copy()
    table = np.empty(1 << precision, np.uint64)
    escape, names = _read_dictionary(raw[n_before + 4 * n_low :], out.dtype, table)
    states = raw[:_N_STATES].view(np.uint32).copy()
    words = raw[_N_STATES : len(raw) - len(raw) % 2].view(np.uint16)  # and what follows: room to look ahead
    marks = np.empty(len(out) // _GROUP + 2, np.uint32)
    done = at = n_marks = 0
    if has_vectors() if use_vectors is None else use_vectors:
        done, at, n_marks = decode_groups(table, words, out, states, marks, precision, escape)
    at, n_marks = plain.decode_plain(table, words, at, out, done * _GROUP, states, marks, n_marks, precision, escape)
    if at != n_words or (states != plain.LOWER).any():
        raise CtfError("rans: the stream does not end where it began")
    low = raw[n_before : n_before + 4 * n_low].view(np.uint32)
    if n_marks and plain.read_escapes(out, marks, n_marks, names, low) < 0:
        raise CtfError("rans: the raw bits end too early")


def _write_dictionary(model: Model) -> bytes:
    text = np.empty(8 * len(model.symbols) + 256, np.uint8)
    n = rans_model.write_dictionary(model.symbols, model.freqs, model.classes, text)
    return zlib.compress(text[:n].tobytes(), _DICTIONARY_LEVEL)


def _read_dictionary(text: np.ndarray, dtype: np.dtype, table: np.ndarray) -> tuple[int, np.ndarray]:
    """Fill the decoding table; return the first slot of the classes and the names of these (-1: not used)."""
    n_alphabet = 1 << (8 * dtype.itemsize)
    inflater = zlib.decompressobj()
    try:
        plain_text = inflater.decompress(text.tobytes(), 8 * n_alphabet + 256)
    except zlib.error as error:
        raise CtfError(f"rans: the dictionary cannot be inflated: {error}") from error
    symbols, freqs = np.empty(n_alphabet, np.int64), np.empty(n_alphabet, np.int64)
    classes = np.zeros(plain.N_CLASSES, np.int64)
    n = rans_model.parse_dictionary(np.frombuffer(plain_text, np.uint8), n_alphabet, symbols, freqs, classes)
    names = _class_names(symbols[: max(n, 0)], classes, n_alphabet)
    escape = -1
    if n >= 0 and names is not None:
        escape = plain.fill_decode_table(symbols[:n], freqs[:n], classes, names, table)
    if escape < 0 or names is None:
        raise CtfError("rans: the dictionary is damaged")
    return escape, names


def _class_names(symbols: np.ndarray, classes: np.ndarray, n_alphabet: int) -> np.ndarray | None:
    """Return for each class in use a value that is not in the dictionary, (32,) int64, -1 for the others.

    There always is one: the values that escape are not in the dictionary, and no class is without one. None if not.
    """
    names = np.full(plain.N_CLASSES, -1, np.int64)
    used = np.flatnonzero(classes)
    if used.size:
        is_free = np.ones(n_alphabet, bool)
        is_free[symbols] = False
        free = np.flatnonzero(is_free)[: used.size]
        if free.size < used.size:
            return None
        names[used] = free
    return names
