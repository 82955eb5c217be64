"""A particle gun for tests of the TPC: chosen particles as MC/COLLISIONS and MC/PARTICLES."""

import numpy as np

from o2dask.columns import Columns
from o2dask.reco.simulation.particles import mass_of
from o2dask.reco.simulation.schema import MC_COLLISIONS, MC_PARTICLES

N_BCS = 32 * 3564


def shoot(pdg, pt, eta, phi, *, vertex=(0.0, 0.0, 0.0), path=np.inf, bc=10_000, n_collisions=1):
    """Return (collisions, particles): arrays or numbers are broadcast; particles are dealt to the collisions in turn.

    `vertex` [cm] is (3,) or (n, 3); `bc` is a number or one per collision.
    """
    pdg, pt, eta, phi, path = np.broadcast_arrays(np.int32(pdg), pt, eta, phi, path)
    pdg, pt, eta, phi, path = (np.atleast_1d(a) for a in (pdg, pt, eta, phi, path))
    n = len(pdg)
    vertex = np.broadcast_to(np.asarray(vertex, np.float32), (n, 3))
    p = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    energy = np.sqrt(sum(v**2 for v in p.values()) + mass_of(pdg) ** 2)
    collision = (np.arange(n, dtype=np.int32) * n_collisions) // max(n, 1)
    counts = np.bincount(collision, minlength=n_collisions).astype(np.int32)
    collisions = MC_COLLISIONS.empty(n_collisions)
    collisions["bc"][:] = bc
    collisions["weight"][:] = 1
    collisions["n_particles"][:] = counts
    collisions["first_particle"][:] = np.cumsum(counts) - counts
    columns = MC_PARTICLES.empty(n)
    values = {"collision": collision, "pdg": pdg, "e": energy, "path": path, **p}
    values |= {"vx": vertex[:, 0], "vy": vertex[:, 1], "vz": vertex[:, 2]}
    for name, value in values.items():
        columns[name][:] = value
    columns["status"][:] = 1
    columns["flags"][:] = 4
    columns["mother"][:] = -1
    return Columns(MC_COLLISIONS, dict(collisions)), Columns(MC_PARTICLES, dict(columns))
