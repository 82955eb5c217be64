"""The window, the memory model and the pacer: arithmetic, without Dask."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.errors import ConfigError
from o2dask.runners.settings import BatchSettings, parse_size, payload_budget
from o2dask.runners.window import UNKNOWN_BYTES, MemoryModel, Pacer, Window
from o2dask.timeframe import TimeframeId, TimeframeRef


def ref(i: int, n_bytes: int) -> TimeframeRef:
    return TimeframeRef(id=TimeframeId(run=1, tf_counter=i, first_orbit=32 * i), url="x", index=i, n_bytes=n_bytes)


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 1000), min_size=1, max_size=40),
    max_count=st.integers(1, 8),
    max_bytes=st.integers(1, 20_000),
    n_workers=st.integers(1, 4),
    picks=st.randoms(use_true_random=False),
)
def test_neither_count_nor_bytes_are_exceeded_and_every_timeframe_gets_in(
    sizes, max_count, max_bytes, n_workers, picks
) -> None:
    model = MemoryModel(expansion=10.0)
    window = Window(max_count, max_bytes, n_workers, model)
    waiting = [ref(i, size) for i, size in enumerate(sizes)]
    inside: dict[int, TimeframeRef] = {}
    while waiting or inside:
        while waiting and window.admits(waiting[0]):
            taken = waiting.pop(0)
            window.enter(taken.index, taken)
            inside[taken.index] = taken
            assert len(inside) <= max_count
            assert len(inside) == 1 or sum(map(model.estimate, inside.values())) <= max_bytes
        assert inside, "nothing in flight and nothing admitted: the run would hang"
        index = picks.choice(sorted(inside))
        window.leave(index, footprint=picks.randint(1, 20) * max(1, inside.pop(index).n_bytes))
    assert window.peak_count <= max_count
    assert len(window) == window.n_bytes == 0


def test_a_timeframe_larger_than_all_memory_runs_alone() -> None:
    window = Window(4, 1000, 2, MemoryModel(10.0))
    window.enter("a", ref(0, 10))
    assert not window.admits(ref(1, 1000))
    window.leave("a")
    assert window.admits(ref(1, 1000))
    window.enter("b", ref(1, 1000))
    assert not window.admits(ref(2, 1))


def test_the_guess_is_replaced_by_the_largest_recent_measurement() -> None:
    model = MemoryModel(10.0, n_recent=3)
    assert model.estimate(ref(0, 100)) == 1000
    assert model.estimate(ref(0, 0)) == UNKNOWN_BYTES
    model.observe(ref(0, 100), 4000)
    assert model.estimate(ref(1, 10)) == 400
    assert model.estimate(ref(1, 0)) == 4000
    for _ in range(3):
        model.observe(ref(0, 100), 200)
    assert model.estimate(ref(1, 10)) == 20
    model.observe(ref(0, 100), 1)
    assert MemoryModel(0.5).estimate(ref(1, 10)) == 10, "never less than the stored bytes"


def test_what_every_timeframe_takes_is_not_promised_again_for_each_of_its_bytes() -> None:
    model = MemoryModel(10.0)
    sizes = [100, 400, 150, 900, 120, 300, 1000, 200]
    for i, size in enumerate(sizes):
        assert model.estimate(ref(9, 1000)) == 10_000 if not i else True
        model.observe(ref(i, size), 5000 + 3 * size + (80 if i == 3 else 0))
    for size in (100, 500, 1000):
        assert 5000 + 3 * size <= model.estimate(ref(9, size)) <= 5000 + 3 * size + 160
    assert model.estimate(ref(9, 2000)) >= 2000 * 53, "larger than any seen: the worst ratio counts"


@settings(max_examples=100, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 10**6)), min_size=1, max_size=16))
def test_no_timeframe_that_was_measured_is_promised_less_than_it_took(pairs) -> None:
    model = MemoryModel(10.0)
    for i, (size, took) in enumerate(pairs):
        model.observe(ref(i, size), took)
    for size, took in pairs:
        assert model.estimate(ref(99, size)) >= took - 1 - 1e-6 * took


def test_memory_that_grows_as_it_is_learnt_closes_the_window() -> None:
    model = MemoryModel(1.0)
    window = Window(8, 1000, 2, model)
    window.enter(0, ref(0, 100))
    window.enter(1, ref(1, 100))
    window.leave(0, footprint=600)
    assert window.n_bytes == 600
    assert not window.admits(ref(2, 100))


def test_at_first_only_one_timeframe_per_worker_is_admitted() -> None:
    window = Window(6, 10**9, 2, MemoryModel(1.0))
    for i in range(2):
        assert window.admits(ref(i, 1))
        window.enter(i, ref(i, 1))
    assert not window.admits(ref(2, 1))
    window.leave(0)
    for i in (2, 3):
        assert window.admits(ref(i, 1))
        window.enter(i, ref(i, 1))
    assert not window.admits(ref(4, 1))


def test_the_pacer_spaces_timeframes_but_never_lets_a_worker_idle() -> None:
    pacer = Pacer(n_workers=2)
    pacer.started(10.0)
    assert not pacer.holds(10.0, 5), "nothing is known yet"
    pacer.done(2.0)
    assert pacer.pause_s == 0.5
    assert pacer.holds(10.4, 3) and not pacer.holds(10.6, 3)
    assert not pacer.holds(10.4, 2)
    pacer.done(10_000.0)
    assert pacer.pause_s == Pacer.MAX_PAUSE_S


@pytest.mark.parametrize(
    ("text", "want"),
    [("8GiB", 8 << 30), ("1.5 GB", 1_500_000_000), ("2k", 2048), ("17", 17), (17, 17)],
)
def test_sizes_are_read_as_people_write_them(text, want) -> None:
    assert parse_size(text) == want


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1.5.2", "8 apples", "0", "0.1"])
def test_other_sizes_are_refused(text) -> None:
    with pytest.raises(ConfigError, match="memory: want a size such as 8GiB"):
        BatchSettings(memory=text)


@pytest.mark.parametrize("name", ["workers", "window", "deadline_s", "expansion", "patience_s"])
def test_settings_that_cannot_work_are_refused(name) -> None:
    with pytest.raises(ConfigError, match=f"{name}: want"):
        BatchSettings(**{name: 0})


def test_workers_and_a_scheduler_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="leave out one"):
        BatchSettings(workers=2, scheduler="tcp://127.0.0.1:1")


def test_memory_that_is_less_than_the_workers_need_is_refused() -> None:
    assert payload_budget(2 << 30, 2) == (2 << 30) - (800 << 20)
    payload_budget(1000 << 20, 2)
    with pytest.raises(ConfigError, match="want at least 500 MiB per worker, got 999 MiB for 2"):
        payload_budget(999 << 20, 2)
