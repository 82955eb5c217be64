"""Columns: what is promised is checked, what is stored comes back."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.errors import ShapeError, SpecError

HITS = Schema(
    "TST/HITS",
    (
        Column(name="time", dtype="uint32", unit="ns", text="when"),
        Column(name="cov", dtype="float32", shape=(3,)),
        Column(name="mothers", dtype="int32", is_jagged=True),
    ),
)


def hits(n: int, seed: int = 0) -> Columns:
    rng = np.random.default_rng(seed)
    offsets = np.zeros(n + 1, np.int32)
    np.cumsum(rng.integers(0, 3, n), out=offsets[1:])
    return Columns(
        HITS,
        {
            "time": rng.integers(0, 1 << 32, n, dtype=np.uint32),
            "cov": rng.random((n, 3), np.float32),
            "mothers": Jagged(offsets, rng.integers(-1, 99, offsets[-1]).astype(np.int32)),
        },
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 50), st.integers(0, 9))
def test_arrow_there_and_back_is_identity(n, seed):
    columns = hits(n, seed)
    assert Columns.from_arrow(HITS, columns.to_arrow()).equals(columns)


def test_scalar_columns_reach_arrow_without_a_copy():
    columns = hits(1000)
    buffer = columns.to_arrow().column("time").chunk(0).buffers()[1]
    assert buffer.address == columns["time"].ctypes.data


def test_units_and_texts_go_into_the_arrow_schema():
    field = hits(1).to_arrow().schema.field("time")
    assert field.metadata == {b"unit": b"ns", b"text": b"when"}


def test_pickling_leaves_the_bytes_out_of_band():
    columns = hits(100_000)
    buffers = []
    head = pickle.dumps(columns, protocol=5, buffer_callback=buffers.append)
    assert len(head) < 4096
    assert pickle.loads(head, buffers=buffers).equals(columns)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("time", np.zeros(2, np.int64), "TST/HITS.time: want uint32"),
        ("cov", np.zeros((2, 4), np.float32), "TST/HITS.cov: want float32"),
        ("mothers", np.zeros(2, np.int32), "TST/HITS.mothers: want Jagged"),
        ("mothers", Jagged(np.array([0, 1, 3], np.int32), np.zeros(2, np.int32)), "do not span"),
        ("time", np.zeros(3, np.uint32), "want columns of one length"),
        ("extra", np.zeros(2), "not in the schema: extra"),
    ],
)
def test_an_array_that_breaks_the_promise_is_named(name, value, message):
    arrays = dict(hits(2)) | {name: value}
    with pytest.raises(ShapeError, match=message):
        Columns(HITS, arrays)


def test_a_missing_column_is_named():
    arrays = dict(hits(2))
    del arrays["cov"]
    with pytest.raises(ShapeError, match=r"TST/HITS\.cov: missing"):
        Columns(HITS, arrays)


def test_frozen_columns_cannot_be_written():
    columns = hits(3).freeze()
    with pytest.raises(ValueError, match="read-only"):
        columns["time"][0] = 1


def test_bits_decide_equality():
    left, right = hits(5), hits(5)
    assert left.equals(right)
    right["cov"][0, 0] = np.nan
    assert not left.equals(right)


@pytest.mark.parametrize("dtype", ["f4", "object", "float"])
def test_a_column_wants_a_plain_dtype_name(dtype):
    with pytest.raises(SpecError, match="dtype of column 'a'"):
        Column(name="a", dtype=dtype)


def test_an_undeclared_payload_gets_the_schema_of_its_arrays():
    schema = Schema.infer("TST/NUM", {"value": np.zeros((4, 2), np.int16)})
    assert schema["value"].dtype == "int16"
    assert schema["value"].shape == (2,)
