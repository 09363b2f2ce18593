"""Against a small HTTP server that keeps objects as an API server does; a real cluster is issue 4's."""

from typing import Any

import pytest

from llm_flywheel.components.common.cluster import Cluster
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service.client import apply_service, not_ready, wait_ready
from llm_flywheel.serving.inference_service.config import GatewayRef, ModelVersion, ServiceSpec

SPEC = ServiceSpec(
    name="support",
    namespace="models",
    gateway=GatewayRef(name="gw"),
    stable=ModelVersion(version="1", uri="s3://m/1"),
    canary=ModelVersion(version="2", uri="s3://m/2"),
    canary_percent=10,
)
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def test_a_service_is_applied_stage_by_stage(api_server: Any, cluster: Cluster) -> None:
    assert apply_service(SPEC, timeout_s=5, cluster=cluster) == "http://10.0.0.7/v1"
    paths = [path.split("/namespaces/models/")[1] for path, _, _ in api_server.applied]
    assert paths == [
        "servingruntimes/support-vllm",
        "inferenceservices/support",
        "httproutes/support-split",
        "inferenceservices/support-canary",
        "httproutes/support-split",
    ]
    _, query, kind = api_server.applied[0]
    assert query == {"fieldManager": ["llm-flywheel"], "force": ["true"], "fieldValidation": ["Strict"]}
    assert kind == "application/apply-patch+yaml"


def test_a_service_that_does_not_get_ready_is_explained(api_server: Any, cluster: Cluster) -> None:
    api_server.status = {"conditions": [{"type": "Ready", "status": "False", "message": "image cannot be pulled"}]}
    with pytest.raises(FlywheelError, match="Ready: image cannot be pulled") as caught:
        apply_service(SPEC, timeout_s=0, cluster=cluster)
    assert caught.value.reason == "timeout"
    assert len(api_server.applied) == 3  # the canary was never started


def test_what_the_server_refuses_is_explained(api_server: Any, cluster: Cluster) -> None:
    api_server.forbidden.add("/apis/serving.kserve.io/v1alpha1/namespaces/models/servingruntimes/support-vllm")
    with pytest.raises(FlywheelError, match="the cluster refused: 403: not allowed"):
        apply_service(SPEC, timeout_s=5, cluster=cluster)


def test_a_cluster_that_is_gone_is_explained(api_server: Any, cluster: Cluster) -> None:
    from kubernetes import client

    configuration = client.Configuration(host="http://127.0.0.1:9")
    configuration.retries = False
    with pytest.raises(FlywheelError, match="the cluster does not answer"):
        apply_service(SPEC, timeout_s=5, cluster=Cluster(client.ApiClient(configuration)))


def test_waiting_ends_when_the_object_is_ready(api_server: Any, cluster: Cluster) -> None:
    body = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "support", "namespace": "models"},
    }
    path = "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices/support"
    api_server.objects[path] = {**body, "status": {}}
    api_server.ready_from_read = 3
    wait_ready(cluster, body, timeout_s=20, poll_s=0.02)
    assert api_server.reads == 3


@pytest.mark.parametrize(
    ("changes", "where"),
    [({}, "Gateway/gw in models"), ({"canary": None, "gateway": None}, "InferenceService/support in models")],
)
def test_a_service_that_nobody_can_reach_is_an_error(
    api_server: Any, cluster: Cluster, changes: dict[str, Any], where: str
) -> None:
    api_server.objects["/apis/gateway.networking.k8s.io/v1/namespaces/models/gateways/gw"] = {"status": {}}
    spec = SPEC.model_copy(update={**changes, "canary_percent": 0})
    with pytest.raises(FlywheelError, match="no address") as caught:
        apply_service(spec, timeout_s=5, cluster=cluster)
    assert (caught.value.reason, caught.value.where) == ("no_address", where)


@pytest.mark.parametrize(
    ("status", "waiting"),
    [
        ({}, "Ready: unknown"),
        (READY, ""),
        (
            {**READY, "components": {"predictor": {"latestCreatedRevision": "r2", "latestReadyRevision": "r1"}}},
            "revision r2; ready is r1",
        ),
        (
            {"conditions": [*READY["conditions"], {"type": "CanaryPredictorReady", "status": "False", "reason": "X"}]},
            "CanaryPredictorReady: X",
        ),
        ({**READY, "canaryStatuses": [{"name": "v2", "ready": False}]}, "canary v2"),
        ({**READY, "canaryStatuses": [{"name": "v2", "ready": True}]}, ""),
    ],
)
def test_ready_means_the_canary_too(status: dict[str, Any], waiting: str) -> None:
    assert not_ready({"status": status}) == waiting
