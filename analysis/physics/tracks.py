"""Track states and covariances as arrays, from tables or mappings; the field.

Knows column names; knows no kernel.
"""

from typing import Any

import numpy as np

from o2dask.analysis.physics.sources import column
from o2dask.analysis.table import Table

__all__ = ["BZ_KG", "NOT_MEASURED", "STATE", "covariances_of", "states_of", "vertices_of"]

BZ_KG = -5.00668
"""Nominal Bz [kG] of the L3 magnet at the centre of ALICE, positive polarity in O2's sign: a positive charge has
d(snp)/dx > 0 (AliceO2, Detectors/gpu-load: GPUTPCGMPolynomialFieldManager, 5 kG; the value of O2's standalone events).
"""
NOT_MEASURED = -999.0
"""What O2 stores where a quantity does not exist."""
STATE = ("x", "alpha", "y", "z", "snp", "tgl", "signed1Pt")
_PARAMETERS = ("Y", "Z", "Snp", "Tgl", "1Pt")


def states_of(tracks: Any) -> np.ndarray:
    """Return (n, 7) float64: x, alpha, y, z [cm, rad], snp, tgl, signed1Pt [c/GeV] of a table or mapping."""
    return np.stack([column(tracks, name).astype(np.float64) for name in STATE], axis=1)


def covariances_of(tracks: Any) -> np.ndarray:
    """Return (n, 15) float64, the lower triangle over (y, z, snp, tgl, q/pt), from O2trackcov's columns."""
    terms = []
    for i, row in enumerate(_PARAMETERS):
        for other in _PARAMETERS[: i + 1]:
            name = "c1Pt21Pt2" if row == other == "1Pt" else f"c{row}{other}"
            terms.append(column(tracks, name).astype(np.float64))
    return np.stack(terms, axis=1)


def vertices_of(tracks: Any, collisions: Any, beam: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """Return (n, 3) float64: the vertex of each track's collision [cm]; `beam` where a track has none.

    `collisions` may be a selection; tracks of the others have their vertex all the same.
    """
    ids = column(tracks, "collisionId")
    if isinstance(collisions, Table):  # also if selected: indices count all rows
        collisions = Table(collisions._group, collisions._group.rows)
    vertices = np.tile(np.asarray(beam, np.float64), (len(ids), 1))
    positions = np.stack([column(collisions, f"pos{axis}").astype(np.float64) for axis in "XYZ"], axis=1)
    vertices[ids >= 0] = positions[ids[ids >= 0]]
    return vertices
