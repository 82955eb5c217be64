"""Descriptors: there and back through msgpack, never over 1 kB; and the set of ids that stays small."""

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.errors import SpecError
from o2dask.stream.descriptor import MAX_BYTES, MAX_READOUTS, Built, Part, key_of
from o2dask.stream.ids import IdSet
from o2dask.timeframe import TimeframeId, TimeframeRef

timeframes = st.builds(
    TimeframeId,
    run=st.integers(0, (1 << 31) - 1),
    tf_counter=st.integers(0, 1 << 40),
    first_orbit=st.integers(0, (1 << 32) - 1),
    n_orbits=st.sampled_from([1, 32, 128]),
)
urls = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=175)


def packed(wire):
    data = msgpack.packb(wire)
    assert len(data) <= MAX_BYTES
    return msgpack.unpackb(data, use_list=False)


@settings(max_examples=50)
@given(timeframes, urls, st.integers(1, MAX_READOUTS), st.data())
def test_a_part_comes_back_from_the_wire(timeframe, url, n_readouts, data):
    part = Part(
        timeframe=timeframe,
        readout=data.draw(st.integers(0, n_readouts - 1)),
        n_readouts=n_readouts,
        url=url,
        n_bytes=data.draw(st.integers(0, 1 << 50)),
        total_bytes=data.draw(st.integers(1, 1 << 50)),
    )
    assert Part.from_wire(packed(part.to_wire())) == part
    assert part.to_wire()[:4] == key_of(timeframe)


@settings(max_examples=50)
@given(timeframes, urls, st.sets(st.integers(0, MAX_READOUTS - 1)), st.integers(0, 1 << 50))
def test_a_built_timeframe_comes_back_from_the_wire(timeframe, url, missing, n_bytes):
    built = Built(TimeframeRef(id=timeframe, url=url, index=3, n_bytes=n_bytes, missing=tuple(sorted(missing))))
    assert Built.from_wire(packed(built.to_wire())) == built


@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_path_that_would_not_fit_is_refused(letter):
    with pytest.raises(SpecError, match="shorter spool folder"):
        Part(timeframe=TimeframeId(run=1, tf_counter=0, first_orbit=0), readout=0, n_readouts=1, url=letter * 701)


def test_of_a_part_without_a_total_room_is_kept_for_as_much_from_every_readout():
    part = Part(timeframe=TimeframeId(run=1, tf_counter=0, first_orbit=0), readout=1, n_readouts=4, n_bytes=10)
    assert part.to_wire()[5] == 40


keys = st.tuples(st.integers(0, 1), st.integers(0, 40), st.integers(0, 2), st.just(32)).map(
    lambda k: (k[0], k[1], 32 * k[1] + k[2], k[3])
)


@settings(max_examples=100)
@given(st.lists(keys))
def test_a_set_of_ids_is_a_set(added):
    ids, plain = IdSet(), set()
    for key in added:
        assert ids.add(key) == (key not in plain)
        plain.add(key)
    for run in range(2):
        for counter in range(42):
            for offset in range(3):
                key = (run, counter, 32 * counter + offset, 32)
                assert (key in ids) == (key in plain)


def test_a_million_ids_in_any_order_are_one_interval():
    ids = IdSet()
    for start in (1, 0):
        for counter in range(start, 20_000, 2):
            ids.add((1, counter, 32 * counter, 32))
    assert ids.n_intervals == 1


def test_gaps_are_bounded_and_old_ones_are_closed():
    ids = IdSet(max_intervals=10, max_sequences=3)
    for counter in range(0, 1000, 2):
        ids.add((1, counter, 32 * counter, 32))
    assert ids.n_intervals == 10
    assert (1, 3, 96, 32) in ids
    assert (1, 997, 997 * 32, 32) not in ids
    for run in range(2, 100):
        ids.add((run, 0, 0, 32))
    assert ids.n_intervals <= 12
