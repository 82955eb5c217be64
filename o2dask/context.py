"""What a processor sees while it runs: its inputs, an allocator for its outputs, its options, its timeframe.

A step sees one timeframe and its conditions, nothing else. Knows no graph and no runner.
"""

import logging
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from o2dask.columns import Columns, Jagged, Schema
from o2dask.errors import ProcessorError, ShapeError, SpecError
from o2dask.specs import DataProcessorSpec, DataRef, Lifetime, OutputSpec
from o2dask.timeframe import TimeframeId, TimeframeRef

if TYPE_CHECKING:
    from o2dask.conditions import ConditionFetcher
    from o2dask.monitoring.events import Event
    from o2dask.services import ServiceRegistry

__all__ = ["DataAllocator", "ErrorContext", "InputRecord", "ProcessingContext", "WorkerState"]

T = TypeVar("T")


class WorkerState:
    """What a worker keeps between timeframes (geometry, field, scratch), keyed by what it was built from."""

    def __init__(self) -> None:
        self._built: dict[Hashable, Any] = {}
        self._lock = threading.RLock()  # re-entrant: what is built may ask for what it is built from

    def get(self, key: Hashable, build: Callable[[], T]) -> T:
        """Return the object of `key`, built on first use in this worker; a failed build is tried anew."""
        with self._lock:
            if key not in self._built:
                self._built[key] = build()
            return self._built[key]

    def built(self) -> dict[Hashable, Any]:
        """Return what there is, oldest first."""
        with self._lock:
            return dict(self._built)

    def clear(self) -> None:
        """Forget everything; the next `get` builds anew."""
        self._built.clear()


class InputRecord(Mapping[str, Any]):
    """The inputs of one timeframe by binding or position: ``ctx.inputs["clusters"]["time"]``, ``ctx.inputs[0]``.

    A wildcard input is a mapping of `DataRef` to Columns; what did not arrive is None. All arrays are read-only.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: "str | int") -> Any:
        try:
            return list(self._values.values())[key] if isinstance(key, int) else self._values[key]
        except (KeyError, IndexError):
            raise KeyError(f"no input {key!r}; declared are {', '.join(self._values) or 'none'}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def is_valid(self, key: "str | int") -> bool:
        """Return whether the input has arrived, a wildcard with at least one datum."""
        value = self[key]
        return value is not None and not (isinstance(value, dict) and not value)

    def parts(self, key: "str | int | None" = None) -> Iterator[tuple[DataRef, Columns]]:
        """Give address and columns of every datum of a wildcard input, or of all of them: O2's loop over an input."""
        for binding in self if key is None else [key]:
            value = self[binding]
            if isinstance(value, dict):
                yield from value.items()
            elif key is not None:
                raise KeyError(f"input {binding!r} is no wildcard: it is one datum, ctx.inputs[{binding!r}]")


class DataAllocator:
    """Makes the declared outputs, and no others; they are sent when the algorithm returns."""

    def __init__(
        self, outputs: tuple[OutputSpec, ...], dispatch: "Callable[[DataRef, Columns], list[DataRef]] | None" = None
    ) -> None:
        self._dispatch = dispatch
        self._gone: set[DataRef] = set()  # dispatched, and needed by nobody else
        self._by_name = {o.binding: o for o in outputs} | {str(o.ref): o for o in outputs}
        self._outputs = outputs
        self._own: set[DataRef] = set()
        self.made: dict[DataRef, Columns] = {}

    def make(
        self, output: "str | DataRef", columns: "Columns | Mapping[str, Any] | int", subspec: int | None = None
    ) -> Columns:
        """Make the output called `output`: its binding, or its address ``ORIG/DESCR/0``.

        Parameters
        ----------
        output : str or DataRef
            Which one; of a family (``TPC/CLUSTERS/*``) the address says which, or `subspec` does.
        columns : Columns, mapping of str to array, or int
            Columns are adopted: their arrays become read-only. A number of rows gives zeroed columns of the declared
            schema, to be filled until the algorithm returns.

        Raises
        ------
        SpecError
            If the output is not declared or was already made.
        ShapeError
            If the columns are not those of the declared schema.
        """
        spec, ref = self._find(output, subspec)
        if ref in self.made or ref in self._own or ref in self._gone:
            raise SpecError(f"output {spec} was made twice for one timeframe")
        if isinstance(columns, int):
            if spec.schema is None:
                raise SpecError(f"output {spec} has no schema, so {columns} rows of what? Give the columns")
            made = spec.schema.empty(columns)
        elif not isinstance(columns, Columns):
            made = Columns(spec.schema or Schema.infer(str(ref), columns), columns).freeze()
        else:
            made = columns.freeze()
        if spec.schema is not None and made.schema != spec.schema:
            raise ShapeError(f"output {spec}: want {spec.schema}, got {made.schema}")
        if spec.lifetime is Lifetime.TRANSIENT:
            self._own.add(ref)
        else:
            self.made[ref] = made
            if self._dispatch is not None and not isinstance(columns, int):  # those are filled until it returns
                for sent in self._dispatch(ref, made):
                    del self.made[sent]
                    self._gone.add(sent)
        return made

    def adopt(self, output: "str | DataRef", columns: "Columns | Mapping[str, Any]") -> Columns:
        """Send these very arrays, which become read-only."""
        return self.make(output, columns)

    def snapshot(self, output: "str | DataRef", columns: "Columns | Mapping[str, Any]") -> Columns:
        """Send a copy of the arrays as they are now; the caller's stay his own."""
        copies = {name: _copied(array) for name, array in columns.items()}
        return self.make(output, Columns(columns.schema, copies) if isinstance(columns, Columns) else copies)

    def send(self) -> dict[DataRef, Columns]:
        """Return what was made, read-only; called when the algorithm has returned."""
        return {ref: columns.freeze() for ref, columns in self.made.items()}

    def check_complete(self) -> None:
        """Raise ProcessorError if a declared timeframe output was not made; of a family none is needed."""
        due = (o for o in self._outputs if o.lifetime is Lifetime.TIMEFRAME and not o.ref.is_family)
        due = (o for o in self._outputs if o.lifetime is Lifetime.TIMEFRAME and not o.ref.is_family)
        missing = [str(o) for o in due if o.ref not in self.made and o.ref not in self._gone]
        if missing:
            raise ProcessorError(f"declared outputs that were not made: {', '.join(missing)}")

    def _find(self, output: "str | DataRef", subspec: int | None) -> tuple[OutputSpec, DataRef]:
        name = str(output)
        spec = self._by_name.get(name) or self._by_name.get(name + "/0")
        if spec is not None and not spec.ref.is_family:
            return spec, spec.ref
        if spec is not None:
            if subspec is None:
                raise SpecError(f"output {spec} is a family; say which: make({name!r}, ..., subspec=0)")
            return spec, DataRef(spec.ref.origin, spec.ref.description, subspec)
        if subspec is not None and f"{name}_{subspec}" in self._by_name:  # a share of a family, made by `parallel`
            return self._find(f"{name}_{subspec}", None)
        if "/" in name:
            ref = DataRef.parse(name)
            if (spec := self._by_name.get(str(ref.family))) is not None:
                return spec, ref
        declared = ", ".join(map(str, self._outputs)) or "none"
        raise SpecError(f"output {name!r} is not declared; declared are {declared}")


def _copied(array: Any) -> Any:
    return Jagged(*(part.copy() for part in array)) if isinstance(array, Jagged) else array.copy()


@dataclass(slots=True, kw_only=True)
class ProcessingContext:
    """What ``algorithm(ctx)`` gets for one timeframe.

    Attributes
    ----------
    timeframe : TimeframeId
        Which timeframe.
    source : TimeframeRef
        Where its bytes are; sources (processors without inputs) read them.
    inputs, outputs : InputRecord, DataAllocator
        By binding.
    options : mapping of str to value
        Every declared option, converted to its type.
    state : WorkerState
        What lives on the worker across timeframes.
    counters : dict of str to int
        Counts that the runner adds up and reports ("clusters", "tracks").
    conditions : ConditionFetcher, optional
        For the service `Conditions`; inputs are fetched already.
    metrics, requests : list of Event, set of str
        What `Monitoring` and `ControlService` have been told.
    """

    spec: DataProcessorSpec
    source: TimeframeRef
    inputs: InputRecord
    outputs: DataAllocator
    options: Mapping[str, Any]
    state: WorkerState
    counters: dict[str, int] = field(default_factory=dict)
    conditions: "ConditionFetcher | None" = None
    metrics: list["Event"] = field(default_factory=list)
    requests: set[str] = field(default_factory=set)

    @property
    def services(self) -> "ServiceRegistry":
        """Services by type: ``ctx.services[Monitoring].send("tracks", n)``."""
        from o2dask.services import ServiceRegistry

        return ServiceRegistry(self)

    @property
    def timeframe(self) -> TimeframeId:
        """Which timeframe this is."""
        return self.source.id

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on the timeframe and the processor only, so that every runner draws the same."""
        name = int.from_bytes(self.spec.name.encode(), "little")
        return np.random.default_rng([self.timeframe.run, self.timeframe.first_orbit, name])

    @property
    def log(self) -> logging.LoggerAdapter:  # type: ignore[type-arg]
        """Logger with the processor and the timeframe attached."""
        logger = logging.getLogger(f"o2dask.processor.{self.spec.name}")
        return logging.LoggerAdapter(logger, {"processor": self.spec.name, "timeframe": str(self.timeframe)})


@dataclass(slots=True, kw_only=True)
class ErrorContext(ProcessingContext):
    """What ``on_error(ctx)`` gets: the context of the algorithm that raised, with the `error`."""

    error: Exception
