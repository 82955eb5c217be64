"""Combinations of rows within groups: how many a first row has, and which.

Arrays and scalars only. A first row i of the group [begin, end) has partners by policy (0 strictly upper, 1 upper, 2
full); `window` is the largest distance between the outermost members of a combination. Count, prefix-sum, fill: no row
writes another row's output.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import math

import numpy as np
from numba import prange

from o2dask.analysis.physics.kernels_jit import body, launcher

__all__ = ["count_pairs", "count_triples", "fill_cross", "fill_pairs", "fill_triples", "pair_masses", "triple_masses"]


@body
def second_range(i, begin, end, window, policy):
    """Return the half-open range of partners of i."""
    low = i + 1 if policy == 0 else (i if policy == 1 else max(begin, i - window))
    return low, min(end, i + window + 1)


@body
def third_range(i, j, begin, end, window, policy):
    """Return the half-open range of third members for (i, j)."""
    low = j + 1 if policy == 0 else (j if policy == 1 else max(begin, max(i, j) - window))
    return low, min(end, min(i, j) + window + 1)


@body
def n_pairs_of(i, begin, end, window, policy):
    """Return how many pairs start with i."""
    low, high = second_range(i, begin, end, window, policy)
    return max(0, high - low)


@body
def n_triples_of(i, begin, end, window, policy):
    """Return how many triples start with i."""
    low, high = second_range(i, begin, end, window, policy)
    n = 0
    for j in range(low, high):
        low_3, high_3 = third_range(i, j, begin, end, window, policy)
        n += max(0, high_3 - low_3)
    return n


@launcher
def count_pairs(begins, ends, window, policy, counts):
    """Write to counts (n,) how many pairs start with each row."""
    for i in prange(len(counts)):
        counts[i] = n_pairs_of(np.int64(i), begins[i], ends[i], window, policy)


@launcher
def count_triples(begins, ends, window, policy, counts):
    """Write to counts (n,) how many triples start with each row."""
    for i in prange(len(counts)):
        counts[i] = n_triples_of(np.int64(i), begins[i], ends[i], window, policy)


@launcher
def fill_pairs(row, begins, ends, window, policy, starts, first, second):
    """Write the pairs of the rows row, row + 1, ...; those of row + r begin at starts[r]."""
    for r in prange(len(starts)):
        i, place = row + np.int64(r), starts[r]
        low, high = second_range(i, begins[i], ends[i], window, policy)
        for j in range(low, high):
            first[place], second[place] = i, j
            place += 1


@launcher
def fill_triples(row, begins, ends, window, policy, starts, first, second, third):
    """Write the triples of the rows row, row + 1, ...; those of row + r begin at starts[r]."""
    for r in prange(len(starts)):
        i, place = row + np.int64(r), starts[r]
        low, high = second_range(i, begins[i], ends[i], window, policy)
        for j in range(low, high):
            low_3, high_3 = third_range(i, j, begins[i], ends[i], window, policy)
            for k in range(low_3, high_3):
                first[place], second[place], third[place] = i, j, k
                place += 1


@launcher
def fill_cross(offsets_a, offsets_b, group_a, group_b, starts, first, second):
    """Write all pairs of group_a[p] with group_b[p]; those of the pair of groups p begin at starts[p]."""
    for p in prange(len(starts)):
        place = starts[p]
        for i in range(offsets_a[group_a[p]], offsets_a[group_a[p] + 1]):
            for j in range(offsets_b[group_b[p]], offsets_b[group_b[p] + 1]):
                first[place], second[place] = i, j
                place += 1


@body
def mass_of(px, py, pz, e):
    """Return the invariant mass; 0 where rounding makes its square negative."""
    return math.sqrt(max(e * e - px * px - py * py - pz * pz, 0.0))


@launcher
def pair_masses(a, b, first, second, masses):
    """Write the mass of the rows first of a (n, 4) and second of b: px, py, pz, E."""
    for i in prange(len(masses)):
        p, q = a[first[i]], b[second[i]]
        masses[i] = mass_of(p[0] + q[0], p[1] + q[1], p[2] + q[2], p[3] + q[3])


@launcher
def triple_masses(a, b, c, first, second, third, masses):
    """Write the mass of the rows first of a (n, 4), second of b and third of c: px, py, pz, E."""
    for i in prange(len(masses)):
        p, q, r = a[first[i]], b[second[i]], c[third[i]]
        masses[i] = mass_of(p[0] + q[0] + r[0], p[1] + q[1] + r[1], p[2] + q[2] + r[2], p[3] + q[3] + r[3])
