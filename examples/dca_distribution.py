"""Distance of tracks to their collision: its width by transverse momentum, beside the errors of the track fit.

Usage: python examples/dca_distribution.py [AOD]     (default: $O2DASK_AOD, else demo/aod)
"""

import os
import sys
from itertools import pairwise

import numpy as np

import o2dask as o2
from o2dask.analysis.physics.propagation import with_tracks_at_dca
from o2dask.analysis.physics.selection import TrackSelection

aod = o2.open_aod(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("O2DASK_AOD", "demo/aod"))
good = TrackSelection(eta=(-0.8, 0.8), min_tpc_clusters=80, max_tpc_chi2=4.0)
columns = {"pt": [], "dcaXY": [], "dcaZ": [], "sigmaY": []}
for df in aod:
    tracks = with_tracks_at_dca(df).tracks
    tracks = tracks[good.mask(tracks) & tracks.has_collision()]
    for name, parts in columns.items():
        parts.append(getattr(tracks, name)())

pt, dca_xy, dca_z, sigma = (np.concatenate(parts) for parts in columns.values())


def width(values):
    """Return the width of the core: 1.48 times the median distance to the median, blind to the tails of decays."""
    return 1.4826 * np.median(abs(values - np.median(values)))


print("pt [GeV/c]    tracks   median xy   width xy   from the fit   width z [cm]")
edges = [0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 10]
for low, high in pairwise(edges):
    rows = (pt >= low) & (pt < high)
    if rows.sum() < 20:
        continue
    numbers = np.median(dca_xy[rows]), width(dca_xy[rows]), np.median(sigma[rows]), width(dca_z[rows])
    print(
        f"{low:4} - {high:4} {rows.sum():9} {numbers[0]:11.4f} {numbers[1]:10.4f} {numbers[2]:14.4f} {numbers[3]:14.4f}"
    )
centre, error = np.median(dca_xy), 1.2533 * width(dca_xy) / np.sqrt(len(dca_xy))
print(f"median of all {centre:.4f} +- {error:.4f} cm, expected 0; widths above the fit's: scattering in the material")
