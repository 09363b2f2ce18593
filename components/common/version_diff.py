"""What changed between two dataset versions: rows added, removed, changed, moved, and how the distributions shifted."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from llm_flywheel.components.common.dataset import SCHEMA, SPLITS
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.progress import Progress
from llm_flywheel.components.common.shift import Shift, shift_of_categories, shift_of_numbers
from llm_flywheel.components.common.versions import DatasetVersion, tables_of

_BATCH_ROWS = 5_000
_ODD = np.uint64(0x9E3779B97F4A7C15)  # any odd number: makes one key of two hashes
_BYTES_PER_TOKEN = 4
_NUMBERS = ("characters", "tokens")
_CATEGORIES = ("language", "source", "split")
_SPLITS = ("", *SPLITS)

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    """One row that differs.

    Attributes:
        kind: ``added``, ``removed`` or ``changed``.
        before: ``id``, ``source``, ``line``, ``split`` and perhaps ``text`` of the row in the first dataset.
        after: The same in the second one.
    """

    kind: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True)
class Difference:
    """Two dataset versions, compared.

    Attributes:
        a: The first version.
        b: The second version.
        rows_a: Rows in it: ``same + changed + removed``.
        rows_b: Rows in it: ``same + changed + added``.
        same: Rows with equal content in both.
        changed: Rows from the same place of the same source, with other content.
        added: Rows that only the second one has.
        removed: Rows that only the first one has.
        moved: Rows, same or changed, that stand in another split, by split before and after.
        reasons: Why the step that made the second version removed rows, as far as it was made from the first one.
        relabelled: Rows by which the counts per language, source or split differ, where nothing else does: equal rows
            can hide it. The split is one of them where only one version is split.
        shifts: One per property; of splits only when both have them.
        examples: A few rows of each kind.
    """

    a: DatasetVersion
    b: DatasetVersion
    rows_a: int
    rows_b: int
    same: int
    changed: int
    added: int
    removed: int
    moved: Mapping[tuple[str, str], int]
    reasons: Mapping[str, int]
    relabelled: Mapping[str, int]
    shifts: Sequence[Shift]
    examples: Sequence[Example] = ()

    @property
    def equal(self) -> bool:
        """Whether both hold the same rows in the same splits, with the same languages and sources."""
        return not (self.changed or self.added or self.removed or self.moved or self.relabelled)


@dataclass(frozen=True)
class _Scan:
    """What is kept of a dataset: 17 bytes per row, and how often every length and label occurs.

    Attributes:
        content: Hash of each row's id.
        origin: Hash of each row's source and line, or 0 where there is no line.
        split: Number of each row's split in `_SPLITS`.
        counts: Rows by value, per property.
    """

    content: Hashes
    origin: Hashes
    split: Positions
    counts: Mapping[str, Counter[Any]]


def compare(a: DatasetVersion, b: DatasetVersion, examples: int = 0, show_text: bool = False) -> Difference:
    """Compare two datasets, reading each batch by batch.

    Rows are paired one to one, copies included: first those with equal content and origin, then those with equal
    content, then those with the same origin, which is a line of a source. A row that is edited in a file in which lines
    were inserted above it therefore counts as removed and added. Content and origin are compared by 64-bit hashes: with
    ten million rows on each side, the chance that any two are mistaken for each other is one in a hundred thousand.

    Args:
        a: The first version.
        b: The second version.
        examples: Rows to name of each kind.
        show_text: Whether those have their text.

    Raises:
        FlywheelError: A table is missing, is no dataset table, or holds no rows.
    """
    first, second = _scan(a), _scan(b)
    both_split = "" not in first.counts["split"] and "" not in second.counts["split"]
    categories = _CATEGORIES if both_split else _CATEGORIES[:-1]
    rows_a, rows_b = np.arange(len(first.content)), np.arange(len(second.content))
    both = first.content * _ODD + first.origin, second.content * _ODD + second.origin
    same, rest_a, rest_b = _pair(*both, rows_a, rows_b)
    elsewhere, rest_a, rest_b = _pair(first.content, second.content, rest_a, rest_b)
    changed, _, _ = _pair(
        first.origin, second.origin, rest_a[first.origin[rest_a] > 0], rest_b[second.origin[rest_b] > 0]
    )
    removed, added = np.setdiff1d(rest_a, changed[0]), np.setdiff1d(rest_b, changed[1])
    wanted: dict[str, list[tuple[int | None, int | None]]] = {
        "changed": [(int(old), int(new)) for old, new in changed[:, :examples].T],
        "removed": [(int(at), None) for at in removed[:examples]],
        "added": [(None, int(at)) for at in added[:examples]],
    }
    moved = _moved(first, second, np.concatenate([same, elsewhere, changed], axis=1))
    told = changed.shape[1] or len(added) or len(removed) or moved
    return Difference(
        a,
        b,
        rows_a=len(rows_a),
        rows_b=len(rows_b),
        same=same.shape[1] + elsewhere.shape[1],
        changed=changed.shape[1],
        added=len(added),
        removed=len(removed),
        moved=moved,
        reasons=_reasons(b.folder, first, removed) if b.parent == a.version else {},
        relabelled={} if told else _relabelled(first, second),
        shifts=[
            *(shift_of_numbers(name, first.counts[name], second.counts[name]) for name in _NUMBERS),
            *(shift_of_categories(name, first.counts[name], second.counts[name]) for name in categories),
        ],
        examples=_examples(a, b, wanted, show_text),
    )


def _batches(path: Path) -> Iterator[pl.DataFrame]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=SCHEMA.names):
                table = pa.Table.from_batches([batch]).select(SCHEMA.names).cast(SCHEMA)
                yield pl.DataFrame(table)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise FlywheelError(f"not a dataset table: {error}", where=str(path), reason="schema") from None


def _scan(version: DatasetVersion) -> _Scan:
    parts: list[tuple[Any, Any, Any]] = []
    counts: dict[str, Counter[Any]] = {name: Counter() for name in (*_NUMBERS, *_CATEGORIES)}
    done = 0
    with Progress(f"reading {version.version}", version.rows_out) as progress:
        for split, path in tables_of(version.folder):
            for frame in _batches(path):
                rows = _described(frame, split)
                numbers = np.full(rows.height, _SPLITS.index(split), np.int8)
                parts.append((rows["content"].to_numpy(), rows["origin"].to_numpy(), numbers))
                for name, counter in counts.items():
                    counter.update(dict(rows[name].value_counts().iter_rows()))
                done += rows.height
                progress.update(done)
    if not done:
        raise FlywheelError("the dataset holds no rows", where=str(version.folder), reason="no_rows")
    content, origin, splits = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return _Scan(content, origin, splits, counts)


def _described(frame: pl.DataFrame, split: str) -> pl.DataFrame:
    """Hashes and properties of the rows of one batch.

    Tokens are an estimate, four bytes of UTF-8 each: "on average, in practice, each token corresponds to about 4 bytes"
    (README of OpenAI's tiktoken).
    """
    content = pl.element().struct.field("content")
    line = pl.col("meta").str.json_path_match("$.line")
    in_bytes = pl.col("messages").list.eval(content.str.len_bytes()).list.sum().fill_null(0)
    return frame.select(
        content=pl.col("id").hash(),
        origin=pl.when(line.is_not_null()).then(pl.struct("source", line=line).hash()).fill_null(0),
        characters=pl.col("messages").list.eval(content.str.len_chars()).list.sum().fill_null(0),
        tokens=-(-in_bytes.cast(pl.Int64) // _BYTES_PER_TOKEN),
        language=pl.col("lang").fill_null(""),
        source=pl.col("source").fill_null(""),
        split=pl.lit(split),
    )


def _pair(
    keys_a: Hashes, keys_b: Hashes, rows_a: Positions, rows_b: Positions
) -> tuple[Positions, Positions, Positions]:
    """Pairs of rows with equal keys, the n-th copy with the n-th.

    Args:
        keys_a: Key of every row of the first dataset.
        keys_b: The same of the second one.
        rows_a: Rows of the first dataset that are to be paired, ascending.
        rows_b: The same of the second one.

    Returns:
        Pairs as an array of two lines, ordered by the first, and the rows of each side that found no partner.
    """
    rows_a = rows_a[np.argsort(keys_a[rows_a], kind="stable")]
    rows_b = rows_b[np.argsort(keys_b[rows_b], kind="stable")]
    sorted_a, sorted_b = keys_a[rows_a], keys_b[rows_b]
    first = np.searchsorted(sorted_b, sorted_a, "left")
    copies = np.searchsorted(sorted_b, sorted_a, "right") - first
    copy = np.arange(len(sorted_a)) - np.searchsorted(sorted_a, sorted_a, "left")
    paired = copy < copies
    pairs = np.stack([rows_a[paired], rows_b[(first + copy)[paired]]])
    return pairs[:, np.argsort(pairs[0])], np.setdiff1d(rows_a, pairs[0]), np.setdiff1d(rows_b, pairs[1])


def _moved(a: _Scan, b: _Scan, pairs: Positions) -> dict[tuple[str, str], int]:
    """Pairs by split before and after; a table that is not split yet moves nothing."""
    codes = a.split[pairs[0]] * len(_SPLITS) + b.split[pairs[1]]
    counts = np.bincount(codes, minlength=len(_SPLITS) ** 2).reshape(len(_SPLITS), -1)
    named = {(old, new): int(counts[_SPLITS.index(old), _SPLITS.index(new)]) for old in SPLITS for new in SPLITS}
    return {(old, new): rows for (old, new), rows in named.items() if old != new and rows}


def _relabelled(a: _Scan, b: _Scan) -> dict[str, int]:
    more = {name: (b.counts[name] - a.counts[name]).total() for name in _CATEGORIES}
    return {name: rows for name, rows in more.items() if rows}


def _reasons(folder: Path, scan: _Scan, removed: Positions) -> dict[str, int]:
    """Removed rows by the reason in ``dropped.parquet``."""
    path = folder / "dropped.parquet"
    if not path.is_file():
        return {}
    try:
        dropped = pl.read_parquet(path, columns=["id", "reason"])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FlywheelError(f"not a table of dropped rows: {error}", where=str(path), reason="schema") from None
    pairs, _, _ = _pair(scan.content, dropped["id"].hash().to_numpy(), removed, np.arange(dropped.height))
    return dict(Counter(dropped["reason"][pairs[1]].to_list()).most_common())


def _examples(
    a: DatasetVersion,
    b: DatasetVersion,
    wanted: Mapping[str, Sequence[tuple[int | None, int | None]]],
    show_text: bool,
) -> list[Example]:
    pairs = [(kind, *pair) for kind, several in wanted.items() for pair in several]
    before = _rows_at(a, {at for _, at, _ in pairs if at is not None}, show_text)
    after = _rows_at(b, {at for _, _, at in pairs if at is not None}, show_text)
    return [Example(kind, before.get(first), after.get(second)) for kind, first, second in pairs]


def _rows_at(version: DatasetVersion, wanted: set[int], show_text: bool) -> dict[int | None, dict[str, Any]]:
    """What an `Example` says of the rows at these positions of the dataset."""
    found: dict[int | None, dict[str, Any]] = {}
    start = 0
    for split, path in tables_of(version.folder):
        for frame in _batches(path) if len(found) < len(wanted) else ():
            for at in sorted(wanted & set(range(start, start + frame.height))):
                row = frame.row(at - start, named=True)
                found[at] = {"id": row["id"], "source": row["source"], "line": _line(row["meta"]), "split": split}
                if show_text:
                    found[at]["text"] = "\n".join(f"{item['role']}: {item['content']}" for item in row["messages"])
            start += frame.height
    return found


def _line(meta: str | None) -> Any:
    try:
        return json.loads(meta or "{}").get("line")
    except (ValueError, AttributeError):
        return None
