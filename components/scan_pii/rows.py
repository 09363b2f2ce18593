"""Masking a batch of the dataset table: its messages and the text inside its meta.

Texts are taken straight from the Arrow columns, and only columns in which something changed are made anew.
"""

import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from llm_flywheel.components.common.dataset import MESSAGE, row_id
from llm_flywheel.components.scan_pii.operators import Masker
from llm_flywheel.components.scan_pii.records import Unscannable, without_repeats
from llm_flywheel.components.scan_pii.scanner import Scanner
from llm_flywheel.components.scan_pii.spans import PiiType, Span
from llm_flywheel.components.scan_pii.tally import Tally

# Deeper JSON than this is not walked by hand; its whole text is scanned instead.
_DEEPEST_META = 50
# Keys and small values of meta (`line`, `split`, `test`) come again in every row.
_SHORT, _MOST_REMEMBERED = 24, 10_000


class MaskedBatch(NamedTuple):
    """A batch after masking.

    Attributes:
        batch: The new batch, or None when nothing changed.
        tally: What was counted.
    """

    batch: pa.RecordBatch | None
    tally: Tally


class RowMasker:
    """Masks batches of `dataset.SCHEMA`.

    Args:
        scanner: Finds the spans.
        masker: Replaces them, or None to report only.
        scan_meta: Whether text values inside ``meta`` are looked at too.
        most_samples: Masked samples to keep per type.
    """

    def __init__(self, scanner: Scanner, masker: Masker | None, scan_meta: bool = True, most_samples: int = 5) -> None:
        self._scanner, self._masker = scanner, masker
        self._scan_meta, self._most_samples = scan_meta, most_samples
        self._harmless: set[str] = set()

    def mask(self, batch: pa.RecordBatch) -> MaskedBatch:
        """Scan a batch and, given a masker, replace what was found.

        Args:
            batch: Rows of the dataset table, without nulls in messages.

        Returns:
            The batch with a new ``id`` where messages changed; ``source`` and ``lang`` stay, ``meta`` keeps its keys.
        """
        tally = Tally(self._most_samples, rows=batch.num_rows)
        messages = batch.column("messages")
        flat = messages.flatten()
        roles, contents = (flat.field(name).to_pylist() for name in ("role", "content"))
        ids, metas, sources = (batch.column(name).to_pylist() for name in ("id", "meta", "source"))
        all_spans = self._scanner.scan_all(contents)
        rows_changed = messages_changed = 0
        first = 0
        for row, size in enumerate(pc.list_value_length(messages).to_pylist()):
            finds: list[tuple[str, Sequence[Span]]] = []
            place, first = slice(first, first + size), first + size
            before, meta = contents[place], metas[row]
            after = [
                self._masked(text, found, finds, tally.masked)
                for text, found in zip(before, all_spans[place], strict=True)
            ]
            if self._scan_meta and meta:
                metas[row] = _map_meta(meta, functools.partial(self._masked_meta, finds=finds, masked=tally.masked))
            if not finds:
                continue
            if after != before:
                messages_changed += 1
                contents[place] = after
                ids[row] = row_id(
                    [{"role": role, "content": text} for role, text in zip(roles[place], after, strict=True)]
                )
            rows_changed += after != before or metas[row] != meta
            tally.rows_found += 1
            for text, spans in finds:
                tally.add(text, spans, sources[row] or "unknown", ids[row])
        tally.rows_changed = rows_changed
        if not rows_changed:
            return MaskedBatch(None, tally)
        columns = {name: batch.column(name) for name in batch.schema.names}
        columns["meta"] = pa.array(metas, pa.string())
        if messages_changed:
            columns |= {"id": pa.array(ids, pa.string()), "messages": _with_contents(messages, contents)}
        return MaskedBatch(pa.RecordBatch.from_pydict(columns, batch.schema), tally)

    def _masked(
        self, text: str, spans: Sequence[Span], finds: list[tuple[str, Sequence[Span]]], masked: Counter[PiiType]
    ) -> str:
        if not spans:
            return text
        finds.append((text, spans))
        if self._masker is None:
            return text
        result = self._masker.mask(text, spans)
        masked.update(result.counts)
        return result.text

    def _masked_meta(self, text: str, finds: list[tuple[str, Sequence[Span]]], masked: Counter[PiiType]) -> str:
        if text in self._harmless:
            return text
        known = len(finds)
        result = self._masked(text, self._scanner.scan(text), finds, masked)
        if len(finds) == known and len(text) <= _SHORT and len(self._harmless) < _MOST_REMEMBERED:
            self._harmless.add(text)
        return result


def _with_contents(messages: pa.ListArray, contents: Sequence[str]) -> pa.ListArray:
    roles = messages.flatten().field("role")
    structs = pa.StructArray.from_arrays([roles, pa.array(contents, pa.string())], fields=list(MESSAGE))
    return pa.ListArray.from_arrays(pc.subtract(messages.offsets, messages.offsets[0]), structs, messages.type)


def _map_meta(meta: str, change: Callable[[str], str]) -> str:
    """Apply ``change`` to every text inside a JSON object; equal text comes back when nothing changed."""
    try:
        value = json.loads(meta, object_pairs_hook=without_repeats)
        mapped = _map_values(value, change, 0)
    except (ValueError, RecursionError, Unscannable):
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
