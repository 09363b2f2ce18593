"""From one record (a mapping of column to value) to a conversation: pure, one decision per record."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from llm_flywheel.components.ingest import config
from llm_flywheel.components.ingest.files import TEXT_COLUMN

Message = dict[str, str]

ROLES = ("system", "user", "assistant")

# Who speaks, under the names that ShareGPT dumps use.
_SPEAKERS = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
}


@dataclass(frozen=True)
class Rejected:
    """Why a record cannot be used. ``detail`` names columns and types, never the text itself."""

    reason: str
    detail: str


class _Refusal(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        self.rejected = Rejected(reason, detail)


@dataclass(frozen=True)
class Layout:
    """How records of one kind hold a conversation; columns are the names as written in the file.

    Attributes:
        kind: ``chat`` for role/content lists, ``sharegpt`` for from/value lists, ``columns`` for a pair of columns or
            a text.
        name: What the report calls it (``alpaca``, ``qa``, …).
        user: The list column for ``chat`` and ``sharegpt``; else the user's column, empty when there is only a text.
        assistant: The answer's or the text's column, for ``columns``.
        context: A column whose text, when there is any, follows the user's after a blank line.
        system_column: A column with a system message per row.
        system: A system message for every row.
    """

    kind: Literal["chat", "sharegpt", "columns"]
    name: str
    user: str
    assistant: str = ""
    context: str = ""
    system_column: str = ""
    system: str = ""

    def shares_column_with(self, columns: Collection[str]) -> bool:
        """Whether a record with these columns can be meant for this layout."""
        return any(name in columns for name in (self.user, self.assistant) if name)


# name, user, assistant, context: lower-case column names; the first that is there counts.
_PAIRS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    ("alpaca", ("instruction",), ("output", "response"), ("input", "context")),
    ("prompt_completion", ("prompt",), ("completion", "response"), ()),
    ("qa", ("question", "q"), ("answer", "a"), ()),
)


def from_mapping(mapping: config.Mapping) -> Layout:
    """The layout for the user's own column names."""
    return Layout("columns", "mapping", mapping.user or "", mapping.assistant, system=mapping.system or "")


def detect_layout(columns: Collection[str], wanted: str = "auto") -> Layout | None:
    """The layout that the column names tell, or None.

    Args:
        columns: Column names as written in the file; letter case does not matter.
        wanted: A layout's name to consider only that one, or ``auto``.
    """
    names = {column.strip().lower(): column for column in columns}
    system = names.get("system", "")
    if wanted in ("auto", "messages") and "messages" in names:
        return Layout("chat", "messages", names["messages"])
    if wanted in ("auto", "sharegpt") and "conversations" in names:
        return Layout("sharegpt", "sharegpt", names["conversations"], system_column=system)
    for name, users, assistants, contexts in _PAIRS:
        user, assistant = _first(names, users), _first(names, assistants)
        if wanted in ("auto", name) and user and assistant:
            return Layout("columns", name, user, assistant, _first(names, contexts), system)
    # Beside other columns, a text may be a question whose answer is one of them.
    if TEXT_COLUMN in names and (wanted == "text" or (wanted == "auto" and len(names) == 1)):
        return Layout("columns", "text", "", names[TEXT_COLUMN])
    return None


def _first(names: Mapping[str, str], wanted: Iterable[str]) -> str:
    return next((names[name] for name in wanted if name in names), "")


def to_messages(values: Mapping[str, Any], layout: Layout, max_chars: int) -> list[Message] | Rejected:
    """Turn one record into a conversation.

    Args:
        values: Column name to value.
        layout: Where the conversation is.
        max_chars: Limit on the characters of all its messages together.

    Returns:
        At least one message with role ``system``, ``user`` or ``assistant`` and text that is not blank, or why not.
    """
    try:
        messages = _BUILDERS[layout.kind](values, layout)
        size = sum(len(message["content"]) for message in messages)
        if size > max_chars:
            raise _Refusal("too_large", f"{size} characters, the limit is {max_chars}")
    except _Refusal as refusal:
        return refusal.rejected
    return messages


def _from_columns(values: Mapping[str, Any], layout: Layout) -> list[Message]:
    user, assistant = values.get(layout.user), values.get(layout.assistant)
    if isinstance(user, list) and isinstance(assistant, list):
        # TRL's conversational prompt/completion: both columns are lists of messages.
        return [*_from_list(user, layout.user), *_from_list(assistant, layout.assistant)]
    messages = _system(values, layout)
    if layout.user:
        messages.append({"role": "user", "content": _request(values, layout)})
    messages.append({"role": "assistant", "content": _text(assistant, layout.assistant)})
    return messages


def _request(values: Mapping[str, Any], layout: Layout) -> str:
    text = _text(values.get(layout.user), layout.user)
    context = values.get(layout.context) if layout.context else None
    if context is not None and context != "":
        return f"{text}\n\n{_text(context, layout.context)}"
    return text


def _from_chat(values: Mapping[str, Any], layout: Layout) -> list[Message]:
    return _from_list(values.get(layout.user), layout.user)


def _from_list(value: Any, column: str) -> list[Message]:
    return [
        {"role": _role(item.get("role"), place), "content": _text(item.get("content"), f"{place}.content")}
        for place, item in _turns(value, column)
    ]


def _from_sharegpt(values: Mapping[str, Any], layout: Layout) -> list[Message]:
    messages = [
        {"role": _role(item.get("from"), place), "content": _text(item.get("value"), f"{place}.value")}
        for place, item in _turns(values.get(layout.user), layout.user)
    ]
    return messages if messages[0]["role"] == "system" else [*_system(values, layout), *messages]


_BUILDERS = {"columns": _from_columns, "chat": _from_chat, "sharegpt": _from_sharegpt}


def _system(values: Mapping[str, Any], layout: Layout) -> list[Message]:
    own = values.get(layout.system_column) if layout.system_column else None
    if own is not None and own != "":
        return [{"role": "system", "content": _text(own, layout.system_column)}]
    return [{"role": "system", "content": layout.system}] if layout.system else []


def _turns(value: Any, column: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, str):
        # A CSV cell can only hold the list as JSON text.
        try:
            value = orjson.loads(value)
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            raise _Refusal("wrong_type", f"{column}: text that is not a JSON list") from None
    if value is None:
        raise _Refusal("missing_field", column)
    if not isinstance(value, list):
        raise _Refusal("wrong_type", f"{column}: {type(value).__name__}, not a list")
    if not value:
        raise _Refusal("empty_field", column)
    for index, item in enumerate(value):
        if not isinstance(item, Mapping):
            raise _Refusal("wrong_type", f"{column}[{index}]: {type(item).__name__}, not an object")
    return [(f"{column}[{index}]", item) for index, item in enumerate(value)]


def _role(value: Any, place: str) -> str:
    if value is None:
        raise _Refusal("missing_field", f"{place}: no role")
    role = _SPEAKERS.get(value.strip().lower()) if isinstance(value, str) else None
    if role is None:
        raise _Refusal("role", f"{place}: not one of {', '.join(ROLES)}")
    return role


def _text(value: Any, place: str) -> str:
    if value is None:
        raise _Refusal("missing_field", place)
    if not isinstance(value, str):
        raise _Refusal("wrong_type", f"{place}: {type(value).__name__}, not text")
    if not value.strip():
        raise _Refusal("empty_field", place)
    if "\x00" in value:
        raise _Refusal("nul_byte", place)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _Refusal("surrogate", f"{place}: half of a surrogate pair, which no encoding can store") from None
    return value
