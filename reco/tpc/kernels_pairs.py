"""Tracks that run side by side: who is next to whom, and which of two tracks each of their clusters fits best.

The search gives every cluster to the first track that wants it; where two tracks are a few errors apart over many
rows, each ends with clusters of the other. With both tracks known, clusters of a row are exchanged where both tracks
together fit better, the tracks are fitted again, and so on until nothing changes. Bodies for CPU and GPU.
"""

import math

import numpy as np
from numba import prange

from o2dask.reco.tpc.kernels_fit import fit_track
from o2dask.reco.tpc.kernels_grid import row_offset
from o2dask.reco.tpc.kernels_helix import advance_state
from o2dask.reco.tpc.kernels_jit import body, launcher
from o2dask.reco.tpc.kernels_update import cluster_errors

__all__ = [
    "N_BESIDE",
    "ROW_STEP",
    "find_all_beside",
    "find_beside",
    "note_owner",
    "note_owners",
    "trace",
    "untangle",
    "untangle_all",
]

N_BESIDE = 4
"""Most neighbours that are noted per track."""
ROW_STEP = 8
_MAX_ROUNDS = 6
_WORTH = np.float32(6.0)
"""Gain in chi2 of all exchanges together below which they are not worth another fit."""
_POOR = np.float32(2.0)
"""Chi2 of two tracks above the two expected per cluster, in errors, at which other ways of sharing out are tried."""
_KINDS, _TAIL_ROWS = 5, 12
"""Other ways of sharing out that are tried, see `propose`."""
_CLEAR = np.float32(4.4)
"""Difference in chi2 below which a cluster is one of the other track's in a tenth of the cases."""
_MAX_WRONG, _MIN_CLEAR = np.float32(0.05), 30
"""Share of clusters expected with the wrong track above which unclear ones are set free; clear ones wanted."""
_DEG = np.float32(math.pi / 180.0)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
N_ROWS = 152


@body
def note_owner(i, first, cluster, owner):
    """Write i + 1 to owner (n_clusters,) int32 for each cluster of track `i`."""
    for k in range(first[i], first[i + 1]):
        owner[cluster[k]] = i + 1


@launcher
def note_owners(first, cluster, owner):
    """Run `note_owner` on every track."""
    for i in prange(first.shape[0] - 1):
        note_owner(np.int64(i), first, cluster, owner)


@body
def find_beside(i, first, hits, owner, source, grid, detector, window, beside, count):
    """Write the tracks with clusters next to those of track `i` to beside (n, N_BESIDE), on how many rows to count.

    first : (n + 1,) int32; hits : y, z float32 [cm], row, sector uint8, all (m,).
    owner : (n_clusters,) int32, 1 + track of each cluster of the input or 0.
    source : (n_clusters,) int32, where each sorted cluster is in the input.
    window : (2,) float32, largest distance in y and z [cm]. Every eighth cluster is looked at.
    """
    hit_y, hit_z, hit_row, hit_sector = hits
    for s in range(N_BESIDE):
        beside[i, s] = -1
        count[i, s] = 0
    wy, wz = window[0], window[1]
    for k in range(first[i], first[i + 1], ROW_STEP):
        row, sector, y, z = np.int64(hit_row[k]), np.int64(hit_sector[k]), hit_y[k], hit_z[k]
        half = detector.row_half[row]
        ny, nz = np.int64(grid.row_ny[row]), np.int64(grid.nz)
        w = z if sector < 18 else -z
        iy0 = min(max(int((y - wy + half) * grid.inv_dy), 0), ny - 1)
        iy1 = min(max(int((y + wy + half) * grid.inv_dy), 0), ny - 1)
        iz0 = min(max(int((w - wz - grid.w_min) * grid.inv_dz), 0), nz - 1)
        iz1 = min(max(int((w + wz - grid.w_min) * grid.inv_dz), 0), nz - 1)
        base = row_offset(grid, sector, row)
        for iz in range(iz0, iz1 + 1):
            cell = base + iz * ny
            for j in range(grid.cell_start[cell + iy0], grid.cell_start[cell + iy1 + 1]):
                if abs(grid.yz[j, 0] - y) > wy or abs(grid.yz[j, 1] - z) > wz:
                    continue
                other = owner[source[j]] - 1
                if other < 0 or other == i:
                    continue
                for s in range(N_BESIDE):
                    if beside[i, s] == other:
                        count[i, s] += 1
                        break
                    if beside[i, s] < 0:
                        beside[i, s] = other
                        count[i, s] = 1
                        break


@launcher
def find_all_beside(first, hits, owner, source, grid, detector, window, beside, count):
    """Run `find_beside` on every track."""
    for i in prange(beside.shape[0]):
        find_beside(np.int64(i), first, hits, owner, source, grid, detector, window, beside, count)


@body
def trace(i, first, hit_row, hit_sector, path, detector, par, place, at, start):
    """Follow fitted track `i` over its clusters; write y, z and variances there to place, and its hits to at.

    path : (m,) float32, 0 of clusters that are not in the fit. place : (152, 4) float32; at : (152,) int32, hit of each
    row or -1; start : (6,) float32, the state at the outermost cluster, in its sector's frame. Return whether the track
    comes that far.
    """
    for row in range(N_ROWS):
        at[row] = -1
    begin, end = first[i], first[i + 1]
    inner = begin
    while inner < end - 1 and path[inner] <= _ZERO:
        inner += 1
    x, y, z, snp, tgl, q2pt = par[i, 0], par[i, 1], par[i, 2], par[i, 3], par[i, 4], par[i, 5]
    sector = np.int64(hit_sector[inner])
    waiting = _ZERO
    # outwards from there, then inwards from there
    for step in range(end - begin):
        k = inner + step
        if k >= end:
            k = inner - 1 - (k - end)
        if k == inner - 1:
            x, y, z, snp, tgl, q2pt = par[i, 0], par[i, 1], par[i, 2], par[i, 3], par[i, 4], par[i, 5]
            sector = np.int64(hit_sector[inner])
            waiting = _ZERO
        row, other = np.int64(hit_row[k]), np.int64(hit_sector[k])
        if other % 18 != sector % 18:
            turn = _DEG * np.float32(20 * ((other - sector) % 18))
            cos, sin = math.cos(turn), math.sin(turn)
            csp = math.sqrt(max(_ONE - snp * snp, _ZERO))
            if csp * cos + snp * sin < np.float32(0.03):
                return False
            x, y, snp = x * cos + y * sin, y * cos - x * sin, snp * cos - csp * sin
        sector = other
        ok, y, z, snp, tgl, q2pt, waiting = advance_state(
            x, y, z, snp, tgl, q2pt, detector.row_x[row], detector, sector, waiting
        )
        if not ok:
            return False
        x = detector.row_x[row]
        vy, vz = cluster_errors(detector, row, z, snp, tgl)
        place[row, 0], place[row, 1], place[row, 2], place[row, 3] = y, z, vy, vz
        at[row] = k
        if k == end - 1:
            start[0], start[1], start[2], start[3], start[4], start[5] = x, y, z, snp, tgl, q2pt
    return True


@body
def misfit(place, row, y, z):
    """Return the chi2 of a cluster at (y, z) from a traced track."""
    dy, dz = y - place[row, 0], z - place[row, 1]
    return dy * dy / place[row, 2] + dz * dz / place[row, 3]


@body
def gain(p, q, row, place, hit_y, hit_z):
    """Return by how much chi2 falls when hits `p` and `q` of a row change places."""
    now = misfit(place[0], row, hit_y[p], hit_z[p]) + misfit(place[1], row, hit_y[q], hit_z[q])
    return now - misfit(place[0], row, hit_y[q], hit_z[q]) - misfit(place[1], row, hit_y[p], hit_z[p])


@body
def exchange(p, q, hits):
    """Let two hits of a row change places."""
    cluster, hit_y, hit_z, _, _, hit_width = hits
    cluster[p], cluster[q] = cluster[q], cluster[p]
    hit_y[p], hit_y[q] = hit_y[q], hit_y[p]
    hit_z[p], hit_z[q] = hit_z[q], hit_z[p]
    hit_width[p, 0], hit_width[q, 0] = hit_width[q, 0], hit_width[p, 0]
    hit_width[p, 1], hit_width[q, 1] = hit_width[q, 1], hit_width[p, 1]


@body
def propose(kind, row_close, at, hits):
    """Write to at[2] on which rows the hits of a pair change places in another way of sharing them out.

    kind : 0 one track has the larger y everywhere, 1 the larger z; 2 to 4 inside of the row where they are closest, or
        `_TAIL_ROWS` further in or out: two tracks that cross may have gone on as each other, each row then fits.
    """
    _, hit_y, hit_z, _, hit_sector, _ = hits
    row_end = row_close + _TAIL_ROWS * (kind - 3)
    for row in range(N_ROWS):
        p, q = np.int64(at[0, row]), np.int64(at[1, row])
        at[2, row] = 0
        if p < 0 or q < 0 or hit_sector[p] != hit_sector[q]:
            continue
        if (kind == 0 and hit_y[p] < hit_y[q]) or (kind == 1 and hit_z[p] < hit_z[q]) or (kind > 1 and row < row_end):
            at[2, row] = 1


@body
def exchange_rows(at, hits):
    """Exchange the hits of a pair on the rows that at[2] tells."""
    for row in range(N_ROWS):
        if at[2, row] == 1:
            exchange(np.int64(at[0, row]), np.int64(at[1, row]), hits)


@body
def refit(t, first, hits, start, detector, chi2_drop, fitted):
    """Fit a track from the state in start (6,); return its chi2 with chi2_drop for every cluster that is left out."""
    _, hit_y, hit_z, hit_row, hit_sector, hit_width = hits
    par, cov, chi2, last, path = fitted
    for k in range(6):
        par[t, k] = start[k]
    fit_track(t, first, hit_y, hit_z, hit_row, hit_sector, hit_width, detector, chi2_drop, par, cov, chi2, last, path)
    return chi2[t] + chi2_drop * np.float32(first[t + 1] - first[t] - last[t, 0])


@body
def settle(a, b, first, hits, detector, chi2_drop, fitted, place, at, start):
    """Exchange clusters row by row and fit again until nothing changes; return (ok, total chi2 or -1)."""
    _, hit_y, hit_z, hit_row, hit_sector, _ = hits
    par, _, _, last, path = fitted
    total = -np.float32(1.0)
    for _ in range(_MAX_ROUNDS):
        if last[a, 0] < 3 or last[b, 0] < 3:
            return False, total
        if not trace(a, first, hit_row, hit_sector, path, detector, par, place[0], at[0], start[0]):
            return False, total
        if not trace(b, first, hit_row, hit_sector, path, detector, par, place[1], at[1], start[1]):
            return False, total
        total_gain = _ZERO
        for row in range(N_ROWS):
            p, q = np.int64(at[0, row]), np.int64(at[1, row])
            if p >= 0 and q >= 0 and hit_sector[p] == hit_sector[q]:
                total_gain += max(gain(p, q, row, place, hit_y, hit_z), _ZERO)
        if not total_gain > _WORTH:
            break
        for row in range(N_ROWS):
            p, q = np.int64(at[0, row]), np.int64(at[1, row])
            if p >= 0 and q >= 0 and hit_sector[p] == hit_sector[q] and gain(p, q, row, place, hit_y, hit_z) > _ZERO:
                exchange(p, q, hits)
        total = refit(a, first, hits, start[0], detector, chi2_drop, fitted)
        total += refit(b, first, hits, start[1], detector, chi2_drop, fitted)
    return True, total


@body
def closest_row(at, place, hit_sector):
    """Return the row with clusters of both tracks where these come closest, -1 if there is none."""
    best, best_row = np.float32(np.inf), -1
    for row in range(N_ROWS):
        p, q = np.int64(at[0, row]), np.int64(at[1, row])
        if p >= 0 and q >= 0 and hit_sector[p] == hit_sector[q]:
            d = misfit(place[0], row, place[1, row, 0], place[1, row, 1])
            if d < best:
                best, best_row = d, row
    return best_row


@body
def expected_wrong(at, place, hits):
    """Return the share of the rows with clusters of both tracks on which these are expected with the wrong one."""
    _, hit_y, hit_z, _, hit_sector, _ = hits
    n_rows, wrong = 0, _ZERO
    for row in range(N_ROWS):
        p, q = np.int64(at[0, row]), np.int64(at[1, row])
        if p >= 0 and q >= 0 and hit_sector[p] == hit_sector[q]:
            n_rows += 1
            d = abs(gain(p, q, row, place, hit_y, hit_z))
            if d < np.float32(40.0):
                wrong += _ONE / (_ONE + math.exp(d * np.float32(0.5)))
    return wrong / np.float32(max(n_rows, 1))


@body
def set_free(at, place, hits):
    """Take the clusters that fit either of two tracks about as well from both, if enough are left; return how many."""
    _, hit_y, hit_z, _, hit_sector, _ = hits
    n_free, n_clear = 0, 0
    for row in range(N_ROWS):
        p, q = np.int64(at[0, row]), np.int64(at[1, row])
        at[2, row] = 0
        if p >= 0 and q >= 0 and hit_sector[p] == hit_sector[q]:
            if abs(gain(p, q, row, place, hit_y, hit_z)) < _CLEAR:
                at[2, row] = 1
                n_free += 1
            else:
                n_clear += 1
    if n_clear < _MIN_CLEAR:
        return 0
    for row in range(N_ROWS):
        if at[2, row] == 1:
            hit_y[at[0, row]] = np.float32(np.nan)
            hit_y[at[1, row]] = np.float32(np.nan)
    return n_free


@body
def untangle(i, pairs, first, hits, detector, chi2_drop, fitted, scratch):
    """Exchange clusters between the two tracks of pair `i` where both together fit better; fit both again.

    pairs : (n, 2) int32, each track in one pair. first : (n + 1,) int32.
    hits : cluster int32, y, z float32, row, sector uint8 (m,), width (m, 2) float32; changed in place: y is NaN of
        those that neither track keeps.
    fitted : par, cov, chi2, last, path as `fit_track` has left them; changed.
    scratch : place (n, 2, 152, 4) float32, at (n, 3, 152) int32, start (n, 2, 6) float32.
    """
    chi2, last = fitted[2], fitted[3]
    place, at, start = scratch[0][i], scratch[1][i], scratch[2][i]
    a, b = np.int64(pairs[i, 0]), np.int64(pairs[i, 1])
    ok, total = settle(a, b, first, hits, detector, chi2_drop, fitted, place, at, start)
    if not ok:
        return
    n_hits = np.float32(first[a + 1] - first[a] + first[b + 1] - first[b])
    if total < _ZERO:
        total = chi2[a] + chi2[b] + chi2_drop * (n_hits - np.float32(last[a, 0] + last[b, 0]))
    kind = 0
    poor = n_hits + n_hits + _POOR * math.sqrt(n_hits + n_hits)
    if expected_wrong(at, place, hits) > _MAX_WRONG:
        poor = _ZERO
    while ok and kind < _KINDS and total > poor:
        propose(kind, closest_row(at, place, hits[4]), at, hits)
        exchange_rows(at, hits)
        other = refit(a, first, hits, start[0], detector, chi2_drop, fitted)
        other += refit(b, first, hits, start[1], detector, chi2_drop, fitted)
        if other < total:
            ok, settled = settle(a, b, first, hits, detector, chi2_drop, fitted, place, at, start)
            total = settled if settled >= _ZERO else other
        else:
            exchange_rows(at, hits)
            refit(a, first, hits, start[0], detector, chi2_drop, fitted)
            refit(b, first, hits, start[1], detector, chi2_drop, fitted)
        kind += 1
    if ok and expected_wrong(at, place, hits) > _MAX_WRONG and set_free(at, place, hits) > 0:
        refit(a, first, hits, start[0], detector, chi2_drop, fitted)
        refit(b, first, hits, start[1], detector, chi2_drop, fitted)


@launcher
def untangle_all(pairs, first, hits, detector, chi2_drop, fitted, scratch):
    """Run `untangle` on every pair."""
    for i in prange(pairs.shape[0]):
        untangle(np.int64(i), pairs, first, hits, detector, chi2_drop, fitted, scratch)
