"""A topology as JSON and back. Algorithms are names (``module:qualname``): reading one imports code, as Python would.

Nothing is unpickled or evaluated, and what is read is compiled anew, so a file cannot hold an unchecked topology.
"""

import json
from collections.abc import Mapping
from typing import Any

from o2dask.columns import Column, Schema
from o2dask.errors import ConfigError
from o2dask.specs import (
    CompletionPolicy,
    ConfigParamSpec,
    DataProcessorSpec,
    DataRef,
    InputSpec,
    Lifetime,
    OutputSpec,
    WorkflowSpec,
)
from o2dask.workflow.loading import locate, portable_path
from o2dask.workflow.topology import Topology

__all__ = ["topology_from_json", "topology_to_json"]

FORMAT = "o2dask-topology"
VERSION = 1


def topology_to_json(topology: Topology) -> str:
    """Return the topology as JSON, indented."""
    described = {
        "format": FORMAT,
        "version": VERSION,
        "name": topology.name,
        "fingerprint": topology.fingerprint,
        "processors": [_processor_to_json(p, topology.options[p.name]) for p in topology.processors],
        "routes": [[r.producer, str(r.ref), r.consumer, r.binding] for r in topology.routes],
        "conditions": None if topology.conditions is None else topology.conditions.to_json(),
    }
    return json.dumps(described, indent=1)


def topology_from_json(text: str) -> Topology:
    """Return the topology written as JSON, checked as if it had been declared here.

    Raises
    ------
    ConfigError
        If the text is not such JSON, or an algorithm cannot be found.
    """
    from o2dask.workflow.compiler import compile_workflow

    try:
        described = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"topology: want JSON, got {text[:40]!r} ({error})") from None
    if not isinstance(described, dict) or described.get("format") != FORMAT or described.get("version") != VERSION:
        raise ConfigError(f"topology: want format {FORMAT!r} version {VERSION}; write it with `o2dask workflow show`")
    try:
        processors = tuple(_processor_from_json(p) for p in described["processors"])
        options = {p["name"]: {o["name"]: o["value"] for o in p["options"]} for p in described["processors"]}
        conditions = None
        if described.get("conditions"):
            from o2dask.conditions import ConditionFetcher

            conditions = ConditionFetcher.from_json(described["conditions"])
        return compile_workflow(WorkflowSpec(described["name"], processors), options, conditions=conditions)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"topology: damaged JSON: {type(error).__name__}: {error}") from None


def _processor_to_json(p: DataProcessorSpec, options: Mapping[str, Any]) -> dict[str, Any]:
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
                "path": i.path,
            }
            for i in p.inputs
        ],
        "outputs": [
            {"binding": o.binding, "ref": str(o.ref), "lifetime": o.lifetime, "schema": _schema_to_json(o.schema)}
            for o in p.outputs
        ],
        "algorithm": portable_path(p.algorithm),
        "options": [
            {
                "name": o.name,
                "default": o.default,
                "value": options[o.name],
                "help": o.help,
                "choices": list(o.choices),
            }
            for o in p.options
        ],
        "policy": p.policy,
        "cost_ms": p.cost_ms,
        "resources": dict(p.resources),
        "labels": list(p.labels),
    }


def _processor_from_json(d: Mapping[str, Any]) -> DataProcessorSpec:
    return DataProcessorSpec(
        name=d["name"],
        inputs=tuple(
            InputSpec(
                binding=i["binding"],
                origin=i["origin"],
                description=i["description"],
                subspec=i["subspec"],
                lifetime=Lifetime(i["lifetime"]),
                schema=_schema_from_json(i["schema"]),
                path=i.get("path", ""),
            )
            for i in d["inputs"]
        ),
        outputs=tuple(
            OutputSpec(
                binding=o["binding"],
                ref=DataRef.parse(o["ref"]),
                lifetime=Lifetime(o["lifetime"]),
                schema=_schema_from_json(o["schema"]),
            )
            for o in d["outputs"]
        ),
        algorithm=locate(d["algorithm"], f"algorithm of processor {d['name']!r}"),
        options=tuple(
            ConfigParamSpec(name=o["name"], default=o["default"], help=o["help"], choices=tuple(o["choices"]))
            for o in d["options"]
        ),
        policy=CompletionPolicy(d["policy"]),
        cost_ms=float(d["cost_ms"]),
        resources=dict(d["resources"]),
        labels=tuple(d["labels"]),
    )


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
