"""Combinations as index arrays: pairs and triples within groups, between groups, and of neighbours in a category.

Knows counts and offsets; knows no table (`pairs` does). Policies are those of AliceO2's
Framework/Core/include/Framework/ASoAHelpers.h: strictly upper (i < j < k), upper (i <= j <= k), full (all ordered), and
their block versions, in which members lie in one category and at most `window` places apart. Order is lexicographic
within a group, groups follow each other. Memory is that of the output; `combination_blocks` bounds that as well.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from o2dask.errors import ConfigError, ShapeError

__all__ = ["Policy", "combination_blocks", "combinations", "cross_blocks", "cross_combinations", "mixed_events"]

Policy = Literal["strictly_upper", "upper", "full"]
Indices = tuple[np.ndarray, ...]
_CODES = {"strictly_upper": 0, "upper": 1, "full": 2}


def combinations(
    groups: int | np.ndarray, k: int = 2, policy: Policy = "strictly_upper", window: int | None = None
) -> Indices:
    """Return the combinations of rows within groups, as k arrays of row numbers.

    Parameters
    ----------
    groups : int, or ndarray, (n_groups + 1,), int64
        Number of rows of one group, or offsets: group g has the rows ``groups[g]:groups[g + 1]``.
    k : int
        2 or 3 members.
    policy : "strictly_upper", "upper" or "full"
        Each unordered combination of different rows once; also with itself; all ordered ones.
    window : int, optional
        Largest distance of two members (O2's category neighbours); None for no limit.

    Returns
    -------
    tuple of k ndarray, (n_combinations,), int64

    Examples
    --------
    >>> combinations(3)
    (array([0, 0, 1]), array([1, 2, 2]))
    """
    blocks = list(_blocks(groups, k, policy, window, None))
    return blocks[0] if blocks else tuple(np.zeros(0, np.int64) for _ in range(k))


def combination_blocks(
    groups: int | np.ndarray,
    k: int = 2,
    policy: Policy = "strictly_upper",
    window: int | None = None,
    *,
    max_rows: int = 1_000_000,
) -> Iterator[Indices]:
    """Yield the combinations in the same order, at most `max_rows` at a time (more if one row alone has more)."""
    _check_max_rows(max_rows)
    return _blocks(groups, k, policy, window, max_rows)


def _blocks(
    groups: int | np.ndarray, k: int, policy: Policy, window: int | None, max_rows: int | None
) -> Iterator[Indices]:
    from o2dask.analysis.physics import kernels_combinations as kernels

    if k not in (2, 3):
        raise ConfigError(f"combinations: want 2 or 3 members, got {k}")
    if policy not in _CODES:
        raise ConfigError(f"combinations: want a policy of {', '.join(_CODES)}, got {policy!r}")
    if window is not None and window < 0:
        raise ConfigError(f"combinations: want a window of 0 or more neighbours, got {window}")
    offsets = _offsets(groups)
    sizes = np.diff(offsets)
    begins, ends = np.repeat(offsets[:-1], sizes), np.repeat(offsets[1:], sizes)
    code, width = _CODES[policy], len(begins) if window is None else min(window, len(begins))
    counts = np.empty(len(begins), np.int64)
    count, fill = (kernels.count_pairs, kernels.fill_pairs) if k == 2 else (kernels.count_triples, kernels.fill_triples)
    count(begins, ends, width, code, counts)
    return _filled(counts, k, max_rows, lambda row, *out: fill(row, begins, ends, width, code, *out))


def _filled(counts: np.ndarray, k: int, max_rows: int | None, fill: Callable[..., None]) -> Iterator[Indices]:
    """Yield what `fill` writes for rows of which each has so many combinations, about `max_rows` at a time."""
    places = np.concatenate([[0], np.cumsum(counts)])
    row = 0
    while row < len(counts):
        limit = places[-1] if max_rows is None else places[row] + max_rows
        stop = max(row + 1, int(np.searchsorted(places, limit, side="right")) - 1)
        starts = places[row:stop] - places[row]
        out = tuple(np.empty(int(places[stop] - places[row]), np.int64) for _ in range(k))
        if len(out[0]):
            fill(row, starts, *out)
            yield out
        row = stop


def cross_blocks(
    offsets_a: int | np.ndarray, offsets_b: int | np.ndarray, *, max_rows: int = 1_000_000
) -> Iterator[Indices]:
    """Yield all pairs of a row of group g of A with a row of group g of B, about `max_rows` at a time."""
    from o2dask.analysis.physics import kernels_combinations as kernels

    _check_max_rows(max_rows)
    offsets_a, offsets_b = _alike(offsets_a, offsets_b)
    sizes = np.diff(offsets_a)
    begins, ends = np.repeat(offsets_b[:-1], sizes), np.repeat(offsets_b[1:], sizes)
    full, far = _CODES["full"], int(offsets_a[-1] + offsets_b[-1])  # no partner is further away
    return _filled(ends - begins, 2, max_rows, lambda row, *out: kernels.fill_pairs(row, begins, ends, far, full, *out))


def cross_combinations(
    offsets_a: int | np.ndarray,
    offsets_b: int | np.ndarray,
    group_a: np.ndarray | None = None,
    group_b: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs of a row of a group of A with a row of a group of B (O2's full policy over two tables).

    Parameters
    ----------
    offsets_a, offsets_b : int, or ndarray, (n_groups + 1,), int64
        As in `combinations`.
    group_a, group_b : ndarray, (n_pairs,), int64, optional
        Which groups to pair; left out, group g of A with group g of B.

    Returns
    -------
    first, second, pair : ndarray, (n,), int64
        Rows of A and B, and the number of the pair of groups.
    """
    from o2dask.analysis.physics.kernels_combinations import fill_cross

    offsets_a, offsets_b = _offsets(offsets_a), _offsets(offsets_b)
    if group_a is None or group_b is None:
        _alike(offsets_a, offsets_b)
        group_a = group_b = np.arange(len(offsets_a) - 1)
    counts = np.diff(offsets_a)[group_a] * np.diff(offsets_b)[group_b]
    places = np.concatenate([[0], np.cumsum(counts)])
    first, second = np.empty(int(places[-1]), np.int64), np.empty(int(places[-1]), np.int64)
    fill_cross(offsets_a, offsets_b, group_a.astype(np.int64), group_b.astype(np.int64), places[:-1], first, second)
    return first, second, np.repeat(np.arange(len(counts)), counts)


def mixed_events(bins: np.ndarray, depth: int, k: int = 2, policy: Policy = "strictly_upper") -> Indices:
    """Return events to mix: k different events of one bin, at most `depth` places apart in it.

    Parameters
    ----------
    bins : ndarray, (n_events,), int
        Category of each event, as from a binning policy; events with -1 are left out.
    depth : int
        O2's category neighbours: each event meets the next `depth` events of its bin.
    k : int
        2 or 3.
    policy : str
        "strictly_upper" as in O2's SameKindPair, or another policy of `combinations`.

    Returns
    -------
    tuple of k ndarray, (n_tuples,), int64
        Event numbers, bin by bin.
    """
    bins = np.asarray(bins)
    kept = np.flatnonzero(bins >= 0)
    order = kept[np.argsort(bins[kept], kind="stable")]
    edges = np.flatnonzero(np.diff(bins[order])) + 1
    offsets = np.concatenate([[0], edges, [len(order)]]).astype(np.int64)
    return tuple(order[rows] for rows in combinations(offsets, k, policy, depth))


def _check_max_rows(max_rows: int) -> None:
    if max_rows < 1:
        raise ConfigError(f"max_rows of combinations: want at least 1, got {max_rows}")


def _alike(groups_a: int | np.ndarray, groups_b: int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    offsets_a, offsets_b = _offsets(groups_a), _offsets(groups_b)
    if len(offsets_a) != len(offsets_b):
        raise ShapeError(
            f"combinations of two tables: want as many groups in both, got {len(offsets_a) - 1}, {len(offsets_b) - 1}"
        )
    return offsets_a, offsets_b


def _offsets(groups: int | np.ndarray) -> np.ndarray:
    if isinstance(groups, (int, np.integer)):
        return np.array([0, int(groups)], np.int64)
    offsets = np.ascontiguousarray(groups, np.int64)
    if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise ShapeError(f"offsets: want growing numbers from 0, one more than groups, got {groups!r}")
    return offsets
