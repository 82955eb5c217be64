"""The register of formulas: which plain function computes which dynamic or expression column of which stored table.

Knows names and signatures; knows no table, no file and no physics. A formula's positional parameters are the getters of
the columns that it reads (stored ones, or results of other formulas of the same table); its keyword-only parameters are
what the caller gives, as the mass in ``tracks.energy(m)``.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from o2dask.errors import SpecError

__all__ = ["BLOCK", "FORMULAS", "Formula", "formula", "made_of", "register"]

BLOCK = 1 << 15
"""Rows per block: a handful of float32 temporaries of this length fits the second-level cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """One vectorised column: arrays of the inputs in, one array (or awkward array) of the same length out."""

    getter: str
    function: Callable[..., Any]
    inputs: tuple[str, ...]
    arguments: tuple[str, ...]
    unit: str
    text: str

    def __call__(self, *columns: Any, **arguments: Any) -> Any:
        """Return the column; divisions by zero and the like give inf or NaN, as in O2, and no warning.

        Long columns go through the function in blocks, so that what it makes on the way stays in the cache.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            n = len(columns[0])
            if n <= BLOCK or not all(isinstance(column, np.ndarray) for column in columns):
                return self.function(*columns, **arguments)
            first = self.function(*(column[:BLOCK] for column in columns), **arguments)
            result = np.empty((n, *first.shape[1:]), first.dtype)
            result[:BLOCK] = first
            for start in range(BLOCK, n, BLOCK):
                rows = slice(start, start + BLOCK)
                result[rows] = self.function(*(column[rows] for column in columns), **arguments)
            return result


FORMULAS: dict[tuple[str, str], Formula] = {}
"""Formulas by (tree name, getter)."""


def made_of(getter: str, function: Callable[..., Any], *, unit: str = "", text: str = "") -> Formula:
    """Return a function as a formula; inputs and arguments come from its signature."""
    parameters = inspect.signature(function).parameters.values()
    return Formula(
        getter=getter,
        function=function,
        inputs=tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD),
        arguments=tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY),
        unit=unit,
        text=text or inspect.getdoc(function) or "",
    )


def register(
    trees: tuple[str, ...], getter: str, function: Callable[..., Any], *, unit: str = "", text: str = ""
) -> None:
    """Enter `function` as `getter` of every tree of `trees`; inputs and arguments come from its signature."""
    entry = made_of(getter, function, unit=unit, text=text)
    for tree in trees:
        if (tree, getter) in FORMULAS:
            raise SpecError(f"formula {getter!r} of {tree}: registered twice")
        FORMULAS[tree, getter] = entry


def formula(*trees: str, getter: str, unit: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that enters a plain function as `getter` of `trees` and leaves it as it is."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        register(trees, getter, function, unit=unit)
        return function

    return enter
