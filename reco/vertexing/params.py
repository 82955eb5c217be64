"""Settings of primary vertexing; each field says what too low and too high cost."""

from dataclasses import dataclass

from o2dask.errors import ConfigError

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
    z_sigmas : float
        The same in widths of the luminous region; wide costs time and brings wrong pairs of peaks.
    peak_sigma : float
        Resolution of a good track [time bins]: one such track has a height of 1.
    peak_height, peak_prominence : float
        Of a peak in tracks; low costs time, high loses vertices of few tracks and those in the flank of large ones.
    multiple_scattering : float
        Smearing of z at the beam line by the material in front of the TPC [cm GeV/c]. From residuals of simulated
        tracks; too high joins neighbours, too low splits vertices.
    crossing_sigma : float
        Error of the measured time of tracks of both sides [time bins].
    exit_rows, exit_min_tgl : int, float
        A track whose last cluster is further in than this many rows, and whose tangent of the dip angle is larger,
        left through the pads; then the collision's time is measured.
    exit_offset, exit_sigma : float
        By how much that time is before the last at which the track lies within the TPC, and its error [time bins]:
        half the way between rows, and clusters that are missing. From simulated tracks.
    exit_outliers : float
        Density of tracks that ended for another reason over that of the others at their maximum: 6 % in 100 time bins.
    time_margin : float
        By how much a track may lie outside the drift volume [time bins]; low loses tracks at electrode and pads, high
        throws away what tells pairs of peaks apart where collisions are dense.
    n_sigma, n_sigma_members : float
        Window in which a track shapes a vertex, and in which it belongs to one in the end; lower loses tails, higher
        mixes neighbours in time.
    rounds, free_rounds : int
        Most rounds of the competition for tracks, and the first ones without toll: pairs that share a peak sort
        themselves out before the weak ones pay.
    toll : float
        What a vertex must be worth [tracks]; low leaves accidents, high loses vertices of two or three tracks.
    background : float
        Weight of what belongs to no vertex [tracks]; high makes small vertices smaller.
    min_tracks : int
        Tracks that a vertex needs; 2 keeps peripheral pp collisions at the price of random pairs.
    satellites : tuple of (share, reach)
        A vertex with fewer than this share of the contributors of another one within this reach [time bins] is taken
        for that one's tail: decays, conversions and loopers point to other times. Lower leaves satellites of central
        collisions, higher loses peripheral collisions that overlap with central ones.
    """

    min_clusters: int = 50
    min_pt: float = 0.22
    max_dca: float = 3.0
    z_max: float = 25.0
    z_sigmas: float = 3.0
    peak_sigma: float = 0.8
    peak_height: float = 0.6
    peak_prominence: float = 0.3
    multiple_scattering: float = 0.15
    crossing_sigma: float = 0.2
    exit_rows: int = 3
    exit_min_tgl: float = 0.5
    exit_offset: float = 1.9
    exit_sigma: float = 1.6
    exit_outliers: float = 0.0026
    time_margin: float = 1.0
    n_sigma: float = 4.0
    n_sigma_members: float = 6.0
    rounds: int = 20
    free_rounds: int = 6
    toll: float = 0.8
    background: float = 0.02
    min_tracks: int = 2
    satellites: tuple[tuple[float, float], ...] = ((0.05, 10.0), (0.02, 60.0), (0.001, 300.0))

    def __post_init__(self) -> None:
        windows = (self.n_sigma, self.n_sigma_members, self.z_max, self.z_sigmas, self.crossing_sigma, self.exit_sigma)
        if min(windows) <= 0:
            raise ConfigError(f"vertexing: want windows and errors above 0, got {self}")
        if min(self.background, self.exit_outliers) <= 0 or min(self.rounds, self.exit_rows) < 1:
            raise ConfigError(f"vertexing: want backgrounds above 0 and 1 round and row or more, got {self}")
