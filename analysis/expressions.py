"""Expressions over getters, written once and applied per dataframe: ``abs(col.eta) < eta_max``.

Knows arithmetic on arrays and on intervals; knows no table and no file. The same expression gives a mask for rows, and,
from the least and greatest value of stored columns in a row group, whether any row of the group can pass.
"""

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from o2dask.errors import SpecError

__all__ = ["Column", "Expression", "Interval", "as_expression", "col"]

Values = Callable[[str], Any]
"""Gives the values of a getter by its name."""


class Interval(NamedTuple):
    """Where values lie, both ends inclusive; of a mask, 0 and 1 are False and True. `nan`: there may be NaN as well."""

    low: float
    high: float
    nan: bool = True


UNKNOWN = Interval(-np.inf, np.inf)
_EITHER = Interval(0, 1, nan=False)


class Expression(ABC):
    """Base: the operators, which make larger expressions."""

    @abstractmethod
    def evaluate(self, values: Values, settings: Mapping[str, Any]) -> Any:
        """Return the values, row by row; `values` gives getters, `settings` configurables by name."""

    @abstractmethod
    def bounds(self, intervals: Callable[[str], Interval], settings: Mapping[str, Any]) -> Interval:
        """Return where the values of rows lie, of which `intervals` gives where each getter lies."""

    @property
    def columns(self) -> frozenset[str]:
        """The getters that it reads."""
        return frozenset()

    def __bool__(self) -> bool:
        raise SpecError(f"{self}: has no truth value before there are rows; join conditions with &, | and ~")

    __hash__ = object.__hash__

    def __add__(self, other: Any) -> "Expression":
        return _Operation("+", (self, as_expression(other)))

    def __radd__(self, other: Any) -> "Expression":
        return _Operation("+", (as_expression(other), self))

    def __sub__(self, other: Any) -> "Expression":
        return _Operation("-", (self, as_expression(other)))

    def __rsub__(self, other: Any) -> "Expression":
        return _Operation("-", (as_expression(other), self))

    def __mul__(self, other: Any) -> "Expression":
        return _Operation("*", (self, as_expression(other)))

    def __rmul__(self, other: Any) -> "Expression":
        return _Operation("*", (as_expression(other), self))

    def __truediv__(self, other: Any) -> "Expression":
        return _Operation("/", (self, as_expression(other)))

    def __rtruediv__(self, other: Any) -> "Expression":
        return _Operation("/", (as_expression(other), self))

    def __pow__(self, other: Any) -> "Expression":
        return _Operation("**", (self, as_expression(other)))

    def __neg__(self) -> "Expression":
        return _Operation("-", (Constant(0), self))

    def __abs__(self) -> "Expression":
        return _Operation("abs", (self,))

    def __invert__(self) -> "Expression":
        return _Operation("~", (self,))

    def __and__(self, other: Any) -> "Expression":
        return _Operation("&", (self, as_expression(other)))

    def __rand__(self, other: Any) -> "Expression":
        return _Operation("&", (as_expression(other), self))

    def __or__(self, other: Any) -> "Expression":
        return _Operation("|", (self, as_expression(other)))

    def __ror__(self, other: Any) -> "Expression":
        return _Operation("|", (as_expression(other), self))

    def __lt__(self, other: Any) -> "Expression":
        return _Operation("<", (self, as_expression(other)))

    def __le__(self, other: Any) -> "Expression":
        return _Operation("<=", (self, as_expression(other)))

    def __gt__(self, other: Any) -> "Expression":
        return _Operation(">", (self, as_expression(other)))

    def __ge__(self, other: Any) -> "Expression":
        return _Operation(">=", (self, as_expression(other)))

    def __eq__(self, other: object) -> "Expression":  # type: ignore[override]
        return _Operation("==", (self, as_expression(other)))

    def __ne__(self, other: object) -> "Expression":  # type: ignore[override]
        return _Operation("!=", (self, as_expression(other)))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> "Expression":
        """Take functions of numpy: ``np.sqrt(col.pt)``."""
        if method != "__call__" or kwargs:
            raise SpecError(f"{ufunc.__name__}.{method} in an expression: want a plain call, such as np.sqrt(col.pt)")
        symbol = {"absolute": "abs", "less": "<", "greater": ">", "less_equal": "<=", "greater_equal": ">="} | {
            "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "bitwise_and": "&", "bitwise_or": "|",
            "equal": "==", "not_equal": "!=",
        }  # fmt: skip
        operands = tuple(as_expression(each) for each in inputs)
        if ufunc.__name__ in symbol:
            return _Operation(symbol[ufunc.__name__], operands)
        return _Function(ufunc, operands)


class Constant(Expression):
    """A number."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def evaluate(self, values: Values, settings: Mapping[str, Any]) -> Any:
        """Return the number."""
        return self.value

    def bounds(self, intervals: Callable[[str], Interval], settings: Mapping[str, Any]) -> Interval:
        """Return the number twice."""
        return _at(self.value)

    def __repr__(self) -> str:
        return repr(self.value)


class Column(Expression):
    """A getter, by its name in O2: ``col.pt``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def evaluate(self, values: Values, settings: Mapping[str, Any]) -> Any:
        """Return the getter's values."""
        return values(self.name)

    def bounds(self, intervals: Callable[[str], Interval], settings: Mapping[str, Any]) -> Interval:
        """Return where they lie."""
        return intervals(self.name)

    @property
    def columns(self) -> frozenset[str]:
        """Itself."""
        return frozenset({self.name})

    def __repr__(self) -> str:
        return f"col.{self.name}"


class _Columns:
    """``col.pt``, or ``col("pt")``: getters as expressions."""

    def __getattr__(self, name: str) -> Column:
        if name.startswith("_"):
            raise AttributeError(name)
        return Column(name)

    def __call__(self, name: str) -> Column:
        return Column(name)


col = _Columns()


class _Operation(Expression):
    """An operator and what it is applied to."""

    def __init__(self, symbol: str, operands: tuple[Expression, ...]) -> None:
        self.symbol, self.operands = symbol, operands

    def evaluate(self, values: Values, settings: Mapping[str, Any]) -> Any:
        operands = [each.evaluate(values, settings) for each in self.operands]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return _FUNCTIONS[self.symbol](*operands)

    def bounds(self, intervals: Callable[[str], Interval], settings: Mapping[str, Any]) -> Interval:
        operands = [each.bounds(intervals, settings) for each in self.operands]
        return _BOUNDS[self.symbol](*operands) if self.symbol in _BOUNDS else UNKNOWN

    @property
    def columns(self) -> frozenset[str]:
        return frozenset().union(*(each.columns for each in self.operands))

    def __repr__(self) -> str:
        if self.symbol == "abs":
            return f"abs({self.operands[0]!r})"
        if self.symbol == "~":
            return f"~{self.operands[0]!r}"
        return f"({self.operands[0]!r} {self.symbol} {self.operands[1]!r})"


class _Function(Expression):
    """A function of numpy."""

    def __init__(self, function: Any, operands: tuple[Expression, ...]) -> None:
        self.function, self.operands = function, operands

    def evaluate(self, values: Values, settings: Mapping[str, Any]) -> Any:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self.function(*(each.evaluate(values, settings) for each in self.operands))

    def bounds(self, intervals: Callable[[str], Interval], settings: Mapping[str, Any]) -> Interval:
        return UNKNOWN

    @property
    def columns(self) -> frozenset[str]:
        return frozenset().union(*(each.columns for each in self.operands))

    def __repr__(self) -> str:
        return f"{self.function.__name__}({', '.join(map(repr, self.operands))})"


def as_expression(value: Any) -> Expression:
    """Return what may stand in an expression as one: itself, or a number.

    Raises
    ------
    SpecError
        If it is neither; arrays have no place here, as they belong to one dataframe.
    """
    if isinstance(value, Expression):
        return value
    if isinstance(value, (bool, int, float, np.number, np.bool_)):
        return Constant(value)
    raise SpecError(f"expression: want numbers, configurables and col.<getter>, got {type(value).__name__}: {value!r}")


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "abs": abs,
    "~": np.logical_not,
    "&": operator.and_,
    "|": operator.or_,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def _at(value: Any) -> Interval:
    number = float(value)
    return UNKNOWN if np.isnan(number) else Interval(number, number, nan=False)


def _of(ends: list[float], nan: bool) -> Interval:
    return UNKNOWN if any(np.isnan(end) for end in ends) else Interval(min(ends), max(ends), nan)


def _ratio(a: Interval, b: Interval) -> Interval:
    return UNKNOWN if b.low <= 0 <= b.high else _of([x / y for x in a[:2] for y in b[:2]], a.nan or b.nan)


def _is_mask(a: Interval) -> bool:
    return a.low >= 0 and a.high <= 1 and not a.nan


def _magnitude(a: Interval) -> Interval:
    if a.low <= 0 <= a.high:
        return Interval(0, max(-a.low, a.high), a.nan)
    return _of([abs(a.low), abs(a.high)], a.nan)


def _not(a: Interval) -> Interval:
    return Interval(1 - a.high, 1 - a.low, nan=False) if _is_mask(a) else _EITHER


def _and(a: Interval, b: Interval) -> Interval:
    if _is_mask(a) and _is_mask(b):
        return Interval(min(a.low, b.low), min(a.high, b.high), nan=False)
    return UNKNOWN  # bits of integers


def _or(a: Interval, b: Interval) -> Interval:
    if _is_mask(a) and _is_mask(b):
        return Interval(max(a.low, b.low), max(a.high, b.high), nan=False)
    return UNKNOWN


def _compared(never: bool, always: bool, nan: bool) -> Interval:
    """Return the interval of a mask; NaN compares as False."""
    return Interval(float(always and not nan), float(not never), nan=False)


# Statistics of floats are those of their decimal text or of a wider type in some writers; an ulp is let pass.
def _below(a: Interval, b: Interval) -> bool:
    slack = 1e-6 * max(abs(a.high), abs(b.low)) if np.isfinite(a.high) and np.isfinite(b.low) else 0.0
    return a.high < b.low - slack


_BOUNDS: dict[str, Callable[..., Interval]] = {
    "+": lambda a, b: _of([a.low + b.low, a.high + b.high], a.nan or b.nan),
    "-": lambda a, b: _of([a.low - b.high, a.high - b.low], a.nan or b.nan),
    "*": lambda a, b: _of([x * y for x in a[:2] for y in b[:2]], a.nan or b.nan),
    "/": _ratio,
    "abs": _magnitude,
    "~": _not,
    "&": _and,
    "|": _or,
    "<": lambda a, b: _compared(_below(b, a), _below(a, b), a.nan or b.nan),
    "<=": lambda a, b: _compared(_below(b, a), _below(a, b), a.nan or b.nan),
    ">": lambda a, b: _compared(_below(a, b), _below(b, a), a.nan or b.nan),
    ">=": lambda a, b: _compared(_below(a, b), _below(b, a), a.nan or b.nan),
    "==": lambda a, b: _compared(_below(a, b) or _below(b, a), False, True),
    "!=": lambda a, b: _compared(False, _below(a, b) or _below(b, a), False),
}
