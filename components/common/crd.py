"""Checks Kubernetes custom resources against their real CRD schemas, as strictly as the API server can.

``schemas/`` holds the openAPI schemas of the resources that we write, taken from the projects' own CRD files
(KServe master of 2026-08, Gateway API 1.5, Training Operator 1.9, Trainer 2) and turned into plain JSON Schema
once by `vendor`. What only a webhook or a CEL rule checks is not covered here.
"""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from llm_flywheel.components.common.errors import FlywheelError

KINDS = {
    "InferenceService": "serving.kserve.io_inferenceservices",
    "ServingRuntime": "serving.kserve.io_servingruntimes",
    "ClusterServingRuntime": "serving.kserve.io_clusterservingruntimes",
    "HTTPRoute": "gatewayapi_httproute",
    "PyTorchJob": "kubeflow.org_pytorchjobs",
    "TrainJob": "trainer.kubeflow.org_trainjobs",
}

_DNS = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_LABEL_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
_LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
# What an author may write of ObjectMeta; the API server checks it outside the CRD's schema.
_OBJECT_META: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "pattern": _DNS, "maxLength": 253},
        "namespace": {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
        "labels": {
            "type": "object",
            "propertyNames": {"pattern": _LABEL_KEY},
            "additionalProperties": {"type": "string", "pattern": _LABEL_VALUE, "maxLength": 63},
        },
        "annotations": {
            "type": "object",
            "propertyNames": {"pattern": _LABEL_KEY},
            "additionalProperties": {"type": "string"},
        },
        "finalizers": {"type": "array", "items": {"type": "string"}},
        "ownerReferences": {"type": "array", "items": {"type": "object"}},
    },
}


def validate(body: Mapping[str, Any]) -> list[str]:
    """Check one custom resource the way the API server's strict mode does: unknown fields are errors.

    Args:
        body: The resource as a plain dict, with ``apiVersion``, ``kind`` and ``metadata``.

    Returns:
        One line per problem, each starting with the field's path; empty when the resource is valid.
    """
    kind, version = str(body.get("kind", "")), str(body.get("apiVersion", ""))
    if kind not in KINDS:
        return [f"kind: no schema for {kind!r}; known: {', '.join(sorted(KINDS))}"]
    schemas = _schemas(kind)
    if version not in schemas:
        return [f"apiVersion: {kind} has no {version!r}; known: {', '.join(sorted(schemas))}"]
    validator = _validator()(schemas[version])
    return sorted(line for error in validator.iter_errors(body) for line in _explain(error))


def require_valid(body: Mapping[str, Any]) -> None:
    """Refuse a resource that the API server would refuse.

    Raises:
        FlywheelError: The resource has problems; all of them are listed.
    """
    problems = validate(body)
    if problems:
        name = body.get("metadata", {}).get("name", "?")
        raise FlywheelError(
            "\n  ".join(["does not match its CRD schema", *problems]),
            where=f"{body.get('kind', 'object')}/{name}",
            reason="schema",
        )


@cache
def _schemas(kind: str) -> dict[str, Any]:
    """JSON Schemas of one kind, by ``apiVersion``."""
    source = resources.files("llm_flywheel.components.common") / "schemas" / f"{KINDS[kind]}.json.gz"
    value: dict[str, Any] = json.loads(gzip.decompress(source.read_bytes()))
    return value


@cache
def _validator() -> Any:
    """A JSON Schema validator with two rules of Kubernetes: 1.0 is no integer, entries of a map list are unique."""
    from jsonschema import Draft202012Validator, ValidationError, validators

    def unique_keys(_: Any, keys: Sequence[str], items: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
        if not isinstance(items, list):
            return
        fields = schema.get("items", {}).get("properties", {})
        seen = set()
        for item in items:
            if not isinstance(item, dict):
                continue
            key = json.dumps([item.get(name, fields.get(name, {}).get("default")) for name in keys])
            if key in seen:
                yield ValidationError(f"duplicate entry for {', '.join(keys)}: {key}")
            seen.add(key)

    checker = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    return validators.extend(
        Draft202012Validator, validators={"x-kubernetes-list-map-keys": unique_keys}, type_checker=checker
    )


def _explain(error: Any) -> list[str]:
    path = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties" and error.validator_value is False:
        known = sorted(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))
        return [f"{path}.{name}".lstrip(".") + f": unknown field{_near(name, known)}" for name in unknown]
    message = error.message
    if len(message) > 200:
        message = f"{message[:120]} … {message[-60:]}"
    return [f"{path or 'object'}: {message}"]


def _near(name: str, known: Sequence[str]) -> str:
    import difflib

    by_lower = {item.lower(): item for item in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def vendor(source: Path, target: Path) -> list[Path]:
    """Write ``schemas/`` from a folder of CRD YAML files.

    Run it after an upgrade of KServe, Gateway API, the Training Operator or Trainer::

        python -m llm_flywheel.components.common.crd /path/to/crds components/common/schemas

    Args:
        source: Folder with ``<name>.yaml`` for every name in `KINDS`.
        target: Folder to write ``<name>.json.gz`` to.

    Returns:
        The files written. Their bytes depend on the CRDs alone.
    """
    written = []
    target.mkdir(parents=True, exist_ok=True)
    for kind, name in KINDS.items():
        documents = yaml.load_all(
            (source / f"{name}.yaml").read_bytes(),
            Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),
        )
        found = {}
        for spec in (document["spec"] for document in documents if document):
            if spec["names"]["kind"] == kind:
                for version in spec["versions"]:
                    schema = _json_schema(version["schema"]["openAPIV3Schema"])
                    schema["properties"]["metadata"] = _OBJECT_META
                    schema["required"] = sorted({*schema.get("required", ()), "metadata"})
                    found[f"{spec['group']}/{version['name']}"] = schema
        path = target / f"{name}.json.gz"
        text = json.dumps(found, sort_keys=True, separators=(",", ":"))
        path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
        written.append(path)
    return written


def _json_schema(node: Any) -> Any:
    """One openAPI v3 schema of a CRD as plain JSON Schema, without descriptions."""
    if isinstance(node, list):
        return [_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: value for key, value in node.items() if key not in _DROPPED}
    for key in ("items", "not", "additionalProperties", "allOf", "anyOf", "oneOf"):
        if key in result:
            result[key] = _json_schema(result[key])
    if "properties" in result:
        result["properties"] = {name: _json_schema(value) for name, value in result["properties"].items()}
    if node.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
        result.pop("anyOf", None)
    if node.get("nullable") and "type" in result:
        kinds = result["type"] if isinstance(result["type"], list) else [result["type"]]
        result["type"] = [*kinds, "null"]
    if node.get("type") == "object" and "additionalProperties" not in node:
        # Pruned on write, hence an error in strict mode. Schemas inside anyOf and the like carry no type.
        result["additionalProperties"] = bool(node.get("x-kubernetes-preserve-unknown-fields"))
    if "required" in result:
        # The server fills defaults in before it looks for what is missing.
        fields = result.get("properties", {})
        result["required"] = [name for name in result["required"] if "default" not in fields.get(name, {})]
    return result


_DROPPED = {
    "description",
    "example",
    "format",
    "nullable",
    "x-kubernetes-validations",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
}

if __name__ == "__main__":
    import sys

    for item in vendor(Path(sys.argv[1]), Path(sys.argv[2])):
        print(item)
