"""The compiled workflow as a value: processors in execution order, their options, and who feeds whom.

It prints, compares, pickles (cloudpickle where an algorithm is a local function) and serialises; it runs nothing.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from o2dask import __version__
from o2dask.columns import Schema
from o2dask.errors import ConfigError
from o2dask.specs import DataProcessorSpec, DataRef, ErrorPolicy, Lifetime, OutputSpec, WorkflowSpec
from o2dask.workflow.names import algorithm_path, did_you_mean, word

if TYPE_CHECKING:
    from o2dask.conditions import ConditionFetcher

__all__ = ["Route", "Topology", "with_defaults"]


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """One datum on its way: from the processor that makes it to an input of one that needs it."""

    producer: str
    ref: DataRef
    consumer: str
    binding: str

    def __str__(self) -> str:
        return f"{self.producer} -[{self.ref}]-> {self.consumer}.{self.binding}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A checked workflow, made by `compile_workflow`.

    Attributes
    ----------
    name : str
        That of the workflow.
    processors : tuple of DataProcessorSpec
        In execution order: every producer before its consumers, otherwise as declared.
    options : dict of str to dict
        For each processor every declared option, converted to its type.
    routes : tuple of Route
        Every datum to every input that takes it; a wildcard input has several, an absent optional input none.
    feedback : tuple of Route
        Data on their way back, to inputs declared ``?feedback=true``: they reach a later timeframe, or none.
    uncertain : frozenset of DataRef
        Data that some timeframes may lack: sporadic ones, and those of processors that may not run or may fail.
    on_error : ErrorPolicy
        What an exception costs, unless a processor says.
    conditions : ConditionFetcher, optional
        Where inputs with ``lifetime=condition`` come from.
    fingerprint : str
        24 hex digits of a hash over names, inputs, outputs, schemas, names of algorithms, options, conditions
        and the version of o2dask. Runs of one fingerprint may share an output folder. It does not see the code of an
        algorithm.
    """

    name: str
    processors: tuple[DataProcessorSpec, ...]
    options: Mapping[str, Mapping[str, Any]]
    routes: tuple[Route, ...]
    feedback: tuple[Route, ...] = ()
    uncertain: frozenset[DataRef] = frozenset()
    on_error: ErrorPolicy = ErrorPolicy.QUARANTINE
    conditions: "ConditionFetcher | None" = None
    fingerprint: str = field(init=False)
    _by_name: dict[str, DataProcessorSpec] = field(init=False, repr=False, compare=False)
    _by_input: dict[tuple[str, str], tuple[Route, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", _fingerprint(self))
        object.__setattr__(self, "_by_name", {p.name: p for p in self.processors})
        by_input = defaultdict(list)
        for route in self.routes:
            by_input[route.consumer, route.binding].append(route)
        object.__setattr__(self, "_by_input", {key: tuple(found) for key, found in by_input.items()})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the algorithms by value where they come from a user's file (`loading`), whatever pickler asks.

        Dask tries plain pickle first, which would send the name of a module that no worker can import.
        """
        import cloudpickle

        return _unpickled, (cloudpickle.dumps({f.name: getattr(self, f.name) for f in fields(self) if f.init}),)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the processors in execution order."""
        return tuple(p.name for p in self.processors)

    def __getitem__(self, name: str) -> DataProcessorSpec:
        try:
            return self._by_name[name]
        except KeyError:
            hint = did_you_mean(name, self.names)
            raise ConfigError(f"workflow {self.name!r} has no processor {name!r}{hint}") from None

    def outputs(self) -> tuple[OutputSpec, ...]:
        """Return what all processors make and send, in execution order."""
        sent = (output for processor in self.processors for output in processor.outputs)
        return tuple(output for output in sent if output.lifetime is not Lifetime.TRANSIENT)

    def select(self, patterns: Sequence[str]) -> tuple[DataRef, ...]:
        """Return the data that match any of the patterns: ``AOD/*``, ``TPC/TRACKS`` (any subspec), ``*/QC*/0``."""
        refs = (output.ref for output in self.outputs())
        return tuple(
            ref
            for ref in refs
            if any(fnmatchcase(str(ref), p) or fnmatchcase(f"{ref.origin}/{ref.description}", p) for p in patterns)
        )

    def routes_to(self, consumer: str, binding: str) -> tuple[Route, ...]:
        """Return the routes that end in one input of one processor."""
        return self._by_input.get((consumer, binding), ())

    def workflow(self) -> WorkflowSpec:
        """Return the workflow it was compiled from, with the options chosen as the new defaults."""
        made = tuple(with_defaults(p, self.options[p.name]) for p in self.processors)
        return WorkflowSpec(self.name, made, self.on_error)

    def to_json(self) -> str:
        """Return the topology as JSON, algorithms by name: see `o2dask.workflow.serialise`."""
        from o2dask.workflow.serialise import topology_to_json

        return topology_to_json(self)

    @classmethod
    def from_json(cls, text: str) -> "Topology":
        """Return the topology written by `to_json`, compiled and checked anew; imports the algorithms it names."""
        from o2dask.workflow.serialise import topology_from_json

        return topology_from_json(text)

    def __str__(self) -> str:
        width = max(len(p.name) for p in self.processors)
        lines = [f"{self.name} [{self.fingerprint[:8]}]"]
        for p in self.processors:
            ins = " ".join(f"{i.origin}/{i.description}/{i.subspec}" for i in p.inputs) or "(timeframe)"
            outs = " ".join(str(o.ref) for o in p.outputs) or "(end)"
            lines.append(f"  {p.name:{width}}  {ins} -> {outs}")
        return "\n".join(lines)


def with_defaults(processor: DataProcessorSpec, chosen: Mapping[str, Any]) -> DataProcessorSpec:
    """Return the processor with the options chosen as its new defaults."""
    return replace(processor, options=tuple(replace(o, default=chosen[o.name]) for o in processor.options))


def _unpickled(data: bytes) -> Topology:
    import cloudpickle

    return Topology(**cloudpickle.loads(data))


def _fingerprint(topology: Topology) -> str:
    described: dict[str, Any] = {
        "o2dask": __version__,
        "name": topology.name,
        "processors": [
            {
                "name": p.name,
                "inputs": [[str(i), _schema_key(i.schema)] for i in p.inputs],
                "outputs": [[str(o), _schema_key(o.schema)] for o in p.outputs],
                "algorithm": [algorithm_path(part) for part in p.parts],
                "options": sorted((k, repr(v)) for k, v in topology.options[p.name].items()),
                "policies": [word(p.policy), word(p.on_error or topology.on_error), p.expendable],
                "copies": [p.copy, p.pipeline],
            }
            for p in topology.processors
        ],
    }
    if topology.conditions is not None:
        described["conditions"] = topology.conditions.identity
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:24]


def _schema_key(schema: Schema | None) -> list[Any] | None:
    if schema is None:
        return None
    return [schema.name, schema.version, [[c.name, c.dtype, list(c.shape), c.is_jagged] for c in schema.columns]]
