"""Who may train on a dataset version: its security level and its access policy.

The owner of the data says both once, in ``ingest.access``; every manifest after that carries them as ``access``.
What a level means, which kinds of personal data its readers may see, is in the policy file of ``scan_pii``.

The level of a version changes in one place only, `after_masking`:

1. Data that the owner did not classify stays unclassified, whatever is masked in it.
2. Masking under the policy of a more open level lowers the level to that one, if the policy was applied as it is
   written and what a second scan still finds is what the policy allows to remain (``scan_pii/level.py``).
3. Nothing raises a level, and no other step changes it: ``curate`` only takes rows away.

Levels are a guard against mistakes, not authentication: who can write a run configuration can also write another
level, and the audit log says who that was.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from llm_flywheel.components.common.config import Section, bind
from llm_flywheel.components.common.errors import FlywheelError


class AccessConfig(Section):
    """The ``access`` key of ``ingest``, and of a dataset manifest."""

    level: str = Field(default="", description="security level of the data, one of levels; empty: not classified")
    levels: list[str] = Field(
        default=["public", "internal", "confidential"],
        min_length=1,
        description="all levels, the most open one first; those of scan_pii.policy where that is a file of your own",
    )
    owner: str = Field(default="", description="whom to ask for access")
    may_train: list[str] = Field(
        default=[], description="who may train on it, by FLYWHEEL_ACTOR; empty for everybody whose max_level is enough"
    )

    @model_validator(mode="after")
    def _known_level(self) -> Self:
        if len(set(self.levels)) < len(self.levels):
            raise ValueError("levels: a name stands there twice")
        if self.level and self.level not in self.levels:
            raise ValueError(f"level: got {self.level!r}; expected one of {', '.join(self.levels)}")
        return self


def access_of(manifest: Mapping[str, Any], where: str | Path = "manifest.json") -> AccessConfig:
    """Level and policy of a dataset; not classified when the manifest does not say.

    Raises:
        FlywheelError: What the manifest says is no access policy.
    """
    return bind(AccessConfig, manifest.get("access") or {}, where=str(where))


def after_masking(access: AccessConfig, earned: str) -> AccessConfig:
    """Level and policy of the data once it is masked: the rule at the top of this module.

    Args:
        access: Of the data that was masked.
        earned: Level whose policy the masked data fulfils, or empty (``scan_pii.level.earned_level``).
    """
    if not access.level or earned not in access.levels:
        return access
    opener = min(access.level, earned, key=access.levels.index)
    return access.model_copy(update={"level": opener})


def refusal(access: AccessConfig, max_level: str, actor: str, where: str) -> FlywheelError | None:
    """Why ``actor`` must not train on the data, or None.

    Without a ``max_level``, data that is not classified and data of the most open level may be used.

    Args:
        access: Of the dataset.
        max_level: The highest level that the run may use, or empty.
        actor: Who runs it.
        where: Folder of the dataset, for the message.
    """
    ask = f"ask {access.owner}" if access.owner else "ask the owner of the data"
    if access.may_train and actor not in access.may_train:
        named = ", ".join(access.may_train)
        what, reason = f"{actor!r} may not train on this data, only {named}", "access_actor"
        return FlywheelError(what, where=where, fix=f"{ask} to be named in ingest.access.may_train", reason=reason)
    if not access.level:
        if not max_level:
            return None
        what, reason = f"the data has no security level, and only up to {max_level!r} is allowed", "access_no_level"
        return FlywheelError(what, where=where, fix=f"{ask} to set ingest.access.level", reason=reason)
    if max_level and max_level not in access.levels:
        what = f"finetune.max_level {max_level!r} is no level of this data; its levels are {', '.join(access.levels)}"
        return FlywheelError(what, where=where, fix="set finetune.max_level to one of them", reason="access_max_level")
    allowed = max_level or access.levels[0]
    if access.levels.index(access.level) <= access.levels.index(allowed):
        return None
    said = "finetune.max_level" if max_level else "without finetune.max_level, the most open level"
    return FlywheelError(
        f"the data is {access.level!r}, above {allowed!r} ({said})",
        where=where,
        fix=f"mask it first with scan_pii.level: {allowed}, or {ask} and set finetune.max_level: {access.level}",
        reason="access_level",
    )
