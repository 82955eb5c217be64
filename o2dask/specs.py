"""What a processor needs, makes and is called: frozen declarations, checked once, that do no work.

The words are O2's (Framework/Core/include/Framework/{InputSpec,OutputSpec,DataProcessorSpec,ConfigParamSpec}.h), the
short text form is DPL's query syntax. Knows no graph, no runner, no file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from o2dask.columns import Schema
from o2dask.errors import SpecError

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = [
    "AlgorithmSpec",
    "CompletionPolicy",
    "ConfigParamSpec",
    "DataProcessorSpec",
    "DataRef",
    "InputSpec",
    "Lifetime",
    "Option",
    "OutputSpec",
    "Task",
    "WorkflowSpec",
    "parse_inputs",
    "parse_outputs",
]

AlgorithmSpec = "Callable[[ProcessingContext], None] | type[Task]"
"""What a processor runs: a function of the context, or a `Task` class."""

_DATUM = re.compile(r"^(?P<origin>[A-Z0-9*?]{1,4})/(?P<description>[A-Za-z0-9_*?]{1,16})(/(?P<subspec>\d+|\*))?$")
_NAME = re.compile(r"^[a-z][a-z0-9_-]*$")


class Lifetime(StrEnum):
    """How often a datum comes (O2's Lifetime)."""

    TIMEFRAME = "timeframe"
    CONDITION = "condition"
    SPORADIC = "sporadic"
    TIMER = "timer"
    QA = "qa"
    OPTIONAL = "optional"
    TRANSIENT = "transient"


class CompletionPolicy(StrEnum):
    """When a processor runs on a timeframe: with all its inputs there, or with any of them."""

    ALL = "all"
    ANY = "any"


@dataclass(frozen=True, slots=True, order=True)
class DataRef:
    """The address of one datum of a timeframe: origin, description, subspecification; prints as TPC/CLUSTERS/0."""

    origin: str
    description: str
    subspec: int = 0

    def __post_init__(self) -> None:
        match = _DATUM.match(str(self))
        if not match or any(c in str(self) for c in "*?"):
            raise SpecError(f"data address: want ORIG/DESCRIPTION/0 without wildcards, got {str(self)!r}")

    @classmethod
    def parse(cls, text: str) -> "DataRef":
        """Return the address written as ``ORIGIN/DESCRIPTION[/SUBSPEC]``."""
        match = _DATUM.match(text)
        if not match or any(c in text for c in "*?"):
            raise SpecError(f"data address: want ORIG/DESCRIPTION/0 without wildcards, got {text!r}")
        return cls(match["origin"], match["description"], int(match["subspec"] or 0))

    def __str__(self) -> str:
        return f"{self.origin}/{self.description}/{self.subspec}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """What a processor needs once per timeframe; `origin`, `description` and `subspec` may hold ``*`` and ``?``.

    With a `schema`, the producer must make at least its columns, with their types: checked when the workflow is
    compiled if the producer declares a schema too, and on each timeframe if it does not.

    A ``lifetime=condition`` input comes from the store of conditions, not from a processor; `path` is where it is there
    (default: ``ORIGIN/DESCRIPTION``).
    """

    binding: str
    origin: str
    description: str
    subspec: int | str = 0
    lifetime: Lifetime = Lifetime.TIMEFRAME
    schema: Schema | None = None
    path: str = ""

    def __post_init__(self) -> None:
        if not self.binding.isidentifier():
            raise SpecError(f"input binding: want an identifier, got {self.binding!r}")
        if self.path and self.lifetime is not Lifetime.CONDITION:
            raise SpecError(f"input {self.binding!r}: path={self.path} is for lifetime=condition, got {self.lifetime}")
        if not _DATUM.match(f"{self.origin}/{self.description}/{self.subspec}"):
            raise SpecError(f"input {self.binding!r}: want ORIG/DESCRIPTION/0 (4 and 16 letters at most), got {self}")

    @property
    def is_wildcard(self) -> bool:
        """Whether more than one datum can match."""
        return any(c in f"{self.origin}/{self.description}/{self.subspec}" for c in "*?")

    def matches(self, ref: DataRef) -> bool:
        """Return whether the datum at `ref` is one that this input asks for."""
        return (
            fnmatchcase(ref.origin, self.origin)
            and fnmatchcase(ref.description, self.description)
            and (self.subspec == "*" or int(self.subspec) == ref.subspec)
        )

    def __str__(self) -> str:
        life = "" if self.lifetime is Lifetime.TIMEFRAME else f"?lifetime={self.lifetime}"
        path = f"&path={self.path}" if self.path else ""
        return f"{self.binding}:{self.origin}/{self.description}/{self.subspec}{life}{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """What a processor makes once per timeframe; with a `schema` what it makes is checked against it."""

    binding: str
    ref: DataRef
    lifetime: Lifetime = Lifetime.TIMEFRAME
    schema: Schema | None = None

    def __str__(self) -> str:
        life = "" if self.lifetime is Lifetime.TIMEFRAME else f"?lifetime={self.lifetime}"
        return f"{self.binding}:{self.ref}{life}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigParamSpec:
    """One option of a processor: its name, type (that of the default), default, help, and the values allowed if few."""

    name: str
    default: bool | int | float | str
    help: str
    choices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise SpecError(f"option name: want lower case, digits, - and _, got {self.name!r}")
        if type(self.default) not in (bool, int, float, str):
            raise SpecError(f"option {self.name!r}: want a default of bool, int, float or str, got {self.default!r}")
        if self.choices and self.default not in self.choices:
            raise SpecError(f"option {self.name!r}: want a default of {', '.join(self.choices)}, got {self.default!r}")

    def convert(self, value: Any) -> bool | int | float | str:
        """Return `value` (text or a number) as the option's type, or raise SpecError naming the option."""
        kind = type(self.default)
        if kind is bool and isinstance(value, str):
            if value.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
                raise SpecError(f"option {self.name!r}: want true or false, got {value!r}")
            return value.lower() in ("1", "true", "yes", "on")
        if kind is not str and not isinstance(value, str) and isinstance(value, bool) != (kind is bool):
            raise SpecError(f"option {self.name!r}: want {kind.__name__}, got {value!r}")
        if value is None or (kind is int and isinstance(value, float) and not value.is_integer()):
            raise SpecError(f"option {self.name!r}: want {kind.__name__}, got {value!r}")
        try:
            made = kind(value)
        except (TypeError, ValueError):
            raise SpecError(f"option {self.name!r}: want {kind.__name__}, got {value!r}") from None
        if self.choices and made not in self.choices:
            raise SpecError(f"option {self.name!r}: want one of {', '.join(self.choices)}, got {value!r}")
        return made

    def __str__(self) -> str:
        return f"{self.name}={self.default}"


@dataclass(frozen=True, slots=True)
class Option:
    """An option declared in the body of a `Task`: ``threshold = Option(3.0, "ADC counts above noise")``.

    In ``init`` and ``run`` ``self.threshold`` is the value that the user chose, as is ``ctx.options["threshold"]``.
    """

    default: bool | int | float | str
    help: str
    choices: tuple[str, ...] = ()


class Task:
    """Base of algorithms that keep state on a worker: ``init`` once, ``run`` per timeframe."""

    def init(self, ctx: "ProcessingContext") -> None:
        """Prepare; called once per worker before the first `run`."""

    def run(self, ctx: "ProcessingContext") -> None:
        """Process one timeframe."""
        raise SpecError(f"{type(self).__name__} does not define run(self, ctx)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataProcessorSpec:
    """A named algorithm with its inputs, outputs and options.

    Parameters
    ----------
    name : str
        Unique in a workflow: lower case, digits, ``-`` and ``_``.
    inputs : tuple of InputSpec, or str
        ``"clusters:TPC/CLUSTERNATIVE/0;labels:TPC/CLUSTERLABEL?lifetime=optional"``; ``""`` makes a source, which
        runs once per timeframe of the timeframe source.
    outputs : tuple of OutputSpec, or str
        ``"tracks:TPC/TRACKS/0"``; the binding may be left out and is then the description in lower case.
    algorithm : callable or Task class
        Called as ``algorithm(ctx)``; see `o2dask.context.ProcessingContext`.
    options : tuple of ConfigParamSpec
        Those of a Task class are taken from its `Option` attributes as well.
    cost_ms : float
        Expected time per timeframe [ms]; the planner fuses neighbours under 50 ms.
    resources : mapping
        Dask resources that the task needs, such as ``{"GPU": 1}``.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    algorithm: Any
    options: tuple[ConfigParamSpec, ...] = ()
    policy: CompletionPolicy = CompletionPolicy.ALL
    cost_ms: float = 10.0
    resources: Mapping[str, float] = field(default_factory=dict, hash=False)
    labels: tuple[str, ...] = ()

    if TYPE_CHECKING:  # the text form is taken too, but what is stored are tuples

        def __init__(
            self,
            *,
            name: str,
            inputs: "tuple[InputSpec, ...] | str",
            outputs: "tuple[OutputSpec, ...] | str",
            algorithm: Any,
            options: tuple[ConfigParamSpec, ...] = (),
            policy: CompletionPolicy = CompletionPolicy.ALL,
            cost_ms: float = 10.0,
            resources: Mapping[str, float] = ...,
            labels: tuple[str, ...] = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise SpecError(f"processor name: want lower case, digits, - and _, got {self.name!r}")
        if not callable(self.algorithm):
            raise SpecError(f"processor {self.name!r}: want a callable algorithm, got {self.algorithm!r}")
        if isinstance(self.inputs, str):
            object.__setattr__(self, "inputs", parse_inputs(self.inputs))
        if isinstance(self.outputs, str):
            object.__setattr__(self, "outputs", parse_outputs(self.outputs))
        if isinstance(self.algorithm, type):
            object.__setattr__(self, "options", self.options + _task_options(self.algorithm, self.options))
        if not 0 <= self.cost_ms < float("inf"):
            raise SpecError(f"processor {self.name!r}: want a cost_ms of 0 or more, got {self.cost_ms!r}")
        for kind, names in (
            ("input bindings", [i.binding for i in self.inputs]),
            ("output bindings", [o.binding for o in self.outputs]),
            ("outputs", [str(o.ref) for o in self.outputs]),
            ("options", [o.name for o in self.options]),
        ):
            if twice := {n for n in names if names.count(n) > 1}:
                raise SpecError(f"processor {self.name!r}: {kind} given twice: {', '.join(sorted(twice))}")

    @property
    def is_source(self) -> bool:
        """Whether it has no inputs and so reads the timeframe itself."""
        return not self.inputs

    def __str__(self) -> str:
        ins, outs = "; ".join(map(str, self.inputs)), "; ".join(map(str, self.outputs))
        return f"{self.name}: {ins or '(source)'} -> {outs or '(sink)'}"


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """A named list of processors; ``w1 | w2`` is both."""

    name: str
    processors: tuple[DataProcessorSpec, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "processors", tuple(self.processors))

    def __or__(self, other: "WorkflowSpec") -> "WorkflowSpec":
        return WorkflowSpec(f"{self.name}|{other.name}", self.processors + other.processors)


def _task_options(task: type, given: tuple[ConfigParamSpec, ...]) -> tuple[ConfigParamSpec, ...]:
    """Return the options in the bodies of a Task class and its bases, less those of the spec already (from JSON)."""
    found = {k: v for base in reversed(task.__mro__) for k, v in vars(base).items() if isinstance(v, Option)}
    known = {o.name for o in given if o.name in found}
    return tuple(
        ConfigParamSpec(name=k, default=v.default, help=v.help, choices=v.choices)
        for k, v in found.items()
        if k not in known
    )


def parse_inputs(text: str, schemas: Mapping[str, Schema] | None = None) -> tuple[InputSpec, ...]:
    """Return the inputs written in DPL's query syntax: ``binding:ORIG/DESCR/SUBSPEC?lifetime=...``, separated by ;.

    A condition may say where it is in the store, ``grp:GLO/GRPECS?lifetime=condition&path=GLO/Config/GRPECS``; O2's
    ``ccdb-path`` is the same. `schemas` maps ``ORIG/DESCR`` to the schema that the consumer insists on.
    """
    made = []
    for binding, datum, lifetime, path in _items(text):
        match = _DATUM.match(datum)
        if not match:
            raise SpecError(f"input {datum!r}: want binding:ORIG/DESCRIPTION/0 (4 and 16 letters at most)")
        subspec: int | str = "*" if match["subspec"] == "*" else int(match["subspec"] or 0)
        made.append(
            InputSpec(
                binding=binding or match["description"].lower(),
                origin=match["origin"],
                description=match["description"],
                subspec=subspec,
                lifetime=lifetime,
                schema=(schemas or {}).get(f"{match['origin']}/{match['description']}"),
                path=path,
            )
        )
    return tuple(made)


def parse_outputs(text: str, schemas: Mapping[str, Schema] | None = None) -> tuple[OutputSpec, ...]:
    """Return the outputs written as ``[binding:]ORIG/DESCR/SUBSPEC``, separated by ;, each with its schema if given.

    `schemas` maps ``ORIG/DESCR`` to a schema.
    """
    made = []
    for binding, datum, lifetime, path in _items(text):
        if path:
            raise SpecError(f"output {datum!r}: path={path} is for inputs with lifetime=condition")
        ref = DataRef.parse(datum)
        schema = (schemas or {}).get(f"{ref.origin}/{ref.description}")
        name = binding or ref.description.lower()
        made.append(OutputSpec(binding=name, ref=ref, lifetime=lifetime, schema=schema))
    return tuple(made)


def _items(text: str) -> list[tuple[str, str, Lifetime, str]]:
    items = []
    for part in filter(None, (p.strip() for p in text.split(";"))):
        head, _, query = part.partition("?lifetime=")  # a ? elsewhere is a wildcard
        life, *more = query.split("&")
        keys = dict(item.partition("=")[::2] for item in more)
        if unknown := set(keys) - {"path", "ccdb-path"}:
            raise SpecError(f"{part!r}: want path=... after the lifetime, got {', '.join(sorted(unknown))}")
        binding, colon, datum = head.rpartition(":")
        if life and life not in set(Lifetime):
            raise SpecError(f"{part!r}: want a lifetime of {', '.join(Lifetime)}, got {life!r}")
        lifetime = Lifetime(life) if life else Lifetime.TIMEFRAME
        items.append((binding if colon else "", datum, lifetime, keys.get("path") or keys.get("ccdb-path", "")))
    return items
