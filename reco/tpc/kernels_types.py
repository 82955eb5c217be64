"""What the TPC tracking kernels are handed: named tuples of arrays and scalars, float32 unless said otherwise.

Knows names only. Numba takes named tuples as they are, on the CPU and on a GPU, so kernels keep short signatures; they
are flat because parallel loops take no nested ones.
"""

from typing import Any, NamedTuple

__all__ = [
    "GAS_KNOTS",
    "GAS_LOSS",
    "GAS_MASS2",
    "GAS_SCATTER",
    "KNOTS_PER_INV_P",
    "Detector",
    "Grid",
    "Search",
    "SeedPass",
]

GAS_SCATTER = 0
"""(13.6 MeV times Highland's logarithm)^2 / X0 [GeV2/cm]."""
GAS_MASS2 = 1
"""Squared mass [GeV2]; 0 switches the gas off."""
GAS_LOSS = 2
"""First knot of the table of -dp/p per cm, over 1/p."""
GAS_KNOTS, KNOTS_PER_INV_P = 385, 16.0
"""Knots of that table, and how many per unit of 1/p [c/GeV]: to 24, 42 MeV/c, where a pion stops within a metre."""


class Detector(NamedTuple):
    """Geometry, field and resolution: what does not change from timeframe to timeframe."""

    row_x: Any
    """(152,) radius of each pad row [cm]."""
    row_half: Any
    """(152,) half width of a sector at each row [cm]: x tan(10 deg)."""
    row_live: Any
    """(152,) half width where a missing cluster counts as missed [cm]: half a centimetre less than the pads."""
    row_height: Any
    """(152,) length of the pads along x [cm]."""
    errors: Any
    """(152, 6) cluster variances: y: constant, per cm of drift, per tan2(phi); z: the same, per (dz/dx)2 [cm2]."""
    widths: Any
    """(152, 6) squared widths expected of a cluster, in the same terms [cm2]."""
    merged: Any
    """Squared width over the expected one above which a cluster is taken for a merged one."""
    field: Any
    """(1,) Bz [kG], or coefficients of `kernels_field.field_at`."""
    drift_length: Any
    """From central electrode to pads [cm]."""
    is_absolute: Any
    """1: z is the true one and gives the drift; 0: continuous readout, the drift comes from the track's slope."""
    gas: Any
    """(387,) `GAS_SCATTER`, `GAS_MASS2`, `GAS_LOSS`: how a pion scatters and what it loses; zeros switch both off."""


class Grid(NamedTuple):
    """Clusters sorted by (sector, row, cell in z, cell in y)."""

    yz: Any
    """(n, 2) y and z [cm]."""
    cell_start: Any
    """(n_cells + 1,) int32: first cluster of each cell; cells of one (sector, row) are contiguous, y fastest."""
    row_cell: Any
    """(152,) int32: first cell of a row within its sector's cells."""
    row_ny: Any
    """(152,) int32: cells along y."""
    sector_cells: Any
    """int32: cells of one sector."""
    nz: Any
    """int32: cells along z."""
    w_min: Any
    """Smallest z of the A side or -z of the C side [cm]."""
    inv_dy: Any
    """1 / height of a cell [1/cm]."""
    inv_dz: Any
    """1 / length of a cell [1/cm]."""
    used: Any
    """(n,) uint8: 1 when a track owns the cluster. Of seeds followed side by side int32: how early its owner comes."""
    turn: Any
    """A cluster is free where `used` is not above this: 0, or how early the seed that looks comes."""


class Search(NamedTuple):
    """How a track looks for clusters."""

    n_sigma: Any
    """Half width of the window in standard deviations."""
    max_window: Any
    """Largest half width of the window [cm]."""
    chi2_new: Any
    """Largest chi2 (2 degrees of freedom) of a cluster that is added."""
    chi2_drop: Any
    """Chi2 above which a cluster that was added before is dropped."""
    max_misses: Any
    """int32: rows without a cluster after which a track ends."""
    max_snp: Any
    """Largest |sin phi| in the sector's frame."""
    min_clusters: Any
    """int32: clusters that a track must have."""
    min_density: Any
    """Clusters per row between first and last that a track must have."""


class SeedPass(NamedTuple):
    """One round of seeding over all rows."""

    row_first: Any
    """int32: outermost seeding row."""
    row_step: Any
    """int32: rows between seeding rows."""
    gap: Any
    """int32: rows between the three clusters of a seed."""
    is_vertex: Any
    """1: curvature from pointing to the beam line; 0: from the three clusters alone."""
    max_curvature: Any
    """[1/cm]."""
    slope_back: Any
    """Largest |dz/dx| towards the central electrode as x grows."""
    slope_out: Any
    """Largest |dz/dx| towards the pads."""
    sigma_q2pt: Any
    """Width of the prior on q/pt where there is no vertex [c/GeV]."""
