"""Asking a model server and passing its answer on while it is being made."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from time import time as unix_time
from typing import Any

import aiohttp
import orjson

from llm_flywheel.serving.gateway.config import GatewayConfig, VariantConfig, VariantName
from llm_flywheel.serving.gateway.http import CLIENT_GONE, Refusal, Response
from llm_flywheel.serving.gateway.stream import StreamMeter, Tokens, tokens_of
from llm_flywheel.serving.ledger.records import Outcome, UsageRow

# An answer that refuses, as (outcome, status for the caller). What the gateway itself got wrong upstream
# (credentials, path, a model that is not loaded) is not the caller's error.
_CALLERS_ERRORS = frozenset({400, 409, 413, 422})
_SAME_FOR_CALLER: dict[int, tuple[Outcome, int]] = {
    408: ("timeout", 504),
    429: ("upstream_error", 429),
    503: ("unavailable", 503),
    504: ("timeout", 504),
}
# A Gateway that reaches no pod says so itself.
_GATEWAYS_OWN = frozenset({502, 503, 504})
VARIANT_HEADER = "x-flywheel-variant"
VERSION_HEADER = "x-flywheel-version"
_HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}
_STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # nginx in front must not buffer either
}


@dataclass
class Exchange:
    """One request as it is known so far; becomes the usage row.

    Where a router splits the traffic, ``versions`` holds the variants by version, ``pinned`` the one that the caller
    wants, and the answer says which it was.
    """

    request_id: str
    run_id: str
    time: float = field(default_factory=unix_time)
    started: float = field(default_factory=perf_counter)
    key_id: str = ""
    user: str = ""
    team: str = ""
    model: str = ""
    variant: VariantName | None = None
    version: str = ""
    upstream: str = ""
    tokens: Tokens | None = None
    ttft_s: float | None = None
    outcome: Outcome = "aborted"  # until something else has happened
    status: int = CLIENT_GONE
    pinned: VariantName | None = None
    versions: Mapping[str, VariantName] | None = None

    def finish(self, outcome: Outcome, status: int) -> None:
        """Say how it ended."""
        self.outcome, self.status = outcome, status

    def answered_by(self, version: str) -> None:
        """Say which version a router chose; empty for an answer that no model server gave."""
        self.version, self.variant = version, (self.versions or {}).get(version)

    def elapsed(self) -> float:
        """Seconds since the request arrived."""
        return perf_counter() - self.started

    def row(self) -> UsageRow:
        """The usage row, without its cost."""
        tokens = self.tokens
        return UsageRow(
            time=self.time,
            request_id=self.request_id,
            key_id=self.key_id,
            user=self.user,
            team=self.team,
            model=self.model,
            version=self.version,
            variant=self.variant or "",
            prompt_tokens=tokens.prompt if tokens else None,
            cached_tokens=tokens.cached if tokens else None,
            completion_tokens=tokens.completion if tokens else None,
            ttft_s=self.ttft_s,
            latency_s=self.elapsed(),
            outcome=self.outcome,
            status=self.status,
            run_id=self.run_id,
            upstream=self.upstream,
        )


def classify(status: int) -> tuple[Outcome, int]:
    """What an upstream's refusal means: the outcome, and the status the caller gets."""
    if status in _CALLERS_ERRORS:
        return "client_error", status
    if status in _SAME_FOR_CALLER:
        return _SAME_FOR_CALLER[status]
    return "upstream_error", status if status >= 500 else 502


def upstream_body(body: dict[str, Any], model: str, *, continuous: bool) -> bytes:
    """The caller's request for the upstream: its own model name, and usage asked for in a stream."""
    sent = {**body, "model": model}
    if body.get("stream"):
        options = body.get("stream_options")
        sent["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        if continuous:
            sent["stream_options"]["continuous_usage_stats"] = True
    return orjson.dumps(sent)


class Upstream:
    """One HTTP client for all model servers."""

    def __init__(self, config: GatewayConfig) -> None:
        self._config = config
        # A model server closes idle connections after 5 s (uvicorn's default); ours are gone before, so that
        # no request is sent into a connection that is just being closed.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3.0)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=config.connect_timeout_s, sock_read=config.idle_timeout_s
        )
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=2**18
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def forward(
        self, path: str, body: dict[str, Any], variant: VariantConfig, exchange: Exchange, response: Response
    ) -> None:
        """Send the request on and its answer back, and take note of both in ``exchange``.

        Raises:
            Refusal: The upstream is down, failed, refused, or took too long.
        """
        data = upstream_body(body, variant.model, continuous=self._config.usage_in_every_chunk)
        headers = {**_HEADERS, "x-request-id": exchange.request_id}
        if variant.host:
            headers["host"] = variant.host
        if exchange.pinned:
            headers[VARIANT_HEADER] = exchange.pinned
        async with (
            self._explained(exchange),
            self._session.post(variant.url + path, data=data, headers=headers, allow_redirects=False) as answer,
        ):
            if exchange.versions is not None:
                exchange.answered_by(answer.headers.get(VERSION_HEADER, ""))
                if exchange.variant:
                    response.headers[VARIANT_HEADER] = exchange.variant
            if answer.status != 200:
                await _refuse(answer, from_model=exchange.versions is None or bool(exchange.version))
            if answer.content_type == "text/event-stream":
                await _pass_stream(answer, body, exchange, response)
            else:
                await _pass_whole(answer, exchange, response)

    @asynccontextmanager
    async def _explained(self, exchange: Exchange) -> AsyncIterator[None]:
        """Turn the client's exceptions into refusals that say which variant it was."""
        who = f"the {exchange.variant} variant of {exchange.model}" if exchange.variant else f"{exchange.model}"
        try:
            async with asyncio.timeout(self._config.request_timeout_s):
                yield
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise _failed(503, f"{who} cannot be reached", "upstream_unavailable", "unavailable") from None
        except TimeoutError:
            raise _failed(504, f"{who} took too long", "upstream_timeout", "timeout") from None
        except (aiohttp.ClientError, OSError):
            raise _failed(502, f"{who} broke off", "upstream_error", "upstream_error") from None


async def _pass_whole(answer: aiohttp.ClientResponse, exchange: Exchange, response: Response) -> None:
    raw = await answer.read()
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise _failed(502, "the model server's answer is not a JSON object", "upstream_error", "upstream_error")
    exchange.tokens = tokens_of(value.get("usage"))
    if "model" in value:
        value["model"] = exchange.model
    exchange.finish("ok", 200)
    await response.whole(200, orjson.dumps(value))


async def _pass_stream(
    answer: aiohttp.ClientResponse, body: dict[str, Any], exchange: Exchange, response: Response
) -> None:
    options = body.get("stream_options")
    asked = options if isinstance(options, dict) else {}
    meter = StreamMeter(
        exchange.model,
        wants_usage=bool(asked.get("include_usage")),
        wants_continuous=bool(asked.get("continuous_usage_stats")),
    )
    await response.start(200, _STREAM_HEADERS)
    async for data in answer.content.iter_any():
        passed = meter.feed(data)
        exchange.tokens = meter.tokens
        if meter.first_token and exchange.ttft_s is None:
            exchange.ttft_s = exchange.elapsed()
        if meter.done and meter.error is None:
            # A caller may hang up at [DONE], before the upstream has closed its stream: it has got everything.
            exchange.finish("ok", 200)
        if passed:
            await response.chunk(passed)
    if meter.error is None and not meter.done:
        raise _failed(502, "the model server's stream ended early", "upstream_error", "upstream_error")
    exchange.finish("upstream_error" if meter.error else "ok", 200)
    await response.end()


async def _refuse(answer: aiohttp.ClientResponse, *, from_model: bool) -> None:
    outcome, status = classify(answer.status)
    who = "the model server" if from_model else "the router, not a model server,"
    if not from_model:
        outcome = "unavailable" if answer.status in _GATEWAYS_OWN else "upstream_error"
    message, code = _reason(await answer.read()), "upstream_refused"
    if outcome != "client_error":
        message, code = f"{who} answered {answer.status}: {message}", "upstream_error"
    kind = "invalid_request_error" if outcome == "client_error" else "server_error"
    retry = answer.headers.get("retry-after")
    raise Refusal(
        status, message, kind=kind, code=code, outcome=outcome, headers={"retry-after": retry} if retry else None
    )


def _reason(raw: bytes) -> str:
    try:
        value = orjson.loads(raw)
        error = value.get("error", value)
        message = error if isinstance(error, str) else error.get("message") or error.get("detail")
        return str(message or value)
    except (orjson.JSONDecodeError, AttributeError):
        return raw[:500].decode("utf-8", "replace") or "no reason given"


def _failed(status: int, message: str, code: str, outcome: Outcome) -> Refusal:
    return Refusal(status, message, kind="server_error", code=code, outcome=outcome)
