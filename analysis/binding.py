"""From what a process function declares to the tables of one dataframe that it is called with.

Knows specs, frames and filters; runs no task. A table holds the trees that were declared and no others: what a task
reads is what it says, which is what orders the tasks of a train.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from o2dask.analysis import naming
from o2dask.analysis.declarations import TableSpec
from o2dask.analysis.errors import close_to
from o2dask.analysis.expressions import UNKNOWN, Expression, Interval
from o2dask.analysis.frames import Frame
from o2dask.analysis.getters import Getter
from o2dask.analysis.groups import Group, aligned_stems
from o2dask.analysis.slicing import _rows_of, grouped_by
from o2dask.analysis.table import Row, Table
from o2dask.analysis.task import AnalysisTask, Argument, Filter, Partition, Process
from o2dask.errors import DataError

__all__ = ["calls", "filtered", "group_of", "selected"]

Called = dict[str | Partition, Table]
"""Tables by argument, and the rows of partitions."""


def calls(task: AnalysisTask, process: Process, frame: Frame) -> Iterator[dict[str, Any]]:
    """Give the arguments of every call of a process function on one dataframe.

    Raises
    ------
    DataError
        If a table is not there or not aligned with what it is joined to, naming it, the task and the dataframe.
    """
    where = process.name
    tables: Called = {a.name: _table(task, a, frame, where) for a in process.arguments}
    partitions: Called = {each: _partition(task, each, process, frame) for each in task.declared(Partition).values()}
    first = process.arguments[0]
    if not first.spec.is_row:
        yield _bound(task, {**tables, **partitions})
        return
    parent = tables.pop(first.name)
    children = {**tables, **partitions}
    groupings = {name: grouped for name, table in children.items() if (grouped := _grouped(parent, table)) is not None}
    for i, number in enumerate(_row_numbers(parent)):
        row = Row(parent[i : i + 1])
        own = {name: _rows_of(children[name], grouping, int(number)) for name, grouping in groupings.items()}
        yield {first.name: row, **_bound(task, children | own)}


def _bound(task: AnalysisTask, tables: Called) -> dict[str, Any]:
    """Give a task its partitions and return the rest, the arguments of a call."""
    for partition, rows in tables.items():
        if isinstance(partition, Partition):
            partition.__set__(task, rows)
    return {name: table for name, table in tables.items() if isinstance(name, str)}


def _partition(task: AnalysisTask, partition: Partition, process: Process, frame: Frame) -> Table:
    """Return the rows of a partition; its table has all columns of the argument that has its trees, if there is one."""
    where = f"partition {partition.name!r} of {process.name}"
    holders = [a.spec for a in process.arguments if set(partition.spec.names) <= set(a.spec.names)]
    spec = replace(holders[0] if holders else partition.spec, is_row=False, is_filtered=partition.spec.is_filtered)
    table = _table(task, Argument(partition.name, spec), frame, where)
    if absent := partition.expression.columns - table.getters.keys():
        raise DataError(f"{where}: {spec} has no {sorted(absent)[0]!r}; {close_to(sorted(absent)[0], table.getters)}")
    return selected(table, partition.expression, task.settings)


def group_of(spec: TableSpec, frame: Frame, where: str) -> Group:
    """Return the declared trees of a dataframe as one group."""
    return frame.cached(("declared", spec.names, spec.versions, frame.tables), lambda: _group(spec, frame, where))


def filtered(table: Table, filters: Mapping[str, Filter], settings: Mapping[str, Any]) -> Table:
    """Return the rows that pass all filters; row groups in which no row can pass are not read."""
    chosen = [each.expression for each in filters.values() if each.expression.columns <= table.getters.keys()]
    if not chosen:
        return table
    condition = chosen[0]
    for other in chosen[1:]:
        condition = condition & other
    return selected(table, condition, settings)


def selected(table: Table, condition: Expression, settings: Mapping[str, Any]) -> Table:
    """Return the rows that fulfil a condition; row groups in which no row can are not read."""
    table = _without_hopeless_groups(table, condition, settings)
    mask = condition.evaluate(lambda name: getattr(table, name)(), settings)
    mask = np.broadcast_to(np.asarray(mask, bool), (len(table),))
    return table if mask.all() else table[mask]


def _table(task: AnalysisTask, argument: Argument, frame: Frame, where: str) -> Table:
    group = group_of(argument.spec, frame, where)
    table = Table(group, group.rows)
    if not argument.spec.is_filtered:
        return table
    filters = task.declared(Filter)
    if not any(each.expression.columns <= table.getters.keys() for each in filters.values()):
        known = ", ".join(f"{name} reads {', '.join(sorted(f.expression.columns))}" for name, f in filters.items())
        raise DataError(
            f"{where}: argument {argument.name!r} is {argument.spec}, but no filter fits: {known or 'none'}"
        )
    return filtered(table, filters, task.settings)


def _group(spec: TableSpec, frame: Frame, where: str) -> Group:
    trees = [_tree(part, frame, where) for part in spec.parts]
    stems = [naming.stem(tree) for tree in trees]
    head = next((t for t, s in zip(trees, stems, strict=True) if aligned_stems(s) & set(stems)), trees[0])
    trees = list(dict.fromkeys([head, *trees]))
    for tree in trees[1:]:
        if reason := frame._misaligned(tree, head):
            raise DataError(f"{where} joins {', '.join(spec.names)}: {reason}")
    whole = _whole(head, frame)
    if whole is None:
        return Group(frame, spec.names[0], tuple(trees))
    remedy = "stored in {}, which is not declared; add its table to Join[...]"
    absent = {t: remedy.format(t) for t in whole.trees if t not in trees} | whole.absent
    return Group(frame, whole.name, tuple(trees), {t: reason for t, reason in absent.items() if t not in trees})


def _whole(head: str, frame: Frame) -> Group | None:
    """Return the table of the dataframe that begins with a tree, under the name that indices find it by."""
    named = frame.resolve_target(head)
    candidates = ([named] if named else []) + list(frame.group_names)
    return next((frame.group(name) for name in candidates if frame.group(name).trees[0] == head), None)


def _tree(part: TableSpec, frame: Frame, where: str) -> str:
    """Return the tree that holds a table: the version asked for, else the newest."""
    (stems,), (version,) = part.stems, part.versions
    for stem in stems:
        there = [tree for tree in frame.tables if naming.stem(tree) == stem]
        if version is not None:
            there = [tree for tree in there if naming.version(tree) == version]
        if there:
            return max(there, key=naming.version)
    number = f"_{version:03d}" if version else ""
    want = " or ".join(f"O2{stem}{number}" for stem in stems)
    raise DataError(
        f"{where} reads {part}: {frame.label} has no table {want}; it has {', '.join(frame.tables) or 'none'}"
    )


def _grouped(parent: Table, child: Table) -> Any:
    """Return the rows of a table by the row of the first one that they belong to; None if they do not belong."""
    for getter in child._group.getters.values():
        if parent._group._is_parent_of(child._group, getter):
            where = f"{getter.tree}.{getter.column} in {child._group.frame.label}"
            grouping = grouped_by(child, getter, parent._group.n_rows)
            if len(grouping.counts) > parent._group.n_rows:
                bad = len(grouping.counts) - 1
                raise DataError(f"{where}: want rows of {parent._group.name} below {parent._group.n_rows}, got {bad}")
            return grouping
    return None


def _row_numbers(table: Table) -> np.ndarray:
    numbers: np.ndarray = table.globalIndex()
    return numbers


def _without_hopeless_groups(table: Table, condition: Expression, settings: Mapping[str, Any]) -> Table:
    frame, head = table._group.frame, table._group.trees[0]
    if len(frame.row_groups(head)) <= 2:
        return table
    bounds = frame.row_groups(head)
    can_pass = [condition.bounds(_intervals(table, head, bounds, i), settings).high > 0 for i in range(len(bounds) - 1)]
    if all(can_pass):
        return table
    kept = [np.arange(bounds[i], bounds[i + 1]) for i in np.flatnonzero(can_pass)]
    if not kept:
        return table[0:0]
    rows = np.concatenate(kept)
    is_block = rows[-1] - rows[0] + 1 == len(rows)
    return table[int(rows[0]) : int(rows[-1]) + 1] if is_block else table[rows]


def _intervals(table: Table, head: str, bounds: np.ndarray, i: int) -> Callable[[str], Interval]:
    """Return what storage says of getters in row group i: of stored columns of the head, and of others as aligned."""

    def interval(name: str) -> Interval:
        getter: Getter = table.getters[name]
        frame = table._group.frame
        if getter.kind != "stored":
            return UNKNOWN
        if getter.tree != head and not np.array_equal(frame.row_groups(getter.tree), bounds):
            return UNKNOWN
        limits = frame.limits(getter.tree, getter.column)
        if limits is None:
            return UNKNOWN
        low, high = limits
        return Interval(float(low[i]), float(high[i]), nan=low.dtype.kind == "f")

    return interval
