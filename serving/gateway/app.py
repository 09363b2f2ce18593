"""The gateway as a pure ASGI application: authenticate, choose a variant, pass the answer on, meter it."""

import asyncio
import logging
import random
import secrets
from collections.abc import Coroutine
from urllib.parse import unquote
from uuid import uuid4

import orjson

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.gateway.auth import Keyring, check_admin
from llm_flywheel.serving.gateway.config import GatewayConfig, VariantName
from llm_flywheel.serving.gateway.http import (
    ClientGone,
    Receive,
    Refusal,
    Response,
    Scope,
    Send,
    header,
    json_object,
    read_body,
)
from llm_flywheel.serving.gateway.meter import UsageWriter
from llm_flywheel.serving.gateway.routing import Route, choose, sticky_point
from llm_flywheel.serving.gateway.upstream import VARIANT_HEADER, Exchange, Upstream
from llm_flywheel.serving.ledger.ledger import Ledger
from llm_flywheel.serving.ledger.prices import PriceTable, priced

logger = logging.getLogger(__name__)

SESSION_HEADER = "x-session-id"
ACTOR_HEADER = "x-flywheel-actor"  # percent-encoded
REQUEST_ID_HEADER = "x-request-id"
_COMPLETIONS = ("/v1/chat/completions", "/v1/completions")
_ADMIN_PREFIX, _ADMIN_SUFFIX = "/admin/routes/", "/weights"


class Gateway:
    """OpenAI-compatible front of several model servers.

    Args:
        config: Routes, keys and limits.
        ledger: Where usage rows and changes of weights go; closed by the caller.
        prices: What tokens cost.
        run_id: Written to usage rows.
        rng: Chooses variants by weight; seed it to make the choice repeatable.
    """

    def __init__(
        self,
        config: GatewayConfig,
        ledger: Ledger,
        prices: PriceTable,
        *,
        run_id: str = "",
        rng: random.Random | None = None,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._prices = prices
        self._run_id = run_id
        self._rng = rng or random.Random()
        self._keyring = Keyring(config.keys)
        self._routes = {model: Route(model, route) for model, route in config.routes.items()}
        self._secret = (config.sticky_secret or secrets.token_hex(32)).encode()
        self._admin_lock = asyncio.Lock()
        self._upstream: Upstream
        self._writer: UsageWriter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, Response(send))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._upstream = Upstream(self._config)
        self._writer = UsageWriter(
            lambda rows: self._ledger.record_usage([priced(row, self._prices) for row in rows]),
            flush_interval_s=self._config.flush_interval_s,
            max_backlog=self._config.max_backlog,
        )
        self._writer.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._upstream.close()
        await self._writer.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, response: Response) -> None:
        path: str = scope["path"]
        if path in _COMPLETIONS:
            await self._metered(scope, receive, response)
            return
        try:
            if path == "/health":
                _only(scope, "GET")
                await self._health(response)
            elif path == "/v1/models":
                _only(scope, "GET")
                self._keyring.caller(scope)
                await response.whole(200, self._models())
            elif path.startswith(_ADMIN_PREFIX) and path.endswith(_ADMIN_SUFFIX):
                _only(scope, "GET", "PUT")
                await self._weights(scope, receive, response)
            else:
                raise Refusal(404, f"there is nothing at {path}", code="not_found")
        except Refusal as refusal:
            await response.refuse(refusal)
        except ClientGone:
            return

    async def _metered(self, scope: Scope, receive: Receive, response: Response) -> None:
        """Answer a completion request and hand over its usage row, however it ends."""
        exchange = Exchange(f"req-{uuid4().hex}", self._run_id)
        response.headers[REQUEST_ID_HEADER] = exchange.request_id
        try:
            await self._complete(scope, receive, response, exchange)
        except Refusal as refusal:
            exchange.finish(refusal.outcome, 200 if response.started else refusal.status)
            await response.refuse(refusal)
        except ClientGone:
            pass  # what has happened until then is what is recorded
        except Exception:
            logger.exception("request failed", extra={"request_id": exchange.request_id})
            exchange.finish("upstream_error", 200 if response.started else 500)
            await response.refuse(
                Refusal(500, "the gateway failed; its log says why", kind="server_error", code="internal_error")
            )
        finally:
            self._writer.put(exchange.row())

    async def _complete(self, scope: Scope, receive: Receive, response: Response, exchange: Exchange) -> None:
        _only(scope, "POST")
        key = self._keyring.caller(scope)
        exchange.key_id, exchange.user, exchange.team = key.id, key.user, key.team
        if self._writer.full:
            raise Refusal(
                503, "usage cannot be recorded at the moment", kind="server_error", code="ledger_unavailable",
                outcome="unavailable",
            )  # fmt: skip
        body = json_object(await read_body(scope, receive, self._config.max_body_bytes))
        route = self._route(body)
        exchange.model = route.model
        pinned = header(scope, VARIANT_HEADER)
        name = route.pinned(pinned) if pinned else None
        if route.by_router:
            variant = next(iter(route.variants.values()))
            exchange.pinned = name
            exchange.versions = {item.version: each for each, item in route.variants.items()}
        else:
            name = name or self._choose(scope, route, key.user)
            variant = route.variants[name]
            exchange.variant, exchange.version = name, variant.version
            response.headers[VARIANT_HEADER] = name
        exchange.upstream = variant.url
        await _unless_gone(self._upstream.forward(scope["path"], body, variant, exchange, response), receive)

    def _route(self, body: dict[str, object]) -> Route:
        model = body.get("model")
        if not isinstance(model, str):
            raise Refusal(400, "the request needs a model (a string)", code="missing_model")
        if not isinstance(body.get("stream", False), bool | None):
            raise Refusal(400, "stream must be true or false", code="invalid_stream")
        route = self._routes.get(model)
        if route is None:
            raise Refusal(404, f"the model {model!r} does not exist", code="model_not_found")
        return route

    def _choose(self, scope: Scope, route: Route, user: str) -> VariantName:
        session = header(scope, SESSION_HEADER)
        point = sticky_point(self._secret, route.model, user, session) if session else self._rng.random() * 100
        return choose(route.weights, point)

    def _models(self) -> bytes:
        data = [{"id": model, "object": "model", "created": 0, "owned_by": "flywheel"} for model in self._routes]
        return orjson.dumps({"object": "list", "data": data})

    async def _health(self, response: Response) -> None:
        if self._writer.full:
            await response.whole(503, orjson.dumps({"status": "ledger_unavailable"}))
        else:
            await response.whole(200, orjson.dumps({"status": "ok"}))

    async def _weights(self, scope: Scope, receive: Receive, response: Response) -> None:
        """Read or set a route's weights; a change is in the audit chain before it is in force."""
        check_admin(scope, self._config.admin_sha256)
        model = scope["path"][len(_ADMIN_PREFIX) : -len(_ADMIN_SUFFIX)]
        route = self._routes.get(model)
        if route is None:
            raise Refusal(404, f"the model {model!r} does not exist", code="model_not_found")
        weights = route.weights
        if scope["method"] == "PUT":
            values = json_object(await read_body(scope, receive, self._config.max_body_bytes))
            weights = route.parse_weights(values)
            async with self._admin_lock:
                await self._audit(unquote(header(scope, ACTOR_HEADER)) or "admin", route, weights)
                route.set_weights(weights)
        await response.whole(200, orjson.dumps(weights))

    def announce(self, actor: str) -> None:
        """Write the weights that are in force at the start to the audit chain; those of a router are not ours.

        Raises:
            FlywheelError: The ledger refuses.
        """
        for route in self._routes.values():
            if not route.by_router:
                self._append_weights(actor, route, {}, route.weights)

    def _append_weights(
        self, actor: str, route: Route, before: dict[VariantName, int], after: dict[VariantName, int]
    ) -> None:
        versions = {name: variant.version for name, variant in route.variants.items()}
        details = {"from": before, "to": after, "versions": versions, "run_id": self._run_id}
        self._ledger.append_audit(actor, "gateway.set_weights", f"model:{route.model}", details)

    async def _audit(self, actor: str, route: Route, weights: dict[VariantName, int]) -> None:
        try:
            await asyncio.to_thread(self._append_weights, actor, route, route.weights, weights)
        except FlywheelError as error:
            logger.error("weights not changed", extra={"error": str(error)})
            raise Refusal(
                503, "the change cannot be audited, so it was not made", kind="server_error", code="ledger_unavailable"
            ) from None


async def _unless_gone(work: Coroutine[None, None, None], receive: Receive) -> None:
    """Run ``work``; when the caller hangs up before it ends, cancel it and raise ClientGone."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        await task
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _only(scope: Scope, *methods: str) -> None:
    if scope["method"] not in methods:
        raise Refusal(
            405, f"{scope['method']} is not allowed here", code="method_not_allowed",
            headers={"allow": ", ".join(methods)},
        )  # fmt: skip
