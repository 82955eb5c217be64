"""O2's headers, byte by byte against AliceO2's DataHeader.h, DataProcessingHeader.h and SourceInfoHeader.h."""

import struct
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.dataspecs import DataRef
from o2dask.errors import DataError, SpecError
from o2dask.stream.headers import (
    ARROW,
    COMPLETED,
    DATA_HEADER,
    DATA_PROCESSING_HEADER,
    DataHeader,
    DataProcessingHeader,
    OtherHeader,
    SourceInfoHeader,
    TimeframeLength,
    pack_stack,
    unpack_stack,
)

DATA = DataHeader(
    ref=DataRef("TPC", "CLUSTERNATIVE", 0x00010203),
    payload_size=0x1122334455667788,
    serialization=ARROW,
    split_index=1,
    split_parts=3,
    first_orbit=0xA0B0C0D0,
    tf_counter=7,
    run=505673,
)
WHEN = DataProcessingHeader(start_time=7, duration=1, creation=1_700_000_000_123)

# Written down field by field from the C++ structs (natural alignment, little-endian), not by the code under test.
GOLDEN_DATA = bytes.fromhex(
    "4f324f32"  # "O2O2"
    "60000000"  # size 96
    "01000000"  # flags: another header follows
    "03000000"  # version
    "4461746148656164"  # "DataHead"
    "4e4f4e4500000000"  # serialised as "NONE"
    "434c55535445524e4154495645000000"  # "CLUSTERNATIVE"
    "54504300"  # "TPC"
    "03000000"  # split payload parts
    "4152524f57000000"  # "ARROW"
    "03020100"  # subspecification
    "01000000"  # split payload index
    "8877665544332211"  # payload size
    "d0c0b0a0"  # first orbit
    "07000000"  # timeframe counter
    "49b70700"  # run 505673
    "00000000"  # padding to the alignment of uint64
)
GOLDEN_WHEN = bytes.fromhex(
    "4f324f32"
    "38000000"  # size 56
    "00000000"  # the last header
    "01000000"
    "44617461466c6f77"  # "DataFlow"
    "4e4f4e4500000000"
    "0700000000000000"  # start time
    "0100000000000000"  # duration
    "7b68e5cf8b010000"  # creation
)


def test_a_stack_has_the_bytes_of_o2():
    assert pack_stack(DATA, WHEN) == GOLDEN_DATA + GOLDEN_WHEN


def test_the_bytes_of_o2_are_read():
    stack = unpack_stack(GOLDEN_DATA + GOLDEN_WHEN)
    assert stack.headers == (DATA, WHEN)
    assert stack.get(DataProcessingHeader) == WHEN
    assert stack.get(SourceInfoHeader) is None


def test_the_dtypes_read_the_same_fields():
    record = np.frombuffer(GOLDEN_DATA, DATA_HEADER)[0]
    assert (record["data_origin"], record["run_number"], record["payload_size"]) == (b"TPC", 505673, DATA.payload_size)
    offsets = {name: DATA_HEADER.fields[name][1] for name in ("data_description", "sub_specification", "payload_size")}
    assert offsets == {"data_description": 32, "sub_specification": 64, "payload_size": 72}
    assert np.frombuffer(GOLDEN_WHEN, DATA_PROCESSING_HEADER)[0]["creation"] == WHEN.creation


def test_a_source_that_is_done_says_so_in_36_bytes():
    packed = pack_stack(SourceInfoHeader(state=COMPLETED))
    assert packed[:4] == b"O2O2" and packed[16:23] == b"SrcInfo" and packed[32:] == struct.pack("<i", 2)
    assert unpack_stack(packed).get(SourceInfoHeader).state == COMPLETED


def test_the_older_processing_header_without_creation_is_read():
    old = bytearray(GOLDEN_WHEN[:48])
    old[4] = 48
    assert unpack_stack(bytes(old)).headers == (replace(WHEN, creation=0),)


def test_a_header_of_an_unknown_kind_is_passed_over_and_kept():
    alien = b"O2O2" + struct.pack("<III", 40, 1, 9) + b"Alien\0\0\0" + b"NONE\0\0\0\0" + b"12345678"
    stack = unpack_stack(alien + GOLDEN_WHEN)
    assert stack.headers[0] == OtherHeader(description=b"Alien", version=9, raw=alien)
    assert stack.get(DataProcessingHeader) == WHEN
    assert pack_stack(*stack.headers) == alien + GOLDEN_WHEN


@pytest.mark.parametrize(
    ("at", "new", "message"),
    [
        pytest.param(0, b"O3O3", "want magic 'O2O2' at byte 0, got b'O3O3'", id="magic"),
        pytest.param(4, struct.pack("<I", 31), "want a size of 32 to 152 at byte 0, got 31", id="too small"),
        pytest.param(4, struct.pack("<I", 9999), "want a size of 32 to 152 at byte 0, got 9999", id="too large"),
        pytest.param(4, struct.pack("<I", 80), "DataHead: want 96 bytes, got 80", id="size of an older version"),
        pytest.param(12, struct.pack("<I", 4), "DataHead: want version 3, got 4", id="version"),
        pytest.param(48, b"tpc\0", "DataHead: data address", id="origin"),
        pytest.param(96, b"\xff\xff\xff\xff", "want magic 'O2O2' at byte 96", id="magic of the second"),
    ],
)
def test_what_is_wrong_with_a_header_is_named(at, new, message):
    damaged = bytearray(GOLDEN_DATA + GOLDEN_WHEN)
    damaged[at : at + len(new)] = new
    with pytest.raises(DataError, match=message):
        unpack_stack(bytes(damaged))


@pytest.mark.parametrize("n", [0, 31, 95, 96, 100, 151])
def test_a_stack_that_is_cut_off_is_refused(n):
    with pytest.raises(DataError, match="O2 header"):
        unpack_stack((GOLDEN_DATA + GOLDEN_WHEN)[:n])


def test_a_value_that_does_not_fit_is_refused_before_it_is_sent():
    with pytest.raises(SpecError, match="does not fit"):
        pack_stack(replace(DATA, first_orbit=1 << 32))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise_anything_but_a_data_error(junk):
    for raw in (junk, GOLDEN_DATA[:32] + junk, GOLDEN_DATA + junk):
        with suppress(DataError):
            unpack_stack(raw)


@given(
    st.builds(
        DataHeader,
        ref=st.builds(
            DataRef,
            st.from_regex("[A-Z0-9]{1,4}", fullmatch=True),
            st.from_regex("[A-Za-z0-9_]{1,16}", fullmatch=True),
            st.integers(0, 2**32 - 1),
        ),
        payload_size=st.integers(0, 2**64 - 1),
        serialization=st.sampled_from([b"NONE", b"ARROW", b"ROOT"]),
        split_index=st.integers(0, 2**32 - 1),
        split_parts=st.integers(0, 2**32 - 1),
        first_orbit=st.integers(0, 2**32 - 1),
        tf_counter=st.integers(0, 2**32 - 1),
        run=st.integers(0, 2**31 - 1),
    ),
    st.builds(TimeframeLength, n_orbits=st.integers(1, 2**32 - 1)),
)
@settings(max_examples=50, deadline=None)
def test_there_and_back_is_identity(data, length):
    assert unpack_stack(pack_stack(data, length)).headers == (data, length)
