"""What flows back from a model server: usage, first token, and the public model name, event by event."""

import re
from dataclasses import dataclass
from typing import Any

import orjson

_END_OF_EVENT = re.compile(rb"\r?\n\r?\n")
_TEXT_FIELDS = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call")


@dataclass(frozen=True)
class Tokens:
    """Token counts as an upstream reported them.

    Attributes:
        prompt: All prompt tokens.
        cached: Those that came from a cache.
        completion: Generated tokens.
    """

    prompt: int
    cached: int
    completion: int


def tokens_of(usage: object) -> Tokens | None:
    """Read OpenAI's ``usage`` object; None when it is absent or not made of counts."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens", 0))
    details = usage.get("prompt_tokens_details")
    cached = _count((details.get("cached_tokens") if isinstance(details, dict) else 0) or 0)
    if prompt is None or completion is None or cached is None:
        return None
    return Tokens(prompt, min(cached, prompt), completion)


def has_token(event: dict[str, Any]) -> bool:
    """Whether a chunk carries generated text; the first chunk of a chat often names only the role."""
    choices = event.get("choices")
    if not isinstance(choices, list):
        return False
    for choice in choices:
        if isinstance(choice, dict):
            delta = choice.get("delta")
            if choice.get("text") or (isinstance(delta, dict) and any(delta.get(name) for name in _TEXT_FIELDS)):
                return True
    return False


class StreamMeter:
    """Reads server-sent events as they pass, and rewrites only what the caller must see differently.

    Args:
        model: Public model name to put into every chunk.
        wants_usage: The caller asked for ``stream_options.include_usage``.
        wants_continuous: The caller asked for usage in every chunk (vLLM's ``continuous_usage_stats``).

    Attributes:
        tokens: The latest usage the upstream reported.
        first_token: Whether a token has passed.
        done: Whether the closing ``[DONE]`` has passed.
        error: Message of an error event, or None.
    """

    def __init__(self, model: str, *, wants_usage: bool, wants_continuous: bool) -> None:
        self._model = model
        self._wants_usage, self._wants_continuous = wants_usage, wants_continuous
        self._rest = b""
        self.tokens: Tokens | None = None
        self.first_token = False
        self.done = False
        self.error: str | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they came; return every event that is complete, for the caller."""
        buffer = self._rest + data if self._rest else data
        parts: list[bytes] = []
        start = 0
        for match in _END_OF_EVENT.finditer(buffer):
            parts.append(self._event(buffer[start : match.start()]))
            start = match.end()
        self._rest = buffer[start:]
        return b"".join(parts)

    def _event(self, event: bytes) -> bytes:
        lines = event.splitlines()
        payload = b"\n".join(line[5:].lstrip(b" ") for line in lines if line.startswith(b"data:"))
        if payload == b"[DONE]":
            self.done = True
            return event + b"\n\n"
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            return event + b"\n\n"  # a comment or a keep-alive
        if not self._observe(value):
            return b""
        others = b"".join(line + b"\n" for line in lines if not line.startswith(b"data:"))
        return others + b"data: " + orjson.dumps(value) + b"\n\n"

    def _observe(self, value: dict[str, Any]) -> bool:
        """Take note of a chunk and rewrite it in place; False when the caller must not see it."""
        if isinstance(value.get("error"), dict):
            self.error = str(value["error"].get("message", "error"))
            return True
        if "model" in value:
            value["model"] = self._model
        self.first_token = self.first_token or has_token(value)
        tokens = tokens_of(value.get("usage"))
        if tokens is not None:
            self.tokens = tokens
            if value.get("choices") == [] and not self._wants_usage:
                return False
        if "usage" in value and not self._wants_continuous:
            if not self._wants_usage:
                del value["usage"]
            elif value.get("choices") != []:
                value["usage"] = None
        return True


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None
