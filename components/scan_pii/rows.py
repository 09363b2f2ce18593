"""Masking one row of the dataset table: its messages and the text inside its meta."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_flywheel.components.common.dataset import row_id
from llm_flywheel.components.scan_pii.operators import Masker
from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.spans import PiiType, Span

# Deeper JSON than this is not walked by hand; its whole text is scanned instead.
_DEEPEST_META = 50


@dataclass(frozen=True)
class Find:
    """A span together with the text it stands in; never written anywhere as it is.

    Attributes:
        text: The whole message or meta value.
        span: Where in it.
    """

    text: str = field(repr=False)
    span: Span


@dataclass(frozen=True)
class MaskedRow:
    """A row after masking.

    Attributes:
        row: The new row; the very same object when nothing changed.
        finds: What the scanner found, in the order of the texts.
        masked: Replaced spans by type.
    """

    row: Mapping[str, Any]
    finds: Sequence[Find]
    masked: Counter[PiiType]


def mask_row(row: Mapping[str, Any], scanner: Scanner, masker: Masker | None, scan_meta: bool = True) -> MaskedRow:
    """Scan one row and, given a masker, replace what was found.

    Args:
        row: A row of the dataset table.
        scanner: Finds the spans.
        masker: Replaces them, or None to report only.
        scan_meta: Whether text values inside ``meta`` are looked at too.

    Returns:
        The row with a new ``id`` if its messages changed; ``source`` and ``lang`` stay, ``meta`` keeps its keys.
    """
    finds: list[Find] = []
    masked: Counter[PiiType] = Counter()

    def masked_text(text: str) -> str:
        spans = scanner.scan(text)
        finds.extend(Find(text, span) for span in spans)
        if not spans or masker is None:
            return text
        result = masker.mask(text, spans)
        masked.update(result.counts)
        return result.text

    messages = [{**message, "content": masked_text(message["content"])} for message in row["messages"]]
    changes: dict[str, Any] = {}
    if messages != row["messages"]:
        changes = {"messages": messages, "id": row_id(messages)}
    if scan_meta and row["meta"]:
        meta = _map_meta(row["meta"], masked_text)
        if meta != row["meta"]:
            changes["meta"] = meta
    return MaskedRow({**row, **changes} if changes else row, finds, masked)


def texts_of(row: Mapping[str, Any], scan_meta: bool = True) -> Iterator[str]:
    """Every text of a row that a scan looks at."""
    yield from (message["content"] for message in row["messages"])
    if scan_meta and row["meta"]:
        values: list[str] = []

        def noted(text: str) -> str:
            values.append(text)
            return text

        _map_meta(row["meta"], noted)
        yield from values


def _map_meta(meta: str, change: Callable[[str], str]) -> str:
    """Apply ``change`` to every text inside a JSON object; equal text comes back when nothing changed."""
    try:
        value = json.loads(meta)
        mapped = _map_values(value, change, 0)
    except (ValueError, RecursionError):
        return change(meta)
    if mapped == value:
        return meta
    text = json.dumps(mapped, ensure_ascii=False)
    # A lone surrogate, which JSON can escape, has no place in a Parquet string.
    return text if text.encode("utf-8", "replace").decode() == text else json.dumps(mapped)


def _map_values(value: Any, change: Callable[[str], str], depth: int) -> Any:
    if depth > _DEEPEST_META:
        raise RecursionError
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map_values(item, change, depth + 1) for item in value]
    if isinstance(value, dict):
        result: dict[str, Any] = {}
        for key, item in value.items():
            result[_unused(change(key), result)] = _map_values(item, change, depth + 1)
        return result
    return value


def _unused(key: str, taken: Mapping[str, Any]) -> str:
    """Two keys that are masked alike stay two keys."""
    number, name = 2, key
    while name in taken:
        name, number = f"{key} {number}", number + 1
    return name
