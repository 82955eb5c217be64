"""Options of processors and workflows: declared with type, range and help, given as text, numbers or JSON.

Knows names and values only; no processor, no graph. O2's words: ConfigParamSpec, ConfigContext, customize.
"""

import re
import shlex
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeVar

from o2dask.errors import ConfigError, SpecError
from o2dask.option_values import LabeledArray, Scalar, Value, as_value, convert_value, json_of, scalars_of, text_of

__all__ = [
    "ConfigContext",
    "ConfigParamSpec",
    "LabeledArray",
    "Option",
    "OptionGroup",
    "Value",
    "bind_options",
    "customize",
    "flattened",
    "nested",
    "options_in",
    "parse_option_text",
    "settle",
]

F = TypeVar("F", bound=Callable[..., Any])

_NAME = re.compile(r"^[a-z][A-Za-z0-9_-]*(\.[a-z][A-Za-z0-9_-]*)*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigParamSpec:
    """One option: its name, type (that of the default), default, help, and which values are allowed.

    The default is bool, int, float, str, a list of these, a list of rows, or a `LabeledArray`. Options of a group have
    its name before their own: ``cuts.pt``. `choices` lists the values allowed if they are few; numbers may have a
    `minimum` and a `maximum`, both allowed themselves; in an array all this is for each element.
    """

    name: str
    default: Value
    help: str = ""
    choices: tuple[Scalar, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise SpecError(f"option name: want a lower-case letter, then letters, digits, - and _, got {self.name!r}")
        try:
            object.__setattr__(self, "default", as_value(self.default))
        except SpecError as error:
            raise SpecError(f"option {self.name!r}: default: {error}") from None
        if self.has_range and type(scalars_of(self.default)[0]) not in (int, float):
            raise SpecError(f"option {self.name!r}: a range is for int and float, the default is {self.default!r}")
        if not self._is_allowed(self.default):
            wanted = self.allowed.removeprefix("one of ")
            raise SpecError(f"option {self.name!r}: want a default of {wanted}, got {self.default!r}")

    @property
    def has_range(self) -> bool:
        """Whether there is a lowest or highest value."""
        return self.minimum is not None or self.maximum is not None

    @property
    def kind(self) -> str:
        """What it holds, as people read it: ``int``, ``array of float``, ``rows of float``."""
        scalar = type(scalars_of(self.default)[0]).__name__
        if isinstance(self.default, LabeledArray):
            return f"labelled rows of {scalar}"
        if isinstance(self.default, tuple):
            return f"{'rows' if isinstance(self.default[0], tuple) else 'array'} of {scalar}"
        return scalar

    def convert(self, value: Any) -> Value:
        """Return `value` (text, numbers, JSON) as the option's type, or raise SpecError naming the option."""
        try:
            made = convert_value(self.default, value)
        except SpecError as error:
            raise SpecError(f"option {self.name!r}: {error}") from None
        if not self._is_allowed(made):
            raise SpecError(f"option {self.name!r}: want {self.allowed}, got {value!r}")
        return made

    def _is_allowed(self, value: Value) -> bool:
        """Return whether the value, or each of an array, is one of the choices and within the range."""
        return all((not self.choices or x in self.choices) and self._is_in_range(x) for x in scalars_of(value))

    def _is_in_range(self, value: Scalar) -> bool:
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
        return f"{self.name}={text_of(self.default)}"


@dataclass(frozen=True, slots=True)
class Option:
    """An option declared in the body of a `Task`: ``threshold = Option(3.0, "ADC counts above noise", minimum=0)``.

    In ``init`` and ``run`` ``self.threshold`` is the value that the user chose, as is ``ctx.options["threshold"]``.
    """

    default: Any
    help: str = ""
    choices: tuple[Scalar, ...] = ()
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


class OptionGroup:
    """Options that belong together, declared once for several tasks; O2's ConfigurableGroup.

    ::

        class Cuts(o2.OptionGroup):
            pt = o2.Option(0.2, "GeV/c", minimum=0)

        class Tracker(o2.Task):
            cuts = Cuts()           # self.cuts.pt; --tracker "--cuts.pt 0.3"; {"tracker": {"cuts": {"pt": 0.3}}}
    """


def options_in(owner: type) -> dict[str, Option]:
    """Return the options declared in the body of a class, of its bases and of groups in it: name to option."""
    found: dict[str, Option] = {}
    for name, value in _declared(owner):
        if isinstance(value, OptionGroup):
            found |= {f"{name}.{inner}": option for inner, option in options_in(type(value)).items()}
        else:
            found[name] = value
    return found


def bind_options(task: object, chosen: Mapping[str, Value]) -> None:
    """Give the instance of a task the values of the options in its body, those of groups in a group of its own."""
    for name, option in _declared(type(task)):
        if isinstance(option, OptionGroup):
            group = object.__new__(type(option))
            inside = {k.removeprefix(f"{name}."): v for k, v in chosen.items() if k.startswith(f"{name}.")}
            bind_options(group, inside)
            setattr(task, name, group)
        elif name in chosen:
            setattr(task, name, chosen[name])


@dataclass(frozen=True, slots=True)
class ConfigContext:
    """What a workflow function gets that takes one: ``cfg.options["n-workers"]``, the options it declared, chosen."""

    options: Mapping[str, Value] = field(default_factory=dict)


def _declared(owner: type) -> list[tuple[str, "Option | OptionGroup"]]:
    body = {k: v for base in reversed(owner.__mro__) for k, v in vars(base).items()}
    return [(k, v) for k, v in body.items() if isinstance(v, (Option, OptionGroup))]


def customize(*declared: ConfigParamSpec, **options: "Option | OptionGroup") -> Callable[[F], F]:
    """Declare the options of a workflow function, which is then called with a `ConfigContext`.

    ::

        @o2.customize(n_workers=o2.Option(4, "copies of the finder", minimum=1))
        def workflow(cfg):
            return [source(), *o2.parallel(finder(), cfg.options["n_workers"])]

    On the command line they are ``--n-workers 8``, beside those of the processors.
    """
    found = options_in(type("Options", (), options))
    made = declared + tuple(option.named(name) for name, option in found.items())

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
    for name, value in flattened(given, options):
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


def flattened(given: Mapping[str, Any], known: Container[str]) -> Iterator[tuple[str, Any]]:
    """Give the options in a nested mapping, as JSON has groups: those within have the name of the group before theirs.

    >>> list(flattened({"cuts": {"pt": 0.3}, "n": 2}, {"cuts.pt", "n"}))
    [('cuts.pt', 0.3), ('n', 2)]
    """
    for name, value in given.items():
        if isinstance(value, Mapping) and name not in known and "values" not in value:
            yield from ((f"{name}.{inner}", v) for inner, v in flattened(value, ()))
        else:
            yield name, value


def nested(chosen: Mapping[str, Value]) -> dict[str, Any]:
    """Return options as JSON has them, those of a group in an object of its own; `flattened` takes it back.

    >>> nested({"cuts.pt": 0.3, "n": 2})
    {'cuts': {'pt': 0.3}, 'n': 2}
    """
    made: dict[str, Any] = {}
    for name, value in chosen.items():
        *groups, last = name.split(".")
        inner = made
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = json_of(value)
    return made


def parse_option_text(text: str, what: str = "options") -> dict[str, str]:
    """Return options written as on a command line; one without a value is true.

    >>> parse_option_text("--threshold 4 --bins [0, 1, 2] --verbose")
    {'threshold': '4', 'bins': '[0,1,2]', 'verbose': 'true'}
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
            while words and value.count("[") > value.count("]"):  # an array with blanks in it
                value += words.pop(0)
        found[name] = value
    return found
