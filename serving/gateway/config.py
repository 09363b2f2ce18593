"""Settings of the gateway, declared once; a file in YAML or JSON is read, checked and bound in one go."""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from llm_flywheel.components.common.config import InputPath, Section, bind, load_yaml

VariantName = Literal["stable", "canary"]


def _sha256(value: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", value):
        # Without the value: it may be the secret itself, put here by mistake.
        raise ValueError("must be a SHA-256, 64 lower-case hex digits (printf %s KEY | sha256sum)")
    return value


Sha256 = Annotated[str, AfterValidator(_sha256)]


def sha256_of(secret: str) -> str:
    """What the config stores in place of an API key or admin token: its SHA-256, 64 hex digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def check_weights(weights: dict[str, int], variants: set[str]) -> str:
    """Say what is wrong with a set of weights, or nothing.

    Args:
        weights: Per cent per variant.
        variants: The variants the route has.

    Returns:
        An explanation, or an empty string when the weights can be put in force.
    """
    if set(weights) != variants:
        return f"weights must name exactly {', '.join(sorted(variants))}; got {', '.join(sorted(weights)) or 'none'}"
    if any(weight < 0 for weight in weights.values()):
        return "a weight must not be negative"
    total = sum(weights.values())
    return "" if total == 100 else f"weights must sum to 100; got {total}"


class VariantConfig(Section):
    """One version of a model behind a route."""

    url: str = Field(description="Base URL of an OpenAI-compatible server, with or without /v1.")
    model: str = Field(min_length=1, description="Model name there; a LoRA adapter's name on a vLLM server.")
    version: str = Field("", description="Registered model version, for the ledger.")
    weight: int = Field(0, ge=0, le=100, description="Per cent of the traffic at start, where this gateway splits.")
    host: str = Field("", description="Host header for the server; default: its address.")

    @field_validator("url")
    @classmethod
    def _base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ValueError("must look like http://host:port")
        return value.rstrip("/").removesuffix("/v1").rstrip("/")


class RouteConfig(Section):
    """One public model name and the variants that share its traffic."""

    variants: dict[VariantName, VariantConfig] = Field(min_length=1)
    split_by: Literal["gateway", "router"] = Field(
        "gateway",
        description="gateway: by the weights here. router: what all variants have as url splits the traffic (a Gateway "
        "API gateway); answers name their version in x-flywheel-version, and a session cannot be kept on a variant.",
    )

    @model_validator(mode="after")
    def _splits(self) -> Self:
        weights: dict[str, int] = {name: item.weight for name, item in self.variants.items()}
        if self.split_by == "gateway":
            problem = check_weights(weights, set(self.variants))
        elif any(weights.values()):
            problem = "a route that a router splits has no weights here"
        else:
            ways = {(item.url, item.host, item.model) for item in self.variants.values()}
            problem = "" if len(ways) == 1 else "one router needs one url, host and model for all variants"
            if len({item.version for item in self.variants.values()}) < len(self.variants):
                problem = "a router's answers name their version: variants need different ones"
        if problem:
            raise ValueError(problem)
        return self


class KeyConfig(Section):
    """One API key, stored as its SHA-256 only."""

    id: str = Field(min_length=1, description="Name of the key in the ledger.")
    sha256: Sha256
    user: str = Field(min_length=1)
    team: str = ""


class GatewayConfig(Section):
    """Everything the gateway needs to know."""

    routes: dict[str, RouteConfig] = Field(min_length=1, description="Public model name to its variants.")
    keys: list[KeyConfig] = Field(min_length=1, description="Who may call. There is no anonymous access.")
    admin_sha256: Sha256 | None = Field(
        None, description="SHA-256 of the admin bearer token; without it, no admin API."
    )
    ledger_url: str | None = Field(None, description="SQLAlchemy URL; default: FLYWHEEL_LEDGER_URL of the process.")
    run_id: str | None = Field(None, description="Written to usage rows; default: FLYWHEEL_RUN_ID of the process.")
    prices: InputPath | None = Field(None, description="Price file; default: the ledger's own prices.yaml.")
    sticky_secret: str = Field(
        "", description="Key of the HMAC that keeps a session on its variant; default: a new one at every start."
    )
    max_body_bytes: int = Field(8 * 1024 * 1024, ge=1024, le=1024**3, description="Larger requests get status 413.")
    connect_timeout_s: float = Field(5.0, gt=0, le=600, description="To reach the upstream.")
    idle_timeout_s: float = Field(120.0, gt=0, le=3600, description="Without a byte from the upstream.")
    drain_timeout_s: float = Field(10.0, ge=0, le=3600, description="For requests in flight when it is told to stop.")
    request_timeout_s: float = Field(600.0, gt=0, le=86_400, description="For a whole request.")
    usage_in_every_chunk: bool = Field(
        True,
        description="Ask for stream_options.continuous_usage_stats, so that an aborted stream is metered exactly. "
        "vLLM knows it; set false for an upstream that refuses it.",
    )
    flush_interval_s: float = Field(0.05, gt=0, le=10, description="Longest wait of a usage row for its batch.")
    max_backlog: int = Field(
        100_000, ge=1, description="Usage rows that may wait for a ledger that is down; then requests get status 503."
    )

    @model_validator(mode="after")
    def _unique_keys(self) -> Self:
        for name, values in (("id", [key.id for key in self.keys]), ("sha256", [key.sha256 for key in self.keys])):
            doubled = sorted({value for value in values if values.count(value) > 1})
            if doubled:
                raise ValueError(f"keys: {name} {doubled[0]!r} is used twice")
        return self


def load_config(path: Path) -> GatewayConfig:
    """Read a gateway config; JSON is read as the YAML that it is.

    Raises:
        FlywheelError: The file is missing or wrong; all errors at once.
    """
    return bind(GatewayConfig, load_yaml(path), where=str(path), check_files=True)
