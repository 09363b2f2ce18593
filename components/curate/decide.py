"""What becomes of every row: decided over all shards at once, from a few dozen bytes per row."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from llm_flywheel.components.common.dataset import SPLITS
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.files import write_json
from llm_flywheel.components.curate.config import CurateConfig
from llm_flywheel.components.curate.duplicates import find_pairs
from llm_flywheel.components.curate.executors import Executor
from llm_flywheel.components.curate.kernels import I64
from llm_flywheel.components.curate.neighbours import clusters, first_of_each
from llm_flywheel.components.curate.sampling import balance
from llm_flywheel.components.curate.shards import clean_tasks, facts, plan_of
from llm_flywheel.components.curate.split import assign_splits

_REASONS = ("exact_duplicate", "leaks_into_test", "contaminated", "near_duplicate", "sampled_out")
_FATES = (*SPLITS, *_REASONS)


@dataclass(frozen=True)
class Decided:
    """What a manifest says of the decisions.

    Attributes:
        held_out: Whether the test split was given, not chosen here.
        clusters: ``count`` of groups of similar user texts among the rows that were split here, and rows of the
            ``largest``.
        uncompared: Rows not compared with all of a candidate bucket, because too many rows were alike, per search.
    """

    held_out: bool
    clusters: dict[str, int]
    uncompared: dict[str, int]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What `decide` wrote."""
        return cls(**json.loads((folder / "decided.json").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Fates:
    """What becomes of every row that passed the filters.

    Attributes:
        fate: Shape (rows): index into ``train``, ``validation``, ``test`` and the reasons to drop a row.
        other: Shape (rows): the row that it duplicates, or -1.
    """

    fate: NDArray[np.int8]
    other: I64

    @property
    def alive(self) -> I64:
        """The rows that are not dropped, ascending."""
        return np.flatnonzero(self.fate < len(SPLITS))

    def drop(self, reason: str, rows: I64, others: I64 | int = -1) -> None:
        """Drop some rows."""
        self.fate[rows] = _FATES.index(reason)
        self.other[rows] = others


def decide(folder: Path, executor: Executor) -> None:
    """Drop duplicates, leaks and what is too much, split the rest; write ``fates.parquet`` and ``decided.json``.

    The order is: exact duplicates, leaks into the test split, contaminated rows, near-duplicates, split, sampling.

    Args:
        folder: A run's folder, all shards cleaned.
        executor: Does the searches.

    Raises:
        FlywheelError: Nothing is left to train on, or a wanted split would be empty.
    """
    config = plan_of(folder).settings
    held_out = facts(folder, ["held_out"])["held_out"].to_numpy()
    fates = Fates(np.zeros(len(held_out), np.int8), np.full(len(held_out), -1))
    tests = np.flatnonzero(held_out)
    fates.fate[tests] = SPLITS.index("test")
    uncompared: dict[str, int] = {}
    _drop_exact(folder, fates, ~held_out)
    uncompared["leaks"] = _drop_leaks(folder, executor, fates, held_out)
    contaminated = facts(folder, ["contaminated"])["contaminated"]
    rows = fates.alive
    fates.drop("contaminated", rows[pc.is_valid(contaminated).to_numpy()[rows]])
    uncompared["near_duplicates"] = _drop_near(folder, executor, fates, held_out)
    rows = fates.alive[~held_out[fates.alive]]
    if not len(rows):
        raise FlywheelError(f"no row is left to train on: {_reasons(folder, fates)}", where="curate", reason="no_rows")
    cluster_of, uncompared["split"] = _leakage_clusters(folder, executor, rows)
    shares = {"validation": config.validation_share} | ({} if len(tests) else {"test": config.test_share})
    ids = facts(folder, ["id"])["id"]
    chosen = assign_splits(pl.Series(ids.take(rows)), cluster_of, shares, config.seed, _strata(folder, rows))
    fates.fate[rows] = np.array([*map(SPLITS.index, shares), 0], np.int8)[chosen]
    sizes = np.bincount(cluster_of)
    _check_splits(fates, shares, sizes[sizes > 0].tolist())
    _sample(folder, fates, config, ids)
    _write(folder, fates, ids, contaminated)
    largest = int(sizes.max())
    decided = Decided(bool(len(tests)), {"count": int(np.count_nonzero(sizes)), "largest": largest}, uncompared)
    write_json(folder / "decided.json", vars(decided))


def _firsts(keys: pa.ChunkedArray, rows: I64) -> I64:
    """Place in ``rows`` of the first row with the same 16-byte key, per row."""
    pairs = np.frombuffer(pa.concat_arrays(keys.chunks).buffers()[1], np.uint64).reshape(-1, 2)[rows]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    fresh = np.append(True, (pairs[order[1:]] != pairs[order[:-1]]).any(axis=1))[: len(rows)]
    first = np.empty(len(rows), np.int64)
    first[order] = order[np.flatnonzero(fresh)][np.cumsum(fresh) - 1]
    return first


def _drop_exact(folder: Path, fates: Fates, candidate: NDArray[np.bool_]) -> None:
    """Keep the first of rows that differ in white space only (reason ``exact_duplicate``)."""
    rows = np.flatnonzero(candidate)
    first = _firsts(facts(folder, ["same"])["same"], rows)
    again = first != np.arange(len(rows))
    fates.drop("exact_duplicate", rows[again], rows[first[again]])


def _drop_leaks(folder: Path, executor: Executor, fates: Fates, held_out: NDArray[np.bool_]) -> int:
    """Drop rows whose user text is, exactly or nearly, that of a held-out row (reason ``leaks_into_test``).

    Answers do not count: a model that saw the test's question with another answer has seen the test's question.

    Returns:
        How many texts were not compared with all of a bucket.
    """
    if not held_out.any():
        return 0
    # Held-out texts stand first, so that they are the ones that all others are compared with.
    tests = np.flatnonzero(held_out)
    others = fates.alive[~held_out[fates.alive]]
    rows = np.concatenate([tests, others])
    texts, number = np.unique(_firsts(facts(folder, ["user"])["user"], rows), return_inverse=True)
    test_texts = int(np.searchsorted(texts, len(tests)))
    pairs, uncompared = find_pairs(folder, executor, "leaks", rows[texts], test_texts)
    nearest = np.where(np.arange(len(texts)) < test_texts, np.arange(len(texts)), -1)
    across = (pairs.left < test_texts) & (pairs.right >= test_texts)
    left, right, similarity = pairs.left[across], pairs.right[across], pairs.similarity[across]
    order = np.lexsort((left, -similarity, right))
    found, best = np.unique(right[order], return_index=True)
    nearest[found] = left[order][best]
    test = nearest[number[len(tests) :]]
    fates.drop("leaks_into_test", others[test >= 0], rows[texts[test[test >= 0]]])
    return uncompared


def _drop_near(folder: Path, executor: Executor, fates: Fates, held_out: NDArray[np.bool_]) -> int:
    """Keep rows of which no earlier kept one is a near-duplicate (reason ``near_duplicate``).

    On ``conversation`` both what the user wrote and what was answered must be alike, each at the threshold: the same
    question with another answer (or label) is another example. Rows with different system messages are never alike.

    Returns:
        How many texts were not compared with all of a bucket.
    """
    rows = fates.alive[~held_out[fates.alive]]
    pairs, uncompared = find_pairs(folder, executor, "near", rows)
    again = first_of_each(pairs)
    dropped, kept = (np.fromiter(side, np.int64, len(again)) for side in (again.keys(), again.values()))
    fates.drop("near_duplicate", rows[dropped], rows[kept])
    return uncompared


def _leakage_clusters(folder: Path, executor: Executor, rows: I64) -> tuple[I64, int]:
    """Number the rows so that rows with the same or a similar user text have the same number.

    Returns:
        Per row the number of its cluster, and how many texts were not compared with all of a bucket.
    """
    texts, number = np.unique(_firsts(facts(folder, ["user"])["user"], rows), return_inverse=True)
    pairs, uncompared = find_pairs(folder, executor, "split", rows[texts])
    return clusters(len(texts), pairs)[number], uncompared


def _strata(folder: Path, rows: I64) -> I64:
    """Number of the language and source of each row."""
    table = facts(folder, ["lang", "source"]).take(rows)
    return pl.DataFrame(table).select(pl.struct("lang", "source").rank("dense")).to_series().to_numpy().astype(np.int64)


def _sample(folder: Path, fates: Fates, config: CurateConfig, ids: pa.ChunkedArray) -> None:
    """Thin out large groups of the training split (reason ``sampled_out``)."""
    if config.sampling.max_rows is None and not config.sampling.weights:
        return
    rows = np.flatnonzero(fates.fate == SPLITS.index("train"))
    groups = facts(folder, ["group"])["group"].take(rows).to_pylist()
    keys = np.fromiter((int(value.as_py()[:16], 16) for value in ids.take(rows)), np.uint64, len(rows))
    kept = balance(groups, keys, config)
    if not kept.any():
        raise FlywheelError(
            f"no row of {len(rows):,} is left to train on",
            where="curate.sampling",
            fix="give a weight above 0 to a group that is there, or '*' to all others",
            reason="no_rows",
        )
    fates.drop("sampled_out", rows[~kept])


def _check_splits(fates: Fates, shares: Mapping[str, float], sizes: Sequence[int]) -> None:
    wanted = ["train", *(name for name, share in shares.items() if share > 0)]
    empty = [name for name in wanted if not (fates.fate == SPLITS.index(name)).any()]
    if empty:
        raise FlywheelError(
            f"{sum(sizes):,} rows in {len(sizes):,} groups of similar texts (largest {max(sizes):,}) "
            f"leave nothing for {' and '.join(empty)}",
            where="curate",
            fix="add data, raise curate.leakage_threshold, set the share to 0, or use ingest.holdout_paths",
            reason="split",
        )


def _reasons(folder: Path, fates: Fates) -> str:
    counts: Counter[str] = Counter()
    for task in clean_tasks(folder):
        counts.update(task.outcome()["dropped"])
    for index, name in enumerate(_FATES):
        if index >= len(SPLITS):
            counts[name] += int(np.count_nonzero(fates.fate == index))
    return ", ".join(f"{reason} {rows:,}" for reason, rows in counts.most_common() if rows) or "the input is empty"


def _write(folder: Path, fates: Fates, ids: pa.ChunkedArray, contaminated: pa.ChunkedArray) -> None:
    """Write fate and duplicate of every row, one row group per shard."""
    names = pa.DictionaryArray.from_arrays(pa.array(fates.fate), pa.array(_FATES)).cast(pa.string())
    is_contaminated = pa.array(fates.fate == _FATES.index("contaminated"))
    others = ids.take(pa.array(fates.other, mask=fates.other < 0))
    table = pa.table({"fate": names, "duplicate_of": pc.if_else(is_contaminated, contaminated, others)})
    with pq.ParquetWriter(folder / "fates.parquet", table.schema) as file:
        begin = 0
        for task in clean_tasks(folder):
            rows = task.outcome()["rows"]
            file.write_table(table.slice(begin, rows))
            begin += rows
