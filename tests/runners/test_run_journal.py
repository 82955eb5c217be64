"""The journal: what is in it after kills, torn lines, other configurations and a full disk."""

import os
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from o2dask.errors import CommitError, ConfigError
from o2dask.runners.journal import Journal
from o2dask.sink import Receipt
from o2dask.timeframe import TimeframeId

CONFIG = {"topology": "abc", "sink": "FolderSink(*)"}


def tf(i: int) -> TimeframeId:
    return TimeframeId(run=1, tf_counter=i, first_orbit=32 * i)


def receipt(i: int) -> Receipt:
    return Receipt(timeframe=tf(i), files=(f"DF_{i}/a.parquet",), n_bytes=10 * i, rows={"O2track": i})


def fill(folder: Path, n: int) -> None:
    with Journal(folder, CONFIG) as journal:
        for i in range(n):
            journal.write_committed(receipt(i))
        journal.write_quarantined(tf(n), "DataError: torn block")


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    with Journal(tmp_path, CONFIG, resume=True) as journal:
        assert [journal.entries[tf(i)].receipt for i in range(3)] == [receipt(i) for i in range(3)]
        assert journal.entries[tf(3)].reason == "DataError: torn block"
        assert not journal.entries[tf(3)].is_committed
        assert not journal.is_new


@hypothesis_settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 2000))
def test_a_journal_cut_anywhere_gives_whole_lines_only_and_goes_on(tmp_path_factory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("journal")
    fill(folder, 3)
    path = folder / "journal.jsonl"
    whole = path.read_bytes()
    cut = min(cut, len(whole))
    path.write_bytes(whole[:cut])
    n_lines = whole[:cut].count(b"\n")
    # A line whose only missing byte is its newline is whole.
    n_lines += cut < len(whole) and whole[cut : cut + 1] == b"\n"
    with Journal(folder, CONFIG, resume=True) as journal:
        assert len(journal.entries) == max(0, n_lines - 1)
        assert journal.is_new == (n_lines == 0)
        journal.write_committed(receipt(7))
    with Journal(folder, CONFIG, resume=True) as journal:
        assert journal.entries[tf(7)].receipt == receipt(7)
        assert len(journal.entries) == max(0, n_lines - 1) + 1


def test_committed_timeframes_without_resume_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    with pytest.raises(ConfigError, match="2 timeframes are already committed there; use --resume"):
        Journal(tmp_path, CONFIG)


def test_a_journal_without_commits_may_start_over_with_another_configuration(tmp_path: Path) -> None:
    fill(tmp_path, 0)
    with Journal(tmp_path, CONFIG | {"topology": "other"}) as journal:
        assert not journal.entries
    with pytest.raises(ConfigError, match="another topology"):
        Journal(tmp_path, CONFIG, resume=True)


@pytest.mark.parametrize("name", ["topology", "sink"])
def test_another_configuration_is_refused(tmp_path: Path, name: str) -> None:
    fill(tmp_path, 1)
    with pytest.raises(ConfigError, match=f"made with another {name} .*another output"):
        Journal(tmp_path, CONFIG | {name: "else"}, resume=True)


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text('{"o2dask_journal":99}\n')
    with pytest.raises(ConfigError, match="want a journal of version 1, got 99"):
        Journal(tmp_path, CONFIG, resume=True)


def test_lines_without_a_header_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    with pytest.raises(ConfigError, match="no header"):
        Journal(tmp_path, CONFIG, resume=True)


def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, CONFIG), pytest.raises(ConfigError, match="another run is writing there"):
        Journal(tmp_path, CONFIG, resume=True)
    Journal(tmp_path, CONFIG).close()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot open the journal"):
        Journal(tmp_path / "file", CONFIG)


@pytest.fixture
def small_disk():
    """Let no file grow over 400 bytes, as on a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_a_commit_error_and_leaves_the_journal_readable(tmp_path: Path, small_disk) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    n_good = 0
    with Journal(tmp_path, CONFIG) as journal:
        small_disk()
        with pytest.raises(CommitError, match="cannot write the journal"):
            for i in range(100):
                journal.write_committed(receipt(i))
                n_good = i + 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert os.path.getsize(journal.path) == 400  # noqa: PTH202 - a line is torn
    assert n_good > 0
    with Journal(tmp_path, CONFIG, resume=True) as journal:
        assert set(journal.entries) == {tf(i) for i in range(n_good)}
        journal.write_committed(receipt(50))
    with Journal(tmp_path, CONFIG, resume=True) as journal:
        assert set(journal.entries) == {tf(i) for i in range(n_good)} | {tf(50)}
