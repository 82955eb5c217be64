"""Options of processors and workflows: declared with type, range and help, given as text, numbers or JSON.

Knows names and values only; no processor, no graph. O2's words: ConfigParamSpec, ConfigContext, customize.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeVar

from o2dask.errors import ConfigError, SpecError

__all__ = ["ConfigContext", "ConfigParamSpec", "Option", "Value", "customize", "parse_option_text", "settle"]

Value = bool | int | float | str
F = TypeVar("F", bound=Callable[..., Any])

_NAME = re.compile(r"^[a-z][a-z0-9_-]*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigParamSpec:
    """One option: its name, type (that of the default), default, help, and which values are allowed.

    `choices` lists them if they are few; numbers may have a `minimum` and a `maximum`, both allowed themselves.
    """

    name: str
    default: Value
    help: str = ""
    choices: tuple[Value, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise SpecError(f"option name: want lower case, digits, - and _, got {self.name!r}")
        if type(self.default) not in (bool, int, float, str):
            raise SpecError(f"option {self.name!r}: want a default of bool, int, float or str, got {self.default!r}")
        if self.has_range and type(self.default) not in (int, float):
            raise SpecError(f"option {self.name!r}: a range is for int and float, the default is {self.default!r}")
        if (self.choices and self.default not in self.choices) or not self._is_in_range(self.default):
            wanted = self.allowed.removeprefix("one of ")
            raise SpecError(f"option {self.name!r}: want a default of {wanted}, got {self.default!r}")

    @property
    def has_range(self) -> bool:
        """Whether there is a lowest or highest value."""
        return self.minimum is not None or self.maximum is not None

    def convert(self, value: Any) -> Value:
        """Return `value` (text or a number) as the option's type, or raise SpecError naming the option."""
        made = self._converted(value)
        if (self.choices and made not in self.choices) or not self._is_in_range(made):
            raise SpecError(f"option {self.name!r}: want {self.allowed}, got {value!r}")
        return made

    def _converted(self, value: Any) -> Value:
        kind = type(self.default)
        wrong = SpecError(f"option {self.name!r}: want {kind.__name__}, got {value!r}")
        if kind is bool and isinstance(value, str):
            if value.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
                raise SpecError(f"option {self.name!r}: want true or false, got {value!r}")
            return value.lower() in ("1", "true", "yes", "on")
        if kind is not str and not isinstance(value, str) and isinstance(value, bool) != (kind is bool):
            raise wrong
        if value is None or (kind is int and isinstance(value, float) and not value.is_integer()):
            raise wrong
        try:
            return kind(value)
        except (TypeError, ValueError):
            raise wrong from None

    def _is_in_range(self, value: Value) -> bool:
        if not self.has_range or isinstance(value, str):
            return True
        low = float("-inf") if self.minimum is None else self.minimum
        return low <= value <= (float("inf") if self.maximum is None else self.maximum)  # NaN is in no range

    @property
    def allowed(self) -> str:
        """Which values are allowed, as people read it: ``0 to 10``; "" if all are."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{self.minimum:g} or more"
        return "" if self.maximum is None else f"{self.maximum:g} or less"

    def __str__(self) -> str:
        return f"{self.name}={self.default}"


@dataclass(frozen=True, slots=True)
class Option:
    """An option declared in the body of a `Task`: ``threshold = Option(3.0, "ADC counts above noise", minimum=0)``.

    In ``init`` and ``run`` ``self.threshold`` is the value that the user chose, as is ``ctx.options["threshold"]``.
    """

    default: Value
    help: str = ""
    choices: tuple[Value, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def named(self, name: str) -> ConfigParamSpec:
        """Return the option under its name."""
        return ConfigParamSpec(
            name=name,
            default=self.default,
            help=self.help,
            choices=self.choices,
            minimum=self.minimum,
            maximum=self.maximum,
        )


@dataclass(frozen=True, slots=True)
class ConfigContext:
    """What a workflow function gets that takes one: ``cfg.options["n-workers"]``, the options it declared, chosen."""

    options: Mapping[str, Value] = field(default_factory=dict)


def customize(*declared: ConfigParamSpec, **options: Option) -> Callable[[F], F]:
    """Declare the options of a workflow function, which is then called with a `ConfigContext`.

    ::

        @o2.customize(n_workers=o2.Option(4, "copies of the finder", minimum=1))
        def workflow(cfg):
            return [source(), *o2.parallel(finder(), cfg.options["n_workers"])]

    On the command line they are ``--n-workers 8``, beside those of the processors.
    """
    made = declared + tuple(option.named(name) for name, option in options.items())

    def declare(function: F) -> F:
        function.options = made  # type: ignore[attr-defined]
        return function

    return declare


def settle(owner: str, declared: Iterable[ConfigParamSpec], given: Mapping[str, Any]) -> dict[str, Value]:
    """Return every declared option with its value, the given ones converted; dashes and underscores are alike.

    Raises
    ------
    SpecError
        Unknown option, or a value that is not of its type or range; `owner` ("processor 'x'") is in the message.
    """
    options = {o.name: o for o in declared}
    by_key = {name.replace("_", "-"): name for name in options}  # Task options are identifiers, users write dashes
    chosen = {}
    for name, value in given.items():
        known = name if name in options else by_key.get(name.replace("_", "-"))
        if known is None:
            close = get_close_matches(name, list(options), n=1, cutoff=0.6)
            hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(options) or 'none'}"
            raise SpecError(f"{owner} has no option {name!r}{hint}")
        chosen[known] = value
    try:
        return {o.name: o.convert(chosen.get(o.name, o.default)) for o in options.values()}
    except SpecError as error:
        raise SpecError(f"{owner}: {error}") from None


def parse_option_text(text: str, what: str = "options") -> dict[str, str]:
    """Return options written as on a command line; one without a value is true.

    >>> parse_option_text("--threshold 4 --mode=fast --verbose")
    {'threshold': '4', 'mode': 'fast', 'verbose': 'true'}
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{what}: {text!r} cannot be read: {error}") from None
    found: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if not word.startswith("--") or len(word) < 3:
            raise ConfigError(f"{what}: want --name value, got {word!r} in {text!r}")
        name, equals, value = word[2:].partition("=")
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else "true"
        found[name] = value
    return found
