"""Vertices of a graph fused into groups that take long enough, without ever making a loop; near linear in its size.

The groups are kept in a topological order while they merge: what lies on a path between two of them stands between
them, so that nothing else is looked at (D. J. Pearce, P. H. J. Kelly, "A dynamic topological sort algorithm for
directed acyclic graphs", ACM J. Exp. Algorithmics 11 (2007) 1.7). Knows numbers only: no processor, no topology.
"""

import heapq
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

__all__ = ["fuse"]

_Key = tuple[float, int, int]
"""How groups are ranked: cost, first member, the group itself."""


def fuse(
    costs: Sequence[float], kinds: Sequence[Hashable], edges: Iterable[tuple[int, int]], least: float
) -> list[list[int]]:
    """Return groups of vertices, producers before consumers; none under `least` where another may take it.

    The cheapest group joins its cheapest neighbour that may take it, else the cheapest other group that may: of the
    same kind, and without a path between the two through a third, which would become a loop.

    Parameters
    ----------
    costs, kinds : sequence
        Of each vertex.
    edges : iterable of (int, int)
        From a vertex to a later one: vertices are in topological order.
    least : float
        Smallest cost of a group.
    """
    groups = _Groups(costs, kinds, edges)
    small = [groups.key(i) for i, cost in enumerate(costs) if cost < least]
    heapq.heapify(small)
    while small:
        key = heapq.heappop(small)
        if not groups.is_current(key):
            continue
        # One that finds no partner never will: what lies between it and the others is of another kind.
        for partner in groups.partners(key[2]):
            if (ahead := groups.between(key[2], partner)) is not None:
                one = groups.merge(key[2], partner, ahead)
                if groups.costs[one] < least:
                    heapq.heappush(small, groups.key(one))
                break
    return groups.in_order()


class _Groups:
    """Who feeds whom, where each group stands, which of a kind is cheapest. A group goes by one of its vertices."""

    def __init__(self, costs: Sequence[float], kinds: Sequence[Hashable], edges: Iterable[tuple[int, int]]) -> None:
        n = len(costs)
        self.costs = list(costs)
        self._kinds = kinds
        self._members = [[i] for i in range(n)]
        self._first = list(range(n))
        self._feeds: list[set[int]] = [set() for _ in range(n)]
        self._fed_by: list[set[int]] = [set() for _ in range(n)]
        for a, b in edges:
            self._feeds[a].add(b)
            self._fed_by[b].add(a)
        self._position = list(range(n))
        self._alive = [True] * n
        self._ranked: dict[Hashable, list[_Key]] = defaultdict(list)
        for i in range(n):
            self._ranked[kinds[i]].append(self.key(i))
        for ranked in self._ranked.values():
            ranked.sort()

    def key(self, group: int) -> _Key:
        """Return how a group is ranked now."""
        return self.costs[group], self._first[group], group

    def is_current(self, key: _Key) -> bool:
        """Return whether the group is there still, and as it was."""
        return self._alive[key[2]] and self.key(key[2]) == key

    def partners(self, group: int) -> Iterator[int]:
        """Give the groups of its kind: neighbours first, then those without any path to it, the cheapest first."""
        kind = self._kinds[group]
        near = self._feeds[group] | self._fed_by[group]
        yield from sorted((g for g in near if self._kinds[g] == kind), key=self.key)
        linked = near | _reached(self._feeds[group], self._feeds) | _reached(self._fed_by[group], self._fed_by)
        for _, _, other in self._ranked[kind]:
            if other != group and other not in linked:
                yield other

    def between(self, a: int, b: int) -> set[int] | None:
        """Return what the earlier of two groups leads to before the later one; None if that leads on to the later."""
        first, last = (a, b) if self._position[a] < self._position[b] else (b, a)
        end = self._position[last]
        found = _reached([first], self._feeds, lambda g: g != last and self._position[g] < end)
        return None if any(last in self._feeds[g] for g in found) else found

    def merge(self, a: int, b: int, ahead: set[int]) -> int:
        """Make two groups one and return it; `ahead` is what lies `between` them."""
        first, last = (a, b) if self._position[a] < self._position[b] else (b, a)
        start = self._position[first]
        behind = _reached([last], self._fed_by, lambda g: self._position[g] > start) if ahead else ()
        for group in (a, b):
            ranked = self._ranked[self._kinds[group]]
            del ranked[bisect_left(ranked, self.key(group))]
        kept, gone = (a, b) if len(self._members[a]) >= len(self._members[b]) else (b, a)
        slots = sorted(self._position[g] for g in (first, last, *ahead, *behind))
        self.costs[kept] += self.costs[gone]
        self._first[kept] = min(self._first[kept], self._first[gone])
        self._members[kept] += self._members[gone]
        self._alive[gone] = False
        for mine, theirs in ((self._feeds, self._fed_by), (self._fed_by, self._feeds)):
            for other in mine[gone] - {kept}:
                theirs[other].discard(gone)
                theirs[other].add(kept)
            mine[kept] = (mine[kept] | mine[gone]) - {a, b}
        # What leads to the later one moves before, what the earlier one leads to moves after: nobody else moves.
        place = self._position.__getitem__
        self._position[kept] = slots[len(behind)] if ahead else slots[-1]
        moved: dict[int, int] = {}
        moved |= zip(sorted(behind, key=place), slots, strict=False)
        moved |= zip(sorted(ahead, key=place, reverse=True), reversed(slots), strict=False)
        for group, slot in moved.items():
            self._position[group] = slot
        insort(self._ranked[self._kinds[kept]], self.key(kept))
        return kept

    def in_order(self) -> list[list[int]]:
        """Return the members of each group, producers first, otherwise by their first vertex."""
        waits = {g: len(self._fed_by[g]) for g, alive in enumerate(self._alive) if alive}
        ready = [(self._first[g], g) for g, n in waits.items() if not n]
        heapq.heapify(ready)
        ordered = []
        while ready:
            _, group = heapq.heappop(ready)
            ordered.append(sorted(self._members[group]))
            for other in self._feeds[group]:
                waits[other] -= 1
                if not waits[other]:
                    heapq.heappush(ready, (self._first[other], other))
        return ordered


def _reached(
    start: Iterable[int], links: Sequence[set[int]], wanted: Callable[[int], bool] = lambda group: True
) -> set[int]:
    """Return what is reached from `start` along `links`, over wanted ones only; of the start itself nothing."""
    found: set[int] = set()
    todo = list(start)
    while todo:
        fresh = {g for g in links[todo.pop()] if g not in found and wanted(g)}
        found |= fresh
        todo += fresh
    return found
