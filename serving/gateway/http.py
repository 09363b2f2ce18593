"""The little HTTP that the gateway needs on top of ASGI: headers, bounded bodies, JSON and OpenAI's error shape."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import orjson

from llm_flywheel.serving.ledger.records import Outcome

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CLIENT_GONE = 499  # nginx's code for a caller that hung up; never sent, only recorded


class Refusal(Exception):
    """An answer that is an error, in OpenAI's shape.

    Args:
        status: HTTP status.
        message: One sentence for a person.
        kind: OpenAI's ``type``.
        code: OpenAI's ``code``, machine-readable.
        outcome: What the usage row says.
        headers: Extra response headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        outcome: Outcome = "client_error",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.outcome = status, message, kind, code, outcome
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The error object as JSON."""
        return orjson.dumps({"error": {"message": self.message, "type": self.kind, "param": None, "code": self.code}})


class ClientGone(Exception):
    """The caller closed the connection before the answer was complete."""


class Response:
    """Sends one response and knows whether it has started; headers set before that go with it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = self._ended = False
        self.headers: dict[str, str] = {}

    async def whole(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        """Send status, headers and body."""
        await self.start(status, {"content-type": content_type, "content-length": str(len(body))})
        await self._finish(body)

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send status and headers."""
        self.started = True
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in {**self.headers, **headers}.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def chunk(self, data: bytes) -> None:
        """Send a piece of the body at once."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """Say that the body is complete."""
        await self._finish(b"")

    async def refuse(self, refusal: Refusal) -> None:
        """Send an error; inside a stream that has begun, as its last event; after the end, nothing."""
        if self._ended:
            return
        if self.started:
            await self.chunk(b"data: " + refusal.body() + b"\n\n")
            await self.end()
        else:
            self.headers.update(refusal.headers)
            await self.whole(refusal.status, refusal.body())

    async def _finish(self, body: bytes) -> None:
        self._ended = True
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


def header(scope: Scope, name: str) -> str:
    """First value of a request header, or an empty string."""
    wanted = name.encode()
    for key, value in scope["headers"]:
        if key == wanted:
            text: str = value.decode("latin-1")
            return text
    return ""


def bearer(scope: Scope) -> str:
    """The token of ``Authorization: Bearer``, or an empty string."""
    scheme, _, token = header(scope, "authorization").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Read the request body.

    Args:
        scope: ASGI scope.
        receive: ASGI receive.
        limit: Most bytes to read.

    Raises:
        Refusal: The body is larger (413).
        ClientGone: The caller hung up.
    """
    too_large = Refusal(413, f"the request body is larger than {limit} bytes", code="body_too_large")
    length = header(scope, "content-length")
    if length.isascii() and length.isdigit() and int(length) > limit:
        raise too_large
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise too_large
        if not message.get("more_body", False):
            return b"".join(parts)


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object; anything else is a Refusal with status 400."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the request body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise Refusal(400, "the request body must be a JSON object", code="invalid_json")
    return value
