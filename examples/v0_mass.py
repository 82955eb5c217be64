"""K0S and Lambda from their daughters' tracks: the V0 builder, cuts on the candidates, masses of the peaks.

Usage: python examples/v0_mass.py [AOD]     (default: $O2DASK_AOD, else demo/aod)
"""

import os
import sys

import numpy as np

import o2dask as o2
from o2dask.analysis.physics.kinematics import MASSES
from o2dask.analysis.physics.v0 import V0Params, with_v0s

aod = o2.open_aod(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("O2DASK_AOD", "demo/aod"))
masses = {"k0s": [], "lambda": []}
for df in aod:
    v0s = with_v0s(df, V0Params(min_radius=3.0, min_cos_pa=0.995)).v0s
    masses["k0s"].append(v0s.mK0Short()[v0s.qtarm() > 0.2 * abs(v0s.alpha())])
    masses["lambda"].append(v0s.mLambda()[(v0s.alpha() > 0.2) & (v0s.qtarm() < 0.12)])
    masses["lambda"].append(v0s.mAntiLambda()[(v0s.alpha() < -0.2) & (v0s.qtarm() < 0.12)])


def peak(mass, near, half_width):
    """Return candidates in the peak above the sidebands, and the mean mass there after subtracting them."""
    inside = mass[abs(mass - near) < half_width]
    side = mass[(abs(mass - near) > 1.5 * half_width) & (abs(mass - near) < 2.5 * half_width)]
    n = len(inside) - len(side)
    mean = (inside.sum() - len(side) * near) / n if n > 0 else np.nan
    return n, np.sqrt(len(inside) + len(side)), mean


for name, parts in masses.items():
    n, error, mean = peak(np.concatenate(parts), MASSES[name], 0.015 if name == "k0s" else 0.006)
    print(f"{name}: {n} +- {error:.0f} above background in {len(aod)} dataframes")
    found = f"{mean:.4f} GeV/c2" if n > 2 * error else "not yet: too few events"
    print(f"  mean mass {found}, expected {MASSES[name]:.4f} (up to 0.005 less without energy-loss correction)")
