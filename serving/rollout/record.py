"""The evidence record: one JSON document from which a rollout's every decision can be recomputed offline."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_json
from llm_flywheel.serving.rollout.decision import Decision, Outcome
from llm_flywheel.serving.rollout.evidence import (
    Baseline,
    MetricCount,
    Observation,
    PodFacts,
    VariantCounts,
    VariantPods,
)
from llm_flywheel.serving.rollout.plan import RolloutPlan

SCHEMA = "llm-flywheel/rollout-evidence/1"


@dataclass(frozen=True)
class Look:
    """One observation and what was decided on it."""

    seen: Observation
    decision: Decision


@dataclass(frozen=True)
class VariantSummary:
    """One variant over all steps, for people; no decision depends on it.

    Attributes:
        version: Registered model version.
        requests: Rows, warm-up left out.
        errors: Rows that count as errors.
        excluded: Rows that say nothing about the model, per reason.
        ttft_p50_s: Median time to first token in seconds, None without data.
        ttft_p95_s: 95th percentile of it.
        latency_p50_s: Median time to the end of the answer in seconds.
        latency_p95_s: 95th percentile of it.
    """

    version: str
    requests: int
    errors: int
    excluded: Mapping[str, int]
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None


@dataclass(frozen=True)
class Record:
    """A finished rollout.

    Attributes:
        model: Served and registered name.
        versions: Version per variant.
        run_id: Pipeline run, or empty.
        actor: Who ran it.
        started: Unix seconds.
        ended: Unix seconds.
        plan: Steps, limits and thresholds in force.
        baselines: Frozen latencies per metric kind.
        looks: Every observation with its decision, in order.
        applied: Whether the router confirmed the final weights.
        outcome: How it ended.
        summary: Per variant, for people.
    """

    model: str
    versions: Mapping[str, str]
    run_id: str
    actor: str
    started: float
    ended: float
    plan: RolloutPlan
    baselines: Mapping[str, Baseline]
    looks: Sequence[Look]
    applied: bool
    outcome: Outcome
    summary: Mapping[str, VariantSummary]


def to_json(record: Record) -> dict[str, Any]:
    """The record as plain JSON values, sealed with a digest of everything in it."""
    value = {
        "schema": SCHEMA,
        "model": record.model,
        "versions": dict(record.versions),
        "run_id": record.run_id,
        "actor": record.actor,
        "started": record.started,
        "ended": record.ended,
        "plan": record.plan.model_dump(),
        "limits": {"harm": record.plan.harm_limit, "pass": record.plan.pass_limit},
        "baselines": {kind: asdict(baseline) for kind, baseline in record.baselines.items()},
        "looks": [asdict(look) for look in record.looks],
        "applied": record.applied,
        "outcome": asdict(record.outcome),
        "summary": {variant: asdict(summary) for variant, summary in record.summary.items()},
    }
    plain: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    return plain | {"digest": digest(plain)}


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of a record without its ``digest``, 64 hex digits."""
    body = {key: item for key, item in value.items() if key != "digest"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write(value: Mapping[str, Any], path: Path) -> None:
    """Write a sealed record; a reader never sees half of it."""
    write_json(path, value)


def read(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        FlywheelError: The file is missing, is not JSON, or is not an evidence record of this schema.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FlywheelError("no such evidence file", where=str(path), reason="missing") from None
    except (OSError, ValueError) as error:
        raise FlywheelError(f"not a readable evidence file: {error}", where=str(path), reason="unreadable") from None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        found = value.get("schema") if isinstance(value, dict) else type(value).__name__
        raise FlywheelError(f"not a rollout evidence record ({found!r})", where=str(path), reason="schema")
    return value


def look_of(value: Mapping[str, Any]) -> Look:
    """A look from its stored form; raises KeyError or TypeError when it is not one."""
    return Look(observation(value["seen"]), Decision(**value["decision"]))


def observation(value: Mapping[str, Any]) -> Observation:
    """An observation from its stored form; raises KeyError or TypeError when it is not one."""
    parts: dict[str, Any] = {"stable": _counts(value["stable"]), "canary": _counts(value["canary"])}
    pods = value.get("pods")
    if pods is not None:
        parts["pods"] = {variant: _pods(item) for variant, item in pods.items()}
    return Observation(**{**value, **parts})


def _counts(value: Mapping[str, Any]) -> VariantCounts:
    metrics = {kind: MetricCount(**count) for kind, count in value["metrics"].items()}
    return VariantCounts(**{**value, "metrics": metrics})


def _pods(value: Mapping[str, Any]) -> VariantPods:
    return VariantPods(**{**value, "pods": tuple(PodFacts(**pod) for pod in value["pods"])})
