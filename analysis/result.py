"""What a run gives: outputs by task, what was left out and why, how long it took. To be looked at, plotted, saved.

Knows outputs and names; runs nothing.
"""

import os
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from o2dask.analysis.errors import UnknownColumnError, UnknownNameError, close_to
from o2dask.analysis.execute import Failure
from o2dask.analysis.outputs import is_hist

__all__ = ["Result", "TaskResult"]

SHOWN = 8
"""Kinds of failures listed in what is shown of a result; all are in `failed`."""


class TaskResult(Mapping[str, Any]):
    """The outputs of one task: ``result["spectra"].h_pt``, or ``["h_pt"]``."""

    def __init__(self, name: str, outputs: Mapping[str, Any]) -> None:
        self.name, self._outputs = name, dict(outputs)

    def __getitem__(self, name: str) -> Any:
        if name not in self._outputs:
            raise UnknownColumnError(f"task {self.name!r} has no output {name!r}; {close_to(name, self._outputs)}")
        return self._outputs[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._outputs:
            return self._outputs[name]
        inner = {key.partition("/")[2]: value for key, value in self._outputs.items() if key.startswith(f"{name}/")}
        if inner:
            return inner
        raise UnknownNameError(f"task {self.name!r} has no output {name!r}; {close_to(name, self._outputs)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name.partition("/")[0] for name in self._outputs)})

    def __repr__(self) -> str:
        return "\n".join([f"{self.name}:", *(f"  {name}: {_line(value)}" for name, value in self._outputs.items())])

    def _repr_html_(self) -> str:
        entries = "".join(
            f"<details{' open' if len(self) <= 4 else ''}><summary>{escape(name)}: {escape(_line(value))}</summary>"
            f"{_picture(value)}</details>"
            for name, value in self._outputs.items()
        )
        return f"<b>{escape(self.name)}</b>{entries}"


class Result:
    """Outputs of all tasks: ``result.h_pt``, ``result["spectra"].h_pt``, ``result["spectra/h_pt"]``.

    Attributes
    ----------
    failed : list of Failure
        Files, dataframes and tasks on dataframes that were left out, each with the reason and its traceback.
    n_dataframes, n_rows : int
        Dataframes analysed, and rows of the largest table read in each, added up.
    wall_s, cpu_s : float
        Time of the run, and of its workers [s].
    settings : dict
        Values of all configurables by task.
    saved : str
        Where the tables that tasks made are; "" if nowhere.
    interrupted : bool
        Whether it was stopped before all was read.
    """

    def __init__(
        self,
        *,
        outputs: Mapping[str, Mapping[str, Any]],
        failed: list[Failure],
        n_dataframes: int = 0,
        n_rows: int = 0,
        cpu_s: float = 0.0,
        wall_s: float = 0.0,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        saved: str = "",
        interrupted: bool = False,
    ) -> None:
        self.tasks = {name: TaskResult(name, values) for name, values in outputs.items()}
        self.failed, self.n_dataframes, self.n_rows = failed, n_dataframes, n_rows
        self.cpu_s, self.wall_s, self.settings = cpu_s, wall_s, dict(settings or {})
        self.saved, self.interrupted = saved, interrupted

    @property
    def ok(self) -> bool:
        """Whether all was analysed."""
        return not self.failed and not self.interrupted

    def __getitem__(self, key: Any) -> Any:
        """Return the outputs of a task (by name, class or instance), or one output by ``task/output``."""
        name = key if isinstance(key, str) else _name_of(key)
        if name in self.tasks:
            return self.tasks[name]
        task, slash, output = name.partition("/")
        if slash and task in self.tasks:
            return self.tasks[task][output]
        raise UnknownColumnError(f"result: no task {task!r}; {close_to(task, self.tasks)}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "tasks":
            raise AttributeError(name)
        holders = [task for task in self.tasks.values() if name in dir(task) and not hasattr(TaskResult, name)]
        if len(holders) == 1:
            return getattr(holders[0], name)
        if holders:
            names = ", ".join(task.name for task in holders)
            raise UnknownNameError(f"result: {name!r} is an output of {names}; say result[task].{name}")
        known = [output for task in self.tasks.values() for output in task]
        raise UnknownNameError(f"result: no output {name!r}; {close_to(name, known)}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for task in self.tasks.values() for name in task)})

    def save(self, path: "str | os.PathLike[str]" = "AnalysisResults.root") -> None:
        """Write all outputs into a ROOT file, a folder per task."""
        from o2dask.analysis.results_file import write_results

        write_results(path, {name: dict(task) for name, task in self.tasks.items()})

    def summary(self) -> str:
        """Return what was done, how fast, and what was left out."""
        rate = f", {_rate(self.n_rows / self.cpu_s)} rows/s per core" if self.cpu_s > 0.5 else ""
        lines = [f"{self.n_dataframes} dataframes, {self.n_rows:,} rows in {self.wall_s:.1f} s{rate}"]
        if self.saved:
            lines.append(f"tables saved to {self.saved}")
        if self.interrupted:
            lines.append("stopped before all was read")
        if self.failed:
            lines.append(f"{len(self.failed)} left out:")
            kinds = _kinds(self.failed)
            lines += [f"  {each[0]}{_and_more(each)}" for each in kinds[:SHOWN]]
            if (n_more := sum(map(len, kinds[SHOWN:]))) > 0:
                lines.append(f"  and {n_more} more, in result.failed")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return "\n".join([self.summary(), *map(repr, self.tasks.values())])

    def _repr_html_(self) -> str:
        first, *rest = self.summary().split("\n")
        colour = "#b00020" if self.failed else "inherit"
        told = "".join(f"<div style='color:{colour}'>{escape(line)}</div>" for line in rest)
        return f"<div>{escape(first)}</div>{told}{''.join(task._repr_html_() for task in self.tasks.values())}"


def _kinds(failed: list[Failure]) -> list[list[Failure]]:
    """Return failures of one kind together, whole files first: the same words but for the names of dataframes."""
    kinds: dict[tuple[str, str], list[Failure]] = {}
    for failure in sorted(failed, key=lambda f: (bool(f.dataframe), bool(f.task))):
        words = re.sub(r"DF_\d+", "", failure.reason) if failure.dataframe else failure.url
        kinds.setdefault((failure.task, re.sub(r"\d+", "#", words) if failure.dataframe else words), []).append(failure)
    return list(kinds.values())


def _and_more(kind: list[Failure]) -> str:
    n = len(kind) - 1
    return f"; and {n} dataframe{'s' if n > 1 else ''} more like it" if n else ""


def _name_of(key: Any) -> str:
    if isinstance(key, type):
        from o2dask.analysis.task import _kebab

        return _kebab(key.__name__)
    return str(getattr(key, "name", key))


def _rate(rows_per_s: float) -> str:
    return f"{rows_per_s / 1e6:.1f} M" if rows_per_s >= 1e6 else f"{rows_per_s / 1e3:.0f} k"


def _line(value: Any) -> str:
    if is_hist(value):
        axes = " x ".join(axis.label or axis.name or f"{len(axis)} bins" for axis in value.axes)
        total = value.sum(flow=True)
        return f"histogram of {axes}, {getattr(total, 'value', getattr(total, 'count', total)):.6g} entries"
    text = repr(value)
    return text if len(text) <= 60 else f"{type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else text


def _picture(value: Any) -> str:
    if is_hist(value) and hasattr(value, "_repr_html_"):
        return value._repr_html_() or ""
    return f"<pre>{escape(repr(value)[:2000])}</pre>"
