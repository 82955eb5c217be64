"""The life of a processor on one worker: made and initialised before its first timeframe, ended after its last.

Knows algorithms and services, no data and no graph.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from o2dask.context import DataAllocator, InputRecord, ProcessingContext, WorkerState
from o2dask.errors import ConfigError, SpecError
from o2dask.options import bind_options
from o2dask.services import CallbackId, CallbackService, DeviceContext
from o2dask.specs import AlgorithmSpec, DataProcessorSpec, Task
from o2dask.timeframe import TimeframeRef
from o2dask.workflow.faults import stop_for
from o2dask.workflow.topology import Topology

__all__ = ["Instance", "finish", "instance_of"]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Instance:
    """One instance of a processor: what to call per timeframe and at the end, and a context without data."""

    run: Callable[[ProcessingContext], Any]
    end: Callable[[ProcessingContext], None] | None
    last: ProcessingContext


def instance_of(topology: Topology, spec: DataProcessorSpec, source: TimeframeRef, state: WorkerState) -> Instance:
    """Return the instance of a processor that takes this timeframe, made and initialised if it is its first here."""
    slot = source.id.tf_counter % spec.pipeline
    key = "instance", topology.fingerprint, spec.name, slot
    try:
        return state.get(key, lambda: _start(topology, spec, source, state))
    except ConfigError as error:  # a setting that cannot work on any timeframe
        stop_for(error)
        raise


def finish(topology: Topology, state: WorkerState) -> None:
    """End all processors of a worker, then its services; forget them.

    What fails is told in the log: the timeframes are committed, and the others have to be ended too.
    """
    built = state.built()
    for instance in built.values():
        if isinstance(instance, Instance):
            ctx = _context(topology, instance.last.spec, instance.last.source, state)
            callbacks = ctx.services[CallbackService]
            what = f"end of processor {ctx.spec.name!r}"
            if instance.end is not None:
                _safely(what, partial(instance.end, ctx))
            for when in (CallbackId.END_OF_STREAM, CallbackId.STOP):
                _safely(what, partial(callbacks, when, ctx))
    for key, one in reversed(built.items()):
        if isinstance(key, tuple) and key[0] == "service" and hasattr(one, "close"):
            _safely(f"end of service {type(one).__name__}", one.close)
    state.clear()


def _start(topology: Topology, spec: DataProcessorSpec, source: TimeframeRef, state: WorkerState) -> Instance:
    """Return a new instance after ``init``; it sees no data, so any timeframe may be first."""
    ctx = _context(topology, spec, source, state)
    algorithm = spec.algorithm
    if isinstance(algorithm, AlgorithmSpec):
        kinds = ctx.services[DeviceContext].kinds if algorithm.devices else frozenset()
        algorithm = algorithm.on(kinds)
    instance = Instance(algorithm, None, ctx)
    if isinstance(algorithm, AlgorithmSpec):
        assert algorithm.init is not None
        instance.run = algorithm.init(ctx)
        if not callable(instance.run):
            raise SpecError(f"processor {spec.name!r}: init returned {instance.run!r}, want the function to call")
    elif isinstance(algorithm, type):
        task: Task = algorithm()
        bind_options(task, ctx.options)
        if hasattr(task, "init"):
            task.init(ctx)
        instance.run, instance.end = task.run, getattr(task, "end_of_stream", None)
    ctx.services[CallbackService](CallbackId.START, ctx)
    return instance


def _context(
    topology: Topology, spec: DataProcessorSpec, source: TimeframeRef, state: WorkerState
) -> ProcessingContext:
    """Return a context without data."""
    return ProcessingContext(
        spec=spec,
        source=source,
        inputs=InputRecord({}),
        outputs=DataAllocator(()),
        options=topology.options[spec.name],
        state=state,
        conditions=topology.conditions,
    )


def _safely(what: str, step: Callable[[], object]) -> None:
    try:
        step()
    except Exception as error:  # noqa: BLE001 - one that cannot end must not keep the others from it
        log.warning("%s: %s: %s", what, type(error).__name__, error)
