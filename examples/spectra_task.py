"""Transverse-momentum spectra of charged tracks and of the particles they come from, as an analysis task.

Usage: python examples/spectra_task.py [AOD]     (default: $O2DASK_AOD, else demo/aod)
or:    o2dask analysis examples/spectra_task.py:Spectra --aod demo/aod -o spectra.eta_max=0.5
"""

import os
import sys

import o2dask as o2


class Spectra(o2.AnalysisTask):
    """Spectra of tracks with enough TPC clusters, and of generated charged pions."""

    eta_max = o2.Configurable(0.8, "maximum |eta|")
    min_clusters = o2.Configurable(70, "TPC clusters of a track, at least")

    h_pt = o2.Hist.new.Reg(100, 0, 10, label="pT [GeV/c]").Double()
    h_eta_phi = o2.Hist.new.Reg(32, -0.8, 0.8, label="eta").Reg(36, 0, 6.2832, label="phi [rad]").Double()
    h_pt_generated = o2.Hist.new.Reg(100, 0, 10, label="generated pT [GeV/c]").Double()
    n_collisions = o2.Output(0)

    central = o2.Filter(abs(o2.col.eta) < eta_max)

    def process(self, collisions: o2.Collisions, tracks: o2.Filtered[o2.Join[o2.Tracks, o2.TracksExtra]]):
        good = tracks[tracks.tpcNClsFound() >= self.min_clusters]
        self.n_collisions += len(collisions)
        self.h_pt.fill(good.pt())
        self.h_eta_phi.fill(good.eta(), good.phi())

    @o2.ProcessSwitch("generated pions, where the AOD has truth", default=True)
    def process_mc(self, particles: o2.Filtered[o2.McParticles]):
        pions = particles[(abs(particles.pdgCode()) == 211) & particles.isPhysicalPrimary()]
        self.h_pt_generated.fill(pions.pt())


def main() -> None:
    source = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("O2DASK_AOD", "demo/aod")
    aod = o2.open_aod(source)
    result = aod.run(Spectra(eta_max=0.8, process_mc="O2mcparticle_001" in aod.tables))
    result.save("AnalysisResults.root")
    print(result.summary())
    n_tracks, n_pions = result.h_pt.sum(flow=True), result.h_pt_generated.sum(flow=True)
    print(f"{n_tracks:.0f} tracks in {result.n_collisions} collisions, {n_pions:.0f} generated pions")
    mean = float((result.h_pt.axes[0].centers * result.h_pt.values()).sum() / max(n_tracks, 1))
    print(f"mean pT {mean:.3f} GeV/c, expected 0.4 to 0.9 in minimum-bias pp and Pb-Pb collisions")


if __name__ == "__main__":
    main()
