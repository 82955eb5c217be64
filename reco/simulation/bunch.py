"""The arrays that the transport without detector works on: particles of many collisions, generation by generation."""

from dataclasses import dataclass, fields

import numpy as np

__all__ = ["ParticleBunch"]


@dataclass(slots=True, kw_only=True)
class ParticleBunch:
    """Particles as arrays of n rows, in double precision; a mutable work area, not a payload.

    `x` and `p` are (3, n): production point [cm, global] and momentum [GeV/c]; `mass` [GeV], `t` production time [ns
    since the collision], `path` path length [cm] at which it decays (inf if it does not); `mother` is a row of the
    whole bunch (-1 none); `collision`, `pdg`, `status`, `flags` as in MC/PARTICLES.
    """

    collision: np.ndarray
    pdg: np.ndarray
    status: np.ndarray
    flags: np.ndarray
    mother: np.ndarray
    mass: np.ndarray
    p: np.ndarray
    x: np.ndarray
    t: np.ndarray
    path: np.ndarray

    @property
    def n(self) -> int:
        """Number of particles."""
        return len(self.pdg)

    @property
    def energy(self) -> np.ndarray:
        """Energies [GeV] (n,)."""
        return np.sqrt((self.p**2).sum(axis=0) + self.mass**2)

    def take(self, rows: np.ndarray) -> "ParticleBunch":
        """Return the given rows (indices or mask); `mother` still counts rows of the old bunch."""
        return ParticleBunch(**{f.name: getattr(self, f.name)[..., rows] for f in fields(self)})

    @classmethod
    def join(cls, parts: "list[ParticleBunch]") -> "ParticleBunch":
        """Return the rows of all parts, in order."""
        return cls(**{f.name: np.concatenate([getattr(b, f.name) for b in parts], axis=-1) for f in fields(cls)})
