"""Scalars a person types in the KFP UI or on the command line, merged into the run configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from llm_flywheel.components.common.config import bind
from llm_flywheel.pipelines.config import SECTIONS, RunConfig


def merge(
    config: Mapping[str, Any],
    *,
    data: Sequence[str] = (),
    holdout: Sequence[str] = (),
    base_model: str = "",
    model_name: str = "",
) -> dict[str, Any]:
    """Put the scalars of a run into the mapping a user wrote; empty ones change nothing."""
    given = {
        ("ingest", "paths"): list(data),
        ("ingest", "holdout_paths"): list(holdout),
        ("finetune", "base_model"): base_model,
        ("publish", "model_name"): model_name,
    }
    merged = dict(config)
    for (section, key), value in given.items():
        if value:
            merged[section] = {**(merged.get(section) or {}), key: value}
    return merged


def plain(config: RunConfig) -> dict[str, Any]:
    """The configuration as values that KFP can carry; it has no null, and every optional key defaults to it."""
    return config.model_dump(mode="json", exclude_none=True)


def sections(config: Mapping[str, Any], **scalars: Any) -> tuple[dict[str, Any], ...]:
    """The checked configuration as one plain mapping per component, in the order of `SECTIONS`.

    Raises:
        FlywheelError: Lists everything that is wrong with the configuration.
    """
    bound = bind(RunConfig, merge(config, **scalars), where="config")
    values = plain(bound)
    return tuple(values[name] for name in SECTIONS)
