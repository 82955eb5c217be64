"""What a task gives: histograms, and other values that can be added up. How parts become a whole.

Knows histograms and `+`; knows no table and no run. A part is a plain dict from name to value; ``h/pt`` is the entry
``pt`` of a dict of histograms ``h``.
"""

import copy
import operator
import sys
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, overload
from weakref import WeakKeyDictionary

from o2dask.errors import SpecError

__all__ = ["Output", "absorb", "clear", "is_hist", "merged", "outputs_of"]

T = TypeVar("T")

_fixed: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
"""Histograms of a task that are added as arrays: boost-histogram compares axes and looks up types, which takes as long
as to fill some thousand rows."""


class Output(Generic[T]):
    """A result that is no histogram: ``n_selected = Output(0)``, ``masses = Output([])``; parts are added with `merge`.

    Lists of all dataframes end up in one process: keep them small, and produce a table for what is not.
    """

    def __init__(self, initial: T, merge: Callable[[T, T], T] = operator.add) -> None:
        self.initial, self.merge, self.name = initial, merge, ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "Output[T]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        """Return the value of a task, or the declaration of its class."""
        return self if instance is None else instance.__dict__[self.name]

    def __set__(self, instance: object, value: T) -> None:
        instance.__dict__[self.name] = value


def is_hist(value: object) -> bool:
    """Return whether a value is a histogram (of hist or boost-histogram)."""
    module = sys.modules.get("boost_histogram")
    return module is not None and isinstance(value, module.Histogram)


def outputs_of(task: Any) -> dict[str, Any]:
    """Return the outputs of a task as they are now, in the order in which they were made."""
    declared = _declared(task)
    found: dict[str, Any] = {}
    for name, value in vars(task).items():
        if name in declared or is_hist(value):
            found[name] = value
        elif isinstance(value, dict) and value and all(map(is_hist, value.values())):
            found |= {f"{name}/{key}": each for key, each in value.items()}
    return found


def absorb(total: dict[str, Any], task: Any) -> None:
    """Add the outputs of a task to `total`, in place, and leave the task with empty ones."""
    declared, fixed = _declared(task), _fixed.setdefault(task, {})
    for name, value in outputs_of(task).items():
        if name not in total:
            total[name] = value.copy(deep=False) if is_hist(value) else value
            if is_hist(value) and fixed.get(name) is not value and name not in declared and _is_fixed(value):
                fixed[name] = value
        elif name in fixed and fixed[name] is value and value.variances() is not None:
            _add_bins(total[name], value)
        else:
            total[name] = _sum(total[name], value, declared.get(name), f"{task.name}/{name}")
    clear(task)


def clear(task: Any) -> None:
    """Empty the outputs of a task."""
    declared = _declared(task)
    for name, value in outputs_of(task).items():
        if name in declared:
            setattr(task, name, copy.deepcopy(declared[name].initial))
        else:
            value.reset()


def merged(parts: "list[dict[str, Any]]", task: Any) -> dict[str, Any]:
    """Return the sum of parts, in the order given; they stay as they are."""
    declared = _declared(task)
    total: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if name not in total:
                total[name] = value.copy(deep=False) if is_hist(value) and len(parts) > 1 else value
            else:
                total[name] = _sum(total[name], value, declared.get(name), f"{task.name}/{name}")
    return total


def _declared(task: Any) -> Mapping[str, Output[Any]]:
    found: Mapping[str, Output[Any]] = task.declared(Output)
    return found


def _is_fixed(histogram: Any) -> bool:
    """Return whether the bins of a histogram are an array of numbers that stays where it is, whatever is filled."""
    return _is_plain(histogram) and not any(axis.traits.growth for axis in histogram.axes)


def _is_plain(histogram: Any) -> bool:
    import boost_histogram as bh

    return histogram.storage_type in (bh.storage.Double, bh.storage.Int64)


def _add_bins(one: Any, other: Any) -> Any:
    """Add the bins of `other`, filled without weights, to those of `one`, whose variances then stay known.

    boost-histogram's own sum forgets them, and a plot has no error bars.
    """
    bins = one.view(flow=True)
    bins += other.view(flow=True)
    return one


def _sum(one: Any, other: Any, declared: Output[Any] | None, where: str) -> Any:
    try:
        if declared is not None:
            return declared.merge(one, other)
        if one.axes == other.axes:
            if _is_plain(one) and other.variances() is not None:
                return _add_bins(one, other)
            one += other
            return one
        return one + other  # categories that grew
    except (TypeError, ValueError) as error:
        raise SpecError(f"output {where}: parts cannot be added: {error}; give it the same axes everywhere") from error
