"""What a processor sees while it runs: its inputs, an allocator for its outputs, its options, its timeframe.

A step sees one timeframe and its conditions, nothing else. Knows no graph and no runner.
"""

import logging
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from o2dask.columns import Columns, Schema
from o2dask.errors import ProcessorError, ShapeError, SpecError
from o2dask.specs import DataProcessorSpec, DataRef, OutputSpec
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["DataAllocator", "InputRecord", "ProcessingContext", "WorkerState"]

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
            return self._built[key]  # type: ignore[no-any-return]

    def clear(self) -> None:
        """Forget everything; the next `get` builds anew."""
        self._built.clear()


class InputRecord(Mapping[str, Any]):
    """The inputs of one timeframe by binding: ``ctx.inputs["clusters"]["time"]``.

    A wildcard input is a mapping of `DataRef` to Columns; an absent optional input is None.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, binding: str) -> Any:
        try:
            return self._values[binding]
        except KeyError:
            raise KeyError(f"no input {binding!r}; declared are {', '.join(self._values) or 'none'}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class DataAllocator:
    """Makes the declared outputs, and no others."""

    def __init__(self, outputs: tuple[OutputSpec, ...]) -> None:
        self._by_name = {o.binding: o for o in outputs} | {str(o.ref): o for o in outputs}
        self._outputs = outputs
        self.made: dict[DataRef, Columns] = {}

    def make(self, output: str, columns: "Columns | Mapping[str, Any]") -> Columns:
        """Adopt `columns` as the output called `output` (its binding or ``ORIG/DESCR/0``); arrays become read-only.

        Raises
        ------
        SpecError
            If the output is not declared or was already made.
        ShapeError
            If the columns are not those of the declared schema.
        """
        spec = self._by_name.get(output) or self._by_name.get(output + "/0")
        if spec is None:
            declared = ", ".join(map(str, self._outputs)) or "none"
            raise SpecError(f"output {output!r} is not declared; declared are {declared}")
        if spec.ref in self.made:
            raise SpecError(f"output {spec} was made twice for one timeframe")
        if not isinstance(columns, Columns):
            columns = Columns(spec.schema or Schema.infer(str(spec.ref), columns), columns)
        elif spec.schema is not None and columns.schema != spec.schema:
            raise ShapeError(f"output {spec}: want {spec.schema}, got {columns.schema}")
        self.made[spec.ref] = columns.freeze()
        return columns

    def check_complete(self) -> None:
        """Raise ProcessorError if a declared timeframe output was not made."""
        missing = [str(o) for o in self._outputs if o.ref not in self.made and o.lifetime == "timeframe"]
        if missing:
            raise ProcessorError(f"declared outputs that were not made: {', '.join(missing)}")


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
    """

    spec: DataProcessorSpec
    source: TimeframeRef
    inputs: InputRecord
    outputs: DataAllocator
    options: Mapping[str, Any]
    state: WorkerState
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def timeframe(self) -> TimeframeId:
        """Which timeframe this is."""
        return self.source.id

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on the timeframe and the processor only, so that every runner draws the same."""
        name = int.from_bytes(self.spec.name.encode()[:16], "little")
        return np.random.default_rng([self.timeframe.run, self.timeframe.first_orbit, name])

    @property
    def log(self) -> logging.LoggerAdapter:  # type: ignore[type-arg]
        """Logger with the processor and the timeframe attached."""
        logger = logging.getLogger(f"o2dask.processor.{self.spec.name}")
        return logging.LoggerAdapter(logger, {"processor": self.spec.name, "timeframe": str(self.timeframe)})
