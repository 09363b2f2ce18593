"""What a person sets for ``ingest``."""

from typing import Literal, Self

from pydantic import Field, model_validator

from llm_flywheel.components.common.config import InputPath, Section


class Mapping(Section):
    """Which columns of the user's own table hold the conversation."""

    user: str = Field(min_length=1, description="column with the user's message")
    assistant: str = Field(min_length=1, description="column with the wanted answer")
    system: str | None = Field(
        default=None, min_length=1, description="a system message, the same text for every row (no column name)"
    )

    @model_validator(mode="after")
    def _two_columns(self) -> Self:
        if self.user == self.assistant:
            raise ValueError("user and assistant must be two different columns")
        return self


class IngestConfig(Section):
    """The ``ingest`` section of a run config."""

    paths: list[InputPath] = Field(
        min_length=1,
        description="files, folders, globs, s3://bucket/prefix-or-key, file:///path, or "
        "sample://support-tickets?rows=3000&seed=0; CSV, TSV, JSON, JSONL and Parquet",
    )
    holdout_paths: list[InputPath] = Field(
        default_factory=list, description="the same kinds of paths; their rows are the test split, exactly as given"
    )
    format: Literal["auto", "messages", "sharegpt", "alpaca", "prompt_completion", "qa"] = Field(
        default="auto", description="how a row holds its conversation; auto looks at the column names"
    )
    mapping: Mapping | None = Field(default=None, description="own column names, for tables that auto does not know")
    keep_columns: list[str] = Field(
        default_factory=list,
        description="columns to carry along in meta; none by default, because they may hold personal data",
    )
    max_row_chars: int = Field(default=1_000_000, ge=100, le=100_000_000, description="a longer row is quarantined")
    max_quarantine_share: float = Field(
        default=0.5, ge=0, le=1, description="fail when a larger share of the rows (0 to 1) cannot be used"
    )
    batch_rows: int = Field(default=5_000, ge=1, le=1_000_000, description="rows held in memory at a time")

    @model_validator(mode="after")
    def _one_way_to_name_columns(self) -> Self:
        if self.mapping is not None and self.format != "auto":
            raise ValueError("give either format or mapping, not both")
        return self
