"""One table in one Parquet file: there and back, column projection, bytes that depend on the content only, damage."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.aod.model import tables
from o2dask.aod.parquet import DTYPES, ROWS_PER_GROUP, n_rows, read_schema, read_table, write_table
from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.errors import DataError, ShapeError


@st.composite
def schemas(draw):
    name = st.from_regex(r"f[A-Z][A-Za-z0-9_]{0,8}", fullmatch=True)
    names = draw(st.lists(name, min_size=1, max_size=5, unique=True))
    columns = []
    for name in names:
        kind = draw(st.sampled_from(["scalar", "fixed", "jagged"]))
        shape = (draw(st.integers(1, 4)),) if kind == "fixed" else ()
        dtype = draw(st.sampled_from(sorted(DTYPES)))
        columns.append(Column(name=name, dtype=dtype, shape=shape, is_jagged=kind == "jagged", unit="cm", text="x é"))
    return Schema("AOD/THING", tuple(columns), draw(st.integers(0, 3)))


@settings(max_examples=40, deadline=None)
@given(schemas(), st.integers(0, 40), st.integers(0, 1000))
def test_there_and_back_is_identity(tmp_path_factory, make_table, schema, n, seed):
    table = make_table(schema, n, seed)
    path = tmp_path_factory.mktemp("t") / "x.parquet"
    write_table(path, table)
    assert read_table(path).equals(table)
    assert read_schema(path) == schema
    assert n_rows(path) == n


@pytest.mark.parametrize("tree", sorted(tables()))
def test_every_table_of_the_model_comes_back_with_units_and_texts(tmp_path, make_table, tree):
    table = make_table(tables()[tree].schema, 5)
    write_table(tmp_path / "x.parquet", table)
    assert read_table(tmp_path / "x.parquet").equals(table)


def test_nan_infinity_and_signed_zero_keep_their_bits(tmp_path):
    schema = Schema("AOD/X", (Column(name="fX", dtype="float32"),))
    bits = np.array([0x7FC00001, 0x7F800000, 0xFF800000, 0x80000000, 1], np.uint32)
    write_table(tmp_path / "x.parquet", Columns(schema, {"fX": bits.view(np.float32)}))
    assert np.array_equal(read_table(tmp_path / "x.parquet")["fX"].view(np.uint32), bits)


def test_more_rows_than_a_row_group_come_back_in_order(tmp_path):
    schema = Schema("AOD/X", (Column(name="fI", dtype="int64"), Column(name="fJ", dtype="uint8", is_jagged=True)))
    n = 2 * ROWS_PER_GROUP + 5
    jagged = Jagged(np.arange(n + 1, dtype=np.int32), (np.arange(n) % 251).astype(np.uint8))
    table = Columns(schema, {"fI": np.arange(n), "fJ": jagged})
    write_table(tmp_path / "x.parquet", table)
    assert pq.ParquetFile(tmp_path / "x.parquet").num_row_groups == 3
    assert read_table(tmp_path / "x.parquet").equals(table)


def test_only_the_asked_columns_are_read_in_the_asked_order(tmp_path, make_table):
    table = make_table(tables()["O2zdc_001"].schema, 20)
    write_table(tmp_path / "x.parquet", table)
    some = read_table(tmp_path / "x.parquet", ["fTime", "fIndexBCs"])
    assert some.schema.names == ("fTime", "fIndexBCs")
    assert np.array_equal(some["fTime"].content, table["fTime"].content)
    with pytest.raises(KeyError, match="no column 'fNope'"):
        read_table(tmp_path / "x.parquet", ["fNope"])


def test_other_columns_may_be_damaged_when_they_are_not_asked_for(tmp_path, make_table):
    path = tmp_path / "x.parquet"
    write_table(path, make_table(tables()["O2track_iu"].schema, 1000))
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(5)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 0x40
    path.write_bytes(content)
    assert read_table(path, ["fX", "fAlpha"]).n_rows == 1000
    with pytest.raises(DataError, match=r"x\.parquet: damaged"):
        read_table(path)


def test_any_other_reader_sees_plain_columns_and_the_metadata(tmp_path, make_table):
    table = make_table(tables()["O2mcparticle_001"].schema, 4)
    write_table(tmp_path / "x.parquet", table)
    arrow = pq.read_table(tmp_path / "x.parquet")
    assert not [f for f in arrow.schema if isinstance(f.type, pa.BaseExtensionType)]
    assert arrow.schema.metadata[b"schema"] == b"AOD/MCPARTICLE"
    assert arrow.schema.metadata[b"version"] == b"1"
    assert arrow.schema.field("fPx").metadata[b"unit"] == b"GeV/c"
    assert arrow["fPx"].to_pylist() == table["fPx"].tolist()


def test_the_same_table_gives_the_same_bytes(tmp_path, make_table):
    for name in "ab":
        write_table(tmp_path / name, make_table(tables()["O2ft0"].schema, 100))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "damaged, or not a Parquet file"), (b"PAR1" + bytes(100), "damaged"), (b"root" * 100, "magic bytes")],
    ids=["empty", "truncated", "alien"],
)
def test_a_file_that_is_no_table_is_an_error_of_one_line_that_names_it(tmp_path, content, message):
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.parquet: .*{message}") as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(DataError, match=r"nowhere\.parquet: no such file"):
        read_table("nowhere.parquet")


def test_columns_that_no_aod_table_has_are_refused_on_reading(tmp_path):
    pq.write_table(pa.table({"fName": ["a", "b"]}), tmp_path / "text.parquet")
    with pytest.raises(DataError, match=r"column 'fName' is string"):
        read_table(tmp_path / "text.parquet")
    pq.write_table(pa.table({"fX": pa.array([1, None], pa.int32())}), tmp_path / "null.parquet")
    with pytest.raises(DataError, match=r"column 'fX' has missing values"):
        read_table(tmp_path / "null.parquet")


@pytest.mark.parametrize(
    "column",
    [Column(name="fC", dtype="complex64"), Column(name="fM", dtype="float32", shape=(2, 3))],
    ids=["complex", "matrix"],
)
def test_columns_that_no_aod_table_has_are_refused_on_writing(tmp_path, column):
    with pytest.raises(ShapeError, match=rf"AOD/X\.{column.name}: AOD columns are"):
        write_table(tmp_path / "x.parquet", Schema("AOD/X", (column,)).empty(1))
    assert not list(tmp_path.iterdir())


def test_texts_survive_as_json_safe_utf8(tmp_path):
    schema = Schema("AOD/X", (Column(name="fX", dtype="int8", unit="µs", text="Δt ≥ 0"),))
    write_table(tmp_path / "x.parquet", schema.empty(1))
    column = read_schema(tmp_path / "x.parquet")["fX"]
    assert json.dumps([column.unit, column.text]) == json.dumps(["µs", "Δt ≥ 0"])
