"""Tasks on tracks: propagation to the vertex, and selection. As O2Physics' track-propagation and trackselection."""

import o2dask as o2
from o2dask.analysis.physics.propagation import tables_at_dca
from o2dask.analysis.physics.selection import CutFlow, TrackSelection, global_track_selection, tpc_only_selection
from o2dask.analysis.physics.sources import frame_of
from o2dask.analysis.physics.tracks import BZ_KG
from o2dask.analysis.table import Table
from o2dask.analysis.task import AnalysisTask
from o2dask.analysis.tasks.tables import TracksDca, TrackSelections
from o2dask.errors import ConfigError

__all__ = ["TrackPropagation", "TrackSelector"]

_SELECTIONS = {"tpc-only": tpc_only_selection, "global": global_track_selection, "none": TrackSelection}


class TrackPropagation(AnalysisTask):
    """Makes Tracks, TracksCov and TracksDCA: tracks at their closest approach to their collision."""

    bz = o2.Configurable(BZ_KG, "field [kG]")
    max_x = o2.Configurable(1000.0, "tracks whose point lies further out [cm] stay there; O2 takes 83.1")

    tracks = o2.Produces[o2.Tracks]
    cov = o2.Produces[o2.TracksCov]
    dca = o2.Produces[TracksDca]

    def process(self, collisions: o2.Collisions, tracks: o2.TracksIU) -> None:
        """Propagate the tracks of a dataframe."""
        made = tables_at_dca(frame_of(tracks), self.bz, max_x=self.max_x)
        self.tracks(**made["O2track"])
        self.dca(**made["O2trackdca"])
        if "O2trackcov" in made:
            self.cov(**made["O2trackcov"])


class TrackSelector(AnalysisTask):
    """Makes TrackSelections: which tracks are good, by TPC quality, ITS, kinematics and DCA; and the cut flow."""

    selection = o2.Configurable("tpc-only", "where to begin", choices=tuple(_SELECTIONS))
    eta_max = o2.Configurable(0.8, "maximum |eta|", minimum=0)
    pt_min = o2.Configurable(0.15, "least pT [GeV/c]", minimum=0)
    min_tpc_clusters = o2.Configurable(-1, "least TPC clusters; -1: as the selection has it")
    max_dca_xy = o2.Configurable(-1.0, "largest |dcaXY| [cm]; -1: as the selection has it")
    max_dca_z = o2.Configurable(-1.0, "largest |dcaZ| [cm]; -1: as the selection has it")

    table = o2.Produces[TrackSelections]
    flow = o2.Output(None, lambda one, other: one + other if one and other else one or other)

    def cuts(self) -> TrackSelection:
        """Return the cuts that the settings mean."""
        changes: dict[str, object] = {"eta": (-self.eta_max, self.eta_max), "pt": (self.pt_min, 1e10)}
        if self.min_tpc_clusters >= 0:
            changes["min_tpc_clusters"] = self.min_tpc_clusters
        if self.max_dca_xy >= 0:
            changes |= {"max_dca_xy": self.max_dca_xy, "dca_xy_of_pt": None}
        if self.max_dca_z >= 0:
            changes["max_dca_z"] = self.max_dca_z
        try:
            return _SELECTIONS[self.selection](**changes)  # type: ignore[operator]
        except ConfigError as error:
            raise ConfigError(f"task {self.name!r}: {error}") from None

    def process(self, tracks: o2.Join[o2.Tracks, o2.TracksExtra, TracksDca]) -> None:
        """Select the tracks of a dataframe."""
        self.fill(tracks)

    def fill(self, tracks: Table) -> None:
        """Fill the table and the cut flow."""
        bits = self.cuts().bits(tracks)
        self.table(bits == 0xFFFFFFFF, bits)
        flow: CutFlow = self.cuts().flow(tracks)
        self.flow = flow if self.flow is None else self.flow + flow
