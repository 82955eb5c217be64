"""The AOD tables of one timeframe, out of tracks, vertices and, when simulated, truth.

Knows the schemas of what it reads and the AOD model; writes no file.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from o2dask.aod.model import tables, truncate
from o2dask.columns import Columns
from o2dask.reco.aod.bcs import BcTable, nearest_bc
from o2dask.reco.aod.mc import collision_label_table, mc_collision_table, particle_table, track_label_table
from o2dask.reco.aod.tracks import (
    TrackOrder,
    ambiguous_rows,
    order_tracks,
    track_cov_table,
    track_extra_table,
    track_table,
)
from o2dask.reco.geometry.tpc import CM_PER_TIME_BIN
from o2dask.timeframe import BC_NS, TimeframeId

__all__ = ["MC_TABLES", "TABLES", "produce_aod"]

TABLES = ("O2bc_001", "O2collision_001", "O2track_iu", "O2trackcov_iu", "O2trackextra_001", "O2ambiguoustrack")
"""Trees of every dataframe, simulated or not."""
MC_TABLES = ("O2mccollision_001", "O2mcparticle_001", "O2mctracklabel", "O2mccollisionlabel")
"""Trees of a simulated dataframe."""


def produce_aod(
    timeframe: TimeframeId, inputs: Mapping[str, Any], cm_per_time_bin: float = CM_PER_TIME_BIN
) -> dict[str, Columns]:
    """Return the tables of a dataframe by tree name, floats truncated as O2's producer does.

    Parameters
    ----------
    timeframe : TimeframeId
        Gives run and first BC.
    inputs : mapping
        `tracks` TPC/TRACKS, `vertices` GLO/PVTX, `members` GLO/PVTXTRACK; and, for simulated data, `labels`
        TPC/TRACKLABEL, `collisions` MC/COLLISIONS, `particles` MC/PARTICLES (absent or None otherwise).
    cm_per_time_bin : float
        Drift velocity of the TPC.
    """
    tracks, vertices = inputs["tracks"], inputs["vertices"]
    is_mc = all(inputs.get(k) is not None for k in ("collisions", "particles", "labels"))
    order = order_tracks(len(tracks["x"]), vertices, inputs["members"])
    vertex_bc = nearest_bc(vertices["t"], timeframe)
    bcs = BcTable(timeframe, vertex_bc, inputs["collisions"]["bc"] if is_mc else np.zeros(0, np.int64))
    ambiguous = ambiguous_rows(tracks, order, bcs)
    made: dict[str, Mapping[str, Any]] = {
        "O2bc_001": _bc_table(bcs),
        "O2collision_001": _collision_table(vertices, vertex_bc, bcs),
        "O2track_iu": track_table(tracks, order, vertices["t"], cm_per_time_bin),
        "O2trackcov_iu": track_cov_table(tracks, order),
        "O2trackextra_001": track_extra_table(tracks, order, vertices, _time_origin(order, vertex_bc, ambiguous, bcs)),
        "O2ambiguoustrack": ambiguous,
    }
    if is_mc:
        collisions, particles, labels = (inputs[k] for k in ("collisions", "particles", "labels"))
        made |= {
            "O2mccollision_001": mc_collision_table(collisions, bcs),
            "O2mcparticle_001": particle_table(particles),
            "O2mctracklabel": track_label_table(labels, order),
            "O2mccollisionlabel": collision_label_table(labels, particles, order, len(vertex_bc)),
        }
    model = tables()
    return {tree: truncate(Columns(model[tree].schema, columns)) for tree, columns in made.items()}


def _bc_table(bcs: BcTable) -> dict[str, np.ndarray]:
    n = len(bcs)
    return {
        "fRunNumber": np.full(n, bcs.run, np.int32),
        "fGlobalBC": bcs.global_bc,
        "fTriggerMask": np.zeros(n, np.uint64),
        "fInputMask": np.zeros(n, np.uint64),
    }


def _collision_table(vertices: Mapping[str, Any], vertex_bc: np.ndarray, bcs: BcTable) -> dict[str, np.ndarray]:
    cov = vertices["cov"]
    names = ("fCovXX", "fCovXY", "fCovYY", "fCovXZ", "fCovYZ", "fCovZZ")
    return {
        "fIndexBCs": bcs.rows(vertex_bc),
        "fPosX": vertices["x"],
        "fPosY": vertices["y"],
        "fPosZ": vertices["z"],
        **{name: np.ascontiguousarray(cov[:, i]) for i, name in enumerate(names)},
        "fFlags": np.zeros(len(vertex_bc), np.uint16),
        "fChi2": vertices["chi2"],
        "fNumContrib": np.minimum(vertices["n_contributors"], 65535).astype(np.uint16),
        # O2's sign: rounded BC time minus measured time
        "fCollisionTime": (vertex_bc * BC_NS - vertices["t"]).astype(np.float32),
        "fCollisionTimeRes": vertices["t_res"],
    }


def _time_origin(order: TrackOrder, vertex_bc: np.ndarray, ambiguous: Mapping[str, Any], bcs: BcTable) -> np.ndarray:
    """Return per track the time [ns] that its stored time is relative to."""
    bc = np.zeros(len(order.track), np.int64)
    has_collision = order.collision >= 0
    bc[has_collision] = vertex_bc[order.collision[has_collision]]
    first = ambiguous["fIndexSliceBCs"][:, 0]
    if len(bcs):
        bc[ambiguous["fIndexTracks"]] = bcs.local[first]
    return bc * BC_NS
