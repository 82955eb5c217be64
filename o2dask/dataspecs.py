"""What data are called, and what of them is needed or made: addresses, lifetimes, inputs, outputs, DPL's query syntax.

The words are O2's (Framework/Core/include/Framework/{InputSpec,OutputSpec,Lifetime,DataDescriptorQueryBuilder}.h).
Knows no processor, no graph.
"""

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from o2dask.columns import Schema
from o2dask.errors import SpecError

__all__ = ["ANY_SUBSPEC", "DataRef", "InputSpec", "Lifetime", "OutputSpec", "parse_inputs", "parse_outputs"]

ANY_SUBSPEC = -1
"""Subspecification of a `DataRef` that stands for all: the address of an output ``TPC/CLUSTERS/*``."""

_DATUM = re.compile(
    r"^(?P<origin>[A-Z0-9*?]{1,4})/(?P<description>[A-Za-z0-9_*?]{1,16})(/(?P<subspec>0x[0-9a-fA-F]+|\d+|\*))?$"
)
_SETTINGS = re.compile(r"\?(?=[A-Za-z][\w-]*=)")  # a ? elsewhere is a wildcard
_PERIOD = re.compile(r"^(\d+(?:\.\d*)?)(ns|us|ms|s)$")
_UNIT_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


class Lifetime(StrEnum):
    """How often a datum comes (O2's Lifetime).

    timeframe: once in each. condition: from the condition store, valid for many. sporadic: in some timeframes. timer:
    made by the framework every so many timeframes. qa: in some timeframes, to be summed up. optional: needed if there.
    transient: for the processor that makes it alone, never sent.
    """

    TIMEFRAME = "timeframe"
    CONDITION = "condition"
    SPORADIC = "sporadic"
    TIMER = "timer"
    QA = "qa"
    OPTIONAL = "optional"
    TRANSIENT = "transient"


@dataclass(frozen=True, slots=True, order=True)
class DataRef:
    """The address of one datum of a timeframe: origin, description, subspecification; prints as TPC/CLUSTERS/0.

    With `ANY_SUBSPEC` it is a family, TPC/CLUSTERS/*: all data of that origin and description.
    """

    origin: str
    description: str
    subspec: int = 0

    def __post_init__(self) -> None:
        match = _DATUM.match(str(self))
        if not match or any(c in self.origin + self.description for c in "*?"):
            raise SpecError(f"data address: want ORIG/DESCRIPTION/0 without wildcards, got {str(self)!r}")

    @classmethod
    def parse(cls, text: str) -> "DataRef":
        """Return the address written as ``ORIG/DESCR`` or ``ORIG/DESCR/SUBSPEC``."""
        match = _DATUM.match(text)
        if not match:
            raise SpecError(f"data address: want ORIG/DESCRIPTION/0 (4 and 16 letters at most), got {text!r}")
        subspec = match["subspec"] or "0"
        return cls(match["origin"], match["description"], ANY_SUBSPEC if subspec == "*" else int(subspec, 0))

    @property
    def is_family(self) -> bool:
        """Whether it stands for all subspecifications."""
        return self.subspec == ANY_SUBSPEC

    @property
    def family(self) -> "DataRef":
        """All data of this origin and description."""
        return DataRef(self.origin, self.description, ANY_SUBSPEC)

    def covers(self, other: "DataRef") -> bool:
        """Return whether `other` is this datum, or one of this family."""
        return self == other or (self.is_family and self.family == other.family)

    def is_in(self, refs: "Container[DataRef]") -> bool:
        """Return whether the datum, or its family, is one of `refs`."""
        return self in refs or self.family in refs

    def __str__(self) -> str:
        return f"{self.origin}/{self.description}/{'*' if self.subspec == ANY_SUBSPEC else self.subspec}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """What a processor needs once per timeframe; ``*`` and ``?`` are wildcards in every part.

    Attributes
    ----------
    binding : str
        Its name in ``ctx.inputs``.
    origin, description, subspec : str, str, int or "*"
        The address.
    lifetime : Lifetime
        How often it comes.
    schema : Schema, optional
        The columns that the consumer insists on.
    feedback : bool
        It comes from later in the graph, so from an earlier timeframe; where timeframes stand alone, as in batch, it
        never arrives.
    metadata : mapping of str to str
        Whatever else stands behind the ``?``: ``every`` or ``period`` of a timer, the ``path`` of a condition, and its
        ``default``.
    """

    binding: str
    origin: str
    description: str
    subspec: int | str = 0
    lifetime: Lifetime = Lifetime.TIMEFRAME
    schema: Schema | None = None
    feedback: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.binding.isidentifier():
            raise SpecError(f"input binding: want an identifier, got {self.binding!r}")
        if not _DATUM.match(f"{self.origin}/{self.description}/{self.subspec}"):
            raise SpecError(f"input {self.binding!r}: want ORIG/DESCRIPTION/0 (4 and 16 letters at most), got {self}")
        if self.lifetime is Lifetime.TRANSIENT:
            raise SpecError(f"input {self}: what is transient is never sent, so nobody can ask for it")
        if self.path and self.lifetime is not Lifetime.CONDITION:
            raise SpecError(f"input {self.binding!r}: path={self.path} is for lifetime=condition, got {self.lifetime}")
        if self.default and ":" not in self.default:
            raise SpecError(f"input {self.binding!r}: want default=module:function, got default={self.default}")
        _ = self.every, self.period_ns

    @property
    def is_wildcard(self) -> bool:
        """Whether more than one datum can match."""
        return any(c in f"{self.origin}{self.description}{self.subspec}" for c in "*?")

    @property
    def path(self) -> str:
        """Where a condition is in its store; "": at ``ORIGIN/DESCRIPTION``. O2's ``ccdb-path`` is the same."""
        return self.metadata.get("path") or self.metadata.get("ccdb-path", "")

    @property
    def default(self) -> str:
        """``module:function`` that returns the content of a condition where a run has no store of them; "": none."""
        return self.metadata.get("default", "") if self.lifetime is Lifetime.CONDITION else ""

    @property
    def is_clock(self) -> bool:
        """Whether it is a timer that the framework itself has to deliver."""
        return self.lifetime is Lifetime.TIMER and not {"every", "period"}.isdisjoint(self.metadata)

    @property
    def every(self) -> int:
        """A timer ticks once every so many timeframes; 0: it does not count timeframes."""
        text = self.metadata.get("every", "0") if self.lifetime is Lifetime.TIMER else "0"
        if not text.isdigit() or ("every" in self.metadata and self.lifetime is Lifetime.TIMER and int(text) < 1):
            raise SpecError(f"input {self.binding!r}: want every=N with N of 1 or more, got every={text}")
        return int(text)

    @property
    def period_ns(self) -> float:
        """A timer ticks whenever so much time of the run has passed [ns]; 0: it does not look at the time."""
        text = self.metadata.get("period", "") if self.lifetime is Lifetime.TIMER else ""
        match = _PERIOD.match(text)
        if text and (not match or not float(match[1])):
            raise SpecError(f"input {self.binding!r}: want period=10s or 250ms, got period={text}")
        return float(match[1]) * _UNIT_NS[match[2]] if match else 0.0

    def matches(self, ref: DataRef) -> bool:
        """Return whether the datum at `ref`, or one of that family, is one that this input asks for."""
        if ref.is_family or self.subspec == "*":
            mine = self.metadata.get("subspecs")  # of `parallel`: this copy's share of all
            is_mine = ref.is_family or mine is None or str(ref.subspec) in mine.split(",")
        else:
            is_mine = int(self.subspec) == ref.subspec
        return is_mine and fnmatchcase(ref.origin, self.origin) and fnmatchcase(ref.description, self.description)

    def __str__(self) -> str:
        feedback = {"feedback": "true"} if self.feedback else {}
        return f"{self.binding}:{self.origin}/{self.description}/{self.subspec}" + _settings(
            self.lifetime, {**feedback, **self.metadata}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """What a processor makes once per timeframe; with a `schema` what it makes is checked against it.

    An output of a family, ``clusters:TPC/CLUSTERS/*``, is any number of data: ``make("TPC/CLUSTERS/7", ...)``.
    """

    binding: str
    ref: DataRef
    lifetime: Lifetime = Lifetime.TIMEFRAME
    schema: Schema | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.binding}:{self.ref}" + _settings(self.lifetime, self.metadata)


def parse_inputs(text: str, schemas: Mapping[str, Schema] | None = None) -> tuple[InputSpec, ...]:
    """Return the inputs written in DPL's query syntax: ``binding:ORIG/DESCR/SUBSPEC?lifetime=...&key=value``.

    They are separated by ``;``. A condition may say where it is in its store:
    ``grp:GLO/GRPECS?lifetime=condition&path=GLO/Config/GRPECS``, and what stands in for it without a store:
    ``&default=mine:function``.
    `schemas` maps ``ORIG/DESCR`` to the schema that the consumer insists on.
    """
    made = []
    for binding, datum, lifetime, metadata in _items(text):
        match = _DATUM.match(datum)
        if not match:
            raise SpecError(f"input {datum!r}: want binding:ORIG/DESCRIPTION/0 (4 and 16 letters at most)")
        subspec: int | str = "*" if match["subspec"] == "*" else int(match["subspec"] or "0", 0)
        made.append(
            InputSpec(
                binding=binding or match["description"].lower(),
                origin=match["origin"],
                description=match["description"],
                subspec=subspec,
                lifetime=lifetime,
                schema=(schemas or {}).get(f"{match['origin']}/{match['description']}"),
                feedback=metadata.pop("feedback", "false").lower() in ("true", "1", "yes"),
                metadata=metadata,
            )
        )
    return tuple(made)


def parse_outputs(text: str, schemas: Mapping[str, Schema] | None = None) -> tuple[OutputSpec, ...]:
    """Return the outputs written as ``[binding:]ORIG/DESCR/SUBSPEC``, separated by ;, each with its schema if given.

    `schemas` maps ``ORIG/DESCR`` to a schema.
    """
    made = []
    for binding, datum, lifetime, metadata in _items(text):
        ref = DataRef.parse(datum)
        schema = (schemas or {}).get(f"{ref.origin}/{ref.description}")
        name = binding or ref.description.lower()
        made.append(OutputSpec(binding=name, ref=ref, lifetime=lifetime, schema=schema, metadata=metadata))
    return tuple(made)


def _items(text: str) -> Iterator[tuple[str, str, Lifetime, dict[str, str]]]:
    for part in filter(None, (p.strip() for p in text.split(";"))):
        head, *tail = _SETTINGS.split(part, maxsplit=1)
        binding, _, datum = head.rpartition(":")
        settings = {}
        for setting in tail[0].split("&") if tail else ():
            key, equals, value = setting.partition("=")
            if not (key and equals):
                raise SpecError(f"{part!r}: want ?key=value&key=value, got {setting!r}")
            settings[key] = value
        life = settings.pop("lifetime", "timeframe")
        if life not in set(Lifetime):
            raise SpecError(f"{part!r}: want a lifetime of {', '.join(Lifetime)}, got {life!r}")
        yield binding, datum, Lifetime(life), settings


def _settings(lifetime: Lifetime, metadata: Mapping[str, str]) -> str:
    life = {} if lifetime is Lifetime.TIMEFRAME else {"lifetime": str(lifetime)}
    told = "&".join(f"{key}={value}" for key, value in {**life, **metadata}.items())
    return f"?{told}" if told else ""
