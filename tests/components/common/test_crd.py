import importlib.resources
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from llm_flywheel.components.common import crd
from llm_flywheel.components.common.errors import FlywheelError

ISVC: dict[str, Any] = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "chat", "namespace": "models"},
    "spec": {
        "predictor": {
            "minReplicas": 1,
            "model": {
                "modelFormat": {"name": "vLLM"},
                "storageUri": "s3://models/a",
                "resources": {"limits": {"cpu": 2, "memory": "4Gi"}},
            },
        }
    },
}
ROUTE: dict[str, Any] = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "chat"},
    "spec": {"rules": [{"backendRefs": [{"name": "chat-predictor", "port": 80, "weight": 100}]}]},
}
JOB: dict[str, Any] = {
    "apiVersion": "kubeflow.org/v1",
    "kind": "PyTorchJob",
    "metadata": {"name": "tune"},
    "spec": {
        "pytorchReplicaSpecs": {
            "Master": {
                "replicas": 1,
                "template": {
                    "spec": {"containers": [{"name": "pytorch", "image": "x", "ports": [{"containerPort": 1}]}]}
                },
            }
        }
    },
}


def changed(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of ``body`` with the value at the dotted ``path`` replaced."""
    result = deepcopy(body)
    node: Any = result
    *parents, last = path.split(".")
    for part in parents:
        node = node[int(part)] if part.isdigit() else node[part]
    node[last] = value
    return result


@pytest.mark.parametrize("body", [ISVC, ROUTE, JOB], ids=["isvc", "route", "job"])
def test_a_valid_body_has_no_problems(body: dict[str, Any]) -> None:
    assert crd.validate(body) == []


def test_every_vendored_kind_can_be_read() -> None:
    body = {"apiVersion": "x/v1", "metadata": {"name": "a"}}
    problems = {kind: crd.validate({**body, "kind": kind})[0] for kind in crd.KINDS}
    assert problems["TrainJob"] == "apiVersion: TrainJob has no 'x/v1'; known: trainer.kubeflow.org/v1alpha1"
    assert problems["HTTPRoute"].endswith("known: gateway.networking.k8s.io/v1, gateway.networking.k8s.io/v1beta1")
    assert all("known:" in line for line in problems.values())


@pytest.mark.parametrize(
    ("body", "path", "value", "problem"),
    [
        (ISVC, "spec.predictor.model.storageURI", "s3://b", "storageURI: unknown field; did you mean 'storageUri'?"),
        (ISVC, "spec.predictor.minReplicas", "one", "spec.predictor.minReplicas: 'one' is not of type 'integer'"),
        (ISVC, "spec.predictor.minReplicas", 1.0, "spec.predictor.minReplicas: 1.0 is not of type 'integer'"),
        (ISVC, "spec.predictor.minReplicas", None, "spec.predictor.minReplicas: None is not of type 'integer'"),
        (ISVC, "spec.predictor.model.resources.limits.cpu", 0.5, "0.5 is not of type 'integer', 'string'"),
        (ISVC, "spec.predictor.model.resources.limits.cpu", "two", "'two' does not match"),
        (ISVC, "metadata.name", "Chat", "metadata.name: 'Chat' does not match"),
        (ISVC, "metadata.labels", {"a": "has space"}, "metadata.labels.a: 'has space' does not match"),
        (ISVC, "metadata.annotations", {"a": 1}, "metadata.annotations.a: 1 is not of type 'string'"),
        (ISVC, "statuss", {}, "statuss: unknown field"),
        (ROUTE, "spec.rules.0.backendRefs.0.weight", 2_000_000, "greater than the maximum of 1000000"),
        (ROUTE, "spec.rules.0.backendRefs.0.port", 0, "less than the minimum of 1"),
        (JOB, "spec.pytorchReplicaSpecs", None, "spec.pytorchReplicaSpecs: None is not of type 'object'"),
        (JOB, "spec.pytorchReplicaSpecs.Master.template.metadata", {"owner": "me"}, "metadata.owner: unknown field"),
    ],
)
def test_what_the_server_refuses_is_named_with_its_path(
    body: dict[str, Any], path: str, value: Any, problem: str
) -> None:
    problems = crd.validate(changed(body, path, value))
    assert len(problems) == 1
    assert problem in problems[0]


def test_a_missing_required_field_is_a_problem_unless_the_server_has_a_default() -> None:
    no_spec = {key: value for key, value in JOB.items() if key != "metadata"}
    assert crd.validate(no_spec) == ["object: 'metadata' is a required property"]
    # ports[].protocol is a list-map key, hence required, but defaults to TCP: JOB is valid without it.
    twice = changed(JOB, "spec.pytorchReplicaSpecs.Master.template.spec.containers.0.ports", [{"containerPort": 1}] * 2)
    assert "duplicate entry for containerPort, protocol" in crd.validate(twice)[0]


def test_int_or_string_fields_take_both() -> None:
    for cpu in (2, "2", "500m"):
        assert crd.validate(changed(ISVC, "spec.predictor.model.resources.limits.cpu", cpu)) == []


def test_require_valid_names_the_object_and_every_problem() -> None:
    body = changed(changed(ISVC, "spec.canaryy", []), "metadata.name", "B")
    with pytest.raises(FlywheelError) as caught:
        crd.require_valid(body)
    assert caught.value.reason == "schema"
    assert str(caught.value).startswith("InferenceService/B: does not match its CRD schema")
    assert "spec.canaryy: unknown field; did you mean 'canary'?" in str(caught.value)


def test_vendoring_turns_openapi_into_strict_json_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toys.yaml").write_text(
        """
spec:
  group: example.org
  names: {kind: Toy}
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        type: object
        description: long
        properties:
          apiVersion: {type: string}
          kind: {type: string}
          metadata: {type: object}
          spec:
            type: object
            required: [size, color]
            properties:
              size: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
              color: {type: string, default: red}
              owner: {type: string, nullable: true}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
    )
    target = tmp_path / "out"
    monkeypatch.setattr(crd, "KINDS", {"Toy": "toys"})
    (path,) = crd.vendor(tmp_path, target)
    first = path.read_bytes()
    assert crd.vendor(tmp_path, target)[0].read_bytes() == first
    monkeypatch.setattr(importlib.resources, "files", lambda _: tmp_path)
    target.rename(tmp_path / "schemas")
    crd._schemas.cache_clear()
    toy = {"apiVersion": "example.org/v1", "kind": "Toy", "metadata": {"name": "t"}}
    assert crd.validate({**toy, "spec": {"size": 3, "owner": None, "free": {"any": 1}}}) == []
    assert crd.validate({**toy, "spec": {"size": True}}) == ["spec.size: True is not of type 'integer', 'string'"]
    assert crd.validate({**toy, "spec": {}}) == ["spec: 'size' is a required property"]
    crd._schemas.cache_clear()
