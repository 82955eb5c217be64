"""What fails while a run goes on: the user's own code, storage, a stop; what was done before stays."""

import pytest
from task_samples import FailsOnLong, Spectra, TracksDca, run

import o2dask as o2
from o2dask.aod import parquet
from o2dask.errors import DataError, ProcessorError


def test_errors_of_the_user_name_task_and_line_and_can_be_raised(many):
    aod = o2.open_aod(many)
    result = run(aod, FailsOnLong())
    assert all("'fails-on-long': ZeroDivisionError: too long for me (task_samples.py, line" in str(f)
               for f in result.failed)  # fmt: skip
    assert "ZeroDivisionError" in result.failed[0].text and "Traceback" in result.failed[0].text
    with pytest.raises(ProcessorError, match="too long for me"):
        run(aod, FailsOnLong(), on_error="raise")


def test_a_task_that_never_works_ends_the_run_early(many):
    class Never(o2.AnalysisTask):
        def process(self, tracks: o2.Tracks):
            raise KeyError("nothing")

    with pytest.raises(ProcessorError, match=r"none of the first 20 dataframes succeeded; the last: .*KeyError"):
        run(o2.open_aod(many), Never())


def test_consumers_of_what_was_not_made_are_told_and_nothing_of_it_is_saved(many, tmp_path):
    class Makes(o2.AnalysisTask):
        dca = o2.Produces[TracksDca]

        def process(self, tracks: o2.Tracks):
            self.dca(tracks.y(), tracks.collisionId())
            if len(tracks) == 10:
                raise ValueError("first one")

    class Reads(o2.AnalysisTask):
        n = o2.Output(0)

        def process(self, tracks: o2.Join[o2.Tracks, TracksDca]):
            self.n += len(tracks.dcaXY())

    result = run(o2.open_aod(many)[:3], Reads(), Makes(), save=tmp_path / "out")
    assert [(f.task, f.dataframe) for f in result.failed] == [("makes", "DF_1000"), ("reads", "DF_1000")]
    assert "reads what task 'makes' did not make" in result.failed[1].reason
    assert result.n == 12 + 14
    assert [f.label for f in o2.open_aod(tmp_path / "out")] == ["DF_1001", "DF_1002"]


def test_storage_that_fails_for_a_while_is_tried_again(many, monkeypatch):
    n_calls = []
    original = parquet.read_table

    def flaky(*args, **kwargs):
        n_calls.append(1)
        if len(n_calls) in (2, 5):
            raise DataError("remote storage: no answer") from TimeoutError("30 s")
        return original(*args, **kwargs)

    monkeypatch.setattr(parquet, "read_table", flaky)
    aod = o2.open_aod(many)[:4]
    result = run(aod, Spectra())
    assert result.ok and len(result.names) == 4
    n_calls.clear()
    (failure,) = run(aod, Spectra(), retries=0).failed[:1]
    assert "no answer" in failure.reason


def test_a_stop_keeps_what_is_done(many):
    class Stop:
        n = 0

        def is_set(self):
            Stop.n += 1
            return Stop.n > 3

    result = run(o2.open_aod(many), Spectra(), stop=Stop())
    assert result.interrupted and not result.ok
    assert result.names == [f"DF_{1000 + i}" for i in range(len(result.names))] and 0 < len(result.names) < 70
