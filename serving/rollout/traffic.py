"""A client that asks real chat questions through the split, so that a rollout has something to judge."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from pydantic import Field

from llm_flywheel.components.common.config import Section
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.rollout.backend import root_of
from llm_flywheel.serving.rollout.plan import CANARY

Message = Mapping[str, str]

VARIANT_HEADER = "x-flywheel-variant"
# After a refused connection: long enough not to burn a core, short enough for a dead server to show at once.
FAILURE_PAUSE_S = 0.2
DRAIN_S = 3.0


class TrafficConfig(Section):
    """How many questions are asked at once, how fast, and how long one may take."""

    enabled: bool = Field(default=True, description="false where real users provide the traffic")
    concurrency: int = Field(default=4, ge=1, le=512, description="requests in flight at once")
    requests_per_second: float = Field(default=20.0, gt=0, le=10_000, description="upper limit, all together")
    max_requests: int = Field(default=20_000, ge=1, le=10**8, description="stop asking after this many")
    max_tokens: int = Field(default=32, ge=1, le=32_768, description="longest answer")
    temperature: float = Field(default=0.0, ge=0, le=2)
    pin_every: int = Field(
        default=4, ge=0, le=1000, description="in warm-up, every n-th request goes to the canary by header; 0: none"
    )
    connect_timeout_s: float = Field(default=2.0, gt=0, le=60)
    timeout_s: float = Field(
        default=35.0, gt=0, le=3600, description="for a whole answer; longer than plan.deadline_seconds"
    )


@dataclass
class TrafficStats:
    """What the client saw.

    Attributes:
        sent: Requests started.
        outcomes: How they ended: ``ok``, ``status_<code>``, ``broken_stream``, ``timeout`` or ``no_connection``.
        variants: Answers per variant, by response header.
        error: Why the client stopped early, or empty.
    """

    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    variants: Counter[str] = field(default_factory=Counter)
    error: str = ""


def prompt_of(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The part of a conversation to ask: everything before the last assistant turn."""
    end = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=len(messages))
    return [{"role": message["role"], "content": message["content"]} for message in messages[:end]]


class Traffic:
    """Asks questions in the background, bounded in concurrency, count and time, until stopped.

    Example:
        >>> with Traffic(url, key, "support", conversations, TrafficConfig(), max_seconds=90) as traffic:
        ...     controller.run()
        >>> traffic.stats.sent

    Args:
        base_url: Address of the gateway, with or without ``/v1``.
        api_key: Bearer key.
        model: Served model name.
        conversations: Conversations whose questions are asked, cycled.
        config: Speed and limits.
        max_seconds: Stop by then, whatever happens.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        model: str,
        conversations: Sequence[Sequence[Message]],
        config: TrafficConfig,
        *,
        max_seconds: float,
    ) -> None:
        self._url = f"{root_of(base_url)}/v1/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._model, self._config, self._max_seconds = model, config, max_seconds
        self._prompts = [prompt for prompt in map(prompt_of, conversations) if prompt]
        if not self._prompts:
            raise FlywheelError("no questions to ask: the test split is empty", reason="no_questions")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="rollout-traffic", daemon=True)
        self._next_slot = 0.0
        self.pinning = True
        self.stats = TrafficStats()

    def __enter__(self) -> "Traffic":
        if self._config.enabled:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._config.enabled:
            self._thread.join(DRAIN_S + 5)

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:  # a thread has nobody above it to tell: the controller sees silence, the report why
            self.stats.error = f"{type(error).__name__}: {error}"

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self._config.timeout_s, sock_connect=self._config.connect_timeout_s)
        self._deadline = time.monotonic() + self._max_seconds
        connector = aiohttp.TCPConnector(limit=self._config.concurrency)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout, connector=connector) as session:
            workers = [asyncio.create_task(self._work(session)) for _ in range(self._config.concurrency)]
            while not self._over() and not all(worker.done() for worker in workers):
                await asyncio.sleep(0.05)
            # Let answers in flight come to their end: a cut one would be an aborted row in the ledger.
            _, late = await asyncio.wait(workers, timeout=DRAIN_S)
            for worker in late:
                worker.cancel()
            for result in await asyncio.gather(*workers, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    def _over(self) -> bool:
        done = self._stop.is_set() or time.monotonic() >= self._deadline
        return done or self.stats.sent >= self._config.max_requests

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while not self._over():
            now = time.monotonic()
            slot = self._next_slot = max(now, self._next_slot) + 1 / self._config.requests_per_second
            await asyncio.sleep(slot - now)
            if self._over():
                return
            number = self.stats.sent
            self.stats.sent += 1
            outcome = await self._ask(session, number)
            self.stats.outcomes[outcome] += 1
            if outcome == "no_connection":
                await asyncio.sleep(FAILURE_PAUSE_S)

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> str:
        headers = {}
        if self.pinning and self._config.pin_every and number % self._config.pin_every == 0:
            headers[VARIANT_HEADER] = CANARY
        try:
            async with session.post(self._url, json=self._body(number), headers=headers) as response:
                self.stats.variants[response.headers.get(VARIANT_HEADER, "")] += 1
                if response.status != 200:
                    return f"status_{response.status}"
                return await _read_stream(response)
        except TimeoutError:
            return "timeout"
        except aiohttp.ClientConnectorError:
            return "no_connection"
        except (aiohttp.ClientError, ValueError):  # ValueError: a line longer than aiohttp's buffer
            return "broken_stream"

    def _body(self, number: int) -> dict[str, Any]:
        return {
            "model": self._model,
            "messages": self._prompts[number % len(self._prompts)],
            "max_tokens": self._config.max_tokens,
            "temperature": self._config.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


async def _read_stream(response: aiohttp.ClientResponse) -> str:
    """Read server-sent events to their end; a stream without ``[DONE]``, or with an error in it, is broken."""
    finished = False
    async for line in response.content:
        text = line.decode("utf-8", "replace").strip()
        if text == "data: [DONE]":
            finished = True
        elif text.startswith("data: ") and _is_error(text[6:]):
            return "broken_stream"
    return "ok" if finished else "broken_stream"


def _is_error(text: str) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return True
    return isinstance(value, dict) and bool(value.get("error"))
