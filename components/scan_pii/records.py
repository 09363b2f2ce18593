"""One row of a user's file: where its texts are, what was found in them, and the row again with them masked.

A masked JSON line is the line as it was, byte for byte, but for the string values in which something was replaced.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.spans import Span

TEXT_COLUMN = "text"
# Columns with a list of messages, and where a message has its text (OpenAI, ShareGPT).
CHATS = {"messages": "content", "conversations": "value"}
_STRING_OR_SIGN = re.compile(r'"(?:[^"\\]++|\\.)*"|[{}\[\],]', re.DOTALL)

Path = tuple[str | int, ...]
Texts = dict[Path, str]


class Unscannable(Exception):
    """Why a row cannot be scanned.

    Attributes:
        reason: A short machine-readable code.
        detail: The same in words, without any text of the row.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class Find(NamedTuple):
    """What was found in one text of a row."""

    path: Path
    text: str
    spans: Sequence[Span]


def parse(line: bytes) -> dict[str, Any]:
    """The object in a line of JSON.

    Lone surrogates in escapes are fine. A key that stands twice is not: of two values a reader sees only one, and
    the other would pass unseen.

    Raises:
        Unscannable: It is no such line.
    """
    try:
        value = _DECODER.decode(line.decode())
    except UnicodeDecodeError:
        raise Unscannable("encoding", "not UTF-8") from None
    except (ValueError, RecursionError):
        raise Unscannable("json", "not JSON") from None
    if not isinstance(value, dict):
        raise Unscannable("not_an_object", f"a JSON {type(value).__name__}, not an object")
    return value


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; raises Unscannable when a key stands twice."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Unscannable("repeated_key", "a key stands twice in one object")
    return value


def _no_json(constant: str) -> None:
    raise ValueError(constant)


_DECODER = json.JSONDecoder(object_pairs_hook=without_repeats, parse_constant=_no_json)


def dump(value: Any) -> str:
    """A value as one line of JSON that UTF-8 can hold.

    Raises:
        Unscannable: JSON has no such number (NaN).
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:
        raise Unscannable("json", "a number that JSON cannot hold") from None
    return text if _is_utf8(text) else json.dumps(value, allow_nan=False, default=str)


def texts_of(values: Mapping[str, Any], column: str | None) -> Texts:
    """The texts of a row by their place in it.

    Args:
        values: Column name to value.
        column: The text column; None for ``text``, or else the messages of a chat.

    Raises:
        Unscannable: There is no such column, or it holds no text.
    """
    for name in (column,) if column else (TEXT_COLUMN, *CHATS):
        if name in CHATS and isinstance(values.get(name), list):
            return dict(_chat_texts(values[name], name))
        if name in values:
            if not isinstance(values[name], str):
                raise Unscannable("not_text", f"column {name!r} holds no text")
            return {(name,): values[name]}
    raise Unscannable("missing_column", f"no column {column or TEXT_COLUMN!r}")


def _chat_texts(messages: list[Any], chat: str) -> Iterator[tuple[Path, str]]:
    key = CHATS[chat]
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise Unscannable("not_text", f"column {chat!r} is no list of messages")
        content = message.get(key)
        if isinstance(content, str):
            yield (chat, index, key), content
        elif isinstance(content, list):
            # OpenAI's content parts; only those of type text have a text.
            for place, part in enumerate(content):
                if isinstance(part, dict) and isinstance(part.get("text"), str):
                    yield (chat, index, key, place, "text"), part["text"]
        elif content is not None:
            raise Unscannable("not_text", f"a message of column {chat!r} holds no text")


def find(rows: Sequence[Texts], scanner: Scanner) -> list[list[Find]]:
    """What a scanner finds in the texts of each row; texts without a find are left out."""
    spans = iter(scanner.scan_all([text for texts in rows for text in texts.values()]))
    found = [[Find(path, text, next(spans)) for path, text in texts.items()] for texts in rows]
    return [[item for item in items if item.spans] for items in found]


def spans_line(identity: Any, finds: Sequence[Find], names: Mapping[str, str]) -> str:
    """One line of the file of spans.

    Args:
        identity: The row's id.
        finds: What was found.
        names: Other names for types.

    Returns:
        ``{"id": …, "spans": [{"start", "end", "type", "score"}]}``; a span in a message also has its number, from 0,
        as ``message``, and one in a content part the part's as ``part``.
    """
    spans: list[dict[str, Any]] = []
    for found in finds:
        place = dict(zip(("message", "part"), found.path[1::2], strict=False))
        for start, end, kind, score in found.spans:
            spans.append({"start": start, "end": end, "type": names.get(kind, kind), "score": round(score, 4), **place})
    row = {"id": identity, "spans": spans}
    try:
        return orjson.dumps(row).decode()
    except TypeError:  # a lone surrogate or a very long number
        return dump(row)


def with_texts(line: str, new: Texts) -> str:
    """A JSON line with other texts; everything else stays as it is.

    Args:
        line: Valid JSON.
        new: The texts by their place.
    """
    parts: list[str] = []
    at = 0
    for path, start, end in string_values(line) if new else ():
        if path in new:
            parts += (line[at:start], _encoded(new[path], like=line[start:end]))
            at = end
    return "".join([*parts, line[at:]])


def string_values(line: str) -> Iterator[tuple[Path, int, int]]:
    """Where the string values of a JSON text stand, quotes included.

    Args:
        line: Valid JSON.

    Yields:
        Keys and indexes that lead to the value, its start and its end.
    """
    # Of every open object the key, None before it is read; of every open list the index.
    path: list[Any] = []
    for token in _STRING_OR_SIGN.finditer(line):
        sign = line[token.start()]
        if sign in "{[":
            path.append(None if sign == "{" else 0)
        elif sign in "}]":
            path.pop()
        elif sign == ",":
            path[-1] = path[-1] + 1 if isinstance(path[-1], int) else None
        elif path and path[-1] is None:
            path[-1] = json.loads(token.group())
        else:
            yield tuple(path), token.start(), token.end()


def all_texts(line: str) -> Texts:
    """Every string value of a JSON text by its place."""
    return {path: json.loads(line[start:end]) for path, start, end in string_values(line)}


def _encoded(text: str, like: str) -> str:
    return json.dumps(text, ensure_ascii="\\u" in like or not _is_utf8(text))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
