"""Clusters as the tracker sees them: positions in sector frames, and a grid of cells over each pad row."""

from typing import Any, NamedTuple

import numpy as np

from o2dask.errors import ConfigError, ShapeError
from o2dask.reco.geometry.tpc import BZ_KG, CM_PER_TIME_BIN, DRIFT_LENGTH_CM, N_ROWS, N_SECTORS, pad_rows
from o2dask.reco.geometry.tpc import gas as gas_constants
from o2dask.reco.tpc.backend import HOST, Backend
from o2dask.reco.tpc.field import field_coefficients
from o2dask.reco.tpc.kernels_grid import count_rows, drift_range, fill_rows, sort_cells
from o2dask.reco.tpc.kernels_hits import drift_of_rows
from o2dask.reco.tpc.kernels_types import (
    GAS_KNOTS,
    GAS_LOSS,
    GAS_MASS2,
    GAS_SCATTER,
    KNOTS_PER_INV_P,
    Detector,
    Grid,
)
from o2dask.reco.tpc.params import GasModel, TpcTrackingParams

__all__ = ["SortedClusters", "make_detector", "sort_clusters"]

_ELECTRON_EV = 0.51099895e6
_MIN_BETA2 = 0.05
"""Below, the formula for the loss has no meaning."""
_MIN_DY, _MIN_DZ = 0.5, 1.0
"""Smallest cell [cm]; smaller ones than a search window only cost look-ups."""
_ASPECT = 3.0
"""Length of a cell in z over that in y: cells along y are neighbours in memory, so z is the dearer one."""


class SortedClusters(NamedTuple):
    """A grid with its order, both where the backend's kernels read them, and `row_start` (5473,) int32 on the host.

    source : (n,) int32, the input row of each sorted cluster.
    """

    grid: Grid
    source: np.ndarray
    row_start: np.ndarray


def make_detector(params: TpcTrackingParams, field: "float | np.ndarray" = BZ_KG) -> Detector:
    """Return geometry, field [kG] and resolution for the kernels."""
    rows = pad_rows()
    field = field_coefficients(field)
    if len(field) > 1 and not params.is_absolute:
        raise ConfigError("field: a field that depends on z needs the true z of clusters (is_absolute); give Bz alone")
    _, pad = np.unique(rows.pad_height, return_inverse=True)
    model = params.errors
    terms_y, terms_z = model.merging_y * np.array(model.y)[pad], model.merging_z * np.array(model.z)[pad]
    errors = np.hstack([terms_y, terms_z]).astype(np.float32)
    half = (rows.x * np.tan(np.deg2rad(10.0))).astype(np.float32)
    live = (0.5 * rows.n_pads * rows.pad_width - 0.5).astype(np.float32)
    is_absolute = np.float32(params.is_absolute)
    length = np.float32(DRIFT_LENGTH_CM)
    return Detector(
        rows.x,
        half,
        live,
        rows.pad_height,
        errors,
        _widths(params),
        np.float32(params.merged_width),
        field,
        length,
        is_absolute,
        make_gas(params.gas),
    )


def _widths(params: TpcTrackingParams) -> np.ndarray:
    """Return the squared widths (152, 6) [cm2] expected of clusters."""
    rows, model, constants = pad_rows(), params.widths, gas_constants()
    out = np.empty((N_ROWS, 6), np.float32)
    out[:, 0] = model.cloud_cm**2 + rows.pad_width**2 / 12
    out[:, 1] = constants["diff_t_sqrt_cm"] ** 2
    out[:, 3] = (model.shaper_bins**2 + 1 / 12) * CM_PER_TIME_BIN**2
    out[:, 4] = constants["diff_l_sqrt_cm"] ** 2
    out[:, 2] = out[:, 5] = rows.pad_height**2 / 12
    return out


def make_gas(gas: GasModel) -> np.ndarray:
    """Return the gas (387,) float32 for the kernels.

    Loss: PDG review, passage of particles through matter, eq. 34.5 without density effect.
    """
    out = np.zeros(GAS_LOSS + GAS_KNOTS, np.float32)
    if not gas.is_on:
        return out
    highland = 0.0136 * (1 + 0.038 * np.log(gas.path_for_log_cm / gas.x0_cm))
    out[GAS_SCATTER] = highland**2 / gas.x0_cm if gas.has_scattering else 0.0
    out[GAS_MASS2] = gas.mass_gev**2
    inv_p = np.maximum(np.arange(GAS_KNOTS), 1e-3) / KNOTS_PER_INV_P
    inv_beta2 = 1 + (gas.mass_gev * inv_p) ** 2
    logarithm = np.log(2 * _ELECTRON_EV / gas.excitation_ev / (gas.mass_gev * inv_p) ** 2)
    beta2 = np.maximum(1 / inv_beta2, _MIN_BETA2)
    loss = 0.307075e-3 * gas.z_over_a * gas.density_g_cm3 * gas.loss_scale / beta2 * (logarithm - beta2)
    # dp/p = loss E / p^2 and E / p = 1 / beta
    out[GAS_LOSS:] = loss * np.sqrt(inv_beta2) * inv_p
    return out


def sort_clusters(
    sector: np.ndarray,
    row: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    detector: Detector,
    backend: Backend = HOST,
) -> SortedClusters:
    """Return the clusters sorted into a grid of about one cluster per cell.

    Parameters
    ----------
    sector, row : (n,) uint8
    y, z : (n,) float32
        In the sector's frame [cm]; z signed: up to 250 on the A side, from -250 on the C side.
    """
    n = len(sector)
    for name, array, dtype in (("sector", sector, np.uint8), ("row", row, np.uint8), ("y", y, "f4"), ("z", z, "f4")):
        if array.shape != (n,) or array.dtype != dtype:
            raise ShapeError(f"{name}: want {np.dtype(dtype)} of shape ({n},), got {array.dtype} of {array.shape}")
    if n and (int(sector.max()) >= N_SECTORS or int(row.max()) >= N_ROWS):
        raise ShapeError(f"clusters: want sectors below 36 and rows below 152, got {sector.max()} and {row.max()}")
    row_start = np.empty(N_SECTORS * N_ROWS + 1, np.int32)
    if count_rows(sector, row, row_start):
        order = np.empty(0, np.int32)
    else:
        order = np.empty(n, np.int32)
        fill_rows(sector, row, row_start, np.empty(N_SECTORS * N_ROWS, np.int32), order)
    columns = backend.send((y, z, order, row_start))
    grid = _empty_grid(n, _drift_span(sector, z, columns, backend), detector, backend)
    index = backend.scratch("grid.index", n, np.int32)
    backend.run(sort_cells, len(row_start) - 1, *columns, backend.resident(detector).row_half, grid, index)
    return SortedClusters(grid, index, row_start)


def _drift_span(
    sector: np.ndarray, z: np.ndarray, columns: tuple[Any, ...], backend: Backend
) -> tuple[np.float32, np.float32]:
    """Return the least and the largest z towards the own side [cm], found where z is; (inf, -inf) of no cluster."""
    if not backend.is_wide:
        return drift_range(sector, z)
    span = backend.empty((N_SECTORS * N_ROWS, 2), np.float32)
    backend.run(drift_of_rows, N_SECTORS * N_ROWS, *columns[1:], span)
    rows = backend.fetch(span)
    return rows[:, 0].min(), rows[:, 1].max()


def _empty_grid(n: int, span: tuple[np.float32, np.float32], detector: Detector, backend: Backend) -> Grid:
    w_min, w_max = DRIFT_LENGTH_CM - 1.0, DRIFT_LENGTH_CM
    if n:
        w_min, w_max = min(w_min, float(span[0])), max(w_max, float(span[1]))
    width = 2 * detector.row_half
    area = N_SECTORS * float(width.sum()) * (w_max - w_min) / max(n, 1)
    dy = max(np.sqrt(area / _ASPECT), _MIN_DY)
    dz = max(area / dy, _MIN_DZ)
    ny = np.maximum(np.ceil(width / dy), 1).astype(np.int32)
    nz = max(int(np.ceil((w_max - w_min) / dz)), 1)
    row_cell = np.zeros(N_ROWS, np.int32)
    row_cell[1:] = np.cumsum(ny[:-1] * nz)
    sector_cells = int(ny.sum() * nz)
    cell_start = backend.scratch("grid.cell_start", N_SECTORS * sector_cells + 1, np.int32)
    cell_start[-1] = n
    f4 = np.float32
    return Grid(
        backend.scratch("grid.yz", (n, 2), f4),
        cell_start,
        backend.send(row_cell),
        backend.send(ny),
        np.int32(sector_cells),
        np.int32(nz),
        f4(w_min),
        f4(1 / dy),
        f4(1 / dz),
        backend.zero(backend.scratch("grid.used", n, backend.claim_dtype)),
        backend.claim_dtype(0),
    )
