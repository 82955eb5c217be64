"""What a processor is: its name, inputs, outputs, algorithm, options and policies; frozen, checked once, doing no work.

The words are O2's (Framework/Core/include/Framework/{DataProcessorSpec,AlgorithmSpec,CompletionPolicy}.h). Data are
declared in `dataspecs`, options in `options`; both can be imported from here. Knows no graph, no runner, no file.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from o2dask.dataspecs import DataRef, InputSpec, Lifetime, OutputSpec, parse_inputs, parse_outputs
from o2dask.errors import SpecError
from o2dask.options import ConfigParamSpec, Option, options_in

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext
    from o2dask.services.registry import ServiceSpec

__all__ = [
    "AlgorithmSpec",
    "CompletionOp",
    "CompletionPolicy",
    "ConfigParamSpec",
    "DataProcessorSpec",
    "DataRef",
    "DispatchPolicy",
    "ErrorPolicy",
    "InputSpec",
    "Lifetime",
    "Option",
    "OutputSpec",
    "Task",
    "WorkflowSpec",
    "parse_inputs",
    "parse_outputs",
]

_NAME = re.compile(r"^[a-z][a-z0-9_-]*$")


class CompletionPolicy(StrEnum):
    """When a processor runs on a timeframe, given what of its inputs arrived (O2's CompletionPolicyHelpers).

    all: when every timeframe input is there, sporadic ones or not. ordered: as all, timeframes one after the other.
    any, consume-existing: when at least one is there, with what there is; where a timeframe comes as a whole, as here,
    the two are one. discard: never. Instead of these a processor may have a function of its `InputRecord` that returns
    a `CompletionOp`.
    """

    ALL = "all"
    ANY = "any"
    ORDERED = "ordered"
    CONSUME_EXISTING = "consume-existing"
    DISCARD = "discard"


class CompletionOp(StrEnum):
    """What a policy of one's own decides: run on what is there (consume, process), or not (wait, discard).

    A timeframe comes as a whole, so to process it and keep it is to consume it, and to wait for more is to discard it.
    """

    CONSUME = "consume"
    PROCESS = "process"
    WAIT = "wait"
    DISCARD = "discard"

    @property
    def runs(self) -> bool:
        """Whether the processor runs."""
        return self in (CompletionOp.CONSUME, CompletionOp.PROCESS)


class DispatchPolicy(StrEnum):
    """When consumers get what a processor makes (O2's DispatchPolicy).

    after-computation: when it returns. when-ready: each datum as soon as it is made; consumers in the same physical
    task that have all they need then run at once, within ``make``, and what nobody else needs is freed, so that a
    splitter need not hold all its parts together. Columns asked for by a number of rows are ready when it returns.
    Other physical tasks, and other workers, get a task's data when the whole task ends, under either policy. Instead
    of these a processor may have a function of a `DataRef`, O2's trigger: what was made is sent when it returns True.
    """

    AFTER_COMPUTATION = "after-computation"
    WHEN_READY = "when-ready"


class ErrorPolicy(StrEnum):
    """What an exception of a processor costs: the run (fail), the timeframe (skip, or quarantine with its story)."""

    FAIL = "fail"
    QUARANTINE = "quarantine"
    SKIP = "skip"


class Task:
    """Base of algorithms that keep state on a worker: ``init`` once, ``run`` per timeframe, ``end_of_stream`` last."""

    def init(self, ctx: "ProcessingContext") -> None:
        """Prepare; called once per worker before the first `run`."""

    def run(self, ctx: "ProcessingContext") -> None:
        """Process one timeframe."""
        raise SpecError(f"{type(self).__name__} does not define run(self, ctx)")

    def end_of_stream(self, ctx: "ProcessingContext") -> None:
        """Finish; called once per worker that ran it, after its last timeframe, where no output can be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmSpec:
    """What a processor runs, where a function of the context or a `Task` class does not say it all.

    Attributes
    ----------
    process : callable or Task class, optional
        Called as ``process(ctx)`` for each timeframe.
    init : callable, optional
        Called as ``init(ctx)`` once per worker; returns the function for timeframes, which keeps what it closes over.
    devices : tuple of (str, algorithm)
        One algorithm for each kind of device ("CPU", "GPU"); the worker takes the last of these that it has.
    """

    process: Any = None
    init: Callable[..., Any] | None = None
    devices: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        given = [self.process is not None, self.init is not None, bool(self.devices)]
        if sum(given) != 1:
            raise SpecError("algorithm: want one of process, init and devices")
        for name, one in self.devices or (("algorithm", self.process or self.init),):
            if not callable(one) and not isinstance(one, AlgorithmSpec):
                raise SpecError(f"algorithm: want something to call for {name}, got {one!r}")
        if self.devices and [name for name, _ in self.devices if name not in ("CPU", "GPU")]:
            raise SpecError(f"algorithm: want devices CPU or GPU, got {', '.join(n for n, _ in self.devices)}")
        if self.devices:
            object.__setattr__(self, "devices", tuple(sorted(self.devices, key=lambda d: d[0])))

    def on(self, devices: frozenset[str]) -> Any:
        """Return what runs where there are these devices: a callable, a Task class, or a spec with `init`."""
        if self.devices:
            found = [one for name, one in self.devices if name in devices]
            if not found:
                raise SpecError(f"algorithm: made for {', '.join(n for n, _ in self.devices)}, which is not there")
            return found[-1].on(devices) if isinstance(found[-1], AlgorithmSpec) else found[-1]
        return self if self.process is None else self.process

    @property
    def parts(self) -> tuple[Any, ...]:
        """Every callable in it."""
        own = tuple(part for part in (self.process, self.init) if part is not None)
        nested = (one.parts if isinstance(one, AlgorithmSpec) else (one,) for _, one in self.devices)
        return own + tuple(part for parts in nested for part in parts)


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
    algorithm : callable, Task class, AlgorithmSpec, or mapping of device to one of these
        Called as ``algorithm(ctx)``; see `o2dask.context.ProcessingContext`. It makes outputs by ``ctx.outputs.make``,
        or returns a dict of them.
    options : tuple of ConfigParamSpec
        Those of a Task class are taken from its `Option` attributes as well.
    policy : CompletionPolicy, or callable
        When it runs; a callable gets the `InputRecord` and returns a `CompletionOp`.
    dispatch : DispatchPolicy, or callable
        When consumers get what it makes.
    on_error : ErrorPolicy, or callable, optional
        What an exception costs, default: as the workflow says. A callable gets an `ErrorContext`; unless it raises,
        the timeframe goes on with the outputs that were made.
    expendable : bool
        If it fails on a timeframe, its outputs are absent and all else goes on. Runs in a process of its own.
    deadline_s, memory_mib : float, optional
        Most time per timeframe [s] and most memory [MiB] of an expendable processor; over it its process is killed.
        Default: 120 s, any memory.
    cost_ms : float
        Expected time per timeframe [ms]; the planner fuses neighbours under 50 ms.
    resources : mapping
        Dask resources that the task needs, such as ``{"GPU": 1}``; an amount of 0 asks for nothing.
    services : tuple of type or ServiceSpec
        Services it cannot do without; checked before anything runs. A `ServiceSpec` brings one with it.
    labels, metadata : tuple of str, mapping of str to str
        For tools; ``resilient`` says that it may depend on expendable processors.
    copy, pipeline : int
        Which of how many `parallel` copies it is, and of how many instances of `time_pipeline`.
    """

    name: str = field(kw_only=False)
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    algorithm: Any
    options: tuple[ConfigParamSpec, ...] = ()
    policy: CompletionPolicy | Callable[..., Any] = CompletionPolicy.ALL
    dispatch: DispatchPolicy | Callable[[DataRef], bool] = DispatchPolicy.AFTER_COMPUTATION
    on_error: ErrorPolicy | Callable[..., Any] | None = None
    expendable: bool = False
    deadline_s: float | None = None
    memory_mib: float | None = None
    cost_ms: float = 10.0
    resources: Mapping[str, float] = field(default_factory=dict, hash=False)
    services: "tuple[type | ServiceSpec, ...]" = ()
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    copy: tuple[int, int] = (0, 1)
    pipeline: int = 1

    if TYPE_CHECKING:  # the text form is taken too, but what is stored are tuples

        def __init__(
            self,
            name: str,
            *,
            inputs: "tuple[InputSpec, ...] | str",
            outputs: "tuple[OutputSpec, ...] | str",
            algorithm: Any,
            options: tuple[ConfigParamSpec, ...] = (),
            policy: CompletionPolicy | Callable[..., Any] = CompletionPolicy.ALL,
            dispatch: DispatchPolicy | Callable[[DataRef], bool] = DispatchPolicy.AFTER_COMPUTATION,
            on_error: ErrorPolicy | Callable[..., Any] | None = None,
            expendable: bool = False,
            deadline_s: float | None = None,
            memory_mib: float | None = None,
            cost_ms: float = 10.0,
            resources: Mapping[str, float] = ...,
            services: "tuple[type | ServiceSpec, ...]" = (),
            labels: tuple[str, ...] = (),
            metadata: Mapping[str, str] = ...,
            copy: tuple[int, int] = (0, 1),
            pipeline: int = 1,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise SpecError(f"processor name: want lower case, digits, - and _, got {self.name!r}")
        if isinstance(self.algorithm, Mapping):
            object.__setattr__(self, "algorithm", AlgorithmSpec(devices=tuple(self.algorithm.items())))
        if not callable(self.algorithm) and not isinstance(self.algorithm, AlgorithmSpec):
            raise SpecError(f"processor {self.name!r}: want a callable algorithm, got {self.algorithm!r}")
        try:
            if isinstance(self.inputs, str):
                object.__setattr__(self, "inputs", parse_inputs(self.inputs))
            if isinstance(self.outputs, str):
                object.__setattr__(self, "outputs", parse_outputs(self.outputs))
            for part in self.parts:
                if isinstance(part, type):
                    object.__setattr__(self, "options", self.options + _task_options(part, self.options))
        except SpecError as error:
            raise SpecError(f"processor {self.name!r}: {error}") from None
        self._settle_policies()
        if not 0 <= self.cost_ms < float("inf"):
            raise SpecError(f"processor {self.name!r}: want a cost_ms of 0 or more, got {self.cost_ms!r}")
        for kind, names in (
            ("input bindings", [i.binding for i in self.inputs]),
            ("output bindings", [o.binding for o in self.outputs]),
            ("outputs", [str(o.ref) for o in self.outputs]),
            ("options", [o.name for o in self.options]),
        ):
            if len(set(names)) < len(names):
                twice = sorted({n for n in names if names.count(n) > 1})
                raise SpecError(f"processor {self.name!r}: {kind} given twice: {', '.join(twice)}")

    def _settle_policies(self) -> None:
        policies = (("policy", CompletionPolicy), ("dispatch", DispatchPolicy), ("on_error", ErrorPolicy))
        for field_, kind in policies:
            value = getattr(self, field_)
            if value is None or callable(value):
                continue
            if value not in set(kind):
                raise SpecError(f"processor {self.name!r}: want a {field_} of {', '.join(kind)}, got {value!r}")
            object.__setattr__(self, field_, kind(value))
        if self.dispatch != DispatchPolicy.AFTER_COMPUTATION and (self.expendable or callable(self.on_error)):
            raise SpecError(
                f"processor {self.name!r}: dispatch={self.dispatch} is not for one whose outputs are taken back when "
                "it fails: leave out expendable and the on_error function"
            )
        for field_ in ("deadline_s", "memory_mib"):
            limit = getattr(self, field_)
            if limit is not None and not (self.expendable and limit > 0):
                raise SpecError(
                    f"processor {self.name!r}: want a {field_} over 0, for an expendable processor only, got {limit!r}"
                )
        if not (0 <= self.copy[0] < self.copy[1]) or self.pipeline < 1:
            raise SpecError(f"processor {self.name!r}: want 0 <= i < n and n >= 1, got {self.copy}, {self.pipeline}")
        if any(not amount >= 0 for amount in self.resources.values()):
            raise SpecError(f"processor {self.name!r}: want amounts of 0 or more, got resources {dict(self.resources)}")

    @property
    def parts(self) -> tuple[Any, ...]:
        """Every callable of the algorithm."""
        return self.algorithm.parts if isinstance(self.algorithm, AlgorithmSpec) else (self.algorithm,)

    @property
    def is_source(self) -> bool:
        """Whether it has no inputs but conditions and so reads the timeframe itself."""
        return all(i.lifetime is Lifetime.CONDITION for i in self.inputs)

    def __str__(self) -> str:
        ins, outs = "; ".join(map(str, self.inputs)), "; ".join(map(str, self.outputs))
        return f"{self.name}: {ins or '(source)'} -> {outs or '(sink)'}"


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """A named list of processors; ``w1 | w2`` is both. `on_error` is what an exception costs, unless a processor says.

    Of two workflows that differ in it the stricter wins: fail, then quarantine, then skip.
    """

    name: str
    processors: tuple[DataProcessorSpec, ...]
    on_error: ErrorPolicy = ErrorPolicy.QUARANTINE

    def __post_init__(self) -> None:
        object.__setattr__(self, "processors", tuple(self.processors))
        if self.on_error not in set(ErrorPolicy):
            raise SpecError(f"workflow {self.name!r}: want on_error of {', '.join(ErrorPolicy)}, got {self.on_error!r}")
        object.__setattr__(self, "on_error", ErrorPolicy(self.on_error))

    def __or__(self, other: "WorkflowSpec") -> "WorkflowSpec":
        strict = list(ErrorPolicy)
        on_error = min(self.on_error, other.on_error, key=strict.index)
        return WorkflowSpec(f"{self.name}|{other.name}", self.processors + other.processors, on_error)


def _task_options(task: type, given: tuple[ConfigParamSpec, ...]) -> tuple[ConfigParamSpec, ...]:
    """Return the options in the body of a Task class, less those of the spec already (from JSON)."""
    known = {o.name for o in given}
    return tuple(option.named(name) for name, option in options_in(task).items() if name not in known)
