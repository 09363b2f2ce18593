"""Scalars a person types in the KFP UI or on the command line, merged into the run configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from llm_flywheel.components.common.config import bind
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
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
        before = merged.get(section) or {}
        if value and isinstance(before, Mapping):  # anything else is for `bind` to report
            merged[section] = {**before, key: value}
    return merged


def require_addresses() -> None:
    """Make sure a pod knows where results go, before it makes any.

    Raises:
        FlywheelError: Names every variable that is missing.
    """
    missing = Settings.missing_in_pod()
    if missing:
        raise FlywheelError(
            f"this pod does not know where results go: {', '.join(missing)} not set",
            fix="put them into the ConfigMap flywheel-settings and the Secret flywheel-credentials of this namespace",
            reason="settings",
        )


def problems_in_cluster(config: RunConfig) -> list[str]:
    """What a valid configuration asks for that only this machine has; one line per key."""
    problems = [
        f"{key}: {path!r} is a path of this machine; a pod needs s3:// or sample://"
        for key, paths in (("ingest.paths", config.ingest.paths), ("ingest.holdout_paths", config.ingest.holdout_paths))
        for path in paths
        if "://" not in path or path.startswith("file://")
    ]
    base = config.finetune.base_model
    if base.startswith(("/", ".", "~", "file://")):
        problems.append(f"finetune.base_model: {base!r} is a folder of this machine; give s3:// or a Hub id")
    if config.deploy.target != "none":
        target = config.deploy.target
        problems.append(f"deploy.target: {target} starts a gateway that does not outlive the step's pod; use none")
    return problems


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
