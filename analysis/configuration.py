"""What a user sets of a task: `Configurable` and `ProcessSwitch` in its body, files and texts that give them values.

Knows values and names; no table and no run. Values come from Python, from JSON (plain, or the layout of O2's
``dpl-config.json``, where all are texts) and from the command line.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from o2dask.analysis import naming
from o2dask.analysis.errors import close_to
from o2dask.analysis.expressions import Expression, Interval, Values, _at
from o2dask.errors import ConfigError, SpecError
from o2dask.specs import ConfigParamSpec

__all__ = ["Configurable", "ProcessSwitch", "find_option", "read_config"]

T = TypeVar("T")


class Configurable(Expression, Generic[T]):
    """A setting of a task: ``eta_max = Configurable(0.8, "maximum |eta|")``; ``self.eta_max`` is its value.

    Parameters
    ----------
    default : bool, int, float, str, or list of one of these
        Its type is that of the setting.
    help : str
        What it is, with its unit.
    choices : tuple of str
        The values allowed, if few.
    """

    def __init__(self, default: T, help: str, choices: tuple[str, ...] = ()) -> None:
        self.default, self.help, self.choices, self.name = default, help, choices, "configurable"
        if not isinstance(help, str):
            raise SpecError(f"Configurable({default!r}, {help!r}): want a text that says what it is")
        self._check = self._checker()

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self._check = self._checker()

    @overload
    def __get__(self, instance: None, owner: type) -> "Configurable[T]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        """Return the value of a task, or the declaration of its class."""
        return self if instance is None else instance.__dict__.get(self.name, self.default)

    def __set__(self, instance: object, value: Any) -> None:
        instance.__dict__[self.name] = self.convert(value)

    def convert(self, value: Any) -> Any:
        """Return a value, or its text, as the type of the setting; SpecError if it is none."""
        if not isinstance(self.default, list):
            return self._check.convert(value)
        if isinstance(value, Mapping) and "values" in value:  # O2's arrays
            value = value["values"]
        if isinstance(value, str):
            value = [part.strip() for part in value.strip("[] ").split(",") if part.strip()]
        if not isinstance(value, (list, tuple)):
            raise SpecError(f"option {self.name!r}: want a list, got {value!r}")
        return [self._check.convert(each) for each in value]

    def _checker(self) -> ConfigParamSpec:
        one = self.default
        if isinstance(one, list):
            if not one:
                raise SpecError(f"Configurable {self.name!r}: an empty list does not say what it is a list of")
            one = one[0]
        name = self.name.lower().replace(".", "_")
        return ConfigParamSpec(name=name, default=one, help=self.help, choices=self.choices)  # type: ignore[arg-type]

    # In an expression it stands for its value.

    def evaluate(self, values: Values, settings: Mapping[str, Any]) -> Any:
        """Return the value."""
        return settings[self.name]

    def bounds(self, intervals: Callable[[str], Interval], settings: Mapping[str, Any]) -> Interval:
        """Return the value twice."""
        return _at(settings[self.name])

    def __repr__(self) -> str:
        return f"{self.name}={self.default!r}"


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

    Raises
    ------
    ConfigError
        If the file cannot be read or is none of these.
    """
    where = os.fspath(path)
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
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
