"""The model card: what a person must know before using a model, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from llm_flywheel.components.common.report import markdown_table, show
from llm_flywheel.components.publish.config import PublishConfig

_STANDARD_LIMITS = (
    "Evaluated on the held-out split of the dataset version below only; nothing is known about other subjects.",
    "PII was masked by patterns and checksums before training; patterns miss names and rare formats.",
)


def model_card(
    config: PublishConfig,
    version: str,
    lineage: Mapping[str, Any],
    manifest: Mapping[str, Any],
    decision: Mapping[str, Any],
    tuned: Mapping[str, Any],
    addresses: Mapping[str, str],
) -> str:
    """The card of one model version.

    Args:
        config: Purpose, limits, contact, licence.
        version: Registered version.
        lineage: ``flywheel.json`` of the model.
        manifest: Manifest of the curated dataset.
        decision: The gate's decision.
        tuned: Evaluation results of the model.
        addresses: ``uri`` of the model and ``base_uri`` of its base.
    """
    parts = [f"# {config.model_name}, version {version}\n", config.purpose or _what(lineage), "\n## Facts\n"]
    parts.append(markdown_table(["", ""], _facts(config, lineage, manifest, addresses)))
    parts += ["## Data\n", markdown_table(["", ""], _data(manifest)), _pii(manifest.get("pii"))]
    parts += ["## Evaluation\n", _evaluation(decision, tuned)]
    parts += ["## Training\n", markdown_table(["setting", "value"], _flat(lineage.get("recipe") or {}))]
    parts += ["## Limits\n", "\n".join(f"- {line}" for line in [*config.limits, *_STANDARD_LIMITS]) + "\n"]
    parts += ["## How to ask it\n", _usage(config.model_name)]
    return "\n".join(parts)


def _what(lineage: Mapping[str, Any]) -> str:
    kind = "A LoRA adapter of" if lineage.get("kind") == "adapter" else "A full fine-tune of"
    return f"{kind} `{lineage.get('base', 'unknown')}`."


def _facts(
    config: PublishConfig, lineage: Mapping[str, Any], manifest: Mapping[str, Any], addresses: Mapping[str, str]
) -> list[list[object]]:
    rows: list[list[object]] = [
        ["kind", lineage.get("kind", "unknown")],
        ["base", lineage.get("base", "unknown")],
        ["weights", addresses["uri"]],
        ["base weights", addresses["base_uri"]],
        ["dataset version", manifest.get("version", "unknown")],
        ["seed", str(lineage.get("seed", "unknown"))],
        ["pipeline run", lineage.get("run_id") or "none"],
        ["created", lineage.get("created", "unknown")],
    ]
    return rows + [[name, value] for name, value in (("licence", config.license), ("contact", config.contact)) if value]


def _data(manifest: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = [["version", manifest.get("version", "unknown")]]
    for key in ("splits", "dropped", "ingest"):
        value = manifest.get(key)
        if isinstance(value, Mapping):
            # A list of files belongs into the manifest, its length into the card.
            cells = (f"{name}: {len(item) if isinstance(item, list) else show(item)}" for name, item in value.items())
            rows.append([key, ", ".join(cells) or "none"])
    return rows


def _pii(summary: object) -> str:
    if not isinstance(summary, Mapping) or not summary:
        return "### PII\n\nNo PII scan is recorded for this dataset.\n"
    return "### PII\n\n" + markdown_table(["", "count"], _flat(summary))


def _evaluation(decision: Mapping[str, Any], tuned: Mapping[str, Any]) -> str:
    numbers = decision.get("numbers") or {}
    rows = [[name, _cell(numbers.get(name))] for name in ("base", "tuned", "gain", "min_gain", "min_value")]
    text = f"Gate metric `{numbers.get('metric', 'unknown')}`: {decision.get('reason', '')}\n\n"
    text += markdown_table(["", "value"], rows)
    metrics = tuned.get("metrics") or {}
    return text + "\nAll metrics of this model:\n\n" + markdown_table(["metric", "value"], list(metrics.items()))


def _cell(value: object) -> str:
    return "not set" if value is None else show(value)


def _flat(values: Mapping[str, Any]) -> list[Sequence[object]]:
    return [[key, value if isinstance(value, int | float) else str(value)] for key, value in flatten(values).items()]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists stay values."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            result |= flatten(value, f"{name}.")
        else:
            result[name] = value
    return result


def _usage(model: str) -> str:
    return f"""Through the gateway, with your key (`flywheel run … --keep` prints both):

```
curl "$FLYWHEEL_URL/chat/completions" -H "Authorization: Bearer $FLYWHEEL_KEY" -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
```
"""
