"""Frames: what holds tables. `Dataframe` is one timeframe's tables; many end to end are `dataframes.Dataframes`.

Knows which tables there are under which names and keeps the columns once read; how they are stored is the business of
`o2dask.aod`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from o2dask.analysis import naming
from o2dask.analysis.errors import UnknownColumnError, UnknownNameError, close_to
from o2dask.analysis.groups import Group, aligned_stems, label_of
from o2dask.analysis.hints import maker_of
from o2dask.analysis.indices import Rows, groups_of, moved, n_of, part_of, runs, within
from o2dask.analysis.stored_arrays import as_array, check_types, chosen, end_to_end
from o2dask.analysis.table import Table
from o2dask.aod.dataframe import sliced
from o2dask.errors import DataError

if TYPE_CHECKING:
    from o2dask.aod.dataframe import DataFrameSource

__all__ = ["Dataframe", "Frame", "difference_of"]

TAKES_PER_GROUP = 32
"""Parts taken of a table, per row group, from which its columns are read as a whole."""

T = TypeVar("T")


class Frame(ABC):
    """Tables under O2's names: ``frame.tracks``, ``frame.collisions``, ``frame["O2track_iu"]["fX"]``."""

    label: str

    def __init__(self) -> None:
        self._cache: dict[Hashable, Any] = {}

    @property
    @abstractmethod
    def tables(self) -> tuple[str, ...]:
        """The stored trees."""

    @abstractmethod
    def n_rows(self, tree: str) -> int:
        """Return the number of rows of a tree."""

    @abstractmethod
    def n_bytes(self, tree: str) -> int:
        """Return the size of a tree in storage [bytes]."""

    @abstractmethod
    def columns(self, tree: str) -> tuple[str, ...]:
        """Return the names of the stored columns of a tree, in file order."""

    @abstractmethod
    def _read(self, tree: str, names: list[str]) -> dict[str, Any]:
        """Return stored columns, numpy or `Jagged`."""

    def _misaligned(self, tree: str, head: str) -> str:
        """Return why a tree cannot be joined to its head, "" if it can."""
        return difference_of(self, tree, self.n_rows(tree), head, self.n_rows(head))

    def load(self, tree: str, names: list[str]) -> list[Any]:
        """Return stored columns, read on first use, all those still missing at once; jagged ones as awkward arrays."""
        if missing := [name for name in names if (tree, name) not in self._cache]:
            for name, column in self._read(tree, missing).items():
                self._cache[tree, name] = as_array(column)
        return [self._cache[tree, name] for name in names]

    def take(self, tree: str, names: list[str], rows: Rows) -> list[Any]:
        """Return some rows of stored columns; where storage can, only the row groups they lie in are read."""
        return [chosen(column, rows) for column in self.load(tree, names)]

    @abstractmethod
    def check_types(self, tree: str, names: tuple[str, ...]) -> None:
        """Raise DataError unless stored columns have the types that the data model declares."""

    def row_groups(self, tree: str) -> np.ndarray:
        """Return where the rows begin that storage can give without the others, and the number of rows."""
        return np.array([0, self.n_rows(tree)])

    def limits(self, tree: str, name: str) -> "tuple[np.ndarray, np.ndarray] | None":
        """Return the least and greatest value of a stored column per row group; None if storage does not tell."""
        return None

    def blocks(self, group: Group, rows: Rows) -> Iterator[Table]:
        """Yield rows of a table row group by row group; what was read of one is dropped before the next."""
        for first, last in pairwise(self.row_groups(group.trees[0]).tolist()):
            own = part_of(rows, first, last)
            if n_of(own):
                yield Table(group, moved(own, first))
                self.forget()

    def forget(self) -> None:
        """Drop what was read; it is read again if it is asked for. Frames are in cycles, which Python frees late."""
        self._cache.clear()
        self.__dict__.pop("_groups", None)

    def is_loaded(self, tree: str, name: str) -> bool:
        """Return whether a stored column was read as a whole."""
        return (tree, name) in self._cache

    def cached(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` gave the first time it was asked for `key`."""
        if key not in self._cache:
            self._cache[key] = make()
        found: T = self._cache[key]
        return found

    @cached_property
    def _groups(self) -> dict[str, Group]:
        """All tables by name: the newest version of each under its plain name, older ones with theirs (`_000`)."""
        newest: dict[str, str] = {}
        for tree in sorted(self.tables, key=naming.version):
            newest[naming.stem(tree)] = tree
        groups = {}
        for tree in self.tables:
            stem, name = naming.stem(tree), label_of(tree)
            if newest[stem] != tree:
                name = f"{name}_{naming.version(tree):03d}"
                groups[name] = Group(self, name, (tree,))
                continue
            partners = [newest[s] for s in newest if s in aligned_stems(stem)]
            absent = {p: reason for p in partners if (reason := self._misaligned(p, tree))}
            trees = (tree, *(p for p in partners if p not in absent))
            groups[name] = Group(self, name, trees, absent)
        if "tracks" not in groups and "tracksIU" in groups:  # O2's Tracks are made from these by propagation
            groups["tracks"] = Group(self, "tracks", groups["tracksIU"].trees, groups["tracksIU"].absent)
        return groups

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(self._groups)

    def group(self, name: str) -> Group:
        """Return a table's description by its name."""
        return self._groups[name]

    def resolve(self, name: str) -> str | None:
        """Return which table is meant by a name in any spelling (mcparticles, McParticles, O2mcparticle_001)."""
        if name in self._groups:
            return name
        folded = naming.fold(name)
        spelled = {naming.fold(known): known for known in self._groups}
        stems = {naming.fold(naming.stem(g.trees[0])): known for known, g in reversed(self._groups.items())}
        plain = folded.removesuffix("s")
        return next((where[word] for word in (folded, plain) for where in (spelled, stems) if word in where), None)

    def resolve_target(self, target: str) -> str | None:
        """Return which table an index to a tree (O2collision_001) or label (UDCollisions) means."""
        stem = naming.stem(target)
        return self.resolve("tracks" if stem == "track_iu" else stem)

    def __getattr__(self, name: str) -> Table:
        if name.startswith("_"):
            raise AttributeError(name)
        found = self.resolve(name)
        if found is None:
            hint = f"{close_to(name, self._groups)}{maker_of(name)}"
            raise UnknownNameError(f"{self.label} has no table {name!r}; {hint}")
        group = self._groups[found]
        return Table(group, group.rows)

    def __getitem__(self, tree: str) -> Table:
        """Return one stored tree alone, by its name in the file."""
        if tree not in self.tables:
            raise UnknownColumnError(f"{self.label} stores no {tree!r}; {close_to(tree, self.tables)}")
        name = next((n for n, g in self._groups.items() if g.trees[0] == tree), tree)
        group = Group(self, name, (tree,))
        return Table(group, group.rows)

    def join(self, *trees: str) -> Table:
        """Return trees that share the row number as one table, for derived tables that the model does not know."""
        for tree in trees:
            self[tree]
            if reason := self._misaligned(tree, trees[0]):
                raise DataError(f"{self.label}: cannot join {', '.join(trees)}: {reason}")
        group = Group(self, self[trees[0]]._group.name, trees)
        return Table(group, group.rows)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._groups})

    def __repr__(self) -> str:
        from o2dask.analysis.show import frame_text

        return frame_text(self)

    def _repr_html_(self) -> str:
        from o2dask.analysis.show import frame_html

        return frame_html(self)


class Dataframe(Frame):
    """The tables of one timeframe.

    Parameters
    ----------
    stored : DataFrameSource
        Where they are.
    expected : mapping of str to set of str, optional
        Columns by tree that are likely to be asked for, which are read with the first one that is: one visit to the
        file in place of several.
    """

    def __init__(self, stored: "DataFrameSource", expected: "Mapping[str, set[str]] | None" = None) -> None:
        super().__init__()
        self.stored = stored
        self.expected, self.asked = expected or {}, dict[str, set[str]]()
        self._n_takes: dict[str, int] = {}
        self.label = f"DF_{stored.number}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle where the tables are, not what was read of them."""
        return Dataframe, (self.stored,)

    @property
    def run(self) -> int:
        """Run number."""
        return self.stored.run

    @property
    def first_orbit(self) -> int:
        """First orbit of the timeframe."""
        return self.stored.first_orbit

    @property
    def tables(self) -> tuple[str, ...]:
        """The stored trees."""
        return tuple(self.stored.tables)

    def n_rows(self, tree: str) -> int:
        """Return the number of rows of a tree."""
        return self.cached(("rows of", tree), lambda: self.stored.n_rows(tree))

    def n_bytes(self, tree: str) -> int:
        """Return the size of a tree in storage [bytes]."""
        return self.stored.n_bytes(tree)

    def columns(self, tree: str) -> tuple[str, ...]:
        """Return the names of the stored columns of a tree, in file order."""
        return self.cached(("columns", tree), lambda: tuple(self.stored.columns(tree)))

    def check_types(self, tree: str, names: tuple[str, ...]) -> None:
        """Raise DataError unless stored columns have the types that the data model declares."""
        self.cached(("types", tree, names), lambda: check_types(tree, names, self.stored.columns(tree), self.label))

    def row_groups(self, tree: str) -> np.ndarray:
        """Return where the rows begin that storage can give without the others, and the number of rows."""
        return self.cached(("row groups", tree), lambda: self.stored.row_groups(tree))

    def limits(self, tree: str, name: str) -> "tuple[np.ndarray, np.ndarray] | None":
        """Return the least and greatest value of a stored column per row group; None if storage does not tell."""
        return self.cached(("limits", tree, name), lambda: self.stored.limits(tree, name))

    def load(self, tree: str, names: list[str]) -> list[Any]:
        """Return stored columns, read on first use, with those that are expected; jagged ones as awkward arrays."""
        self.asked.setdefault(tree, set()).update(names)
        if tree in self.expected and not all(self.is_loaded(tree, name) for name in names):
            also = self.expected[tree].intersection(self.columns(tree)).difference(names)
            super().load(tree, [*names, *sorted(also)])
        return super().load(tree, names)

    def take(self, tree: str, names: list[str], rows: Rows) -> list[Any]:
        """Return some rows of stored columns; only the row groups they lie in are read."""
        lacking = [name for name in names if not self.is_loaded(tree, name)]
        if not lacking or n_of(rows) == self.n_rows(tree):
            return super().take(tree, names, rows)
        bounds = self.row_groups(tree)
        needed = groups_of(rows, bounds)
        self._n_takes[tree] = self._n_takes.get(tree, 0) + 1
        # Others are likely to want the rest; a loop over many small parts does.
        if 2 * len(needed) >= len(bounds) or self._n_takes[tree] > TAKES_PER_GROUP * len(bounds):
            return super().take(tree, names, rows)
        self._read_groups(tree, lacking, needed)
        local = within(rows, bounds, needed)
        parts = {name: [self._cache[tree, name, int(i)] for i in needed] for name in lacking}
        found = {name: chosen(end_to_end(parts[name]), local) for name in lacking if len(needed)}
        found |= {name: self._read_none(tree, name) for name in lacking if not len(needed)}
        loaded = [name for name in names if name not in found]
        found |= dict(zip(loaded, super().take(tree, loaded, rows), strict=True))
        return [found[name] for name in names]

    def _read_groups(self, tree: str, names: list[str], needed: np.ndarray) -> None:
        """Read the row groups that are not there yet, neighbours at once, into the cache."""
        missing = [i for i in needed.tolist() if any((tree, name, i) not in self._cache for name in names)]
        bounds = self.row_groups(tree)
        for first, last in runs(missing):
            read = self.stored.rows(tree, names, first, last)
            for i in range(first, last):
                part = sliced(read, int(bounds[i] - bounds[first]), int(bounds[i + 1] - bounds[first]))
                self._cache |= {(tree, name, i): as_array(column) for name, column in part.items()}

    def _read_none(self, tree: str, name: str) -> Any:
        return as_array(self.stored.columns(tree)[name].empty())

    def forget(self) -> None:
        """Drop what was read, and close the files."""
        super().forget()
        self.stored.close()

    def _read(self, tree: str, names: list[str]) -> dict[str, Any]:
        return self.stored.read(tree, columns=names)


def difference_of(frame: Frame, tree: str, n: int, head: str, n_head: int) -> str:
    if n == n_head:
        return ""
    return f"{tree} in {frame.label} has {n} rows, {head} has {n_head}; they share the row number"
