"""A small OpenAI-compatible server and a gateway in front of it, both on real sockets."""

import asyncio
import json
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import pytest
from aiohttp import web

from llm_flywheel.components.common.config import bind
from llm_flywheel.serving.gateway.app import Gateway
from llm_flywheel.serving.gateway.config import GatewayConfig, sha256_of
from llm_flywheel.serving.gateway.server import Server, listen
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.ledger.prices import PriceTable
from llm_flywheel.serving.ledger.records import UsageRow

KEY = "fk-eva"
ADMIN = "admin-token"
PRICES = PriceTable.model_validate(
    {
        "currency": "EUR",
        "prices": [
            {"model": "support", "valid_from": "2026-01-01", "source": "test", "prompt": 1.0, "cached": 0.5,
             "completion": 2.0}
        ],
    }
)  # fmt: skip
CHAT = {"model": "support", "messages": [{"role": "user", "content": "hello"}]}


class FakeOpenAI:
    """An upstream that does what the first message says; everything it got and sent is kept.

    Messages: ``hello`` answers with two tokens; ``wait`` stops after the first streamed token (or before the
    whole answer) until `release` is set, ``linger`` after the last; ``status N`` refuses; ``break`` drops the
    connection; ``garbage`` answers 200 without JSON. With a `version` it names that version in every answer, as a
    model server behind a router does.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.release = threading.Event()
        self.waiting = threading.Event()
        self.cancelled = threading.Event()
        self.finished = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.url = ""
        self.version = ""

    def __enter__(self) -> "FakeOpenAI":
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.release.set()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.on_response_prepare.append(self._name_version)
        app.router.add_post("/v1/{kind:chat/completions|completions}", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        listening = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._loop.run_until_complete(web.SockSite(runner, listening).start())
        self._started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _name_version(self, _: web.Request, response: web.StreamResponse) -> None:
        if self.version:
            response.headers["x-flywheel-version"] = self.version

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        text = body["messages"][0]["content"] if "messages" in body else body["prompt"]
        if text.startswith("status "):
            error = {"message": f"refused with {text}", "type": "x", "code": None}
            return web.json_response({"error": error}, status=int(text[7:]), headers={"retry-after": "7"})
        if text == "break":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if text == "garbage":
            return web.Response(text="<html>")
        try:
            return await (self._stream if body.get("stream") else self._whole)(request, body, text)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _pause(self) -> None:
        self.waiting.set()
        while not self.release.is_set():
            await asyncio.sleep(0.01)

    async def _whole(self, request: web.Request, body: dict[str, Any], text: str) -> web.StreamResponse:
        if text == "wait":
            await self._pause()
        usage = {
            "prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 4},
        }  # fmt: skip
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if "messages" in body:
            choice["message"] = {"role": "assistant", "content": "Hi there"}
        else:
            choice["text"] = "Hi there"
        kind = "chat.completion" if "messages" in body else "text_completion"
        answer = {"id": "1", "object": kind, "created": 1, "model": body["model"], "choices": [choice], "usage": usage}
        return web.json_response(answer)

    async def _stream(self, request: web.Request, body: dict[str, Any], text: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        continuous = body["stream_options"].get("continuous_usage_stats")

        async def send(delta: dict[str, str] | None, completion: int, finish: str | None = None) -> None:
            choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
            event: dict[str, Any] = {
                "id": "1", "object": "chat.completion.chunk", "created": 1, "model": body["model"], "choices": choices,
            }  # fmt: skip
            if continuous or delta is None:
                event["usage"] = {
                    "prompt_tokens": 10, "completion_tokens": completion, "total_tokens": 10 + completion,
                }  # fmt: skip
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")

        await send({"role": "assistant", "content": ""}, 0)
        await send({"content": "Hi"}, 1)
        if text == "wait":
            await self._pause()
        if text == "cut":
            assert request.transport is not None
            request.transport.abort()
            return response
        await send({"content": " there"}, 2)
        await send({}, 2, "stop")
        await send(None, 2)
        await response.write(b"data: [DONE]\n\n")
        if text == "linger":
            await self._pause()
        self.finished.set()
        return response


class RunningGateway:
    """A gateway in a thread, and what a test wants to know about it."""

    def __init__(self, config: GatewayConfig, ledger: Ledger, rng: random.Random) -> None:
        self.ledger = ledger
        listening = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        ready = threading.Event()
        app = Gateway(config, ledger, PRICES, run_id="run-1", rng=rng)
        self._server = Server(app, config.drain_timeout_s, ready.set)
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        self.http = httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {KEY}"}, timeout=20)

    def chat(self, text: str = "hello", headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        message = {"messages": [{"role": "user", "content": text}]}
        return self.http.post("/v1/chat/completions", json={**CHAT, **message, **body}, headers=headers)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def rows(self) -> list[UsageRow]:
        """Stop the gateway, which writes everything, and return all usage rows."""
        self.stop()
        return self.ledger.usage_between(0, 1e12)


StartGateway = Callable[..., RunningGateway]


@pytest.fixture
def upstream() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def gateway_config(upstream: FakeOpenAI, tmp_path: Path) -> dict[str, Any]:
    variants = {
        "stable": {"url": upstream.url, "model": "support-v1", "version": "1", "weight": 80},
        "canary": {"url": upstream.url + "/v1", "model": "support-v2", "version": "2", "weight": 20},
    }
    return {
        "routes": {"support": {"variants": variants}},
        "keys": [{"id": "key-1", "sha256": sha256_of(KEY), "user": "eva", "team": "care"}],
        "admin_sha256": sha256_of(ADMIN),
        "sticky_secret": "pepper",
        "ledger_url": f"sqlite:///{tmp_path / 'ledger.db'}",
        "drain_timeout_s": 1,
    }


@pytest.fixture
def routed(upstream: FakeOpenAI) -> dict[str, Any]:
    """Routes of a gateway that leaves the split to a router."""
    way = {"url": upstream.url, "model": "support", "host": "support.models.internal"}
    variants = {"stable": {**way, "version": "1"}, "canary": {**way, "version": "2"}}
    return {"support": {"split_by": "router", "variants": variants}}


@pytest.fixture
def start_gateway(gateway_config: dict[str, Any]) -> Iterator[StartGateway]:
    running: list[RunningGateway] = []

    def start(seed: int = 0, **changes: Any) -> RunningGateway:
        config = bind(GatewayConfig, {**gateway_config, **changes})
        assert config.ledger_url is not None
        running.append(RunningGateway(config, Ledger.open(config.ledger_url), random.Random(seed)))
        return running[-1]

    yield start
    for each in running:
        each.stop()
        each.http.close()
        each.ledger.close()


@pytest.fixture
def gateway(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway()
