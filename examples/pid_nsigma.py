"""Particle identification by dE/dx: fit the TPC's response on labelled tracks, and look at the number of sigmas.

Usage: python examples/pid_nsigma.py [AOD]     (default: $O2DASK_AOD, else demo/aod; needs generated particles)
"""

import os
import sys

import numpy as np

import o2dask as o2
from o2dask.analysis.physics.pid_tpc import fit_tpc_response, species_of_pdg, tpc_n_sigma
from o2dask.analysis.physics.selection import TrackSelection

aod = o2.open_aod(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("O2DASK_AOD", "demo/aod"))
good = TrackSelection(eta=(-0.8, 0.8), min_tpc_clusters=70)
names = ("tpcInnerParam", "tpcSignal", "tpcNClsFound", "hasTPC")
parts, species = {name: [] for name in names}, []
for df in aod:
    tracks = good(df.tracks)
    tracks = tracks[tracks.has_mcParticle()]
    species.append(species_of_pdg(df.mcParticles.pdgCode()[tracks.mcParticleId()]))
    for name in names:
        parts[name].append(getattr(tracks, name)())
species = np.concatenate(species)
tracks = {name: np.concatenate(columns) for name, columns in parts.items()}

half = np.arange(len(species)) % 2 == 0  # fitted with one half, judged with the other
p, signal, n_clusters = (tracks[name][half] for name in names[:3])
response = fit_tpc_response(p, signal, species[half], n_clusters)
other = {name: column[~half] for name, column in tracks.items()}
print(f"response fitted to {half.sum()} tracks: ALEPH {np.round(response.bethe_bloch, 4)}")
print("       tracks    mean n-sigma   width     within 3 sigma of the pion (p < 0.7 GeV/c)")
slow = other["tpcInnerParam"] < 0.7
pion = abs(tpc_n_sigma(other, "Pi", response)) < 3
for name in ("Pi", "Ka", "Pr"):
    mine = species[~half] == name
    pull = tpc_n_sigma(other, name, response)[mine]
    pull = pull[abs(pull) < 5]
    if len(pull):
        n_slow = max((mine & slow).sum(), 1)
        print(
            f"{name} {len(pull):10} {pull.mean():14.3f} {pull.std():8.3f} {(pion & mine & slow).sum() / n_slow:14.1%}"
        )
print("expected: mean 0, width 1; pions 99.7 %, slow kaons and protons few")
