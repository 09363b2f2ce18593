"""What a person sets for ``scan_pii``."""

import difflib
from collections.abc import Iterable
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator

from llm_flywheel.components.common.config import Section
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.scan_pii.custom import CustomRecogniser, CustomRule
from llm_flywheel.components.scan_pii.operators import OperatorName
from llm_flywheel.components.scan_pii.policy import with_level
from llm_flywheel.components.scan_pii.presidio_names import FROM_PRESIDIO, our_types
from llm_flywheel.components.scan_pii.spans import PII_TYPES, PiiType

T = TypeVar("T")


class NerConfig(Section):
    """A model for names and addresses beside the rules."""

    backend: Literal["spacy", "gliner", "kiwi"] = Field(description="which library runs it")
    model: str = Field(default="", description="folder of the model, or its name where the library has it installed")


class ScanPiiConfig(Section):
    """The ``scan_pii`` section of a run config."""

    action: Literal["mask", "report_only"] = Field(
        default="mask", description="mask what is found, or leave the rows alone and let the gate fail on it"
    )
    level: str = Field(default="", description="security level of the policy; its keys hold unless given here")
    policy: str = Field(
        default="", description="policy file; without one, the levels public, internal and confidential that ship"
    )
    # Stands before every key that names types: its own are names too.
    custom: list[CustomRecogniser] = Field(default_factory=list, description="recognisers beside the built-in ones")
    types: list[PiiType] = Field(
        default=list(PII_TYPES),
        min_length=1,
        description="what to look for; Presidio's names of the same (PHONE_NUMBER) will do here and below",
    )
    operator: OperatorName = Field(
        default="mask",
        description="mask: a placeholder such as [EMAIL]; redact: nothing; keep_last4: [CREDIT_CARD:1111] for numbers; "
        "pseudonym: [PERSON:kqzvbnwtpa], the same for the same person; fake: a value of the same format that cannot be "
        "real; keep: leave it, and let the gate fail on it. pseudonym and fake need FLYWHEEL_PII_KEY",
    )
    operators: dict[PiiType, OperatorName] = Field(
        default_factory=dict, description="another operator for some types, such as {PHONE: keep_last4}"
    )
    allowed_types: list[PiiType] = Field(
        default_factory=list, description="types that may remain without failing the gate; the report still counts them"
    )
    allow_list: list[str] = Field(
        default_factory=list,
        description="values that are not personal, such as support@example.com; * stands for anything",
    )
    min_score: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="a less certain find (0 to 1) does not count; 0.51 drops bare SSN shapes",
    )
    min_scores: dict[PiiType, float] = Field(
        default_factory=dict, description="another bound for some types, such as {PERSON: 0.8}"
    )
    ner: NerConfig | None = Field(default=None, description="a model for names and addresses beside the rules")
    scan_meta: bool = Field(default=True, description="also look into the text values of meta")
    samples_per_type: int = Field(default=5, ge=0, le=50, description="masked samples per type in the report")
    batch_rows: int = Field(default=2_000, ge=1, le=1_000_000, description="rows held in memory at a time")
    workers: int = Field(default=0, ge=0, le=1_024, description="processes; 0 for one per core")

    @model_validator(mode="before")
    @classmethod
    def _add_level(cls, values: Any) -> Any:
        return with_level(values) if isinstance(values, dict) else values

    @field_validator("custom")
    @classmethod
    def _compiled(cls, recognisers: list[CustomRecogniser]) -> list[CustomRecogniser]:
        try:
            CustomRule(recognisers)
        except FlywheelError as error:
            raise ValueError(f"{error.what}; {error.fix}") from None
        return recognisers

    @field_validator("types", "allowed_types")
    @classmethod
    def _known_names(cls, names: list[PiiType], info: ValidationInfo) -> list[PiiType]:
        return list(_by_our_types(((name, None) for name in names), info))

    @field_validator("operators", "min_scores")
    @classmethod
    def _known_keys(cls, values: dict[PiiType, T], info: ValidationInfo) -> dict[PiiType, T]:
        return _by_our_types(values.items(), info)

    @field_validator("min_scores")
    @classmethod
    def _from_0_to_1(cls, values: dict[PiiType, float]) -> dict[PiiType, float]:
        for kind, value in values.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{kind}: got {value}; expected 0 to 1")
        return values

    @field_validator("allow_list")
    @classmethod
    def _say_something(cls, values: list[str]) -> list[str]:
        for value in values:
            if not value.strip(" *"):
                raise ValueError("an entry of only * or blanks would allow everything")
        return values


def _by_our_types(items: Iterable[tuple[str, T]], info: ValidationInfo) -> dict[PiiType, T]:
    """What is said by name, by our names: one of Presidio's can stand for several, and a name of ours is stronger.

    Raises:
        ValueError: Nobody knows a name.
    """
    own = {recogniser.supported_entity for recogniser in info.data.get("custom", ())}
    named: dict[PiiType, T] = {}
    given: dict[PiiType, T] = {}
    for name, value in items:
        ours = (name,) if name in own else our_types(name)
        if not ours:
            known = [*PII_TYPES, *sorted(own)]
            near = difflib.get_close_matches(name.upper(), [*known, *FROM_PRESIDIO], n=1)
            raise ValueError(
                f"got {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}")
            )
        (named if ours == (name,) else given).update(dict.fromkeys(ours, value))
    return {**given, **named}
