"""Workflows and topologies as JSON and back: declarations as values, algorithms and services by name.

Nothing is unpickled or evaluated, and a topology that is read is compiled anew, so a file cannot hold an unchecked one.
A workflow may have dangling ends: that is how `o2dask run --dump` sends it through a pipe to where they are met.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from o2dask.columns import Column, Schema
from o2dask.errors import ConfigError
from o2dask.option_values import json_of
from o2dask.services.registry import ServiceSpec
from o2dask.specs import (
    AlgorithmSpec,
    CompletionPolicy,
    ConfigParamSpec,
    DataProcessorSpec,
    DataRef,
    DispatchPolicy,
    ErrorPolicy,
    InputSpec,
    Lifetime,
    OutputSpec,
    WorkflowSpec,
)
from o2dask.workflow.loading import locate, portable_path
from o2dask.workflow.topology import Topology, with_defaults

__all__ = ["topology_from_json", "topology_to_json", "workflow_from_json", "workflow_to_json"]

TOPOLOGY, WORKFLOW = "o2dask-topology", "o2dask-workflow"
VERSION = 1

Made = TypeVar("Made")


def topology_to_json(topology: Topology) -> str:
    """Return the topology as JSON, indented."""
    tail: dict[str, Any] = {
        kind: [[r.producer, str(r.ref), r.consumer, r.binding] for r in found]
        for kind, found in (("routes", topology.routes), ("feedback", topology.feedback))
    }
    tail["conditions"] = None if topology.conditions is None else topology.conditions.to_json()
    declared = WorkflowSpec(topology.name, topology.processors, topology.on_error)
    described = _described(TOPOLOGY, declared, {"fingerprint": topology.fingerprint}) | tail
    for p in described["processors"]:
        p["options"] = [{**o, "value": json_of(topology.options[p["name"]][o["name"]])} for o in p["options"]]
    return json.dumps(described, indent=1)


def topology_from_json(text: str) -> Topology:
    """Return the topology written as JSON, checked as if it had been declared here.

    Raises
    ------
    ConfigError
        If the text is not such JSON, or an algorithm cannot be found.
    """
    from o2dask.workflow.compiler import compile_workflow

    def compiled(described: dict[str, Any]) -> Topology:
        conditions = None
        if described.get("conditions"):
            from o2dask.conditions import ConditionFetcher

            conditions = ConditionFetcher.from_json(described["conditions"])
        chosen = {p["name"]: {o["name"]: o["value"] for o in p["options"]} for p in described["processors"]}
        return compile_workflow(_workflow(described), chosen, conditions=conditions)

    return _read(text, (TOPOLOGY,), compiled)


def workflow_to_json(workflow: WorkflowSpec) -> str:
    """Return the workflow as JSON, indented; nothing is checked, ends may dangle."""
    return json.dumps(_described(WORKFLOW, workflow), indent=1)


def workflow_from_json(text: str) -> WorkflowSpec:
    """Return the workflow written by `workflow_to_json`, or that of a topology; ConfigError if it is damaged."""

    def chosen(described: dict[str, Any]) -> WorkflowSpec:
        workflow = _workflow(described)
        values = [{o["name"]: o.get("value", o["default"]) for o in p["options"]} for p in described["processors"]]
        made = (with_defaults(p, v) for p, v in zip(workflow.processors, values, strict=True))
        return replace(workflow, processors=tuple(made))

    return _read(text, (WORKFLOW, TOPOLOGY), chosen)


def _described(format: str, workflow: WorkflowSpec, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    head = {"format": format, "version": VERSION, "name": workflow.name, "on_error": workflow.on_error, **(more or {})}
    return head | {"processors": [_processor_to_json(p) for p in workflow.processors]}


def _read(text: str, formats: tuple[str, ...], make: Callable[[dict[str, Any]], Made]) -> Made:
    try:
        described = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"topology: want JSON, got {text[:40]!r} ({error})") from None
    if not isinstance(described, dict) or described.get("format") not in formats or described.get("version") != VERSION:
        wanted = " or ".join(map(repr, formats))
        raise ConfigError(
            f"topology: want format {wanted} version {VERSION}; write it with `o2dask run WORKFLOW --dump`"
        )
    try:
        return make(described)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"topology: damaged JSON: {type(error).__name__}: {error}") from None


def _workflow(described: Mapping[str, Any]) -> WorkflowSpec:
    processors = tuple(_processor_from_json(p) for p in described["processors"])
    return WorkflowSpec(described["name"], processors, ErrorPolicy(described["on_error"]))


def _processor_to_json(p: DataProcessorSpec) -> dict[str, Any]:
    return {
        "name": p.name,
        "inputs": [
            {
                "binding": i.binding,
                "origin": i.origin,
                "description": i.description,
                "subspec": i.subspec,
                "lifetime": i.lifetime,
                "schema": _schema_to_json(i.schema),
                "feedback": i.feedback,
                "metadata": dict(i.metadata),
            }
            for i in p.inputs
        ],
        "outputs": [
            {
                "binding": o.binding,
                "ref": str(o.ref),
                "lifetime": o.lifetime,
                "schema": _schema_to_json(o.schema),
                "metadata": dict(o.metadata),
            }
            for o in p.outputs
        ],
        "algorithm": _algorithm_to_json(p.algorithm),
        "options": [{**_fields(o), "choices": list(o.choices)} for o in p.options],
        "policy": _policy_to_json(p.policy),
        "dispatch": _policy_to_json(p.dispatch),
        "on_error": _policy_to_json(p.on_error),
        "expendable": p.expendable,
        "deadline_s": p.deadline_s,
        "memory_mib": p.memory_mib,
        "cost_ms": p.cost_ms,
        "resources": dict(p.resources),
        "services": [_service_to_json(service) for service in p.services],
        "labels": list(p.labels),
        "metadata": dict(p.metadata),
        "copy": list(p.copy),
        "pipeline": p.pipeline,
    }


def _processor_from_json(d: Mapping[str, Any]) -> DataProcessorSpec:
    name = d["name"]
    return DataProcessorSpec(
        name,
        inputs=tuple(
            InputSpec(**{**i, "lifetime": Lifetime(i["lifetime"]), "schema": _schema_from_json(i["schema"])})
            for i in d["inputs"]
        ),
        outputs=tuple(
            OutputSpec(
                binding=o["binding"],
                ref=DataRef.parse(o["ref"]),
                lifetime=Lifetime(o["lifetime"]),
                schema=_schema_from_json(o["schema"]),
                metadata=dict(o["metadata"]),
            )
            for o in d["outputs"]
        ),
        algorithm=_algorithm_from_json(d["algorithm"], name),
        options=tuple(
            ConfigParamSpec(**{**{k: v for k, v in o.items() if k != "value"}, "choices": tuple(o["choices"])})
            for o in d["options"]
        ),
        policy=_policy_from_json(d["policy"], CompletionPolicy, f"policy of processor {name!r}"),
        dispatch=_policy_from_json(
            d.get("dispatch", "after-computation"), DispatchPolicy, f"dispatch of processor {name!r}"
        ),
        on_error=_policy_from_json(d["on_error"], ErrorPolicy, f"on_error of processor {name!r}"),
        expendable=bool(d["expendable"]),
        deadline_s=d["deadline_s"],
        memory_mib=d["memory_mib"],
        cost_ms=float(d["cost_ms"]),
        resources=dict(d["resources"]),
        services=tuple(_service_from_json(one, f"service of processor {name!r}") for one in d["services"]),
        labels=tuple(d["labels"]),
        metadata=dict(d["metadata"]),
        copy=(int(d["copy"][0]), int(d["copy"][1])),
        pipeline=int(d["pipeline"]),
    )


def _algorithm_to_json(algorithm: Any) -> Any:
    if not isinstance(algorithm, AlgorithmSpec):
        return portable_path(algorithm)
    if algorithm.devices:
        return {"devices": {name: _algorithm_to_json(one) for name, one in algorithm.devices}}
    kind = "process" if algorithm.init is None else "init"
    return {kind: portable_path(getattr(algorithm, kind))}


def _algorithm_from_json(d: Any, processor: str) -> Any:
    if isinstance(d, str):
        return locate(d, f"algorithm of processor {processor!r}")
    if "devices" in d:
        return AlgorithmSpec(
            devices=tuple((n, _algorithm_from_json(one, processor)) for n, one in d["devices"].items())
        )
    return AlgorithmSpec(**{kind: _algorithm_from_json(path, processor) for kind, path in d.items()})


def _policy_to_json(policy: Any) -> Any:
    """Return a word, or the name of a function; None stays None."""
    return {"function": portable_path(policy)} if callable(policy) else policy


def _policy_from_json(d: Any, kind: type, what: str) -> Any:
    if isinstance(d, Mapping):
        return locate(d["function"], what)
    return None if d is None else kind(d)


def _service_to_json(service: "type | ServiceSpec") -> Any:
    if not isinstance(service, ServiceSpec):
        return portable_path(service)
    build = None if service.build is None else portable_path(service.build)
    return {"kind": portable_path(service.kind), "build": build, "per": service.per}


def _service_from_json(d: Any, what: str) -> Any:
    if isinstance(d, str):
        return locate(d, what)
    build = None if d["build"] is None else locate(d["build"], what)
    return ServiceSpec(locate(d["kind"], what), build, d["per"])


def _fields(option: ConfigParamSpec) -> dict[str, Any]:
    told = {name: getattr(option, name) for name in ("name", "help", "minimum", "maximum")}
    return told | {"default": json_of(option.default)}


def _schema_to_json(schema: Schema | None) -> dict[str, Any] | None:
    if schema is None:
        return None
    columns = [
        {
            "name": c.name,
            "dtype": c.dtype,
            "unit": c.unit,
            "text": c.text,
            "shape": list(c.shape),
            "is_jagged": c.is_jagged,
        }
        for c in schema.columns
    ]
    return {"name": schema.name, "version": schema.version, "columns": columns}


def _schema_from_json(d: Mapping[str, Any] | None) -> Schema | None:
    if d is None:
        return None
    columns = tuple(Column(**{**c, "shape": tuple(c["shape"])}) for c in d["columns"])
    return Schema(d["name"], columns, d["version"])
