"""Pairs and triples of table rows: ``pairs(collisions.tracks).first.pt()``.

Knows tables and index arrays. Nothing but row numbers is kept; columns of the members are read through their tables
when asked for.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from o2dask.analysis.indices import pick
from o2dask.analysis.physics.combinations import (
    Policy,
    combination_blocks,
    combinations,
    cross_blocks,
    cross_combinations,
    mixed_events,
)
from o2dask.analysis.physics.sources import flat, offsets_of
from o2dask.analysis.table import Table
from o2dask.errors import ConfigError, ShapeError

__all__ = ["Combined", "mixed_pairs", "mixed_triples", "pair_blocks", "pairs", "triple_blocks", "triples"]

BLOCK = 1 << 17
"""Pairs of a block: their row numbers and masses fit the third-level cache."""


class Combined:
    """Combinations of rows: `first`, `second` (and `third`) are tables of equal length, one row per combination.

    Attributes
    ----------
    tables : tuple of Table
        The flat table that each member comes from.
    indices : tuple of ndarray, (n,), int64
        Rows of each member in that table.
    """

    def __init__(
        self,
        tables: tuple[Table, ...],
        indices: tuple[np.ndarray, ...],
        offsets: tuple[np.ndarray, ...],
        momenta: dict[Any, np.ndarray] | None = None,
    ) -> None:
        self.tables = tables
        self.indices = indices
        self._offsets = offsets
        self._momenta: dict[Any, np.ndarray] = {} if momenta is None else momenta

    @cached_property
    def groups(self) -> tuple[np.ndarray, ...]:
        """The list (collision) that each member comes from, (n,) int64 for each."""
        of_rows = {id(o): np.repeat(np.arange(len(o) - 1), np.diff(o)) for o in self._offsets}
        return tuple(of_rows[id(o)][i] for o, i in zip(self._offsets, self.indices, strict=True))

    @cached_property
    def members(self) -> tuple[Table, ...]:
        """One table per member."""
        return tuple(t[i] for t, i in zip(self.tables, self.indices, strict=True))

    @property
    def first(self) -> Table:
        """The first members."""
        return self.members[0]

    @property
    def second(self) -> Table:
        """The second members."""
        return self.members[1]

    @property
    def third(self) -> Table:
        """The third members, of triples."""
        if len(self.tables) < 3:
            raise ConfigError("third: these are pairs; triples(...) have a third member")
        return self.members[2]

    def p4(self, *masses: float) -> Any:
        """Return the sum of the members' four-momenta, a `vector` array, for one mass [GeV/c2] or one per member."""
        each = self._each(masses)
        total, *rest = (member.p4(m) for member, m in zip(self.members, each, strict=True))
        for momentum in rest:
            total = total + momentum
        return total

    def mass(self, *masses: float) -> np.ndarray:
        """Return the invariant mass [GeV/c2] for one mass hypothesis [GeV/c2], or one per member; (n,) float64.

        Momenta are computed once per track, not per pair: much faster than ``p4(...).mass``, and in less memory.
        """
        from o2dask.analysis.physics import kernels_combinations as kernels

        momenta = [self._four_momenta(t, m) for t, m in zip(self.tables, self._each(masses), strict=True)]
        found = np.empty(len(self))
        (kernels.pair_masses if len(momenta) == 2 else kernels.triple_masses)(*momenta, *self.indices, found)
        return found

    def _four_momenta(self, table: Table, m: float) -> np.ndarray:
        """Return px, py, pz, E (n, 4) float64 of all rows of a table; made once for all blocks and selections."""
        key = next(i for i, each in enumerate(self.tables) if each is table), m
        if key not in self._momenta:
            self._momenta[key] = _four_momenta(table, m)
        return self._momenta[key]

    def _each(self, masses: tuple[float, ...]) -> tuple[float, ...]:
        if len(masses) not in (1, len(self.tables)):
            raise ConfigError(f"masses: want one, or one per member ({len(self.tables)}), got {len(masses)}")
        return masses * len(self.tables) if len(masses) == 1 else masses

    def __getitem__(self, item: Any) -> "Combined":
        """Return the combinations chosen by a mask, a slice or row numbers."""
        rows = pick(slice(0, len(self)), item)
        return Combined(self.tables, tuple(i[rows] for i in self.indices), self._offsets, self._momenta)

    def __len__(self) -> int:
        return len(self.indices[0])

    def __repr__(self) -> str:
        kind = {2: "pairs", 3: "triples"}[len(self.tables)]
        return f"<{len(self)} {kind} of {', '.join(dict.fromkeys(map(repr, self.tables)))}>"


def _four_momenta(table: Table, m: float) -> np.ndarray:
    """Return px, py, pz, E (n, 4) float64."""
    momenta = np.empty((len(table), 4))
    for i, name in enumerate(("px", "py", "pz")):
        momenta[:, i] = getattr(table, name)()
    momenta[:, 3] = np.sqrt((momenta[:, :3] ** 2).sum(axis=1) + m * m)
    return momenta


def pairs(
    table: Table, other: Table | None = None, *, policy: Policy = "strictly_upper", window: int | None = None
) -> Combined:
    """Return the pairs of rows of a table, or of a row of each of two tables.

    Of a nested table (``collisions.tracks``) only pairs within one list. Of two tables all pairs (O2's full policy),
    list by list if they are nested.
    """
    if other is None:
        return _within(table, 2, policy, window)
    offsets = offsets_of(table), offsets_of(other)
    first, second, _ = cross_combinations(*offsets)
    return Combined((flat(table), flat(other)), (first, second), offsets)


def pair_blocks(
    table: Table, other: Table | None = None, *, policy: Policy = "strictly_upper", max_rows: int = BLOCK
) -> Iterator[Combined]:
    """Yield the pairs of ``pairs(table)``, or of ``pairs(table, other)``, about `max_rows` at a time.

    The order is the same, list by list; memory is that of one block.
    """
    momenta: dict[Any, np.ndarray] = {}
    offsets = (offsets_of(table),) * 2 if other is None else (offsets_of(table), offsets_of(other))
    tables = (flat(table),) * 2 if other is None else (flat(table), flat(other))
    blocks = combination_blocks(offsets[0], 2, policy, max_rows=max_rows)
    if other is not None:
        blocks = cross_blocks(*offsets, max_rows=max_rows)
    for rows in blocks:
        yield Combined(tables, rows, offsets, momenta)


def triples(table: Table, *, policy: Policy = "strictly_upper", window: int | None = None) -> Combined:
    """Return the triples of rows of a table; of a nested table only within one list."""
    return _within(table, 3, policy, window)


def triple_blocks(table: Table, *, policy: Policy = "strictly_upper", max_rows: int = BLOCK) -> Iterator[Combined]:
    """Yield the triples of ``triples(table)`` in the same order, about `max_rows` at a time."""
    momenta: dict[Any, np.ndarray] = {}
    tables, offsets = (flat(table),) * 3, (offsets_of(table),) * 3
    for rows in combination_blocks(offsets[0], 3, policy, max_rows=max_rows):
        yield Combined(tables, rows, offsets, momenta)


def _within(table: Table, k: int, policy: Policy, window: int | None) -> Combined:
    offsets = offsets_of(table)
    return Combined((flat(table),) * k, combinations(offsets, k, policy, window), (offsets,) * k)


def mixed_pairs(table: Table, bins: np.ndarray, depth: int, other: Table | None = None) -> Combined:
    """Return the pairs of rows of different events (O2's SameKindPair and Pair).

    Parameters
    ----------
    table : Table
        A list per event, ``collisions.tracks``.
    bins : ndarray, (n_events,), int
        Bin of each event, ``policy.bins(collisions)``; -1 leaves it out.
    depth : int
        Each event is mixed with the next `depth` events of its bin.
    other : Table, optional
        Where second members come from, a list per event; left out, `table`. With another table each event is mixed with
        earlier ones as well, since then (a, b) and (b, a) are different pairs.
    """
    offsets = _event_offsets(table, bins)
    others = offsets if other is None else _event_offsets(other, bins)
    event_a, event_b = mixed_events(bins, depth, 2, "strictly_upper" if other is None else "full")
    different = event_a != event_b
    event_a, event_b = event_a[different], event_b[different]
    first, second, _ = cross_combinations(offsets, others, event_a, event_b)
    tables = (flat(table),) * 2 if other is None else (flat(table), flat(other))
    return Combined(tables, (first, second), (offsets, others))


def mixed_triples(table: Table, bins: np.ndarray, depth: int) -> Combined:
    """Return the triples of rows of three different events (O2's SameKindTriple); see `mixed_pairs`."""
    offsets = _event_offsets(table, bins)
    events = mixed_events(bins, depth, 3)
    first, second, pair = cross_combinations(offsets, offsets, events[0], events[1])
    # A pair of rows is a group of one, so that the third event's rows are crossed with it.
    ones = np.arange(len(first) + 1)
    pair_row, third, _ = cross_combinations(ones, offsets, ones[:-1], events[2][pair])
    return Combined((flat(table),) * 3, (first[pair_row], second[pair_row], third), (offsets,) * 3)


def _event_offsets(table: Table, bins: np.ndarray) -> np.ndarray:
    offsets = offsets_of(table)
    if len(offsets) - 1 != len(bins):
        raise ShapeError(f"mixing: want one bin per list of {table!r}, got {len(bins)} bins")
    return offsets
