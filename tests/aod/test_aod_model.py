"""The data model: what is committed says what the facts say, addresses and trees are one to one, masks work."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.aod.make_model import MODEL_PATH, make_model
from o2dask.aod.model import data_ref, enums, table_for, tables, tree_name, truncate
from o2dask.columns import Columns, Jagged
from o2dask.errors import SpecError
from o2dask.specs import DataRef

FACTS = Path(__file__).parents[2] / "../shared/facts/aod_model.json"
LETTERS = {
    **{"bool": "O", "int8": "B", "uint8": "b", "int16": "S", "uint16": "s", "int32": "I", "uint32": "i"},
    **{"int64": "L", "uint64": "l", "float32": "F", "float64": "D"},
}


@pytest.mark.golden
def test_the_committed_model_is_what_the_facts_make():
    committed = MODEL_PATH.read_text()
    if FACTS.exists():
        made = make_model(json.loads(FACTS.read_text()))
        assert committed == json.dumps(made, separators=(",", ":")) + "\n"
    assert MODEL_PATH.stat().st_size <= 130_000
    assert len(tables()) == 57
    assert sum(len(table.columns) for table in tables().values()) == 454
    assert sum(len(table.dynamic) for table in tables().values()) == 137
    assert sum(len(table.expression) for table in tables().values()) == 74


@pytest.mark.golden
def test_the_columns_of_every_table_spell_the_leaves_of_the_facts(leaves):
    def leaf(column):
        size = f"[{column.name}_size]" if column.is_jagged else "".join(f"[{n}]" for n in column.shape)
        return f"{column.name}{size}/{LETTERS[column.dtype]}"

    assert {tree: [leaf(c.column) for c in table.columns] for tree, table in tables().items()} == leaves


@pytest.mark.golden
def test_the_committed_leaves_are_those_of_the_facts(leaves):
    assert json.loads((Path(__file__).parent / "leaves.json").read_text()) == leaves


@pytest.mark.parametrize(
    ("address", "tree"),
    [
        ("AOD/TRACK_IU/0", "O2track_iu"),
        ("AOD/TRACKEXTRA/1", "O2trackextra_001"),
        ("AOD/COLLISION/1", "O2collision_001"),
        ("AOD/MCCOLLISLABEL/0", "O2mccollisionlabel"),
        ("AOD/V0/2", "O2v0_002"),
        ("AOD/UDTRACK/0", "O2udtrack"),
    ],
)
def test_an_address_and_its_tree_lead_to_each_other(address, tree):
    assert tree_name(DataRef.parse(address)) == tree
    assert data_ref(tree) == DataRef.parse(address)


def test_every_table_is_found_by_its_address():
    for tree, table in tables().items():
        assert table_for(table.ref) is table
        assert data_ref(tree) == table.ref
        assert table.schema.version == table.version


def test_every_target_and_every_partner_is_a_table():
    for table in tables().values():
        assert not table.row_aligned_with or table.row_aligned_with in tables()
        assert all(c.target in tables() for c in table.columns if c.kind)
        assert all(c.column.dtype == "int32" for c in table.columns if c.kind)


def test_a_version_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(SpecError, match=r"AOD/BC/7: .*it has AOD/BC/0, AOD/BC/1"):
        table_for(DataRef("AOD", "BC", 7))
    with pytest.raises(SpecError, match=r"want origin AOD, got TPC"):
        table_for(DataRef("TPC", "TRACKS"))
    with pytest.raises(SpecError, match=r"tree 'bc': want O2"):
        data_ref("bc")


def test_units_are_taken_out_of_the_meanings():
    units = {name: tables()["O2track_iu"][name].column.unit for name in ("fX", "fAlpha", "fSigned1Pt", "fTgl")}
    assert units == {"fX": "cm", "fAlpha": "rad", "fSigned1Pt": "c/GeV", "fTgl": ""}
    assert tables()["O2collision_001"]["fCovXX"].column.unit == "cm2"
    assert tables()["O2collision_001"]["fCollisionTime"].column.unit == "ns"


def test_enumerations_of_flags_are_at_hand():
    assert enums()["track_flags"]["TrackTimeAsym"] == 8


floats = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)


@settings(max_examples=25, deadline=None)
@given(st.lists(floats, min_size=1, max_size=20))
def test_truncation_keeps_the_leading_bits_and_is_done_once(values):
    table = tables()["O2track_iu"]
    columns = table.schema.empty(len(values))
    array = np.array(values, np.float32)
    once = truncate(Columns(table.schema, {**columns, "fSigned1Pt": array, "fY": array}))
    kept_bits = 23 - 10  # 0xFFFFFC00 clears ten of the 23 bits of the mantissa
    assert np.all(np.abs(once["fSigned1Pt"]) <= np.abs(array))
    np.testing.assert_allclose(once["fSigned1Pt"], array, rtol=2.0**-kept_bits, atol=2.0**-126)
    assert np.all(once["fSigned1Pt"].view(np.uint32) & 0x3FF == 0)
    assert np.array_equal(once["fY"], array), "fY is not truncated"
    assert truncate(once).equals(once)


def test_packed_integers_in_the_time_resolution_of_tpc_only_tracks_survive_truncation():
    schema = tables()["O2trackextra_001"].schema
    packed = np.full(2, 0x12345678, np.uint32).view(np.float32)
    flags = np.array([8, 0], np.uint32)  # TrackTimeAsym on the first row only
    cut = truncate(Columns(schema, {**schema.empty(2), "fTrackTimeRes": packed, "fFlags": flags}))
    assert list(cut["fTrackTimeRes"].view(np.uint32)) == [0x12345678, 0x12345600]


def test_variable_columns_are_truncated_in_their_content():
    schema = tables()["O2fv0a"].schema
    amplitude = Jagged(np.array([0, 2, 3], np.int32), np.array([1.2345678, 2.3456789, 3.4567891], np.float32))
    cut = truncate(Columns(schema, {**schema.empty(2), "fAmplitude": amplitude}))["fAmplitude"]
    assert np.array_equal(cut.content.view(np.uint32), amplitude.content.view(np.uint32) & 0xFFFFF000)
    assert np.array_equal(cut.offsets, amplitude.offsets)
