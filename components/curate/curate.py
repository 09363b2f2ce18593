"""From the ingested table to a clean, versioned data set in three splits, with a reason for every dropped row."""

import datetime
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from llm_flywheel.components.common.dataset import (
    DROPPED_SCHEMA,
    SPLITS,
    read_manifest,
    read_table,
    version_of,
    write_manifest,
    write_table,
)
from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.components.common.settings import Settings
from llm_flywheel.components.curate.config import CurateConfig
from llm_flywheel.components.curate.duplicates import drop_exact, drop_leaks, drop_near, leakage_clusters
from llm_flywheel.components.curate.filters import filters_for
from llm_flywheel.components.curate.report import write_report
from llm_flywheel.components.curate.rows import Drop, Row, clean, from_record, is_held_out
from llm_flywheel.components.curate.split import assign_splits

logger = logging.getLogger(__name__)


@dataclass
class Curated:
    """Rows per split and dropped rows; together they are all rows that came in.

    Attributes:
        splits: Rows of ``train``, ``validation`` and ``test``.
        dropped: What was removed and why.
        held_out: Whether the test split was given, not chosen here.
        clusters: Groups of similar user texts among the rows that were split here.
        largest_cluster: Rows of the largest such group.
        uncompared: Rows not compared with all of a candidate bucket, because too many rows were alike, per search.
    """

    splits: dict[str, list[Row]]
    dropped: list[Drop] = field(default_factory=list)
    held_out: bool = False
    clusters: int = 0
    largest_cluster: int = 0
    uncompared: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CurateResult:
    """What ``run`` did.

    Attributes:
        version: Version of the data set: the hash of all kept row ids.
        rows_in: Rows read; equal to ``rows_out`` plus the sum of ``dropped``.
        rows_out: Rows kept.
        splits: Kept rows per split.
        dropped: Dropped rows per reason.
    """

    version: str
    rows_in: int
    rows_out: int
    splits: Mapping[str, int]
    dropped: Mapping[str, int]


def curate(records: Sequence[Mapping[str, Any]], config: CurateConfig) -> Curated:
    """Clean, deduplicate and split; pure, in the order: filters, exact, leaks, near, split.

    Rows that ``ingest`` marked as held out become the test split exactly as they are.

    Raises:
        FlywheelError: Nothing is left to train on, or a wanted split would be empty.
    """
    held_out = [from_record(record) for record in records if is_held_out(record)]
    filters = filters_for(config)
    cleaned = [clean(record, filters) for record in records if not is_held_out(record)]
    dropped = [item for item in cleaned if isinstance(item, Drop)]
    rows = [item for item in cleaned if isinstance(item, Row)]
    rows, exact = drop_exact(rows, config.dedup_on)
    threshold, words = config.duplicate_threshold, config.shingle_words
    (rows, leaks), leaks_uncompared = drop_leaks(rows, held_out, words, threshold)
    (rows, near), near_uncompared = drop_near(rows, config.dedup_on, words, threshold)
    dropped += [*exact, *leaks, *near]
    if not rows:
        raise FlywheelError(f"no row is left to train on: {_reasons(dropped)}", where="curate", reason="no_rows")
    cluster_of, split_uncompared = leakage_clusters(rows, words, config.leakage_threshold)
    shares = {"validation": config.validation_share} | ({} if held_out else {"test": config.test_share})
    names = assign_splits([row.id for row in rows], cluster_of, shares, config.seed)
    splits = {name: [row for row, own in zip(rows, names, strict=True) if own == name] for name in SPLITS}
    splits["test"] += held_out
    sizes = Counter(cluster_of)
    _check_splits(splits, shares, sizes)
    uncompared = {"leaks": leaks_uncompared, "near_duplicates": near_uncompared, "split": split_uncompared}
    return Curated(splits, dropped, bool(held_out), len(sizes), max(sizes.values()), uncompared)


def _check_splits(splits: Mapping[str, Sequence[Row]], shares: Mapping[str, float], sizes: Counter[int]) -> None:
    wanted = ["train", *(name for name, share in shares.items() if share > 0)]
    empty = [name for name in wanted if not splits[name]]
    if empty:
        raise FlywheelError(
            f"{sizes.total():,} rows in {len(sizes):,} groups of similar texts (largest {max(sizes.values()):,}) "
            f"leave nothing for {' and '.join(empty)}",
            where="curate",
            fix="add data, raise curate.leakage_threshold, set the share to 0, or use ingest.holdout_paths",
            reason="split",
        )


def _reasons(dropped: Sequence[Drop]) -> str:
    counts = Counter(drop.reason for drop in dropped)
    return ", ".join(f"{reason} {rows:,}" for reason, rows in counts.most_common()) or "the input is empty"


def run(config: CurateConfig, dataset: Path, curated: Path, report: Path | None = None) -> CurateResult:
    """Curate one dataset folder.

    Args:
        config: Filters, duplicates and splits.
        dataset: Folder with ``data.parquet`` (and ``manifest.json``) from ``ingest`` or ``scan_pii``.
        curated: Folder for the three splits, ``dropped.parquet`` and ``manifest.json``.
        report: HTML page to write, or None.

    Raises:
        FlywheelError: The input is no dataset, or nothing is left for a split.
    """
    records = read_table(dataset / "data.parquet").to_pylist()
    parent = read_manifest(dataset)
    outcome = curate(records, config)
    for name, rows in outcome.splits.items():
        write_table([row.as_record() for row in rows], curated / f"{name}.parquet")
    write_table([vars(drop) for drop in outcome.dropped], curated / "dropped.parquet", DROPPED_SCHEMA)
    result = _result(outcome, len(records))
    manifest = _manifest(result, outcome, records, parent, config)
    write_manifest(curated, manifest)
    _log(result, outcome)
    if report is not None:
        write_report(manifest, outcome, report)
    return result


def _result(outcome: Curated, rows_in: int) -> CurateResult:
    splits = {name: len(rows) for name, rows in outcome.splits.items()}
    rows_out = sum(splits.values())
    if rows_in != rows_out + len(outcome.dropped):
        raise AssertionError(f"{rows_in} rows in, {rows_out} out and {len(outcome.dropped)} dropped")
    version = version_of(row.id for rows in outcome.splits.values() for row in rows)
    dropped = dict(Counter(drop.reason for drop in outcome.dropped).most_common())
    return CurateResult(version, rows_in, rows_out, splits, dropped)


def _manifest(
    result: CurateResult,
    outcome: Curated,
    records: Sequence[Mapping[str, Any]],
    parent: Mapping[str, Any],
    config: CurateConfig,
) -> dict[str, Any]:
    settings = Settings.from_env()
    splits = outcome.splits
    return {
        "step": "curate",
        "version": result.version,
        "parent": version_of(record["id"] for record in records),
        "made_by": settings.actor,
        "run_id": settings.run_id,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json"),
        "rows_in": result.rows_in,
        "rows_out": result.rows_out,
        "splits": result.splits,
        "dropped": result.dropped,
        "held_out": outcome.held_out,
        "languages": {name: dict(Counter(row.lang for row in rows)) for name, rows in splits.items()},
        "sources": {name: dict(Counter(row.source for row in rows)) for name, rows in splits.items()},
        "lengths": {role: _lengths(splits, role) for role in ("user", "assistant")},
        "clusters": {"count": outcome.clusters, "largest": outcome.largest_cluster},
        "uncompared": dict(outcome.uncompared),
        "parent_step": parent.get("step"),
        "pii": parent.get("pii"),
    }


def _lengths(splits: Mapping[str, Sequence[Row]], role: str) -> dict[str, float]:
    """Characters per message of ``role`` in all splits."""
    lengths = [
        len(item["content"])
        for rows in splits.values()
        for row in rows
        for item in row.messages
        if item["role"] == role
    ]
    if not lengths:
        return {"messages": 0}
    p50, p95 = np.percentile(lengths, [50, 95])
    return {
        "messages": len(lengths),
        "mean": round(float(np.mean(lengths)), 1),
        "median": float(p50),
        "p95": float(p95),
        "longest": max(lengths),
    }


def _log(result: CurateResult, outcome: Curated) -> None:
    parts = [f"{rows:,} {name}" for name, rows in result.splits.items()]
    logger.info(
        "curate: %s rows = %s + %s dropped (%s)",
        f"{result.rows_in:,}",
        " + ".join(parts),
        f"{len(outcome.dropped):,}",
        _reasons(outcome.dropped) if outcome.dropped else "none",
    )
