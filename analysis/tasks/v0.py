"""The task that builds V0s. As O2Physics' strangenessbuilder."""

import o2dask as o2
from o2dask.analysis.physics.sources import frame_of
from o2dask.analysis.physics.tracks import BZ_KG
from o2dask.analysis.physics.v0 import V0Params, v0_tables
from o2dask.analysis.task import AnalysisTask
from o2dask.analysis.tasks.tables import V0Cores

__all__ = ["V0Builder"]

_DEFAULT = V0Params()


class V0Builder(AnalysisTask):
    """Makes V0s and V0Cores from the tracks: mK0Short, mLambda, posTrack; the settings are those of `V0Params`."""

    bz = o2.Configurable(BZ_KG, "field [kG]")
    min_pt = o2.Configurable(_DEFAULT.min_pt, "daughters' least pT [GeV/c]", minimum=0)
    min_tpc_clusters = o2.Configurable(_DEFAULT.min_tpc_clusters, "daughters' least TPC clusters", minimum=0)
    min_dca = o2.Configurable(_DEFAULT.min_dca, "daughters' least dcaXY [cm]", minimum=0)
    max_daughter_dca = o2.Configurable(_DEFAULT.max_daughter_dca, "distance of the daughters at the decay [cm]")
    min_cos_pa = o2.Configurable(_DEFAULT.min_cos_pa, "cosine between momentum and flight", minimum=-1, maximum=1)
    min_radius = o2.Configurable(_DEFAULT.min_radius, "least decay radius [cm]", minimum=0)
    max_radius = o2.Configurable(_DEFAULT.max_radius, "largest decay radius [cm]", minimum=0)
    max_dz_crossing = o2.Configurable(_DEFAULT.max_dz_crossing, "distance in z where the circles cross [cm]")
    max_beyond = o2.Configurable(_DEFAULT.max_beyond, "how far past the first point of the tracks [cm]")

    v0s = o2.Produces[o2.V0s]
    cores = o2.Produces[V0Cores]

    def process(self, collisions: o2.Collisions, tracks: o2.TracksIU) -> None:
        """Build the V0s of a dataframe."""
        cuts = {name: value for name, value in self.settings.items() if name != "bz"}
        made = v0_tables(frame_of(tracks), V0Params(**cuts), self.bz)
        self.v0s(**made["O2v0_002"])
        self.cores(**made["O2v0core"])
