"""What a person sets for ``curate``."""

from typing import Literal, Self

from pydantic import Field, model_validator

from llm_flywheel.components.common.config import Section


class CurateConfig(Section):
    """The ``curate`` section of a run config. Lengths are in characters after normalisation."""

    languages: list[str] = Field(
        default_factory=list, description="ISO 639-1 codes to keep; empty keeps every language, also 'und'"
    )
    min_user_chars: int = Field(default=1, ge=0, description="shortest user message")
    max_user_chars: int = Field(default=20_000, ge=1, description="longest user message")
    min_answer_chars: int = Field(default=1, ge=0, description="shortest assistant message")
    max_answer_chars: int = Field(default=20_000, ge=1, description="longest assistant message")
    max_symbol_share: float = Field(
        default=0.6, ge=0, le=1, description="largest share of characters that are no letter, digit or space"
    )
    max_repeated_share: float = Field(
        default=0.6, ge=0, le=1, description="largest share of three-word sequences that occurred before in the text"
    )
    dedup_on: Literal["conversation", "user"] = Field(
        default="conversation",
        description="what must be alike for a duplicate: the user's messages and the answers, or the user's alone",
    )
    shingle_words: int = Field(default=2, ge=1, le=10, description="words per shingle for near-duplicates")
    duplicate_threshold: float = Field(
        default=0.8,
        ge=0.4,
        le=1,
        # On Banking77's short messages 94 to 96 % of the pairs at 0.8 share their intent, at 0.7 only 85 to 88 %.
        description="Jaccard similarity from which two rows are near-duplicates",
    )
    leakage_threshold: float = Field(
        default=0.5, ge=0.4, le=1, description="similarity from which two user texts must not be in different splits"
    )
    validation_share: float = Field(default=0.05, ge=0, le=0.5, description="share of the rows for validation")
    test_share: float = Field(
        default=0.1, ge=0, le=0.5, description="share for the test split; not used when rows were held out at ingest"
    )
    seed: int = Field(default=0, ge=0, description="chooses which clusters go to which split")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if self.min_user_chars > self.max_user_chars:
            problems.append("min_user_chars is larger than max_user_chars")
        if self.min_answer_chars > self.max_answer_chars:
            problems.append("min_answer_chars is larger than max_answer_chars")
        if self.leakage_threshold > self.duplicate_threshold:
            problems.append("leakage_threshold must not be above duplicate_threshold")
        if self.validation_share + self.test_share >= 1:
            problems.append("validation_share and test_share leave nothing to train on")
        if problems:
            raise ValueError("; ".join(problems))
        return self
