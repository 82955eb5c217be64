"""Tracks of each collision, in the three ways that O2 knows: grouped arguments, a partition, a preslice.

Usage: python examples/grouping.py [AOD]     (default: $O2DASK_AOD, else demo/aod)
"""

import os
import sys

import awkward as ak
import numpy as np

import o2dask as o2


class Cuts(o2.ConfigurableGroup):
    """Which tracks count."""

    eta_max = o2.Configurable(0.8, "maximum |eta|")
    multiplicity = o2.ConfigurableAxis([50, 0, 2000], "tracks of a collision")


class NetCharge(o2.AnalysisTask):
    """Multiplicity and net charge, collision by collision."""

    cuts = Cuts()
    central = o2.Filter(abs(o2.col.eta) < cuts.eta_max)
    positive = o2.Partition(o2.Filtered[o2.Tracks], o2.col.sign > 0)
    by_collision = o2.Preslice(o2.Tracks, "collisionId")
    registry = o2.HistogramRegistry(multiplicity=[cuts.multiplicity])
    n_tracks, n_positive, n_sliced = o2.Output(0), o2.Output(0), o2.Output(0)

    def process(self, collision: o2.Collision, tracks: o2.Filtered[o2.Tracks]):
        """Be called for each collision, with its tracks and its part of the partition."""
        self.n_tracks += len(tracks)
        self.n_positive += len(self.positive)
        self.registry.fill("multiplicity", len(tracks))

    @o2.ProcessSwitch("the same with a preslice of all tracks of the dataframe")
    def process_sliced(self, collisions: o2.Collisions, tracks: o2.Filtered[o2.Tracks]):
        for collision in collisions:
            self.n_sliced += len(self.by_collision(tracks, collision))


aod = o2.open_aod(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("O2DASK_AOD", "demo/aod"))
result = aod.run(NetCharge())
nested = aod.collisions.tracks.eta()  # and without a task: a list for each collision, all at once
n_nested = int(ak.sum(abs(nested) < 0.8))
print(f"{result.n_tracks} tracks by grouping, {result.n_sliced} by slicing, {n_nested} by lists; expected the same")
net, n = 2 * result.n_positive - result.n_tracks, result.n_tracks
print(f"net charge {net} +- {np.sqrt(n):.0f}, expected near 0: {net / n:.4f} of the tracks")
n_collisions = result.registry["multiplicity"].sum(flow=True)
print(f"mean multiplicity {n / n_collisions:.1f} in {n_collisions:.0f} collisions")
