"""Tables that tasks make for each other: produced, spawned and of indices."""

import awkward as ak
import numpy as np
import pytest
from task_samples import MakesDca, Spectra, TracksDca, run

import o2dask as o2
from o2dask.errors import ConfigError, WorkflowError

Squares = o2.extend_table("Squares", o2.Tracks, fPt2=o2.col.pt * o2.col.pt, fShifted=1 + abs(o2.col.eta))
Matched = o2.declare_index_table("Matched", o2.BCs, o2.Collisions)


class ReadsDca(o2.AnalysisTask):
    total, n_per_collision = o2.Output(0.0), o2.Output([])

    def process(self, collisions: o2.Collisions, tracks: o2.Join[o2.Tracks, TracksDca]):
        self.total += float(tracks.dcaXY().sum(dtype=float))

    @o2.ProcessSwitch("per collision", default=True)
    def process_rows(self, collision: o2.Collision, dcas: TracksDca):
        self.n_per_collision += [len(dcas)]


def test_tasks_run_in_the_order_of_their_tables(aod):
    result = run(aod, ReadsDca(), MakesDca(offset=1.0))
    assert result.ok
    assert result.total == pytest.approx(sum(float(df.tracks.y().sum(dtype=float)) + len(df.tracks) for df in aod))
    assert result.n_per_collision == [n for df in aod for n in ak.num(df.collisions.tracks.pt()).to_list()]


def test_spawned_and_index_tables_are_there_for_others(aod):
    class Makes(o2.AnalysisTask):
        squares, matched = o2.Spawns[Squares], o2.Builds[Matched]

    class Reads(o2.AnalysisTask):
        total, matched = o2.Output(0.0), o2.Output([])

        def process(self, tracks: o2.Join[o2.Tracks, Squares], matched: Matched):
            np.testing.assert_allclose(tracks.pt2(), tracks.pt() ** 2, rtol=1e-6)
            np.testing.assert_allclose(tracks.shifted(), 1 + abs(tracks.eta()), rtol=1e-6)
            self.total += float(tracks.pt2().sum(dtype=float))
            self.matched += matched.collisionId().tolist()

    result = run(aod, Reads(), Makes())
    assert result.ok and result.total > 0
    want = []
    for df in aod:
        ids = df.collisions.bcId()
        want += [int(np.flatnonzero(ids == i)[0]) if (ids == i).any() else -1 for i in range(len(df.bcs))]
    assert result.matched == want and -1 in want and max(want) > 0


def test_exclusive_index_tables_keep_what_all_point_to(aod):
    exclusive = o2.declare_index_table("Exclusive", o2.BCs, o2.Collisions, exclusive=True)

    class Task(o2.AnalysisTask):
        matched = o2.Builds[exclusive]
        rows = o2.Output(0)

        def process(self, matched: exclusive):
            assert (matched.collisionId() >= 0).all()
            self.rows += len(matched)

    assert run(aod, Task()).rows == sum(len(set(df.collisions.bcId().tolist()) - {-1}) for df in aod)


def test_trains_that_cannot_run_name_the_culprit(aod):
    Other = o2.declare_table("Other", fX="float32")

    class Ring(o2.AnalysisTask):
        other = o2.Produces[Other]

        def process(self, dcas: TracksDca): ...

    class Back(o2.AnalysisTask):
        dca = o2.Produces[TracksDca]

        def process(self, others: Other): ...

    with pytest.raises(WorkflowError, match=r"wait for each other's tables: .*ring -> back|back -> ring"):
        aod.run(Ring(), Back())
    with pytest.raises(WorkflowError, match="task 'reads-dca' reads TracksDca, which no task of this run makes"):
        aod.run(ReadsDca())
    with pytest.raises(WorkflowError, match="TracksDca is made by 'makes-dca' and by 'again'"):
        aod.run(MakesDca(), MakesDca(name="again"))
    with pytest.raises(WorkflowError, match="two tasks are called 'spectra'"):
        aod.run(Spectra(), Spectra())
    with pytest.raises(ConfigError, match=r"want instances of o2.AnalysisTask, got .*Spectra.*; write Spectra\(\)"):
        aod.run(Spectra)
    with pytest.raises(ConfigError, match="at least one task"):
        aod.run()


def test_rows_of_a_produced_table_are_checked(aod):
    class Wrong(o2.AnalysisTask):
        how = o2.Configurable(0, "which mistake")
        dca = o2.Produces[TracksDca]

        def process(self, tracks: o2.Tracks):
            y, ids = tracks.y(), tracks.collisionId()
            if self.how == 0:
                self.dca(y)
            elif self.how == 1:
                self.dca(y, ids[:-1] if len(ids) else ids)
            elif self.how == 2:
                self.dca(y, ids.astype(np.int64) + 2**40)
            else:
                self.dca(y, ids, dcaYZ=y)

    reasons = [run(aod, Wrong(how=how)).failed[0].reason for how in range(4)]
    assert "want a value for each of fDcaXY, fIndexCollisions; got 1 values" in reasons[0]
    assert "want columns of one length" in reasons[1]
    assert "column fIndexCollisions: want int32, got int64 that does not fit" in reasons[2]
    assert "no column 'dcaYZ'; did you mean fDcaXY" in reasons[3]


def test_a_join_of_tables_of_different_length_is_an_error_of_that_dataframe(aod):
    class Short(o2.AnalysisTask):
        dca = o2.Produces[TracksDca]

        def process(self, tracks: o2.Tracks):
            self.dca(tracks.y()[1:], tracks.collisionId()[1:])

    result = run(aod, Short(), ReadsDca())
    assert [f.task for f in result.failed] == ["reads-dca", "reads-dca"]  # the empty one fits
    assert "O2tracksdca in DF_" in result.failed[0].reason and "199 rows" in result.failed[0].reason
