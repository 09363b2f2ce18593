"""What is done with personal data by security level, as a file that a data owner writes and reviews."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from llm_flywheel.components.common.config import Section, bind, load_yaml
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii.operators import OperatorName

DEFAULT = Path(__file__).with_name("policies.yaml")


class Level(Section):
    """One level: its keys mean what they mean in the ``scan_pii`` section; one that is not given sets nothing."""

    types: list[str] = Field(default=[], description="what to look for")
    operator: OperatorName = Field(default="mask", description="what to do with a type that operators does not name")
    operators: dict[str, OperatorName] = Field(default={}, description="another operator for some types")
    allowed_types: list[str] = Field(default=[], description="types that may remain without failing the gate")
    allow_list: list[str] = Field(default=[], description="values that are not personal")
    min_score: float = Field(default=0.5, ge=0, le=1, description="a less certain find does not count")
    min_scores: dict[str, float] = Field(default={}, description="another bound for some types")


class Policy(Section):
    """A policy file."""

    levels: dict[str, Level] = Field(min_length=1, description="by name, such as public")


def with_level(values: Mapping[str, Any]) -> dict[str, Any]:
    """A ``scan_pii`` section with what its level adds: given keys win, ``operators`` and ``min_scores`` type by type.

    Args:
        values: The section as a person wrote it, with ``level`` and perhaps ``policy``, the path of a file.

    Returns:
        The section with every key that a level can set, so that it can be bound again on a machine without the file.

    Raises:
        ValueError: The file is missing or wrong, or has no such level.
    """
    level, path = values.get("level") or "", values.get("policy") or ""
    if not (level or path) or all(key in values for key in Level.model_fields):
        return dict(values)
    try:
        policy = bind(Policy, load_yaml(Path(path) if path else DEFAULT), where=str(path or DEFAULT))
    except FlywheelError as error:
        raise ValueError(str(error)) from None
    if level not in policy.levels:
        known = ", ".join(policy.levels)
        raise ValueError(f"level: {f'got {level!r}' if level else 'policy needs one'}; levels there are: {known}")
    merged = policy.levels[level].model_dump(exclude_unset=True)
    for key, value in values.items():
        both_map = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if both_map else value
    return merged
