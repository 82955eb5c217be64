"""Contents as bytes and back; what must never be unpickled."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pytest
from root_objects import root_file, root_vector

from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.conditions import Condition, ConditionError, ConditionHeader
from o2dask.conditions.content import ARROW, BYTES, JSON, NPZ
from o2dask.errors import ConfigError

SCHEMA = Schema(
    "TPC/GAIN",
    (
        Column(name="gain", dtype="float32", unit="1", text="relative"),
        Column(name="matrix", dtype="float64", shape=(2, 3)),
        Column(name="pads", dtype="int16", is_jagged=True),
        Column(name="is_dead", dtype="bool"),
    ),
    version=3,
)


class Trap:
    """Remembers that it was unpickled."""

    sprung = False

    def __reduce__(self):
        return spring, ()


def spring():
    Trap.sprung = True
    return Trap()


def condition(payload, kind, **more):
    header = ConditionHeader(
        path="A/B", valid_from=0, valid_until=1, created=0, etag="e", content_type=kind, size=len(payload), **more
    )
    return Condition(header=header, payload=payload, holds=(0, 1), where="here.npz")


def columns():
    return Columns(
        SCHEMA,
        {
            "gain": np.array([1, 2, np.nan], np.float32),
            "matrix": np.arange(18.0).reshape(3, 2, 3),
            "pads": Jagged(np.array([0, 0, 2, 3], np.int32), np.array([5, 6, 7], np.int16)),
            "is_dead": np.array([True, False, True]),
        },
    )


@pytest.mark.parametrize("made", [columns(), SCHEMA.empty(), SCHEMA.empty(5)], ids=["some", "none", "zeros"])
def test_columns_come_back_with_their_schema_and_read_only(store, made):
    header = store.put("TPC/Calib/Gain", made, 0, 10)
    back = store.get("TPC/Calib/Gain", 0).content
    assert header.content_type == ARROW
    assert back.equals(made)
    assert not back["gain"].flags.writeable


def test_an_arrow_table_comes_back_as_one(store):
    table = pa.table({"name": ["a", None], "list": [[1.5], []]})
    store.put("A/B", table, 0, 10)
    assert store.get("A/B", 0).content.equals(table)


@pytest.mark.parametrize("value", [{"field": -5.0, "on": True, "list": [1, {"x": None}]}, [], "text", 0, None, 1.5, {}])
def test_json_comes_back_and_each_caller_has_its_own(store, value):
    assert store.put("A/B", value, 0, 10).content_type == JSON
    found = store.get("A/B", 0)
    assert found.content == value
    if isinstance(value, dict):
        found.content["field"] = 1
        assert found.content == value


def test_arrays_come_back_by_name_and_read_only(store):
    arrays = {"gain": np.linspace(0, 1, 5), "names": np.array(["a", "bc"]), "n": np.array(3)}
    assert store.put("A/B", arrays, 0, 10).content_type == NPZ
    back = store.get("A/B", 0).content
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
        assert not back[name].flags.writeable


def test_bytes_stay_bytes(store):
    assert store.put("A/B", b"\0\1", 0, 10).content_type == BYTES
    assert store.get("A/B", 0).content == b"\0\1"


@pytest.mark.parametrize(
    "content",
    [
        {"a": np.array([Trap()], dtype=object)},
        {1: "x"},
        (1, 2),
        {"a": {1, 2}},
        float("nan"),
        Trap(),
        {"a": np.ones(2), "b": 1},
    ],
    ids=["objects", "number as key", "tuple", "set", "nan", "instance", "arrays and more"],
)
def test_contents_that_would_not_come_back_are_refused(store, content):
    with pytest.raises(ConfigError, match=r"content of a condition|Python objects"):
        store.put("A/B", content, 0, 10)


def hostile():
    objects = np.array([Trap()], dtype=object)
    npz, npy = io.BytesIO(), io.BytesIO()
    np.savez(npz, gain=objects)
    np.save(npy, objects, allow_pickle=True)
    return {
        "npz": npz.getvalue(),
        "npy": npy.getvalue(),
        "pickle": pickle.dumps(Trap()),
        "nothing": b"",
        "cut": b"PK\3\4",
    }


@pytest.mark.parametrize("name", hostile())
@pytest.mark.parametrize("kind", [NPZ, ARROW, JSON])
def test_nothing_is_unpickled_and_what_cannot_be_read_is_named(name, kind):
    with pytest.raises(ConditionError, match=r"A/B.*in here\.npz: cannot be read as"):
        _ = condition(hostile()[name], kind).content
    assert not Trap.sprung


def test_a_schema_that_the_columns_do_not_keep_is_an_error_of_data():
    table = pa.table({"gain": [1.0]}).replace_schema_metadata({"o2dask.columns": '{"name": "x", "version": 0}'})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ConditionError, match="cannot be read as"):
        _ = condition(sink.getvalue(), ARROW).content


def test_a_root_object_is_bytes_until_uproot_is_asked():
    histogram = np.histogram([1.0, 2.0, 2.5], bins=4, range=(0, 4))
    found = condition(root_file(ccdb_object=histogram), BYTES, metadata={"ObjectType": "TH1D"})
    with pytest.raises(ConditionError, match=r"ROOT file \(TH1D\).*as_root"):
        _ = found.content
    np.testing.assert_array_equal(found.as_root().values(), histogram[0])
    assert condition(root_file(other=histogram), BYTES).as_root().values().sum() == 3


def test_a_root_file_without_the_one_object_or_damaged_is_named():
    histogram = np.histogram([1.0])
    with pytest.raises(ConditionError, match="want one object in the ROOT file, got a, b"):
        condition(root_file(a=histogram, b=histogram), BYTES).as_root()
    with pytest.raises(ConditionError, match="uproot cannot read it"):
        condition(root_file(a=histogram)[:100], BYTES).as_root()


@pytest.mark.parametrize("has_header", [True, False])
def test_a_vector_of_numbers_is_read_with_and_without_the_header_of_its_class(has_header):
    found = condition(root_vector([1_700_000_000_123_456, -1], has_header), BYTES)
    np.testing.assert_array_equal(found.as_root(), [1_700_000_000_123_456, -1])
    with pytest.raises(ConditionError, match="want a vector of 2 numbers, got 1"):
        condition(root_vector([1, 2], has_header, n_lost=1), BYTES).as_root()
