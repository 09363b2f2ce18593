"""Rows on their way through ``curate``, and the step that looks at one row alone: normalise, then filter."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import xxhash

from llm_flywheel.components.common.dataset import row_id
from llm_flywheel.components.curate.filters import Conversation, Filter, first_reason
from llm_flywheel.components.curate.normalise import normalise


@dataclass(frozen=True)
class Row:
    """One row of the dataset table.

    Attributes:
        input_id: Its id in the input.
        id: Its id now, after normalisation.
        messages: Role and content.
        source: Where it came from.
        lang: Language code.
        meta: JSON object.
    """

    input_id: str
    id: str
    messages: Sequence[Mapping[str, str]]
    source: str
    lang: str
    meta: str

    def as_record(self) -> dict[str, Any]:
        """The row as ``dataset.SCHEMA`` wants it."""
        return {name: getattr(self, name) for name in ("id", "messages", "source", "lang", "meta")}

    def text_of(self, role: str) -> str:
        """All texts of one role with white space collapsed, one line per message."""
        return "\n".join(" ".join(item["content"].split()) for item in self.messages if item["role"] == role)

    @cached_property
    def user_text(self) -> str:
        """What the user wrote, white space collapsed."""
        return self.text_of("user")

    @cached_property
    def conversation_key(self) -> bytes:
        """Equal for conversations that differ in white space only."""
        parts = ((item["role"], " ".join(item["content"].split())) for item in self.messages)
        return xxhash.xxh3_128_digest(json.dumps(list(parts)).encode())


@dataclass(frozen=True)
class Drop:
    """A row that was removed: its id in the input, the reason, and the kept row it duplicates, if any."""

    id: str
    reason: str
    duplicate_of: str | None = None


def from_record(record: Mapping[str, Any]) -> Row:
    """A row exactly as the input table holds it."""
    names = ("id", "messages", "source", "lang", "meta")
    return Row(record["id"], *(record[name] for name in names))


def meta_of(text: str) -> dict[str, Any]:
    """What a row's ``meta`` holds; text that is no JSON object is kept as the value of ``meta``."""
    try:
        value = json.loads(text or "{}")
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate can be written nowhere
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"meta": text}


def is_held_out(record: Mapping[str, Any]) -> bool:
    """Whether ``ingest`` marked the row as part of the test split."""
    return meta_of(record["meta"]).get("split") == "test"


def clean(record: Mapping[str, Any], filters: Sequence[Filter]) -> Row | Drop:
    """Normalise one row and ask the filters about it.

    Args:
        record: A row of the input table.
        filters: In the order in which they are asked.

    Returns:
        The row in its new spelling, with its old id in ``meta.input_id`` when that changed it; or why it is dropped.
    """
    texts = [{"role": item["role"], "content": normalise(item["content"])} for item in record["messages"]]
    messages = [item for item in texts if item["content"] or item["role"] != "system"]
    if not messages:
        return Drop(record["id"], "no_question")
    reason = first_reason(filters, Conversation(messages, record["lang"]))
    if reason:
        return Drop(record["id"], reason)
    new_id = row_id(messages)
    meta = record["meta"]
    if new_id != record["id"]:
        meta = json.dumps({**meta_of(meta), "input_id": record["id"]}, ensure_ascii=False)
    return Row(record["id"], new_id, messages, record["source"], record["lang"], meta)
