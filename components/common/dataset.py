"""The dataset table: one schema from ingest to evaluation, written as Parquet (zstd).

A dataset artifact is a directory. After ``ingest`` and ``scan_pii`` it holds ``data.parquet``; after ``curate``
``train.parquet``, ``validation.parquet`` and ``test.parquet``; always ``manifest.json`` beside them.
"""

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_json
from llm_flywheel.components.common.settings import Settings

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])

SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # row_id(messages): equal content, equal id
        ("messages", pa.list_(MESSAGE)),
        ("source", pa.string()),  # the file a row came from
        ("lang", pa.string()),  # ISO 639-1, or "und"
        ("meta", pa.string()),  # JSON object: line, held-out split, whatever the source carried along
    ]
)

# A row that could not be used: where it stands and why. Never its text, which may hold personal data;
# the source file still has it.
QUARANTINE_SCHEMA = pa.schema(
    [("file", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("detail", pa.string())]
)

# A row that a later step removed: its id, the step's reason and, for a duplicate, the id that was kept.
DROPPED_SCHEMA = pa.schema([("id", pa.string()), ("reason", pa.string()), ("duplicate_of", pa.string())])

BATCH_CHARS = 1 << 24
"""Characters that a writer of a table holds in memory, and not many more."""

SPLITS = ("train", "validation", "test")


def row_id(messages: Sequence[Mapping[str, str]]) -> str:
    """Stable content hash of a conversation: 128-bit xxh3, 32 hex digits."""
    texts = [part.encode("utf-8", "surrogatepass") for item in messages for part in (item["role"], item["content"])]
    return xxhash.xxh3_128_hexdigest(
        b"".join([part for text in texts for part in (len(text).to_bytes(8, "little"), text)])
    )


def version_of(ids: Iterable[str]) -> str:
    """A dataset version: the hash of the sorted row ids, 16 hex digits."""
    digest = xxhash.xxh3_128()
    for value in sorted(ids):
        digest.update(value.encode())
    return digest.hexdigest()[:16]


def write_table(rows: Sequence[Mapping[str, Any]] | pa.Table, path: Path, schema: pa.Schema = SCHEMA) -> None:
    """Write rows (dicts or an Arrow table) to one Parquet file with exactly ``schema``."""
    table = (
        rows.select(schema.names).cast(schema)
        if isinstance(rows, pa.Table)
        else pa.Table.from_pylist(list(rows), schema)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")


class TableWriter:
    """Writes one Parquet file row by row; the file exists even without rows.

    It holds at most ``batch_rows`` rows, and not many more than 16 million characters.

    Example:
        >>> with TableWriter(Path("data.parquet")) as writer:
        ...     writer.add({"id": "0", "messages": [], "source": "a.csv", "lang": "en", "meta": "{}"})

    Attributes:
        rows: Rows added so far.
    """

    def __init__(self, path: Path, schema: pa.Schema = SCHEMA, batch_rows: int = 5_000) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = schema
        self._batch_rows = batch_rows
        self._batch: list[Mapping[str, Any]] = []
        self._chars = 0
        self._file = pq.ParquetWriter(path, schema, compression="zstd")
        self.rows = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row."""
        self._batch.append(row)
        self.rows += 1
        self._chars += _chars(row)
        if len(self._batch) >= self._batch_rows or self._chars > BATCH_CHARS:
            self._flush()

    def _flush(self) -> None:
        if self._batch:
            self._file.write_table(pa.Table.from_pylist(self._batch, self._schema))
            self._batch, self._chars = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._file.close()


def _chars(row: Mapping[str, Any]) -> int:
    """Characters of a row's texts and messages."""
    texts = sum([len(value) for value in row.values() if type(value) is str])
    return texts + sum([len(message["content"] or "") for message in row.get("messages") or ()])


def read_table(path: Path, schema: pa.Schema = SCHEMA) -> pa.Table:
    """Read one Parquet file of the dataset contract.

    Raises:
        FlywheelError: The file is missing, is not Parquet, or lacks a column.
    """
    try:
        table = pq.read_table(path)
        return table.select(schema.names).cast(schema)
    except FileNotFoundError:
        raise FlywheelError("no such dataset table", where=str(path), reason="missing") from None
    except (pa.ArrowException, KeyError) as error:
        raise FlywheelError(f"not a dataset table: {error}", where=str(path), reason="schema") from None


def checked(batch: pa.RecordBatch, before: int, path: Path) -> pa.RecordBatch:
    """Rows of a dataset table, with something for what a table of another program may not say of them.

    Args:
        batch: Rows as they were read.
        before: How many rows of the table stand before it.
        path: The table.

    Returns:
        The rows in `SCHEMA`, without nulls.

    Raises:
        pa.ArrowException, KeyError: They are not of that schema.
        FlywheelError: A message has no role or no content.
    """
    batch = batch.select(SCHEMA.names).cast(SCHEMA)
    batch.validate(full=True)
    messages = batch["messages"]
    flat = messages.flatten()
    if any(part.null_count for part in (messages, flat, *flat.flatten())):
        rows = enumerate(messages.to_pylist(), start=before + 1)
        bad = next(row for row, items in rows if items is None or any(i is None or None in i.values() for i in items))
        raise FlywheelError(f"row {bad} has a message without role or content", where=str(path), reason="schema")
    for name, value in (("id", ""), ("source", ""), ("lang", "und"), ("meta", "{}")):
        if batch[name].null_count:
            batch = batch.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), batch[name].fill_null(value))
    return batch


def origin() -> dict[str, str]:
    """What every manifest says of who made a dataset, in which run, and when (ISO 8601, UTC)."""
    settings = Settings.from_env()
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"made_by": settings.actor, "run_id": settings.run_id, "created": created}


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``manifest.json`` into a dataset folder; a reader never sees half of it."""
    write_json(folder / "manifest.json", manifest, default=str)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read ``manifest.json`` of a dataset folder; raises FlywheelError when it is missing or broken."""
    path = folder / "manifest.json"
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return value
    except (OSError, ValueError) as error:
        raise FlywheelError(f"no readable dataset manifest: {error}", where=str(path), reason="manifest") from None
