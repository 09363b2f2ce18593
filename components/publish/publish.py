"""Publish: store the model under its content's address, register it, and write its card."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_flywheel.components.base_model.resolve import read_lineage
from llm_flywheel.components.common.dataset import read_manifest
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.publish.card import flatten, model_card
from llm_flywheel.components.publish.config import PublishConfig
from llm_flywheel.components.publish.content import base_uri_of, content_hash, read_json, upload_once
from llm_flywheel.components.publish.registry import Facts, Registry
from llm_flywheel.serving.ledger.ledger import Ledger

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """What the step hands on.

    Attributes:
        name: Registered model.
        version: Its version.
        uri: Where the model is stored.
        base_uri: Where its base weights are.
        new: False when a retried step found its own version.
    """

    name: str
    version: str
    uri: str
    base_uri: str
    new: bool


def run(
    config: PublishConfig,
    model: Path,
    base: Path,
    dataset: Path,
    tuned_results: Path,
    decision: Path,
    card: Path,
    settings: Settings,
) -> Published:
    """Publish one model version with the alias ``challenger``.

    Equal bytes from the same pipeline run make no second version, so the step may be retried at any point.

    Args:
        config: Name, experiment and words for the card.
        model: Model folder with ``flywheel.json``.
        base: Base model artifact.
        dataset: Curated dataset folder.
        tuned_results: Evaluation of the model, JSON.
        decision: The gate's decision, JSON.
        card: Markdown file to write.
        settings: Object storage, registry and ledger.

    Raises:
        FlywheelError: The gate did not pass, a file is missing, or storage, registry or ledger refuse.
    """
    verdict = passed(decision)
    lineage, manifest, tuned = read_lineage(model), read_manifest(dataset), read_json(tuned_results)
    if (model / "adapter_config.json").is_file():
        # Whoever serves the version makes room for this rank without fetching the adapter.
        lineage["lora_rank"] = read_json(model / "adapter_config.json").get("r", "")
    registry = Registry(settings)
    content = content_hash(model)
    uri = f"{settings.object_store}/models/{config.model_name}/{content[:32]}"
    base_uri = base_uri_of(base, settings)
    upload_once(model, uri, settings)
    facts = _facts(config, content, {"uri": uri, "base_uri": base_uri}, lineage, manifest, verdict, tuned, settings)

    version = registry.find_version(facts)
    new = not version
    mlflow_run = registry.log_run(facts) if new else registry.mlflow_run_of(facts, version)
    version = version or registry.create_version(facts, mlflow_run)
    text = model_card(
        config, version, lineage, manifest, verdict, tuned, {"uri": uri, "base_uri": base_uri}
    )  # fmt: skip
    card.parent.mkdir(parents=True, exist_ok=True)
    card.write_text(text, encoding="utf-8")
    registry.finish(facts, version, mlflow_run, text)
    published = Published(config.model_name, version, uri, base_uri, new)
    _audit(published, facts, mlflow_run, settings)
    logger.info("published", extra={"model": config.model_name, "version": version, "uri": uri, "new": new})
    return published


def passed(path: Path) -> dict[str, Any]:
    """The gate's decision.

    Raises:
        FlywheelError: It did not pass, or there is none.
    """
    decision = read_json(path)
    if decision.get("passed") is not True:
        raise FlywheelError(
            f"the gate did not pass: {decision.get('reason') or 'no data'}; nothing is published",
            where=str(path),
            reason="gate",
        )
    return decision


def _facts(
    config: PublishConfig,
    content: str,
    addresses: Mapping[str, str],
    lineage: Mapping[str, Any],
    manifest: Mapping[str, Any],
    decision: Mapping[str, Any],
    tuned: Mapping[str, Any],
    settings: Settings,
) -> Facts:
    version = str(manifest.get("version", ""))
    numbers = decision.get("numbers") or {}
    compared: dict[str, Any] = {name: numbers.get(name) for name in ("base", "tuned", "gain", "min_gain", "min_value")}
    shown = {f"gate.{name}": f"{value:.6g}" for name, value in compared.items() if _finite(value)}
    metrics = {f"eval.{name}": float(value) for name, value in (tuned.get("metrics") or {}).items() if _finite(value)}
    metrics |= {f"gate.{name}": float(value) for name, value in compared.items() if _finite(value)}
    training = lineage.get("training")
    if isinstance(training, Mapping):
        metrics |= {f"train.{name}": float(value) for name, value in training.items() if _finite(value)}
    tags = {
        "kind": str(lineage.get("kind", "")),
        "base": str(lineage.get("base", "")),
        "base_uri": addresses["base_uri"],
        "lora_rank": str(lineage.get("lora_rank", "")),
        "dataset_version": version,
        "gate.metric": str(numbers.get("metric", "")),
        **shown,
    }
    params = {"seed": lineage.get("seed"), "dataset_version": version, **flatten(lineage.get("recipe") or {})}
    profile = {key: manifest[key] for key in ("rows_in", "rows_out", "splits") if key in manifest}
    data = {"name": config.model_name, "version": version, "source": f"dataset:{version}", "profile": profile}
    return Facts(
        name=config.model_name,
        experiment=config.experiment,
        uri=addresses["uri"],
        content=content,
        run_id=settings.run_id,
        params=params,
        metrics=metrics,
        tags=tags,
        dataset=data,
        manifest=manifest,
    )


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _audit(published: Published, facts: Facts, mlflow_run: str, settings: Settings) -> None:
    """One audit event per version, also when a retry comes after the event or between version and event."""
    target = f"model:{published.name}/{published.version}"
    with Ledger.open(settings.ledger_url) as ledger:
        if ledger.audit_events(action="model.publish", object=target):
            return
        details = {
            "uri": published.uri,
            "base_uri": published.base_uri,
            "content": facts.content,
            "dataset_version": facts.tags["dataset_version"],
            "mlflow_run": mlflow_run,
            "run_id": settings.run_id,
            "gate": {key.removeprefix("gate."): value for key, value in facts.tags.items() if key.startswith("gate.")},
        }
        ledger.append_audit(settings.actor, "model.publish", target, details)
