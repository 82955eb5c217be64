"""Sorting and merging: clusters too near each other on a pad row become one. Knows arrays and scalars only.

Counting sort by time bin, then by (sector, pad row), then a short insertion sort within each row; merging looks ahead
over the few clusters of the next time bins. Linear in the number of clusters as long as few share a row and a bin.
"""

import math

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_jit import body, launcher

__all__ = ["count_per_particle", "gather", "merge_rows", "sort_by_time", "sort_rows", "stable_order"]

_TIME, _PAD, _SIGMA = 64.0, 64.0, 32.0
_MAX_Q_MAX, _MAX_Q_TOT = 1023, 25 * 1024 - 1
FLAG_SPLIT_PAD, FLAG_SPLIT_TIME = 1, 2


@body
def sort_by_time(time, offsets, order):
    """Fill `order` (n,) with the rows by time bin; `offsets` (n_bins + 1,) int64 zeroed, scratch."""
    for i in range(time.shape[0]):
        offsets[(time[i] >> 6) + 1] += 1
    for b in range(1, offsets.shape[0]):
        offsets[b] += offsets[b - 1]
    for i in range(time.shape[0]):
        b = time[i] >> 6
        order[offsets[b]] = i
        offsets[b] += 1


@body
def stable_order(bucket, by_time, starts, order):
    """Fill `order` (n,) with the rows by bucket, in the order `by_time` within; `starts` (n_buckets + 1,) zeroed."""
    for i in range(bucket.shape[0]):
        starts[bucket[i] + 1] += 1
    for b in range(1, starts.shape[0]):
        starts[b] += starts[b - 1]
    for j in range(by_time.shape[0]):
        i = by_time[j]
        b = bucket[i]
        order[starts[b]] = i
        starts[b] += 1
    for b in range(starts.shape[0] - 1, 0, -1):  # each start has moved to the next one's place
        starts[b] = starts[b - 1]
    starts[0] = 0


@body
def _is_before(a, b, c):
    """Return whether row a comes before row b: by time, pad, particle, charge, so that no tie depends on history."""
    if c.time[a] != c.time[b]:
        return c.time[a] < c.time[b]
    if c.pad[a] != c.pad[b]:
        return c.pad[a] < c.pad[b]
    if c.mc[a] != c.mc[b]:
        return c.mc[a] < c.mc[b]
    if c.q_tot[a] != c.q_tot[b]:
        return c.q_tot[a] < c.q_tot[b]
    return c.q_max[a] < c.q_max[b]


@body
def _insertion_sort(order, start, stop, c):
    for j in range(start + 1, stop):
        i, k = order[j], j
        while k > start and _is_before(i, order[k - 1], c):
            order[k] = order[k - 1]
            k -= 1
        order[k] = i


@launcher
def sort_rows(order, starts, c):
    """Sort `order` (n,), sorted by time bin within each bucket, by time, pad, particle and charge in each bucket."""
    for b in prange(starts.shape[0] - 1):
        _insertion_sort(order, starts[b], starts[b + 1], c)


@body
def _absorb(head, members, n, c):
    """Merge the clusters `members[:n]` into row `head`, one of them: centre of charge, width, charges, labels."""
    q_sum, pad_sum, time_sum = 0.0, 0.0, 0.0
    for m in range(n):
        q = float(c.q_tot[members[m]])
        q_sum += q
        pad_sum += q * c.pad[members[m]]
        time_sum += q * c.time[members[m]]
    pad, time = pad_sum / q_sum, time_sum / q_sum
    var_pad, var_time, first, top = 0.0, 0.0, members[0], 0.0
    for m in range(n):
        i = members[m]
        q = c.q_tot[i] / q_sum
        dp, dt = (c.pad[i] - pad) / _PAD, (c.time[i] - time) / _TIME
        sp, st = c.sigma_pad[i] / _SIGMA, c.sigma_time[i] / _SIGMA
        var_pad += q * (sp * sp + dp * dp)
        var_time += q * (st * st + dt * dt)
        if c.q_tot[i] > c.q_tot[first]:
            first = i
    other, best, flags = -1, -1.0, 0
    for m in range(n):
        i = members[m]
        dp, dt = (
            (np.int64(c.pad[i]) - np.int64(c.pad[first])) / _PAD,
            (np.int64(c.time[i]) - np.int64(c.time[first])) / _TIME,
        )
        sp, st = max(c.sigma_pad[i] / _SIGMA, 0.3), max(c.sigma_time[i] / _SIGMA, 0.3)
        # What a neighbour adds to the largest digit falls with its distance from it.
        top += c.q_max[i] * math.exp(-0.5 * (dp * dp / (sp * sp) + dt * dt / (st * st)))
        flags |= c.flags[i]
        if c.mc[i] != c.mc[first] and c.q_tot[i] > best:
            other, best = c.mc[i], float(c.q_tot[i])
    mc = c.mc[first]
    c.pad[head] = int(pad + 0.5)
    c.time[head] = int(time + 0.5)
    c.sigma_pad[head] = min(int(math.sqrt(var_pad) * _SIGMA + 0.5), 255)
    c.sigma_time[head] = min(int(math.sqrt(var_time) * _SIGMA + 0.5), 255)
    c.q_max[head] = min(int(top + 0.5), _MAX_Q_MAX)
    c.q_tot[head] = min(int(q_sum + 0.5), _MAX_Q_TOT)
    c.flags[head] = flags & ~8 if n > 1 else flags
    c.mc[head] = mc
    c.mc_other[head] = other


@body
def _merge_row(order, start, stop, c, pads, times, sigmas, members):
    """Merge one bucket's clusters, `order` sorted by time; return how many are left, these in front and sorted."""
    alive = start
    for j in range(start, stop):
        head = order[j]
        if head < 0:
            continue
        n = 1
        members[0] = head
        head_time, head_pad = np.int64(c.time[head]), np.int64(c.pad[head])
        head_sp, head_st = c.sigma_pad[head] / _SIGMA, c.sigma_time[head] / _SIGMA
        k = j + 1
        # Wide clusters reach further than `times`: 8 time bins end the search for any width that is stored.
        while k < stop and n < members.shape[0]:
            i = order[k]
            if i >= 0:
                dt = (np.int64(c.time[i]) - head_time) / _TIME
                if dt > 8.0:
                    break
                dp = (np.int64(c.pad[i]) - head_pad) / _PAD
                sp, st = c.sigma_pad[i] / _SIGMA, c.sigma_time[i] / _SIGMA
                reach_pad = max(pads, sigmas * math.sqrt(0.5 * (sp * sp + head_sp * head_sp)))
                reach_time = max(times, sigmas * math.sqrt(0.5 * (st * st + head_st * head_st)))
                far = (dp / reach_pad) ** 2 + (dt / reach_time) ** 2
                if far < 1.0:
                    members[n] = i
                    order[k] = -1
                    n += 1
                elif far < 2.0:  # two peaks that share digits
                    flag = FLAG_SPLIT_PAD if abs(dp) * reach_time > dt * reach_pad else FLAG_SPLIT_TIME
                    c.flags[i] |= flag
                    c.flags[head] |= flag
            k += 1
        if n > 1:
            _absorb(head, members, n, c)
        order[alive] = head
        alive += 1
    _insertion_sort(order, start, alive, c)
    return alive - start


@launcher
def merge_rows(order, starts, c, pads, times, sigmas, members, n_alive):
    """Merge near clusters in every bucket.

    `order` (n,) int32, sorted by `sort_rows`, ends with the survivors of bucket b at ``starts[b]`` onwards;
    `members` (n_buckets, 32) int32 scratch; `n_alive` (n_buckets,) int64 is how many survive.
    """
    for b in prange(n_alive.shape[0]):
        n_alive[b] = _merge_row(order, starts[b], starts[b + 1], c, pads, times, sigmas, members[b])


@body
def _gather_row(b, order, starts, n_alive, out_starts, c, out):
    for j in range(n_alive[b]):
        i, k = order[starts[b] + j], out_starts[b] + j
        out.sector[k] = b // 152
        out.pad_row[k] = b % 152
        out.time[k] = c.time[i]
        out.pad[k] = c.pad[i]
        out.sigma_pad[k] = c.sigma_pad[i]
        out.sigma_time[k] = c.sigma_time[i]
        out.q_max[k] = c.q_max[i]
        out.q_tot[k] = c.q_tot[i]
        out.flags[k] = c.flags[i]
        out.mc[k] = c.mc[i]
        out.mc_other[k] = c.mc_other[i]


@launcher
def gather(order, starts, n_alive, out_starts, c, out):
    """Copy the survivors, in order, to the output columns (ClusterNative and labels)."""
    for b in prange(n_alive.shape[0]):
        _gather_row(b, order, starts, n_alive, out_starts, c, out)


@body
def count_per_particle(sector, pad_row, mc, n_clusters, n_rows, last):
    """Count clusters and different (sector, pad row) per main label; `last` (n_particles,) int32 is -1, scratch."""
    for i in range(mc.shape[0]):
        m = mc[i]
        if m >= 0:
            bucket = sector[i] * 152 + pad_row[i]
            n_clusters[m] += 1
            if last[m] != bucket:
                last[m] = bucket
                n_rows[m] += 1
