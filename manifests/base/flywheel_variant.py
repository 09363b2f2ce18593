"""vLLM middleware: every answer names the model version that gave it, whoever split the traffic."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class Variant:
    """Sets the response header ``x-flywheel-version``; bodies and streams pass through as they are.

    Args:
        app: The ASGI application inside.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.header = (b"x-flywheel-version", os.environ.get("FLYWHEEL_MODEL_VERSION", "").encode("latin-1"))

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Run the application inside."""

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), self.header]}
            await send(message)

        await self.app(scope, receive, send_named if scope["type"] == "http" else send)
