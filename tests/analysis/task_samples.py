"""Tasks that several modules run: spectra, a table made, one that fails."""

import numpy as np

import o2dask as o2


def new_hist():
    """Return an empty histogram of transverse momenta."""
    return o2.Hist.new.Reg(50, 0, 10, label="pT [GeV/c]").Double()


def run(aod, *tasks, **options):
    """Run in this process, without a word."""
    return aod.run(*tasks, scheduler="inline", progress=False, **options)


TracksDca = o2.declare_table("TracksDca", fDcaXY="float32", fIndexCollisions="int32")


class Spectra(o2.AnalysisTask):
    """Transverse momenta, and what else an output may be."""

    eta_max = o2.Configurable(0.8, "maximum |eta|")
    h_pt = new_hist()
    h_weighted = o2.Hist.new.Reg(50, 0, 10, name="pt", label="pT [GeV/c]").Var([-1, 0, 1], name="eta").Weight()
    n, names = o2.Output(0), o2.Output([])

    def process(self, collisions: o2.Collisions, tracks: o2.Tracks):
        good = tracks[abs(tracks.eta()) < self.eta_max]
        self.h_pt.fill(good.pt())
        self.h_weighted.fill(good.pt(), good.eta(), weight=np.exp(good.eta()))
        self.n += len(good)
        self.names += [tracks._group.frame.label]


class MakesDca(o2.AnalysisTask):
    """Makes a row for each track."""

    offset = o2.Configurable(0.0, "cm")
    dca = o2.Produces[TracksDca]

    def process(self, tracks: o2.Tracks):
        self.dca(tracks.y() + self.offset, collisionId=tracks.collisionId())


class FailsOnLong(o2.AnalysisTask):
    """Fills, and then raises on dataframes of more than 130 tracks."""

    h_n = o2.Hist.new.Reg(10, 0, 1000).Double()

    def process(self, tracks: o2.Tracks):
        self.h_n.fill([len(tracks)])
        if len(tracks) > 130:
            raise ZeroDivisionError("too long for me")
