"""Starts the gateway on this machine: its config, one API key and an admin token that only this user can read."""

import json
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_secret
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.serving.gateway.config import sha256_of
from llm_flywheel.serving.local.http import Answer, call
from llm_flywheel.serving.local.processes import Server
from llm_flywheel.serving.local.ready import start_ready


@dataclass(frozen=True)
class Upstream:
    """A variant behind the gateway: where it answers, its model name there, its version, its share and its host."""

    url: str
    model: str
    version: str
    weight: int = 0
    host: str = ""


@dataclass(frozen=True)
class LocalGateway:
    """A running gateway.

    Attributes:
        base_url: What an OpenAI client takes, ``http://127.0.0.1:port/v1``.
        model: The one model name that it serves.
        key_file: File with the API key, mode 0600.
        admin_token_file: File with the admin token, mode 0600.
        config_file: Its config.
        pid: Process id, 0 when unknown.
    """

    base_url: str
    model: str
    key_file: Path
    admin_token_file: Path
    config_file: Path
    pid: int = 0

    @property
    def key(self) -> str:
        """The API key."""
        return self.key_file.read_text(encoding="utf-8").strip()

    def weights(self) -> dict[str, int]:
        """The weights in force.

        Raises:
            FlywheelError: The gateway does not answer or refuses.
        """
        return self._admin("GET", None)

    def set_weights(self, weights: Mapping[str, int]) -> dict[str, int]:
        """Put weights (per cent, summing to 100) in force and return what the gateway then reports.

        Raises:
            FlywheelError: The gateway does not answer or refuses.
        """
        return self._admin("PUT", dict(weights))

    def _admin(self, method: str, body: Any) -> dict[str, int]:
        root = self.base_url.removesuffix("/v1")
        token = self.admin_token_file.read_text(encoding="utf-8").strip()
        url = f"{root}/admin/routes/{self.model}/weights"
        answer = call(url, method=method, body=body, headers={"authorization": f"Bearer {token}"})
        value = answer.json() if answer.ok else None
        if not isinstance(value, dict):
            raise FlywheelError(
                f"the gateway did not take the weights: {answer.status} {answer.text[:200]}",
                where=url,
                reason="gateway",
            )
        found = value.get("weights", value)
        return {name: int(found[name]) for name in found}

    def chat(self, prompt: str, *, variant: str = "", max_tokens: int = 16, timeout_s: float = 120.0) -> Answer:
        """Ask the model one question through the gateway, on a pinned variant or as the weights say."""
        headers = {"authorization": f"Bearer {self.key}"}
        if variant:
            headers["x-flywheel-variant"] = variant
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": 0,
        }
        url = f"{self.base_url}/chat/completions"
        return call(url, method="POST", body=body, headers=headers, timeout_s=timeout_s)


def start_gateway(
    model: str,
    variants: Mapping[str, Upstream],
    *,
    settings: Settings,
    run_dir: Path,
    run_id: str,
    port: int = 0,
    timeout_s: float = 60.0,
    split_by: Literal["gateway", "router"] = "gateway",
) -> tuple[LocalGateway, Server]:
    """Write the gateway's config and secrets, start it and wait until it answers.

    Args:
        model: Public model name.
        variants: What answers for it, by variant; weights sum to 100 where the gateway splits.
        settings: For the ledger's address and the key's owner.
        run_dir: Folder of the run.
        run_id: Id of the run, written to usage rows.
        port: Wanted port, or 0 for any.
        timeout_s: Longest wait, seconds.
        split_by: Who splits the traffic; see `RouteConfig`.

    Raises:
        FlywheelError: It did not start; with the cause.
    """
    folder = run_dir / "gateway"
    folder.mkdir(parents=True, exist_ok=True)
    key, token = f"fw-{secrets.token_urlsafe(24)}", secrets.token_urlsafe(32)
    key_file, token_file = folder / "api-key", folder / "admin-token"
    write_secret(key_file, key)
    write_secret(token_file, token)
    config = {
        "routes": {model: {"split_by": split_by, "variants": {name: vars(item) for name, item in variants.items()}}},
        "keys": [{"id": "local", "sha256": sha256_of(key), "user": settings.actor, "team": "local"}],
        "admin_sha256": sha256_of(token),
        "run_id": run_id,
    }
    config_file = folder / "config.json"
    write_secret(config_file, json.dumps(config, indent=1))

    def argv(chosen: int) -> list[str]:
        program = [sys.executable, "-m", "llm_flywheel.serving.gateway"]
        return [*program, "--config", str(config_file), "--port", str(chosen)]

    server = start_ready(
        "gateway",
        argv,
        run_dir=run_dir,
        run_id=run_id,
        timeout_s=timeout_s,
        port=port,
        # Not in the file, which stays: the address may hold a password.
        env={"FLYWHEEL_LEDGER_URL": settings.ledger_url},
    )
    base_url = f"http://127.0.0.1:{server.record.port}/v1"
    return LocalGateway(base_url, model, key_file, token_file, config_file, server.record.pid), server
