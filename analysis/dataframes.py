"""Many dataframes end to end, as one frame: ``aod.tracks``. Index columns count the rows of all dataframes before.

Knows dataframes and how their columns are put together; nothing is read before it is used.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from o2dask.analysis.frames import Dataframe, Frame, difference_of
from o2dask.analysis.getters import getters_of
from o2dask.analysis.groups import Group
from o2dask.analysis.indices import Rows, n_of, part_of
from o2dask.analysis.stored_arrays import joined_lists, shifted
from o2dask.analysis.table import Table
from o2dask.columns import Jagged

__all__ = ["Dataframes"]


class Dataframes(Frame):
    """The tables of many timeframes, one after the other; nothing is read before it is used.

    Index columns are shifted so that they count the rows of all dataframes. A table may be missing in dataframes where
    those it is joined to are missing or empty as well.
    """

    def __init__(self, frames: Sequence[Dataframe]) -> None:
        super().__init__()
        self.frames = tuple(frames)
        self.label = f"{len(self.frames)} dataframes"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle where the tables are, not what was read of them."""
        return Dataframes, (self.frames,)

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """The trees stored in any dataframe."""
        return tuple(dict.fromkeys(tree for frame in self.frames for tree in frame.tables))

    def n_rows(self, tree: str) -> int:
        """Return the number of rows of a tree in all dataframes."""
        return sum(self._counts(tree))

    def n_bytes(self, tree: str) -> int:
        """Return the size of a tree in storage [bytes], in all dataframes."""
        return sum(f.n_bytes(tree) for f in self.frames if tree in f.tables)

    def _counts(self, tree: str) -> list[int]:
        return self.cached(("counts", tree), lambda: [f.n_rows(tree) if tree in f.tables else 0 for f in self.frames])

    def columns(self, tree: str) -> tuple[str, ...]:
        """Return the columns of a tree that every dataframe with rows in it stores, in file order."""
        return self.cached(("columns", tree), lambda: self._common_columns(tree))

    def check_types(self, tree: str, names: tuple[str, ...]) -> None:
        """Raise DataError unless stored columns have the types that the data model declares."""
        for frame in self.frames:
            if tree in frame.tables:
                frame.check_types(tree, names)

    def _common_columns(self, tree: str) -> tuple[str, ...]:
        holders = [f for f in self.frames if tree in f.tables]
        holders = [f for f in holders if f.n_rows(tree)] or holders[:1]
        common = dict.fromkeys(holders[0].columns(tree))
        return tuple(name for name in common if all(name in f.columns(tree) for f in holders[1:]))

    def _misaligned(self, tree: str, head: str) -> str:
        for frame, n, n_head in zip(self.frames, self._counts(tree), self._counts(head), strict=True):
            if n != n_head:
                return difference_of(frame, tree, n, head, n_head)
        return ""

    def blocks(self, group: Group, rows: Rows) -> Iterator[Table]:
        """Yield rows of a table dataframe by dataframe, row group by row group; what was read is dropped in between."""
        first = 0
        for frame, n in zip(self.frames, self._counts(group.trees[0]), strict=True):
            own = part_of(rows, first, first + n)
            first += n
            if n_of(own):
                fresh = Dataframe(frame.stored.fresh())
                trees = tuple(tree for tree in group.trees if tree in fresh.tables)
                yield from fresh.blocks(Group(fresh, group.name, trees), own)

    def _read(self, tree: str, names: list[str]) -> dict[str, Any]:
        filled = [i for i, n in enumerate(self._counts(tree)) if n]
        if not filled:
            holder = next(f for f in self.frames if tree in f.tables)
            return holder._read(tree, names)
        read = [self.frames[i]._read(tree, names) for i in filled]
        return {name: self._concatenated(tree, name, filled, [part.pop(name) for part in read]) for name in names}

    def _concatenated(self, tree: str, name: str, filled: list[int], parts: list[Any]) -> Any:
        shifts = self._shifts(tree, name)
        if shifts is not None:
            parts = [shifted(part, int(shifts[i])) for i, part in zip(filled, parts, strict=True)]
        if isinstance(parts[0], Jagged):
            return joined_lists(parts)
        return np.concatenate(parts)

    def _shifts(self, tree: str, name: str) -> np.ndarray | None:
        """Return the rows of the target in the dataframes before each one; None for columns that are no index.

        An index to a table that no dataframe stores stays as it is in the file: its rows cannot be counted.
        """
        getters = getters_of(tree, self.columns(tree)).values()
        getter = next((g for g in getters if g.kind == "follow" and g.column == name), None)
        if getter is None:
            return None
        target = self.resolve_target(getter.target) if getter.target else None
        if getter.target and target is None:
            return None
        counts = self._counts(self.group(target).trees[0] if target else tree)
        return np.concatenate([[0], np.cumsum(counts)[:-1]])
