"""What a user sets of a task: `Configurable`s, groups of them and `ProcessSwitch`es in its body, and files of values.

Knows values and names; no table and no run. Values come from Python, from JSON (plain, or the layout of O2's
``dpl-config.json``, where all are texts) and from the command line.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from o2dask.analysis import naming
from o2dask.analysis.errors import close_to
from o2dask.analysis.expressions import Expression, Interval, Values, _at
from o2dask.errors import ConfigError, SpecError
from o2dask.specs import ConfigParamSpec

__all__ = ["Configurable", "ConfigurableAxis", "ConfigurableGroup", "ProcessSwitch", "find_option", "read_config"]

T = TypeVar("T")


class Configurable(Expression, Generic[T]):
    """A setting of a task: ``eta_max = Configurable(0.8, "maximum |eta|")``; ``self.eta_max`` is its value.

    Parameters
    ----------
    default : bool, int, float, str, a list of one of these, rows of them, or a `LabeledArray`
        Its type is that of the setting; lists come back as tuples.
    help : str
        What it is, with its unit.
    choices : tuple
        The values allowed, if few.
    minimum, maximum : float, optional
        The least and the greatest number allowed.
    """

    def __init__(
        self,
        default: T,
        help: str,
        choices: tuple[Any, ...] = (),
        *,
        minimum: float | None = None,
        maximum: float | None = None,
    ) -> None:
        if not isinstance(help, str):
            raise SpecError(f"Configurable({default!r}, {help!r}): want a text that says what it is")
        self.help, self.name = help, "configurable"
        self._checked = {"choices": choices, "minimum": minimum, "maximum": maximum}
        self.default: Any = self._spec(default).default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "Configurable[T]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        """Return the value of a task, or the declaration of its class."""
        if instance is None:
            return self
        if isinstance(instance, ConfigurableGroup) and not instance._is_of_task:
            return OfGroup(instance, self)
        return self.value_of(instance)

    def __set__(self, instance: object, value: Any) -> None:
        instance.__dict__[self.name] = self.convert(value)

    def value_of(self, instance: object) -> Any:
        """Return the value, as settings and JSON have it."""
        return instance.__dict__.get(self.name, self.default)

    def convert(self, value: Any) -> Any:
        """Return a value, or its text, as the type of the setting; SpecError if it is none."""
        return self._spec(self.default).convert(value)

    def _spec(self, default: Any) -> ConfigParamSpec:
        name = self.name if self.name[:1].islower() else self.name.lower().lstrip("_") or "configurable"
        return ConfigParamSpec(name=name, default=default, help=self.help, **self._checked)  # type: ignore[arg-type]

    # In an expression it stands for its value.

    def evaluate(self, values: Values, settings: Mapping[str, Any]) -> Any:
        """Return the value."""
        return _setting(self.name, settings)

    def bounds(self, intervals: Callable[[str], Interval], settings: Mapping[str, Any]) -> Interval:
        """Return the value twice."""
        return _at(_setting(self.name, settings))

    def __repr__(self) -> str:
        return f"{self.name}={self.default!r}"


class ConfigurableAxis(Configurable[Sequence[float]]):
    """An axis of histograms that users may set: ``pt_axis = ConfigurableAxis([100, 0, 10], "pT [GeV/c]")``.

    ``self.pt_axis`` is the axis (of hist), with the help as its label. As in O2 the values are the number of bins, the
    lowest and the highest edge; or 0 (O2's VARIABLE_WIDTH) and all edges.
    """

    def __init__(self, default: Sequence[float], help: str) -> None:
        super().__init__([float(value) for value in default], help)
        self.convert(self.default)

    def __get__(self, instance: object | None, owner: type) -> Any:
        """Return the axis of a task, or the declaration of its class."""
        if instance is None or (isinstance(instance, ConfigurableGroup) and not instance._is_of_task):
            return super().__get__(instance, owner)
        import hist

        kind, *values = self.value_of(instance)
        if kind == 0:
            return hist.axis.Variable(values, name=self.name, label=self.help)
        return hist.axis.Regular(int(kind), *values, name=self.name, label=self.help)

    def convert(self, value: Any) -> Any:
        """Return the values, or their text, as floats; SpecError if they make no axis."""
        kind, *values = found = super().convert(value)
        is_growing = len(values) > 1 and all(low < high for low, high in pairwise(values))
        if is_growing and (kind == 0 or (len(values) == 2 and kind == int(kind) > 0)):
            return found
        raise SpecError(
            f"option {self.name!r}: want bins, lowest and highest edge, or 0 and growing edges, got {value!r}"
        )


class ConfigurableGroup:
    """Settings that belong together, declared once for several tasks; O2's ConfigurableGroup.

    ::

        class Cuts(o2.ConfigurableGroup):
            eta_max = o2.Configurable(0.8, "maximum |eta|")

        class Spectra(o2.AnalysisTask):
            cuts = Cuts()                                  # self.cuts.eta_max; -o spectra.cuts.eta_max=0.5
            central = o2.Filter(abs(o2.col.eta) < cuts.eta_max)
    """

    _is_of_task = False
    _name = ""

    def __init__(self, **defaults: Any) -> None:
        for name, value in defaults.items():
            if name not in self.members():
                raise SpecError(f"{type(self).__name__} has no setting {name!r}; {close_to(name, self.members())}")
            setattr(self, name, value)

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def of_task(self) -> "ConfigurableGroup":
        """Return a group of its own for a task, with the values that this one has."""
        made = type(self)()
        made.__dict__ |= self.__dict__ | {"_is_of_task": True}
        return made

    @classmethod
    def members(cls) -> dict[str, Configurable[Any]]:
        """Return its settings by name."""
        body = {name: each for base in reversed(cls.__mro__) for name, each in vars(base).items()}
        return {name: each for name, each in body.items() if isinstance(each, Configurable)}


class OfGroup(Expression):
    """A setting of a group, in an expression."""

    def __init__(self, group: ConfigurableGroup, setting: Configurable[Any]) -> None:
        self._group, self._setting = group, setting

    def evaluate(self, values: Values, settings: Mapping[str, Any]) -> Any:
        """Return the value."""
        return _setting(f"{self._group._name}.{self._setting.name}", settings)

    def bounds(self, intervals: Callable[[str], Interval], settings: Mapping[str, Any]) -> Interval:
        """Return the value twice."""
        return _at(self.evaluate(intervals, settings))

    def of(self, task: object) -> Any:
        """Return the setting's value in a task."""
        return getattr(getattr(task, self._group._name), self._setting.name)

    def __repr__(self) -> str:
        return f"{self._group._name}.{self._setting!r}"


def _setting(name: str, settings: Mapping[str, Any]) -> Any:
    if name not in settings:
        raise SpecError(f"configurable {name!r}: is not one of the task, which has {', '.join(settings) or 'none'}")
    return settings[name]


class ProcessSwitch:
    """A process function that can be switched on and off; O2's PROCESS_SWITCH.

    Above a method, ``@ProcessSwitch("what it does", default=False)``; the setting has the method's name.
    """

    def __init__(self, help: str, default: bool = True) -> None:
        self.help, self.default = help, default
        self.name, self.function = "process", None  # type: str, Callable[..., None] | None

    def __call__(self, function: Callable[..., None]) -> "ProcessSwitch":
        """Take the function."""
        self.function, self.__doc__ = function, function.__doc__
        return self

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        if self.function is None:
            raise SpecError(f"ProcessSwitch {name!r} of {owner.__name__}: write it above the process function, as @...")

    def __get__(self, instance: object | None, owner: type) -> Any:
        """Return the function, bound to a task."""
        if instance is None or self.function is None:
            return self
        return self.function.__get__(instance, owner)

    def convert(self, value: Any) -> bool:
        """Return a value, or its text, as True or False."""
        spec = ConfigParamSpec(name=self.name.lower(), default=self.default, help=self.help)
        return bool(spec.convert(value))


def find_option(name: str, known: Mapping[str, Any], where: str) -> str:
    """Return which of the known options is meant by a name in any spelling: etaMax, eta-max and eta_max are one.

    Raises
    ------
    ConfigError
        If none is, with those that come close.
    """
    if name in known:
        return name
    by_folded = {naming.fold(option): option for option in known}
    found = by_folded.get(naming.fold(name.replace("-", "_")))
    if found is None:
        raise ConfigError(f"{where} has no option {name!r}; {close_to(name, known)}")
    return found


def read_config(path: "str | os.PathLike[str]") -> dict[str, dict[str, Any]]:
    """Return the settings in a JSON file: task to option to value.

    Accepted: ``{"spectra": {"eta_max": 0.5}}``; O2's ``dpl-config.json``, which is the same with texts for values and
    holds many other tasks; and ``{"eta_max": 0.5}``, which is for every task that has the option (task ``""`` here).
    The path may begin with ``json://``, as O2's does.

    Raises
    ------
    ConfigError
        If the file cannot be read or is none of these.
    """
    where = os.fspath(path).removeprefix("json://")
    try:
        content = json.loads(Path(where).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"configuration {where}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"configuration {where}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"configuration {where}: want an object of tasks, got {type(content).__name__}")
    found: dict[str, dict[str, Any]] = {}
    for key, value in content.items():
        if isinstance(value, dict) and "values" not in value:
            found[key] = dict(value)
        else:
            found.setdefault("", {})[key] = value
    return found
