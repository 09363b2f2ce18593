"""Compare the tuned model with the base: a pure decision and its written form."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llm_flywheel.components.gate.config import GateConfig


@dataclass(frozen=True)
class Decision:
    """Whether a model may be published, why, and the numbers compared.

    Attributes:
        passed: Whether it may.
        reason: ``ok``, ``no data: …``, ``not comparable: …``, ``gain too small: …`` or ``value too small: …``.
        numbers: metric, base, tuned, gain, n, their standard errors and the thresholds; None where unknown.
    """

    passed: bool
    reason: str
    numbers: dict[str, Any]


def decide(config: GateConfig, base: Mapping[str, Any], tuned: Mapping[str, Any]) -> Decision:
    """Decide on two evaluation results.

    Args:
        config: Metric and thresholds.
        base: Results of the base model, as evaluate writes them.
        tuned: Results of the tuned model.

    Returns:
        Passed only when both values are finite numbers measured on the same number of questions of the same
        dataset version under the same settings, and every threshold is reached.
    """
    before, after = _number(base, config.metric), _number(tuned, config.metric)
    numbers = {
        "metric": config.metric,
        "base": before,
        "tuned": after,
        "gain": None if before is None or after is None else after - before,
        "base_stderr": _number(base, f"{config.metric}_stderr"),
        "tuned_stderr": _number(tuned, f"{config.metric}_stderr"),
        "base_n": _number(base, f"{config.metric}_n"),
        "tuned_n": _number(tuned, f"{config.metric}_n"),
        "min_gain": config.min_gain,
        "min_value": config.min_value,
    }
    reason = _refusal(config, base, tuned, numbers)
    return Decision(not reason, reason or "ok", numbers)


def _refusal(config: GateConfig, base: Mapping[str, Any], tuned: Mapping[str, Any], numbers: Mapping[str, Any]) -> str:
    for label in ("base", "tuned"):
        if numbers[label] is None:
            return f"no data: the {label} model has no finite {config.metric}"
        if not numbers[f"{label}_n"]:
            return f"no data: the {label} model was asked no question"
    if numbers["base_n"] != numbers["tuned_n"]:
        return f"not comparable: base was asked {numbers['base_n']:.0f} questions, tuned {numbers['tuned_n']:.0f}"
    if base.get("dataset_version") != tuned.get("dataset_version"):
        return f"not comparable: dataset {base.get('dataset_version')} and {tuned.get('dataset_version')}"
    different = _different_settings(base, tuned)
    if different:
        return f"not comparable: other settings ({', '.join(different)})"
    # Differences of decimal fractions: 0.9 - 0.8 is a little less than 0.1.
    if numbers["gain"] < config.min_gain - 1e-9:
        return f"gain too small: {numbers['gain']:.4f} < min_gain {config.min_gain:g}"
    if config.min_value is not None and numbers["tuned"] < config.min_value - 1e-9:
        return f"value too small: {numbers['tuned']:.4f} < min_value {config.min_value:g}"
    return ""


def _different_settings(base: Mapping[str, Any], tuned: Mapping[str, Any]) -> list[str]:
    first, second = base.get("settings") or {}, tuned.get("settings") or {}
    return sorted(
        key for key in {*first, *second} if key not in {"batch_size", "samples"} and first.get(key) != second.get(key)
    )


def _number(results: Mapping[str, Any], name: str) -> float | None:
    metrics = results.get("metrics")
    value = metrics.get(name) if isinstance(metrics, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def read_results(path: Path) -> dict[str, Any]:
    """Evaluation results, or an empty mapping when the file is missing or no JSON object: the gate's ``no data``."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def markdown(decision: Decision) -> str:
    """The decision as a Markdown table."""
    numbers = decision.numbers

    def cell(name: str) -> str:
        value = numbers[name]
        return "no data" if value is None else f"{value:.4f}"

    def error(name: str) -> str:
        return "" if numbers[name] is None else f" ± {numbers[name]:.4f}"

    minimum = "" if numbers["min_value"] is None else f"≥ {numbers['min_value']:g}"
    count = "no data" if numbers["tuned_n"] is None else f"{numbers['tuned_n']:,.0f}"
    return (
        f"# Gate: {'passed' if decision.passed else 'failed'}\n\n{decision.reason}\n\n"
        f"| {numbers['metric']} ({count} questions) | value | required |\n|---|---:|---:|\n"
        f"| base | {cell('base')}{error('base_stderr')} | |\n"
        f"| tuned | {cell('tuned')}{error('tuned_stderr')} | {minimum} |\n"
        f"| gain | {cell('gain')} | ≥ {numbers['min_gain']:g} |\n"
    )


def run(config: GateConfig, base: Path, tuned: Path, decision: Path, report: Path) -> Decision:
    """Read two result files, decide, and write the decision (JSON) and the report (Markdown)."""
    outcome = decide(config, read_results(base), read_results(tuned))
    for path, text in ((decision, json.dumps(asdict(outcome), indent=1) + "\n"), (report, markdown(outcome))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return outcome
