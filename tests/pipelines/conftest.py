"""A Kubeflow Pipelines API server in a thread: the part of the v2beta1 REST contract that submissions use.

Follows kubeflow/pipelines (backend/src/apiserver): status codes, error bodies, case-insensitive filters, the first
check of an uploaded pipeline (it must be a pipeline spec of schema 2.1.0) and of a run's parameters.
"""

import asyncio
import json
import ssl
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from aiohttp import web
from google.protobuf import json_format

V2 = "/apis/v2beta1"
KINDS = {"STRING": str, "STRUCT": dict, "LIST": list, "BOOLEAN": bool, "NUMBER_INTEGER": (int, float)}


class KfpServer:
    """What the server holds, and how it is set up."""

    def __init__(self) -> None:
        self.token = ""
        self.multi_user = False
        self.login_page = ""
        self.forbidden_namespaces: set[str] = set()
        self.hidden_pipelines: set[str] = set()
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.url = ""

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._authenticate])
        app.router.add_get(f"{V2}/healthz", self._healthz)
        app.router.add_get(f"{V2}/pipelines", self._list_pipelines)
        app.router.add_post(f"{V2}/pipelines", self._create_pipeline)
        app.router.add_post(f"{V2}/pipelines/upload_version", self._upload_version)
        app.router.add_get(f"{V2}/pipelines/{{pipeline}}/versions", self._list_versions)
        app.router.add_get(f"{V2}/experiments", self._list_experiments)
        app.router.add_post(f"{V2}/experiments", self._create_experiment)
        app.router.add_post(f"{V2}/runs", self._create_run)
        return app

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            if self.login_page:
                raise web.HTTPFound(self.login_page)
            # Istio answers for the API when a token has expired.
            return web.Response(status=401, text="Jwt is expired", headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"multi_user": self.multi_user, "pipeline_store": "database"})

    async def _list_pipelines(self, request: web.Request) -> web.Response:
        if refused := self._namespace(request.query.get("namespace", "")):
            return refused
        wanted = request.query.get("namespace", "")
        rows = [row for row in self.pipelines.values() if row.get("namespace", "") == wanted]
        return _listed("pipelines", rows, request)

    async def _create_pipeline(self, request: web.Request) -> web.Response:
        body = await request.json()
        if refused := self._namespace(body.get("namespace", "")):
            return refused
        name = body.get("name") or body["display_name"]
        # MySQL's unique index knows no case either.
        taken = {row["display_name"].lower() for row in self.pipelines.values()} | self.hidden_pipelines
        if name.lower() in taken:
            return _grpc_error(409, 6, f"Already exist error: The name {name} already exist. Please specify a new name")
        row = {**body, "name": name, "display_name": name, "pipeline_id": str(uuid.uuid4())}
        self.pipelines[row["pipeline_id"]] = row
        return web.json_response(row)

    async def _upload_version(self, request: web.Request) -> web.Response:
        form = await request.post()
        content = form["uploadfile"].file.read()  # type: ignore[union-attr]
        try:
            spec = parse_pipeline(content)
        except (ValueError, yaml.YAMLError, json_format.ParseError) as error:
            return _upload_error(400, f"Failed to create a pipeline version: Invalid input error: {error}")
        name, pipeline = request.query["name"], request.query["pipelineid"]
        if any(row["name"] == name and row["pipeline_id"] == pipeline for row in self.versions.values()):
            return _upload_error(409, "Failed to create a pipeline version")
        row = {
            "pipeline_id": pipeline,
            "pipeline_version_id": str(uuid.uuid4()),
            "name": name,
            "display_name": name,
            "pipeline_spec": spec,
        }
        self.versions[row["pipeline_version_id"]] = row
        return web.json_response(row)

    async def _list_versions(self, request: web.Request) -> web.Response:
        rows = [row for row in self.versions.values() if row["pipeline_id"] == request.match_info["pipeline"]]
        return _listed("pipeline_versions", rows, request)

    async def _list_experiments(self, request: web.Request) -> web.Response:
        wanted = request.query.get("namespace", "")
        rows = [row for row in self.experiments.values() if row.get("namespace", "") == wanted]
        return _listed("experiments", rows, request)

    async def _create_experiment(self, request: web.Request) -> web.Response:
        row = {**await request.json(), "experiment_id": str(uuid.uuid4())}
        self.experiments[row["experiment_id"]] = row
        return web.json_response(row)

    async def _create_run(self, request: web.Request) -> web.Response:
        body = await request.json()
        version = self.versions[body["pipeline_version_reference"]["pipeline_version_id"]]
        spec = version["pipeline_spec"]
        inputs = spec.get("pipeline_spec", spec)["root"].get("inputDefinitions", {}).get("parameters", {})
        if problem := wrong_parameters(inputs, body["runtime_config"].get("parameters", {})):
            return _grpc_error(400, 3, f"Failed to create a new run: Invalid input error: {problem}")
        if body["experiment_id"] not in self.experiments:
            return _grpc_error(404, 5, "ResourceNotFoundError: Experiment not found")
        row = {**body, "run_id": str(uuid.uuid4()), "state": "PENDING"}
        self.runs.append(row)
        return web.json_response(row)

    def _namespace(self, namespace: str) -> web.Response | None:
        if namespace in self.forbidden_namespaces:
            return _grpc_error(403, 7, f"User 'ann@example.com' is not authorized in namespace {namespace}")
        return None


def parse_pipeline(content: bytes) -> dict[str, Any]:
    """The pipeline as the API returns it; raises on what the backend refuses (template/v2_template.go)."""
    from kfp.pipeline_spec import pipeline_spec_pb2

    documents = [document for document in yaml.safe_load_all(content) if document]
    specs = [document for document in documents if isinstance(document, dict) and "schemaVersion" in document]
    if len(specs) != 1:
        raise ValueError("no pipeline spec is provided")
    spec = json_format.ParseDict(specs[0], pipeline_spec_pb2.PipelineSpec())
    if spec.schema_version != "2.1.0" or not spec.pipeline_info.name or not spec.HasField("root"):
        raise ValueError("invalid v2 pipeline spec")
    platforms = [document for document in documents if "platforms" in document]
    for platform in platforms:
        json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    # Numbers come back as floats: the backend sends the pipeline as a protobuf Struct.
    whole = {"pipeline_spec": specs[0], "platform_spec": platforms[0]} if platforms else specs[0]
    return _floats(whole)


def wrong_parameters(inputs: dict[str, Any], given: dict[str, Any]) -> str:
    """Why a backend refuses these parameters (validatePipelineJobInputs), or ""."""
    for name, spec in inputs.items():
        if name not in given:
            if not spec.get("isOptional") and "defaultValue" not in spec:
                return f"parameter {name} is not optional, yet has neither default value nor user provided value"
        elif not isinstance(given[name], KINDS[spec["parameterType"]]):
            return f"input parameter {name} requires type {spec['parameterType'].lower()}"
    extra = sorted(set(given) - set(inputs))
    return f"parameter(s) provided are not required by pipeline: {', '.join(extra)}" if extra else ""


def _floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _listed(key: str, rows: list[dict[str, Any]], request: web.Request) -> web.Response:
    for predicate in json.loads(request.query.get("filter", "{}")).get("predicates", []):
        if predicate["key"] != "display_name" or predicate["operation"] != 1:
            return _grpc_error(400, 3, f"no support for filtering on unrecognized field {predicate['key']!r}")
        # The database compares without case.
        rows = [row for row in rows if row["display_name"].lower() == predicate["stringValue"].lower()]
    return web.json_response({key: rows, "total_size": len(rows)} if rows else {})


def _grpc_error(status: int, code: int, message: str) -> web.Response:
    return web.json_response({"error": message, "code": code, "message": message, "details": []}, status=status)


def _upload_error(status: int, message: str) -> web.Response:
    return web.json_response({"error_message": message, "error_details": message}, status=status)


class ServerThread:
    """An aiohttp application on a free port of 127.0.0.1."""

    def __init__(self, app: web.Application, tls: ssl.SSLContext | None = None) -> None:
        self._app, self._tls, self._loop = app, tls, asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return f"http{'s' if self._tls else ''}://127.0.0.1:{port}"

    def __exit__(self, *args: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> int:
        self._runner = web.AppRunner(self._app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        port: int = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        return port


@pytest.fixture
def serve() -> Iterator[Any]:
    """Starts applications: ``serve(app, tls=None)`` returns the address; all end with the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda app, tls=None: stack.enter_context(ServerThread(app, tls))


@pytest.fixture
def kfp(serve: Any) -> KfpServer:
    server = KfpServer()
    server.url = serve(server.app())
    return server
