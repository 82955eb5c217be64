"""Triples: the mass of three tracks of one collision, over that of three tracks of different collisions.

Usage: python examples/three_particle_mass.py [AOD]     (default: $O2DASK_AOD, else demo/aod)
"""

import os
import sys

import numpy as np
from hist import Hist

import o2dask as o2
from o2dask.analysis.physics.binning import ColumnBinningPolicy
from o2dask.analysis.physics.grouping import group_by
from o2dask.analysis.physics.pairs import mixed_triples, triple_blocks

PION, PT_MIN, ETA_MAX = 0.13957, 1.2, 0.8
aod = o2.open_aod(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("O2DASK_AOD", "demo/aod"))
policy = ColumnBinningPolicy({"numContrib": [0, 100, 300, 1000, 10000]})
axis = Hist.new.Reg(25, 0.5, 10.5, name="mass", label="m(3 pi) [GeV/c2]")
same, mixed = axis.Double(), axis.Double()

n_triples, n_expected = 0, 0
for df in aod:
    tracks, collisions = df.tracks, df.collisions
    hard = tracks[(tracks.pt() > PT_MIN) & (abs(tracks.eta()) < ETA_MAX)]
    events = group_by(hard, "collisionId", collisions)
    n = np.bincount(hard.collisionId()[hard.has_collision()], minlength=len(collisions)).astype(np.int64)
    n_expected += int((n * (n - 1) * (n - 2) // 6).sum())
    for found in triple_blocks(events):  # in bounded memory; triples(events) has all at once
        n_triples += len(found)
        same.fill(found.mass(PION))
    mixed.fill(mixed_triples(events, policy.bins(collisions), depth=2).mass(PION))

print(f"{n_triples} triples in {len(aod)} dataframes, expected n(n-1)(n-2)/6 of each collision: {n_expected}")
if not same.sum() or not mixed.sum():
    sys.exit("no triples, or none of different collisions: want more events")
shape = same.values() / same.sum(), mixed.values() / mixed.sum()
for low, one, other in zip(same.axes[0].edges[:-1:5], *(s.reshape(5, 5).sum(axis=1) for s in shape), strict=True):
    ratio = f"{one / other:.3f}" if other else "-"
    print(f"from {low:4.1f} GeV/c2: same events {one:.4f}, mixed {other:.4f}, ratio {ratio}")
means = [float((s * same.axes[0].centers).sum()) for s in shape]
print(f"mean mass of one event over mixed {means[0] / means[1]:.3f}, expected 1 without jets and resonances")
