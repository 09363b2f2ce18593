"""Write the dataset table column by column, in batches that are bounded in rows and in characters."""

from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from llm_flywheel.components.common.dataset import BATCH_CHARS, MESSAGE, SCHEMA

_HASHED = 1 << 20


class Row(NamedTuple):
    """A row of `dataset.SCHEMA`."""

    id: str
    messages: list[dict[str, str]]
    source: str
    lang: str
    meta: str


class DatasetWriter:
    """Writes ``dataset.SCHEMA`` and reckons the version, with no more of it in memory than one batch.

    Args:
        path: File to write; it exists even without rows.
        ids_path: Scratch file for the row ids, 16 bytes each.
        batch_rows: Rows held in memory at most.

    Attributes:
        rows: Rows added so far.
    """

    def __init__(self, path: Path, ids_path: Path, batch_rows: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._batch_rows = batch_rows
        self._ids_path = ids_path
        self._ids_file = ids_path.open("wb")
        self._file = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._batch: list[Row] = []
        self._chars = 0
        self.rows = 0

    def add(self, row: Row) -> None:
        """Add one row."""
        self._batch.append(row)
        self.rows += 1
        self._chars += len(row.meta) + sum([len(message["content"]) for message in row.messages])
        if len(self._batch) >= self._batch_rows or self._chars > BATCH_CHARS:
            self._flush()

    def _flush(self) -> None:
        ids, chats, *others = zip(*self._batch, strict=True)
        self._ids_file.write(bytes.fromhex("".join(ids)))
        messages = [message for chat in chats for message in chat]
        parts = [pa.array([message[name] for message in messages], pa.string()) for name in ("role", "content")]
        offsets = pa.array([0, *accumulate(map(len, chats))], pa.int32())
        lists = pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(parts, fields=list(MESSAGE)))
        columns = [pa.array(values, pa.string()) for values in (ids, *others)]
        self._file.write_batch(pa.record_batch([columns[0], lists, *columns[1:]], SCHEMA))
        self._batch, self._chars = [], 0

    def version(self) -> str:
        """`dataset.version_of` the rows; to be asked for when the writer has been left."""
        digest = xxhash.xxh3_128()
        if self.rows:
            # Mapped, so that the kernel may take the memory back.
            ids = np.memmap(self._ids_path, "S16", "r+")
            ids.sort()
            for start in range(0, len(ids), _HASHED):
                digest.update(ids[start : start + _HASHED].tobytes().hex().encode())
        return digest.hexdigest()[:16]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._batch:
                self._flush()
        finally:
            self._ids_file.close()
            self._file.close()
