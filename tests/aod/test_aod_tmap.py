"""ROOT's map of strings: the bytes that O2 writes, there and back, and damage."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.aod.tmap import key_length, pack_map, unpack_map
from o2dask.errors import DataError

GOLDEN = Path(__file__).parent / "metadata_tmap.bin"  # object behind key metaData of a file that O2 wrote
SHARED = Path(__file__).parents[2] / "../shared/data/aod"


def raw_map(path, name):
    import uproot

    with uproot.open(path) as file:
        key = file.key(name)
        chunk, _ = key.get_uncompressed_chunk_cursor()
        return chunk.raw_data.tobytes(), key.fKeylen


@pytest.mark.golden
def test_the_map_that_o2_wrote_is_read_and_written_byte_for_byte():
    raw = GOLDEN.read_bytes()
    if SHARED.exists():
        assert raw_map(SHARED / "AO2D_core_metadata.root", "metaData") == (raw, 58)
    entries = unpack_map(raw, 58, "golden")
    assert entries["DataType"] == "RAW"
    assert entries["Run"] == "3"
    assert entries["LPMProductionTag"] == "LHC23h"
    assert len(entries) == 8
    assert key_length("metaData") == 58
    assert pack_map(entries, 58) == raw


@pytest.mark.golden
def test_the_parents_in_a_real_file_are_written_byte_for_byte(ud_file):
    raw, length = raw_map(ud_file, "parentFiles")
    assert length == key_length("parentFiles") == 61
    parents = unpack_map(raw, length, "real")
    assert len(parents) == 43
    bits = int.from_bytes(raw[12:16], "big")  # of the TObject of the map; merged files set two status bits
    assert pack_map(parents, length, bits) == raw


texts = st.text(max_size=400)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(texts, texts, max_size=5), st.integers(40, 300))
def test_there_and_back_is_identity(entries, length):
    assert unpack_map(pack_map(entries, length), length, "x") == entries


def test_long_strings_take_a_length_of_four_bytes():
    for n in (254, 255, 256):
        assert unpack_map(pack_map({"k": "x" * n}, 58), 58, "x") == {"k": "x" * n}
    assert b"\xff\x00\x00\x00\xff" in pack_map({"k": "x" * 255}, 58)
    assert b"\xff\x00\x00\x00\xfe" not in pack_map({"k": "x" * 254}, 58)


# ROOT 6.40: m = TMap(); v = TObjString("same"); m.Add(TObjString("a"), v); m.Add(TObjString("b"), v);
# m.Write("metaData", TObject.kSingleKey)
ROOT_SAME_VALUE_TWICE = bytes.fromhex(
    "40000071000300010000000000000000000000000240000021ffffffff544f626a537472696e67004000000e000100010000000000000000"
    "01614000001980000055400000110001000100000000000000000473616d6540000016800000554000000e00010001000000000000000001"
    "6200000076"
)


@pytest.mark.golden
def test_a_value_that_root_stored_once_for_two_keys_belongs_to_both():
    assert unpack_map(ROOT_SAME_VALUE_TWICE, 58, "x") == {"a": "same", "b": "same"}
    with pytest.raises(DataError, match="damaged"):
        unpack_map(ROOT_SAME_VALUE_TWICE[:-1] + b"\x77", 58, "x")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 548), st.integers(1, 255), st.booleans())
def test_damage_is_an_error_or_a_map_but_nothing_else(at, flip, is_cut):
    raw = bytearray(GOLDEN.read_bytes())
    raw[at] ^= flip
    content = bytes(raw[:at] if is_cut else raw)
    try:
        assert isinstance(unpack_map(content, 58, "f.root"), dict)
    except DataError as error:
        assert str(error).startswith("f.root: damaged map of strings")
    if is_cut:
        with pytest.raises(DataError, match="damaged"):
            unpack_map(content, 58, "f.root")
