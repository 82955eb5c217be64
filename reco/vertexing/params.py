"""Settings of primary vertexing; each field says what too low and too high cost."""

from dataclasses import dataclass

__all__ = ["VertexParams"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexParams:
    """Primary vertexing of TPC tracks in time and z.

    Attributes
    ----------
    min_clusters : int
        Clusters of a track that may seed or shape a vertex; lower brings poor directions, higher loses pp vertices.
    min_pt : float
        Transverse momentum [GeV/c] of such tracks; below 0.2 the legs of loopers point anywhere and make vertices of
        their own, higher loses tracks of small vertices.
    max_dca : float
        Distance of closest approach to the beam line [cm] of such tracks; lower loses low pt, higher lets decay
        daughters pull the vertex.
    z_max : float
        Largest distance in z of a vertex from the middle of the luminous region [cm].
    peak_sigma : float
        Smoothing of the time histogram [time bins]: the resolution of one track; lower splits vertices, higher merges
        neighbours.
    min_tracks : int
        Tracks that a peak needs; 2 keeps peripheral pp collisions at the price of random pairs.
    n_sigma : float
        Window in which a track belongs to a vertex; lower loses tails, higher mixes neighbours in time.
    satellite_share, satellite_reach : float
        A vertex with fewer than this share of the contributors of another one within this reach [time bins] is taken
        for that one's tail; lower leaves satellites of central collisions, higher loses peripheral collisions that
        overlap with central ones.
    multiple_scattering : float
        Smearing of z at the beam line by the material in front of the TPC [cm GeV/c].
    """

    min_clusters: int = 50
    min_pt: float = 0.22
    max_dca: float = 3.0
    z_max: float = 25.0
    peak_sigma: float = 1.5
    min_tracks: int = 2
    n_sigma: float = 4.0
    satellite_share: float = 0.02
    satellite_reach: float = 60.0
    multiple_scattering: float = 0.25
