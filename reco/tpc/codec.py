"""TPC clusters as difference-coded columns, and back, without loss: what the entropy coder of the CTF sees.

The interface (`compress_clusters`, `decompress_clusters`) is what track-model compression will take over: a compressed
timeframe is two payloads, clusters and counts per pad row, whatever the columns of the first are.

What is transformed was decided by measured entropies (`benchmarks/tpc_codec.py`):
- a time difference in a row costs 10 bits where the time costs 20;
- a pad difference costs 0.6 bits more than the pad, for neighbours in time are unrelated in pad: the pad stays;
- the largest charge of a cluster follows from its total charge, widths and position: what is left of it costs 4.7 bits
  where it costs 6.6 itself, and 5.6 as a difference to a fixed share of the total charge.
"""

from functools import cache

import numpy as np

from o2dask.columns import Column, Columns, Schema
from o2dask.errors import DataError, ShapeError
from o2dask.reco.geometry.tpc import N_ROWS, N_SECTORS
from o2dask.reco.tpc.codec_kernels import (
    ROW_TIME_RANGE,
    ROW_UNSORTED,
    charge_differences,
    charge_maxima,
    count_rows,
    difference_rows,
    integrate_rows,
)
from o2dask.reco.tpc.schema import CLUSTERNATIVE

__all__ = ["COMPCLUSTERS", "COMPROWS", "N_SECTOR_ROWS", "compress_clusters", "decompress_clusters"]

N_SECTOR_ROWS = N_SECTORS * N_ROWS
"""Rows of TPC/COMPROWS: 5472."""

COMPROWS = Schema(
    "TPC/COMPROWS",
    (Column(name="n_clusters", dtype="int32", text="clusters of the row; one entry per sector * 152 + pad_row"),),
)

COMPCLUSTERS = Schema(
    "TPC/COMPCLUSTERS",
    (
        Column(
            name="time_diff",
            dtype="uint32",
            unit="1/64 time bin",
            text="time since the previous cluster of the row; of the first cluster its time",
        ),
        Column(
            name="q_max_diff",
            dtype="uint16",
            unit="ADC",
            text="q_max less what q_tot, widths and position predict, zigzag",
        ),
        *(CLUSTERNATIVE[name] for name in ("pad", "sigma_pad", "sigma_time", "q_tot", "flags")),
    ),
    version=1,
)

_COPIED = COMPCLUSTERS.names[2:]
_PREDICTS = ("q_tot", "sigma_pad", "sigma_time", "pad")
_SHARE_SCALE = 1 << 15


@cache
def _central_share() -> np.ndarray:
    """Return the part of a cluster's charge in its central pad or time bin, (256, 64) int64 [2^-15].

    By width s [1/32] and position u [1/64] of the centre of gravity, 0 being the centre of the cell. A Gaussian of
    width s over a cell has 1 / sqrt(1 + 2 pi s^2) of its charge there when centred, and falls as exp(-v),
    v = u^2 / 2 (s^2 + 1/12). Of this only sums, products, quotients and roots are taken, which IEEE 754 rounds alike
    everywhere: the table is part of the format. The factor (1.2585 for both directions together) was fitted to
    simulated Pb-Pb: stored widths are those of the charge above threshold.
    """
    variance = (np.arange(256) / 32.0)[:, None] ** 2
    offset = ((np.arange(64) + 32) % 64 - 32) / 64.0
    v = offset**2 / (2 * (variance + 1 / 12))
    share = 1.1218 / np.sqrt(1 + 6.2832 * variance) / (1 + v + v * v / 2 + v * v * v / 6)
    return np.floor(share * _SHARE_SCALE + 0.5).astype(np.int64)


def compress_clusters(clusters: Columns) -> tuple[Columns, Columns]:
    """Return clusters (TPC/CLUSTERNATIVE) as (TPC/COMPCLUSTERS, TPC/COMPROWS).

    Raises
    ------
    ShapeError
        If the clusters are not sorted by (sector, pad_row, time) or a sector, row or time is out of range.
    """
    counts = np.zeros(N_SECTOR_ROWS, np.int32)
    disordered = count_rows(clusters["sector"], clusters["pad_row"], counts)
    if disordered >= 0:
        raise ShapeError(
            f"TPC/CLUSTERNATIVE: want clusters sorted by (sector, pad_row) below ({N_SECTORS}, {N_ROWS}), cluster"
            f" {disordered} is not: sector {clusters['sector'][disordered]}, row {clusters['pad_row'][disordered]}"
        )
    difference = np.empty(clusters.n_rows, np.uint32)
    status = np.zeros(N_SECTOR_ROWS, np.uint8)
    difference_rows(clusters["time"], _offsets(counts), difference, status)
    for code, wanted in ((ROW_UNSORTED, "clusters of a row sorted by time"), (ROW_TIME_RANGE, "times below 2^24")):
        if (bad := np.flatnonzero(status == code)).size:
            sector, row = divmod(int(bad[0]), N_ROWS)
            raise ShapeError(f"TPC/CLUSTERNATIVE: want {wanted}, not so in sector {sector}, row {row}")
    charge = np.empty(clusters.n_rows, np.uint16)
    known = [clusters[name] for name in _PREDICTS]
    charge_differences(clusters["q_max"], *known, clusters["time"], _central_share(), charge)  # type: ignore[call-arg]
    columns = {"time_diff": difference, "q_max_diff": charge} | {name: clusters[name] for name in _COPIED}
    return Columns(COMPCLUSTERS, columns), Columns(COMPROWS, {"n_clusters": counts})


def decompress_clusters(compressed: Columns, rows: Columns) -> Columns:
    """Return the clusters that `compress_clusters` was given, bit by bit.

    Raises
    ------
    DataError
        If counts and clusters do not belong together.
    """
    counts = rows["n_clusters"]
    if len(counts) != N_SECTOR_ROWS or (counts < 0).any() or counts.sum(dtype=np.int64) != compressed.n_rows:
        raise DataError(
            f"TPC/COMPROWS: want {N_SECTOR_ROWS} counts with a sum of {compressed.n_rows} clusters,"
            f" got {len(counts)} with a sum of {counts.sum(dtype=np.int64)}"
        )
    time = np.empty(compressed.n_rows, np.uint32)
    status = np.zeros(N_SECTOR_ROWS, np.uint8)
    integrate_rows(compressed["time_diff"], _offsets(counts), time, status)
    if status.any():
        sector, row = divmod(int(np.flatnonzero(status)[0]), N_ROWS)
        raise DataError(f"TPC/COMPCLUSTERS: want times below 2^24, not so in sector {sector}, row {row}")
    q_max = np.empty(compressed.n_rows, np.uint16)
    known = [compressed[name] for name in _PREDICTS]
    charge_maxima(compressed["q_max_diff"], *known, time, _central_share(), q_max)  # type: ignore[call-arg]
    keys = np.arange(N_SECTOR_ROWS)
    columns = {
        "sector": np.repeat((keys // N_ROWS).astype(np.uint8), counts),
        "pad_row": np.repeat((keys % N_ROWS).astype(np.uint8), counts),
        "time": time,
        "q_max": q_max,
    }
    return Columns(CLUSTERNATIVE, columns | {name: compressed[name] for name in _COPIED})


def _offsets(counts: np.ndarray) -> np.ndarray:
    """Return the first cluster of each row and, last, the number of clusters, (n_rows + 1,) int64."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
