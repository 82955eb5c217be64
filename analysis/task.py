"""AnalysisTask: what a physicist writes. Settings, outputs and tables in the class body, physics in `process`.

Knows declarations; reads nothing and runs nothing (`execute`, `running`).
"""

import copy
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from o2dask.analysis.configuration import Configurable, ConfigurableGroup, ProcessSwitch, find_option
from o2dask.analysis.declarations import IndexTable, SpawnedTable, TableSpec
from o2dask.analysis.expressions import Expression
from o2dask.analysis.histograms import HistogramRegistry
from o2dask.analysis.outputs import Output, is_hist
from o2dask.analysis.producing import Builds, Produces, Spawns, TableCursor
from o2dask.analysis.slicing import Preslice
from o2dask.errors import ConfigError, SpecError
from o2dask.options import flattened

__all__ = ["AnalysisTask", "Argument", "Filter", "Partition", "Process", "Service"]

K = TypeVar("K")


class Filter:
    """A condition on rows, for arguments declared ``Filtered[...]``: ``Filter(abs(col.eta) < eta_max)``.

    It applies to every such argument that has all its columns; several are joined with "and". Row groups in which no
    row can pass, by the least and greatest values that Parquet keeps of stored columns, are not read.
    """

    def __init__(self, expression: Expression) -> None:
        if not isinstance(expression, Expression) or not expression.columns:
            raise SpecError(f"Filter: want a condition on getters, such as abs(o2.col.eta) < 0.8; got {expression!r}")
        self.expression = expression

    def __repr__(self) -> str:
        return f"Filter({self.expression!r})"


class Partition:
    """Rows of a table under a name: ``positive = Partition(Tracks, col.sign > 0)``, then ``self.positive.pt()``.

    While a process function runs it is the rows of the dataframe that pass; where the function is called per row
    (``collision: o2.Collision``), those of them that belong to the row. Of ``Filtered[Tracks]``: only those that pass
    the filters of the task as well.
    """

    def __init__(self, spec: TableSpec, expression: Expression) -> None:
        if not isinstance(spec, TableSpec) or spec.is_row:
            raise SpecError(f"Partition: want a table such as o2.Tracks, got {spec!r}")
        if not isinstance(expression, Expression) or not expression.columns:
            raise SpecError(f"Partition: want a condition on getters, such as o2.col.sign > 0; got {expression!r}")
        self.spec, self.expression, self.name = spec, expression, "partition"

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object | None, owner: type) -> Any:
        """Return the rows of the dataframe, or of the row, that the task is being called with."""
        if instance is None:
            return self
        if self.name not in instance.__dict__:
            raise SpecError(f"partition {self.name!r} of {instance!r}: has rows while a process function runs only")
        return instance.__dict__[self.name]

    def __set__(self, instance: object, value: Any) -> None:
        instance.__dict__[self.name] = value

    def __repr__(self) -> str:
        return f"Partition({self.spec}, {self.expression!r})"


class Service:
    """Something that the run gives to its tasks: ``ccdb = Service("conditions")``, then ``self.ccdb.get(path, time)``.

    ``aod.run(task, conditions=store)`` gives it: any object with ``get(path, timestamp)`` that can be pickled.
    """

    def __init__(self, kind: str) -> None:
        if kind != "conditions":
            raise SpecError(f"Service({kind!r}): there is one service, 'conditions'")
        self.kind = kind

    def get(self, path: str, timestamp: int, **options: Any) -> Any:
        """Return the object valid at a time [ms since 1970]; a task that runs has the run's store in this place."""
        raise ConfigError(f"conditions: {path} was asked for, but the run has none; give run(..., conditions=store)")


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a process function: its name and its table."""

    name: str
    spec: TableSpec


@dataclass(frozen=True, slots=True)
class Process:
    """A process function: its name and arguments."""

    name: str
    arguments: tuple[Argument, ...]


class AnalysisTask:
    """Base of analysis tasks.

    In the class body: `Configurable`, `ConfigurableGroup`, histograms (templates: every task has its own) and
    `HistogramRegistry`, `Output`, `Filter`, `Partition`, `Preslice`, `Produces`, `Spawns`, `Builds`, `Service`.
    ``process`` is called per dataframe with the tables that it declares by annotation; if the first is a row
    (``collision: o2.Collision``) it is called per row, with the rows of the others that belong to it. Functions
    ``process_...`` under `ProcessSwitch` can be switched on and off.

    Parameters
    ----------
    name : str, optional
        Name of the task, and of its folder in AnalysisResults.root; default: the class's, ``SpectraTask`` is
        ``spectra-task``.
    **settings
        Values of configurables, and of switches.

    Raises
    ------
    ConfigError
        If there is no such setting, or the value is of another type.
    SpecError
        If the class is not declared well, saying where.
    """

    _members: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **extra: Any) -> None:
        super().__init_subclass__(**extra)
        bases = [base for base in reversed(cls.__mro__) if base is not AnalysisTask and base is not object]
        names = dict.fromkeys(name for base in bases for name in vars(base) if not name.startswith("_"))
        members = {name: inspect.getattr_static(cls, name) for name in names}
        cls._members = {name: member for name, member in members.items() if _is_declaration(name, member)}

    def __init__(self, *, name: str = "", **settings: Any) -> None:
        self.name = name or _kebab(type(self).__name__)
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", self.name):
            raise SpecError(f"task name: want letters, digits, - and _, got {self.name!r}")
        self.switches = {key: switch.default for key, switch in self.declared(ProcessSwitch).items()}
        for key, template in self._members.items():
            if is_hist(template):
                vars(self)[key] = _empty(template)
            elif isinstance(template, ConfigurableGroup):
                vars(self)[key] = template.of_task()
            elif isinstance(template, dict) and template and all(map(is_hist, template.values())):
                vars(self)[key] = {inner: _empty(each) for inner, each in template.items()}
            elif isinstance(template, Output):
                vars(self)[key] = copy.deepcopy(template.initial)
            elif isinstance(template, Produces):
                vars(self)[key] = TableCursor(template.spec, f"{self.name}.{key}")
        self.configure(settings)
        self.processes  # noqa: B018 - what is wrong with it is told here

    @classmethod
    def declared(cls, kind: type[K]) -> dict[str, K]:
        """Return what the class body declares of a kind, by name."""
        return {name: member for name, member in cls._members.items() if isinstance(member, kind)}

    @property
    def settings(self) -> dict[str, Any]:
        """The values of all configurables, those of groups as ``group.name``, and of the switches."""
        plain = {name: each.value_of(self) for name, each in self.declared(Configurable).items()}
        return plain | {name: each.value_of(group) for name, (group, each) in self._grouped.items()} | self.switches

    @property
    def helps(self) -> dict[str, str]:
        """What the settings are, by name."""
        found = {name: each.help for name, each in self.declared(Configurable).items()}
        found |= {name: each.help for name, each in self.declared(ProcessSwitch).items()}
        return found | {name: each.help for name, (_, each) in self._grouped.items()}

    @property
    def _grouped(self) -> dict[str, tuple[ConfigurableGroup, Configurable[Any]]]:
        groups = {name: vars(self)[name] for name in self.declared(ConfigurableGroup)}
        return {f"{g}.{name}": (group, each) for g, group in groups.items() for name, each in group.members().items()}

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Set configurables and switches, from values or texts, by names in any spelling (etaMax, eta_max).

        Those of a group are ``{"cuts": {"eta_max": 0.5}}`` or ``{"cuts.eta_max": 0.5}``. Histograms of a registry are
        made anew, empty.
        """
        grouped = self._grouped
        known: dict[str, Any] = {**self.declared(Configurable), **self.declared(ProcessSwitch), **grouped}
        for given, value in flattened(settings, known):
            option = find_option(given, known, f"task {self.name!r}")
            try:
                if option in self.switches:
                    self.switches[option] = known[option].convert(value)
                elif option in grouped:
                    group, setting = grouped[option]
                    setattr(group, setting.name, value)
                else:
                    setattr(self, option, value)
            except SpecError as error:
                raise SpecError(f"task {self.name!r}: {error}") from None
        for name, registry in self.declared(HistogramRegistry).items():
            vars(self)[name] = registry.of_task(self)

    @cached_property
    def processes(self) -> tuple[Process, ...]:
        """The process functions, in the order of the class body, whether on or off."""
        found = []
        for name, member in self._members.items():
            if isinstance(member, ProcessSwitch) and member.function is not None:
                found.append(_process(self.name, name, member.function))
            elif name == "process" and inspect.isfunction(member):
                found.append(_process(self.name, name, member))
            elif inspect.isfunction(member):
                raise SpecError(
                    f"task {self.name!r}: {name}: put @o2.ProcessSwitch('what it does', default) above it, "
                    "or give it a name that does not begin with process"
                )
        return tuple(found)

    @property
    def active(self) -> tuple[Process, ...]:
        """The process functions that are switched on."""
        return tuple(process for process in self.processes if self.switches.get(process.name, True))

    @property
    def inputs(self) -> tuple[TableSpec, ...]:
        """The tables that it reads, one by one."""
        parts = [part for process in self.active for argument in process.arguments for part in argument.spec.parts]
        parts += [part for partition in self.declared(Partition).values() for part in partition.spec.parts]
        for maker in self.makers.values():
            if isinstance(maker.spec, SpawnedTable):
                parts += maker.spec.base.parts
            if isinstance(maker.spec, IndexTable):
                parts += [part for spec in (maker.spec.key, *maker.spec.others) for part in spec.parts]
        return tuple({part.names[0]: part for part in parts}.values())

    @property
    def makers(self) -> "dict[str, Produces | Spawns | Builds]":
        """What makes tables, by name."""
        return {name: made for name, made in self._members.items() if isinstance(made, (Produces, Spawns, Builds))}

    def init(self) -> None:
        """Prepare; called once per worker process, before the first dataframe. Histograms made here are outputs."""

    def end(self) -> None:
        """Finish; called once, when all dataframes are done, with the outputs of all of them in place."""

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in self.settings.items())
        return f"<task {self.name}: {type(self).__name__}({settings})>"


def _process(task: str, name: str, function: Callable[..., Any]) -> Process:
    where = f"task {task!r}: {name}"
    try:
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    except NameError as error:
        raise SpecError(f"{where}: annotations cannot be read: {error}") from None
    arguments: list[Argument] = []
    for parameter in parameters:
        spec = parameter.annotation
        if not isinstance(spec, TableSpec):
            got = "no annotation" if spec is parameter.empty else repr(spec)
            raise SpecError(f"{where}: argument {parameter.name!r}: want a table such as tracks: o2.Tracks, got {got}")
        if spec.is_row and arguments:
            raise SpecError(f"{where}: argument {parameter.name!r}: only the first may be one row at a time ({spec})")
        arguments.append(Argument(parameter.name, spec))
    if not arguments:
        raise SpecError(f"{where}: want at least one table as argument, such as tracks: o2.Tracks")
    return Process(name, tuple(arguments))


_DECLARATIONS = (
    *(Configurable, ConfigurableGroup, Filter, HistogramRegistry, Output, Partition, Preslice, ProcessSwitch),
    *(Produces, Spawns, Builds, Service),
)


def _is_declaration(name: str, member: Any) -> bool:
    if isinstance(member, _DECLARATIONS):
        return True
    is_table = isinstance(member, dict) and bool(member) and all(map(is_hist, member.values()))
    return is_hist(member) or is_table or (name.startswith("process") and inspect.isfunction(member))


def _empty(template: Any) -> Any:
    made = template.copy()
    made.reset()
    return made


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).replace("_", "-").strip("-").lower()
