"""The entropy coder: decode(encode(x)) == x, vector loops equal plain ones byte by byte, damage is a CtfError."""

import json
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.ctf import (
    CtfError,
    bits_kernels,
    blocks,
    checksum,
    fold,
    fold_narrow,
    integers,
    rans,
    rans_kernels,
    rans_model,
    rans_vector,
)

RNG = np.random.default_rng(11)

STREAMS = {
    "skewed u8": (RNG.random(50_003) < 0.02).astype(np.uint8) * 7,
    "gauss u8": np.clip(RNG.normal(100, 20, 65_536), 0, 255).astype(np.uint8),
    "all of u8": np.minimum(RNG.integers(0, 300, 20_000), 255).astype(np.uint8),
    "exponential u16 with a tail": np.minimum(RNG.exponential(300, 70_001) ** 1.2, 65_535).astype(np.uint16),
    "scattered ids": RNG.permutation(65_536)[np.minimum(RNG.zipf(1.4, 60_000), 65_535)].astype(np.uint16),
    "fewer than a group": np.array([1, 5, 5, 9, 1], np.uint16),
    "one group": np.arange(32, dtype=np.uint8) % 3,
    "two symbols at the ends": np.array([0, 65_535] * 500 + [0] * 40_000, np.uint16),
}


def coded(symbols, use_vectors):
    parameters, parts = rans.encode_symbols(symbols, rans.build_model(symbols), use_vectors)
    return parameters, b"".join(parts)


def decoded(parameters, payload, symbols, use_vectors):
    out = np.empty_like(symbols)
    rans.decode_symbols(parameters, payload, out, use_vectors)
    return out


@pytest.mark.parametrize("name", STREAMS)
def test_plain_loops_decode_what_they_encode(name):
    symbols = STREAMS[name]
    assert np.array_equal(decoded(*coded(symbols, False), symbols, False), symbols)


@pytest.mark.parametrize("name", STREAMS)
def test_vector_loops_and_plain_loops_give_the_same_bytes(name):
    symbols = STREAMS[name]
    if not rans_vector.has_vectors():  # then the plain loops are all there is, and the test above holds them
        assert rans.encode_symbols(symbols, rans.build_model(symbols)) == rans.encode_symbols(
            symbols, rans.build_model(symbols), False
        )
        return
    plain = coded(symbols, False)
    assert coded(symbols, True) == plain
    assert np.array_equal(decoded(*plain, symbols, True), symbols)


def test_the_payload_ends_in_the_states_that_encoding_began_with():
    symbols = STREAMS["gauss u8"]
    parameters, payload = coded(symbols, False)
    states = np.frombuffer(payload, np.uint32, 32)
    assert (states >= 1 << 16).all()
    assert (
        len(payload)
        == 128
        + 2 * (parameters["words"] + parameters["words"] % 2)
        + 4 * parameters["low"]
        + (parameters["dictionary"])
    )


def test_size_is_within_the_target_of_entropy():
    rng = np.random.default_rng(5)
    n = 1 << 20
    for symbols in (
        np.clip(rng.normal(60, 12, n), 0, 255).astype(np.uint8),
        np.abs(rng.laplace(0, 30, n)).astype(np.uint16),
        rng.geometric(1 / 600, n).astype(np.uint32),
    ):
        _, counts = np.unique(symbols, return_counts=True)
        entropy = -(counts * np.log2(counts / n)).sum() / 8
        block = blocks.encode_block(symbols)
        assert block.cost < 1.0015 * entropy
        assert np.array_equal(blocks.decode_block(block, symbols.dtype), symbols)


@given(st.integers(0, 100_000), st.integers(0, 64), st.sampled_from([0, 1, 0xFFFFFFFF, 0x12345678]))
@settings(max_examples=40, deadline=None)
def test_the_checksum_is_that_of_zlib(n, skipped, before):
    data = np.random.default_rng(n).bytes(n + skipped)
    assert checksum.crc32(memoryview(data)[skipped:], before) == zlib.crc32(data[skipped:], before)


# ---- the model


@given(st.lists(st.integers(0, 3000), min_size=2, max_size=400), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_frequencies_fill_the_slots_and_every_symbol_can_be_coded(counts, seed):
    counts = np.array(counts, np.int64)
    symbols = np.sort(np.random.default_rng(seed).choice(65_536, len(counts), replace=False))
    symbols, counts = symbols[counts > 0], counts[counts > 0]
    if len(symbols) < 2:
        return
    freqs, classes = np.zeros(len(symbols), np.int64), np.zeros(32, np.int64)
    precision, size = rans_model.choose_model(symbols, counts, freqs, classes)
    assert freqs.sum() + classes.sum() == 1 << precision and size > 0
    assert (freqs >= 0).all() and max(freqs.max(), classes.max()) < 1 << 16
    for symbol in symbols[freqs == 0]:
        assert classes[rans_kernels.escape_class(symbol)] > 0
    text = np.zeros(8 * len(symbols) + 256, np.uint8)
    n = rans_model.write_dictionary(symbols, freqs, classes, text)
    back, back_freqs, back_classes = (np.zeros(k, np.int64) for k in (65_536, 65_536, 32))
    n_back = rans_model.parse_dictionary(text[:n], 65_536, back, back_freqs, back_classes)
    kept = freqs > 0
    assert np.array_equal(back[:n_back], symbols[kept]) and np.array_equal(back_freqs[:n_back], freqs[kept])
    assert np.array_equal(back_classes, classes)
    assert rans_model.parse_dictionary(text[: n - 1], 65_536, back, back_freqs, back_classes) == -1


def test_classes_and_raw_bits_give_every_value_back():
    for value in [*range(70), 255, 256, 32_767, 65_535]:
        k = rans_kernels.escape_class(value)
        width = rans_kernels.class_bits(k)
        assert value == (((2 | (k & 1)) << width) | (value & ((1 << width) - 1)) if k >= 2 else k)


# ---- integers of any width


def made_integers(kind, width, shape, n, seed):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(kind)
    width = min(width, 8 * dtype.itemsize)
    values = rng.integers(0, 1 << 64, n, dtype=np.uint64) >> np.uint64(64 - width)
    if shape == "decades":
        values >>= rng.integers(0, width, n).astype(np.uint64)
    elif shape == "sorted":
        values.sort()
    elif shape == "negative":
        values = np.uint64(0) - values
    elif shape == "both signs":
        values[::2] = np.uint64(0) - values[::2]
    return values.astype(dtype)


@given(
    st.sampled_from(["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"]),
    st.integers(1, 64),
    st.sampled_from(["flat", "decades", "sorted", "negative", "both signs"]),
    st.integers(1, 6000),
    st.integers(0, 100),
)
@settings(max_examples=150, deadline=None)
def test_integers_of_any_width_sign_and_shape_come_back(kind, width, shape, n, seed):
    values = made_integers(kind, width, shape, n, seed)
    codec, parameters, parts = integers.encode_integers(values)
    parameters = json.loads(json.dumps(parameters))
    back = integers.decode_integers(codec, parameters, b"".join(parts), np.empty_like(values))
    assert np.array_equal(back, values)


@pytest.mark.parametrize("widest", [1, 6, 7, 20, 24, 25, 40, 63, 64])
def test_folded_values_come_back_and_both_loops_give_the_same_bytes(widest):
    rng = np.random.default_rng(widest)
    values = rng.integers(0, 1 << 64, 5003, dtype=np.uint64) >> np.uint64(64 - widest)
    values[::3] >>= rng.integers(0, widest, len(values[::3])).astype(np.uint64)
    values[-1] = (1 << widest) - 1
    n_raw = max(widest - fold.SIGNIFICANT, 0)
    made = []
    for function, kind in ((fold.fold_values, np.uint64), (fold_narrow.fold_narrow, np.uint32)):
        if kind == np.uint32 and widest > fold_narrow.NARROW_BITS:
            continue
        symbols, low = np.empty(len(values), np.uint16), np.zeros(fold.room_for(n_raw * len(values)), np.uint8)
        n_bits = function(values.astype(kind), n_raw, symbols, low)
        assert symbols.max() < fold.n_folded(int(values.max()))
        made.append((n_bits, symbols.tobytes(), low[: (n_bits + 7) // 8].tobytes()))
        out = np.empty(len(values), kind)
        unfold = fold.unfold_values if kind == np.uint64 else fold_narrow.unfold_narrow
        assert unfold(symbols, n_bits, low, out) and np.array_equal(out, values)
        assert not unfold(symbols, n_bits - 1, low, out)
    assert len(set(made)) == 1


@given(st.integers(1, 64), st.integers(0, 200), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_bitpacked_values_come_back(width, n, seed):
    values = np.random.default_rng(seed).integers(0, 1 << 64, n, dtype=np.uint64) >> np.uint64(64 - width)
    words = np.zeros(bits_kernels.words_for(n * width), np.uint32)
    bits_kernels.pack_fixed(values, width, words)
    out = np.empty_like(values)
    bits_kernels.unpack_fixed(words, width, out)
    assert np.array_equal(out, values)


@pytest.mark.parametrize(
    "codec, values",
    {
        "empty": np.zeros(0, np.int32),
        "constant": np.full(1000, -5, np.int64),
        "bitpack": RNG.integers(0, 4096, 100_000).astype(np.uint32),
        "rans": RNG.exponential(20, 100_000).astype(np.int32),
        "split": RNG.triangular(0, 0, 12_000, 100_000).astype(np.uint16),
        "fold": np.exp(RNG.uniform(0, 20, 100_000)).astype(np.int64),
        "stored": RNG.integers(0, 256, 5000).astype(np.uint8),
        "planes": RNG.normal(size=5000).astype(np.float32),
        "zstd": np.repeat(RNG.normal(size=50), 1000),
    }.items(),
)
def test_each_kind_of_column_gets_the_codec_made_for_it(codec, values):
    block = blocks.encode_block(values)
    assert block.codec == codec and block.count == len(values)
    back = blocks.decode_block(block, values.dtype)
    assert back.dtype == values.dtype and back.tobytes() == values.tobytes()


def test_sorted_columns_are_coded_by_their_differences():
    values = np.sort(RNG.integers(0, 1 << 40, 50_000))
    block = blocks.encode_block(values)
    assert block.params["map"]["delta"] == values[0] and len(block.data) < 0.7 * 5 * len(values)


@given(st.lists(st.floats(width=32), max_size=300))
@settings(max_examples=60, deadline=None)
def test_floats_come_back_bit_by_bit(values):
    array = np.array(values, np.float32)
    back = blocks.decode_block(blocks.encode_block(array), array.dtype)
    assert back.tobytes() == array.tobytes()


# ---- damage that no checksum stands before


@pytest.mark.parametrize("use_vectors", [False, None], ids=["plain", "best"])
def test_random_damage_of_a_payload_is_an_error_or_other_symbols_but_never_a_crash(use_vectors):
    symbols = STREAMS["exponential u16 with a tail"]
    parameters, payload = coded(symbols, None)
    rng = np.random.default_rng(3)
    n_errors = 0
    for _ in range(200):
        broken = bytearray(payload)
        for at in rng.integers(0, len(broken), rng.integers(1, 5)):
            broken[at] ^= 1 << int(rng.integers(0, 8))
        changed = dict(parameters)
        if rng.random() < 0.3:
            key = list(changed)[int(rng.integers(0, 4))]
            changed[key] = int(changed[key]) + int(rng.integers(-3, 4))
        try:
            decoded(changed, bytes(broken), symbols, use_vectors)
        except CtfError:
            n_errors += 1
    assert n_errors > 180


def test_each_codec_refuses_payloads_that_are_too_short():
    for values in (
        RNG.integers(0, 4096, 10_000).astype(np.uint32),
        RNG.exponential(20, 10_000).astype(np.int32),
        RNG.triangular(0, 0, 12_000, 100_000).astype(np.uint16),
        np.exp(RNG.uniform(0, 20, 10_000)).astype(np.int64),
        RNG.normal(size=5000).astype(np.float32),
    ):
        block = blocks.encode_block(values)
        for n in (0, 8, len(block.data) // 2, len(block.data) - 1):
            short = blocks.Block(block.codec, block.count, block.data[:n], block.params)
            with pytest.raises(CtfError):
                blocks.decode_block(short, values.dtype)


def test_unknown_codecs_and_impossible_counts_are_refused():
    with pytest.raises(CtfError, match="unknown codec 'lz5'; this version knows empty, constant"):
        blocks.decode_block(blocks.Block("lz5", 1, b"x"), np.dtype("u1"))
    with pytest.raises(CtfError, match="want a count of 0 to 2097152, got 2097153"):
        blocks.decode_block(blocks.Block("constant", (1 << 21) + 1, params={"value": "00"}), np.dtype("u1"))
    with pytest.raises(CtfError, match="codec rans: 'precision'"):
        blocks.decode_block(blocks.Block("rans", 1, b"", {"symbols": "uint8"}), np.dtype("u1"))


def test_a_dictionary_that_does_not_fill_its_slots_is_refused():
    symbols = STREAMS["one group"]
    parameters, payload = coded(symbols, None)
    text = zlib.compress(bytes([1, 0, 5, 0]))
    start = len(payload) - parameters["dictionary"]
    with pytest.raises(CtfError, match="the dictionary is damaged"):
        decoded(parameters | {"dictionary": len(text)}, payload[:start] + text, symbols, None)
