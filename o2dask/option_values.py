"""What an option may hold: a scalar, an array, rows of equal length, or these with labels; their texts and JSON.

The kinds are those of O2's Variant (Framework/Core/include/Framework/{Variant,Array2D}.h), the texts those of
VariantStringHelpers.h and of ``dpl-config.json``. Knows no option and no processor.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from o2dask.errors import SpecError

__all__ = ["LabeledArray", "Scalar", "Value", "as_value", "convert_scalar", "convert_value", "json_of", "scalars_of"]
__all__ += ["text_of"]

Scalar = bool | int | float | str
_KINDS = (bool, int, float, str)
_SYMBOL = re.compile(r"^[ilfdbs](?=\[)")
"""O2 writes the type of elements before an array: ``f[0.5,1]``."""


@dataclass(frozen=True, slots=True, init=False)
class LabeledArray:
    """Rows of equal length whose rows and columns have names: ``cuts.get("barrel", "pt")`` (O2's LabeledArray).

    Parameters
    ----------
    values : sequence of sequences
        Rows.
    rows, columns : sequence of str
        Their labels; none: they go by number alone.
    """

    values: tuple[tuple[Scalar, ...], ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]

    def __init__(
        self, values: Sequence[Sequence[Scalar]], rows: Sequence[str] = (), columns: Sequence[str] = ()
    ) -> None:
        made = as_value(values)
        if not isinstance(made, tuple) or not isinstance(made[0], tuple):
            raise SpecError(f"LabeledArray: want rows of values, got {values!r}")
        for name, labels, n in (("rows", rows, len(made)), ("columns", columns, len(made[0]))):
            if isinstance(labels, str) or (labels and len(labels) != n) or len(set(labels)) < len(labels):
                raise SpecError(f"LabeledArray: want {n} different labels of {name}, or none, got {labels!r}")
            object.__setattr__(self, name, tuple(map(str, labels)))
        object.__setattr__(self, "values", made)

    def get(self, row: "str | int", column: "str | int") -> Scalar:
        """Return one value; rows and columns go by label or by number."""
        return self.values[_index(self.rows, row, "row")][_index(self.columns, column, "column")]

    def __getitem__(self, row: "str | int") -> tuple[Scalar, ...]:
        return self.values[_index(self.rows, row, "row")]

    def __len__(self) -> int:
        return len(self.values)

    def array(self) -> npt.NDArray[Any]:
        """Return the values, (n_rows, n_columns)."""
        return np.array(self.values)

    def __str__(self) -> str:
        return text_of(self)


Value = Scalar | tuple[Any, ...] | LabeledArray
"""A scalar, a tuple of scalars, a tuple of rows of equal length, or a `LabeledArray`; each hashes and compares."""


def as_value(given: Any) -> Value:
    """Return what was declared as a value that cannot change; SpecError if it is none.

    Lists and arrays become tuples, dicts in O2's layout (``values``, ``labels_rows``, ``labels_cols``) labelled arrays.
    Elements of an array are of one type, floats if some are.
    """
    if isinstance(given, np.generic | np.ndarray):
        given = given.tolist()
    if isinstance(given, Mapping):
        return _from_mapping(given)
    if isinstance(given, LabeledArray) or type(given) in _KINDS:
        return given
    if not isinstance(given, (list, tuple)):
        raise SpecError(f"want bool, int, float, str, or an array of one of these, got {given!r}")
    if not given:
        raise SpecError("want an array with a value at least, which says what it holds, got an empty one")
    is_rows = isinstance(given[0], (list, tuple))
    rows = [list(row) if isinstance(row, (list, tuple)) else [row] for row in given]
    if is_rows and (len({len(row) for row in rows}) > 1 or not rows[0] or not all(map(_is_row, given))):
        raise SpecError(f"want rows of equal length, got {given!r}")
    kinds = {type(x) for x in chain(*rows)}
    if kinds == {int, float}:
        rows, kinds = [[float(x) for x in row] for row in rows], {float}
    if len(kinds) > 1 or not kinds <= set(_KINDS):
        raise SpecError(f"want values of one type in an array, got {given!r}")
    return tuple(map(tuple, rows)) if is_rows else tuple(chain(*rows))


def convert_value(like: Value, given: Any) -> Value:
    """Return what a user gave (text, JSON, numbers) as a value of the kind of `like`.

    Arrays may have any length; ``[]`` is one without elements. A labelled array keeps its labels if none are given.

    Raises
    ------
    SpecError
        If it is of another kind.
    """
    if isinstance(like, (tuple, LabeledArray)):
        return _convert_array(like, _read(given) if isinstance(given, str) else given)
    return convert_scalar(type(like), given)


def convert_scalar(kind: type, given: Any) -> Scalar:
    """Return text or a number as a value of `kind`, or raise SpecError."""
    wrong = SpecError(f"want {kind.__name__}, got {given!r}")
    if isinstance(given, np.generic):
        given = given.item()
    if kind is bool and isinstance(given, str):
        if given.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
            raise SpecError(f"want true or false, got {given!r}")
        return given.lower() in ("1", "true", "yes", "on")
    if kind is not str and not isinstance(given, str) and isinstance(given, bool) != (kind is bool):
        raise wrong
    if given is None or isinstance(given, (list, tuple, Mapping)):
        raise wrong
    if kind is int and isinstance(given, float) and not given.is_integer():
        raise wrong
    try:
        return kind(given)
    except (TypeError, ValueError):
        raise wrong from None


def scalars_of(value: Value) -> tuple[Scalar, ...]:
    """Return all that a value holds, row by row."""
    if isinstance(value, LabeledArray):
        value = value.values
    if not isinstance(value, tuple):
        return (value,)
    return tuple(chain(*value)) if value and isinstance(value[0], tuple) else value


def json_of(value: Value) -> Any:
    """Return a value as JSON has it, labelled arrays in O2's layout; `as_value` reads it."""
    if isinstance(value, LabeledArray):
        return {"values": value.values, "labels_rows": list(value.rows), "labels_cols": list(value.columns)}
    return value


def text_of(value: Value) -> str:
    """Return a value as it is written on the command line.

    >>> text_of((0.5, 1.0)), text_of("fast"), text_of(LabeledArray([[1, 2]], columns=["a", "b"]))
    ('[0.5, 1.0]', 'fast', '{"values": [[1, 2]], "labels_rows": [], "labels_cols": ["a", "b"]}')
    """
    return json.dumps(json_of(value)) if isinstance(value, (tuple, LabeledArray)) else str(value)


def _is_row(row: Any) -> bool:
    return isinstance(row, (list, tuple))


def _index(labels: tuple[str, ...], key: "str | int", what: str) -> int:
    if isinstance(key, int):
        return key
    try:
        return labels.index(key)
    except ValueError:
        raise KeyError(f"no {what} {key!r}; there are {', '.join(labels) or 'no labels'}") from None


def _from_mapping(given: Mapping[str, Any]) -> Value:
    known = {"values", "labels_rows", "labels_cols"}
    if not set(given) <= known or "values" not in given:
        raise SpecError(f"want an array as {{{', '.join(sorted(known))}}}, got {', '.join(map(str, given)) or 'none'}")
    labels = [() if given.get(name) in (None, "") else given[name] for name in ("labels_rows", "labels_cols")]
    return LabeledArray(given["values"], *labels) if any(labels) else as_value(given["values"])


def _read(text: str) -> Any:
    """Return the text of an array as lists, or an object: JSON, or O2's spelling without quotes."""
    text = _SYMBOL.sub("", text.strip())
    try:
        found = json.loads(text)
        if isinstance(found, (list, dict)):
            return found
    except ValueError:
        if text.startswith("{"):
            raise SpecError(f"want JSON of an array, got {text!r}") from None
    if rows := re.findall(r"\[([^\[\]]*)\]", text.removeprefix("[").removesuffix("]")):
        return [_words(row) for row in rows]
    return _words(text.removeprefix("[").removesuffix("]"))


def _words(text: str) -> list[str]:
    return [word.strip().strip("\"'") for word in text.split(",")] if text.strip() else []


def _convert_array(like: "tuple[Any, ...] | LabeledArray", given: Any) -> Value:
    if isinstance(given, (np.ndarray, LabeledArray)):
        given = json_of(given) if isinstance(given, LabeledArray) else given.tolist()
    labels: tuple[Any, Any] = (like.rows, like.columns) if isinstance(like, LabeledArray) else ((), ())
    if isinstance(given, Mapping):
        _from_mapping({**given, "values": [[0]], "labels_rows": None, "labels_cols": None})  # names only
        own = [given.get(name) or () for name in ("labels_rows", "labels_cols")]
        labels = (own[0] or labels[0], own[1] or labels[1]) if isinstance(like, LabeledArray) else labels
        given = given.get("values")
    of_rows = isinstance(like, LabeledArray) or isinstance(like[0], tuple)
    want = "rows of values, [[1, 2], [3, 4]]" if of_rows else "an array, [1, 2, 3]"
    if not isinstance(given, (list, tuple)) or any(_is_row(row) != of_rows for row in given):
        raise SpecError(f"want {want}, got {given!r}")
    kind = type(scalars_of(like)[0])
    if not of_rows:
        return tuple(convert_scalar(kind, x) for x in given)
    rows = tuple(tuple(convert_scalar(kind, x) for x in row) for row in given)
    if not rows or len({len(row) for row in rows}) > 1:
        raise SpecError(f"want rows of equal length, got {given!r}")
    return LabeledArray(rows, *labels) if isinstance(like, LabeledArray) else rows
