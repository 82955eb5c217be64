"""Pairs: all opposite-sign pairs within a collision, their invariant mass into a histogram; pairs per CPU second.

Beside plain awkward with vector, and a numba loop written by hand over the same columns.

    python benchmarks/pairs.py [--json FILE] [--small]
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import awkward as ak
import numba
import numpy as np
import vector
from rich.console import Console
from rich.table import Table as Printed

from o2dask.analysis.frames import Frame
from o2dask.analysis.overlays import Overlay
from o2dask.analysis.physics.pairs import pair_blocks, pairs

MASS, BINS, RANGE = 0.13957, 200, (0.2, 2.2)


class Nothing(Frame):
    """A frame without tables, to lay made ones over."""

    label = "benchmark"
    tables = ()

    def n_rows(self, tree):
        raise KeyError(tree)

    n_bytes = columns = check_types = _read = _misaligned = n_rows


def make(n_collisions, n_tracks, seed=1):
    """Return a frame of collisions with about `n_tracks` tracks each, in memory."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(n_tracks, n_collisions)
    n = counts.sum()
    state = {
        "fIndexCollisions": np.repeat(np.arange(n_collisions, dtype=np.int32), counts),
        "fAlpha": rng.uniform(-np.pi, np.pi, n),
        "fSnp": rng.uniform(-0.5, 0.5, n),
        "fTgl": rng.normal(0, 0.6, n),
        "fSigned1Pt": rng.choice([-1, 1], n) / (0.15 + rng.exponential(0.5, n)),
    }
    tracks = {name: v if v.dtype.kind == "i" else v.astype(np.float32) for name, v in state.items()}
    zeros = np.zeros(n_collisions, np.float32)
    return Overlay(Nothing(), {"O2track": tracks, "O2collision_001": {"fPosZ": zeros}}, {})


@numba.njit(nogil=True)
def loop(offsets, px, py, pz, sign, counts):
    """Fill masses of opposite-sign pairs: what a careful user writes by hand."""
    width = (RANGE[1] - RANGE[0]) / BINS
    for g in range(len(offsets) - 1):
        for i in range(offsets[g], offsets[g + 1]):
            for j in range(offsets[g], offsets[g + 1]):
                if sign[i] > 0 and sign[j] < 0:
                    e = np.sqrt(px[i] ** 2 + py[i] ** 2 + pz[i] ** 2 + MASS**2)
                    e += np.sqrt(px[j] ** 2 + py[j] ** 2 + pz[j] ** 2 + MASS**2)
                    p2 = (px[i] + px[j]) ** 2 + (py[i] + py[j]) ** 2 + (pz[i] + pz[j]) ** 2
                    b = int((np.sqrt(max(e * e - p2, 0.0)) - RANGE[0]) / width)
                    if 0 <= b < BINS:
                        counts[b] += 1


def histogram(masses):
    """Return counts; numpy's own, the same for all that make arrays of masses."""
    return np.histogram(masses, BINS, RANGE)[0]


def ours(frame):
    """Return counts with `pairs`."""
    nested = frame.collisions.tracks
    return histogram(pairs(nested[nested.sign() > 0], nested[nested.sign() < 0]).mass(MASS))


def ours_in_blocks(frame):
    """Return counts with `pair_blocks`, in bounded memory."""
    nested = frame.collisions.tracks
    sign, counts = nested.sign(), np.zeros(BINS, np.int64)
    for block in pair_blocks(nested[sign > 0], nested[sign < 0]):
        counts += histogram(block.mass(MASS))
    return counts


def with_awkward(frame):
    """Return counts with awkward's cartesian and vector."""
    nested = frame.collisions.tracks
    momenta, sign = nested.p4(MASS), nested.sign()
    first, second = ak.unzip(ak.cartesian([momenta[sign > 0], momenta[sign < 0]]))
    return histogram(ak.to_numpy(ak.flatten((first + second).mass)))


def by_hand(frame):
    """Return counts of the numba loop."""
    tracks = frame.tracks
    offsets = np.searchsorted(tracks.collisionId(), np.arange(len(frame.collisions) + 1))
    counts = np.zeros(BINS, np.int64)
    loop(offsets, tracks.px(), tracks.py(), tracks.pz(), tracks.sign(), counts)
    return counts


WAYS = {"pairs": ours, "pair_blocks": ours_in_blocks, "awkward + vector": with_awkward, "numba by hand": by_hand}


def main():
    """Measure, check that all agree, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    vector.register_awkward()
    cases = {"pp": (2000, 30), "Pb-Pb": (20, 1500)} if not options.small else {"small": (50, 40)}
    printed, results = Printed("collisions", "way", "pairs/cpu-s", "to awkward"), []
    for case, (n_collisions, n_tracks) in cases.items():
        counts = {name: way(make(n_collisions, n_tracks)) for name, way in WAYS.items()}  # compiles, and fills caches
        reference = counts["numba by hand"]
        for name, found in counts.items():
            # float32 sums in awkward and by hand move masses over bin edges
            assert np.abs(found - reference).sum() < 2e-3 * reference.sum() + 10, name
        rates = {}
        sign = make(n_collisions, n_tracks).collisions.tracks.sign()
        n_pairs = int(ak.sum(ak.sum(sign > 0, axis=1) * ak.sum(sign < 0, axis=1)))
        for name, way in WAYS.items():
            seconds = []
            for _ in range(3 if options.small else 5):
                frame = make(n_collisions, n_tracks)
                before = time.process_time()
                way(frame)
                seconds.append(time.process_time() - before)
            rates[name] = n_pairs / statistics.median(seconds)
        for name, rate in rates.items():
            ratio = rate / rates["awkward + vector"]
            printed.add_row(case, name, f"{rate / 1e6:.2f} M", f"{ratio:.1f}")
            results.append(
                {"case": case, "way": name, "n_pairs": n_pairs, "pairs_per_cpu_s": rate, "to_awkward": ratio}
            )
    Console().print(printed)
    if options.json:
        content = {"benchmark": "pairs", "machine": platform.processor() or platform.machine(), "results": results}
        options.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
