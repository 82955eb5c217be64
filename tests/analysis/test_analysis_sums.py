"""Histograms of many dataframes are those of one filled with all, and so are their errors."""

import hist
import numpy as np
import pytest

import o2dask as o2

STORAGES = ["Double", "Int64", "Weight", "Mean"]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("growth", [False, True], ids=["fixed", "growing"])
def test_dataframes_add_up_to_what_one_histogram_of_all_has(aod_folder, storage, growth):
    """However histograms are added, bins, flow, variances and categories are those of one filled with all."""

    def made():
        axis = hist.axis.Regular(20, -60, 60, growth=growth)
        return hist.Hist(axis, storage=getattr(hist.storage, storage)())

    def fill(histogram, tracks):
        x = tracks.x()
        options = {"Weight": {"weight": tracks.tgl() ** 2}, "Mean": {"sample": tracks.tgl()}}.get(storage, {})
        histogram.fill(x, **options)

    class Task(o2.AnalysisTask):
        h = made()

        def process(self, tracks: o2.Tracks):
            fill(self.h, tracks)

    aod = o2.open_aod(aod_folder)
    found = aod.run(Task(), scheduler="inline", progress=False).h
    want = made()
    for dataframe in aod:
        fill(want, dataframe.tracks)
    assert found.axes == want.axes
    assert found.sum(flow=True) is not None and len(aod) > 1
    np.testing.assert_allclose(found.values(flow=True), want.values(flow=True), rtol=1e-12)
    if not (growth and storage in ("Double", "Int64")):  # hist forgets them where axes have to grow
        np.testing.assert_allclose(found.variances(flow=True), want.variances(flow=True), rtol=1e-9)


@pytest.mark.parametrize("weighted", [False, True], ids=["counts", "weights"])
def test_errors_are_known_of_counts_and_not_of_weights_whose_squares_nobody_summed(many, weighted):
    class Task(o2.AnalysisTask):
        h = o2.Hist.new.Reg(20, -60, 60).Double()

        def process(self, tracks: o2.Tracks):
            self.h.fill(tracks.x(), weight=0.5 * np.ones(len(tracks)) if weighted else None)

    found = o2.open_aod(many).run(Task(), scheduler="inline", progress=False).h
    assert (found.variances() is None) == weighted
    if not weighted:
        assert np.array_equal(found.variances(), found.values())
