"""K0S in the generated particles: follow daughters, rebuild the mass, and ask how often both pions became tracks.

Usage: python examples/k0s_mass.py [AOD]     (default: $O2DASK_AOD, else demo/aod)
"""

import os
import sys

import awkward as ak
import numpy as np

import o2dask as o2

K0S, PION = 310, 211
MASS = 0.497611  # GeV/c2, PDG 2024

aod = o2.open_aod(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("O2DASK_AOD", "demo/aod"))
masses, n_tracked = [], 0
for df in aod:
    k0s = df.mcParticles[df.mcParticles.pdgCode() == K0S]
    pdg = k0s.daughters().pdgCode()  # a list per K0S
    to_pions = k0s[(ak.num(pdg) == 2) & ak.all(abs(pdg) == PION, axis=1)]
    pions = to_pions.daughters()
    momenta = pions.p4()
    masses.append(ak.to_numpy((momenta[:, 0] + momenta[:, 1]).mass))
    n_tracked += int(ak.sum(ak.all(ak.num(pions.tracks.pt(), axis=2) > 0, axis=1)))

masses = np.concatenate(masses)
if not len(masses):
    sys.exit("no K0S -> pi+ pi- in this AOD")
print(f"{len(masses)} K0S -> pi+ pi- in {len(aod)} dataframes")
print(f"mass {masses.mean():.6f} +- {masses.std():.6f} GeV/c2, expected {MASS} (spread: stored precision)")
print(f"both pions have a track: {n_tracked} ({n_tracked / len(masses):.1%})")
