"""Photoproduced rho0 -> pi+ pi- in derived data: ALICE's ultra-peripheral tables, which the data model does not know.

Usage: python examples/ud_tracks.py [AO2D_ud.root]     (default: a file of rho0 and nothing else, made here)
"""

import sys
import tempfile
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

import o2dask as o2
from o2dask.analysis.physics.grouping import group_by

PION, RHO, WIDTH = 0.13957, 0.77526, 0.1491  # GeV/c2, PDG 2024
UDCollisions = o2.declare_table("UDCollisions", description="udcollision", fPosZ="float32")
UDTracks = o2.declare_table("UDTracks", description="udtrack", fPx="float32", fPy="float32", fPz="float32")
UDTracksPID = o2.declare_table("UDTracksPID", description="udtrackpid", fTPCNSigmaPi="float32")


class Rho(o2.AnalysisTask):
    """Mass of two pions of opposite charge in collisions with nothing else."""

    max_sigma = o2.Configurable(4.0, "TPC: sigmas from a pion, at most")
    h_mass = o2.Hist.new.Reg(60, 0.3, 1.5, label="m(pi pi) [GeV/c2]").Double()

    def process(self, collisions: UDCollisions, tracks: o2.Join[UDTracks, UDTracksPID]):
        pions = group_by(tracks[abs(tracks.tpcNSigmaPi()) < self.max_sigma], "udCollisionId", collisions)
        pairs = pions[(ak.num(pions.sign()) == 2) & (ak.sum(pions.sign(), axis=1) == 0)].p4(PION)
        self.h_mass.fill((pairs[:, 0] + pairs[:, 1]).mass)


def make_file(path, n=400):
    """Write collisions with a rho0 at rest, which photons make nearly so, and its pions."""
    rng = np.random.default_rng(1)
    mass, way = np.clip(RHO + WIDTH / 2 * rng.standard_cauchy(n), 2.1 * PION, 1.5), rng.normal(size=(3, n))
    momenta = way / np.linalg.norm(way, axis=0) * np.sqrt(mass**2 / 4 - PION**2)
    tracks = {f"fP{axis}": np.stack([p, -p], axis=1).ravel() for axis, p in zip("xyz", momenta, strict=True)}
    tables = {
        "O2udcollision": {"fPosZ": rng.normal(0, 5, n)},
        "O2udtrack": tracks | {"fSign": np.tile([1, -1], n), "fIndexUDCollisions": np.repeat(np.arange(n), 2)},
        "O2udtrackpid": {"fTPCNSigmaPi": rng.normal(0, 1, 2 * n)},
    }
    with uproot.recreate(path) as file:
        for tree, columns in tables.items():
            file.mktree(f"DF_1/{tree}", columns)
    return path


source = sys.argv[1] if len(sys.argv) > 1 else make_file(Path(tempfile.mkdtemp()) / "AO2D_ud.root")
result = o2.open_aod(source).run(Rho())
mass, counts = result.h_mass.axes[0].centers, result.h_mass.values()
near = abs(mass - RHO) < WIDTH
print(
    f"{counts.sum():.0f} pairs in {result.n_dataframes} dataframes, {counts[near].sum():.0f} within a width of the rho0"
)
print(f"mean mass there {(mass * counts)[near].sum() / counts[near].sum():.3f} GeV/c2, expected 0.72 to 0.79")
