"""Propagation of tracks to their closest approach to the collision vertex: what O2's track-propagation task does.

Knows states, vertices and frames of tables; the helix is `kernels_helix`'s. The field is constant, material is ignored
(O2 corrects for it; for TPC-only tracks that crossing of the inner wall and ITS is the larger part of their error).
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from o2dask.analysis.overlays import overlay
from o2dask.analysis.physics.sources import frame_of
from o2dask.analysis.physics.tracks import BZ_KG, STATE, covariances_of, states_of, vertices_of
from o2dask.errors import ShapeError

if TYPE_CHECKING:
    from o2dask.analysis.frames import Frame
    from o2dask.analysis.table import Table

__all__ = ["AtDca", "propagate_to_dca", "tables_at_dca", "with_tracks_at_dca"]

NO_DCA = 999.0
"""dcaXY and dcaZ [cm] of tracks that could not be propagated (O2Physics, Common/TableProducer/trackPropagation.cxx)."""
MAX_RHO = 127


class AtDca(NamedTuple):
    """Tracks at their closest approach in the transverse plane, float64, one row per track.

    `states` (n, 7): x, alpha, y, z, snp, tgl, signed1Pt in the frame that looks along the track. `dca_xy`, `dca_z` (n,)
    [cm]: track minus vertex, dca_xy positive to the left of the track. `cov` (n, 15), None without input covariances.
    `is_propagated` (n,): False where the state was not finite; such rows keep their state and have 999 in both.
    """

    states: np.ndarray
    dca_xy: np.ndarray
    dca_z: np.ndarray
    cov: np.ndarray | None
    is_propagated: np.ndarray

    def column(self, name: str) -> np.ndarray:
        """Return a state parameter by O2's name."""
        return self.states[:, STATE.index(name)]


def propagate_to_dca(
    states: np.ndarray, vertices: np.ndarray, bz: float = BZ_KG, cov: np.ndarray | None = None
) -> AtDca:
    """Return tracks at their closest approach to their vertex in the transverse plane.

    Parameters
    ----------
    states : ndarray, (n, 7)
        As from `states_of`.
    vertices : ndarray, (n, 3)
        One point per track [cm], as from `vertices_of`.
    bz : float
        Field [kG]; curvature = -0.000299792458*bz*signed1Pt.
    cov : ndarray, (n, 15), optional
        As from `covariances_of`.

    Notes
    -----
    AliceO2, DataFormats/Reconstruction/src/TrackParametrizationWithError.cxx, propagateToDCA. The covariance is that at
    fixed x of the final frame; its Jacobian is exact for any turning angle, where O2 linearises in steps.
    """
    from o2dask.analysis.physics.kernels_helix import OK, move_rows_to_dca

    states = np.ascontiguousarray(states, np.float64)
    vertices = np.ascontiguousarray(vertices, np.float64)
    n = len(states)
    if states.shape != (n, 7) or vertices.shape != (n, 3) or (cov is not None and cov.shape != (n, 15)):
        shapes = states.shape, vertices.shape, None if cov is None else cov.shape
        raise ShapeError(f"propagate_to_dca: want states (n, 7), vertices (n, 3), cov (n, 15), got {shapes}")
    moved = np.concatenate([states, np.full((n, 2), NO_DCA)], axis=1)
    before = np.zeros((1, 15)) if cov is None else np.ascontiguousarray(cov, np.float64)
    after = before.copy()
    statuses = np.zeros(n, np.int8)
    move_rows_to_dca(states, before, cov is not None, vertices, float(bz), moved, after, statuses)
    return AtDca(moved[:, :7], moved[:, 7], moved[:, 8], None if cov is None else after, statuses == OK)


def with_tracks_at_dca(source: "Frame | Table", bz: float = BZ_KG, *, max_x: float = np.inf) -> "Frame":
    """Return the frame with O2's propagated tracks: ``frame.tracks`` at the vertex, with ``dcaXY()`` and ``dcaZ()``.

    Parameters
    ----------
    source : Dataframe, or Table of one
        With O2track_iu (and O2trackcov_iu for errors) and collisions.
    bz : float
        Field [kG].
    max_x : float
        Tracks whose point lies further out [cm] are left where they are, with dca 999. O2's own limit is 83.1, which
        leaves TPC-only tracks out; the default propagates all. Tracks without a collision go to the beam line at z = 0.

    Notes
    -----
    Stored as O2 does: O2track, O2trackcov, and O2trackdca (O2Physics, Common/DataModel/TrackSelectionTables.h).
    """
    frame = frame_of(source)
    return overlay(frame, tables_at_dca(frame, bz, max_x=max_x), beside={"O2trackdca": "O2track"})


def tables_at_dca(frame: "Frame", bz: float = BZ_KG, *, max_x: float = np.inf) -> dict[str, dict[str, Any]]:
    """Return the columns of O2track, O2trackdca and, with errors, O2trackcov, by tree; see `with_tracks_at_dca`."""
    tracks = frame.tracksIU
    states = states_of(tracks)
    has_cov = "cYY" in tracks.getters
    vertices = vertices_of(tracks, frame.collisions)
    at_dca = propagate_to_dca(states, vertices, bz, covariances_of(tracks) if has_cov else None)
    moved = at_dca.is_propagated & (states[:, 0] <= max_x)
    final = np.where(moved[:, None], at_dca.states, states)
    made: dict[str, dict[str, Any]] = {"O2track": _track_columns(tracks, final, moved)}
    made["O2trackdca"] = {
        "fDcaXY": np.where(moved, at_dca.dca_xy, NO_DCA).astype(np.float32),
        "fDcaZ": np.where(moved, at_dca.dca_z, NO_DCA).astype(np.float32),
    }
    if at_dca.cov is not None:
        made["O2trackcov"] = cov_columns(np.where(moved[:, None], at_dca.cov, covariances_of(tracks)))
    return made


def _track_columns(tracks: Any, states: np.ndarray, moved: np.ndarray) -> dict[str, np.ndarray]:
    names = ("fX", "fAlpha", "fY", "fZ", "fSnp", "fTgl", "fSigned1Pt")
    # 0 is a propagated Track, 1 a TrackIU (AliceO2, Framework/DataTypes.h, TrackTypeEnum).
    return {
        "fIndexCollisions": tracks["fIndexCollisions"],
        "fTrackType": np.where(moved, 0, 1).astype(np.uint8),
    } | {name: states[:, i].astype(np.float32) for i, name in enumerate(names)}


def cov_columns(cov: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of O2trackcov: standard deviations, and correlations in 1/128 cut to int8."""
    names = ("Y", "Z", "Snp", "Tgl", "1Pt")
    sigma = np.sqrt(np.maximum(cov[:, [0, 2, 5, 9, 14]], 1e-20))
    table = {f"fSigma{name}": sigma[:, i].astype(np.float32) for i, name in enumerate(names)}
    for i, name in enumerate(names):
        for j in range(i):
            rho = cov[:, i * (i + 1) // 2 + j] / (sigma[:, i] * sigma[:, j])
            table[f"fRho{name}{names[j]}"] = np.clip(rho * 128, -MAX_RHO, MAX_RHO).astype(np.int8)
    return table
