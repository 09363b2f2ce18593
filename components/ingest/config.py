"""What a person sets for ``ingest``."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from llm_flywheel.components.common.access import AccessConfig
from llm_flywheel.components.common.config import INPUT_SCHEMES, Section, readable_here

TextRows = Literal["paragraph", "line", "file"]


SOURCE_SCHEMES = (*INPUT_SCHEMES, "https", "hf")


def _readable(value: str, info: ValidationInfo) -> str:
    # Whether an http:// address is of this machine, and so may be fetched, `web` tells.
    return value if value.startswith("http://") else readable_here(value, info, SOURCE_SCHEMES)


SourcePath = Annotated[str, AfterValidator(_readable)]
"""An `InputPath`, or the address of a file on the web or of a data set on the Hugging Face Hub."""


# What the steps themselves write into meta.
_OWN_META = ("line", "split", "input_id")


class Mapping(Section):
    """Which columns of the user's own table hold the conversation, or the text."""

    user: str | None = Field(
        default=None, min_length=1, description="column with the user's message; none where assistant is a plain text"
    )
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

    paths: list[SourcePath] = Field(
        min_length=1,
        description="files, folders, globs, file:///path, s3://bucket/prefix-or-key, https://host/file, "
        "hf://datasets/OWNER/NAME[@REVISION]/PATH-or-glob, or sample://support-tickets?rows=3000&seed=0; CSV, TSV, "
        "JSON, JSONL, all of them also as .gz and .zst, Parquet, and .txt and .md where no table is beside them",
    )
    holdout_paths: list[SourcePath] = Field(
        default_factory=list, description="the same kinds of paths; their rows are the test split, exactly as given"
    )
    format: Literal["auto", "messages", "sharegpt", "alpaca", "prompt_completion", "qa", "text"] = Field(
        default="auto",
        description="how a row holds its conversation; auto looks at the column names. A text becomes one message of "
        "the assistant; auto takes it from plain text files and from tables whose one column is called text",
    )
    text_rows: TextRows = Field(
        default="paragraph", description="what is a row in .txt and .md: a line, a paragraph or the whole file"
    )
    mapping: Mapping | None = Field(default=None, description="own column names, for tables that auto does not know")
    keep_columns: list[str] = Field(
        default_factory=list,
        description="columns to carry along in meta; none by default, because they may hold personal data",
    )
    max_row_chars: int = Field(default=1_000_000, ge=100, le=100_000_000, description="a longer row is quarantined")
    max_download_gb: float = Field(default=50, gt=0, description="a larger file behind https:// is refused")
    max_quarantine_share: float = Field(
        default=0.5, ge=0, le=1, description="fail when a larger share of the rows (0 to 1) cannot be used"
    )
    access: AccessConfig = Field(default=AccessConfig(), description="security level of the data and who may train")
    batch_rows: int = Field(default=5_000, ge=1, le=1_000_000, description="rows held in memory at a time")

    @field_validator("keep_columns")
    @classmethod
    def _not_ours(cls, columns: list[str]) -> list[str]:
        taken = [column for column in columns if column in _OWN_META]
        if taken:
            raise ValueError(f"{', '.join(taken)}: meta holds something of its own under this name; rename the column")
        return columns

    @model_validator(mode="after")
    def _one_way_to_name_columns(self) -> Self:
        if self.mapping is not None and self.format != "auto":
            raise ValueError("give either format or mapping, not both")
        return self
