"""Transverse-momentum spectra by centrality: percentiles from the events themselves, tracks of each class.

Usage: python examples/spectra_by_centrality.py [AOD]     (default: $O2DASK_AOD, else demo/aod)
"""

import os
import sys
from itertools import pairwise

import numpy as np
from hist import Hist

import o2dask as o2
from o2dask.analysis.physics.centrality import calibrate_centrality
from o2dask.analysis.physics.propagation import with_tracks_at_dca
from o2dask.analysis.physics.selection import EventSelection, tpc_only_selection

CLASSES = [0, 20, 50, 100]
aod = o2.open_aod(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("O2DASK_AOD", "demo/aod"))
calibration = calibrate_centrality(aod.collisions.numContrib(), "numContrib")

events, good = EventSelection(max_abs_z=20), tpc_only_selection()
n_events = np.zeros(len(CLASSES) - 1)
spectra = Hist.new.Var(CLASSES, name="centrality").Reg(49, 0.15, 10, name="pt", label="pT [GeV/c]").Double()
flow = None
for df in aod:
    df = with_tracks_at_dca(df)
    percentile = calibration.percentile(df.collisions.numContrib())
    selected = events.mask(df.collisions)
    n_events += np.histogram(percentile[selected], CLASSES)[0]
    tracks = df.tracks[df.tracks.has_collision()]
    tracks = tracks[selected[tracks.collisionId()]]
    flow = good.flow(tracks) if flow is None else flow + good.flow(tracks)
    tracks = good(tracks)
    spectra.fill(centrality=percentile[tracks.collisionId()], pt=tracks.pt())

print(flow)
print("centrality     events   dN/deta   mean pt [GeV/c]")
density = []
for i, n in enumerate(n_events):
    values, centres = spectra.values()[i], spectra.axes[1].centers
    density.append(values.sum() / max(n, 1) / 1.6)
    mean = (values * centres).sum() / max(values.sum(), 1)
    print(f"{CLASSES[i]:3} - {CLASSES[i + 1]:3} % {n:9.0f} {density[-1]:9.1f} {mean:12.3f}")
falls = all(a >= b for a, b in pairwise(density))
print(f"dN/deta falls with centrality: {'yes' if falls else 'no'}, expected yes")
