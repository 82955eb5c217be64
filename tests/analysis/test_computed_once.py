"""What a short table has computed it does not compute again, nor do rows chosen from it; nobody's changes are seen."""

import numpy as np
import pytest

import o2dask as o2
from o2dask.analysis import dynamic, table


@pytest.fixture
def counted(aod):
    """Tracks with a column that counts its rows whenever it is computed."""
    before = dict(dynamic._declared)
    calls = []

    @o2.dynamic_column("O2track_iu")
    def bent(y):
        calls.append(len(y))
        return 2 * y

    yield aod[0].tracks, calls
    dynamic._declared.clear()
    dynamic._declared.update(before)
    dynamic._generation[0] += 1


@pytest.mark.parametrize(
    "choice",
    [slice(3, 40, 2), [5, 1, 7], np.arange(50) % 3, np.arange(200) % 7 < 3, slice(0, 0), np.zeros(200, bool)],
    ids=["slice", "list", "numbers", "mask", "nothing", "no row"],
)
def test_rows_chosen_have_the_values_computed_before(counted, choice):
    tracks, calls = counted
    all_values = tracks.bent()
    chosen = tracks[choice]
    np.testing.assert_array_equal(chosen.bent(), all_values[choice])
    np.testing.assert_array_equal(chosen[:2].bent(), all_values[choice][:2])
    np.testing.assert_array_equal(tracks.bent(), 2 * tracks.y())
    assert calls == [len(tracks)]


def test_what_a_caller_does_to_its_values_is_its_own_business(counted):
    tracks, _ = counted
    want = 2 * tracks.y()
    first = tracks.bent()
    first *= 0
    second = tracks.bent()
    np.testing.assert_array_equal(second, want)
    second[:] = -1
    part = tracks[2:9].bent()
    part[:] = 5
    np.testing.assert_array_equal(tracks[2:9].bent(), want[2:9])
    np.testing.assert_array_equal(tracks.bent(), want)


def test_long_tables_compute_again_and_hold_nothing(counted, monkeypatch):
    tracks, calls = counted
    monkeypatch.setattr(table, "KEPT_ROWS", len(tracks) - 1)
    tracks.bent()
    tracks[5:10].bent()
    assert calls == [len(tracks), 5]


def test_a_column_declared_anew_is_computed_anew(counted):
    tracks, calls = counted
    tracks.bent()
    part = tracks[:10]
    o2.dynamic_column("O2track_iu", name="bent")(lambda y: 3 * y)
    np.testing.assert_array_equal(part.bent(), 3 * tracks.y()[:10])
    np.testing.assert_array_equal(tracks.bent(), 3 * tracks.y())
    assert calls == [len(tracks)]


def test_what_the_caller_gives_is_not_mixed_up(aod):
    tracks = aod[0].tracks
    light, heavy = tracks.energy(0.1), tracks.energy(0.9)
    assert (heavy > light).all()
    np.testing.assert_array_equal(tracks[:5].energy(0.9), heavy[:5])


def test_lists_of_a_table_are_untouched(aod):
    collisions = aod[0].collisions
    lists = collisions.tracks
    etas = lists.eta()
    assert lists[collisions.posZ() > 0].eta().to_list() == etas[collisions.posZ() > 0].to_list()
    assert lists[lists.eta() > 0].eta().to_list() == etas[etas > 0].to_list()
