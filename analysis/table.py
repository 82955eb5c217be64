"""Table: rows of joined, row-aligned stored tables, whose getters give arrays; and Row, one of them.

Knows getters, rows and levels; where columns come from is the frame's business (`frames`). Nothing is read before a
getter is called, and then only the columns that it needs.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from o2dask.analysis import indices
from o2dask.analysis.errors import RowError, UnknownColumnError, close_to
from o2dask.analysis.getters import Getter
from o2dask.analysis.indices import ListLevel, OptionLevel, Rows
from o2dask.errors import DataError

if TYPE_CHECKING:
    from o2dask.analysis.groups import Group
    from o2dask.analysis.show import Preview

__all__ = ["Row", "Table"]

KEPT_ROWS = 1 << 17
"""Rows up to which a table keeps what it computed: ``tracks[tracks.eta() < 1].eta()`` computes it once. The copies of
longer columns would leave the cache, and compiled loops are as fast then."""


class Table:
    """Rows of a table under O2's names: ``tracks.pt()`` is an array, ``tracks[0]`` a row, ``tracks[mask]`` a table.

    Getters return numpy arrays for plain tables and awkward arrays for nested ones (``collisions.tracks``: a list per
    collision; ``tracks.collision()``: missing where a track has none). ``tracks["fX"]`` is a stored column by its name
    in the file. `dir`, tab completion and ``help(tracks.pt)`` show what there is.
    """

    def __init__(self, group: "Group", rows: Rows, levels: tuple[indices.Level, ...] = ()) -> None:
        self._group = group
        self._rows = rows
        self._levels = levels
        self._taken: dict[tuple[str, str], Any] = {}
        self._computed: dict[str, tuple[Any, np.ndarray]] = {}
        self._chosen: tuple[dict[str, tuple[Any, np.ndarray]], Any] = {}, None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle which rows are meant, not what was read of them."""
        return Table, (self._group, self._rows, self._levels)

    # What a physicist asks.

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if getter := self._group.getters.get(name):
            return _bind(getter, functools.partial(self._answer, getter), f"{self._group.name}.{name}")
        if link := self._group.link(name):
            return self._grouped(*link)
        raise self._group.unknown(name)

    def __getitem__(self, item: Any) -> Any:
        """Return a stored column (by its name in the file), a row (by number) or the selected rows (slice, mask)."""
        if isinstance(item, str):
            return self._stored(item)
        if isinstance(item, (int, np.integer)):
            return self._element(int(item))
        if self._levels:
            return self._select_nested(item)
        item = _plain(item)
        chosen = Table(self._group, indices.pick(self._rows, item))
        if self._computed:
            is_mask = isinstance(item, np.ndarray) and item.dtype == bool
            chosen._chosen = self._computed, np.flatnonzero(item) if is_mask else item
        return chosen

    def __len__(self) -> int:
        if not self._levels:
            return indices.n_of(self._rows)
        outer = self._levels[0]
        return len(outer.where) if isinstance(outer, OptionLevel) else len(outer.offsets) - 1

    def __iter__(self) -> Iterator[Any]:
        return (self._element(i) for i in range(len(self)))

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._group.getters, *self._group.links})

    @property
    def getters(self) -> Mapping[str, Getter]:
        """The getters by name, each with its text."""
        return self._group.getters

    def p4(self, m: float | None = None) -> Any:
        """Return four-momenta as an array of the `vector` package, for the mass hypothesis m [GeV/c2].

        Tables that store their energy (MC particles) need no mass.
        """
        from o2dask.analysis.vectors import four_momenta

        return four_momenta(self, m)

    def to_awkward(self, *names: str) -> Any:
        """Return the rows as awkward records, one field per getter (default: all); fields are read when touched."""
        from o2dask.analysis.virtual import virtual_records

        return virtual_records(self, names)

    def show(self, *names: str, n: int = 20) -> "Preview":
        """Return a view of the first n rows: ``tracks.show("pt", "eta")``; default: the stored columns.

        Of nested tables, their lists; ``fX`` is a stored column by its name in the file.
        """
        from o2dask.analysis.show import preview

        return preview(self, names, n)

    def blocks(self) -> "Iterator[Table]":
        """Yield the rows row group by row group: any number of files in the memory of one.

        ``for tracks in aod.tracks.blocks(): h.fill(tracks.pt())``. Rows of all dataframes come dataframe by dataframe,
        their indices count the rows of theirs. Use a block before you take the next: what was read of it is dropped.
        """
        if self._levels:
            raise RowError(f"{self!r}: blocks are of plain rows, as of aod.tracks")
        return self._group.frame.blocks(self._group, self._rows)

    def __repr__(self) -> str:
        shape = "rows" if not self._levels else f"x {_shape(self._levels)}"
        trees = ", ".join(self._group.trees)
        return f"<{self._group.name}: {len(self)} {shape} of {trees} in {self._group.frame.label}>"

    def _repr_html_(self) -> str:
        from o2dask.analysis.show import table_html

        return table_html(self)

    # How it is answered.

    def _answer(self, getter: Getter, *args: Any, **kwargs: Any) -> Any:
        self._group.check_types(getter)
        if getter.kind == "follow":
            return self._follow(getter)
        has_any = args or kwargs or getter.arguments  # binding takes as long as reading a few rows
        arguments = getter.signature.bind(*args, **kwargs).arguments if has_any else {}
        return indices.wrap(self._flat(getter, arguments), self._levels)

    def _flat(self, getter: Getter, arguments: Mapping[str, Any]) -> Any:
        """Return the values of a getter for the rows, without levels."""
        if getter.kind == "row":
            return indices.to_array(self._rows)
        if getter.kind == "stored":
            return self._column(getter.tree, getter.column)
        if getter.kind == "has":
            return _has(getter.index, self._column(getter.tree, getter.column))
        is_short = not arguments and indices.n_of(self._rows) <= KEPT_ROWS
        if is_short and (known := self._known(getter)) is not None:
            return known
        self._load(getter)
        values = self._compute(getter, arguments, {})
        if is_short and isinstance(values, np.ndarray):
            self._computed[getter.name] = getter.formula, values.copy()  # the caller may change what it gets
        return values

    def _known(self, getter: Getter) -> Any:
        """Return values of a formula that were computed before, for these rows or for those they were chosen from."""
        formula, values = self._computed.get(getter.name, (None, None))
        if values is None or formula is not getter.formula:
            before, item = self._chosen
            formula, values = before.get(getter.name, (None, None))
            if values is None or formula is not getter.formula:
                return None
            values = values[item]
            self._computed[getter.name] = formula, values
        return values.copy()

    def _compute(self, getter: Getter, arguments: Mapping[str, Any], done: dict[str, Any]) -> Any:
        """Return the values of a formula, or of a stored column that one reads; `done` keeps those it has in common."""
        if getter.formula is None:
            return self._column(getter.tree, getter.column)
        for name in getter.inputs:
            if name not in done:
                done[name] = self._compute(self._group.input_of(getter.tree, name), {}, done)
        return getter.formula(*(done[name] for name in getter.inputs), **arguments)

    def _load(self, getter: Getter) -> None:
        """Read all stored columns of a formula at once."""
        if missing := [c for c in self._group.stored_inputs(getter) if (getter.tree, c) not in self._taken]:
            taken = self._group.frame.take(getter.tree, missing, self._rows)
            self._taken |= {(getter.tree, name): column for name, column in zip(missing, taken, strict=True)}

    def _column(self, tree: str, name: str) -> Any:
        """Return a stored column for the rows; what had to be copied out is kept."""
        key = tree, name
        if key not in self._taken:
            self._taken[key] = self._group.frame.take(tree, [name], self._rows)[0]
        return self._taken[key]

    def _stored(self, name: str) -> Any:
        for tree in self._group.trees:
            if name in self._group.frame.columns(tree):
                return indices.wrap(self._column(tree, name), self._levels)
        known = [name for tree in self._group.trees for name in self._group.frame.columns(tree)]
        where = f"{', '.join(self._group.trees)} in {self._group.frame.label}"
        raise UnknownColumnError(f"{where}: no stored column {name!r}; {close_to(name, known)}")

    def _follow(self, getter: Getter) -> "Table":
        """Return the rows that an index column points to, under a level that says which belong to each row."""
        target = self._group.target(getter)
        ids = self._column(getter.tree, getter.column)
        where = f"{getter.tree}.{getter.column} in {self._group.frame.label}"
        rows, level = _pointed_to(getter.index, ids, where)
        _check_rows(rows, target.n_rows, where, target.name)
        return Table(target, rows, _push(self._levels, level))

    def _grouped(self, child: "Group", column: tuple[str, str]) -> "Table":
        """Return the rows of another table that point to these, one list per row."""
        offsets, rows = self._group.grouping(child, column).of(self._rows)
        return Table(child, rows, _push(self._levels, ListLevel(offsets)))

    def _element(self, i: int) -> Any:
        n = len(self)
        if not -n <= i < n:
            raise RowError(f"row {i} of {self._group.name} in {self._group.frame.label}: it has {n} rows")
        i %= n
        if not self._levels:
            return Row(Table(self._group, indices.pick(self._rows, slice(i, i + 1))))
        if len(self._levels) > 1:
            return self._select_nested(i)
        level = self._levels[0]
        if isinstance(level, ListLevel):
            return Table(self._group, indices.pick(self._rows, slice(int(level.offsets[i]), int(level.offsets[i + 1]))))
        row = int(level.where[i])
        return None if row < 0 else Row(Table(self._group, indices.pick(self._rows, slice(row, row + 1))))

    @functools.cached_property
    def _nested_rows(self) -> Any:
        return indices.wrap(indices.to_array(self._rows), self._levels)

    def _select_nested(self, item: Any) -> Any:
        """Return what awkward makes of a selection: rows, a table with other levels, one row, or None."""
        if (mask := indices.mask_of_lists(item, self._levels)) is not None:
            kept, level = mask
            return Table(self._group, indices.pick(self._rows, kept), (level,))
        chosen = self._nested_rows[item]
        if chosen is None:
            return None
        if isinstance(chosen, (int, np.integer)):
            return Row(Table(self._group, slice(int(chosen), int(chosen) + 1)))
        return Table(self._group, *indices.split(chosen))


class Row:
    """One row of a table: its getters give scalars, its indices rows (or None), its lists tables."""

    __slots__ = ("_table",)

    def __init__(self, table: Table) -> None:
        self._table = table

    def __reduce__(self) -> tuple[Any, ...]:
        return Row, (self._table,)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if getter := self._table._group.getters.get(name):
            table = self._table
            answer = lambda *args, **kwargs: _first(table._answer(getter, *args, **kwargs))  # noqa: E731
            return _bind(getter, answer, f"{table._group.name}[i].{name}")
        return self._table.__getattr__(name)._element(0)

    def __getitem__(self, name: str) -> Any:
        """Return a stored value by the name of its column in the file."""
        return _first(self._table[name])

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._table._group.getters, *self._table._group.links})

    def p4(self, m: float | None = None) -> Any:
        """Return the four-momentum as a `vector` object, for the mass hypothesis m [GeV/c2]."""
        return self._table.p4(m)[0]

    def _key(self) -> tuple[Any, ...]:
        group = self._table._group
        return id(group.frame), group.trees[0], int(indices.to_array(self._table._rows)[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        group = self._table._group
        return f"<row {self._key()[2]} of {group.name} in {group.frame.label}>"

    def _repr_html_(self) -> str:
        from o2dask.analysis.show import row_html

        return row_html(self)


def _bind(getter: Getter, answer: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return the answer to a getter as a function that `help` can explain."""

    def accessor(*args: Any, **kwargs: Any) -> Any:
        return answer(*args, **kwargs)

    accessor.__name__, accessor.__qualname__, accessor.__doc__ = getter.name, name, getter.text
    accessor.__signature__ = getter.signature  # type: ignore[attr-defined]
    accessor.__module__ = __name__
    return accessor


def _first(answer: Any) -> Any:
    """Return the one element of a one-row answer, lists of numbers as numpy arrays."""
    if isinstance(answer, Table):
        return answer._element(0)
    value = answer[0]
    return value.to_numpy() if hasattr(value, "to_numpy") else value


def _pointed_to(kind: str, ids: Any, where: str) -> tuple[Rows, indices.Level]:
    """Return the rows that the values of an index column point to, and the level that gives them back to each value."""
    if kind == "index":
        is_there = ids >= 0
        return ids[is_there].astype(np.int64), OptionLevel(np.where(is_there, np.cumsum(is_there) - 1, -1))
    if kind == "slice_index":
        first, last = ids[:, 0].astype(np.int64), ids[:, 1].astype(np.int64)
        counts = np.where(first >= 0, last - first + 1, 0)
        if (counts < 0).any():
            raise DataError(f"{where}: want slices with first <= last, got {ids[np.argmin(counts)].tolist()}")
        offsets, rows = indices.expand(first, counts)
        return rows, ListLevel(offsets)
    listed, (level,) = indices.split(ids)
    return listed.astype(np.int64), level


def _has(kind: str, ids: Any) -> Any:
    if kind == "index":
        return ids >= 0
    if kind == "slice_index":
        return ids[:, 0] >= 0
    import awkward as ak

    return ak.to_numpy(ak.num(ids)) > 0


def _push(levels: tuple[indices.Level, ...], level: indices.Level) -> tuple[indices.Level, ...]:
    """Return the levels with one more inside; a missing element of a missing element is one missing element."""
    if levels and isinstance(levels[-1], OptionLevel) and isinstance(level, OptionLevel):
        outer = levels[-1].where
        merged = np.full(len(outer), -1, np.int64)
        merged[outer >= 0] = level.where[outer[outer >= 0]]
        return (*levels[:-1], OptionLevel(merged))
    return (*levels, level)


def _check_rows(rows: Rows, n_rows: int, where: str, target: str) -> None:
    if indices.n_of(rows) == 0:
        return
    low, high = (rows.start, rows.stop - 1) if isinstance(rows, slice) else (rows.min(), rows.max())
    if low < 0 or high >= n_rows:
        bad = low if low < 0 else high
        raise DataError(f"{where}: want rows of {target} below {n_rows}, got {bad}; the dataframe is damaged")


def _plain(item: Any) -> Any:
    """Return an awkward mask as numpy; a missing value selects nothing."""
    if not type(item).__module__.startswith("awkward"):
        return item
    import awkward as ak

    return ak.to_numpy(ak.fill_none(item, False))


def _shape(levels: tuple[indices.Level, ...]) -> str:
    return " of ".join("lists" if isinstance(level, ListLevel) else "rows or None" for level in levels)
