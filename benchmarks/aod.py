"""Writing and reading AOD tables: ours beside plain pyarrow.parquet and plain uproot, on one big track table.

The table is O2track_iu with trackcov_iu's columns beside it, floats cut to the producer's precision, as in a Pb-Pb
dataframe; the values are made up from a fixed seed. Megabytes are those of the arrays in memory, so that all rows of
the table count the same work. CPU time of this process, threads included, median of several runs. Our ROOT reader
keeps files open between reads, as an analysis meets it; the baselines open theirs each time.

    python benchmarks/aod.py [--small] [--json FILE]
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import uproot
from rich.console import Console
from rich.table import Table

from o2dask.aod.model import tables, truncate
from o2dask.aod.parquet import read_table, write_table
from o2dask.aod.root_reader import dataframes_of
from o2dask.aod.root_writer import Ao2dWriter
from o2dask.aod.sink import AodSink
from o2dask.columns import Columns, Schema
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId, TimeframeRef

SEED = 1
FEW = ("fSigned1Pt", "fTgl")


def track_tables(n: int) -> tuple[Columns, Columns]:
    """Return O2track_iu and O2trackcov_iu of `n` tracks of one dataframe, truncated as the producer does."""
    rng = np.random.default_rng(SEED)
    par, cov = tables()["O2track_iu"].schema, tables()["O2trackcov_iu"].schema
    arrays: dict[str, np.ndarray] = {
        "fIndexCollisions": np.sort(rng.integers(-1, 150, n)).astype(np.int32),
        "fTrackType": np.zeros(n, np.uint8),
        "fX": rng.uniform(2, 90, n),
        "fAlpha": np.deg2rad(10 + 20 * rng.integers(0, 18, n)),
        "fY": rng.normal(0, 8, n),
        "fZ": rng.normal(0, 80, n),
        "fSnp": rng.uniform(-0.9, 0.9, n),
        "fTgl": rng.normal(0, 0.6, n),
        "fSigned1Pt": rng.choice([-1, 1], n) / rng.exponential(0.5, n).clip(0.05),
    }
    made = {c.name: np.ascontiguousarray(arrays[c.name], dtype=c.dtype) for c in par.columns}
    errors = {
        c.name: rng.exponential(0.1, n).astype(np.float32)
        if c.dtype == "float32"
        else rng.normal(0, 30, n).clip(-127, 127).astype(np.int8)
        for c in cov.columns
    }
    return truncate(Columns(par, made)), truncate(Columns(cov, errors))


def joined(one: Columns, other: Columns) -> Columns:
    """Return both tables as one, under a name outside the model."""
    schema = Schema("AOD/BENCHTRACK", one.schema.columns + other.schema.columns)
    return Columns(schema, {**one, **other})


def cpu_seconds(act: Callable[[], Any], repeat: int) -> float:
    """Return the median CPU time of `act` [s]; the first call, which imports and allocates, is left out."""
    act()
    seconds = []
    for _ in range(repeat):
        start = time.process_time()
        act()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def ways(columns: Columns, folder: Path) -> dict[str, tuple[Path, Callable, Callable, Callable]]:
    """Return by name: file, write, read all columns, read two columns. The last ones are plain libraries."""
    tree = "O2benchtrack"

    def ours(path: Path) -> None:
        with Ao2dWriter(path, {"Run": "3"}) as writer:
            writer.write(1, {tree: columns})

    def plain(path: Path, compression: Any) -> None:
        with uproot.recreate(path, compression=compression) as file:
            kinds = {name: array.dtype for name, array in columns.items()}
            file.mktree(f"DF_1/{tree}", kinds).extend(dict(columns))

    def arrays(path: Path, names: tuple[str, ...] | None = None) -> Any:
        with uproot.open(path, array_cache=None) as file:
            return file[f"DF_1/{tree}"].arrays(names, library="np")

    parquet, arrow = folder / "ours.parquet", folder / "pyarrow.parquet"
    arrow_zstd, root = folder / "pyarrow_zstd.parquet", folder / "ours.root"
    plain_root, zlib_root = folder / "uproot_zstd.root", folder / "uproot_zlib.root"
    return {
        "o2dask Parquet": (
            parquet,
            lambda: write_table(parquet, columns),
            lambda: read_table(parquet),
            lambda: read_table(parquet, FEW),
        ),
        "pyarrow (defaults)": (
            arrow,
            lambda: pq.write_table(columns.to_arrow(), arrow),
            lambda: to_numpy(pq.read_table(arrow)),
            lambda: to_numpy(pq.read_table(arrow, columns=list(FEW))),
        ),
        "pyarrow (zstd)": (
            arrow_zstd,
            lambda: pq.write_table(columns.to_arrow(), arrow_zstd, compression="zstd"),
            lambda: to_numpy(pq.read_table(arrow_zstd)),
            lambda: to_numpy(pq.read_table(arrow_zstd, columns=list(FEW))),
        ),
        "o2dask AO2D.root": (
            root,
            lambda: ours(root),
            lambda: dataframes_of(str(root))[0].read(tree),
            lambda: dataframes_of(str(root))[0].read(tree, FEW),
        ),
        "uproot (ZSTD 5)": (
            plain_root,
            lambda: plain(plain_root, uproot.ZSTD(5)),
            lambda: arrays(plain_root),
            lambda: arrays(plain_root, FEW),
        ),
        "uproot (defaults)": (
            zlib_root,
            lambda: plain(zlib_root, uproot.ZLIB(1)),
            lambda: arrays(zlib_root),
            lambda: arrays(zlib_root, FEW),
        ),
    }


def to_numpy(table: Any) -> dict[str, np.ndarray]:
    """Return a table as arrays, which is what our reader returns."""
    return {name: table.column(name).to_numpy() for name in table.column_names}


def measure(columns: Columns, folder: Path, repeat: int) -> list[dict[str, Any]]:
    """Return size, and rates of writing and reading, of every way to store the table."""
    n, n_few = columns.nbytes, sum(columns[name].nbytes for name in FEW)
    rows = []
    for name, (path, write, read, read_few) in ways(columns, folder).items():
        write_s, read_s, few_s = (cpu_seconds(act, repeat) for act in (write, read, read_few))
        rows.append(
            {
                "name": name,
                "size_over_memory": path.stat().st_size / n,
                "write_mb_s": n / write_s / 1e6,
                "write_rows_s": columns.n_rows / write_s,
                "read_mb_s": n / read_s / 1e6,
                "read_rows_s": columns.n_rows / read_s,
                "read_two_columns_mb_s": n_few / few_s / 1e6,
            }
        )
    return rows


def commit_overhead(par: Columns, cov: Columns, folder: Path, repeat: int) -> dict[str, float]:
    """Return wall time [ms] of a whole commit (checks, files, fsync, rename), and of writing its tables alone."""
    sink = AodSink(folder / "aod", {})
    sink.prepare()
    outputs = {DataRef("AOD", "TRACK_IU"): par, DataRef("AOD", "TRACKCOV_IU"): cov}
    commit_ms, write_ms = [], []
    for i in range(repeat + 1):
        ref = TimeframeRef(id=TimeframeId(run=1, tf_counter=i, first_orbit=32 * i), url="", index=i)
        start = time.perf_counter()
        sink.commit(ref, outputs)
        commit_ms.append(1e3 * (time.perf_counter() - start))
        start = time.perf_counter()
        for name, columns in (("par", par), ("cov", cov)):
            write_table(folder / f"{name}.parquet", columns)
        write_ms.append(1e3 * (time.perf_counter() - start))
    return {"commit_ms": statistics.median(commit_ms[1:]), "tables_alone_ms": statistics.median(write_ms[1:])}


def show(result: dict[str, Any]) -> None:
    """Print the result as a table."""
    title = f"{result['n_rows']:,} tracks, {result['mb']:.0f} MB in memory, rates per second of CPU time"
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for heading in ("size / memory", "write MB/s", "read MB/s", "read Mrows/s", "two columns MB/s"):
        table.add_column(heading, justify="right")
    for row in result["ways"]:
        table.add_row(
            row["name"],
            f"{row['size_over_memory']:.3f}",
            f"{row['write_mb_s']:.0f}",
            f"{row['read_mb_s']:.0f}",
            f"{row['read_rows_s'] / 1e6:.1f}",
            f"{row['read_two_columns_mb_s']:.0f}",
        )
    console = Console()
    console.print(table)
    commit, alone = result["commit_ms"], result["tables_alone_ms"]
    console.print(f"commit of both tables: {commit:.1f} ms, the tables alone {alone:.1f} ms (wall)")


def main() -> None:
    """Run the benchmark; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--small", action="store_true", help="100 k tracks, a few seconds")
    settings = parser.parse_args()
    n, repeat = (100_000, 3) if settings.small else (1_000_000, 5)
    par, cov = track_tables(n)
    columns = joined(par, cov)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = {
            "benchmark": "aod",
            "machine": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "seed": SEED,
            "n_rows": n,
            "mb": columns.nbytes / 1e6,
            "ways": measure(columns, folder, repeat),
            **commit_overhead(par, cov, folder, repeat),
        }
    show(result)
    if settings.json:
        settings.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
