"""Sorting clusters into cells by counting: one sector row at a time, so rows run in parallel with one result."""

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_jit import body, inlined, launcher

__all__ = ["cell_of", "count_rows", "drift_range", "fill_rows", "nearest", "row_offset", "sort_cells", "sort_row"]

N_ROWS = 152


@body
def count_rows(sector, row, row_start):
    """Fill row_start (5473,) int32 with the offset of each sector row; return whether the input is in that order."""
    for k in range(row_start.shape[0]):
        row_start[k] = 0
    last = 0
    is_sorted = True
    for i in range(sector.shape[0]):
        key = np.int64(sector[i]) * N_ROWS + np.int64(row[i])
        row_start[key + 1] += 1
        is_sorted = is_sorted and key >= last
        last = key
    for k in range(row_start.shape[0] - 1):
        row_start[k + 1] += row_start[k]
    return is_sorted


@body
def fill_rows(sector, row, row_start, cursor, order):
    """Fill order (n,) int32 with the clusters by sector row, stable; cursor (36 * 152,) int32 is scratch."""
    for k in range(cursor.shape[0]):
        cursor[k] = row_start[k]
    for i in range(sector.shape[0]):
        key = np.int64(sector[i]) * N_ROWS + np.int64(row[i])
        order[cursor[key]] = i
        cursor[key] += 1


@body
def drift_range(sector, z):
    """Return the least and the largest z towards the own side [cm] of clusters; (inf, -inf) of none."""
    least, largest = np.float32(np.inf), np.float32(-np.inf)
    for i in range(z.shape[0]):
        w = z[i] if sector[i] < 18 else -z[i]
        least, largest = min(least, w), max(largest, w)
    return least, largest


@body
def cell_of(y, w, half, ny, nz, w_min, inv_dy, inv_dz):
    """Return the cell within its row of a cluster at y and w = z towards its own side [cm]; clamped at the rims."""
    iy = min(max(int((y + half) * inv_dy), 0), ny - 1)
    iz = min(max(int((w - w_min) * inv_dz), 0), nz - 1)
    return iz * ny + iy


@body
def row_offset(grid, sector, row):
    """Return the first cell of a sector row."""
    return np.int64(sector) * np.int64(grid.sector_cells) + np.int64(grid.row_cell[row])


@body
def sort_row(key, y, z, order, row_start, row_half, grid, index):
    """Sort the clusters of sector row `key` into their cells; an empty `order` says that the input is in order."""
    is_sorted = order.shape[0] == 0
    first, last = row_start[key], row_start[key + 1]
    sector, row = key // N_ROWS, key % N_ROWS
    ny = np.int64(grid.row_ny[row])
    base = row_offset(grid, sector, row)
    n_cells = ny * np.int64(grid.nz)
    side = np.float32(1.0) if sector < 18 else np.float32(-1.0)
    # cell_start counts, turns into the end of each cell, and as the cells fill from behind into their start
    for cell in range(base, base + n_cells):
        grid.cell_start[cell] = 0
    for j in range(first, last):
        i = j if is_sorted else np.int64(order[j])
        cell = cell_of(y[i], z[i] * side, row_half[row], ny, grid.nz, grid.w_min, grid.inv_dy, grid.inv_dz)
        grid.cell_start[base + cell] += 1
    total = first
    for cell in range(base, base + n_cells):
        total += grid.cell_start[cell]
        grid.cell_start[cell] = total
    for j in range(last - 1, first - 1, -1):
        i = j if is_sorted else np.int64(order[j])
        cell = cell_of(y[i], z[i] * side, row_half[row], ny, grid.nz, grid.w_min, grid.inv_dy, grid.inv_dz)
        k = grid.cell_start[base + cell] - 1
        grid.cell_start[base + cell] = k
        grid.yz[k, 0] = y[i]
        grid.yz[k, 1] = z[i]
        index[k] = i


@launcher
def sort_cells(y, z, order, row_start, row_half, grid, index):
    """Fill grid.yz, grid.cell_start and index (n,) int32: where each sorted cluster is in the input.

    The loop calls one function: numba 0.68 loses writes to arrays of a named tuple made in the parallel loop itself.
    """
    for key in prange(row_start.shape[0] - 1):
        sort_row(np.int64(key), y, z, order, row_start, row_half, grid, index)


@inlined
def nearest(grid, sector, row, half, y, z, wy, wz, vy, vz):
    """Return the unused cluster with the least dy2/vy + dz2/vz within (wy, wz) [cm] of (y, z), or -1."""
    ny = np.int64(grid.row_ny[row])
    nz = np.int64(grid.nz)
    w = z if sector < 18 else -z
    iy0 = min(max(int((y - wy + half) * grid.inv_dy), 0), ny - 1)
    iy1 = min(max(int((y + wy + half) * grid.inv_dy), 0), ny - 1)
    iz0 = min(max(int((w - wz - grid.w_min) * grid.inv_dz), 0), nz - 1)
    iz1 = min(max(int((w + wz - grid.w_min) * grid.inv_dz), 0), nz - 1)
    base = row_offset(grid, sector, row)
    best = np.int64(-1)
    best_d = np.float32(np.inf)
    iy_, iz_ = np.float32(1.0) / vy, np.float32(1.0) / vz
    for iz in range(iz0, iz1 + 1):
        cell = base + iz * ny
        for i in range(grid.cell_start[cell + iy0], grid.cell_start[cell + iy1 + 1]):
            dy, dz = grid.yz[i, 0] - y, grid.yz[i, 1] - z
            if abs(dy) < wy and abs(dz) < wz and grid.used[i] <= grid.turn:
                d = dy * dy * iy_ + dz * dz * iz_
                if d < best_d:
                    best_d = d
                    best = np.int64(i)
    return best
