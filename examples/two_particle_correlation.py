"""Angular correlation of two particles: pairs of one event over pairs of different events.

Usage: python examples/two_particle_correlation.py [AOD]     (default: $O2DASK_AOD, else demo/aod)
"""

import os
import sys

import numpy as np
from hist import Hist

import o2dask as o2
from o2dask.analysis.physics.binning import ColumnBinningPolicy
from o2dask.analysis.physics.grouping import group_by
from o2dask.analysis.physics.pairs import mixed_pairs, pairs
from o2dask.analysis.physics.propagation import with_tracks_at_dca

aod = o2.open_aod(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("O2DASK_AOD", "demo/aod"))
policy = ColumnBinningPolicy({"posZ": np.linspace(-20, 20, 5), "numContrib": [0, 300, 1000, 10000]})
axes = Hist.new.Reg(12, -np.pi / 2, 3 * np.pi / 2, name="dphi").Reg(8, -1.6, 1.6, name="deta")
same, mixed = axes.Double(), axes.Double()


def fill(histogram, found):
    """Fill differences of angles of the pairs."""
    difference = found.first.phi() - found.second.phi()
    difference = (difference + np.pi / 2) % (2 * np.pi) - np.pi / 2
    histogram.fill(dphi=difference, deta=found.first.eta() - found.second.eta())


for df in aod:
    df = with_tracks_at_dca(df)
    tracks, collisions = df.tracks, df.collisions
    central = (abs(tracks.eta()) < 0.8) & (abs(tracks.dcaXY()) < 1) & (abs(tracks.dcaZ()) < 1)
    triggers = group_by(tracks[central & (tracks.pt() > 1.0)], "collisionId", collisions)
    associates = group_by(tracks[central & (tracks.pt() > 0.4) & (tracks.pt() < 1.0)], "collisionId", collisions)
    fill(same, pairs(triggers, associates))
    fill(mixed, mixed_pairs(triggers, policy.bins(collisions), 5, associates))

n_same, n_mixed = same.values().sum(), mixed.values().sum()
if not n_same or not n_mixed:
    sys.exit(f"{n_same:.0f} pairs of one event, {n_mixed:.0f} of different events: want more events")
print(f"{n_same:.0f} pairs of one event, {n_mixed:.0f} of different events, in {len(aod)} dataframes")
shape = same.values() / n_same, mixed.values() / n_mixed
ratio = shape[0].sum(axis=1) / shape[1].sum(axis=1)
error = ratio * np.hypot(*(1 / np.sqrt(np.maximum(h.values().sum(axis=1), 1)) for h in (same, mixed)))
for centre, value, e in zip(same.axes[0].centers, ratio, error, strict=True):
    print(f"dphi {centre:6.2f}   C = {value:.3f} +- {e:.3f}")
acceptance = shape[1].sum(axis=0)
print(f"mixed pairs at deta 0.2 over those at 1.4: {acceptance[4] / acceptance[-1]:.1f}, 7 for flat eta")
print(f"mean correlation {ratio.mean():.3f}, expected 1")
