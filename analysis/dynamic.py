"""Columns that a user computes from those of a table, under names of their own: O2's dynamic columns.

Knows functions and names of tables; reads nothing. They hold for every frame of this process, open ones included, and
travel to workers with the tasks of a run.
"""

import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from o2dask.analysis import naming
from o2dask.analysis.declarations import TableSpec
from o2dask.analysis.formulas import FORMULAS, Formula
from o2dask.analysis.formulas.registry import made_of
from o2dask.errors import SpecError

__all__ = ["DynamicColumn", "adopt", "declared", "dynamic_column", "formulas_of", "generation"]

F = TypeVar("F", bound=Callable[..., Any])


class DynamicColumn(NamedTuple):
    """A getter of the tables of one stem ("udtrack"), in any version; `token` tells one declaration from another."""

    stem: str
    formula: Formula
    token: str


_declared: dict[tuple[str, str], DynamicColumn] = {}
_generation = [0]


def dynamic_column(*tables: "TableSpec | str", name: str = "", unit: str = "") -> Callable[[F], F]:
    """Return a decorator that makes a function of columns a getter of tables; O2's DECLARE_SOA_DYNAMIC_COLUMN.

    Its positional parameters are getters of the table, stored columns or formulas; its keyword-only ones are what the
    caller gives. It takes and returns arrays, is called when the getter is, and is left as it was.

    Parameters
    ----------
    *tables : TableSpec or str
        Tables, one's own (`declare_table`), of the data model (``o2.Tracks``) or by tree (``"O2udtrack"``).
    name : str
        The getter; default: the function's name.
    unit : str
        Of the values, for the text that `help` shows.

    Raises
    ------
    SpecError
        If a table stores or computes something else under that name.

    Examples
    --------
    >>> UdTracks = o2.declare_table("UdTracks", description="udtrack", fPx="float32")  # doctest: +SKIP
    >>> @o2.dynamic_column(UdTracks, unit="GeV/c")  # doctest: +SKIP
    ... def pt(px, py):
    ...     "Return the transverse momentum."
    ...     return np.hypot(px, py)
    >>> aod.udtracks.pt()  # doctest: +SKIP
    """
    stems = dict.fromkeys(stem for table in tables for stem in _stems(table))
    if not stems:
        raise SpecError("dynamic_column: want tables, as in @o2.dynamic_column(o2.Tracks), above the function")

    def enter(function: F) -> F:
        getter = name or function.__name__
        if not getter.isidentifier() or getter.startswith("_"):
            raise SpecError(f"dynamic_column: want a function with a name, or name=..., got {getter!r}")
        for stem in stems:
            _check_free(stem, getter)
            text = (function.__doc__ or "").strip() or f"Return {getter}, computed by {function.__name__}."
            made = made_of(getter, function, unit=unit, text=text)
            _declared[stem, getter] = DynamicColumn(stem, made, uuid.uuid4().hex)
        _generation[0] += 1
        return function

    return enter


def declared() -> tuple[DynamicColumn, ...]:
    """Return all that were declared in this process."""
    return tuple(_declared.values())


def adopt(columns: Iterable[DynamicColumn]) -> None:
    """Take over what another process declared."""
    for column in columns:
        key = column.stem, column.formula.getter
        if key not in _declared or _declared[key].token != column.token:
            _declared[key] = column
            _generation[0] += 1


def generation() -> int:
    """Return a number that changes when something is declared."""
    return _generation[0]


def formulas_of(tree: str) -> dict[str, Formula]:
    """Return the formulas that users declared for a tree, by getter."""
    stem = naming.stem(tree)
    return {getter: column.formula for (of, getter), column in _declared.items() if of == stem}


def _stems(table: Any) -> tuple[str, ...]:
    if isinstance(table, str):
        return (naming.stem(table),)
    if not isinstance(table, TableSpec) or len(table.names) != 1:
        raise SpecError(f"dynamic_column: want tables one by one, as o2.Tracks or 'O2udtrack', got {table!r}")
    return table.stems[0]


def _check_free(stem: str, getter: str) -> None:
    from o2dask.analysis.getters import getters_of
    from o2dask.aod.model import tables

    for model in tables().values():
        if naming.stem(model.tree) != stem:
            continue
        taken = getters_of(model.tree, tuple(c.name for c in model.columns)).get(getter)
        if taken is not None and ((model.tree, getter) in FORMULAS or taken.column):
            raise SpecError(f"dynamic_column {getter!r}: {model.tree} has it already; take another name")
