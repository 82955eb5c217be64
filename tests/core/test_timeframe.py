"""Laws of the timeframe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from o2dask.errors import SpecError
from o2dask.timeframe import BCS_PER_ORBIT, ORBIT_NS, InteractionRecord, TimeframeId


@given(st.integers(0, 1 << 50))
def test_a_record_and_its_global_bc_are_the_same_thing(global_bc):
    assert InteractionRecord.from_global_bc(global_bc).global_bc == global_bc


@given(st.integers(0, 10_000), st.integers(0, BCS_PER_ORBIT - 1), st.integers(1, 128))
def test_every_record_lies_in_exactly_one_timeframe(orbit, bc, n_orbits):
    counter = orbit // n_orbits
    around = [
        TimeframeId(run=1, tf_counter=c, first_orbit=c * n_orbits, n_orbits=n_orbits)
        for c in (counter - 1, counter, counter + 1)
        if c >= 0
    ]
    assert [InteractionRecord(orbit, bc) in t for t in around].count(True) == 1


def test_the_dataframe_number_is_that_of_real_files():
    # AO2D of run 535627, first orbit 379774656: facts/aod_model.json
    assert TimeframeId(run=535627, tf_counter=0, first_orbit=379774656).df_number == 2300500827629248


def test_a_timeframe_lasts_2_8_ms():
    assert TimeframeId(run=1, tf_counter=0, first_orbit=0).n_orbits * ORBIT_NS == pytest.approx(2.845587e6)


@pytest.mark.parametrize("bad", [{"run": -1}, {"first_orbit": 1 << 32}, {"n_orbits": 0}, {"tf_counter": -1}])
def test_an_impossible_id_is_refused(bad):
    with pytest.raises(SpecError, match="timeframe id"):
        TimeframeId(**{"run": 1, "tf_counter": 0, "first_orbit": 0} | bad)
