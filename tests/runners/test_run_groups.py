"""Small timeframes travel in groups: the same bytes as alone, and each settled apart from the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_flows import PATTERNS, CountingSink, flow, timeframes

from o2dask.runners import driver
from o2dask.runners.batch import run_batch
from o2dask.runners.inline import run_inline
from o2dask.runners.journal import Journal
from o2dask.runners.ledger import Ledger
from o2dask.runners.nothing import NoSink
from o2dask.runners.quarantine import Failure
from o2dask.runners.settings import BatchSettings
from o2dask.runners.tally import N_LISTED
from o2dask.runners.testing import contents
from o2dask.runners.window import Grouping
from o2dask.sink import Receipt
from o2dask.timeframe import enumerated


@pytest.fixture
def groups(monkeypatch) -> list[tuple[int, ...]]:
    """Every group that the driver sends."""
    sent: list[tuple[int, ...]] = []
    real = driver.group_graph

    def group_graph(run, errands, *args):
        sent.append(tuple(errand.ref.id.tf_counter for errand in errands))
        return real(run, errands, *args)

    monkeypatch.setattr(driver, "group_graph", group_graph)
    monkeypatch.setattr(Grouping, "SMALL_S", 1.0)  # however much else the machine has to do
    monkeypatch.setattr(Grouping, "GROUP_S", 30.0)
    return sent


def batch(tmp_path, address, refs, progress=None, **settings):
    sink = CountingSink(str(tmp_path / "out"), PATTERNS)
    chosen = BatchSettings(scheduler=address, journal=tmp_path / "log", **settings)
    return sink, run_batch(flow(), refs, sink, settings=chosen, progress=progress)


def committed(report) -> list[int]:
    return [receipt.timeframe.tf_counter for receipt in report.committed]


def test_small_timeframes_in_groups_give_the_bytes_and_counters_of_inline(tmp_path, scheduler_address, groups) -> None:
    refs = timeframes(80)
    inline = CountingSink(str(tmp_path / "inline"), PATTERNS)
    want = run_inline(flow(), refs, inline)
    sink, got = batch(tmp_path, scheduler_address, refs)
    assert want.ok and got.ok
    assert max(map(len, groups)) > 3, groups
    assert contents(sink.folder) == contents(inline.folder)
    assert got.committed == want.committed and got.counters == want.counters
    assert sorted(sink.commits) == list(range(80)), "each once"


def test_one_that_fails_in_a_group_costs_itself(tmp_path, scheduler_address, groups) -> None:
    _, report = batch(tmp_path, scheduler_address, timeframes(60, special={40: "corrupt", 41: "broken"}))
    assert any(len(group) > 1 and 40 in group for group in groups), groups
    assert committed(report) == [i for i in range(60) if i not in (40, 41)]
    corrupt, broken = report.quarantined
    assert corrupt.reason.startswith("DataError: block 3") and "processor 'reader'" in corrupt.reason
    assert "ZeroDivisionError: deep in the code" in broken.text and "KeyError" in broken.text


def test_a_worker_that_dies_in_a_group_costs_the_culprit_only(tmp_path, scheduler_address, groups) -> None:
    _, report = batch(tmp_path, scheduler_address, timeframes(40, special={30: "segfault"}))
    assert any(len(group) > 1 and 30 in group for group in groups), groups
    assert committed(report) == [i for i in range(40) if i != 30]
    assert "workers die" in report.quarantined[0].reason


def test_a_deadline_in_a_group_costs_the_slow_one_only(tmp_path, scheduler_address, groups) -> None:
    refs = timeframes(40, special={30: "sleep=30"})
    _, report = batch(tmp_path, scheduler_address, refs, deadline_s=2.5)
    assert any(len(group) > 1 and 30 in group for group in groups), groups
    assert committed(report) == [i for i in range(40) if i != 30]
    assert report.quarantined[0].reason.startswith("deadline") and "sleep" in report.quarantined[0].text


def test_a_full_disk_in_a_group_ends_the_run_and_what_was_before_it_counts(tmp_path, scheduler_address) -> None:
    refs = timeframes(60)
    sink = CountingSink(str(tmp_path / "out"), PATTERNS, full_at=40)
    settings = BatchSettings(scheduler=scheduler_address, journal=tmp_path / "log")
    report = run_batch(flow(), refs, sink, settings=settings)
    assert "no space left" in report.failure and not report.quarantined
    assert set(committed(report)) <= set(range(40)) and len(report.committed) >= 20
    _, again = batch(tmp_path, scheduler_address, refs, resume=True)
    assert again.ok and len(again.committed) + len(again.already_done) == 60


def test_large_timeframes_do_not_join_a_group_of_small_ones(tmp_path, scheduler_address, groups) -> None:
    refs = timeframes(60, n_bytes=1000)
    refs[50] = timeframes(51, n_bytes=100_000)[50]
    _, report = batch(tmp_path, scheduler_address, refs)
    assert report.ok and max(map(len, groups)) > 1
    assert all(len(group) == 1 for group in groups if 50 in group)


def test_a_group_of_one_is_what_a_user_can_ask_for(tmp_path, scheduler_address, groups) -> None:
    _, report = batch(tmp_path, scheduler_address, timeframes(20), group=1)
    assert report.ok and not groups


def test_groups_grow_only_where_timeframes_are_small_and_are_shared_out() -> None:
    grouping = Grouping(256, 2)
    assert grouping.size(1000) == 1
    grouping.done(30.0, 1, 10)  # compilation
    for _ in range(3):
        grouping.done(0.001, 1, 10)
    assert grouping.size(1000) == 200 and grouping.size(4) == 1 and grouping.size(5) == 2
    for _ in range(7):
        grouping.done(0.0201, 1, 10)
    assert grouping.size(1000) == 1


@given(st.lists(st.floats(1e-5, 1.0), min_size=3, max_size=20), st.integers(1, 5000), st.integers(1, 300))
def test_a_group_is_never_larger_than_what_is_ready_or_asked_for(times, n_ready, most) -> None:
    grouping = Grouping(most, 2)
    for t in times:
        grouping.done(t, 1, 1)
    assert 1 <= grouping.size(n_ready) <= min(most, n_ready)


def test_the_book_of_a_stream_counts_all_and_lists_the_last(tmp_path) -> None:
    refs = enumerated(N_LISTED + 500, run=1)
    with Ledger(flow(), None, NoSink(), journal=tmp_path) as ledger:
        ledger.begin()
        for ref in refs[:-10]:
            assert ledger.admit(ref)
            ledger.committed(Receipt(timeframe=ref.id, files=("a",), n_bytes=2), {"x.n": 1}, {})
        for ref in refs[-10:]:
            ledger.quarantined(ref, Failure("bad", "story"))
        assert not ledger.admit(refs[-1]) and not ledger.admit(refs[100]), "settled already"
        report = ledger.finish(left=(refs[3], *enumerated(1, first=99, run=2)))
    assert len(report.committed) == N_LISTED and report.committed[-1].timeframe == refs[-11].id
    assert (report.n_committed, report.n_quarantined, report.n_timeframes) == (len(refs) - 10, 10, len(refs) + 1)
    assert (report.n_files, report.n_bytes) == (len(refs) - 10, 2 * (len(refs) - 10))
    assert [ref.id.run for ref in report.abandoned] == [2] and not report.ok


def test_the_journal_of_a_stream_keeps_in_memory_only_what_it_found(tmp_path) -> None:
    ids = [ref.id for ref in enumerated(5)]
    for found, written in ((0, ids[:3]), (3, ids[3:])):
        with Journal(tmp_path, {"topology": "x"}, resume=True, keep=False) as journal:
            assert len(journal.entries) == found
            journal.write_all_committed([Receipt(timeframe=id_) for id_ in written])
            assert len(journal.entries) == found
            assert list(journal.committed()) == ids[: found + len(written)]


def test_a_stream_finishes_its_output_with_every_timeframe_in_the_order_of_ids(tmp_path) -> None:
    class Sink(NoSink):
        def finalize(self, refs) -> None:
            Sink.finished = [ref.id.tf_counter for ref in refs]

    order = [*range(N_LISTED + 100, 5, -1), *range(6)]
    with Ledger(flow(), None, Sink(), journal=tmp_path) as ledger:
        ledger.begin()
        for i in order:
            ledger.committed(Receipt(timeframe=enumerated(1, first=i)[0].id), {}, {})
        assert ledger.finish().ok
    assert Sink.finished == sorted(order)
