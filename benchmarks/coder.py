"""Size over Shannon entropy, and speed per core, of the CTF's entropy coder; zstd, pcodec and constriction beside it.

    python benchmarks/coder.py [--json FILE] [--small] [--plain]

A stream is encoded as the container does it, in blocks of one or two million symbols; histogram, model, dictionary
and checksum are in size and time. Times are CPU times of the thread, medians of several runs after one that compiles.
Peers get the first million symbols of each stream; constriction is given its model for nothing.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from coder_streams import STREAMS
from rich.console import Console
from rich.table import Table

from o2dask.ctf import blocks, rans_vector
from o2dask.ctf.batch import block_parts
from o2dask.ctf.checksum import crc32

SEED = 20240901
ROW_BYTES = 64
"""What a row of the container costs beside its data: offsets, names, checksum."""


def entropy_bytes(symbols: np.ndarray) -> float:
    """Return the Shannon entropy of the stream's own histogram, in bytes."""
    _, counts = np.unique(symbols, return_counts=True)
    return float(-(counts * np.log2(counts / len(symbols))).sum() / 8)


def timed(function: Callable[[], Any], n_runs: int) -> tuple[Any, float, float]:
    """Return the result, and the shortest and the median CPU time [s] of n_runs."""
    times = []
    for _ in range(n_runs):
        start = time.thread_time()
        result = function()
        times.append(time.thread_time() - start)
    return result, min(times), statistics.median(times)


def encode(symbols: np.ndarray) -> list[tuple[blocks.Block, int]]:
    """Return blocks and checksums, as the container makes them."""
    made = []
    for part in block_parts(symbols):
        block = blocks.encode_block(part)
        made.append((block, crc32(block.data)))
    return made


def decode(made: list[tuple[blocks.Block, int]], dtype: np.dtype) -> list[np.ndarray]:
    """Return the blocks' symbols, checksums compared."""
    if any(crc32(block.data) != checksum for block, checksum in made):
        raise SystemExit("a checksum differs")
    return [blocks.decode_block(block, dtype) for block, _ in made]


def measure(symbols: np.ndarray, n_runs: int) -> dict[str, Any]:
    """Return the figures of our coder on one stream."""
    decode(encode(symbols[:50_000]), symbols.dtype)  # compiles
    made, best, seconds = timed(lambda: encode(symbols), n_runs)
    back, best_back, seconds_back = timed(lambda: decode(made, symbols.dtype), n_runs)
    if not np.array_equal(np.concatenate(back), symbols):
        raise SystemExit("decoded symbols differ")
    size = sum(block.cost + ROW_BYTES for block, _ in made)
    return {
        "n_symbols": len(symbols),
        "entropy_bits": 8 * entropy_bytes(symbols) / len(symbols),
        "n_bytes": size,
        "entropy_bytes": entropy_bytes(symbols),
        "size_over_entropy": size / entropy_bytes(symbols),
        "codec": "+".join(dict.fromkeys(block.codec for block, _ in made)),
        "encode_s": seconds,
        "decode_s": seconds_back,
        "encode_msym_s": len(symbols) / seconds / 1e6,
        "decode_msym_s": len(symbols) / seconds_back / 1e6,
        "encode_msym_s_best": len(symbols) / best / 1e6,
        "decode_msym_s_best": len(symbols) / best_back / 1e6,
    }


def peers() -> dict[str, Callable[[np.ndarray], tuple[int, Callable[[], Any], Callable[[], Any]]]]:
    """Return the peers that can be imported; each gives size, encoder and decoder of a stream."""
    found: dict[str, Any] = {}
    try:
        import zstandard

        def zstd(symbols: np.ndarray) -> tuple[int, Callable[[], Any], Callable[[], Any]]:
            text = symbols.tobytes()
            packed = zstandard.ZstdCompressor(level=3).compress(text)
            return (
                len(packed),
                lambda: zstandard.ZstdCompressor(level=3).compress(text),
                lambda: zstandard.ZstdDecompressor().decompress(packed),
            )

        found["zstd 3"] = zstd
    except ImportError:
        pass
    try:
        from pcodec import ChunkConfig, standalone

        def pco(symbols: np.ndarray) -> tuple[int, Callable[[], Any], Callable[[], Any]]:
            packed = standalone.simple_compress(symbols, ChunkConfig(enable_8_bit=True))
            return (
                len(packed),
                lambda: standalone.simple_compress(symbols, ChunkConfig(enable_8_bit=True)),
                lambda: standalone.simple_decompress(packed),
            )

        found["pcodec"] = pco
    except ImportError:
        pass
    try:
        import constriction

        def ans(symbols: np.ndarray) -> tuple[int, Callable[[], Any], Callable[[], Any]]:
            _, dense = np.unique(symbols, return_inverse=True)
            dense = dense.astype(np.int32)
            share = np.bincount(dense) / len(dense)
            model = constriction.stream.model.Categorical(share, perfect=False)

            def coded() -> np.ndarray:
                coder = constriction.stream.stack.AnsCoder()
                coder.encode_reverse(dense, model)
                return coder.get_compressed()

            packed = coded()
            return packed.nbytes, coded, lambda: constriction.stream.stack.AnsCoder(packed).decode(model, len(dense))

        found["constriction"] = ans
    except ImportError:
        pass
    return found


def measure_peer(peer: Callable[..., Any], symbols: np.ndarray) -> dict[str, Any]:
    """Return the figures of a peer on one stream."""
    part = symbols[: 1 << 20]
    size, coder, decoder = peer(part)
    _, _, seconds = timed(coder, 3)
    _, _, seconds_back = timed(decoder, 3)
    return {
        "n_symbols": len(part),
        "n_bytes": size,
        "entropy_bytes": entropy_bytes(part),
        "size_over_entropy": size / entropy_bytes(part),
        "encode_s": seconds,
        "decode_s": seconds_back,
        "encode_msym_s": len(part) / seconds / 1e6,
        "decode_msym_s": len(part) / seconds_back / 1e6,
    }


def total(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the figures of all streams together."""
    n = sum(row["n_symbols"] for row in rows)
    return {
        "size_over_entropy": sum(row["n_bytes"] for row in rows) / sum(row["entropy_bytes"] for row in rows),
        "encode_msym_s": n / sum(row["encode_s"] for row in rows) / 1e6,
        "decode_msym_s": n / sum(row["decode_s"] for row in rows) / 1e6,
    }


def run(n_symbols: int, n_runs: int, with_peers: bool) -> dict[str, Any]:
    """Return the figures of every stream, of the peers, and the totals."""
    rivals = peers() if with_peers else {}
    streams: dict[str, Any] = {}
    for i, (name, make) in enumerate(STREAMS.items()):
        symbols = make(np.random.default_rng([SEED, i]), n_symbols)
        streams[name] = measure(symbols, n_runs)
        streams[name]["peers"] = {key: measure_peer(peer, symbols) for key, peer in rivals.items()}
    rows = list(streams.values())
    return {
        "machine": platform.processor() or platform.machine(),
        "vectors": rans_vector.has_vectors(),
        "seed": SEED,
        "streams": streams,
        "total": total(rows),
        "peers_total": {key: total([row["peers"][key] for row in rows]) for key in rivals},
    }


def show(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    table = Table(title=f"CTF entropy coder, vectors {'on' if figures['vectors'] else 'off'}; Msym/s of CPU time")
    peer_names = list(figures["peers_total"])
    for head in ("stream", "bits", "codec", "size/H", "encode", "decode", *peer_names):
        table.add_column(head, justify="left" if head in ("stream", "codec") else "right")

    def cells(row: dict[str, Any]) -> list[str]:
        return [f"{row['size_over_entropy']:.5f}", f"{row['encode_msym_s']:.0f}", f"{row['decode_msym_s']:.0f}"]

    def peer_cells(rows: dict[str, Any]) -> list[str]:
        return [" / ".join(cells(rows[key])) for key in peer_names]

    for name, row in figures["streams"].items():
        table.add_row(name, f"{row['entropy_bits']:.2f}", row["codec"], *cells(row), *peer_cells(row["peers"]))
    table.add_row("total", "", "", *cells(figures["total"]), *peer_cells(figures["peers_total"]), style="bold")
    Console(width=180).print(table)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--small", action="store_true", help="a quick run: 256 Ki symbols per stream, one run each")
    parser.add_argument("--plain", action="store_true", help="force the plain loops")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    options = parser.parse_args()
    if options.plain:
        from o2dask.ctf import rans

        rans.has_vectors = rans_vector.has_vectors = lambda: False
    figures = run(1 << 18 if options.small else 1 << 22, 1 if options.small else 5, not options.no_peers)
    show(figures)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
