"""A small HTTP server that keeps objects as a Kubernetes API server does; a real cluster is issue 4's."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

READY = {"conditions": [{"type": "Ready", "status": "True"}]}


class ApiServer(HTTPServer):
    """Objects by path; what was applied, in order; how often was read; paths that answer 403."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, Any] = {}
        self.applied: list[tuple[str, dict[str, list[str]], str]] = []
        self.forbidden: set[str] = set()
        self.status: dict[str, Any] = READY
        self.reads = 0
        self.ready_from_read: int | None = None


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
        self.server.reads += 1
        found = self.server.objects.get(urlsplit(self.path).path)
        if found and self.server.ready_from_read is not None and self.server.reads >= self.server.ready_from_read:
            found = {**found, "status": READY}
        return self._answer(200 if found else 404, found or {"message": "not found"})


@pytest.fixture
def api_server() -> Iterator[ApiServer]:
    """An API server with the Gateway ``gw`` in namespace ``models``."""
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
def cluster(api_server: ApiServer) -> Any:
    """The client of that API server."""
    from kubernetes import client

    from llm_flywheel.components.common.cluster import Cluster

    configuration = client.Configuration(host=f"http://127.0.0.1:{api_server.server_port}")
    configuration.retries = False
    return Cluster(client.ApiClient(configuration))
