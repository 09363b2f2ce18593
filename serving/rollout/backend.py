"""Where weights are put in force: one small protocol, and the gateway's admin API behind it."""

import http.client
import json
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from llm_flywheel.components.common.errors import FlywheelError


class TrafficBackend(Protocol):
    """Something that splits traffic between stable and canary."""

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """Put weights (percent per variant) in force. Raises FlywheelError when that is refused or impossible."""

    def weights(self) -> dict[str, int]:
        """Weights in force. Raises FlywheelError when the router does not answer."""

    def healthy(self) -> bool:
        """Whether the router answers at all; never raises."""


def root_of(base_url: str) -> str:
    """The address of a gateway, given with or without ``/v1``."""
    return base_url.rstrip("/").removesuffix("/v1").rstrip("/")


class GatewayBackend:
    """The gateway of `serving/gateway`, through its admin API.

    Args:
        base_url: Address of the gateway, with or without ``/v1``.
        model: Route, that is the served model name.
        token: Admin bearer token.
        actor: Who acts, for the gateway's own audit events.
        timeout: Seconds for one call; short, because a dead gateway must end a rollout and not stall it.
    """

    def __init__(self, base_url: str, model: str, token: str, actor: str = "", timeout: float = 3.0) -> None:
        parts = urlsplit(root_of(base_url))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FlywheelError("not an http address", where=base_url, reason="endpoint")
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._prefix, self._timeout = parts.path, timeout
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        if actor:
            self._headers["x-flywheel-actor"] = actor
        self._path = f"/admin/routes/{quote(model, safe='')}/weights"
        self._where = f"{root_of(base_url)}{self._path}"

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """PUT the weights."""
        self._call("PUT", self._path, dict(weights))

    def weights(self) -> dict[str, int]:
        """GET the weights in force."""
        answer = self._call("GET", self._path)
        try:
            found = answer.get("weights", answer)
            return {str(name): round(value) for name, value in found.items()}
        except (AttributeError, TypeError):
            raise FlywheelError(f"not weights: {answer!r}", where=self._where, reason="router") from None

    def healthy(self) -> bool:
        """GET /health."""
        try:
            self._call("GET", "/health")
            return True
        except FlywheelError:
            return False

    def _call(self, method: str, path: str, body: Mapping[str, int] | None = None) -> Any:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout)
        try:
            connection.request(method, self._prefix + path, None if body is None else json.dumps(body), self._headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
            if response.status >= 300:
                raise FlywheelError(f"status {response.status}: {text[:200]}", where=self._where, reason="router")
            return json.loads(text) if text.strip() else {}
        except (OSError, http.client.HTTPException) as error:
            raise FlywheelError(f"the router does not answer: {error}", where=self._where, reason="router") from None
        except ValueError:
            return {}
        finally:
            connection.close()
