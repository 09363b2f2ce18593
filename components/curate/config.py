"""What a person sets for ``curate``."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import re2
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from llm_flywheel.components.common.config import InputPath, Section

ActionName = Literal["drop", "flag", "off"]
SHIPPED_LISTS = ("boilerplate", "ai_disclaimer", "refusal", "toxicity")


def _re2_pattern(value: str) -> str:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(value, options)
    except re2.error as error:
        detail = error.args[0]
        text = detail.decode() if isinstance(detail, bytes) else str(detail)
        raise ValueError(f"{value!r} is not an RE2 pattern: {text}") from None
    return value


def _yaml_off(value: Any) -> Any:
    return "off" if value is False else value  # YAML 1.1 reads the word off as false


Action = Annotated[ActionName, BeforeValidator(_yaml_off)]


class WordList(Section):
    """Phrases that say something about a message, the same in every language of the row."""

    roles: list[Literal["user", "assistant"]] = Field(
        default=["user", "assistant"], min_length=1, description="in whose messages to look"
    )
    patterns: list[Annotated[str, AfterValidator(_re2_pattern)]] = Field(
        min_length=1, description="RE2 patterns, upper and lower case alike; \\b knows ASCII words only"
    )
    action: Action = Field(default="drop", description="drop the row, flag it in the report, or do not look")


class Repetition(Section):
    """When a message repeats itself; the measures of Gopher (arXiv:2112.11446, table A1), looser for short chat."""

    max_paragraph_share: float = Field(
        default=0.3, ge=0, le=1, description="largest share of characters in paragraphs that stood before"
    )
    max_line_share: float = Field(
        default=0.5, ge=0, le=1, description="largest share of characters in lines that stood before"
    )
    max_ngram_share: float = Field(
        default=0.6, ge=0, le=1, description="largest share of three-word sequences that stood before in the text"
    )
    max_run: int = Field(default=50, ge=2, le=1_000, description="a character as often as this in a row is repetition")


class EvalSet(Section):
    """A data set that a model is evaluated on and must not be trained on."""

    path: InputPath = Field(description="a file, folder, glob or URI; CSV, TSV, JSON, JSONL and Parquet")
    columns: list[str] = Field(
        default=[], description="columns with text or chat messages; none: question, prompt, text and other usual names"
    )


def _as_eval_set(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Decontamination(Section):
    """Which training rows overlap an evaluation item; see `decontaminate` for the measure."""

    eval_sets: list[Annotated[EvalSet, BeforeValidator(_as_eval_set)]] = Field(
        default=[], description="paths, or path and columns each"
    )
    words: int = Field(default=13, ge=5, le=50, description="words in a row that give an item away (GPT-3: 13)")
    short_words: int = Field(
        default=8, ge=4, le=50, description="the same for shorter texts, which must be there in full"
    )
    min_overlap: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="share of a text's sequences that a row must hold, short texts: all; at 0 one is enough (GPT-3)",
    )
    max_items: int = Field(
        default=10, ge=1, description="a sequence that more items share is a template and gives nothing away"
    )
    held_out: bool = Field(default=True, description="whether held-out questions are evaluation items too")

    @model_validator(mode="after")
    def _short_is_shorter(self) -> Self:
        if self.short_words > self.words:
            raise ValueError("short_words must not be above words")
        return self


class Sampling(Section):
    """How much of each group stays in the training split; rows are only taken away, never repeated."""

    by: str = Field(
        default="source", pattern=r"^(source|lang|meta\..+)$", description="source, lang, or meta.KEY: what is a group"
    )
    max_rows: int | None = Field(default=None, ge=1, description="most rows of one group")
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={},
        description="wanted ratio between groups, '*' for each that is not named; without '*' those stay whole",
    )


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
    repetition: Repetition = Repetition()
    max_boilerplate_share: float = Field(
        default=0.3, ge=0, le=1, description="largest share of characters in lines with a boilerplate phrase"
    )
    word_lists: dict[str, Action | WordList] = Field(
        default={},
        description="another action (drop, flag, off) for boilerplate, ai_disclaimer, refusal or toxicity, or own "
        "lists; the name of a list is the reason",
    )
    decontamination: Decontamination = Decontamination()
    sampling: Sampling = Sampling()
    tokenizer: str = Field(
        default="", description="folder with the tokenizer.json to count tokens with; empty estimates them"
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
    engine: Literal["pool", "ray"] = Field(
        default="pool", description="where large data is worked on: the cores of this machine, or a Ray cluster"
    )
    workers: int = Field(default=0, ge=0, le=1_024, description="processes of the pool; 0 for one per core")
    seed: int = Field(default=0, ge=0, description="chooses which clusters go to which split, and what is sampled out")

    @field_validator("word_lists")
    @classmethod
    def _known_or_own(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        unknown = [name for name, item in value.items() if name not in SHIPPED_LISTS and not isinstance(item, WordList)]
        if unknown:
            known = ", ".join(SHIPPED_LISTS)
            raise ValueError(f"{', '.join(sorted(unknown))}: no such list; there are {known}; an own one has patterns")
        return value

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
