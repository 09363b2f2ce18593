"""A dataset in shards: what each worker does to a range of rows, and where it leaves the results.

Text passes through a worker a few thousand rows at a time. What later phases need of each row is small and lies in
files beside the cleaned rows; only those files are read for all rows at once.
"""

import glob
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from llm_flywheel.components.common.dataset import DROPPED_SCHEMA, SCHEMA, TableWriter, checked
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_json
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.curate.config import CurateConfig
from llm_flywheel.components.curate.decontaminate import Contamination, Item
from llm_flywheel.components.curate.executors import Task, hash_of
from llm_flywheel.components.curate.filters import Filter, filters_for
from llm_flywheel.components.curate.kernels import I64
from llm_flywheel.components.curate.neighbours import sketch
from llm_flywheel.components.curate.quality import token_counter
from llm_flywheel.components.curate.rows import Drop, Row, clean, from_record, is_held_out
from llm_flywheel.components.curate.sampling import group_of
from llm_flywheel.components.curate.shingles import ShingleSets, joined, shingle_sets

ROWS_PER_SHARD = 20_000
_SHARD_BYTES = 32 << 20
_BATCH_ROWS = 2_000
_BATCH_BYTES = 2 << 20

# What is known of each row that passed the filters, in the order of the rows.
_FACTS = pa.schema(
    [
        ("position", pa.int64()),  # row of the input table
        ("input_id", pa.string()),
        ("id", pa.string()),
        ("held_out", pa.bool_()),
        ("same", pa.binary(16)),  # equal for rows that are the same but for white space
        ("user", pa.binary(16)),  # equal for rows with the same user text
        ("system", pa.uint64()),  # hash of the system messages
        ("lang", pa.string()),
        ("source", pa.string()),
        ("group", pa.string()),  # for sampling
        ("contaminated", pa.string()),  # the evaluation item that the row overlaps, or null
    ]
)
_DROPPED = pa.schema([("position", pa.int64()), *DROPPED_SCHEMA, ("source", pa.string())])
# Bump it when the same input and config give other files: work in progress of an older version is then not used.
_LAYOUT = 2


@dataclass(frozen=True)
class Plan:
    """What one run of ``curate`` works on.

    Attributes:
        data: The input table.
        config: As JSON.
        ranges: First row and row behind the last one of each shard.
        batch_rows: Rows to hold in memory at a time; fewer when rows are long.
    """

    data: str
    config: dict[str, Any]
    ranges: list[tuple[int, int]]
    batch_rows: int

    @property
    def settings(self) -> CurateConfig:
        """The config."""
        return CurateConfig.model_validate(self.config)

    @classmethod
    def of(cls, config: CurateConfig, dataset: Path, shard_rows: int = ROWS_PER_SHARD) -> Self:
        """Cut a dataset into shards of ``shard_rows`` rows, fewer when rows are long.

        Raises:
            FlywheelError: The input is no dataset table.
        """
        path = dataset / "data.parquet"
        with _table(path) as file:
            groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
            row_bytes = sum(group.total_byte_size for group in groups) // max(1, file.metadata.num_rows)
            batch_rows = min(_BATCH_ROWS, max(1, _BATCH_BYTES // max(1, row_bytes)))
            return cls(str(path.resolve()), config.model_dump(mode="json"), _ranges(groups, shard_rows), batch_rows)

    @cached_property
    def key(self) -> str:
        """Name for the work on this very table with this config."""
        decisive = {name: value for name, value in self.config.items() if name not in ("engine", "workers")}
        parts = [_LAYOUT, decisive, self.ranges, _named_files(self.settings), hash_of(Path(self.data))]
        return xxhash.xxh3_64_hexdigest(json.dumps(parts).encode())


def _named_files(config: CurateConfig) -> list[tuple[str, int, int]]:
    """Name, size and time of every local file that the configuration names: other content is other work."""
    names = [item.path for item in config.decontamination.eval_sets] + [config.tokenizer] * bool(config.tokenizer)
    found = [Path(match) for name in names for match in sorted(glob.glob(name, recursive=True))]
    files = [file for path in found for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]


def folder_of_run(work: str) -> Path:
    """The folder of this pipeline run in one that all runs share; raises FlywheelError when the run has no id."""
    run_id = Settings.from_env().run_id
    if not run_id:
        raise FlywheelError(
            "this run has no id to name its work folder by", where=work, fix="set FLYWHEEL_RUN_ID", reason="run_id"
        )
    return Path(work, run_id)


def begin(plan: Plan, folder: Path) -> None:
    """Write down the plan, and what all workers need, in the run's own folder; work on another plan is removed."""
    token_counter(plan.settings.tokenizer)  # counting comes last, and is no time to find that there is no tokenizer
    key = folder / "key"
    if key.exists() and key.read_text(encoding="utf-8") != plan.key:
        shutil.rmtree(folder)
    plan_of.cache_clear()
    _tools.cache_clear()
    write_json(folder / "plan.json", asdict(plan))
    key.write_text(plan.key, encoding="utf-8")
    _index_evaluation_texts(plan, folder)


@lru_cache(maxsize=8)
def plan_of(folder: Path) -> Plan:
    """The plan of a run, by its folder."""
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    return Plan(**{**plan, "ranges": [tuple(item) for item in plan["ranges"]]})


def _table(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
        file.schema_arrow.empty_table().select(SCHEMA.names).cast(SCHEMA)
        return file
    except FileNotFoundError:
        raise FlywheelError("no such dataset table", where=str(path), reason="missing") from None
    except (pa.ArrowException, KeyError) as error:
        raise FlywheelError(f"not a dataset table: {error}", where=str(path), reason="schema") from None


def _ranges(groups: Sequence[pq.RowGroupMetaData], shard_rows: int) -> list[tuple[int, int]]:
    """Ranges of rows of at most ``shard_rows`` rows and about ``_SHARD_BYTES`` bytes, along row groups."""
    ranges: list[tuple[int, int]] = []
    begin = end = size = 0
    for group in groups:
        if end > begin and (end - begin + group.num_rows > shard_rows or size + group.total_byte_size > _SHARD_BYTES):
            ranges.append((begin, end))
            begin, size = end, 0
        end += group.num_rows
        size += group.total_byte_size
        pieces = max(-(-(end - begin) // shard_rows), size // _SHARD_BYTES)
        if pieces > 1:  # one large row group
            cuts = [begin + (end - begin) * piece // pieces for piece in range(pieces + 1)]
            ranges += zip(cuts, cuts[1:], strict=False)
            begin, size = end, 0
    return [*ranges, (begin, end)] if end > begin or not ranges else ranges


def _batches(plan: Plan, begin: int, end: int) -> Iterator[pa.RecordBatch]:
    """Rows ``begin`` to ``end`` of the input table, a few at a time."""
    with _table(Path(plan.data)) as file:
        first = 0
        groups = []
        skip = begin
        for index in range(file.num_row_groups):
            rows = file.metadata.row_group(index).num_rows
            if first + rows > begin and first < end:
                groups.append(index)
            elif first + rows <= begin:
                skip -= rows
            first += rows
        left = end - begin
        try:
            for batch in file.iter_batches(plan.batch_rows, groups, SCHEMA.names) if left else ():
                own = batch.slice(skip, left)
                skip = max(0, skip - len(batch))
                left -= len(own)
                if len(own):
                    yield checked(own, end - left - len(own), Path(plan.data))
                if not left:
                    return
        except (pa.ArrowException, OSError) as error:
            raise FlywheelError(f"cannot be read: {error}", where=plan.data, reason="unreadable") from None


def _names_tests(plan: Plan) -> bool:
    """Whether the ``meta`` of any row speaks of tests, which most tables do not: then no text need be read for it."""
    try:
        with _table(Path(plan.data)) as file:
            metas = (batch["meta"].cast(pa.string()) for batch in file.iter_batches(columns=["meta"]))
            return any(pc.any(pc.match_substring(meta, "test")).as_py() for meta in metas)
    except (pa.ArrowException, OSError):
        return True  # who reads all of it will tell


def _index_evaluation_texts(plan: Plan, folder: Path) -> None:
    """Index the evaluation sets and the user texts of held-out rows, for all workers."""

    def items() -> Iterator[Item]:
        for begin, end in plan.ranges if _names_tests(plan) else ():
            for batch in _batches(plan, begin, end):
                maybe = batch.filter(pc.match_substring(batch["meta"], "test"))
                for record in maybe.to_pylist():
                    if is_held_out(record):
                        yield Item(record["id"], [m["content"] for m in record["messages"] if m["role"] == "user"])

    Contamination.from_config(plan.settings, folder, items())


class _Tools(NamedTuple):
    config: CurateConfig
    filters: Sequence[Filter]
    contamination: Contamination | None


@lru_cache(maxsize=1)
def _tools(folder: Path) -> _Tools:
    config = plan_of(folder).settings
    return _Tools(config, filters_for(config), Contamination.from_config(config, folder))


def clean_shard(folder: Path, phase: str, key: int) -> dict[str, Any]:
    """Clean the rows of one shard and sketch their texts; see `Task`."""
    plan = plan_of(folder)
    stem = Task(clean_shard, folder, phase, key).stem
    begin, end = plan.ranges[key]
    tools = _tools(folder)
    position = begin
    reasons: Counter[str] = Counter()
    with (
        TableWriter(stem.with_suffix(".parquet"), batch_rows=plan.batch_rows) as kept,
        TableWriter(stem.with_suffix(".facts"), _FACTS) as facts,
        TableWriter(stem.with_suffix(".dropped"), _DROPPED) as dropped,
        _Sketcher(stem, tools.config) as sketcher,
    ):
        for batch in _batches(plan, begin, end):
            rows = []
            for record in batch.to_pylist():
                held_out = is_held_out(record)
                row = from_record(record) if held_out else clean(record, tools.filters)
                if isinstance(row, Drop):
                    dropped.add({"position": position, **vars(row), "source": record["source"]})
                    reasons[row.reason] += 1
                else:
                    kept.add(row.as_record())
                    facts.add({"position": position, "held_out": held_out, **_facts(row, held_out, tools)})
                    rows.append(row)
                position += 1
            sketcher.add(rows)
    if position - begin != kept.rows + dropped.rows or position != end:
        raise AssertionError(f"{end - begin} rows in, {kept.rows} cleaned and {dropped.rows} dropped")
    return {"rows_in": end - begin, "rows": kept.rows, "dropped": dict(reasons)}


def _facts(row: Row, held_out: bool, tools: _Tools) -> dict[str, Any]:
    user = xxhash.xxh3_128_digest(row.user_text.encode())
    found = None
    if tools.contamination is not None and not held_out:
        found = tools.contamination.find([item["content"] for item in row.messages if item["role"] != "system"])
    return {
        "input_id": row.input_id,
        "id": row.id,
        "same": row.conversation_key if tools.config.dedup_on == "conversation" else user,
        "user": user,
        "system": xxhash.xxh3_64_intdigest(row.text_of("system").encode()),
        "lang": row.lang,
        "source": row.source,
        "group": group_of(row, tools.config),
        "contaminated": found,
    }


def sketches_of(config: CurateConfig) -> dict[str, tuple[str, float]]:
    """What each search compares, user texts or user texts and answers, and from which similarity."""
    both = "user" if config.dedup_on == "user" else "both"
    return {
        "leaks": ("user", config.duplicate_threshold),
        "near": (both, config.duplicate_threshold),
        "split": ("user", config.leakage_threshold),
    }


class _Sketcher:
    """Writes the shingle sets of one shard's rows and their sketches, see `sketches_of`."""

    def __init__(self, stem: Path, config: CurateConfig) -> None:
        self._stem, self._config = stem, config
        self._kinds = sketches_of(config)
        if self._kinds["near"] == self._kinds["leaks"]:
            del self._kinds["near"]
        self._files = {name: stem.with_suffix(f".{name}.values").open("wb") for name in ("user", "answers")}
        self._arrays: defaultdict[str, list[NDArray[Any]]] = defaultdict(list)

    def add(self, rows: Sequence[Row]) -> None:
        """Add some rows."""
        texts = {"user": [row.user_text for row in rows], "answers": [row.text_of("assistant") for row in rows]}
        sets = {name: shingle_sets(own, self._config.shingle_words) for name, own in texts.items()}
        for name, own in sets.items():
            own.values.tofile(self._files[name])
            self._arrays[f"{name}.sizes"].append(own.sizes)
        sets["both"] = joined(sets["user"], sets["answers"])
        for name, (kind, threshold) in self._kinds.items():
            made = sketch(sets[kind], threshold)
            self._arrays[f"{name}.keys"].append(made.keys)
            self._arrays[f"{name}.signatures"].append(made.signatures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.add([])  # there may be no rows at all
            for name, arrays in self._arrays.items():
                if name.endswith(".keys"):  # band by band, as they are read
                    np.concatenate(arrays, axis=1).tofile(self._stem.with_suffix(f".{name}"))
                else:
                    np.save(self._stem.with_suffix(f".{name}.npy"), np.concatenate(arrays))
        for file in self._files.values():
            file.close()


def clean_tasks(folder: Path) -> list[Task]:
    """The tasks of the first phase, one per shard."""
    return [Task(clean_shard, folder, "cleaned", key) for key in range(len(plan_of(folder).ranges))]


def stems(folder: Path) -> list[Path]:
    """Paths of the cleaned shards, without what stands behind the key."""
    return [task.stem for task in clean_tasks(folder)]


def facts(folder: Path, columns: Sequence[str]) -> pa.Table:
    """Some facts about all rows that passed the filters."""
    return pa.concat_tables(pq.read_table(stem.with_suffix(".facts"), columns=list(columns)) for stem in stems(folder))


class SetsOnDisk:
    """The shingle sets of all cleaned rows, read when they are asked for."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._paths = [stem.with_suffix(f".{kind}.values") for stem in stems(folder)]
        sizes = [np.load(stem.with_suffix(f".{kind}.sizes.npy")) for stem in stems(folder)]
        self.sizes: I64 = np.concatenate(sizes)
        self._starts: I64 = np.cumsum([0, *map(len, sizes)])
        self._offsets: I64 = np.concatenate([np.cumsum(own) - own for own in sizes])

    def take(self, rows: I64) -> ShingleSets:
        """The sets of these rows, which ascend."""
        shards = np.searchsorted(self._starts, rows, "right") - 1
        parts = []
        for shard in np.unique(shards):
            own = rows[shards == shard]
            file = os.open(self._paths[shard], os.O_RDONLY)
            try:
                places = zip((8 * self.sizes[own]).tolist(), (8 * self._offsets[own]).tolist(), strict=True)
                parts.append(b"".join([os.pread(file, size, offset) for size, offset in places]))
            finally:
                os.close(file)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(self.sizes[rows], out=offsets[1:])
        return ShingleSets(offsets, np.frombuffer(b"".join(parts), np.uint64))
