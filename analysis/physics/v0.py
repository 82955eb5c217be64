"""V0s: pairs of oppositely charged tracks from one point away from their collision, and what they could be.

Knows states, vertices and cuts; pairs and helices are `kernels_v0`'s. As the DCA fitter with two prongs of AliceO2
(Common/DCAFitter/include/DCAFitter/DCAFitterN.h, absolute distance) and the V0 builder of O2Physics
(PWGLF/TableProducer/Strangeness/strangenessbuilder.cxx): circles crossed in the transverse plane, then Newton in space.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from o2dask.analysis.overlays import overlay
from o2dask.analysis.physics.kinematics import MASSES, armenteros, cos_pointing_angle, invariant_mass
from o2dask.analysis.physics.propagation import propagate_to_dca
from o2dask.analysis.physics.sources import column, frame_of
from o2dask.analysis.physics.tracks import BZ_KG, states_of, vertices_of
from o2dask.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    from o2dask.analysis.frames import Frame
    from o2dask.analysis.table import Table

__all__ = ["V0Candidates", "V0Params", "find_v0s", "v0_columns", "v0_tables", "with_v0s"]


@dataclass(frozen=True, slots=True, kw_only=True)
class V0Params:
    """What a V0 has to be. The defaults suit TPC-only tracks, which point to the vertex within 2 mm to 1 cm.

    Attributes
    ----------
    min_pt : float
        Daughters' transverse momentum [GeV/c]. Too low: slow, mostly combinatorial; too high: loses soft Lambda pions.
    min_tpc_clusters : int
        Daughters' TPC clusters. Too high loses decays inside the TPC.
    min_dca : float
        Daughters' distance to the collision in the transverse plane [cm]. Too low: primaries, quadratically many; too
        high: short-lived decays are lost. With ITS tracks 0.06.
    max_daughter_dca : float
        Distance of the daughters at the decay [cm].
    min_cos_pa : float
        Cosine between momentum and flight. Too low: background, cascades' daughters; too high: resolution cuts in.
    min_radius, max_radius : float
        Decay radius from the beam line [cm].
    max_dz_crossing : float
        Distance in z where the circles cross [cm], the cheap test before the fit. Too low loses small opening angles.
    max_beyond : float
        How far along the tracks past their first point the decay may be [cm].
    """

    min_pt: float = 0.1
    min_tpc_clusters: int = 50
    min_dca: float = 1.0
    max_daughter_dca: float = 1.0
    min_cos_pa: float = 0.995
    min_radius: float = 3.0
    max_radius: float = 150.0
    max_dz_crossing: float = 8.0
    max_beyond: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_radius < self.max_radius:
            raise ConfigError(f"V0Params: want 0 <= min_radius < max_radius, got {self.min_radius}, {self.max_radius}")
        if not -1 <= self.min_cos_pa <= 1:
            raise ConfigError(f"V0Params: want min_cos_pa from -1 to 1, got {self.min_cos_pa}")
        if self.max_daughter_dca <= 0 or self.max_dz_crossing <= 0:
            raise ConfigError("V0Params: want positive max_daughter_dca and max_dz_crossing")


class V0Candidates(NamedTuple):
    """V0 candidates, one row each, float64.

    `rows` (n, 2) int64: positive and negative track. `collision` (n,) int64. `decay` (n, 3): midpoint of the closest
    approach [cm]. `momenta` (n, 2, 3): of the daughters there [GeV/c]. `daughter_dca`, `cos_pa` (n,).
    """

    rows: np.ndarray
    collision: np.ndarray
    decay: np.ndarray
    momenta: np.ndarray
    daughter_dca: np.ndarray
    cos_pa: np.ndarray

    def mass(self, positive: str, negative: str) -> np.ndarray:
        """Return the invariant mass [GeV/c2] for daughters named as in `kinematics.MASSES`."""
        each = [tuple(self.momenta[:, i].T) for i in range(2)]
        return invariant_mass(each, [MASSES[positive], MASSES[negative]])


def find_v0s(
    states: np.ndarray,
    collision: np.ndarray,
    vertices: np.ndarray,
    params: V0Params | None = None,
    bz: float = BZ_KG,
) -> V0Candidates:
    """Return the V0 candidates among tracks that passed the daughters' selection.

    Parameters
    ----------
    states : ndarray, (n, 7)
        As from `states_of`, at or outside the decay.
    collision : ndarray, (n,), int
        Collision of each track; pairs are made within one, tracks with -1 are left out.
    vertices : ndarray, (n_collisions, 3)
        Collision vertices [cm].
    params : V0Params, optional
        The pair cuts are applied here, those on single tracks (pt, clusters, dca) by `with_v0s`.
    bz : float
        Field [kG].
    """
    from o2dask.analysis.physics.kernels_helix import helix_rows
    from o2dask.analysis.physics.kernels_v0 import CONVERGED, meet_rows

    params = params or V0Params()
    if states.ndim != 2 or states.shape[1] != 7 or len(collision) != len(states):
        raise ShapeError(f"find_v0s: want states (n, 7) and collision (n,), got {states.shape}, {np.shape(collision)}")
    states, collision = np.ascontiguousarray(states, np.float64), np.asarray(collision, np.int64)
    helices = np.empty((len(states), 6))
    helix_rows(states, float(bz), helices)
    rows, arcs = _crossings(helices, states[:, 6], collision, len(vertices), params)
    points, directions = np.empty((len(rows), 2, 3)), np.empty((len(rows), 2, 3))
    statuses = np.zeros(len(rows), np.int8)
    meet_rows(helices, rows, arcs, points, directions, statuses)
    gap = np.sqrt(((points[:, 0] - points[:, 1]) ** 2).sum(axis=1))
    decay = points.mean(axis=1)
    momenta = directions / np.abs(states[rows, 6])[:, :, None]
    home = collision[rows[:, 0]]
    cos_pa = cos_pointing_angle(decay - np.asarray(vertices)[home], momenta.sum(axis=1))
    radius = np.hypot(decay[:, 0], decay[:, 1])
    good = (statuses == CONVERGED) & (gap < params.max_daughter_dca) & (cos_pa > params.min_cos_pa)
    good &= (radius > params.min_radius) & (radius < params.max_radius)
    return V0Candidates(rows[good], home[good], decay[good], momenta[good], gap[good], cos_pa[good])


def _crossings(
    helices: np.ndarray, signed1Pt: np.ndarray, collision: np.ndarray, n_collisions: int, params: V0Params
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (m, 2) and arcs (m, 2) of the pairs within one collision that pass the cheap test."""
    from o2dask.analysis.physics.kernels_v0 import count_crossings, fill_crossings

    usable = (collision >= 0) & np.isfinite(helices).all(axis=1)
    positive, negative = (np.flatnonzero(usable & side) for side in (signed1Pt > 0, signed1Pt < 0))
    positive = positive[np.argsort(collision[positive], kind="stable")]
    negative = negative[np.argsort(collision[negative], kind="stable")]
    offsets = np.searchsorted(collision[negative], np.arange(n_collisions + 1)).astype(np.int64)
    group = collision[positive]
    limits = (params.max_daughter_dca, params.max_dz_crossing, params.min_radius, params.max_radius, params.max_beyond)
    cuts = np.array(limits, np.float64)
    counts = np.zeros(len(positive), np.int64)
    count_crossings(positive, group, negative, offsets, helices, cuts, counts)
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows, arcs = np.empty((starts[-1], 2), np.int64), np.empty((starts[-1], 2))
    fill_crossings(positive, group, negative, offsets, helices, cuts, starts[:-1], rows, arcs)
    return rows, arcs


def v0_columns(v0s: V0Candidates, dca: np.ndarray, vertices: np.ndarray) -> dict[str, np.ndarray]:
    """Return columns named as the getters of O2Physics' V0Cores (PWGLF/DataModel/LFStrangenessTables.h), float32.

    Units cm, GeV/c, GeV/c2. `dca` (n_tracks,) are the daughters' distances to their collision in the transverse plane.
    """
    positive, negative = v0s.momenta[:, 0], v0s.momenta[:, 1]
    p = positive + negative
    alpha, qt = armenteros(positive, negative)
    flight = v0s.decay - np.asarray(vertices)[v0s.collision]
    pt, momentum = np.hypot(p[:, 0], p[:, 1]), np.sqrt((p**2).sum(axis=1))
    sine = np.sqrt(np.maximum(1 - v0s.cos_pa**2, 0))
    named: dict[str, Any] = {
        **{f"f{axis}": v0s.decay[:, i] for i, axis in enumerate("XYZ")},
        **{f"fP{axis}pos": positive[:, i] for i, axis in enumerate("xyz")},
        **{f"fP{axis}neg": negative[:, i] for i, axis in enumerate("xyz")},
        **{f"fP{axis}": p[:, i] for i, axis in enumerate("xyz")},
        "fPt": pt,
        "fEta": np.arcsinh(p[:, 2] / np.maximum(pt, 1e-12)),
        "fPhi": np.arctan2(p[:, 1], p[:, 0]) % (2 * np.pi),
        "fP": momentum,
        "fV0radius": np.hypot(v0s.decay[:, 0], v0s.decay[:, 1]),
        "fV0cosPA": v0s.cos_pa,
        "fDCAV0daughters": v0s.daughter_dca,
        "fDCApostopv": dca[v0s.rows[:, 0]],
        "fDCAnegtopv": dca[v0s.rows[:, 1]],
        "fDCAv0topv": np.sqrt((flight**2).sum(axis=1)) * sine,
        "fDistovertotmom": np.sqrt((flight**2).sum(axis=1)) / np.maximum(momentum, 1e-12),
        "fMK0Short": v0s.mass("pion", "pion"),
        "fMLambda": v0s.mass("proton", "pion"),
        "fMAntiLambda": v0s.mass("pion", "proton"),
        "fMGamma": v0s.mass("electron", "electron"),
        "fAlpha": alpha,
        "fQtarm": qt,
    }
    return {name: values.astype(np.float32) for name, values in named.items()}


def with_v0s(source: "Frame | Table", params: V0Params | None = None, bz: float = BZ_KG) -> "Frame":
    """Return the frame with V0s made from its tracks: ``frame.v0s.mK0Short()``, ``frame.v0s.posTrack().tpcSignal()``.

    Stored as O2v0_002 with a table of O2's V0Cores beside it. Tracks without a collision are left out. `source` is a
    dataframe, or a table of one: ``with_v0s(tracks)`` in a task.
    """
    frame = frame_of(source)
    return overlay(frame, v0_tables(frame, params, bz), beside={"O2v0core": "O2v0_002"})


def v0_tables(frame: "Frame", params: V0Params | None = None, bz: float = BZ_KG) -> dict[str, dict[str, Any]]:
    """Return the columns of O2v0_002 and O2v0core by tree; see `with_v0s`."""
    params = params or V0Params()
    tracks = frame.tracksIU
    states, collision = states_of(tracks), column(tracks, "collisionId").astype(np.int64)
    positions = np.stack([column(frame.collisions, f"pos{axis}").astype(np.float64) for axis in "XYZ"], axis=1)
    at_dca = propagate_to_dca(states, vertices_of(tracks, frame.collisions), bz)
    good = at_dca.is_propagated & (np.abs(at_dca.dca_xy) > params.min_dca) & (column(tracks, "pt") > params.min_pt)
    if "tpcNClsFound" in tracks.getters:
        good &= column(tracks, "tpcNClsFound") >= params.min_tpc_clusters
    chosen = np.flatnonzero(good & (collision >= 0))
    v0s = find_v0s(states[chosen], collision[chosen], positions, params, bz)
    v0s = v0s._replace(rows=chosen[v0s.rows])
    order = np.argsort(v0s.collision, kind="stable")
    v0s = V0Candidates(*(values[order] for values in v0s))
    return {
        "O2v0_002": {
            "fIndexCollisions": v0s.collision.astype(np.int32),
            "fIndexTracks_Pos": v0s.rows[:, 0].astype(np.int32),
            "fIndexTracks_Neg": v0s.rows[:, 1].astype(np.int32),
            "fV0Type": np.ones(len(v0s.rows), np.uint8),
        },
        "O2v0core": v0_columns(v0s, at_dca.dca_xy, positions),
    }
