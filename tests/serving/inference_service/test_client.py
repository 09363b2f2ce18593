"""Against a small HTTP server that keeps objects as an API server does; a real cluster is issue 4's."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.inference_service.client import Cluster, apply_service, not_ready, wait_ready
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


class ApiServer(HTTPServer):
    """Objects by path; what was applied, in order; paths that answer 403."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, Any] = {}
        self.applied: list[tuple[str, dict[str, list[str]], str]] = []
        self.forbidden: set[str] = set()
        self.status: dict[str, Any] = READY


class Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def log_message(self, format: str, *args: Any) -> None:
        return

    def _answer(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PATCH(self) -> None:
        parts = urlsplit(self.path)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if parts.path in self.server.forbidden:
            return self._answer(403, {"message": "not allowed"})
        self.server.applied.append((parts.path, parse_qs(parts.query), self.headers["content-type"]))
        self.server.objects[parts.path] = {**body, "status": self.server.status}
        return self._answer(200, self.server.objects[parts.path])

    def do_GET(self) -> None:
        found = self.server.objects.get(urlsplit(self.path).path)
        return self._answer(200 if found else 404, found or {"message": "not found"})


@pytest.fixture
def server() -> Iterator[ApiServer]:
    made = ApiServer()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.objects["/apis/gateway.networking.k8s.io/v1/namespaces/models/gateways/gw"] = {
        "status": {"addresses": [{"value": "10.0.0.7"}]}
    }
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def cluster(server: ApiServer) -> Cluster:
    from kubernetes import client

    configuration = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    configuration.retries = False
    return Cluster(client.ApiClient(configuration))


def test_a_service_is_applied_stage_by_stage(server: ApiServer, cluster: Cluster) -> None:
    assert apply_service(SPEC, timeout_s=5, cluster=cluster) == "http://10.0.0.7/v1"
    paths = [path.split("/namespaces/models/")[1] for path, _, _ in server.applied]
    assert paths == [
        "servingruntimes/support-vllm",
        "inferenceservices/support",
        "httproutes/support-split",
        "inferenceservices/support-canary",
        "httproutes/support-split",
    ]
    _, query, kind = server.applied[0]
    assert query == {"fieldManager": ["llm-flywheel"], "force": ["true"], "fieldValidation": ["Strict"]}
    assert kind == "application/apply-patch+yaml"


def test_a_service_that_does_not_get_ready_is_explained(server: ApiServer, cluster: Cluster) -> None:
    server.status = {"conditions": [{"type": "Ready", "status": "False", "message": "image cannot be pulled"}]}
    with pytest.raises(FlywheelError, match="Ready: image cannot be pulled") as caught:
        apply_service(SPEC, timeout_s=0, cluster=cluster)
    assert caught.value.reason == "timeout"
    assert len(server.applied) == 3  # the canary was never started


def test_what_the_server_refuses_is_explained(server: ApiServer, cluster: Cluster) -> None:
    server.forbidden.add("/apis/serving.kserve.io/v1alpha1/namespaces/models/servingruntimes/support-vllm")
    with pytest.raises(FlywheelError, match="the cluster refused: 403 .*not allowed"):
        apply_service(SPEC, timeout_s=5, cluster=cluster)


def test_a_cluster_that_is_gone_is_explained(server: ApiServer, cluster: Cluster) -> None:
    from kubernetes import client

    configuration = client.Configuration(host="http://127.0.0.1:9")
    configuration.retries = False
    with pytest.raises(FlywheelError, match="the cluster does not answer"):
        apply_service(SPEC, timeout_s=5, cluster=Cluster(client.ApiClient(configuration)))


def test_waiting_ends_when_the_object_is_ready(server: ApiServer, cluster: Cluster) -> None:
    body = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "support", "namespace": "models"},
    }
    path = "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices/support"
    server.objects[path] = {**body, "status": {}}
    threading.Timer(0.1, lambda: server.objects.update({path: {**body, "status": READY}})).start()
    wait_ready(cluster, body, timeout_s=20, poll_s=0.02)


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
