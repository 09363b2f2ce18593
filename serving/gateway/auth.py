"""Who is calling: API keys and the admin token, compared by their SHA-256."""

import hashlib
import hmac
from collections.abc import Sequence

from llm_flywheel.serving.gateway.config import KeyConfig
from llm_flywheel.serving.gateway.http import Refusal, Scope, bearer


class Keyring:
    """Finds the key a caller presents."""

    def __init__(self, keys: Sequence[KeyConfig]) -> None:
        self._keys = {key.sha256: key for key in keys}

    def caller(self, scope: Scope) -> KeyConfig:
        """The key in ``Authorization: Bearer``; a missing or unknown one is a Refusal with status 401."""
        token = bearer(scope)
        if not token:
            raise _unauthorized("no API key; send it as Authorization: Bearer <key>", "missing_api_key")
        digest = hashlib.sha256(token.encode("latin-1")).hexdigest()
        key = self._keys.get(digest)
        # The look-up may leak digests by its timing, never keys; what decides takes the same time for each.
        if key is None or not hmac.compare_digest(key.sha256, digest):
            raise _unauthorized("this API key is not known", "invalid_api_key")
        return key


def check_admin(scope: Scope, admin_sha256: str | None) -> None:
    """Let the holder of the admin token pass; anyone else is a Refusal with status 401 or 403."""
    if admin_sha256 is None:
        raise Refusal(403, "the admin API is off: the config has no admin_sha256", code="admin_disabled")
    digest = hashlib.sha256(bearer(scope).encode("latin-1")).hexdigest()
    if not hmac.compare_digest(digest, admin_sha256):
        raise _unauthorized("this is not the admin token", "invalid_admin_token")


def _unauthorized(message: str, code: str) -> Refusal:
    return Refusal(
        401, message, kind="authentication_error", code=code, headers={"www-authenticate": 'Bearer realm="flywheel"'}
    )
