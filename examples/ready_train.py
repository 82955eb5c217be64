"""A train of ready-made tasks before one's own: events selected, tracks propagated, selected and identified.

Usage: python examples/ready_train.py [AOD]     (default: $O2DASK_AOD, else demo/aod)
or:    o2dask analysis examples/ready_train.py:Pions o2dask.analysis.tasks:PidTpc ...:TrackSelector ... --aod demo/aod
"""

import os
import sys

import numpy as np

import o2dask as o2
from o2dask.analysis import tasks

Tracks = o2.Join[o2.Tracks, o2.TracksExtra, tasks.TracksDca, tasks.TrackSelections, tasks.TracksPidTpc]


class Pions(o2.AnalysisTask):
    """Pions by dE/dx in selected collisions, and the distance to the vertex before and after the selection."""

    max_sigma = o2.Configurable(3.0, "TPC: sigmas from a pion, at most", minimum=0)
    h_pt = o2.Hist.new.Reg(50, 0, 5, label="pT [GeV/c]").Double()
    dca_all, dca_selected = o2.Output([]), o2.Output([])

    def process(self, collisions: o2.Join[o2.Collisions, tasks.CollisionSelections], tracks: Tracks):
        in_collision = tracks[tracks.has_collision()]
        good = in_collision[collisions.isSelected()[in_collision.collisionId()]]
        self.dca_all += [np.median(abs(good.dcaXY()))] * bool(len(good))
        good = good[good.isSelected()]
        self.dca_selected += [np.median(abs(good.dcaXY()))] * bool(len(good))
        self.h_pt.fill(good.pt()[abs(good.tpcNSigmaPi()) < self.max_sigma])


def main() -> None:
    aod = o2.open_aod(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("O2DASK_AOD", "demo/aod"))
    helpers = tasks.EventSelector(max_abs_z=20), tasks.TrackPropagation(), tasks.TrackSelector(), tasks.PidTpc()
    result = aod.run(Pions(), *helpers)  # their order does not matter
    print(f"collisions:\n{result['event-selector'].flow}\ntracks:\n{result['track-selector'].flow}")
    print(f"{result.h_pt.sum(flow=True):.0f} tracks within 3 sigma of a pion")
    before, after = np.mean(result.dca_all), np.mean(result.dca_selected)
    print(f"median |dcaXY| {before:.3f} cm, selected {after:.3f} cm, expected no larger")


if __name__ == "__main__":
    main()
