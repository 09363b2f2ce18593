"""What a person sets for ``scan_pii``."""

from typing import Literal

from pydantic import Field, field_validator

from llm_flywheel.components.common.config import Section
from llm_flywheel.components.scan_pii.operators import OperatorName
from llm_flywheel.components.scan_pii.spans import PII_TYPES, PiiType


class ScanPiiConfig(Section):
    """The ``scan_pii`` section of a run config."""

    action: Literal["mask", "report_only"] = Field(
        default="mask", description="mask what is found, or leave the rows alone and let the gate fail on it"
    )
    types: list[PiiType] = Field(default=list(PII_TYPES), min_length=1, description="what to look for")
    operator: OperatorName = Field(
        default="mask",
        description="mask: a placeholder such as [EMAIL]; redact: nothing; keep_last4: [CREDIT_CARD:1111] for numbers; "
        "keep: leave it, and let the gate fail on it",
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
    scan_meta: bool = Field(default=True, description="also look into the text values of meta")
    samples_per_type: int = Field(default=5, ge=0, le=50, description="masked samples per type in the report")
    batch_rows: int = Field(default=2_000, ge=1, le=1_000_000, description="rows held in memory at a time")

    @field_validator("allow_list")
    @classmethod
    def _say_something(cls, values: list[str]) -> list[str]:
        for value in values:
            if not value.strip(" *"):
                raise ValueError("an entry of only * or blanks would allow everything")
        return values
