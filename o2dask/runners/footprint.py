"""How much memory a timeframe held at once, out of what its tasks were seen to take. Plain arithmetic, no Dask."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from o2dask.columns import Columns, Jagged
from o2dask.specs import DataRef
from o2dask.workflow.planner import PhysicalTask

if TYPE_CHECKING:
    from o2dask.runners.step import Account

__all__ = ["held_at_once", "memory_of"]


def memory_of(payloads: Iterable[Columns]) -> int:
    """Return the memory that data keep alive [bytes]: a view keeps all of the array that it is a part of.

    >>> from o2dask.columns import Schema
    >>> part = {"x": np.zeros(1000)[:10]}
    >>> memory_of([Columns(Schema.infer("part", part), part)])
    8000
    """
    roots: dict[int, int] = {}
    for columns in payloads:
        for value in columns.values():
            for part in value if isinstance(value, Jagged) else (value,):
                root: Any = part
                while isinstance(root.base, np.ndarray):
                    root = root.base
                roots[id(root)] = root.nbytes
    return sum(roots.values())


def held_at_once(tasks: Sequence[PhysicalTask], accounts: Mapping[str, "Account"], leaving: Set[DataRef]) -> int:
    """Return the most that a timeframe held at once [bytes]: what a task grew by, and what others had left for later.

    What a task leaves is held as long as any later one, or the commit (of what is `leaving`), needs any of it; while
    the task itself runs, it is part of what the process grew by.
    """
    last = {task.name: rank for rank, task in enumerate(tasks)}
    maker = {ref: task.name for task in tasks for ref in task.outputs}
    for rank, task in enumerate(tasks):
        for ref in task.inputs:
            if ref in maker:
                last[maker[ref]] = rank
    for ref in leaving & maker.keys():
        last[maker[ref]] = len(tasks)
    held = {task.name: accounts[task.name].payload_bytes for task in tasks if task.name in accounts}
    most = 0
    for rank, task in enumerate(tasks):
        before = sum(held.get(earlier.name, 0) for earlier in tasks[:rank] if last[earlier.name] >= rank)
        account = accounts.get(task.name)
        most = max(most, before + (max(account.payload_bytes, account.peak_bytes) if account else 0))
    return most
