"""One physical task on one timeframe: the function that every runner calls and nothing else.

That their bytes agree follows from this. Knows specs and contexts; no Dask, no file, no window.
"""

import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from o2dask.columns import Columns
from o2dask.context import DataAllocator, InputRecord, ProcessingContext, WorkerState
from o2dask.errors import O2DaskError, ProcessorError, ShapeError
from o2dask.specs import CompletionPolicy, DataProcessorSpec, DataRef, InputSpec, Lifetime, Option, Task
from o2dask.timeframe import TimeframeRef
from o2dask.workflow.matching import schema_difference
from o2dask.workflow.planner import PhysicalTask
from o2dask.workflow.topology import Topology

__all__ = ["TaskResult", "run_task"]


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
    """

    outputs: dict[DataRef, Columns] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Size of the outputs [bytes]."""
        return sum(columns.nbytes for columns in self.outputs.values())


def run_task(
    topology: Topology,
    task: PhysicalTask,
    source: TimeframeRef,
    inputs: Mapping[DataRef, Columns],
    state: WorkerState,
) -> TaskResult:
    """Return what the processors of `task` make of one timeframe, run in order.

    A `Task` class is instantiated and its ``init`` called once per `state` and topology. `state` serves one thread at a
    time. A datum that no later processor of the task needs is freed at once.

    Raises
    ------
    O2DaskError
        What a processor raised of these (DataError costs the timeframe, ConfigError every timeframe), with a note that
        names the processor and the timeframe; notes survive pickling.
    ProcessorError
        Any other exception, wrapped so that its story survives pickling; or an output that was not made.
    """
    result = TaskResult()
    at_hand = {ref: columns for ref, columns in inputs.items() if ref in set(task.inputs)}
    last_use = _last_uses(topology, task)
    for name in task.processors:
        spec = topology[name]
        try:
            made = _run_processor(topology, spec, source, at_hand, state, result)
        except Exception as error:
            explained = _explained(error, name, source)
            if explained is error:
                raise
            raise explained from error
        at_hand.update((ref, columns) for ref, columns in made.items() if ref in last_use)
        result.outputs.update((ref, made[ref]) for ref in task.outputs if ref in made)
        for ref in [r for r in at_hand if last_use.get(r) == name]:
            del at_hand[ref]
    return result


def _run_processor(
    topology: Topology,
    spec: DataProcessorSpec,
    source: TimeframeRef,
    at_hand: Mapping[DataRef, Columns],
    state: WorkerState,
    result: TaskResult,
) -> Mapping[DataRef, Columns]:
    data = [i for i in spec.inputs if i.lifetime is not Lifetime.CONDITION]
    record: dict[str, Any] = {i.binding: _input(topology, spec, i, at_hand) for i in data}
    absent = [v is None or v == {} for v in record.values()]
    if spec.policy is CompletionPolicy.ANY and record and all(absent):
        return {}
    for wanted in spec.inputs:  # in the order declared
        record[wanted.binding] = (
            record.pop(wanted.binding) if wanted in data else _condition(topology, wanted, source, state)
        )
    options = topology.options[spec.name]
    run = spec.algorithm
    if isinstance(run, type):
        key = ("task", topology.fingerprint, spec.name)
        run = state.get(key, lambda: _new_task(spec, source, options, state)).run
    ctx = ProcessingContext(
        spec=spec,
        source=source,
        inputs=InputRecord(record),
        outputs=DataAllocator(spec.outputs),
        options=options,
        state=state,
    )
    start = time.perf_counter()
    run(ctx)
    result.seconds[spec.name] = time.perf_counter() - start
    ctx.outputs.check_complete()
    for counter, value in ctx.counters.items():
        key_ = f"{spec.name}.{counter}"
        result.counters[key_] = result.counters.get(key_, 0) + int(value)
    return ctx.outputs.made


def _new_task(spec: DataProcessorSpec, source: TimeframeRef, options: Mapping[str, object], state: WorkerState) -> Task:
    """Return a Task with its options as attributes, after ``init``; it sees no data, so any timeframe may be first."""
    task: Task = spec.algorithm()
    for name in options:
        if isinstance(getattr(type(task), name, None), Option):
            setattr(task, name, options[name])
    task.init(
        ProcessingContext(
            spec=spec, source=source, inputs=InputRecord({}), outputs=DataAllocator(()), options=options, state=state
        )
    )
    return task


def _input(
    topology: Topology, spec: DataProcessorSpec, wanted: InputSpec, at_hand: Mapping[DataRef, Columns]
) -> "Columns | dict[DataRef, Columns] | None":
    refs = [r.ref for r in topology.routes_to(spec.name, wanted.binding)]
    found = {ref: at_hand[ref] for ref in refs if ref in at_hand}
    for ref, columns in found.items():
        if wanted.schema is not None and (difference := schema_difference(wanted.schema, columns.schema)):
            raise ShapeError(f"input {wanted}: {ref} is {columns.schema}: {difference}")
    if wanted.is_wildcard:
        return found
    if found:
        return next(iter(found.values()))
    if wanted.lifetime is Lifetime.OPTIONAL or spec.policy is CompletionPolicy.ANY:
        return None
    raise ProcessorError(f"input {wanted} did not arrive; at hand are {', '.join(map(str, at_hand)) or 'none'}")


def _condition(topology: Topology, wanted: InputSpec, source: TimeframeRef, state: WorkerState) -> Any:
    if topology.conditions is None:  # a topology not made by compile_workflow
        raise ProcessorError(f"input {wanted} is a condition, but the workflow was compiled without a store of them")
    ref = DataRef(wanted.origin, wanted.description, int(wanted.subspec))
    content = topology.conditions.fetch(ref, source.id, state, path=wanted.path)
    if wanted.schema is not None:
        difference = schema_difference(wanted.schema, content.schema) if isinstance(content, Columns) else "no columns"
        if difference:
            raise ShapeError(f"input {wanted}: the condition is {content!r:.100}: {difference}")
    return content


def _last_uses(topology: Topology, task: PhysicalTask) -> dict[DataRef, str]:
    """Return for each datum used in the task the processor that uses it last."""
    rank = {name: i for i, name in enumerate(task.processors)}
    uses: dict[DataRef, str] = {}
    for route in topology.routes:
        if route.consumer in rank and rank[route.consumer] >= rank[uses.get(route.ref, route.consumer)]:
            uses[route.ref] = route.consumer
    return uses


def _explained(error: Exception, processor: str, source: TimeframeRef) -> O2DaskError:
    """Return the error with processor and timeframe attached, in a form that another process can unpickle."""
    where = f"processor {processor!r}, {source}"
    if isinstance(error, O2DaskError) and _survives_pickling(error):
        error.add_note(where)
        return error
    wrapped = ProcessorError(f"processor {processor!r} failed on {source.id}: {type(error).__name__}: {error}")
    wrapped.add_note(where)
    return wrapped


def _survives_pickling(error: Exception) -> bool:
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:  # noqa: BLE001 - any failure of any kind means no
        return False
