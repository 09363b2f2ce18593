"""The last two phases of a run: count what is kept and dropped, shard by shard, and write the files of the data set."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from llm_flywheel.components.common.dataset import DROPPED_SCHEMA, SCHEMA, SPLITS
from llm_flywheel.components.curate.executors import Task
from llm_flywheel.components.curate.quality import Quality
from llm_flywheel.components.curate.rows import from_record
from llm_flywheel.components.curate.shards import plan_of, stems

FILES = (*SPLITS, "dropped")

_BATCHES_PER_GROUP = 8


def tally_tasks(folder: Path) -> list[Task]:
    """The tasks that count, one per shard."""
    return [Task(tally_shard, folder, "counted", key) for key in range(len(plan_of(folder).ranges))]


def tally_shard(folder: Path, phase: str, key: int) -> dict[str, Any]:
    """Count what became of the rows of one shard; see `Task`."""
    quality = Quality(plan_of(folder).settings)
    fates = pc.cast(_fates(folder, key)["fate"], pa.string()).to_pylist()
    begin = 0
    for batch in pq.ParquetFile(stems(folder)[key].with_suffix(".parquet")).iter_batches(plan_of(folder).batch_rows):
        for record, fate in zip(batch.to_pylist(), fates[begin : begin + len(batch)], strict=True):
            if fate in SPLITS:
                quality.add(from_record(record), fate)
        begin += len(batch)
    for record in _dropped(folder, key, ("id", "reason", "source")).to_pylist():
        quality.dropped(record["reason"], record["id"], record["source"])
    return {"quality": quality.to_dict()}


def write_file(folder: Path, phase: str, key: int) -> dict[str, Any]:
    """Write one file of the data set, over all shards in the order of the input; see `Task`."""
    name = FILES[key]
    schema = SCHEMA if name in SPLITS else DROPPED_SCHEMA
    rows = 0
    with pq.ParquetWriter(
        Task(write_file, folder, phase, key).stem.with_suffix(".parquet"), schema, compression="zstd"
    ) as file:
        for table in _regrouped(_tables(folder, name), _BATCHES_PER_GROUP * plan_of(folder).batch_rows):
            file.write_table(table.cast(schema))
            rows += len(table)
    return {"rows": rows}


def _tables(folder: Path, name: str) -> Iterator[pa.Table]:
    for key, stem in enumerate(stems(folder)):
        if name in SPLITS:
            chosen = pc.equal(_fates(folder, key)["fate"], name)
            yield pq.read_table(stem.with_suffix(".parquet")).filter(chosen)
        else:
            yield _dropped(folder, key, tuple(DROPPED_SCHEMA.names))


def _fates(folder: Path, key: int) -> pa.Table:
    return pq.ParquetFile(folder / "fates.parquet").read_row_group(key)


def _dropped(folder: Path, key: int, columns: tuple[str, ...]) -> pa.Table:
    """All dropped rows of one shard in the order of the input, whichever phase dropped them."""
    stem = stems(folder)[key]
    early = pq.read_table(stem.with_suffix(".dropped"))
    facts = pq.read_table(stem.with_suffix(".facts"), columns=["position", "input_id", "source"])
    fates = _fates(folder, key)
    late = facts.rename_columns(["position", "id", "source"])
    late = late.append_column("reason", fates["fate"]).append_column("duplicate_of", fates["duplicate_of"])
    late = late.filter(pc.invert(pc.is_in(fates["fate"], pa.array(SPLITS))))
    both = pa.concat_tables([early, late.select(early.column_names)])
    return both.sort_by("position").select(columns)


def _regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of one size, so that the file does not depend on the shards."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= rows:
            together = pa.concat_tables(waiting)
            full = len(together) // rows * rows
            for at in range(0, full, rows):
                yield together.slice(at, rows).combine_chunks()
            waiting = [together.slice(full)]
    if sum(map(len, waiting)):
        yield pa.concat_tables(waiting).combine_chunks()
