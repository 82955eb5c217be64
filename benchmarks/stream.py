"""Streaming: descriptors, bulk, small timeframes, reconstruction, latency, start-up, the framework's own share of CPU.

All processes of a stream run on this machine: readouts, builder, scheduler, two workers. Baselines run in the same
minute: a plain copy through /dev/shm between two processes, a plain pyzmq PUSH and PULL, the same processors in a plain
pool of processes.

    python benchmarks/stream.py [--small] [--json FILE] [--soak MINUTES] [--only NAME ...]

``--soak 30`` runs small timeframes for half an hour at 80 % of the rate that was measured before, and tells how the
memory of all processes grows. HLT: figures of ALICE's Run-2 High-Level Trigger (arXiv:1812.08036).
"""

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from rich.console import Console
from rich.table import Table
from stream_peers import IN_FLIGHT, raw_copy, raw_zmq, read_all, write_bulk
from stream_runs import WHOLE, Row, soak

from o2dask.stream.session import Stream, open_stream
from o2dask.stream.settings import StreamSettings

HERE = Path(__file__).parent


@contextmanager
def scheduler() -> Iterator[Client]:
    """Give a client of a scheduler without workers."""
    with (
        LocalCluster(n_workers=0, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address=":0") as c,
        Client(c, set_as_default=False) as client,
    ):
        yield client


def taken(stream: Stream, ready: threading.Event, n: int, use: Callable[[Any], None]) -> float:
    """Start a stream, take and settle timeframes to its end or until `n`; return the seconds for `n` of them.

    The first fifth is not timed: what was made before the first was taken would count for nothing.
    """
    start, n_before, count = 0.0, 0, 0
    stream.supervisor.start()
    while count < n and not stream.feed.is_over:
        refs = stream.feed.take(4096)
        if not refs:
            ready.wait(0.05)
            ready.clear()
            continue
        for ref in refs:
            use(ref)
        count += len(refs)
        stream.feed.settle(refs)
        if not start and count > n // 5:
            start, n_before = time.perf_counter(), count
        if reason := stream.supervisor.check() or stream.feed.failure:
            raise SystemExit(reason)
    return (time.perf_counter() - start) / (count - n_before) * n


def through(settings: StreamSettings, n: int, use: Callable[[Any], None] = lambda ref: None) -> float:
    """Return seconds for `n` timeframes through a stream of these settings, after its start."""
    ready = threading.Event()
    with scheduler() as client, open_stream(client, settings, on_ready=ready.set) as stream:
        return taken(stream, ready, n, use)


def descriptors(small: bool) -> list[Row]:
    """Announced, built, leased, acknowledged: timeframes without bulk from 1 and 4 readouts."""
    rows = []
    for n_readouts in (1, 4):
        n = 10_000 if small else 100_000 // n_readouts
        settings = StreamSettings(source=f"enumerate:{n}", n_readouts=n_readouts, max_timeframes=20_000)
        rate = n / through(settings, n)
        what = f"descriptors of {n_readouts} readout{'s' * (n_readouts > 1)}, announced, built, leased, settled"
        rows.append({"what": what, "value": rate * n_readouts, "unit": "/s", "timeframes_per_s": rate})
    return rows


def latency(small: bool) -> list[Row]:
    """From the moment at which a source makes a small timeframe to the driver that has it in its hands."""
    rows = []
    for rate in (20, 500):
        n = rate * (2 if small else 10)
        os.environ |= {"O2DASK_BENCH_PERIOD": str(1 / rate), "O2DASK_BENCH_N": str(n)}
        seen: list[float] = []
        settings = StreamSettings(source=f"{HERE / 'stream_peers.py'}:stamped", max_timeframes=10_000)
        through(settings, n, lambda ref, seen=seen: seen.append(time.monotonic_ns() / 1e3 - ref.id.tf_counter))
        late = np.array(seen[len(seen) // 10 :]) / 1e3
        p50, p99 = np.percentile(late, [50, 99])
        rows.append({"what": f"latency at {rate} TF/s, p50", "value": p50, "unit": "ms"})
        rows.append({"what": f"latency at {rate} TF/s, p99", "value": p99, "unit": "ms"})
    return rows


def bulk(small: bool) -> list[Row]:
    """Timeframes of 10 MB in turn with the baselines; medians over rounds."""
    n_bytes, n, n_rounds = 10_000_000, (40, 200)[not small], (1, 5)[not small]
    figures: dict[str, list[float]] = {"stream": [], "copy": [], "zmq": []}
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="o2dask-bench-") as name:
        folder = Path(name)
        file = folder / "bulk.ctf"
        write_bulk(file, 16, n_bytes)
        for _ in range(n_rounds):
            figures["copy"].append(raw_copy(file, n, n_bytes, folder))
            figures["zmq"].append(raw_zmq(file, n, n_bytes))
            settings = StreamSettings(source=f"replay:{file}", loop=True, max_timeframes=IN_FLIGHT)

            def use(ref: Any) -> None:
                read_all(f"{ref.url}/0.ctf")

            figures["stream"].append(n * n_bytes / through(settings, n, use) / 1e9)
    ratios = [s / c for s, c in zip(figures["stream"], figures["copy"], strict=True)]
    rows: list[Row] = [
        {"what": "bulk, 10 MB per timeframe", "value": median(figures["stream"]), "unit": "GB/s"},
        {"what": "  a plain copy through /dev/shm", "value": median(figures["copy"]), "unit": "GB/s"},
        {"what": "  a plain pyzmq PUSH, PULL", "value": median(figures["zmq"]), "unit": "GB/s"},
        {"what": "  stream / plain copy", "value": 100 * median(ratios), "unit": "%", "target": ">= 90"},
    ]
    return rows


MEASURES: dict[str, Callable[[bool], list[Row]]] = {
    "descriptors": descriptors,
    "latency": latency,
    "bulk": bulk,
    **WHOLE,
}


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--small", action="store_true", help="a quick run, for CI")
    parser.add_argument("--soak", type=float, help="run for so many minutes in the end; default: 0.1 with --small")
    parser.add_argument("--only", nargs="*", default=[], choices=[*MEASURES, "soak"], help="some of the measures")
    args = parser.parse_args()
    rows: list[Row] = []
    for name, measure in MEASURES.items():
        if not args.only or name in args.only:
            rows += [row | {"measure": name} for row in measure(args.small)]
    minutes = args.soak or (0.1 if "soak" in args.only or (args.small and not args.only) else 0.0)
    if minutes:
        most = next((row["value"] for row in rows if row["measure"] == "small"), 5000.0)
        rows += [row | {"measure": "soak"} for row in soak(minutes, most)]
    show(rows)
    if args.json:
        machine = {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


def show(rows: list[Row]) -> None:
    """Print the figures."""
    table = Table()
    for name in ("figure", "measured", "target", "HLT"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for row in rows:
        value = row["value"]
        text = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
        table.add_row(row["what"], f"{text} {row['unit']}", row.get("target", ""), row.get("hlt", ""))
    Console().print(table)


if __name__ == "__main__":
    main()
