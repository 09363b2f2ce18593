"""One small blocking HTTP call for servers on this machine; connection trouble is an answer, not an exception."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from llm_flywheel.components.common.errors import FlywheelError


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status, or 0 when there was no answer.
        headers: Lower-case names.
        body: The bytes; for status 0 what went wrong.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON, or None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def call(
    url: str,
    *,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
) -> Answer:
    """Send one request and read the whole answer.

    Args:
        url: ``http://host:port/path``.
        method: HTTP method.
        body: A JSON value, or None for no body.
        headers: Extra headers.
        timeout_s: For connecting and for every read, seconds.

    Returns:
        The answer; status 0 when nobody answered in time.

    Raises:
        FlywheelError: The address or a header holds what HTTP cannot carry.
    """
    parts = urlsplit(url)
    path = parts.path or "/"
    data = None if body is None else json.dumps(body).encode()
    sent = {"content-type": "application/json", **(headers or {})} if data is not None else dict(headers or {})
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_s)
    try:
        connection.request(method, f"{path}?{parts.query}" if parts.query else path, data, sent)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, {}, f"{type(error).__name__}: {error}".encode())
    except ValueError as error:
        # Its message is left out: it may quote the header, and that may hold a token.
        raise FlywheelError(
            f"the request cannot be sent ({type(error).__name__}): a line break or a character outside Latin-1 "
            "in a header, or outside ASCII in the address",
            where=url,
            reason="request",
        ) from None
    finally:
        connection.close()
