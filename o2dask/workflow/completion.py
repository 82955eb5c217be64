"""Whether a processor runs on a timeframe: which data can be missing, known before the run, and what that means in it.

As in DPL (WorkflowHelpers: validateLifetime, validateExpendable; CompletionPolicyHelpers), what is needed in every
timeframe must be made in every timeframe, and nobody may depend on what is expendable unless resilient himself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from o2dask.columns import Column, Columns, Schema
from o2dask.context import InputRecord
from o2dask.errors import ProcessorError, WorkflowError
from o2dask.specs import CompletionOp, CompletionPolicy, DataProcessorSpec, DataRef, InputSpec, Lifetime
from o2dask.timeframe import BC_NS, TimeframeId
from o2dask.workflow.topology import Route

__all__ = ["TICKS", "find_uncertain", "is_complete", "ticks"]

TICKS = Schema("FWK/TICKS", (Column(name="time_ns", dtype="int64", unit="ns", text="since orbit 0 of the run"),))
"""What a timer input holds: a row for each tick within the timeframe."""

_ALWAYS = (Lifetime.TIMEFRAME, Lifetime.CONDITION)
_STRICT = (CompletionPolicy.ALL, CompletionPolicy.ORDERED)


def find_uncertain(workflow: str, ordered: Sequence[DataProcessorSpec], routes: Sequence[Route]) -> frozenset[DataRef]:
    """Return the data that some timeframes may lack.

    Raises
    ------
    WorkflowError
        If a processor needs such a datum in every timeframe.
    """
    uncertain: dict[DataRef, str] = {}
    by_consumer: dict[str, list[Route]] = {p.name: [] for p in ordered}
    for route in routes:
        by_consumer[route.consumer].append(route)
    for processor in ordered:
        inputs = {i.binding: i for i in processor.inputs}
        for route in by_consumer[processor.name]:
            wanted = inputs[route.binding]
            if route.ref in uncertain and _is_needed(processor, wanted) and not _may_depend(processor):
                raise WorkflowError(
                    f"workflow {workflow!r}: input {wanted} of {processor.name!r} is needed in every timeframe, but "
                    f"{route.producer!r} {uncertain[route.ref]}; mark the input ?lifetime=optional, or make "
                    f"{processor.name!r} expendable too"
                )
        reason = _may_not_run(processor, by_consumer[processor.name], uncertain)
        for output in processor.outputs:
            if reason or output.lifetime is not Lifetime.TIMEFRAME:
                uncertain[output.ref] = reason or "makes it only in some"
    return frozenset(uncertain)


def is_complete(spec: DataProcessorSpec, record: Mapping[str, Any], is_expected: Callable[[InputSpec], bool]) -> bool:
    """Return whether the processor runs on what has arrived.

    Parameters
    ----------
    spec : DataProcessorSpec
        Its policy decides.
    record : mapping of str to Columns, mapping or None
        The inputs by binding, conditions left out: they are always there. None has not arrived, a wildcard that
        matched nothing is an empty mapping.
    is_expected : callable
        Whether an input must be there in every timeframe, so that its absence is an error.

    Raises
    ------
    ProcessorError
        If an input that must be there is not.
    """
    if not isinstance(spec.policy, CompletionPolicy):
        return CompletionOp(spec.policy(InputRecord(record))).runs
    if spec.policy is CompletionPolicy.DISCARD or not record:
        return spec.policy is not CompletionPolicy.DISCARD
    arrived = {name for name, value in record.items() if value is not None and not (type(value) is dict and not value)}
    if spec.policy not in _STRICT:
        return bool(arrived)
    missing = [i for i in spec.inputs if record.get(i.binding, i) is None and _is_needed(spec, i)]
    for wanted in missing:
        if is_expected(wanted):
            raise ProcessorError(f"input {wanted} did not arrive; at hand are {', '.join(sorted(arrived)) or 'none'}")
    return not missing and (bool(arrived) or not _is_only_sporadic(spec))


def ticks(wanted: InputSpec, timeframe: TimeframeId) -> Columns | None:
    """Return the ticks of a timer within the timeframe, or None; they depend on the timeframe alone.

    >>> from o2dask.dataspecs import parse_inputs
    >>> clock, = parse_inputs("clock:TST/CLOCK?lifetime=timer&every=10")
    >>> [i for i in range(25) if ticks(clock, TimeframeId(run=1, tf_counter=i, first_orbit=32 * i))]
    [0, 10, 20]
    """
    start, end = timeframe.first_bc * BC_NS, (timeframe.first_bc + timeframe.n_bcs) * BC_NS
    if wanted.every:
        times = np.array([start] if timeframe.tf_counter % wanted.every == 0 else [])
    else:
        first, last = (int(np.ceil(t / wanted.period_ns)) for t in (start, end))  # half-open, as the timeframe is
        times = np.arange(first, last) * wanted.period_ns
    return Columns(TICKS, {"time_ns": times.astype(np.int64)}).freeze() if len(times) else None


def _is_needed(processor: DataProcessorSpec, wanted: InputSpec) -> bool:
    return wanted.lifetime in _ALWAYS and not wanted.is_wildcard and processor.policy in _STRICT


def _may_depend(processor: DataProcessorSpec) -> bool:
    return processor.expendable or "resilient" in processor.labels


def _is_only_sporadic(processor: DataProcessorSpec) -> bool:
    """Return whether no input comes with the timeframe itself; without one that arrived there is nothing to do."""
    data = [i.lifetime for i in processor.inputs if i.lifetime is not Lifetime.CONDITION]
    return bool(data) and set(data) <= {Lifetime.SPORADIC, Lifetime.TIMER, Lifetime.QA}


def _may_not_run(processor: DataProcessorSpec, routes: Sequence[Route], uncertain: Mapping[DataRef, str]) -> str:
    """Return why a timeframe may be without what the processor makes, or ""."""
    if processor.expendable:
        return "is expendable"
    if callable(processor.on_error):
        return "may go on after an error without it"
    if processor.policy is CompletionPolicy.DISCARD or not isinstance(processor.policy, CompletionPolicy):
        return "runs only when its completion policy says so"
    if all(i.lifetime is Lifetime.CONDITION for i in processor.inputs):
        return ""
    sure = [r for r in routes if r.ref not in uncertain]
    if processor.policy in _STRICT:
        inputs = {i.binding: i for i in processor.inputs}
        lacking = [r for r in routes if r.ref in uncertain and _is_needed(processor, inputs[r.binding])]
        if lacking or (_is_only_sporadic(processor) and not sure):
            return "runs only in some timeframes"
        return ""
    return "" if sure else "runs only in some timeframes"
