"""The reference runner: order, quarantine, resume, stop and a full disk, in one process."""

from pathlib import Path

import pytest
from runner_flows import PATTERNS, CountingSink, StopAfter, flow, timeframes

from o2dask.errors import ConfigError, MissingExtraError, WorkflowError
from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.testing import contents


def sink_at(path: Path, **options: int) -> CountingSink:
    return CountingSink(str(path / "out"), PATTERNS, **options)


def test_every_timeframe_is_committed_in_order_and_counted(tmp_path: Path) -> None:
    refs, sink, seen = timeframes(5), sink_at(tmp_path), []
    report = run_inline(flow(), refs, sink, journal=tmp_path / "log", progress=seen.append)
    assert report.ok
    assert [r.timeframe for r in report.committed] == [ref.id for ref in refs]
    assert sink.commits == [0, 1, 2, 3, 4]
    assert report.counters == {"fitter.tracks": 5010, "reader.digits": 5010}
    assert set(report.seconds) == {"reader", "finder", "fitter", "summary"}
    assert report.committed[2].rows == {"TST/SUMMARY/0": 1, "TST/TRACKS/0": 1002}
    kinds = [event.kind for event in seen]
    assert kinds == ["started"] + ["timeframe_started", "timeframe_committed"] * 5 + ["finished"]
    assert seen[-1].as_json()["ok"] is True
    assert seen[2].as_json()["tf_counter"] == 0


def test_the_state_of_a_task_lives_through_the_run_and_nothing_unwanted_is_written(tmp_path: Path) -> None:
    run_inline(flow(), timeframes(2), FolderSink(str(tmp_path), ("TST/TRACKS/*",)))
    assert [Path(name).name for name in contents(tmp_path)] == ["TST_TRACKS_0.arrow"] * 2


def test_bad_timeframes_are_set_aside_with_their_story_and_the_others_finish(tmp_path: Path) -> None:
    refs = timeframes(5, special={1: "corrupt", 3: "broken"})
    report = run_inline(flow(), refs, sink_at(tmp_path), journal=tmp_path / "log")
    assert not report.ok and len(report.committed) == 3 and not report.abandoned
    corrupt, broken = report.quarantined
    assert corrupt.ref == refs[1] and corrupt.reason.startswith("DataError: block 3 of run 526641 TF 1")
    text = Path(corrupt.file).read_text()
    assert Path(corrupt.file).parent == tmp_path / "log/quarantine"
    for want in ("Traceback", "runner_flows.py", "processor 'reader'", "TF 1", "DataError"):
        assert want in text
    assert broken.reason.startswith("ProcessorError: processor 'reader' failed on run 526641 TF 3")
    for want in ("KeyError: 'alpha'", "ZeroDivisionError: deep in the code", "in _broken"):
        assert want in Path(broken.file).read_text()
    assert (tmp_path / "out.final").read_text() == "0 2 4"


def test_a_resumed_run_tries_the_quarantined_again_and_repeats_nothing(tmp_path: Path) -> None:
    sink = sink_at(tmp_path)
    first = run_inline(flow(), timeframes(4, special={1: "corrupt"}), sink, journal=tmp_path / "log")
    assert Path(first.quarantined[0].file).exists()
    report = run_inline(flow(), timeframes(6), sink, journal=tmp_path / "log", resume=True)
    assert report.ok and len(report.already_done) == 3
    assert sink.commits == [0, 2, 3, 1, 4, 5]
    assert not Path(first.quarantined[0].file).exists()
    assert (tmp_path / "out.final").read_text() == "0 1 2 3 4 5"


def test_a_full_disk_stops_the_run_and_it_can_be_resumed(tmp_path: Path) -> None:
    refs = timeframes(5)
    report = run_inline(flow(), refs, sink_at(tmp_path, full_at=2), journal=tmp_path / "log")
    assert len(report.committed) == 2 and report.abandoned == tuple(refs[2:])
    assert "no space left on device" in report.failure and "--resume" in report.failure
    assert not report.ok and not report.quarantined
    assert not (tmp_path / "out.final").exists()
    report = run_inline(flow(), refs, sink_at(tmp_path), journal=tmp_path / "log", resume=True)
    assert report.ok and sink_at(tmp_path).commits == [0, 1, 2, 3, 4]


def test_a_stop_leaves_the_rest_for_a_resumed_run(tmp_path: Path) -> None:
    stop = StopAfter(2)
    report = run_inline(
        flow(), timeframes(5), sink_at(tmp_path), journal=tmp_path / "log", progress=stop.see, stop=stop
    )
    assert report.interrupted and not report.ok
    assert len(report.committed) == 2 and len(report.abandoned) == 3


def test_what_the_sink_lost_is_done_again_and_what_the_journal_lost_is_not(tmp_path: Path) -> None:
    sink, refs = sink_at(tmp_path), timeframes(4)
    run_inline(flow(), refs, sink, journal=tmp_path / "log")
    want = contents(tmp_path / "out")
    for file in sink._path(refs[1]).iterdir():
        file.unlink()
    sink._path(refs[1]).rmdir()
    path = tmp_path / "log/journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    report = run_inline(flow(), refs, sink, journal=tmp_path / "log", resume=True)
    assert report.ok and sink.commits == [0, 1, 2, 3, 1]
    assert contents(tmp_path / "out") == want
    assert path.read_bytes().count(b'"tf_counter":3') == 1


def test_an_output_that_is_not_empty_is_refused_without_resume(tmp_path: Path) -> None:
    run_inline(flow(), timeframes(2), sink_at(tmp_path), journal=tmp_path / "log")
    with pytest.raises(ConfigError, match="already committed there; use --resume"):
        run_inline(flow(), timeframes(2), sink_at(tmp_path), journal=tmp_path / "log")
    with pytest.raises(ConfigError, match="already in the output"):
        run_inline(flow(), timeframes(2), sink_at(tmp_path))
    with pytest.raises(ConfigError, match="missing or empty"):
        run_inline(flow(), timeframes(2), sink_at(tmp_path), journal=tmp_path / "elsewhere", resume=True)


def test_resuming_with_other_options_or_another_sink_is_refused(tmp_path: Path) -> None:
    run_inline(flow(), timeframes(2), sink_at(tmp_path), journal=tmp_path / "log")
    with pytest.raises(ConfigError, match="another topology"):
        run_inline(flow(scale=3.0), timeframes(2), sink_at(tmp_path), journal=tmp_path / "log", resume=True)
    with pytest.raises(ConfigError, match="another sink"):
        other = CountingSink(str(tmp_path / "out"), ("TST/TRACKS/*",))
        run_inline(flow(), timeframes(2), other, journal=tmp_path / "log", resume=True)


def test_no_timeframe_and_a_timeframe_given_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no timeframes given"):
        run_inline(flow(), [], sink_at(tmp_path))
    refs = timeframes(3)
    with pytest.raises(ConfigError, match="TF 1 orbit 32 is given twice, in ok#1 and ok#1"):
        run_inline(flow(), [*refs, refs[1]], sink_at(tmp_path))


def test_a_sink_that_wants_nothing_the_workflow_makes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match="makes nothing"):
        run_inline(flow(), timeframes(1), FolderSink(str(tmp_path), ("AOD/*",)))


def test_a_missing_package_stops_the_run(tmp_path: Path, monkeypatch) -> None:
    def fail(self, ref, outputs):
        raise MissingExtraError("cupy is not installed; pip install 'o2dask[gpu]'")

    monkeypatch.setattr(CountingSink, "commit", fail)
    report = run_inline(flow(), timeframes(3), sink_at(tmp_path))
    assert "o2dask[gpu]" in report.failure and len(report.abandoned) == 3
