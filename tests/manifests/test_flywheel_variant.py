"""The middleware that names the model version in every answer."""

import asyncio
import runpy

from .conftest import MANIFESTS


def middleware(app, monkeypatch, version):
    monkeypatch.setenv("FLYWHEEL_MODEL_VERSION", version)
    return runpy.run_path(str(MANIFESTS / "base" / "flywheel_variant.py"))["Variant"](app)


def answers(app, kind="http"):
    """What the application sends, message by message."""
    sent = []

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    asyncio.run(app({"type": kind}, receive, send))
    return sent


async def stream(scope, receive, send):
    assert (await receive())["type"] == "http.request"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


def test_the_version_is_added_to_the_headers_and_the_stream_passes_untouched(monkeypatch):
    start, *body = answers(middleware(stream, monkeypatch, "7"))

    assert start["headers"] == [(b"content-type", b"text/event-stream"), (b"x-flywheel-version", b"7")]
    assert [message["body"] for message in body] == [b"data: 1\n\n", b"data: [DONE]\n\n"]
    assert body[0]["more_body"] is True


def test_an_answer_without_headers_gets_one(monkeypatch):
    async def bare(scope, receive, send):
        await send({"type": "http.response.start", "status": 500})

    assert answers(middleware(bare, monkeypatch, "base")) == [
        {"type": "http.response.start", "status": 500, "headers": [(b"x-flywheel-version", b"base")]}
    ]


def test_what_is_not_http_is_left_alone(monkeypatch):
    async def lifespan(scope, receive, send):
        await send({"type": "lifespan.startup.complete"})

    assert answers(middleware(lifespan, monkeypatch, "7"), "lifespan") == [{"type": "lifespan.startup.complete"}]
