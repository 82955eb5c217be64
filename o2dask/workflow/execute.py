"""One physical task on one timeframe: the function that every runner calls and nothing else.

That their bytes agree follows from this. Knows specs and contexts; no Dask, no file, no window.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from o2dask.columns import Columns
from o2dask.context import DataAllocator, InputRecord, ProcessingContext, WorkerState
from o2dask.errors import ProcessorError, ShapeError
from o2dask.monitoring.events import Event
from o2dask.services import CallbackId, CallbackService
from o2dask.specs import CompletionPolicy, DataProcessorSpec, DataRef, DispatchPolicy, ErrorPolicy, InputSpec, Lifetime
from o2dask.timeframe import TimeframeId, TimeframeRef
from o2dask.workflow.completion import is_complete, ticks
from o2dask.workflow.faults import explained, recovered
from o2dask.workflow.lifecycle import instance_of
from o2dask.workflow.loading import locate
from o2dask.workflow.matching import schema_difference
from o2dask.workflow.planner import PhysicalTask
from o2dask.workflow.topology import Topology

__all__ = ["Step", "TaskResult", "run_task"]


@dataclass(slots=True, kw_only=True)
class TaskResult:
    """What one task made of one timeframe.

    Attributes
    ----------
    outputs : dict of DataRef to Columns
        Those of ``task.outputs``, read-only; an optional one that was not made is absent.
    counters : dict of str to int
        What the processors counted, as ``processor.counter``; runners add them up.
    seconds : dict of str to float
        Wall time of each processor [s], ``init`` of a Task left out.
    metrics : list of Event
        What the processors sent to monitoring, and what expendable ones lost.
    requests : set of str
        What they asked of the run, for a `QuitBook`.
    """

    outputs: dict[DataRef, Columns] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    metrics: list[Event] = field(default_factory=list)
    requests: set[str] = field(default_factory=set)

    @property
    def nbytes(self) -> int:
        """Size of the outputs [bytes]."""
        return sum(columns.nbytes for columns in self.outputs.values())


Step = Callable[
    [Topology, DataProcessorSpec, TimeframeRef, Mapping[DataRef, Columns], WorkerState, TaskResult],
    Mapping[DataRef, Columns],
]
"""Runs one processor on one timeframe: in this process (`_run_processor`), or in one of its own."""


def run_task(
    topology: Topology,
    task: PhysicalTask,
    source: TimeframeRef,
    inputs: Mapping[DataRef, Columns],
    state: WorkerState,
    isolate: Step | None = None,
) -> TaskResult:
    """Return what the processors of `task` make of one timeframe, run in order.

    A `Task` class is instantiated and its ``init`` called once per `state` and topology. `state` serves one thread at a
    time. A datum that no later processor of the task needs is freed at once. `isolate`, if given, runs the
    expendable ones.

    Raises
    ------
    O2DaskError
        What a processor raised of these (DataError costs the timeframe, ConfigError every timeframe), with a note that
        names the processor and the timeframe; notes survive pickling.
    ProcessorError
        Any other exception, wrapped so that its story survives pickling; or an output that was not made.
    """
    run = _Run(topology, task, source, inputs, state, isolate)
    for name in task.processors:
        if name not in run.begun:
            run.processor(name)
    return run.result


class _Run:
    """One task on one timeframe: what is at hand, who has begun and who is done, who still needs which datum."""

    def __init__(
        self,
        topology: Topology,
        task: PhysicalTask,
        source: TimeframeRef,
        inputs: Mapping[DataRef, Columns],
        state: WorkerState,
        isolate: Step | None,
    ) -> None:
        self.topology, self.source, self.state, self.isolate = topology, source, state, isolate
        self.result = TaskResult()
        wanted = set(task.inputs)
        self.at_hand = {ref: columns for ref, columns in inputs.items() if ref.is_in(wanted)}
        self.leaving = set(task.outputs)
        self.begun: set[str] = set()
        self.done: set[str] = set()
        self.members = set(task.processors)
        key = "uses", topology.fingerprint, task.processors
        self.users, self.uses = state.get(key, lambda: _uses(topology, task))
        self.left = {ref: len(users) for ref, users in self.users.items()}

    def processor(self, name: str) -> None:
        """Run one processor and free what nobody needs any more."""
        self.begun.add(name)
        spec = self.topology[name]
        made: Mapping[DataRef, Columns]
        if self.isolate is not None and spec.expendable:
            made = self.isolate(self.topology, spec, self.source, self.at_hand, self.state, self.result)
        elif spec.dispatch == DispatchPolicy.AFTER_COMPUTATION:
            made = _run_processor(self.topology, spec, self.source, self.at_hand, self.state, self.result)
        else:
            made = self._with_dispatch(spec)
        self._enter(made)
        self.done.add(name)
        for used in self.uses.get(name, ()):
            self.left[used] -= 1
            if not self.left[used]:
                for ref in [r for r in self.at_hand if used.covers(r)] if used.is_family else [used]:
                    self.at_hand.pop(ref, None)

    def _enter(self, made: Mapping[DataRef, Columns]) -> None:
        self.at_hand.update((ref, columns) for ref, columns in made.items() if ref.is_in(self.users))
        self.result.outputs.update((ref, columns) for ref, columns in made.items() if ref.is_in(self.leaving))

    def _with_dispatch(self, spec: DataProcessorSpec) -> Mapping[DataRef, Columns]:
        dispatcher = _Dispatcher(self, spec)
        try:
            made = _run_processor(
                self.topology, spec, self.source, self.at_hand, self.state, self.result, dispatcher.made
            )
        except Exception:
            if dispatcher.error is None:
                raise
            raise dispatcher.error from dispatcher.error.__cause__  # the consumer's, which came first
        if dispatcher.error is not None:
            raise dispatcher.error
        if spec.name in self.result.seconds:
            self.result.seconds[spec.name] -= dispatcher.seconds
        return {ref: columns for ref, columns in made.items() if not self._is_used_up(ref)}

    def is_ready(self, name: str) -> bool:
        """Return whether a processor that has not begun has all that it can get on this timeframe."""
        return all(
            route.producer not in self.members or route.producer in self.done or self._has_all(wanted, route.ref)
            for wanted in self.topology[name].inputs
            for route in self.topology.routes_to(name, wanted.binding)
        )

    def _has_all(self, wanted: InputSpec, ref: DataRef) -> bool:
        if not ref.is_family:
            return ref in self.at_hand
        if wanted.subspec != "*":
            return DataRef(ref.origin, ref.description, int(wanted.subspec)) in self.at_hand
        share = wanted.metadata.get("subspecs")  # of `parallel`; all others end with their producer
        return share is not None and all(
            DataRef(ref.origin, ref.description, int(i)) in self.at_hand for i in share.split(",")
        )

    def take(self, refs: "list[tuple[DataRef, Columns]]") -> "list[DataRef]":
        """Enter data that are ready, run who waited for them, and return those that nobody else needs."""
        self._enter(dict(refs))
        todo = [ref for ref, _ in refs]
        while todo:
            ref = todo.pop()
            for name in self._takers(ref):
                if name not in self.begun and self.is_ready(name):
                    self.processor(name)
                    todo += [output.ref for output in self.topology[name].outputs]
        used_up = [ref for ref, _ in refs if self._is_used_up(ref)]
        for ref in used_up:
            self.at_hand.pop(ref, None)
        return [ref for ref in used_up if not ref.is_in(self.leaving)]

    def _takers(self, ref: DataRef) -> list[str]:
        return [*self.users.get(ref, ()), *(self.users.get(ref.family, ()) if not ref.is_family else ())]

    def _is_used_up(self, ref: DataRef) -> bool:
        """Return whether all who ask for this very datum are done."""
        takers = self._takers(ref)
        askers = (n for n in takers if any(i.matches(ref) for i in self.topology[n].inputs))
        return bool(takers) and all(name in self.done for name in askers)


def _uses(
    topology: Topology, task: PhysicalTask
) -> tuple[dict[DataRef, tuple[str, ...]], dict[str, tuple[DataRef, ...]]]:
    """Return who uses which datum within a task, and which data each of its processors uses."""
    members = set(task.processors)
    pairs = {(route.ref, route.consumer): None for route in topology.routes if route.consumer in members}
    users: dict[DataRef, list[str]] = {}
    uses: dict[str, list[DataRef]] = {}
    for ref, name in pairs:
        users.setdefault(ref, []).append(name)
        uses.setdefault(name, []).append(ref)
    return {ref: tuple(names) for ref, names in users.items()}, {name: tuple(refs) for name, refs in uses.items()}


class _Dispatcher:
    """Hands on what a processor makes before it returns.

    Attributes
    ----------
    error : Exception, optional
        What a consumer raised; the producer, in whose ``make`` that was, must not catch it.
    seconds : float
        Time that consumers took [s].
    """

    def __init__(self, run: _Run, spec: DataProcessorSpec) -> None:
        self._run, self._policy = run, spec.dispatch
        self._waiting: list[tuple[DataRef, Columns]] = []
        self.error: Exception | None = None
        self.seconds = 0.0

    def made(self, ref: DataRef, columns: Columns) -> "list[DataRef]":
        """Take a datum; return those of all taken so far that nobody else needs."""
        if self.error is not None:
            return []
        self._waiting.append((ref, columns))
        if callable(self._policy) and not self._policy(ref):
            return []
        ready, self._waiting = self._waiting, []
        start = time.perf_counter()
        try:
            return self._run.take(ready)
        except Exception as error:  # noqa: BLE001 - is raised when the producer has returned
            self.error = error
            return []
        finally:
            self.seconds += time.perf_counter() - start


def _run_processor(
    topology: Topology,
    spec: DataProcessorSpec,
    source: TimeframeRef,
    at_hand: Mapping[DataRef, Columns],
    state: WorkerState,
    result: TaskResult,
    dispatch: Callable[[DataRef, Columns], list[DataRef]] | None = None,
) -> Mapping[DataRef, Columns]:
    """Return what one processor makes; errors carry its name, its timeframe and what they cost."""
    ctx = ProcessingContext(
        spec=spec,
        source=source,
        inputs=InputRecord({}),
        outputs=DataAllocator(spec.outputs, dispatch),
        options=topology.options[spec.name],
        state=state,
        conditions=topology.conditions,
    )
    try:
        try:
            made = _attempt(topology, ctx, at_hand, result)
        except Exception as error:
            recovery = recovered(ctx, error)
            if recovery is None:
                raise
            made = recovery
    except Exception as error:
        policy = spec.on_error if isinstance(spec.on_error, ErrorPolicy) else topology.on_error
        told = explained(error, spec.name, source, policy)
        if told is error:
            raise
        raise told from told.__cause__
    _account(topology, ctx, result)
    return made


def _attempt(
    topology: Topology, ctx: ProcessingContext, at_hand: Mapping[DataRef, Columns], result: TaskResult
) -> Mapping[DataRef, Columns]:
    spec, state = ctx.spec, ctx.state
    if _has_quit(topology, ctx):
        return {}
    data = {i.binding: _input(topology, ctx, i, at_hand) for i in spec.inputs if i.lifetime is not Lifetime.CONDITION}
    runs = is_complete(spec, data, lambda i: _is_expected(topology, spec, i))
    instance = instance_of(topology, spec, ctx.source, state)
    callbacks = ctx.services[CallbackService]
    if not runs:
        callbacks(CallbackId.IDLE, ctx)
        return {}
    if spec.policy is CompletionPolicy.ORDERED:
        _check_order(topology, ctx)
    record = {i.binding: data[i.binding] if i.binding in data else _condition(topology, i, ctx) for i in spec.inputs}
    ctx.inputs, instance.last.source = InputRecord(record), ctx.source
    callbacks(CallbackId.CLOCK_TICK, ctx)
    start = time.perf_counter()
    made = instance.run(ctx)
    for output, columns in made.items() if type(made) is dict else ():  # a function may return its outputs
        ctx.outputs.make(output, columns)
    result.seconds[spec.name] = time.perf_counter() - start
    ctx.outputs.check_complete()
    return ctx.outputs.send()


def _account(topology: Topology, ctx: ProcessingContext, result: TaskResult) -> None:
    """Enter what the processor counted, measured and asked for."""
    name = ctx.spec.name
    for counter, value in ctx.counters.items():
        key = f"{name}.{counter}"
        result.counters[key] = result.counters.get(key, 0) + int(value)
    result.metrics += ctx.metrics
    result.requests |= ctx.requests
    if f"quit:{name}" in ctx.requests:
        if {r.ref for r in topology.routes if r.producer == name} <= topology.uncertain:
            _has_quit(topology, ctx).add(name)
        else:  # others need it in every timeframe, those in flight as well
            result.requests.add("quit")


def _has_quit(topology: Topology, ctx: ProcessingContext) -> set[str]:
    return ctx.state.get(("quit", topology.fingerprint, ctx.spec.name), set)


def _check_order(topology: Topology, ctx: ProcessingContext) -> None:
    seen: list[TimeframeId] = ctx.state.get(("ordered", topology.fingerprint, ctx.spec.name), list)
    if seen and not seen[-1] < ctx.timeframe:
        raise ProcessorError(f"want timeframes in order, got {ctx.timeframe} after {seen[-1]}; give the run them so")
    seen[:] = [ctx.timeframe]


def _is_expected(topology: Topology, spec: DataProcessorSpec, wanted: InputSpec) -> bool:
    return any(r.ref not in topology.uncertain for r in topology.routes_to(spec.name, wanted.binding))


def _input(
    topology: Topology, ctx: ProcessingContext, wanted: InputSpec, at_hand: Mapping[DataRef, Columns]
) -> "Columns | dict[DataRef, Columns] | None":
    if wanted.is_clock:
        return ticks(wanted, ctx.timeframe)
    found: dict[DataRef, Columns] = {}
    routes = topology.routes_to(ctx.spec.name, wanted.binding)
    if wanted.feedback:  # of an earlier timeframe, as the runner has it
        at_hand = ctx.state.get(("feedback", topology.fingerprint), dict[DataRef, Columns])
        routes = tuple(r for r in topology.feedback if (r.consumer, r.binding) == (ctx.spec.name, wanted.binding))
    for route in routes:
        if route.ref.is_family:
            found |= {ref: at_hand[ref] for ref in sorted(at_hand) if route.ref.covers(ref) and wanted.matches(ref)}
        elif route.ref in at_hand:
            found[route.ref] = at_hand[route.ref]
    for ref, columns in found.items():
        if wanted.schema is not None and (difference := schema_difference(wanted.schema, columns.schema)):
            raise ShapeError(f"input {wanted}: {ref} is {columns.schema}: {difference}")
    return found if wanted.is_wildcard else next(iter(found.values()), None)


def _condition(topology: Topology, wanted: InputSpec, ctx: ProcessingContext) -> Any:
    content = _content(topology, wanted, ctx)
    if wanted.schema is not None:
        difference = schema_difference(wanted.schema, content.schema) if isinstance(content, Columns) else "no columns"
        if difference:
            raise ShapeError(f"input {wanted}: the condition is {content!r:.100}: {difference}")
    return content


def _decoder(wanted: InputSpec) -> Any:
    told = wanted.metadata.get("decoder", "")
    return locate(told, f"decoder of input {wanted.binding!r}") if told else None


def _content(topology: Topology, wanted: InputSpec, ctx: ProcessingContext) -> Any:
    if topology.conditions is not None:
        from o2dask.conditions import ConditionNotFoundError

        ref = DataRef(wanted.origin, wanted.description, int(wanted.subspec))
        try:
            return topology.conditions.fetch(ref, ctx.timeframe, ctx.state, path=wanted.path, decoder=_decoder(wanted))
        except ConditionNotFoundError as error:
            if wanted.default:
                error.add_note(f"`o2dask conditions defaults STORE` writes the default of {wanted.path or ref}")
            raise
    if not wanted.default:  # a topology not made by compile_workflow
        raise ProcessorError(f"input {wanted} is a condition, but the workflow was compiled without a store of them")
    return locate(wanted.default, f"default of input {wanted.binding!r}")()
