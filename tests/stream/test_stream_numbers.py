"""What of a source is left to do when a run goes on, and that a source knows which number a timeframe has."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_tools import timeframe, write_ctf

from o2dask.stream.numbers import Numbers, ranges_of
from o2dask.stream.sources import UNKNOWN, open_source
from o2dask.timeframe import TimeframeId


@given(done=st.sets(st.integers(0, 60)), first=st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_the_numbers_that_are_left_are_all_but_those_done(done, first):
    left = [i for i in range(200) if i not in done]
    assert list(islice(Numbers(ranges_of(done)).since(first), 40)) == left[first : first + 40]


def test_of_very_many_ranges_the_first_are_left_out():
    assert ranges_of([0, 2, 4, 6, 5], most=2) == [(0, 1), (2, 3)]
    assert ranges_of([0, 2, 3, 9], most=2) == [(0, 1), (2, 4)]


@pytest.fixture(scope="module")
def ctf(tmp_path_factory):
    return write_ctf(tmp_path_factory.mktemp("numbers") / "tf.ctf", 6, first=3)


PER_RUN = 6 * (1 + ((1 << 32) - 32 * 9) // (32 * 6))


@pytest.mark.parametrize("number", [0, 5, 6, 601, PER_RUN - 1, PER_RUN, PER_RUN + 7])
def test_a_loop_knows_the_number_of_each_timeframe_that_it_gives(ctf, number):
    source = open_source(f"replay:{ctf}", loop=True)
    given = next(source.readings(number)).timeframe
    assert source.number_of(given) == number
    made = open_source("enumerate:5", loop=True)
    assert made.number_of(next(made.readings(number)).timeframe) == number


def test_what_a_source_does_not_give_has_no_number(ctf):
    once, loop = open_source(f"replay:{ctf}"), open_source(f"replay:{ctf}", loop=True)
    assert once.number_of(timeframe(8)) == 5
    for source, alien in (
        (once, timeframe(9)),  # of a second round
        (loop, timeframe(2)),  # before the first
        (loop, TimeframeId(run=7, tf_counter=4, first_orbit=96)),  # of another counter
        (loop, TimeframeId(run=6, tf_counter=3, first_orbit=96)),
        (loop, TimeframeId(run=7, tf_counter=3, first_orbit=96, n_orbits=16)),
        (open_source("enumerate:5"), TimeframeId(run=0, tf_counter=5, first_orbit=160)),
        (open_source("enumerate:5"), TimeframeId(run=0, tf_counter=4, first_orbit=5)),
    ):
        assert source.number_of(alien) == UNKNOWN


def test_a_source_gives_what_is_left_and_ends_where_it_ended(ctf):
    def counters(text, first=0, **options):
        return [r.timeframe.tf_counter for r in islice(open_source(text, **options).readings(first), 6)]

    done = [(0, 2), (4, 5)]
    assert counters(f"replay:{ctf}", done=done) == [5, 6, 8]
    assert counters(f"replay:{ctf}", 1, done=done) == [6, 8], "a readout that is started again counts what is left"
    assert counters(f"replay:{ctf}", done=[(0, 7)], loop=True) == [10, 11, 12, 13, 14, 15]
    assert counters("enumerate:6", done=done) == [2, 3, 5]
