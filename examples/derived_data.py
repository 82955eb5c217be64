"""Derived data: leading tracks written to a small file, then read with the tables that they were picked from.

Usage: python examples/derived_data.py [AOD]     (default: $O2DASK_AOD, else demo/aod)
"""

import os
import sys
import tempfile
from pathlib import Path

import awkward as ak
import numpy as np

import o2dask as o2

Leaders = o2.declare_table("Leaders", fIndexCollisions="int32", fIndexTracks="int32", fPx="float32", fPy="float32")


@o2.dynamic_column(Leaders, unit="GeV/c")
def pt(px, py):
    """Return the transverse momentum."""
    return np.hypot(px, py)


class PickLeaders(o2.AnalysisTask):
    """The track of highest momentum of each collision."""

    eta_max = o2.Configurable(0.8, "maximum |eta|")
    leaders = o2.Produces[Leaders]

    def process(self, collisions: o2.Collisions, tracks: o2.Tracks):
        mine = collisions.tracks[abs(collisions.tracks.eta()) < self.eta_max]
        best = ak.flatten(mine[ak.argmax(mine.pt(), axis=1, keepdims=True)].globalIndex())
        best = ak.to_numpy(best[~ak.is_none(best)])
        leading = tracks[best]
        self.leaders(leading.collisionId(), best, leading.px(), leading.py())


class CompareWithParent(o2.AnalysisTask):
    """What the file says of a leader beside what its track says, and how many clusters that has."""

    h_pt = o2.Hist.new.Reg(50, 0, 10, label="leading pT [GeV/c]").Double()
    n, largest = o2.Output(0), o2.Output(0.0, max)

    def process(self, leaders: Leaders, tracks: o2.Join[o2.Tracks, o2.TracksExtra]):
        tracks = tracks[leaders.trackId()]
        self.h_pt.fill(leaders.pt())
        self.n += int((tracks.tpcNClsFound() > 70).sum())
        self.largest = max(self.largest, float(abs(leaders.pt() / tracks.pt() - 1).max(initial=0)))


aod = o2.open_aod(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("O2DASK_AOD", "demo/aod"))
derived = Path(tempfile.mkdtemp()) / "derived.root"
aod.run(PickLeaders(), save=derived, keep=["Leaders", "Collisions"])
result = o2.open_aod(derived, parents=1).run(CompareWithParent())
n, size = result.h_pt.sum(flow=True), sum(stored.n_bytes(tree) for stored in aod.stored for tree in stored.tables)
print(f"{n:.0f} leading tracks, {result.n} with more than 70 clusters; {derived.stat().st_size} of {size} bytes")
print(f"their momenta differ from the parent's by {result.largest:.1e}, expected below 1e-6")
