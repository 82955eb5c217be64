"""Columns of one's own under a name: `dynamic_column`, in notebooks, tasks and on workers."""

import numpy as np
import pytest
from task_samples import run

import o2dask as o2
from o2dask.analysis import dynamic
from o2dask.errors import DataError, SpecError

Pairs = o2.declare_table("Pairs", fPx="float32", fPy="float32")


@pytest.fixture(autouse=True)
def _forgotten():
    """What a test declares ends with it."""
    before = dict(dynamic._declared)
    yield
    dynamic._declared.clear()
    dynamic._declared.update(before)
    dynamic._generation[0] += 1


def made_pairs(aod):
    px = np.float32([3, 5, 0])
    return o2.overlay(aod[0], {"O2pairs": {"fPx": px, "fPy": np.float32([4, 12, 1])}})


def test_a_function_is_a_getter_of_a_table_that_the_data_model_does_not_know(aod):
    frame = made_pairs(aod)
    before = frame.pairs

    @o2.dynamic_column(Pairs, unit="GeV/c")
    def pt(px, py):
        """Return the transverse momentum."""
        return np.hypot(px, py)

    assert before.pt().tolist() == frame.pairs.pt().tolist() == [5, 13, 1]
    assert frame.pairs[1].pt() == 13 and frame.pairs[frame.pairs.pt() > 2].pt().tolist() == [5, 13]
    assert "transverse momentum [GeV/c]" in before.pt.__doc__ and "px, py of O2pairs" in before.pt.__doc__
    assert "pt" in dir(frame.pairs)
    assert pt(3, 4) == 5  # the function stays what it was


def test_it_reads_formulas_of_the_table_other_such_columns_and_what_the_caller_gives(aod):
    @o2.dynamic_column(o2.Tracks)
    def transverse_mass(pt, *, m):
        return np.sqrt(pt**2 + m**2)

    @o2.dynamic_column(o2.Tracks)
    def twice(eta):
        return 2 * eta

    @o2.dynamic_column(o2.Tracks)
    def four_times(twice):
        return 2 * twice

    tracks = aod[0].tracks
    np.testing.assert_allclose(tracks.transverse_mass(0.1396), np.sqrt(tracks.pt() ** 2 + 0.1396**2))
    np.testing.assert_allclose(tracks.four_times(), 4 * tracks.eta())
    with pytest.raises(TypeError, match="m"):
        tracks.transverse_mass()


def test_a_cell_that_runs_again_declares_it_anew(aod):
    frame = made_pairs(aod)
    o2.dynamic_column(Pairs, name="scaled")(lambda px: 2 * px)
    assert frame.pairs.scaled().tolist() == [6, 10, 0]
    o2.dynamic_column(Pairs, name="scaled")(lambda px: 3 * px)
    assert frame.pairs.scaled().tolist() == [9, 15, 0]


def test_what_it_reads_has_to_be_there_and_its_name_free(aod):
    @o2.dynamic_column(Pairs)
    def p(px, py, pz):
        return px + py + pz

    with pytest.raises(DataError, match=r"pairs\.p: reads pz, which O2pairs does not have"):
        made_pairs(aod).pairs.p()
    for taken in ("pt", "tgl", "collision"):
        with pytest.raises(SpecError, match=rf"'{taken}': O2track\w* has it already"):
            o2.dynamic_column(o2.Tracks, name=taken)(lambda x: x)
    with pytest.raises(SpecError, match="one by one"):
        o2.dynamic_column(o2.Join[o2.Tracks, o2.TracksExtra])
    with pytest.raises(SpecError, match="want tables"):
        o2.dynamic_column()
    with pytest.raises(SpecError, match="with a name"):
        o2.dynamic_column(Pairs)(lambda px: px)


class Doubled(o2.AnalysisTask):
    """Uses a column that the test declares, as a cut and in a histogram."""

    h = o2.Hist.new.Reg(20, -4, 4).Double()
    central = o2.Filter(abs(o2.col.doubled) < 2)

    def process(self, tracks: o2.Filtered[o2.Tracks]):
        self.h.fill(tracks.doubled())


def test_filters_and_tasks_read_it_inline_and_on_workers(many):
    o2.dynamic_column(o2.Tracks, name="doubled")(lambda eta: 2 * eta)
    aod = o2.open_aod(many)[:6]
    here = run(aod, Doubled())
    there = aod.run(Doubled(), workers=1, progress=False)
    eta = np.concatenate([frame.tracks.eta() for frame in aod])
    assert here.ok and there.ok and here.h.sum(flow=True) == (abs(2 * eta) < 2).sum() > 0
    assert here.h == there.h


def test_what_another_run_brought_to_a_worker_does_not_stay_in_the_way(aod):
    theirs = dynamic.DynamicColumn("track_iu", dynamic.made_of("bent", lambda y: y + 1), "theirs")
    o2.dynamic_column("O2track_iu", name="bent")(lambda y: y)
    mine = dynamic.declared()
    tracks = aod[0].tracks
    dynamic.adopt([theirs])
    np.testing.assert_array_equal(tracks.bent(), tracks.y() + 1)
    dynamic.adopt(mine)
    np.testing.assert_array_equal(tracks.bent(), tracks.y())
    known = dynamic.generation()
    dynamic.adopt(mine)
    assert dynamic.generation() == known
