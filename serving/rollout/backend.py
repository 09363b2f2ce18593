"""Where weights are put in force: one small protocol, and the gateway's admin API behind it."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol
from urllib.parse import quote, urlsplit

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.local.http import call

logger = logging.getLogger(__name__)

APPLY_ATTEMPTS = 3
RETRY_SECONDS = 0.2


class TrafficBackend(Protocol):
    """Something that splits traffic between stable and canary."""

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """Put weights (percent per variant) in force. Raises FlywheelError when that is refused or impossible."""

    def weights(self) -> dict[str, int]:
        """Weights in force. Raises FlywheelError when the router does not answer."""

    def settle(self, decision: Literal["promote", "rollback"]) -> None:
        """Put the final weights in force and remove what no longer serves; may be called again and again."""


def put_in_force(
    backend: TrafficBackend, weights: Mapping[str, int], sleep: Callable[[float], None] = time.sleep
) -> tuple[bool, str]:
    """Set weights and read them back, a few times if need be; never raises FlywheelError.

    Returns:
        Whether the router confirmed them, and what went wrong if it did not.
    """
    problem = ""
    for attempt in range(APPLY_ATTEMPTS):
        if attempt:
            sleep(RETRY_SECONDS)
        try:
            backend.set_weights(weights)
            found = backend.weights()
        except FlywheelError as error:
            problem = str(error)
            continue
        if found == dict(weights):
            return True, ""
        problem = f"the router has {found} after being set to {dict(weights)}"
    logger.warning("rollout: weights %s are not confirmed: %s", dict(weights), problem)
    return False, problem


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
        timeout_s: For one call; short, because a dead gateway must end a rollout and not stall it.
    """

    def __init__(self, base_url: str, model: str, token: str, actor: str = "", timeout_s: float = 3.0) -> None:
        root, self._timeout_s = root_of(base_url), timeout_s
        if urlsplit(root).scheme != "http":
            raise FlywheelError("not an http:// address", where=base_url, reason="endpoint")
        self._url = f"{root}/admin/routes/{quote(model, safe='')}/weights"
        self._headers = {"authorization": f"Bearer {token}"}
        if actor:
            self._headers["x-flywheel-actor"] = quote(actor)  # a header carries Latin-1, a name may not be

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """PUT the weights."""
        self._admin("PUT", dict(weights))

    def weights(self) -> dict[str, int]:
        """GET the weights in force."""
        found = self._admin("GET", None)
        if not isinstance(found, dict) or not all(isinstance(value, int) for value in found.values()):
            raise FlywheelError(f"not weights: {found!r}", where=self._url, reason="router")
        return found

    def settle(self, decision: Literal["promote", "rollback"]) -> None:
        """Nothing is left to do: model servers on one machine end with their run."""

    def _admin(self, method: str, body: Any) -> Any:
        answer = call(self._url, method=method, body=body, headers=self._headers, timeout_s=self._timeout_s)
        if not answer.ok:
            what = f"status {answer.status}: {answer.text[:200]}" if answer.status else f"no answer: {answer.text}"
            raise FlywheelError(f"the router does not do its part: {what}", where=self._url, reason="router")
        return answer.json()
