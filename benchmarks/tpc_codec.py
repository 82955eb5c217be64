"""Size of TPC clusters per column against O2's 12 bytes per cluster, and the speed of transform and coder per core.

    python benchmarks/tpc_codec.py [--json FILE] [--small]

Clusters: simulated Pb-Pb timeframes of 8 collisions (--small: 1); beside them O2's own generator, where its clusters
are at hand (positions only). The baseline is the same columns without the transform, and zstd of the native 12 bytes.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from o2dask.columns import Columns
from o2dask.ctf import decode_timeframe, encode_timeframe
from o2dask.ctf.batch import block_rows
from o2dask.reco.geometry.tpc import CM_PER_TIME_BIN, pad_rows
from o2dask.reco.simulation.timeframes import TimeframeParams, build_timeframe
from o2dask.reco.tpc.codec import compress_clusters, decompress_clusters
from o2dask.reco.tpc.schema import CLUSTERNATIVE, NATIVE_BYTES
from o2dask.reco.tpc.simulation import simulate_tpc
from o2dask.specs import DataRef
from o2dask.timeframe import BCS_PER_ORBIT

GENERATED = Path(__file__).parents[1] / "../shared/data/tpc"


def simulated(n_collisions: int) -> Columns:
    """Return the clusters of a simulated Pb-Pb timeframe."""
    params = TimeframeParams(system="pbpb", collisions=n_collisions, seed=3)
    mc = build_timeframe(params, 0)
    made = simulate_tpc(mc["MC/COLLISIONS"], mc["MC/PARTICLES"], n_bcs=params.n_orbits * BCS_PER_ORBIT)
    return made.payloads["TPC/CLUSTERNATIVE"]


def generated(name: str) -> Columns | None:
    """Return the clusters of O2's generator at their pads and times, all other columns 0; None if they are not here."""
    path = GENERATED / f"{name}.clusters.parquet"
    if not path.exists():
        return None
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    sector, row, y, z = (table[key].to_numpy() for key in ("sector", "row", "y", "z"))
    rows = pad_rows()
    pad = np.where(sector < 18, y, -y) / rows.pad_width[row] + (rows.n_pads[row] - 1) / 2
    bins = (250 - np.abs(z)) / CM_PER_TIME_BIN + 100
    is_inside = (pad >= 0) & (pad < rows.n_pads[row]) & (bins >= 0)
    columns = {c.name: np.zeros(is_inside.sum(), c.dtype) for c in CLUSTERNATIVE.columns}
    for key, values in (("sector", sector), ("pad_row", row), ("time", 64 * bins), ("pad", 64 * pad)):
        columns[key][:] = values[is_inside]
    order = np.lexsort([columns[key] for key in ("pad", "time", "pad_row", "sector")])
    return Columns(CLUSTERNATIVE, {key: column[order] for key, column in columns.items()})


def sizes(payloads: dict[DataRef, Columns]) -> dict[str, int]:
    """Return stored bytes by column, parameters included."""
    by_column: dict[str, int] = {}
    for row in block_rows(encode_timeframe(payloads), ""):
        if row.dtype:
            by_column[row.field] = by_column.get(row.field, 0) + len(row.data) + len(row.parameters)
    return by_column


def cpu(function: Any, n_runs: int = 3) -> tuple[Any, float]:
    """Return the result and the shortest CPU time [s] of all threads."""
    times = []
    for _ in range(n_runs):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return result, min(times)


def zstd_ratio(clusters: Columns) -> float:
    """Return 12 bytes per cluster over zstd (level 3) of these bytes."""
    import pyarrow as pa

    packed = np.zeros((clusters.n_rows, NATIVE_BYTES), np.uint8)
    at = 0
    for name in ("time", "pad", "sigma_pad", "sigma_time", "q_max", "q_tot", "flags"):
        n = 3 if name == "time" else clusters[name].itemsize
        packed[:, at : at + n] = clusters[name][:, None].view(np.uint8).reshape(clusters.n_rows, -1)[:, :n]
        at += n
    return packed.nbytes / len(pa.Codec("zstd", compression_level=3).compress(packed.tobytes(), asbytes=True))


def measure(clusters: Columns) -> dict[str, Any]:
    """Return the figures of one set of clusters."""
    refs = DataRef("TPC", "COMPCLUSTERS"), DataRef("TPC", "COMPROWS")
    decompress_clusters(*compress_clusters(clusters))
    (compressed, rows), transform = cpu(lambda: compress_clusters(clusters))
    _, inverse = cpu(lambda: decompress_clusters(compressed, rows))
    payloads = dict(zip(refs, (compressed, rows), strict=True))
    decode_timeframe(encode_timeframe(payloads))
    batch, encode = cpu(lambda: encode_timeframe(payloads))
    back, decode = cpu(lambda: decode_timeframe(batch))
    if not decompress_clusters(back[refs[0]], back[refs[1]]).equals(clusters):
        raise SystemExit("decompressed clusters differ")
    n, columns = clusters.n_rows, sizes(payloads)
    plain = sizes({DataRef("TPC", "CLUSTERNATIVE"): clusters})
    return {
        "n_clusters": n,
        "bits_per_cluster": {name.split("/")[-1]: 8 * size / n for name, size in columns.items()},
        "bits_per_cluster_untransformed": {name.split("/")[-1]: 8 * size / n for name, size in plain.items()},
        "bits": 8 * sum(columns.values()) / n,
        "ratio": NATIVE_BYTES * n / sum(columns.values()),
        "ratio_untransformed": NATIVE_BYTES * n / sum(plain.values()),
        "ratio_zstd": zstd_ratio(clusters),
        "compress_mcl_s": n / (transform + encode) / 1e6,
        "decompress_mcl_s": n / (inverse + decode) / 1e6,
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--small", action="store_true", help="a quick run: one collision")
    options = parser.parse_args()
    n = 1 if options.small else 8
    sets = {f"simulated Pb-Pb, {n} collisions": simulated(n)}
    if not options.small and (clusters := generated("g5000_0")) is not None:
        sets["O2's generator, 5000 tracks: positions only"] = clusters
    figures = {name: measure(clusters) for name, clusters in sets.items()}
    table = Table(title="TPC clusters: bits per cluster, and 12 bytes over the stored size")
    for head in ("", *figures):
        table.add_column(head, justify="right" if head else "left")
    for column in next(iter(figures.values()))["bits_per_cluster"]:
        table.add_row(column, *(f"{f['bits_per_cluster'][column]:.2f}" for f in figures.values()))
    for key in list(next(iter(figures.values())))[3:]:
        table.add_row(key, *(f"{f[key]:.2f}" for f in figures.values()), style="bold")
    Console(width=120).print(table)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
