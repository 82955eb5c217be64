"""Overlay: a dataframe with tables that were made in memory, under the same names and with the same indices.

Knows frames and arrays. ``overlay(df, {"O2track": columns})`` reads everything else from `df`, whose columns once read
it shares, so that ``tracks.collision()`` or ``v0s.posTrack()`` work across made and stored tables.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from o2dask.analysis.errors import UnknownNameError, close_to
from o2dask.analysis.frames import Frame
from o2dask.analysis.groups import Group
from o2dask.errors import ShapeError

__all__ = ["Overlay", "overlay"]

Made = Mapping[str, Mapping[str, Any]]


class Overlay(Frame):
    """A frame with made tables over it; see `overlay`."""

    def __init__(self, frame: Frame, made: Made, beside: Mapping[str, str]) -> None:
        super().__init__()
        self.parent = frame
        self.made = {tree: dict(columns) for tree, columns in made.items()}
        self.beside = dict(beside)
        self.label = frame.label
        for tree, columns in self.made.items():
            if len({len(values) for values in columns.values()}) > 1:
                lengths = {name: len(values) for name, values in columns.items()}
                raise ShapeError(f"{tree} made for {self.label}: want columns of equal length, got {lengths}")
        for tree, head in self.beside.items():
            if reason := self._misaligned(tree, head):
                raise ShapeError(reason)
        if isinstance(frame, Overlay):
            # What was joined below stays joined, unless its head was replaced by one of another length.
            below = {tree: head for tree, head in frame.beside.items() if not self._misaligned(tree, head)}
            self.beside = below | self.beside

    def __reduce__(self) -> tuple[Any, ...]:
        return Overlay, (self.parent, self.made, self.beside)

    @property
    def tables(self) -> tuple[str, ...]:
        """The stored and the made trees."""
        return tuple(dict.fromkeys([*self.parent.tables, *self.made]))

    def n_rows(self, tree: str) -> int:
        """Return the number of rows of a tree."""
        if tree in self.made:
            return len(next(iter(self.made[tree].values())))
        return self.parent.n_rows(tree)

    def n_bytes(self, tree: str) -> int:
        """Return the size of a tree in storage, or in memory if it was made [bytes]."""
        if tree in self.made:
            return int(sum(values.nbytes for values in self.made[tree].values()))
        return self.parent.n_bytes(tree)

    def columns(self, tree: str) -> tuple[str, ...]:
        """Return the names of the columns of a tree."""
        return tuple(self.made[tree]) if tree in self.made else self.parent.columns(tree)

    def check_types(self, tree: str, names: tuple[str, ...]) -> None:
        """Raise DataError unless stored columns have the types that the data model declares; made ones are free."""
        if tree not in self.made:
            self.parent.check_types(tree, names)

    def _read(self, tree: str, names: list[str]) -> dict[str, Any]:
        if tree in self.made:
            return {name: self.made[tree][name] for name in names}
        return dict(zip(names, self.parent.load(tree, names), strict=True))

    def _misaligned(self, tree: str, head: str) -> str:
        n, n_head = self.n_rows(tree), self.n_rows(head)
        if n == n_head:
            return ""
        return f"{tree} in {self.label} has {n} rows, {head} has {n_head}; they share the row number"

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
    arrays = {tree: {n: np.asarray(v) for n, v in columns.items()} for tree, columns in made.items()}
    return Overlay(frame, arrays, beside)
