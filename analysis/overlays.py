"""Overlay: a frame with tables that were made in memory, under the same names and with the same indices.

Knows frames and arrays. ``overlay(df, {"O2track": columns})`` reads everything else from `df`, whose columns once read
it shares, so that ``tracks.collision()`` or ``v0s.posTrack()`` work across made and stored tables. Tasks run over one
to which the tables that they make are added.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from o2dask.analysis import naming
from o2dask.analysis.errors import UnknownNameError, close_to
from o2dask.analysis.frames import Frame
from o2dask.analysis.groups import Group
from o2dask.analysis.indices import Rows
from o2dask.columns import Jagged
from o2dask.errors import ShapeError

__all__ = ["Overlay", "overlay"]

Made = Mapping[str, Mapping[str, Any]]
"""Columns, arrays or `Jagged`, by tree and name; `Columns` where they are to be saved."""


class Overlay(Frame):
    """A frame with made tables over it; see `overlay`. A made table hides a stored one of the same name."""

    def __init__(self, frame: Frame, made: Made | None = None, beside: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.parent = frame
        self.label = frame.label
        self.made: dict[str, Mapping[str, Any]] = {}
        for tree, columns in (made or {}).items():
            self.add(tree, columns)
        self.beside = dict(beside or {})
        for tree, head in self.beside.items():
            if reason := self._misaligned(tree, head):
                raise ShapeError(reason)
        if isinstance(frame, Overlay):
            # What was joined below stays joined, unless its head was replaced by one of another length.
            below = {tree: head for tree, head in frame.beside.items() if not self._misaligned(tree, head)}
            self.beside = below | self.beside

    def __reduce__(self) -> tuple[Any, ...]:
        return Overlay, (self.parent, self.made, self.beside)

    def add(self, tree: str, columns: Mapping[str, Any]) -> None:
        """Add a table under the name of its tree.

        Raises
        ------
        ShapeError
            If its columns differ in length.
        """
        lengths = {name: _length(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"{tree} made for {self.label}: want columns of equal length, got {lengths}")
        if naming.stem(tree) in map(naming.stem, self.tables):
            self._cache.clear()  # names and indices may mean other rows now
        self.made[tree] = columns
        self.__dict__.pop("_groups", None)

    @property
    def run(self) -> int:
        """Run number."""
        return int(self.parent.run)

    @property
    def first_orbit(self) -> int:
        """First orbit of the timeframe."""
        return int(self.parent.first_orbit)

    @property
    def tables(self) -> tuple[str, ...]:
        """The stored and the made trees."""
        return tuple(dict.fromkeys([*self.parent.tables, *self.made]))

    def n_rows(self, tree: str) -> int:
        """Return the number of rows of a tree."""
        if tree in self.made:
            return _length(next(iter(self.made[tree].values())))
        return self.parent.n_rows(tree)

    def n_bytes(self, tree: str) -> int:
        """Return the size of a tree in storage, or in memory if it was made [bytes]."""
        if tree in self.made:
            return sum(_n_bytes(values) for values in self.made[tree].values())
        return self.parent.n_bytes(tree)

    def columns(self, tree: str) -> tuple[str, ...]:
        """Return the names of the columns of a tree."""
        return tuple(self.made[tree]) if tree in self.made else self.parent.columns(tree)

    def check_types(self, tree: str, names: tuple[str, ...]) -> None:
        """Raise DataError unless stored columns have the types that the data model declares; made ones are free."""
        if tree not in self.made:
            self.parent.check_types(tree, names)

    def row_groups(self, tree: str) -> np.ndarray:
        """Return where row groups begin, and the number of rows; a table in memory is one."""
        return super().row_groups(tree) if tree in self.made else self.parent.row_groups(tree)

    def limits(self, tree: str, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the least and greatest value of a column per row group; None for a table in memory."""
        return None if tree in self.made else self.parent.limits(tree, name)

    def load(self, tree: str, names: list[str]) -> list[Any]:
        """Return columns: made ones, or those that the frame below reads and keeps."""
        return super().load(tree, names) if tree in self.made else self.parent.load(tree, names)

    def take(self, tree: str, names: list[str], rows: Rows) -> list[Any]:
        """Return some rows of columns."""
        return super().take(tree, names, rows) if tree in self.made else self.parent.take(tree, names, rows)

    def forget(self) -> None:
        """Drop what was read, here and below; made tables stay."""
        super().forget()
        self.parent.forget()

    def _read(self, tree: str, names: list[str]) -> dict[str, Any]:
        return {name: self.made[tree][name] for name in names}

    @cached_property
    def _groups(self) -> dict[str, Group]:
        groups: dict[str, Group] = Frame._groups.func(self)  # type: ignore[attr-defined]
        for name, group in groups.items():
            joined = [tree for tree, head in self.beside.items() if head in group.trees[:1]]
            if joined:
                trees = (*group.trees, *(tree for tree in joined if tree not in group.trees))
                groups[name] = Group(self, name, trees, group.absent)
        return groups


def overlay(frame: Frame, made: Made, beside: Mapping[str, str] | None = None) -> Overlay:
    """Return a frame in which the tables `made` stand beside, or in place of, the stored ones.

    Parameters
    ----------
    frame : Dataframe or another frame
        Where all other tables come from.
    made : mapping of str to mapping of str to ndarray
        Columns by tree and name: ``{"O2trackdca": {"fDcaXY": ..., "fDcaZ": ...}}``. O2's names give O2's getters.
    beside : mapping of str to str, optional
        Which made tree is joined to which head: ``{"O2trackdca": "O2track"}`` gives ``frame.tracks.dcaXY()``.

    Raises
    ------
    ShapeError
        If columns of a tree, or trees that are joined, differ in length.
    """
    beside = beside or {}
    for head in beside.values():
        if head not in frame.tables and head not in made:
            raise UnknownNameError(f"{frame.label} has no {head!r} to join; {close_to(head, [*frame.tables, *made])}")
    arrays = {tree: {n: _as_column(v) for n, v in columns.items()} for tree, columns in made.items()}
    return Overlay(frame, arrays, beside)


def _as_column(values: Any) -> Any:
    return values if isinstance(values, Jagged) else np.asarray(values)


def _length(values: Any) -> int:
    return len(values.offsets) - 1 if isinstance(values, Jagged) else len(values)


def _n_bytes(values: Any) -> int:
    return int(values.offsets.nbytes + values.content.nbytes if isinstance(values, Jagged) else values.nbytes)
