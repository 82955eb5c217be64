"""Monte Carlo tables of the AOD: collisions, particles with mothers and daughters, labels of tracks and collisions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from o2dask.columns import Jagged
from o2dask.reco.aod.bcs import BcTable
from o2dask.reco.aod.tracks import TrackOrder
from o2dask.reco.simulation.schema import FLAG_TRANSPORT

__all__ = ["collision_label_table", "mc_collision_table", "particle_table", "track_label_table"]

PROCESS_DECAY, PROCESS_PAIR = 4, 5
"""VMC process numbers (TMCProcess.h, kPDecay and kPPair), stored as the status of a transported particle."""
PHOTON = 22
MASK_NOISE, MASK_FAKE = 1 << 14, 1 << 15
FAKE_PURITY = 0.9


def mc_collision_table(collisions: Mapping[str, Any], bcs: BcTable) -> dict[str, np.ndarray]:
    """Return the columns of O2mccollision_001; the event plane is not known to the generators and 0."""
    n = len(collisions["bc"])
    return {
        "fIndexBCs": bcs.rows(collisions["bc"]),
        "fGeneratorsID": np.zeros(n, np.int16),
        "fPosX": collisions["x"],
        "fPosY": collisions["y"],
        "fPosZ": collisions["z"],
        "fT": collisions["t"],
        "fWeight": collisions["weight"],
        "fImpactParameter": collisions["impact"],
        "fEventPlaneAngle": np.zeros(n, np.float32),
    }


def particle_table(particles: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of O2mcparticle_001, one row per row of MC/PARTICLES."""
    n = len(particles["pdg"])
    mother = particles["mother"]
    has_mother = mother >= 0
    offsets = np.zeros(n + 1, np.int32)
    np.cumsum(has_mother, out=offsets[1:])
    return {
        "fIndexMcCollisions": particles["collision"],
        "fPdgCode": particles["pdg"],
        "fStatusCode": _status(particles),
        "fFlags": particles["flags"],
        "fIndexArray_Mothers": Jagged(offsets, mother[has_mother].astype(np.int32)),
        "fIndexSlice_Daughters": _daughters(mother),
        "fWeight": np.ones(n, np.float32),
        **{f"f{k.capitalize()}": particles[k] for k in ("px", "py", "pz", "e", "vx", "vy", "vz", "vt")},
    }


def _status(particles: Mapping[str, Any]) -> np.ndarray:
    """Return packed status codes: generator particles 0b101, generator's and HepMC's status; others their process."""
    mother = particles["mother"]
    from_photon = (mother >= 0) & (particles["pdg"][np.maximum(mother, 0)] == PHOTON)
    process = np.where(from_photon, PROCESS_PAIR, PROCESS_DECAY).astype(np.int32)
    status = particles["status"].astype(np.uint32)
    packed = (np.uint32(5) << np.uint32(29)) | ((status & 0x3FF) << np.uint32(9)) | (status & 0x1FF)
    return np.where(particles["flags"] & FLAG_TRANSPORT, process, packed.view(np.int32)).astype(np.int32)


def _daughters(mother: np.ndarray) -> np.ndarray:
    """Return first and last daughter (n, 2), both inclusive, -1 none; daughters of one mother are contiguous."""
    slices = np.full((len(mother), 2), -1, np.int32)
    rows = np.flatnonzero(mother >= 0)
    slices[mother[rows[::-1]], 0] = rows[::-1]  # the lowest row is written last
    slices[mother[rows], 1] = rows
    return slices


def track_label_table(labels: Mapping[str, Any], order: TrackOrder) -> dict[str, np.ndarray]:
    """Return the columns of O2mctracklabel in AOD order."""
    mc = labels["mc"][order.track]
    mask = np.where(labels["purity"][order.track] < FAKE_PURITY, MASK_FAKE, 0)
    return {"fIndexMcParticles": mc, "fMcMask": np.where(mc < 0, MASK_NOISE, mask).astype(np.uint16)}


def collision_label_table(
    labels: Mapping[str, Any], particles: Mapping[str, Any], order: TrackOrder, n_vertices: int
) -> dict[str, np.ndarray]:
    """Return the columns of O2mccollisionlabel: the collision that most contributors come from."""
    use = order.is_contributor & (labels["mc"][order.track] >= 0)
    vertex = order.collision[use].astype(np.int64)
    collision = particles["collision"][labels["mc"][order.track[use]]].astype(np.int64)
    n_collisions = int(collision.max(initial=-1)) + 1
    key, votes = np.unique(vertex * n_collisions + collision, return_counts=True)
    best = np.full(n_vertices, -1, np.int32)
    by_votes = np.argsort(votes, kind="stable")
    best[key[by_votes] // max(n_collisions, 1)] = key[by_votes] % max(n_collisions, 1)
    return {"fIndexMcCollisions": best, "fMcMask": np.zeros(n_vertices, np.uint16)}
