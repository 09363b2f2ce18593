"""A small HTTP server that keeps objects as a Kubernetes API server does, for error paths.

What KServe and a Gateway would make of the objects is written beside them, and the Gateway answers on a real socket.
"""

import json
import random
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

READY = {"conditions": [{"type": "Ready", "status": "True"}]}
COLLECTIONS = ("pods", "events", "inferenceservices")
GATEWAY = "/apis/gateway.networking.k8s.io/v1/namespaces/models/gateways/gw"


class ApiServer(HTTPServer):
    """Objects and texts by path, and what was done to them.

    Attributes:
        objects: What is there.
        texts: What answers as text: logs, a pod's metrics.
        applied: Path, query and content type of every server-side apply, in order.
        deleted: Paths, in order.
        forbidden: Paths that answer 403.
        status: Status of every InferenceService that is applied.
        stuck: InferenceServices whose Deployments never come up.
        accepts: Whether the Gateway accepts routes.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, Any] = {}
        self.texts: dict[str, str] = {}
        self.applied: list[tuple[str, dict[str, list[str]], str]] = []
        self.deleted: list[str] = []
        self.forbidden: set[str] = set()
        self.status: dict[str, Any] = READY
        self.stuck: set[str] = set()
        self.accepts = True
        self.reads = 0
        self.ready_from_read: int | None = None

    def put(self, path: str, body: Any) -> None:
        """Keep an object, and what a controller would make of it."""
        before = self.objects.get(path) or {}
        same = before.get("spec") == body.get("spec")
        generation = before.get("metadata", {}).get("generation", 0) + (not same)
        metadata = {**body["metadata"], "generation": generation}
        if "deletionTimestamp" in before.get("metadata", {}):  # nothing brings it back
            metadata["deletionTimestamp"] = before["metadata"]["deletionTimestamp"]
        self.objects[path] = {**body, "metadata": metadata}
        if body["kind"] == "InferenceService":
            self.objects[path]["status"] = self.status
            self._roll_out(body)
        if body["kind"] == "HTTPRoute":
            self.objects[path]["status"] = {"parents": [self._looked_at(body["spec"]["parentRefs"][0], generation)]}

    def _roll_out(self, body: Any) -> None:
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        predictors = {f"{name}-predictor": body["spec"]["predictor"]}
        for canary in body["spec"].get("canary") or []:
            predictors[f"{name}-{canary['predictor']['name']}-predictor"] = canary["predictor"]
        for deployment, predictor in predictors.items():
            count = 0 if name in self.stuck else predictor["minReplicas"]
            self.objects[f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}"] = {
                "metadata": {"name": deployment, "generation": 1},
                "spec": {
                    "replicas": predictor["minReplicas"],
                    "template": {"metadata": {"annotations": predictor["annotations"]}},
                },
                "status": {
                    "observedGeneration": 1,
                    "updatedReplicas": count,
                    "availableReplicas": count,
                    "replicas": predictor["minReplicas"],
                },
            }

    def _looked_at(self, parent: Any, generation: int) -> Any:
        seen = {"status": "True", "observedGeneration": generation}
        accepted = seen if self.accepts else {**seen, "status": "False", "message": "no listener takes the host"}
        return {
            "parentRef": {"group": "gateway.networking.k8s.io", **parent},
            "conditions": [{"type": "Accepted", **accepted}, {"type": "ResolvedRefs", **seen}],
        }


class Quiet(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        return

    def _answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["content-length"])))


class Handler(Quiet):
    server: ApiServer

    def do_PATCH(self) -> None:
        parts, body = urlsplit(self.path), self._body()
        if parts.path in self.server.forbidden:
            return self._answer(403, {"message": "not allowed"})
        content = str(self.headers["content-type"])
        if content == "application/merge-patch+json":
            body = _merged(self.server.objects[parts.path], body)
        else:
            self.server.applied.append((parts.path, parse_qs(parts.query), content))
        self.server.put(parts.path, body)
        return self._answer(200, self.server.objects[parts.path])

    def do_DELETE(self) -> None:
        path = urlsplit(self.path).path
        found = self.server.objects.pop(path, None)
        if found is not None:
            self.server.deleted.append(path)
        self._answer(404 if found is None else 200, found or {"message": "not found"})

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.reads += 1
        if parts.path in self.server.texts:
            return self._answer(200, self.server.texts[parts.path])
        found = self.server.objects.get(parts.path)
        if (
            "/inferenceservices/" in parts.path
            and self.server.ready_from_read is not None
            and self.server.reads >= self.server.ready_from_read
        ):
            found = {**found, "status": READY}
        if found is None and parts.path.rsplit("/", 1)[1] in COLLECTIONS:
            query = parse_qs(parts.query)
            listed = [item for path, item in self.server.objects.items() if path.rsplit("/", 1)[0] == parts.path]
            return self._answer(200, {"items": [item for item in listed if _selected(item, query)]})
        return self._answer(200 if found else 404, found or {"message": "not found"})


def _selected(item: Any, query: dict[str, list[str]]) -> bool:
    labels = item["metadata"].get("labels") or {}
    for clause in filter(None, re.split(r",(?![^(]*\))", query.get("labelSelector", [""])[0])):
        key, _, values = clause.partition(" in ") if " in " in clause else clause.partition("=")
        if labels.get(key) not in values.strip("()").split(","):
            return False
    for clause in filter(None, query.get("fieldSelector", [""])[0].split(",")):
        key, _, value = clause.partition("=")
        found = item
        for part in key.split("."):
            found = found[part]
        if found != value:
            return False
    return True


def _merged(found: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    merged = {**(found if isinstance(found, dict) else {})}
    for key, value in change.items():
        merged[key] = _merged(merged.get(key), value)
    return {key: value for key, value in merged.items() if value is not None}


class Proxy(HTTPServer):
    """The Gateway's own side: brings a request to a version by the HTTPRoutes of an API server."""

    def __init__(self, api: ApiServer) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.api = api
        self.broken: set[str] = set()

    def version_for(self, host: str, pinned: str) -> str | None:
        for route in [body for path, body in self.api.objects.items() if "/httproutes/" in path]:
            if host in route["spec"]["hostnames"]:
                rules = {_pin(rule): rule["backendRefs"] for rule in route["spec"]["rules"]}
                backends = rules.get(pinned, rules[""])
                [name] = random.choices([item["name"] for item in backends], [item["weight"] for item in backends])
                service = f"/inferenceservices/{name.removesuffix('-predictor')}"
                for path, body in self.api.objects.items():
                    if path.endswith(service):
                        return str(body["metadata"]["labels"]["flywheel.dev/model-version"])
        return None


def _pin(rule: Any) -> str:
    [match] = rule["matches"]
    return str(match["headers"][0]["value"]) if "headers" in match else ""


class ProxyHandler(Quiet):
    server: Proxy

    def do_GET(self) -> None:
        self._serve({"object": "list", "data": []})

    def do_POST(self) -> None:
        asked = self._body()
        message = {"role": "assistant", "content": f"I am {asked['model']}"}
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._serve({"id": "1", "object": "chat.completion", "created": 1, "model": asked["model"],
                     "choices": [choice], "usage": usage})  # fmt: skip

    def _serve(self, value: Any) -> None:
        version = self.server.version_for(str(self.headers["host"]), str(self.headers["x-flywheel-variant"] or ""))
        if version is None:
            return self._answer(404, "404 page not found")
        broken = version in self.server.broken and self.command == "POST"
        error = {"error": {"message": "out of memory"}}
        return self._answer(500 if broken else 200, error if broken else value, {"x-flywheel-version": version})


def _serving(made: HTTPServer) -> Iterator[Any]:
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def api_server() -> Iterator[ApiServer]:
    """An API server with the Gateway ``gw`` in namespace ``models``."""
    made = ApiServer()
    made.objects[GATEWAY] = {
        "spec": {"listeners": [{"name": "web", "protocol": "HTTP", "port": 8000}]},
        "status": {"addresses": [{"value": "10.0.0.7"}]},
    }
    yield from _serving(made)


@pytest.fixture
def proxy(api_server: ApiServer) -> Iterator[Proxy]:
    """What answers at the address of that Gateway."""
    made = Proxy(api_server)
    gateway = api_server.objects[GATEWAY]
    gateway["spec"]["listeners"][0]["port"] = made.server_port
    gateway["status"]["addresses"][0]["value"] = "127.0.0.1"
    yield from _serving(made)


@pytest.fixture
def cluster(api_server: ApiServer) -> Any:
    """The client of that API server."""
    from kubernetes import client

    from llm_flywheel.components.common.cluster import Cluster

    configuration = client.Configuration(host=f"http://127.0.0.1:{api_server.server_port}")
    configuration.retries = False
    return Cluster(client.ApiClient(configuration))
