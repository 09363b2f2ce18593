"""A real gateway in front of a small model server that misbehaves on request, a real ledger and a real registry."""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from llm_flywheel.components.common.dataset import row_id, write_table
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.serving.gateway.config import sha256_of
from llm_flywheel.serving.gateway.server import listen

KEY, ADMIN = "fk-test", "admin-test"


class ModelServer:
    """Streams three words for every question; ``failing`` models answer 500, ``slow`` ones wait first."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.delay: dict[str, float] = {}
        self.die_after: int | None = None
        self.requests: list[dict[str, Any]] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        listening = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._loop.run_until_complete(web.SockSite(runner, listening).start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        if self.die_after is not None and len(self.requests) >= self.die_after:
            self._loop.call_soon(self._loop.stop)
        if body["model"] in self.failing:
            return web.json_response({"error": {"message": "out of memory"}}, status=500)
        await asyncio.sleep(self.delay.get(body["model"], 0.005))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for index, word in enumerate(["two", " years", "."]):
            event = {
                "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}],
                "usage": {"prompt_tokens": 5, "completion_tokens": index + 1, "total_tokens": 6 + index},
            }
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


@pytest.fixture
def server() -> Iterator[ModelServer]:
    made = ModelServer()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def settings(tmp_path: Path, tracking_uri: str) -> Settings:
    run_dir = tmp_path / "runs" / "run-1"
    run_dir.mkdir(parents=True)
    return replace(
        Settings.from_env(),
        home=tmp_path,
        run_id="run-1",
        run_dir=run_dir,
        tracking_uri=tracking_uri,
        object_store=(tmp_path / "objects").as_uri(),
        ledger_url=f"sqlite:///{tmp_path / 'ledger.db'}",
        actor="tester",
    )


@pytest.fixture
def endpoint_url(server: ModelServer, settings: Settings) -> Iterator[str]:
    """A gateway process over the model server, described in endpoint.json as deploy does."""
    assert settings.run_dir is not None
    variants = {
        "stable": {"url": server.url, "model": "v1", "version": "1", "weight": 100},
        "canary": {"url": server.url, "model": "v2", "version": "2", "weight": 0},
    }
    config = {
        "routes": {"support": {"variants": variants}},
        "keys": [{"id": "k", "sha256": sha256_of(KEY), "user": "rollout"}],
        "admin_sha256": sha256_of(ADMIN),
        "ledger_url": settings.ledger_url,
        "run_id": settings.run_id,
    }
    path = settings.home / "gateway.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "llm_flywheel.serving.gateway", "--config", str(path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().rpartition(" ")[2].strip()
        (settings.home / "key").write_text(KEY + "\n")
        (settings.home / "admin").write_text(ADMIN + "\n")
        endpoint = {
            "base_url": url,
            "model": "support",
            "key_file": str(settings.home / "key"),
            "admin_token_file": str(settings.home / "admin"),
            "config_file": str(path),
            "versions": {"stable": "1", "canary": "2"},
        }
        (settings.run_dir / "endpoint.json").write_text(json.dumps(endpoint))
        yield url
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    rows = []
    for number in range(20):
        messages = [
            {"role": "user", "content": f"How long is the warranty of part {number}?"},
            {"role": "assistant", "content": "two years."},
        ]
        rows.append({"id": row_id(messages), "messages": messages, "source": "t.csv", "lang": "en", "meta": "{}"})
    write_table(rows, tmp_path / "curated" / "test.parquet")
    return tmp_path / "curated"


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def registry(tracking_uri: str) -> Iterator[Any]:
    """An MLflow client; model ``support`` has champion 1 and challenger 2."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    client.create_registered_model("support")
    for _ in range(2):
        client.create_model_version("support", source="s3://models/support")
    client.set_registered_model_alias("support", "champion", "1")
    client.set_registered_model_alias("support", "challenger", "2")
    yield client
    client.delete_registered_model("support")
